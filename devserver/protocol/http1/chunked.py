"""A chunked request body (RFC 9112 §7.1): its data, and the byte at which it ends.

Strategy. One decoder reads the chunks; no second parser looks at them, so that none can disagree about where the
message ends, which is how requests are smuggled. It takes slices out of each read and joins them once, because a small
object for every chunk would take many times what the body takes. Pure: bytes in, bytes out.

What carries no body is bounded: a line by ``--limit-request-field-size``, and all lines of a message together by
:data:`FRAMING_BYTES_MAX` and :data:`FRAMING_BYTES_PER_CHUNK`.
"""

from __future__ import annotations

import re

from devserver.protocol.http1.refusal import Refusal

FRAMING_BYTES_MAX = 65536
"""Max bytes of size lines, extensions and trailers in one message, beyond a share for each chunk."""
FRAMING_BYTES_PER_CHUNK = 32
"""Share of a chunk in that limit: its size with 16 digits and a short extension. So a long body in tiny chunks is
legal, and endless extensions and trailers are not."""
_SIZE_DIGITS_MAX = 16
_LINES_MAX = 256
"""Max remembered size lines: peers send pieces of the same few sizes."""
_LINE_BYTES_MAX = 8
_HEX = b"0123456789abcdefABCDEF"
# RFC 9112 §5: field-name ":" field-value, without the CRLF. A name is a token (RFC 9110 §5.6.2).
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
# RFC 9110 §5.5: visible ASCII, SP, HTAB and obs-text.
_FIELD_LINE = re.compile(rb"(%b):[\t\x20-\x7e\x80-\xff]*+" % _TOKEN)
# RFC 9112 §7.1.1, behind the first semicolon, without the spaces that no sender may write.
_QUOTED = rb'"(?:[\t\x20\x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*+"'
_EXTENSION = rb"%b(?:=(?:%b|%b))?+" % (_TOKEN, _TOKEN, _QUOTED)
_EXTENSIONS = re.compile(rb"%b(?:;%b)*+" % (_EXTENSION, _EXTENSION))
_NO_TRAILERS = frozenset((b"content-length", b"transfer-encoding"))
"""Fields that would frame the message, and come too late behind it (RFC 9110 §6.5.1)."""
_TRAILER_LINES = re.compile(
    rb"(?:(?!(?i:%b):)%b:[\t\x20-\x7e\x80-\xff]*+\r\n)*+" % (b"|".join(sorted(_NO_TRAILERS)), _TOKEN)
)
"""Whole trailer lines, up to the first that needs a closer look. Possessive, so that it never goes back."""

# What the next bytes are.
_SIZE_LINE, _DATA, _DATA_END, _TRAILERS = range(4)

_seen_lines: dict[bytes, int] = {}
"""Size lines that were read before, with their CRLF and the one before them, and the sizes they give; none gives 0."""


def is_field_line(line: bytes) -> bool:
    """Returns whether a line, without its CRLF, is ``field-name ":" field-value`` (RFC 9112 §5, RFC 9110 §5.5)."""
    return _FIELD_LINE.fullmatch(line) is not None


