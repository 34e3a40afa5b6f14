"""Bytes on the socket of a WSGI app's WebSocket: a response head, then frames (RFC 6455).

On that socket the app is the WebSocket server and we are its only client. The socket never leaves the process, so the
mask of our frames is zero: masks protect proxies on a network (§10.3).

Pure: bytes in, facts out.
"""

from __future__ import annotations

from typing import NamedTuple

from devserver.errors import AppContractError

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
NO_STATUS = 1005
MESSAGE_MAX = 256 << 20
"""Max bytes of a message of the app, because ASGI has no fragments: a message is held in memory as a whole."""
HEAD_MAX = 1 << 16
"""Max bytes of the app's response head, as for requests."""

_FIN, _MASKED, _RESERVED = 0x80, 0x80, 0x70
_NO_MASK = bytes(4)
_REASON_MAX = 123
"""Max bytes of the reason in a Close frame (RFC 6455 §5.5), less its status code."""
_OPCODES = frozenset({CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG})
_LOCAL_CODES = frozenset({1004, NO_STATUS, 1006, 1015})
"""Status codes that never stand in a frame (RFC 6455 §7.4.1)."""
_OURS = frozenset(
    b"connection content-length date sec-websocket-accept sec-websocket-extensions sec-websocket-protocol server "
    b"transfer-encoding upgrade".split()
)


class Answer(NamedTuple):
    """The response head that the app has written."""

    status: int
    headers: list[tuple[bytes, bytes]]
    """Without the fields that the server sends itself."""
    subprotocol: str | None
    length: int
    """Content-Length, or -1."""


def read_answer(head: bytes) -> Answer:
    """Reads a response head, up to its empty line.

    :raises AppContractError: it is none.
    """
    first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    version, _, rest = first.partition(b" ")
    code = rest[:3]
    if version != b"HTTP/1.1" or len(code) != 3 or not code.isdigit() or rest[3:4] not in {b"", b" "}:
        raise AppContractError(f"The app wrote {first!r:.80} to its socket, where HTTP has a status line.")
    subprotocol, length = None, -1
    headers = []
    for line in lines:
        name, colon, value = line.partition(b":")
        lowered, value = name.lower(), value.strip(b" \t")
        if not colon:
            raise AppContractError(f"The app wrote {line!r:.80} to its socket, where HTTP has a header line.")
        if lowered == b"sec-websocket-protocol":
            subprotocol = value.decode("latin-1")
        elif lowered == b"content-length" and value.isdigit():
            length = int(value)
        elif lowered not in _OURS:
            headers.append((name, value))
    return Answer(int(code), headers, subprotocol, length)


class FrameReader:
    """Reads the frames of a WebSocket server (RFC 6455 §5.2) and puts fragments together.

    :param message_max: bytes of a message.
    """

    def __init__(self, message_max: int = MESSAGE_MAX) -> None:
        self._message_max = message_max
        self._waiting = bytearray()
        """Bytes that are not a whole frame yet."""
        self._opcode = 0
        """Opcode of the message whose fragments arrive; 0 between messages."""
        self._message = bytearray()

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Takes bytes; returns the opcode and payload of each message and control frame that they complete.

        :raises AppContractError: this is no frame that a server may send.
        """
        waiting = self._waiting
        waiting += data
        found = []
        position = 0
        while (head := self._head(position)) is not None:
            first, begin, size = head
            if len(waiting) < begin + size:
                break
            payload = bytes(memoryview(waiting)[begin : begin + size])
            position = begin + size
            opcode = first & 0x0F
            if opcode >= CLOSE or (opcode and first & _FIN):
                found.append((opcode, payload))
                continue
            self._opcode = opcode or self._opcode
            self._message += payload
            if first & _FIN:
                found.append((self._opcode, bytes(self._message)))
                self._opcode = 0
                self._message.clear()
        del waiting[:position]
        return found

    def _head(self, position: int) -> tuple[int, int, int] | None:
        """The first byte of a frame, where its payload begins, and its size; None when the head is incomplete."""
        waiting = self._waiting
        if len(waiting) < position + 2:
            return None
        first, size = waiting[position], waiting[position + 1]
        opcode = first & 0x0F
        if first & _RESERVED or size & _MASKED or opcode not in _OPCODES:
            raise AppContractError("The app wrote bytes to its WebSocket's socket that are no frame of a server.")
        if opcode < CLOSE and (opcode == CONTINUATION) != bool(self._opcode):
            raise AppContractError("The app mixed up the fragments of its WebSocket messages.")
        begin = position + 2
        if size > 125:
            if opcode >= CLOSE:
                raise AppContractError("The app wrote a WebSocket control frame of more than 125 bytes.")
            width = 2 if size == 126 else 8
            begin += width
            if len(waiting) < begin:
                return None
            size = int.from_bytes(waiting[begin - width : begin])
        if opcode < CLOSE and len(self._message) + size > self._message_max:
            raise AppContractError(f"The app sent a WebSocket message of more than {self._message_max} bytes.")
        return first, begin, size


def read_close(payload: bytes) -> tuple[int, str]:
    """The status code and the reason in a Close frame; 1005 when it has none."""
    if len(payload) < 2:
        return NO_STATUS, ""
    return int.from_bytes(payload[:2]), payload[2:].decode("utf-8", "replace")


def encode(opcode: int, payload: bytes) -> bytes:
    """One frame of a client."""
    size = len(payload)
    if size < 126:
        head = bytes((_FIN | opcode, _MASKED | size))
    elif size < 65536:
        head = bytes((_FIN | opcode, _MASKED | 126)) + size.to_bytes(2)
    else:
        head = bytes((_FIN | opcode, _MASKED | 127)) + size.to_bytes(8)
    return head + _NO_MASK + payload


def encode_close(code: int, reason: str) -> bytes:
    """The Close frame of a client; one without a status code for codes that never stand in a frame."""
    if code in _LOCAL_CODES:
        return encode(CLOSE, b"")
    return encode(CLOSE, code.to_bytes(2) + reason.encode()[:_REASON_MAX].decode("utf-8", "ignore").encode())
