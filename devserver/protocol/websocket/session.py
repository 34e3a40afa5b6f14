"""A WebSocket without I/O: bytes of the peer in, messages out; messages in, frames out (RFC 6455 §5 to §8).

Strategy. A whole message in one frame, which most are, takes a short way through :meth:`Session.receive`: no object is
made for it but its payload. Everything else (fragments, frames that have not arrived as a whole, compressed messages,
control frames) goes through a state machine that takes each part of a payload as it comes, so that text is checked,
inflated sizes are counted and masks are taken off before the frame is complete.

The session does not decide when to close. When the peer closes, or breaks a rule, it reads nothing more and says so in
:attr:`Session.end`; the app may still answer the messages that came before, and the connection sends what is due.
"""

from __future__ import annotations

import codecs
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

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
PARTS_MAX = 1024
"""Pieces of a message that are kept as they came."""
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
        "_decoder",
        "_deflate",
        "_fin",
        "_left",
        "_mask",
        "_opcode",
        "_parts",
        "_parts_before",
        "_rest",
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
        """Bytes that have arrived and were not looked at: part of the head of a frame, or more than was asked for."""
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
        self._parts: list[Any] = []
        """Its content: pieces of text or bytes."""
        self._parts_before: list[Any] = []
        """So many of them as one each, so that a message that comes byte by byte does not take ten times its size."""
        self._decoder: codecs.IncrementalDecoder

    # Frames of the peer

    @property
    def waiting(self) -> bool:
        """Whether :meth:`receive` may find another message without further bytes."""
        return len(self._rest) > 1 and self.end is None

    def receive(self, data: bytes, messages_max: int) -> list[str | bytes]:
        """Takes bytes and returns the messages that they complete, text as str.

        :param messages_max: after so many the rest is kept for the next call.
        """
        if self._rest:
            data = self._rest + data
            self._rest = b""
        messages: list[str | bytes] = []
        if self.end is not None:
            return messages
        position, stop = 0, len(data)
        try:
            while position < stop:
                if len(messages) >= messages_max:
                    break
                if self._left:
                    position = self._take_payload(data, position, messages)
                    if self.end is not None:
                        break
                    continue
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
                        continue
                begin = self._read_head(data, position, messages)
                if not begin or self.end is not None:
                    break
                position = begin
        except UnicodeDecodeError:
            self._fail(INVALID_DATA, "The text is not UTF-8.")
        except zlib.error:
            self._fail(INVALID_DATA, "The compressed data is malformed.")
        except _Broken as exc:
            self._fail(exc.code, exc.reason)
        else:
            if position < stop and self.end is None:
                self._rest = data[position:] if position else data
        return messages

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
                self._begin_message(opcode, compressed=bool(first & RSV1))
            if not self._compressed and self._size + size > self._size_max:
                raise _Broken(TOO_BIG, f"A message may have {self._size_max} bytes.")
        if not size:
            self._end_frame(messages)
        return position + 4

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

    def _begin_message(self, opcode: int, *, compressed: bool) -> None:
        self._opcode = opcode
        self._compressed = compressed
        self._size = 0
        if opcode == TEXT:
            self._decoder = _Utf8Decoder()

    def _take_payload(self, data: bytes, position: int, messages: list[str | bytes]) -> int:
        """Takes what has arrived of the payload; where the next frame begins."""
        part = data[position : position + self._left]
        size = len(part)
        mask = self._mask
        part = self._unmask(part, mask)
        self._left -= size
        if self._left and size & 3:
            shift = size & 3
            self._mask = mask[shift:] + mask[:shift]
        if self.control:
            self.control += part
        elif self._compressed:
            self._take_compressed(part)
        else:
            self._take_content(part)
        if not self._left:
            self._end_frame(messages)
        return position + size

    def _take_compressed(self, part: bytes) -> None:
        deflate = self._deflate
        if deflate is None:
            raise AssertionError("RSV1 is refused without an agreement")
        self._take_content(deflate.decompress(part, self._size_max - self._size))

    def _take_content(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > self._size_max:
            raise _Broken(TOO_BIG, f"A message may have {self._size_max} bytes.")
        parts = self._parts
        parts.append(self._decoder.decode(part) if self._opcode == TEXT else part)
        if len(parts) == PARTS_MAX:
            self._parts_before.append(self._join(parts))
            parts.clear()

    def _join(self, parts: list[Any]) -> str | bytes:
        return "".join(parts) if self._opcode == TEXT else b"".join(parts)

    def _end_frame(self, messages: list[str | bytes]) -> None:
        if self.control:
            control, self.control = self.control, bytearray()
            self._take_control(control[0], bytes(control[1:]))
            return
        if not self._fin:
            return
        if self._compressed and self._deflate is not None:
            self._take_content(self._deflate.end_message(self._size_max - self._size))
        if self._opcode == TEXT:
            self._decoder.decode(b"", final=True)
            del self._decoder
        messages.append(self._join([*self._parts_before, *self._parts]))
        self._parts_before.clear()
        self._parts.clear()
        self._opcode = 0

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
            # The answer repeats the code (RFC 6455 §5.5.1).
            self.end = End(code, payload[2:].decode(), encode_close(code), failed=False)

    def _fail(self, code: int, reason: str) -> None:
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
