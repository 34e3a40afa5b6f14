"""WebSocket frames (RFC 6455 §5): opcodes, masking, status codes, and the frames that a server sends.

Pure. What a server receives is masked and read by :class:`~devserver.protocol.websocket.session.Session`; what it sends
is not masked (§5.1).
"""

from __future__ import annotations

import struct
from collections.abc import Callable

CONTINUATION, TEXT, BINARY = 0x0, 0x1, 0x2
CLOSE, PING, PONG = 0x8, 0x9, 0xA
FIN = 0x80
RSV1 = 0x40
"""The message is compressed (RFC 7692 §6)."""
RESERVED = 0x70
MASKED = 0x80
CONTROL_BYTES_MAX = 125
"""Payload of a control frame (§5.5)."""
HEAD_BYTES_MAX = 14
"""Two bytes, eight of length, four of mask."""

# Status codes (§7.4.1, and the registry that RFC 6455 §11.7 founds).
NORMAL, GOING_AWAY, PROTOCOL_ERROR = 1000, 1001, 1002
NO_STATUS, ABNORMAL, INVALID_DATA = 1005, 1006, 1007
TOO_BIG, INTERNAL_ERROR, SERVICE_RESTART = 1009, 1011, 1012

_SENDABLE = frozenset({1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014})
_REASON_BYTES_MAX = CONTROL_BYTES_MAX - 2


def is_sendable(code: int) -> bool:
    """Whether a Close frame may carry this status code (RFC 6455 §7.4.2)."""
    return code in _SENDABLE or 3000 <= code <= 4999


def unmask(payload: bytes, mask: bytes) -> bytes:
    """``payload`` without its mask of four bytes (RFC 6455 §5.3): all bytes at once, as one long integer."""
    size = len(payload)
    repeated = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "little") ^ int.from_bytes(repeated, "little")).to_bytes(size, "little")


fastest_unmask: Callable[[bytes, bytes], bytes]
"""What ``websockets`` does in C, when that is installed; else :func:`unmask`, which takes a microsecond more."""
try:
    from websockets.speedups import apply_mask as fastest_unmask
except ImportError:
    fastest_unmask = unmask


_pack_16, _pack_64 = struct.Struct("!BBH").pack, struct.Struct("!BBQ").pack


def encode(first: int, payload: bytes) -> bytes:
    """One whole frame, not masked.

    :param first: the first byte: FIN, RSV1 and the opcode.
    """
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    return (_pack_16(first, 126, size) if size < 65536 else _pack_64(first, 127, size)) + payload


def encode_close(code: int, reason: str = "") -> bytes:
    """A Close frame; an empty one for 1005. A reason that is too long is cut between two characters."""
    if code == NO_STATUS:
        return encode(FIN | CLOSE, b"")
    text = reason.encode("utf-8", "replace")
    if len(text) > _REASON_BYTES_MAX:
        text = text[:_REASON_BYTES_MAX].decode("utf-8", "ignore").encode()
    return encode(FIN | CLOSE, code.to_bytes(2) + text)
