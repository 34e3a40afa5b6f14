"""A WebSocket without I/O: bytes of the peer in, messages out; messages in, frames out (RFC 6455 §5 to §8).

Strategy. A whole message in one frame, which most are, takes a short way through :meth:`Session.receive`: no object is
made for it but its payload. Everything else (fragments, frames that have not arrived as a whole, compressed messages,
control frames) goes through a state machine that takes each part of a payload as it comes, so that text is checked,
inflated sizes are counted and masks are taken off before the frame is complete.

A message that has not arrived as a whole is held as bytes, in one buffer: its size does not depend on the number of its
fragments, nor on how many bytes Python spends on a character. Bytes that follow the last message of a call are held as
they arrived, and are not inflated before the app has room for what they become.

The session does not decide when to close. When the peer closes, or breaks a rule, it reads nothing more and says so in
:attr:`Session.end`; the app may still answer the messages that came before, and the connection sends what is due.
"""

from __future__ import annotations

import codecs
import zlib
from collections.abc import Callable
from sys import getsizeof
from typing import TYPE_CHECKING, NamedTuple

from devserver.protocol.websocket.deflate import COMPRESSED_FROM, Deflate
from devserver.protocol.websocket.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    CONTROL_BYTES_MAX,
    FIN,
    INVALID_DATA,
    MASKED,
    NO_STATUS,
    PING,
    PONG,
    PROTOCOL_ERROR,
    RESERVED,
    RSV1,
    TEXT,
    TOO_BIG,
    encode,
    encode_close,
    fastest_unmask,
    is_sendable,
)

if TYPE_CHECKING:
    from devserver.protocol.websocket.deflate import Agreement

PONGS_MAX = 32
"""Answers to pings that wait to be written; beyond, only the latest is kept (RFC 6455 §5.5.3)."""
COUNTED_FROM = 512
"""Size of a frame from which on what its message takes in memory is looked at. A smaller one takes at most ten times
its bytes: a frame of 9 bytes can hold one character, a str of 76. So the size of a read limits them."""
_TEXT_FRAME = FIN | TEXT
_SHORT_TEXT = tuple(bytes((_TEXT_FRAME, size)) for size in range(126))
"""The heads of short text frames by size."""
_WHOLE = (_TEXT_FRAME, FIN | BINARY)


class End(NamedTuple):
    """Why nothing more is read."""

    code: int
    """The status code for the app (RFC 6455 §7.1.5)."""
    reason: str
    answer: bytes
    """The Close frame that is due."""
    failed: bool
    """The peer broke a rule; it did not close (RFC 6455 §7.1.7)."""


class _Broken(Exception):
    """The peer broke a rule."""

    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        self.reason = reason


