"""WebSocket frames as clients send them, right and wrong, and a strict reader of those that a server sends.

Written from RFC 6455 and RFC 7692, without anything of ours: what both sides got wrong would agree with itself.
"""

from __future__ import annotations

import itertools
import operator
import zlib
from collections.abc import Iterable
from typing import Any, NamedTuple

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
MASK = b"\x37\xfa\x21\x3d"
"""That of the examples in RFC 6455 §5.7."""
SAMPLE_KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
SAMPLE_ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
"""What answers :data:`SAMPLE_KEY` (RFC 6455 §1.3)."""
_STEP_BYTES = 32


class MalformedFrameError(AssertionError):
    """What the server wrote is not a frame that a server may send."""


class Frame(NamedTuple):
    """One frame of a server."""

    opcode: int
    payload: bytes
    fin: bool = True
    rsv1: bool = False

    @property
    def code(self) -> int:
        """The status code of a Close frame; 1005 when it has none."""
        return int.from_bytes(self.payload[:2]) if self.payload else 1005

    @property
    def reason(self) -> str:
        """The reason in a Close frame."""
        return self.payload[2:].decode()


def masked(payload: bytes, mask: bytes = MASK) -> bytes:
    """``payload`` with the mask on, or off (RFC 6455 §5.3)."""
    return bytes(map(operator.xor, payload, itertools.cycle(mask)))


def client_frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv1: bool = False,
    rsv2: bool = False,
    rsv3: bool = False,
    mask: bytes | None = MASK,
    width: int | None = None,
    declared: int | None = None,
) -> bytes:
    """One frame of a client (RFC 6455 §5.2).

    :param mask: four bytes; None for a frame without a mask, which no client may send.
    :param width: bytes of the extended length: 0, 2 or 8; None for the fewest, which is the only right one.
    :param declared: the length that the head tells, when it is another than that of ``payload``.
    """
    size = len(payload) if declared is None else declared
    if width is None:
        width = 0 if size < 126 else 2 if size < 65536 else 8
    first = fin << 7 | rsv1 << 6 | rsv2 << 5 | rsv3 << 4 | opcode
    second = {0: size, 2: 126, 8: 127}[width] | (0 if mask is None else 0x80)
    length = size.to_bytes(width) if width else b""
    if mask is None:
        return bytes((first, second)) + length + payload
    return bytes((first, second)) + length + mask + masked(payload, mask)


def client_text(text: str) -> bytes:
    """A text message in one frame."""
    return client_frame(TEXT, text.encode())


def client_close(code: int | None = 1000, reason: bytes = b"") -> bytes:
    """A Close frame; without a status code when ``code`` is None."""
    return client_frame(CLOSE, b"" if code is None else code.to_bytes(2) + reason)


def client_fragments(opcode: int, *payloads: bytes, rsv1: bool = False) -> list[bytes]:
    """The frames of one message in these pieces (RFC 6455 §5.4); RSV1 stands on the first (RFC 7692 §6.1)."""
    last = len(payloads) - 1
    return [
        client_frame(CONTINUATION if number else opcode, payload, fin=number == last, rsv1=rsv1 and not number)
        for number, payload in enumerate(payloads)
    ]


class ClientDeflate:
    """The client's two directions of permessage-deflate (RFC 7692 §7.2).

    :param bits: of the client's window; zlib makes none of 8.
    :param forgets: the client compresses each message on its own.
    :param server_bits: of the server's window.
    :param server_forgets: the server compresses each message on its own.
    """

    def __init__(
        self, *, bits: int = 15, forgets: bool = False, server_bits: int = 15, server_forgets: bool = False
    ) -> None:
        self._bits, self._forgets = bits, forgets
        self._server_bits, self._server_forgets = server_bits, server_forgets
        # zlib has no names for these types.
        self._compressor: Any = None
        self._decompressor: Any = None

    def compress(self, payload: bytes) -> bytes:
        """The payload of one message, to be sent with RSV1."""
        if self._compressor is None or self._forgets:
            self._compressor = zlib.compressobj(wbits=-self._bits)
        data: bytes = self._compressor.compress(payload) + self._compressor.flush(zlib.Z_SYNC_FLUSH)
        assert data.endswith(b"\x00\x00\xff\xff")
        return data[:-4]

    def decompress(self, payload: bytes) -> bytes:
        """What the server has compressed into a message.

        :raises zlib.error: it is none, or reaches back further than was agreed on.
        """
        if self._decompressor is None or self._server_forgets:
            self._decompressor = zlib.decompressobj(wbits=-self._server_bits)
        data, inflated = payload + b"\x00\x00\xff\xff", bytearray()
        while True:
            # Within what one call returns, zlib lets a distance be longer than the window.
            part: bytes = self._decompressor.decompress(data, _STEP_BYTES)
            inflated += part
            data = self._decompressor.unconsumed_tail
            if len(part) < _STEP_BYTES:
                return bytes(inflated)


def read_frame(data: bytes) -> tuple[Frame, int] | None:
    """The first frame in ``data`` and its length, or None while it is incomplete.

    :raises MalformedFrameError: no server may send it (RFC 6455 §5.1, §5.2, §5.5).
    """
    if len(data) < 2:
        return None
    first, size = data[0], data[1]
    opcode = first & 0x0F
    fin, rsv1 = bool(first & 0x80), bool(first & 0x40)
    if size & 0x80:
        raise MalformedFrameError("the frame of a server is masked")
    if first & 0x30 or opcode not in {CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG}:
        raise MalformedFrameError(f"the first byte is {first:#04x}")
    if opcode >= CLOSE and (not fin or rsv1 or size > 125):
        raise MalformedFrameError(f"a control frame begins with {data[:2]!r}")
    begin = 2
    if size > 125:
        begin += 2 if size == 126 else 8
        if len(data) < begin:
            return None
        size = int.from_bytes(data[2:begin])
        if size < (126 if begin == 4 else 65536):
            raise MalformedFrameError(f"the length {size} is not encoded in the fewest bytes")
    if len(data) < begin + size:
        return None
    return Frame(opcode, data[begin : begin + size], fin, rsv1), begin + size


def read_frames(data: bytes) -> tuple[list[Frame], bytes]:
    """All frames in ``data``, and what is left of it: the beginning of another."""
    frames: list[Frame] = []
    while (read := read_frame(data)) is not None:
        frames.append(read[0])
        data = data[read[1] :]
    return frames, data


def only_frame(data: bytes) -> Frame:
    """The one frame that ``data`` is."""
    frames, rest = read_frames(data)
    if len(frames) != 1 or rest:
        raise MalformedFrameError(f"{len(frames)} frames and {rest!r}")
    return frames[0]


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    """``data`` in the pieces that cuts at ``places`` make, each taken modulo its length."""
    edges = [0, *sorted({place % (len(data) + 1) for place in places}), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges) if start < end]
