"""RFC 9112 section 7.1: the decoder of chunked bodies by itself, held against llhttp, and what it costs."""

from __future__ import annotations

import contextlib
import sys

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devserver.protocol.http1.chunked import FRAMING_BYTES_MAX, FRAMING_BYTES_PER_CHUNK, ChunkedBody, is_field_line
from devserver.protocol.http1.refusal import Refusal

LINE_BYTES_MAX = 8190
BEHIND = b"GET /smuggled HTTP/1.1\r\n\r\n"


def decode(*pieces: bytes, line_bytes_max: int = LINE_BYTES_MAX) -> tuple[bytes, bytes, bool]:
    """The body, what lies behind its end, and whether the end was found."""
    decoder = ChunkedBody(line_bytes_max)
    body = rest = b""
    for piece in pieces:
        if decoder.complete:
            rest += piece
            continue
        data, end = decoder.feed(piece, 0)
        body += data
        rest += piece[end:]
    return body, rest, decoder.complete


def bytewise(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def test_data_and_what_lies_behind_the_end_are_told_apart() -> None:
    raw = b"5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nX: y\r\n\r\n" + BEHIND
    assert decode(raw) == (b"hello world", BEHIND, True)
    assert decode(*bytewise(raw)) == (b"hello world", BEHIND, True)
    for at in range(len(raw)):
        assert decode(raw[:at], raw[at:]) == (b"hello world", BEHIND, True)


def test_decoding_begins_at_the_offset_that_is_given() -> None:
    decoder = ChunkedBody(LINE_BYTES_MAX)
    assert decoder.feed(b"head" + b"2\r\nok\r\n0\r\n\r\n" + BEHIND, 4) == (b"ok", 4 + 12)
    assert decoder.complete


def test_incomplete_message_is_not_complete() -> None:
    raw = b"5\r\nhello\r\n0\r\nX: y\r\n\r\n"
    for at in range(len(raw)):
        assert not decode(raw[:at])[2]


sizes = st.one_of(
    st.integers(0, 40).map(lambda size: f"{size:x}"), st.sampled_from(["00a", "A", "0", "", "g", "-1", " 1", "1 "])
)
extensions = st.sampled_from(["", "", "", ";x", ";x=y", ';x="y"', ";\x01", "x"])
line_ends = st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b""])
trailers = st.sampled_from([b"", b"", b"X: y\r\n", b"X : y\r\n", b"Content-Length: 1\r\n", b"nonsense\r\n"])


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """Chunked messages, most of them well formed."""
    raw = b""
    for size, data, extension in draw(st.lists(st.tuples(sizes, st.binary(max_size=40), extensions), max_size=6)):
        with contextlib.suppress(ValueError):
            data = data[: int(size, 16)].ljust(int(size, 16), b"x")
        raw += (size + extension).encode("latin-1") + draw(line_ends) + data + draw(line_ends)
    return raw + b"0" + draw(line_ends) + draw(trailers) + draw(line_ends)


class _Llhttp:
    def __init__(self) -> None:
        self.body = b""
        self.complete = False
        self.parser = httptools.HttpRequestParser(self)
        self.parser.feed_data(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.complete = True


@given(messages(), st.data())
def test_whatever_is_taken_llhttp_takes_and_decodes_alike(raw: bytes, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(raw)))
    outcomes = []
    for pieces in ([raw], [raw[:cut], raw[cut:]], bytewise(raw)):
        try:
            outcomes.append(decode(*pieces))
        except Refusal:
            outcomes.append((b"", b"", False))
    assert [outcome for outcome in outcomes if outcome[2]] in ([], [outcomes[0]] * 3)
    body, rest, complete = outcomes[0]
    if complete:
        judge = _Llhttp()
        judge.parser.feed_data(raw[: len(raw) - len(rest)])
        assert judge.complete
        assert judge.body == body


# --- Limits


def refusal_of(*pieces: bytes, line_bytes_max: int = LINE_BYTES_MAX) -> str:
    with pytest.raises(Refusal) as caught:
        decode(*pieces, line_bytes_max=line_bytes_max)
    assert caught.value.status == 400
    return str(caught.value)