class Session:
    """The server's side of one connection, after its opening handshake.

    :param size_max: bytes of a message, after it was inflated.
    :param agreement: how messages are compressed, if they are.
    """

    __slots__ = (
        "_compressed",
        "_content",
        "_decoder",
        "_deflate",
        "_discards",
        "_fin",
        "_left",
        "_mask",
        "_opcode",
        "_rest",
        "_rest_begin",
        "_size",
        "_size_max",
        "_unmask",
        "control",
        "end",
        "heard_pong",
        "pongs",
    )

    def __init__(
        self,
        *,
        size_max: int,
        agreement: Agreement | None = None,
        unmask: Callable[[bytes, bytes], bytes] = fastest_unmask,
    ) -> None:
        self._size_max = size_max
        self._unmask = unmask
        self._deflate = None if agreement is None else Deflate(agreement)
        self._rest = b""
        """Bytes that have arrived and were not read: part of the head of a frame, or more than was asked for."""
        self._rest_begin = 0
        """Where the first of them is."""
        self._discards = False
        """Messages are skipped; see :meth:`discard`."""
        self.end: End | None = None
        self.pongs: list[bytes] = []
        """Frames that answer pings. Whoever writes them empties the list."""
        self.heard_pong = False
        """A pong has come; set to False by whoever asked for one."""
        # The frame that is being read.
        self._left = 0
        """Bytes of its payload that have not arrived."""
        self._fin = False
        self._mask = b""
        self.control = bytearray()
        """Payload of a control frame that has not arrived as a whole; its first byte is the opcode."""
        # The message that is being read.
        self._opcode = 0
        """TEXT or BINARY; 0 between messages."""
        self._compressed = False
        self._size = 0
        """Bytes of it so far, inflated."""
        self._content: bytes | bytearray = b""
        """Its content so far; a buffer from the second part on."""
        self._decoder: codecs.IncrementalDecoder | None = None
        """Checks the text of a message that comes in parts."""

    # Frames of the peer

    @property
    def waiting(self) -> bool:
        """Whether :meth:`receive` may find another message without further bytes."""
        return len(self._rest) - self._rest_begin > 1 and self.end is None

    def receive(self, data: bytes, messages_max: int, held_max: int) -> list[str | bytes]:
        """Takes bytes and returns the messages that they complete, text as str.

        :param messages_max: stop after this many messages, at least one, and keep the rest for the next call.
        :param held_max: stop after the message with which the returned ones take more than this many bytes of memory.
            Messages that were sent in less than :data:`COUNTED_FROM` bytes, and not compressed, are not counted.
        """
        position = 0
        if self._rest:
            if data:
                data = self._rest[self._rest_begin :] + data
            else:
                data, position = self._rest, self._rest_begin
            self._rest, self._rest_begin = b"", 0
        messages: list[str | bytes] = []
        if self.end is not None:
            return messages
        stop = len(data)
        try:
            while position < stop:
                if self._left:
                    done = len(messages)
                    position = self._take_payload(data, position, messages)
                else:
                    if stop - position < 2:
                        break
                    first, size = data[position], data[position + 1] - MASKED
                    if first in _WHOLE and not self._opcode:
                        # The short way: a message of one frame that has arrived as a whole.
                        if size == 126 and stop - position >= 4:
                            size = data[position + 2] << 8 | data[position + 3]
                            begin = position + 8 if size > 125 else stop + 1
                        elif size == 127 and stop - position >= 10:
                            size = int.from_bytes(data[position + 2 : position + 10])
                            begin = position + 14 if size > 65535 else stop + 1
                        else:
                            begin = position + 6 if size < 126 else stop + 1
                        end = begin + size
                        # Below 0 when there is no mask.
                        if end <= stop and 0 <= size <= self._size_max:
                            payload = self._unmask(data[begin:end], data[begin - 4 : begin])
                            if first == _TEXT_FRAME:
                                messages.append(payload.decode())
                            else:
                                messages.append(payload)
                            position = end
                            if len(messages) >= messages_max:
                                break
                            if size >= COUNTED_FROM and position < stop:
                                held_max -= getsizeof(messages[-1])
                                if held_max < 0:
                                    break
                            continue
                    done = len(messages)
                    begin = self._read_head(data, position, messages)
                    if not begin:
                        break
                    position = begin
                if self.end is not None:
                    break
                if len(messages) != done:
                    held_max -= getsizeof(messages[-1])
                    if held_max < 0 or done + 1 >= messages_max:
                        break
        except (UnicodeDecodeError, zlib.error, _Broken) as exc:
            self._fail(exc)
        else:
            if position < stop and self.end is None:
                self._keep(data, position)
        return messages

    def keep(self, data: bytes) -> None:
        """Takes bytes that are not to be read before the next call of :meth:`receive`."""
        if self.end is None:
            self._keep(self._rest[self._rest_begin :] + data, 0)

    def discard(self, data: bytes) -> None:
        """Takes bytes, of which only control frames still matter: messages are neither inflated nor returned.

        A server that has sent its Close frame reads on for the peer's. :meth:`receive` may not be called afterwards.
        """
        if not self._discards:
            self._discards = True
            self._content = b""
        if self._rest:
            data = self._rest[self._rest_begin :] + data
            self._rest, self._rest_begin = b"", 0
        position, stop = 0, len(data)
        try:
            while position < stop and self.end is None:
                if self._left:
                    position = self._take_payload(data, position, [])
                    continue
                begin = self._read_head(data, position, []) if stop - position > 1 else 0
                if not begin:
                    break
                position = begin
        except (UnicodeDecodeError, _Broken) as exc:
            self._fail(exc)
        else:
            if position < stop and self.end is None:
                self._keep(data, position)

    def _keep(self, data: bytes, position: int) -> None:
        """Keeps what follows ``position``. It is copied when half of ``data`` was read: linear time, bounded waste."""
        if position * 2 >= len(data):
            data, position = data[position:], 0
        self._rest, self._rest_begin = data, position

    def _read_head(self, data: bytes, start: int, messages: list[str | bytes]) -> int:
        """Reads the head of a frame (RFC 6455 §5.2); where its payload begins, or 0 when the head is not all there."""
        first, second = data[start], data[start + 1]
        opcode = first & 0x0F
        size = second & 0x7F
        self._check_head(first, second)
        position = start + 2
        if size > 125:
            width = 2 if size == 126 else 8
            if len(data) < position + width:
                return 0
            size = int.from_bytes(data[position : position + width])
            if size < (126 if width == 2 else 65536) or size >> 63:
                raise _Broken(PROTOCOL_ERROR, "The length of a frame is not encoded in the fewest bytes.")
            position += width
        if len(data) < position + 4:
            return 0
        self._mask = data[position : position + 4]
        self._left = size
        self._fin = bool(first & FIN)
        if opcode >= CLOSE:
            self.control = bytearray((opcode,))
        else:
            if opcode:
                self._opcode = opcode
                self._compressed = bool(first & RSV1)
                self._size = 0
            if not self._compressed and self._size + size > self._size_max:
                raise _Broken(TOO_BIG, f"A message may have {self._size_max} bytes.")
        return position + 4 if size else self._take_payload(data, position + 4, messages)

    def _check_head(self, first: int, second: int) -> None:
        opcode = first & 0x0F
        if not second & MASKED:
            raise _Broken(PROTOCOL_ERROR, "The frames of a client must be masked.")
        allowed = RSV1 if self._deflate is not None and opcode in (TEXT, BINARY) else 0
        if first & RESERVED & ~allowed:
            raise _Broken(PROTOCOL_ERROR, "A reserved bit is set.")
        if opcode in (CLOSE, PING, PONG):
            if not first & FIN or second & 0x7F > CONTROL_BYTES_MAX:
                raise _Broken(PROTOCOL_ERROR, "A control frame is fragmented, or too long.")
        elif opcode == CONTINUATION:
            if not self._opcode:
                raise _Broken(PROTOCOL_ERROR, "There is no message to continue.")
        elif opcode > BINARY:
            raise _Broken(PROTOCOL_ERROR, "The opcode is unknown.")
        elif self._opcode:
            raise _Broken(PROTOCOL_ERROR, "The message before is not complete.")

    def _take_payload(self, data: bytes, position: int, messages: list[str | bytes]) -> int:
        """Takes what has arrived of the payload; where the next frame begins."""
        part = data[position : position + self._left]
        size = len(part)
        self._left = left = self._left - size
        if self.control:
            self.control += self._unmask(part, self._mask)
            if not left:
                control, self.control = self.control, bytearray()
                self._take_control(control[0], bytes(control[1:]))
                return position + size
        elif not self._discards:
            self._take_content(self._unmask(part, self._mask), messages)
        elif not left and self._fin:
            self._opcode = 0
        if left and size & 3:
            mask, shift = self._mask, size & 3
            self._mask = mask[shift:] + mask[:shift]
        return position + size

    def _take_content(self, part: bytes, messages: list[str | bytes]) -> None:
        """Takes a part of a message, without its mask, and completes the message with the last one."""
        last = self._fin and not self._left
        if self._compressed:
            deflate = self._deflate
            if deflate is None:
                raise AssertionError("RSV1 is refused without an agreement")
            part = deflate.decompress(part, self._size_max - self._size, last=last)
        self._size += len(part)
        if self._size > self._size_max:
            raise _Broken(TOO_BIG, f"A message may have {self._size_max} bytes.")
        content = self._content
        if not content:
            self._content = content = part
        elif part:
            if isinstance(content, bytes):
                self._content = content = bytearray(content)
            content += part
        if last:
            self._content, self._decoder = b"", None
            opcode, self._opcode = self._opcode, 0
            messages.append(content.decode() if opcode == TEXT else bytes(content))
        elif self._opcode == TEXT and part:
            if self._decoder is None:
                self._decoder = _Utf8Decoder()
            self._decoder.decode(part)

    def _take_control(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            if len(self.pongs) >= PONGS_MAX:
                self.pongs.pop()
            self.pongs.append(encode(FIN | PONG, payload))
        elif opcode == PONG:
            self.heard_pong = True
        elif not payload:
            self.end = End(NO_STATUS, "", encode_close(NO_STATUS), failed=False)
        else:
            code = int.from_bytes(payload[:2])
            if len(payload) == 1 or not is_sendable(code):
                raise _Broken(PROTOCOL_ERROR, "The status code of a Close frame is invalid.")
            reason = payload[2:].decode()
            # The answer repeats the code (RFC 6455 §5.5.1) and the reason: a browser gives its page those of our frame.
            self.end = End(code, reason, encode_close(code, reason), failed=False)

    def _fail(self, exc: UnicodeDecodeError | zlib.error | _Broken) -> None:
        if isinstance(exc, _Broken):
            code, reason = exc.code, exc.reason
        elif isinstance(exc, UnicodeDecodeError):
            code, reason = INVALID_DATA, "The text is not UTF-8."
        else:
            code, reason = INVALID_DATA, "The compressed data is malformed."
        self._content = b""
        self.end = End(code, reason, encode_close(code, reason), failed=True)

    # Frames of ours

    def text(self, text: str) -> bytes:
        """The frame of a text message."""
        payload = text.encode()
        size = len(payload)
        if size < COMPRESSED_FROM or (size < 126 and self._deflate is None):
            return _SHORT_TEXT[size] + payload
        return self._encode(TEXT, payload)

    def binary(self, data: bytes) -> bytes:
        """The frame of a binary message."""
        return self._encode(BINARY, data)

    def _encode(self, opcode: int, payload: bytes) -> bytes:
        if self._deflate is not None and len(payload) >= COMPRESSED_FROM:
            return encode(FIN | RSV1 | opcode, self._deflate.compress(payload))
        return encode(FIN | opcode, payload)


_Utf8Decoder = codecs.getincrementaldecoder("utf-8")