class ChunkedBody:
    """Decoder of one chunked message, from the byte after its head.

    :param line_bytes_max: most bytes of one size or trailer line, without its CRLF.
    """

    __slots__ = ("_data_left", "_framing_left", "_line", "_line_bytes_max", "_stage", "complete")

    def __init__(self, line_bytes_max: int) -> None:
        self.complete = False
        """The last byte of the message has been read."""
        self._stage = _SIZE_LINE
        self._data_left = 0
        """Bytes of the current chunk's data that have not arrived."""
        self._line = b""
        """The part of a line that has arrived; in ``_DATA_END`` a CR at most."""
        self._line_bytes_max = line_bytes_max
        self._framing_left = FRAMING_BYTES_MAX

    def feed(self, data: bytes, start: int) -> tuple[bytes, int]:
        """Decodes ``data`` from ``start``.

        :returns: the body bytes found, and the offset after the last byte of the message; ``len(data)`` while the
            message is not :attr:`complete`. Trailer fields are checked and dropped (RFC 9110 §6.5.1).
        :raises Refusal: 400 when a line is malformed or too long, or the framing outweighs its limit.
        """
        parts: list[bytes] = []
        position, size = start, len(data)
        while position < size:
            stage = self._stage
            if stage == _DATA:
                end = position + self._data_left
                if end > size:
                    self._data_left = end - size
                    parts.append(data[position:])
                    position = size
                    break
                parts.append(data[position:end])
                position = self._take_whole_chunks(data, end, parts)
                self._stage = _DATA_END
            elif stage == _DATA_END:
                position = self._end_chunk(data, position)
            else:
                if stage == _TRAILERS and not self._line:
                    position = self._take_whole_trailers(data, position)
                newline = data.find(b"\n", position)
                if newline < 0:
                    self._keep_part(data[position:])
                    position = size
                    break
                line = self._line + data[position : newline + 1] if self._line else data[position : newline + 1]
                self._line = b""
                position = newline + 1
                if len(line) > self._line_bytes_max + 2:
                    raise Refusal(400, "A line of the chunked body's framing is too long.")
                self._spend(len(line))
                if stage == _SIZE_LINE:
                    self._open_chunk(line)
                elif line == b"\r\n":
                    self.complete = True
                    break
                else:
                    _check_trailer(line)
        return parts[0] if len(parts) == 1 else b"".join(parts), position

    def _take_whole_chunks(self, data: bytes, position: int, parts: list[bytes]) -> int:
        """Takes the chunks behind a chunk's data that have arrived whole, of sizes that were seen before.

        The short way through tiny chunks. A CRLF and the size line behind it are looked up together, and peers mostly
        repeat the line before.

        :param position: where the data of a chunk ends.
        :returns: where the data of the last chunk ends that was taken.
        """
        find, starts, append, get = data.find, data.startswith, parts.append, _seen_lines.get
        size, start, before = len(data), position, len(parts)
        line, line_size, length = b"", 0, 0
        repeats = False
        while True:
            if repeats and starts(line, position):
                begin = position + line_size
            else:
                begin = find(b"\n", position + 2) + 1
                last, line = line, data[position:begin]
                known = get(line)
                if known is None:
                    break
                length = known
                line_size = begin - position
                repeats = line == last
            end = begin + length
            if end > size:
                break
            append(data[begin:end])
            position = end
        chunks = len(parts) - before
        framing_bytes = position - start - sum(map(len, parts[before:])) - 2 * chunks
        self._framing_left += FRAMING_BYTES_PER_CHUNK * chunks - framing_bytes
        return position

    def _end_chunk(self, data: bytes, position: int) -> int:
        """Reads the CRLF behind chunk data; the offset after it, or after what has arrived of it."""
        end = self._line + data[position : position + 2 - len(self._line)]
        if not b"\r\n".startswith(end):
            raise Refusal(400, "A chunk is longer or shorter than its size.")
        position += len(end) - len(self._line)
        if len(end) == 2:
            self._line = b""
            self._stage = _SIZE_LINE
        else:
            self._line = end
        return position

    def _take_whole_trailers(self, data: bytes, position: int) -> int:
        """Drops the trailer lines at ``position`` that have arrived whole and may be dropped; the offset after them."""
        while True:
            # No line is longer than what is matched at once.
            lines = _TRAILER_LINES.match(data, position, position + self._line_bytes_max + 2)
            end = lines.end() if lines else position
            if end == position:
                return position
            self._spend(end - position)
            position = end

    def _keep_part(self, part: bytes) -> None:
        """Keeps the start of a line. Its end comes with a later read."""
        line = self._line + part
        if len(line) - line.endswith(b"\r") > self._line_bytes_max:
            raise Refusal(400, "A line of the chunked body's framing is too long.")
        if len(line) > self._framing_left:
            self._spend(len(line))
        if self._stage == _SIZE_LINE:
            digits, semicolon, _ = line.partition(b";")
            if digits.translate(None, _HEX) not in (b"", b"" if semicolon else b"\r"):
                raise Refusal(400, "A chunk size is malformed.")
        self._line = line

    def _open_chunk(self, line: bytes) -> None:
        """Reads ``chunk-size [chunk-ext] CRLF`` (RFC 9112 §7.1)."""
        length = _chunk_size(line)
        if length:
            if len(line) <= _LINE_BYTES_MAX:
                if len(_seen_lines) >= _LINES_MAX:
                    _seen_lines.clear()
                _seen_lines[b"\r\n" + line] = length
            self._framing_left += FRAMING_BYTES_PER_CHUNK
            self._data_left = length
            self._stage = _DATA
        else:
            self._stage = _TRAILERS

    def _spend(self, framing_bytes: int) -> None:
        self._framing_left -= framing_bytes
        if self._framing_left < 0:
            raise Refusal(400, "The framing of the chunked body outweighs the body.")


def _chunk_size(line: bytes) -> int:
    """The size that a whole size line gives."""
    digits, semicolon, extensions = line[:-2].partition(b";")
    if not line.endswith(b"\r\n") or not digits or len(digits) > _SIZE_DIGITS_MAX or digits.translate(None, _HEX):
        raise Refusal(400, "A chunk size is malformed.")
    if semicolon and not _EXTENSIONS.fullmatch(extensions):
        raise Refusal(400, "A chunk extension is malformed.")
    return int(digits, 16)


def _check_trailer(line: bytes) -> None:
    field = _FIELD_LINE.fullmatch(line, 0, len(line) - 2)
    if field is None or not line.endswith(b"\r\n") or field[1].lower() in _NO_TRAILERS:
        raise Refusal(400, "A trailer field is malformed.")
