"""A chunked request body (RFC 9112 §7.1): its data, and the byte at which it ends.

llhttp decodes the chunks; it does not say at which byte the message ended. :class:`ChunkScanner` walks over the same
bytes and does, so that a request that follows in the same read is not fed to the parser before its turn. Both must
agree on the end: if they do not, the message is refused. Two parsers that disagree are how requests are smuggled.

The scanner also bounds what carries no body: sizes with endless zeros, extensions and trailers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from devserver.protocol.http1.refusal import Refusal

FRAMING_BYTES_MAX = 65536
"""Size lines, extensions and trailers of one message may take this much more than its body. Ordinary chunks of 8 KiB
spend 8 bytes each, so that an upload of any length fits, while one-byte chunks and endless extensions do not."""
_SIZE_DIGITS_MAX = 16
_HEX = b"0123456789abcdefABCDEF"
_TOKEN = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# RFC 9110 §5.5: visible ASCII, SP, HTAB and obs-text.
_FIELD_VALUE = b"\t" + bytes(range(0x20, 0x7F)) + bytes(range(0x80, 0x100))
_NO_TRAILERS = frozenset((b"content-length", b"transfer-encoding"))
"""What would frame the message comes too late behind it (RFC 9110 §6.5.1)."""

# Puts a fresh parser into the middle of a chunked message. The head was judged by another one: llhttp stops at an
# Upgrade that nobody takes, although the body follows as ever.
_SYNTHETIC_HEAD = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"


class ChunkedBody:
    """Decodes one body.

    :param deliver: called with the data of each chunk, or of a part of it.
    :param parser_factory: makes the parser that decodes.
    """

    __slots__ = ("_decoded_to_end", "_deliver", "_parser", "_scanner", "complete")

    def __init__(self, deliver: Callable[[bytes], None], parser_factory: Callable[[object], Any]) -> None:
        self.complete = False
        self._deliver = deliver
        self._scanner = ChunkScanner()
        self._decoded_to_end = False
        self._parser = parser_factory(self)
        self._parser.feed_data(_SYNTHETIC_HEAD)

    def feed(self, data: bytes, start: int) -> int:
        """Decodes ``data`` from ``start``.

        :returns: the offset after the last byte of the message, or ``len(data)`` when it is not :attr:`complete` yet.
        :raises Refusal: 400 when the chunks are malformed; the parser's own errors pass through.
        """
        end = self._scanner.scan(data, start)
        self._parser.feed_data(data[start:end])
        self.complete = self._scanner.complete
        if self._decoded_to_end != self.complete:
            raise Refusal(400, "The end of the chunked body is ambiguous.")
        return end

    def on_header(self, name: bytes, value: bytes) -> None:
        """Trailer fields are not merged into the head and not handed on (RFC 9110 §6.5.1)."""

    def on_body(self, data: bytes) -> None:
        """The parser has decoded data."""
        self._deliver(data)

    def on_message_complete(self) -> None:
        """The parser has seen the end of the message."""
        self._decoded_to_end = True


def is_field_line(line: bytes) -> bool:
    """Whether a line, without its CRLF, is ``field-name ":" field-value`` (RFC 9112 §5, RFC 9110 §5.5)."""
    name, colon, value = line.partition(b":")
    return bool(name and colon) and not name.translate(None, _TOKEN) and not value.translate(None, _FIELD_VALUE)


class ChunkScanner:
    """Follows one chunked message from the byte after its head."""

    __slots__ = ("_body_bytes", "_data_left", "_framing_bytes", "_in_trailers", "_line", "complete")

    def __init__(self) -> None:
        self.complete = False
        self._data_left = 0
        """Bytes of chunk data, with the CRLF behind them, that are still to come."""
        self._in_trailers = False
        self._line = b""
        """The part of a size or trailer line that has arrived."""
        self._body_bytes = 0
        self._framing_bytes = 0

    def scan(self, data: bytes, start: int) -> int:
        """Moves over ``data`` from ``start``.

        :returns: the offset after the last byte of the message, or ``len(data)`` when it is not :attr:`complete` yet.
        :raises Refusal: 400 when a size is malformed or the framing outweighs the body.
        """
        position, size = start, len(data)
        while position < size:
            if self._data_left:
                step = min(self._data_left, size - position)
                self._data_left -= step
                position += step
                continue
            newline = data.find(b"\n", position)
            if newline < 0:
                self._count(size - position)
                self._line += data[position:]
                return size
            self._count(newline + 1 - position)
            line = self._line + data[position : newline + 1]
            self._line = b""
            position = newline + 1
            if self._in_trailers:
                if line == b"\r\n":
                    self.complete = True
                    return position
                name = line.partition(b":")[0].lower()
                if not line.endswith(b"\r\n") or not is_field_line(line[:-2]) or name in _NO_TRAILERS:
                    raise Refusal(400, "A trailer field is malformed.")
            else:
                self._open_chunk(line)
        return size

    def _open_chunk(self, line: bytes) -> None:
        digits, _, extensions = line[:-2].partition(b";")
        if not line.endswith(b"\r\n") or not digits or len(digits) > _SIZE_DIGITS_MAX or digits.translate(None, _HEX):
            raise Refusal(400, "A chunk size is malformed.")
        if extensions and extensions.translate(None, _FIELD_VALUE):
            raise Refusal(400, "A chunk extension holds a control character.")
        length = int(digits, 16)
        if length:
            self._data_left = length + 2
            self._body_bytes += length
        else:
            self._in_trailers = True

    def _count(self, framing_bytes: int) -> None:
        self._framing_bytes += framing_bytes
        if self._framing_bytes > FRAMING_BYTES_MAX + self._body_bytes:
            raise Refusal(400, "The framing of the chunked body outweighs the body.")
