"""permessage-deflate (RFC 7692): what is agreed on, and messages in and out.

Pure. Compressor and decompressor are made when they are needed first, so that a connection on which nothing was said
holds neither.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Any, NamedTuple

NAME = "permessage-deflate"
TAIL = b"\x00\x00\xff\xff"
"""What ends each message, and is not sent (RFC 7692 §7.2.1)."""
WINDOW_BITS_MAX = 12
"""Of what we compress, and what we ask of clients that let us choose: with memory level 5 a busy connection holds about
45 KiB and not the 300 KiB of zlib's defaults, for an output that is a few percent larger."""
MEMORY_LEVEL = 5
COMPRESSED_FROM = 64
"""Smaller messages are sent as they are, which RFC 7692 §6 allows: what could be saved is less than the headers of the
packet that carries them."""
_AFTER_FINAL_BYTES_MAX = 1 + len(TAIL)
"""After a block marked as the last one: an empty block (RFC 7692 §7.2.3.4). More are allowed (§7.2.1), but nobody sends
them, zlib does not read them, and it would keep what comes without end."""

Parameter = tuple[str, str | None]
Extension = tuple[str, tuple[Parameter, ...]]


class Agreement(NamedTuple):
    """What both sides keep to (RFC 7692 §7.1)."""

    server_bits: int = 15
    client_bits: int = 15
    server_forgets: bool = False
    """``server_no_context_takeover``: each of our messages is compressed on its own."""
    client_forgets: bool = False


def agree(offers: Iterable[Extension]) -> tuple[Agreement, str] | None:
    """The first offer that can be kept, and the answer to it; None when there is none (RFC 7692 §5.1)."""
    for name, parameters in offers:
        if name == NAME:
            agreed = _accept(parameters)
            if agreed is not None:
                return agreed
    return None


def _accept(parameters: tuple[Parameter, ...]) -> tuple[Agreement, str] | None:
    """An offer with a parameter that is unknown, given twice or out of range is declined (RFC 7692 §7.1)."""
    given = dict(parameters)
    if len(given) != len(parameters):
        return None
    server_bits, client_bits = WINDOW_BITS_MAX, 15
    answer = [NAME]
    for name, value in given.items():
        if name in {"server_no_context_takeover", "client_no_context_takeover"}:
            if value is not None:
                return None
            answer.append(name)
        elif name == "server_max_window_bits":
            bits = _window_bits(value)
            # zlib makes no raw stream with a window of 256 bytes.
            if bits is None or bits < 9:
                return None
            server_bits = min(bits, WINDOW_BITS_MAX)
        elif name == "client_max_window_bits":
            bits = 15 if value is None else _window_bits(value)
            if bits is None:
                return None
            client_bits = min(bits, WINDOW_BITS_MAX)
            answer.append(f"{name}={client_bits}")
        else:
            return None
    answer.append(f"server_max_window_bits={server_bits}")
    agreement = Agreement(
        server_bits, client_bits, "server_no_context_takeover" in given, "client_no_context_takeover" in given
    )
    return agreement, "; ".join(answer)


def _window_bits(value: str | None) -> int | None:
    """A decimal number from 8 to 15 without leading zeros (RFC 7692 §7.1.2)."""
    return int(value) if value in {"8", "9", "10", "11", "12", "13", "14", "15"} else None


class Deflate:
    """The two directions of one connection.

    :param agreement: see :func:`agree`.
    """

    __slots__ = ("_agreement", "_compressor", "_decompressor")

    def __init__(self, agreement: Agreement) -> None:
        self._agreement = agreement
        # zlib has no names for these types.
        self._compressor: Any = None
        self._decompressor: Any = None

    def compress(self, payload: bytes) -> bytes:
        """One message, without its :data:`TAIL`."""
        compressor = self._compressor
        if compressor is None:
            compressor = zlib.compressobj(wbits=-self._agreement.server_bits, memLevel=MEMORY_LEVEL)
            if not self._agreement.server_forgets:
                self._compressor = compressor
        data: bytes = compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)
        return data[:-4]

    def decompress(self, data: bytes, size_max: int, *, last: bool) -> bytes:
        """The next part of a message.

        :param size_max: max bytes that the message may still grow by; when it is larger, one byte more is returned.
        :param last: the message ends with ``data``.
        :raises zlib.error: this is no compressed data.
        """
        decompressor = self._decompressor
        if decompressor is None:
            # Python's zlib accepts 8 here: a decompressor may have a larger window than the compressor.
            decompressor = self._decompressor = zlib.decompressobj(wbits=-max(9, self._agreement.client_bits))
        inflated: bytes = decompressor.decompress(data + TAIL if last else data, size_max + 1)
        if len(decompressor.unused_data) > _AFTER_FINAL_BYTES_MAX:
            raise zlib.error("data follows the block that is marked as the last one")
        if last and (self._agreement.client_forgets or decompressor.eof):
            # A block marked as the last one ends the stream; the next message begins another (RFC 7692 §7.2.3.4).
            self._decompressor = None
        return inflated