@pytest.mark.parametrize("start", [b"1;", b"0\r\nX: "])
def test_line_has_a_longest_length_however_it_is_cut(start: bytes) -> None:
    line = start.rpartition(b"\n")[2]
    longest = start + b"x" * (100 - len(line)) + b"\r\n"
    end = b"a\r\n0\r\n\r\n" if b"\n" not in start else b"\r\n"
    for pieces in ([longest + end], bytewise(longest + end)):
        assert decode(*pieces, line_bytes_max=100)[2]
    longer = start + b"x" * (101 - len(line)) + b"\r\n"
    for pieces in ([longer], bytewise(longer), [longer[:-2]]):
        assert "too long" in refusal_of(*pieces, line_bytes_max=100)


def test_framing_of_a_message_has_a_limit_that_grows_with_the_chunks() -> None:
    lines = b"X: y\r\n" * (FRAMING_BYTES_MAX // 6)
    assert decode(b"0\r\n" + lines[:-6] + b"\r\n")[2]
    assert "outweighs" in refusal_of(b"0\r\n" + lines + b"X: y\r\n\r\n")
    tiny = b"1\r\na\r\n" * 50_000
    assert len(tiny) > 4 * FRAMING_BYTES_MAX
    assert decode(tiny + b"0\r\n\r\n")[0] == b"a" * 50_000
    extended = b"1;%b\r\na\r\n" % (b"x" * FRAMING_BYTES_PER_CHUNK)
    assert "outweighs" in refusal_of(extended * FRAMING_BYTES_MAX)


def test_decoder_holds_a_line_at_most() -> None:
    decoder = ChunkedBody(LINE_BYTES_MAX)
    raw = b"1;%b\r\na\r\n" % (b"x" * 8000) * 8
    for piece in bytewise(raw):
        decoder.feed(piece, 0)
        held = sum(sys.getsizeof(getattr(decoder, slot)) for slot in ChunkedBody.__slots__)
        assert held < LINE_BYTES_MAX + 512


@pytest.mark.parametrize(
    ("line", "is_one"),
    [(b"X: y", True), (b"X:", True), (b"X : y", False), (b": y", False), (b"X", False), (b"X: \x01", False)],
)
def test_field_line_is_a_token_a_colon_and_a_value(line: bytes, is_one: bool) -> None:
    assert is_field_line(line) is is_one


@pytest.mark.parametrize("sizes", [[1] * 50, [3, 3, 300, 3, 1, 1, 40], [1, 16, 256, 4096] * 3])
def test_framing_is_counted_alike_however_a_message_is_cut(sizes: list[int]) -> None:
    raw = b"".join(b"%x\r\n%b\r\n" % (size, b"\n" * size) for size in sizes) + b"0\r\nX: y\r\n\r\n"
    decode(raw)  # Sizes that were seen before take the short way.
    left = set()
    for cut in ([raw], bytewise(raw), [raw[:7], raw[7:]]):
        decoder = ChunkedBody(LINE_BYTES_MAX)
        assert b"".join(decoder.feed(piece, 0)[0] for piece in cut) == b"\n" * sum(sizes)
        left.add(decoder._framing_left)
    assert len(left) == 1


@pytest.mark.parametrize("behind", [b"\n", b"\r", b"\r\r", b"\n\n", b"\r\n\r\n", b"x\r\n", b"\r\n0x"])
def test_bytes_behind_chunks_that_are_no_line_end_are_refused(behind: bytes) -> None:
    decode(b"1\r\na\r\n1\r\na\r\n0\r\n\r\n")
    for raw in (b"1\r\na" + behind + b"1\r\na\r\n", b"1\r\na\r\n1\r\na" + behind + b"1\r\na\r\n"):
        assert refusal_of(raw) == refusal_of(*bytewise(raw))


@pytest.mark.parametrize(
    "line", [b"X: y\rz\r\n", b"X: y\r\r\n", b"X: \x00\r\n", b"X\r\n", b": y\r\n", b"X : y\r\n", b"X: y\n"]
)
def test_malformed_trailer_is_refused(line: bytes) -> None:
    assert "trailer" in refusal_of(b"0\r\n" + line + b"\r\n")


@pytest.mark.parametrize("extension", [b"", b"x=", b" x", b"x;", b"=y", b'x="y"z', b'x="y', b"x=y=z", b"x\x01"])
def test_malformed_extension_is_refused(extension: bytes) -> None:
    assert "extension" in refusal_of(b"1;" + extension + b"\r\na\r\n0\r\n\r\n")


@pytest.mark.parametrize("extension", [b"x", b"x=y", b"x;y=z", b'x="a;b"', b'x="a\\"b"', b'x=""'])
def test_extension_is_taken_and_dropped(extension: bytes) -> None:
    assert decode(b"1;" + extension + b"\r\na\r\n0\r\n\r\n")[0] == b"a"
