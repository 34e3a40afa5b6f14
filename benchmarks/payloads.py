"""The rows of ``benchmarks/run size``: unusual but legal forms of a request or a message, each at any size.

Pure: a row makes bytes for a scale, and knows nothing of sockets or servers. What is fixed about a request goes into
``opening`` and ``closing``; ``body`` alone grows with the scale, and is empty at scale 0.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

FLOOR_BYTES = 65536
"""A payload counts for at least this much when memory is judged: servers keep a buffer of this size a connection."""
_MASK = b"\x37\xfa\x21\x3d"
_CONTINUATION, _TEXT, _BINARY, _PING = 0, 1, 2, 9


@dataclass(frozen=True, slots=True)
class Work:
    """One request, or one run of messages that ends with an answer."""

    opening: bytes
    """Sent first, in one piece."""
    body: bytes
    closing: bytes
    """Sent last, in one piece; withheld while it is measured what the server holds."""
    count: int
    """Units that CPU time is divided by."""
    payload: int
    """Bytes of content that a server has to hold when the app does not read."""
    answer: int
    """Payload bytes that the app counts."""


@dataclass(frozen=True, slots=True)
class Row:
    """One form."""

    key: str
    title: str
    unit: str
    make: Callable[[int, str], Work]
    """From the scale and the path of the app."""
    piece: int = 0
    """Bytes of the body that the server gets with each read; 0: as many as it takes."""
    websocket: bool = False
    compressed: bool = False


# Requests


def _request(path: str, *fields: bytes, method: bytes = b"POST") -> bytes:
    lines = [b"%b %b HTTP/1.1" % (method, path.encode()), b"Host: localhost", *fields]
    return b"\r\n".join([*lines, b""])


def _head(scale: int, path: str) -> Work:
    line = b"X-Field: " + b"a" * 989 + b"\r\n"
    body = line * scale
    return Work(_request(path, method=b"GET"), body, b"\r\n", len(body), len(body), 0)


def _segments(scale: int, path: str) -> Work:
    size = 4096 * scale
    opening = _request(path, b"Content-Length: %d" % (size + 1)) + b"\r\n"
    return Work(opening, b"a" * size, b"a", size // 16, size, size + 1)


def _chunked(path: str) -> bytes:
    return _request(path, b"Transfer-Encoding: chunked") + b"\r\n"


def _chunks(size: int) -> Callable[[int, str], Work]:
    def make(scale: int, path: str) -> Work:
        count = 16384 * scale
        body = b"%x\r\n%b\r\n" % (size, b"a" * size) * count
        return Work(_chunked(path), body, b"0\r\n\r\n", count, count * size, count * size)

    return make


def _mixed_chunks(scale: int, path: str) -> Work:
    sizes = range(1, 41)
    body = b"".join(b"%x\r\n%b\r\n" % (size, b"a" * size) for size in sizes) * (200 * scale)
    payload = sum(sizes) * 200 * scale
    return Work(_chunked(path), body, b"0\r\n\r\n", len(sizes) * 200 * scale, payload, payload)


def _chunk_line(scale: int, path: str) -> Work:
    body = b"a" * (500 * scale)
    return Work(_chunked(path) + b"1;a", body, b"\r\na\r\n0\r\n\r\n", len(body), len(body), 1)


def _trailers(scale: int, path: str) -> Work:
    body = b"X-Trailer: %b\r\n" % (b"a" * 17) * (100 * scale)
    return Work(_chunked(path) + b"1\r\na\r\n0\r\n", body, b"\r\n", 100 * scale, len(body), 1)


# Messages


def _frame(opcode: int, payload: bytes, *, fin: bool = True, rsv1: bool = False) -> bytes:
    size = len(payload)
    first = fin << 7 | rsv1 << 6 | opcode
    if size < 126:
        head = bytes((first, 0x80 | size))
    elif size < 65536:
        head = bytes((first, 0x80 | 126)) + size.to_bytes(2)
    else:
        head = bytes((first, 0x80 | 127)) + size.to_bytes(8)
    key = (_MASK * (size // 4 + 1))[:size]
    return head + _MASK + (int.from_bytes(payload) ^ int.from_bytes(key)).to_bytes(size)


_END = _frame(_TEXT, b"end")


def _deflated(payload: bytes) -> bytes:
    """A message that refers to none before it, so that it can be repeated."""
    compressor = zlib.compressobj(wbits=-15)
    return (compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


def _fragments(scale: int, _: str) -> Work:
    count = 4096 * scale
    opening = _frame(_BINARY, b"ab", fin=False)
    body = _frame(_CONTINUATION, b"ab", fin=False) * count
    return Work(opening, body, _frame(_CONTINUATION, b"ab") + _END, count, 2 * count, 2 * count + 4)


def _fragments_between_pings(scale: int, _: str) -> Work:
    count = 1024 * scale
    opening = _frame(_BINARY, b"ab", fin=False)
    body = (_frame(_CONTINUATION, b"ab", fin=False) + _frame(_PING, b"")) * count
    return Work(opening, body, _frame(_CONTINUATION, b"ab") + _END, count, 2 * count, 2 * count + 4)


def _messages(scale: int, _: str) -> Work:
    count = 2048 * scale
    return Work(b"", _frame(_BINARY, b"ab") * count, _END, count, 2 * count, 2 * count)


def _compressed(size: int, times: int) -> Callable[[int, str], Work]:
    def make(scale: int, _: str) -> Work:
        count = times * scale
        body = _frame(_BINARY, _deflated(b"a" * size), rsv1=True) * count
        # A server may stop at the message that fills its buffer.
        return Work(b"", body, _END, count, min(count * size, max(size, FLOOR_BYTES)), count * size)

    return make


def _pings(scale: int, _: str) -> Work:
    count = 1024 * scale
    return Work(b"", _frame(_PING, b"ping") * count, _END, count, 4 * count, 0)


ROWS = {
    row.key: row
    for row in (
        Row("head", "a request head, byte by byte", "byte", _head, piece=1),
        Row("segments", "a body with Content-Length, 16 bytes a segment", "segment", _segments, piece=16),
        Row("chunks-1", "a body in chunks of 1 byte", "chunk", _chunks(1)),
        Row("chunks-3", "a body in chunks of 3 bytes", "chunk", _chunks(3)),
        Row("chunks-mixed", "a body in chunks of 1 to 40 bytes", "chunk", _mixed_chunks),
        Row("chunk-line", "one chunk with a long extension, byte by byte", "byte", _chunk_line, piece=1),
        Row("trailers", "many trailers", "trailer", _trailers),
        Row("fragments", "a WebSocket message in fragments of 2 bytes", "fragment", _fragments, websocket=True),
        Row("fragments-pings", "the same, a ping after each", "fragment", _fragments_between_pings, websocket=True),
        Row("messages", "WebSocket messages of 2 bytes", "message", _messages, websocket=True),
        Row(
            "messages-deflate",
            "compressed WebSocket messages of 2 bytes",
            "message",
            _compressed(2, 1024),
            websocket=True,
            compressed=True,
        ),
        Row(
            "inflating",
            "compressed WebSocket messages of 1 MB in 1 KB",
            "message",
            _compressed(1_000_000, 4),
            websocket=True,
            compressed=True,
        ),
        Row("pings", "WebSocket pings", "ping", _pings, websocket=True),
    )
}
