"""RFC 6455 §5 to §8, section by section, and compressed messages (RFC 7692 §6): bytes in, messages and answers out."""

from __future__ import annotations

import tracemalloc
from dataclasses import dataclass, field
from sys import getsizeof

import pytest
from websockets.speedups import apply_mask

from devserver.protocol.websocket.deflate import COMPRESSED_FROM, Agreement
from devserver.protocol.websocket.frames import unmask
from devserver.protocol.websocket.session import COUNTED_FROM, PONGS_MAX, End, Session
from tests.support.websocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    ClientDeflate,
    Frame,
    client_close,
    client_fragments,
    client_frame,
    client_text,
    cut,
    only_frame,
)

SIZE_MAX = 100_000
HELD_MAX = 1_000_000_000
"""Held bytes at which no test stops by accident."""
DEFLATE = Agreement()

CONTROL = [CLOSE, PING, PONG]
VALID_UTF8 = [
    "",
    "Hello",
    "line\nline\r\nline\r",
    "\x00",
    "κόσμε",
    "\x7f\x80\u07ff\u0800\ud7ff\ue000\uffff\U00010000\U0010ffff",
    "\ufdd0\ufffe\ufffd",
    "\ufeffa\ufeff",
    "a😀b€cé",
]
INVALID_UTF8 = [
    b"\x80",
    b"Hello\xff",
    b"\xfe",
    b"\xc0\xaf",  # overlong
    b"\xe0\x80\xaf",
    b"\xf0\x80\x80\xaf",
    b"\xc1\xbf",
    b"\xe0\x9f\xbf",
    b"\xf0\x8f\xbf\xbf",
    b"\xed\xa0\x80",  # surrogates
    b"\xed\xbf\xbf",
    b"\xed\xa0\x80\xed\xb0\x80",
    b"\xf4\x90\x80\x80",  # beyond U+10FFFF
    b"\xf8\x88\x80\x80\x80",
    b"\xc3",  # cut
    b"\xe2\x82",
    b"\xf0\x9f\x98",
    b"\xc3a",
    b"\xe2\x82a",
    b"\xce\xba\xed\xa0\x80edited",
]


@dataclass
class Outcome:
    """What bytes led to."""

    messages: list[str | bytes]
    pongs: list[bytes] = field(default_factory=list)
    end: End | None = None
    heard_pong: bool = False

    @property
    def failure(self) -> int:
        """The status code with which the session failed, after everything that must hold then was checked."""
        assert self.end is not None, "nothing was noticed"
        assert self.end.failed
        answer = only_frame(self.end.answer)
        assert answer == Frame(CLOSE, self.end.code.to_bytes(2) + self.end.reason.encode())
        assert self.end.reason.endswith(".")
        return self.end.code


def feed(session: Session, *pieces: bytes, messages_max: int = 1_000_000) -> list[str | bytes]:
    """The messages in these pieces."""
    return [message for piece in pieces for message in session.receive(piece, messages_max, HELD_MAX)]


def outcome(*data: bytes, size_max: int = SIZE_MAX, agreement: Agreement | None = None) -> Outcome:
    """What these bytes lead to, which is the same as a whole and byte by byte, and with both ways to take masks off."""
    whole = b"".join(data)
    step = 1 if len(whole) < 4096 else 997
    outcomes = []
    for take_off in (unmask, apply_mask):
        for pieces in ([whole], cut(whole, range(0, len(whole), step))):
            session = Session(size_max=size_max, agreement=agreement, unmask=take_off)
            messages = feed(session, *pieces)
            outcomes.append(Outcome(messages, session.pongs, session.end, session.heard_pong))
    assert [other for other in outcomes if other != outcomes[0]] == []
    return outcomes[0]


# --- RFC 6455 §5.1: masking is required


@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, PONG, CLOSE])
@pytest.mark.parametrize("payload", [b"", b"\x03\xe8Hello", b"\x03\xe8" + b"x" * 123])
def test_frame_without_a_mask_fails_the_connection(opcode: int, payload: bytes) -> None:
    assert outcome(client_frame(opcode, payload, mask=None)).failure == 1002


@pytest.mark.parametrize("size", [126, 1000, 65535, 65536])
def test_long_frame_without_a_mask_fails_the_connection(size: int) -> None:
    assert outcome(client_frame(BINARY, b"x" * size, mask=None)).failure == 1002
    # Its payload need not arrive for that.
    assert outcome(client_frame(BINARY, mask=None, declared=size)[:2]).failure == 1002


def test_frame_without_a_mask_between_others_fails_the_connection() -> None:
    result = outcome(client_text("before"), client_frame(TEXT, b"Hello", mask=None), client_text("after"))
    assert result.failure == 1002
    assert result.messages == ["before"]
    opened = client_frame(TEXT, b"a", fin=False)
    assert outcome(opened, client_frame(CONTINUATION, b"b", mask=None)).failure == 1002


# --- RFC 6455 §5.2: base framing protocol


@pytest.mark.parametrize("opcode", [TEXT, BINARY, *CONTROL])
@pytest.mark.parametrize(("rsv1", "rsv2", "rsv3"), [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)])
def test_reserved_bit_without_an_extension_fails_the_connection(opcode: int, rsv1: int, rsv2: int, rsv3: int) -> None:
    frame = client_frame(opcode, rsv1=bool(rsv1), rsv2=bool(rsv2), rsv3=bool(rsv3))
    assert outcome(frame).failure == 1002


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("rsv1", [False, True])
def test_reserved_bit_that_compression_does_not_use_fails_the_connection(opcode: int, rsv1: bool) -> None:
    assert outcome(client_frame(opcode, b"\x00", rsv1=rsv1, rsv2=True), agreement=DEFLATE).failure == 1002
    assert outcome(client_frame(opcode, b"\x00", rsv1=rsv1, rsv3=True), agreement=DEFLATE).failure == 1002


@pytest.mark.parametrize("opcode", [*range(0x3, 0x8), *range(0xB, 0x10)])
def test_unknown_opcode_fails_the_connection(opcode: int) -> None:
    assert outcome(client_frame(opcode, b"Hello")).failure == 1002
    assert outcome(client_frame(opcode, b"Hello", fin=False)).failure == 1002
    assert outcome(client_frame(TEXT, fin=False), client_frame(opcode)).failure == 1002


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 128, 255, 256, 65535, 65536, 65537])
def test_message_of_any_length_arrives(size: int) -> None:
    data = (bytes(range(256)) * 300)[:size]
    text = ("Hello, world " * 6000)[:size]
    assert outcome(client_frame(BINARY, data), client_text(text)) == Outcome([data, text])


@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING])
@pytest.mark.parametrize(("width", "size"), [(2, 0), (2, 1), (2, 125), (8, 0), (8, 1), (8, 125), (8, 126), (8, 65535)])
def test_length_that_is_not_in_the_fewest_bytes_fails_the_connection(opcode: int, width: int, size: int) -> None:
    assert outcome(client_frame(opcode, b"x" * size, width=width)).failure == 1002


def test_length_with_the_highest_bit_set_fails_the_connection() -> None:
    assert outcome(client_frame(BINARY, declared=1 << 63)).failure == 1002
    assert outcome(client_frame(BINARY, declared=(1 << 64) - 1)).failure == 1002


def test_text_is_str_and_binary_is_bytes() -> None:
    result = outcome(client_frame(TEXT, b"Hello"), client_frame(BINARY, b"Hello"))
    assert result.messages == ["Hello", b"Hello"]
    assert [type(message) for message in result.messages] == [str, bytes]


# --- RFC 6455 §5.3: masks


def test_frame_that_these_tests_make_is_that_of_section_5_7() -> None:
    assert client_frame(TEXT, b"Hello") == b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"


@pytest.mark.parametrize("mask", [bytes(4), b"\xff\xff\xff\xff", b"\x81\x85\x00\x01"])
def test_every_mask_is_taken_off(mask: bytes) -> None:
    assert outcome(client_frame(TEXT, b"Hello", mask=mask)) == Outcome(["Hello"])


@pytest.mark.parametrize("size", range(9))
def test_mask_goes_on_where_the_payload_was_cut(size: int) -> None:
    payload = bytes(range(size))
    frame = client_frame(BINARY, payload)
    for first in range(len(frame) + 1):
        for second in range(first, len(frame) + 1):
            session = Session(size_max=SIZE_MAX)
            assert feed(session, *cut(frame, [first, second])) == [payload]


# --- RFC 6455 §5.4: fragmentation


def test_fragments_are_one_message() -> None:
    text = client_fragments(TEXT, b"Hel", b"lo, ", b"world")
    binary = client_fragments(BINARY, b"\x00", b"\xff", b"\x80")
    assert outcome(*text, *binary) == Outcome(["Hello, world", b"\x00\xff\x80"])


def test_empty_fragments_are_part_of_a_message() -> None:
    assert outcome(*client_fragments(TEXT, b"", b"", b"a", b"", b"")) == Outcome(["a"])
    assert outcome(*client_fragments(TEXT, b"", b"", b"")) == Outcome([""])
    assert outcome(*client_fragments(BINARY, b"", b"")) == Outcome([b""])


def test_control_frames_between_fragments_are_answered_at_once() -> None:
    first, second, third = client_fragments(TEXT, b"a", b"b", b"c")
    result = outcome(first, client_frame(PING, b"p"), second, client_frame(PONG, b"q"), third, client_text("d"))
    assert result == Outcome(["abc", "d"], [b"\x8a\x01p"], heard_pong=True)
    session = Session(size_max=SIZE_MAX)
    assert feed(session, first, client_frame(PING, b"p")) == []
    assert session.pongs == [b"\x8a\x01p"]


@pytest.mark.parametrize("fin", [False, True])
@pytest.mark.parametrize("before", [[], [client_text("a")], client_fragments(TEXT, b"a", b"b"), [client_frame(PING)]])
def test_continuation_of_nothing_fails_the_connection(before: list[bytes], fin: bool) -> None:
    assert outcome(*before, client_frame(CONTINUATION, b"c", fin=fin)).failure == 1002


@pytest.mark.parametrize("fin", [False, True])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("before", [[b"a"], [b""], [b"a", b"b"]])
def test_message_within_another_fails_the_connection(opcode: int, before: list[bytes], fin: bool) -> None:
    unfinished = client_fragments(TEXT, *before, b"")[:-1]
    assert outcome(*unfinished, client_frame(opcode, b"c", fin=fin)).failure == 1002


def kept_bytes(session: Session, *pieces: bytes) -> int:
    """By how much memory grows when the session takes these pieces."""
    tracemalloc.start()
    try:
        feed(session, *pieces)
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("first", "nothing"),
    [
        (client_frame(TEXT, fin=False), b""),
        (client_frame(BINARY, fin=False), b""),
        (client_frame(BINARY, fin=False, rsv1=True), b""),
        # Empty blocks (RFC 7692 §7.2.1)
        (client_frame(TEXT, fin=False, rsv1=True), b"\x00\x00\x00\xff\xff"),
    ],
    ids=["text", "binary", "compressed", "empty blocks"],
)
def test_flood_of_empty_fragments_takes_no_memory(first: bytes, nothing: bytes) -> None:
    session = Session(size_max=10, agreement=DEFLATE)
    flood = client_frame(CONTINUATION, nothing, fin=False) * 2000
    feed(session, first, flood)
    assert kept_bytes(session, *[flood] * 9) < 16_384
    assert len(feed(session, client_frame(CONTINUATION, b"\x00"))) == 1


@pytest.mark.parametrize("count", [2, 1023, 1024, 5000])
@pytest.mark.parametrize("text", ["e", "é"])
def test_message_in_very_many_pieces_is_whole(text: str, count: int) -> None:
    whole = (text + "\n") * count
    pieces = cut(whole.encode(), range(len(whole.encode())))
    session = Session(size_max=SIZE_MAX)
    assert feed(session, *client_fragments(TEXT, *pieces), *client_fragments(BINARY, *pieces)) == [
        whole,
        whole.encode(),
    ]
    assert feed(session, *client_fragments(TEXT, b"af", b"ter")) == ["after"]


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_message_in_very_many_pieces_takes_little_more_than_its_size(opcode: int) -> None:
    frames = client_fragments(opcode, *[b"ab"] * 20_000)
    # Kept piece by piece it would be a million.
    assert kept_bytes(Session(size_max=SIZE_MAX), *frames[:-1]) < 150_000


# --- RFC 6455 §5.5: control frames


def test_control_frame_may_have_125_bytes() -> None:
    payload = bytes(range(125))
    result = outcome(client_frame(PING, payload), client_frame(PONG, payload), client_close(1000, b"x" * 123))
    assert result.pongs == [b"\x8a\x7d" + payload]
    assert result.heard_pong
    assert result.end == End(1000, "x" * 123, b"\x88\x7d\x03\xe8" + b"x" * 123, failed=False)


@pytest.mark.parametrize("opcode", CONTROL)
@pytest.mark.parametrize("size", [126, 127, 65535, 65536])
def test_control_frame_that_is_longer_fails_the_connection(opcode: int, size: int) -> None:
    assert outcome(client_frame(opcode, declared=size)).failure == 1002


@pytest.mark.parametrize("opcode", CONTROL)
def test_control_frame_in_fragments_fails_the_connection(opcode: int) -> None:
    assert outcome(client_frame(opcode, fin=False)).failure == 1002
    assert outcome(client_frame(opcode, b"\x03\xe8", fin=False), client_frame(CONTINUATION)).failure == 1002


# --- RFC 6455 §5.5.1 and §7.1: Close


def test_close_without_a_status_is_1005_and_answered_without_one() -> None:
    result = outcome(client_text("last"), client_close(None))
    assert result == Outcome(["last"], end=End(1005, "", b"\x88\x00", failed=False))


def test_close_with_a_status_and_a_reason_is_answered_with_both() -> None:
    result = outcome(client_close(1001, "fort – weg".encode()))
    assert result.end == End(1001, "fort – weg", b"\x88\x0e\x03\xe9" + "fort – weg".encode(), failed=False)


def test_close_of_one_byte_fails_the_connection() -> None:
    assert outcome(client_frame(CLOSE, b"\x03")).failure == 1002


@pytest.mark.parametrize("reason", INVALID_UTF8)
def test_reason_that_is_not_utf_8_fails_the_connection(reason: bytes) -> None:
    assert outcome(client_close(1000, reason)).failure == 1007


@pytest.mark.parametrize("after", [client_text("no"), client_frame(PING, b"no"), client_close(1002), b"\xff" * 20])
def test_nothing_after_a_close_frame_is_read(after: bytes) -> None:
    result = outcome(client_text("a"), client_close(1000), after)
    assert result == Outcome(["a"], end=End(1000, "", b"\x88\x02\x03\xe8", failed=False))


@pytest.mark.parametrize("close", [client_close(1000), client_close(None)])
def test_nothing_after_the_end_is_kept(close: bytes) -> None:
    session = Session(size_max=SIZE_MAX)
    for piece in (close + client_text("no"), client_text("no"), b"\x81"):
        assert feed(session, piece) == []
        assert session._rest == b""
        assert not session.waiting


def test_close_between_fragments_ends_the_connection() -> None:
    result = outcome(client_frame(TEXT, b"a", fin=False), client_close(1000))
    assert result == Outcome([], end=End(1000, "", b"\x88\x02\x03\xe8", failed=False))


# --- RFC 6455 §5.5.2 and §5.5.3: Ping and Pong


def test_ping_is_answered_with_its_payload() -> None:
    assert outcome(client_frame(PING), client_frame(PING, b"\x00\xff")) == Outcome(
        [], [b"\x8a\x00", b"\x8a\x02\x00\xff"]
    )


def test_pong_is_noted_and_not_answered() -> None:
    assert outcome(client_frame(PONG, b"anything")) == Outcome([], heard_pong=True)


def test_pongs_beyond_the_limit_answer_only_the_latest_ping() -> None:
    session = Session(size_max=SIZE_MAX)
    feed(session, *[client_frame(PING, b"%d" % number) for number in range(PONGS_MAX + 100)])
    assert [only_frame(pong).payload for pong in session.pongs] == [
        *(b"%d" % number for number in range(PONGS_MAX - 1)),
        b"%d" % (PONGS_MAX + 99),
    ]
    session.pongs = []
    feed(session, client_frame(PING, b"again"))
    assert session.pongs == [b"\x8a\x05again"]


def test_beginning_of_a_control_frame_shows_until_its_end() -> None:
    session = Session(size_max=SIZE_MAX)
    ping = client_frame(PING, b"Hello")
    feed(session, ping[:8])
    assert session.control == b"\x09He"
    feed(session, ping[8:])
    assert session.control == b""


# --- RFC 6455 §7.4: status codes


@pytest.mark.parametrize(
    "code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]
)
def test_valid_status_code_is_repeated(code: int) -> None:
    value = code.to_bytes(2)
    assert outcome(client_close(code)).end == End(code, "", b"\x88\x02" + value, failed=False)
    assert outcome(client_close(code, b"why")).end == End(code, "why", b"\x88\x05" + value + b"why", failed=False)


@pytest.mark.parametrize("code", [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 1999, 2000, 2999, 5000, 65535])
def test_invalid_status_code_fails_the_connection(code: int) -> None:
    assert outcome(client_close(code)).failure == 1002
    assert outcome(client_close(code, b"why")).failure == 1002


# --- RFC 6455 §8.1: UTF-8


@pytest.mark.parametrize("text", VALID_UTF8)
def test_valid_text_arrives_wherever_it_is_cut(text: str) -> None:
    payload = text.encode()
    assert outcome(client_frame(TEXT, payload)) == Outcome([text])
    for at in range(len(payload) + 1):
        assert outcome(*client_fragments(TEXT, payload[:at], payload[at:])) == Outcome([text])


@pytest.mark.parametrize("payload", INVALID_UTF8)
def test_invalid_text_fails_the_connection_wherever_it_is_cut(payload: bytes) -> None:
    assert outcome(client_frame(TEXT, payload)).failure == 1007
    for at in range(len(payload) + 1):
        result = outcome(client_text("before"), *client_fragments(TEXT, payload[:at], payload[at:]), client_text("no"))
        assert result.failure == 1007
        assert result.messages == ["before"]


@pytest.mark.parametrize("payload", INVALID_UTF8)
def test_invalid_text_in_compressed_messages_fails_the_connection(payload: bytes) -> None:
    data = ClientDeflate().compress(payload)
    assert outcome(client_frame(TEXT, data, rsv1=True), agreement=DEFLATE).failure == 1007
    pieces = client_fragments(TEXT, *cut(data, range(len(data))), rsv1=True)
    assert outcome(*pieces, agreement=DEFLATE).failure == 1007


def test_character_that_the_last_fragment_leaves_open_fails_the_connection() -> None:
    assert outcome(*client_fragments(TEXT, b"a\xe2", b"\x82", b"")).failure == 1007
    assert outcome(*client_fragments(TEXT, b"a\xe2", b"\x82", b""), client_frame(CONTINUATION, b"\xac")).failure == 1007


def test_invalid_byte_is_noticed_before_the_frame_is_complete() -> None:
    session = Session(size_max=SIZE_MAX)
    begin = client_frame(TEXT, b"Hello\xff", declared=50_000)
    assert feed(session, begin[:-1]) == []
    assert session.end is None
    assert feed(session, begin[-1:]) == []
    assert session.end is not None
    assert session.end.code == 1007


def test_binary_messages_may_have_any_bytes() -> None:
    assert outcome(*(client_frame(BINARY, payload) for payload in INVALID_UTF8)) == Outcome([*INVALID_UTF8])


# --- RFC 6455 §7.1.7: messages before a failure


def test_messages_and_pongs_before_a_bad_frame_are_returned() -> None:
    result = outcome(
        client_text("a"),
        client_frame(PING, b"b"),
        *client_fragments(BINARY, b"c", b"d"),
        client_frame(0x3),
        client_text("no"),
        client_frame(PING, b"no"),
    )
    assert result.failure == 1002
    assert (result.messages, result.pongs) == (["a", b"cd"], [b"\x8a\x01b"])


# --- RFC 6455 §10.4: limits


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("size_max", [1, 125, 126, 1000, 65535, 65536])
def test_message_may_be_as_large_as_the_limit(opcode: int, size_max: int) -> None:
    payload = b"x" * size_max
    half = size_max // 2
    messages = outcome(
        client_frame(opcode, payload), *client_fragments(opcode, payload[:half], payload[half:], b""), size_max=size_max
    ).messages
    assert messages == [payload.decode() if opcode == TEXT else payload] * 2


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("size_max", [1, 125, 126, 1000, 65535, 65536])
def test_message_that_is_declared_larger_fails_before_its_payload(opcode: int, size_max: int) -> None:
    assert outcome(client_frame(opcode, declared=size_max + 1), size_max=size_max).failure == 1009
    assert outcome(client_frame(opcode, b"x" * (size_max + 1)), size_max=size_max).failure == 1009


def test_largest_length_is_too_large() -> None:
    assert outcome(client_frame(BINARY, declared=(1 << 63) - 1)).failure == 1009


def test_fragments_that_are_larger_together_fail_the_connection() -> None:
    pieces = client_fragments(BINARY, b"x" * 60, b"", b"x" * 40, b"x")
    assert outcome(*pieces[:-1], size_max=100).end is None
    # The head is enough.
    assert outcome(*pieces[:-1], pieces[-1][:6], size_max=100).failure == 1009


def test_every_message_has_the_limit_to_itself() -> None:
    pieces = client_fragments(BINARY, b"x" * 60, b"x" * 40)
    assert outcome(*pieces, *pieces, *pieces, size_max=100).messages == [b"x" * 100] * 3


def test_control_frames_do_not_count() -> None:
    first, second = client_fragments(BINARY, b"x" * 60, b"x" * 40)
    ping = client_frame(PING, b"x" * 125)
    assert outcome(ping, first, ping, second, ping, size_max=100).messages == [b"x" * 100]


# --- RFC 7692 §6: compressed messages


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_compressed_and_plain_messages_arrive_side_by_side(opcode: int) -> None:
    client = ClientDeflate()
    data = [client.compress(payload) for payload in (b"Hello", b"", b"Hello" * 1000)]
    result = outcome(
        client_frame(opcode, data[0], rsv1=True),
        client_frame(opcode, b"plain"),
        client_frame(opcode, data[1], rsv1=True),
        *client_fragments(opcode, b"pl", b"ain"),
        *client_fragments(opcode, *cut(data[2], range(len(data[2]))), rsv1=True),
        agreement=DEFLATE,
    )
    payloads = [b"Hello", b"plain", b"", b"plain", b"Hello" * 1000]
    assert result.messages == [payload.decode() if opcode == TEXT else payload for payload in payloads]


def test_compressed_message_may_end_with_an_empty_fragment() -> None:
    data = ClientDeflate().compress(b"Hello")
    ping = client_frame(PING, b"p")
    first, second = client_fragments(TEXT, data, b"", rsv1=True)
    assert outcome(first, ping, second, agreement=DEFLATE) == Outcome(["Hello"], [b"\x8a\x01p"])


def test_compressed_message_may_begin_with_an_empty_fragment() -> None:
    data = ClientDeflate().compress(b"Hello")
    assert outcome(*client_fragments(TEXT, b"", b"", data, rsv1=True), agreement=DEFLATE) == Outcome(["Hello"])


@pytest.mark.parametrize("opcode", [CONTINUATION, *CONTROL])
def test_rsv1_on_anything_but_the_first_frame_of_a_message_fails_the_connection(opcode: int) -> None:
    first = client_frame(TEXT, ClientDeflate().compress(b"Hello"), rsv1=True, fin=False)
    assert outcome(first, client_frame(opcode, rsv1=True), agreement=DEFLATE).failure == 1002


def test_final_block_within_a_session_ends_only_its_message() -> None:
    final = client_frame(TEXT, bytes.fromhex("f3 48 cd c9 c9 07 00 00"), rsv1=True)
    assert outcome(final, final, client_text("plain"), final, agreement=DEFLATE).messages == [
        "Hello",
        "Hello",
        "plain",
        "Hello",
    ]


def test_data_after_a_final_block_fails_the_connection() -> None:
    hello = bytes.fromhex("f3 48 cd c9 c9 07 00")
    assert outcome(client_frame(TEXT, hello * 2, rsv1=True), agreement=DEFLATE).failure == 1007


@pytest.mark.parametrize("data", [b"\xff", b"\x07", b"Hello, world"])
def test_data_that_was_not_compressed_fails_the_connection(data: bytes) -> None:
    result = outcome(client_text("before"), client_frame(BINARY, data, rsv1=True), agreement=DEFLATE)
    assert result.failure == 1007
    assert result.messages == ["before"]
    assert outcome(*client_fragments(BINARY, b"", data, b"", rsv1=True), agreement=DEFLATE).failure == 1007


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_compressed_message_may_be_as_large_as_the_limit(opcode: int) -> None:
    client = ClientDeflate()
    frames = [client_frame(opcode, client.compress(b"x" * 1000), rsv1=True) for _ in range(3)]
    assert len(outcome(*frames, agreement=DEFLATE, size_max=1000).messages) == 3
    assert outcome(*frames, agreement=DEFLATE, size_max=999).failure == 1009


def test_message_that_is_larger_compressed_than_inflated_is_measured_inflated() -> None:
    # Stored blocks, of which most are empty.
    data = b"\x00\x00\x00\xff\xff" * 100 + b"\x00\x01\x00\xfe\xffx" + b"\x00"
    assert outcome(client_frame(TEXT, data, rsv1=True), agreement=DEFLATE, size_max=1) == Outcome(["x"])


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("size_max", [1, 1000, 65536])
def test_bomb_is_stopped_one_byte_beyond_the_limit(opcode: int, size_max: int) -> None:
    bomb = ClientDeflate().compress(b"x" * 20_000_000)
    session = Session(size_max=size_max, agreement=DEFLATE)
    data = client_text("a") + client_frame(opcode, bomb, rsv1=True)
    tracemalloc.start()
    try:
        messages = feed(session, data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert messages == ["a"]
    assert session.end is not None
    assert session.end.code == 1009
    assert session._size == size_max + 1
    # Several copies of the frame, and what was inflated.
    assert peak < 10 * len(bomb) + 4 * size_max


def test_bomb_in_fragments_is_stopped_one_byte_beyond_the_limit() -> None:
    bomb = ClientDeflate().compress(b"x" * 100_000)
    session = Session(size_max=50_000, agreement=DEFLATE)
    feed(session, *client_fragments(BINARY, *cut(bomb, range(len(bomb))), rsv1=True))
    assert session.end is not None
    assert session.end.code == 1009
    assert session._size == 50_001


def test_bomb_that_the_end_of_the_message_sets_off_is_stopped() -> None:
    # A stored block whose four bytes are those that end each message (RFC 7692 §7.2.2).
    data = b"\x00\x04\x00\xfb\xff"
    frame = client_frame(BINARY, data, rsv1=True)
    assert outcome(frame, agreement=DEFLATE, size_max=4).messages == [b"\x00\x00\xff\xff"]
    assert outcome(frame, agreement=DEFLATE, size_max=3).failure == 1009


def test_agreed_context_takeover_of_the_client_is_followed() -> None:
    client, forgetful = ClientDeflate(), ClientDeflate(forgets=True)
    shared = [client_frame(TEXT, client.compress(b"Hello" * 9), rsv1=True) for _ in range(3)]
    alone = [client_frame(TEXT, forgetful.compress(b"Hello" * 9), rsv1=True) for _ in range(3)]
    assert len(shared[1]) < len(alone[1])
    assert outcome(*shared, agreement=DEFLATE).messages == ["Hello" * 9] * 3
    assert outcome(*alone, agreement=Agreement(client_forgets=True)).messages == ["Hello" * 9] * 3
    assert outcome(*shared, agreement=Agreement(client_forgets=True)).failure == 1007


def test_compressed_part_without_an_agreement_is_an_error_of_ours() -> None:
    session = Session(size_max=SIZE_MAX)
    session._compressed = True
    with pytest.raises(AssertionError, match="RSV1"):
        session._take_content(b"\x00", [])


# --- Few messages at a time


def test_messages_beyond_those_asked_for_wait() -> None:
    session = Session(size_max=SIZE_MAX)
    data = b"".join(client_text(text) for text in "abcde")
    assert not session.waiting
    assert session.receive(data, 2, HELD_MAX) == ["a", "b"]
    assert session.waiting
    session.keep(client_text("f"))
    assert session.receive(b"", 3, HELD_MAX) == ["c", "d", "e"]
    assert session.waiting
    assert session.receive(b"", 3, HELD_MAX) == ["f"]
    assert not session.waiting
    assert session.receive(b"", 3, HELD_MAX) == []


@pytest.mark.parametrize("messages_max", [1, 2, 3])
@pytest.mark.parametrize("agreement", [None, DEFLATE])
def test_messages_taken_one_after_the_other_are_the_same(messages_max: int, agreement: Agreement | None) -> None:
    data = b"".join(
        [
            client_text("a"),
            *client_fragments(BINARY, b"b", b"", b"c"),
            client_frame(PING, b"p"),
            client_text("d" * 300),
            client_text(""),
            client_frame(PING, b"q"),
            client_close(4000, b"bye"),
        ]
    )
    for size in (1, 5, 50, len(data)):
        session = Session(size_max=SIZE_MAX, agreement=agreement)
        messages: list[str | bytes] = []
        for piece in cut(data, range(0, len(data), size)):
            messages += session.receive(piece, messages_max, HELD_MAX)
            while session.waiting and (more := session.receive(b"", messages_max, HELD_MAX)):
                messages += more
        while session.waiting:
            messages += session.receive(b"", messages_max, HELD_MAX)
        assert messages == ["a", b"bc", "d" * 300, ""]
        assert session.pongs == [b"\x8a\x01p", b"\x8a\x01q"]
        assert session.end == End(4000, "bye", b"\x88\x05\x0f\xa0bye", failed=False)


def test_pings_and_the_end_behind_messages_that_wait_are_not_seen_yet() -> None:
    session = Session(size_max=SIZE_MAX)
    assert session.receive(client_text("a") + client_frame(PING) + client_close(), 1, HELD_MAX) == ["a"]
    assert (session.pongs, session.end) == ([], None)
    assert session.receive(b"", 1, HELD_MAX) == []
    assert session.pongs == [b"\x8a\x00"]
    assert session.end is not None


def test_one_byte_of_a_frame_is_no_message_that_waits() -> None:
    session = Session(size_max=SIZE_MAX)
    frame = client_text("a")
    assert session.receive(frame[:1], 9, HELD_MAX) == []
    assert not session.waiting
    assert session.receive(frame[1:], 9, HELD_MAX) == ["a"]


# --- What holding messages costs


def held(session: Session) -> int:
    """Bytes of memory of what a session keeps: bytes that it has not read, and a message that is not complete."""
    return sum(map(getsizeof, (session._rest, session._content, session.control, session.pongs)))


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_nothing_is_inflated_after_the_message_that_goes_over_the_limit(opcode: int) -> None:
    client = ClientDeflate()
    data = b"".join(client_frame(opcode, client.compress(b"x" * 60_000), rsv1=True) for _ in range(32))
    session = Session(size_max=SIZE_MAX, agreement=DEFLATE)
    assert len(session.receive(data, 32, 65_536)) == 2
    assert session.waiting
    assert held(session) < len(data) + 500
    # Later calls go on, each with a limit of its own.
    assert len(session.receive(b"", 32, 0)) == 1
    assert len(session.receive(b"", 32, 65_536)) == 2
    assert len(session.receive(b"", 32, HELD_MAX)) == 27
    assert not session.waiting


def test_bytes_that_are_kept_are_read_by_the_next_call() -> None:
    session = Session(size_max=SIZE_MAX)
    session.keep(client_text("a")[:3])
    session.keep(client_text("a")[3:])
    assert session.waiting
    assert session.receive(client_text("b"), 32, 0) == ["a", "b"]
    assert session.receive(client_close(), 32, 0) == []
    session.keep(client_text("c"))
    assert session._rest == b""


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("text", ["x" * 1000, "x" * 996 + "\U0001f600", "漢" * 500, "é" * 300, "x" * 512])
def test_text_counts_as_what_its_characters_take_in_memory(text: str, compressed: bool) -> None:
    client, payload = ClientDeflate(), text.encode()
    frames = [
        client_frame(TEXT, client.compress(payload) if compressed else payload, rsv1=compressed) for _ in range(1_000)
    ]
    session = Session(size_max=SIZE_MAX, agreement=DEFLATE)
    messages = session.receive(b"".join(frames), 1_000_000, 100_000)
    assert 100_000 < sum(map(getsizeof, messages)) <= 100_000 + getsizeof(text)


@pytest.mark.parametrize("text", ["", "ab", "é", "漢", "\U0001f600"])
def test_small_compressed_messages_count_with_what_an_object_takes(text: str) -> None:
    client = ClientDeflate()
    data = b"".join(client_frame(TEXT, client.compress(text.encode()), rsv1=True) for _ in range(5_000))
    session = Session(size_max=SIZE_MAX, agreement=DEFLATE)
    messages = session.receive(data, 1_000_000, 100_000)
    assert 100_000 < sum(map(getsizeof, messages)) <= 100_000 + getsizeof(text)


@pytest.mark.parametrize("text", ["", "a", "ab", "é", "漢", "\U0001f600", "x" * (COUNTED_FROM - 1)])
def test_small_messages_that_are_not_compressed_take_at_most_ten_times_their_bytes(text: str) -> None:
    session = Session(size_max=SIZE_MAX)
    data = client_text(text) * 1_000
    messages = session.receive(data, 1_000, 0)
    assert messages == [text] * 1_000
    assert sum(map(getsizeof, messages)) <= 10 * len(data)


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_message_in_tiny_fragments_is_held_at_little_more_than_its_size(opcode: int, size: int) -> None:
    # Each fourth character needs four bytes, which a str would spend on every one.
    payload = "abc\U0001f600".encode() * 3_000
    frames = client_fragments(opcode, *cut(payload, range(0, len(payload), size)))
    session = Session(size_max=SIZE_MAX)
    for number, frame in enumerate(frames[:-1], 1):
        assert session.receive(frame, 32, HELD_MAX) == []
        assert held(session) <= 1.2 * size * number + 500
    assert session.receive(frames[-1], 32, HELD_MAX) == [payload.decode() if opcode == TEXT else payload]
    assert held(session) < 500


@pytest.mark.parametrize("step", [1, 7, 1000])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_large_frame_in_small_reads_is_held_once(opcode: int, step: int) -> None:
    payload = b"x" * 20_000
    frame = client_frame(opcode, payload)
    session = Session(size_max=SIZE_MAX)
    arrived = 0
    for piece in cut(frame, range(0, len(frame) - 1, step))[:-1]:
        assert session.receive(piece, 32, HELD_MAX) == []
        arrived += len(piece)
        # Nothing but the head of a frame is kept for the next call.
        assert len(session._rest) < 14
        assert held(session) <= 1.2 * arrived + 500


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_inflated_message_of_one_frame_is_not_copied(opcode: int) -> None:
    size = 4_000_000
    frame = client_frame(opcode, ClientDeflate().compress(bytes(size)), rsv1=True)
    session = Session(size_max=size, agreement=DEFLATE)
    tracemalloc.start()
    try:
        (message,) = session.receive(frame, 32, 65_536)
        now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(message) == size
    assert now < 1.1 * size
    # zlib's blocks are joined, and text is decoded: two at a time.
    assert peak < 2.2 * size


def test_bytes_that_wait_are_not_copied_for_each_message() -> None:
    session = Session(size_max=SIZE_MAX)
    data = client_text("ab") * 10_000
    session.receive(data, 1, HELD_MAX)
    kept = {id(session._rest): session._rest}
    for _ in range(9_999):
        assert session.receive(b"", 1, HELD_MAX) == ["ab"]
        kept[id(session._rest)] = session._rest
    # A copy is made whenever half is left, so that what was read is let go of.
    assert len(kept) < 20
    assert sum(map(len, kept.values())) < 2.5 * len(data)


def test_few_bytes_that_wait_do_not_keep_a_large_read() -> None:
    session = Session(size_max=SIZE_MAX)
    assert len(session.receive(client_text("x" * 50_000) + b"\x81", 32, HELD_MAX)) == 1
    assert held(session) < 500


def test_flood_of_pings_leaves_a_bounded_number_of_answers() -> None:
    session = Session(size_max=SIZE_MAX)
    assert session.receive(client_frame(PING, b"x" * 125) * 5_000, 32, HELD_MAX) == []
    assert len(session.pongs) == PONGS_MAX
    assert held(session) + sum(map(getsizeof, session.pongs)) < 10_000


# --- After our Close frame


@pytest.mark.parametrize("agreement", [None, DEFLATE])
def test_discarded_messages_are_not_inflated_and_the_close_is_found(agreement: Agreement | None) -> None:
    bomb = ClientDeflate().compress(bytes(1_000_000))
    rsv1 = agreement is not None
    data = b"".join(
        [
            client_text("text"),
            client_frame(TEXT, b""),
            client_frame(BINARY, bomb, rsv1=rsv1),
            *client_fragments(TEXT, b"a", b"", bomb, rsv1=rsv1),
            client_frame(TEXT, b"\xff"),
            client_frame(PING, b"p"),
            client_close(4000, b"bye"),
        ]
    )
    for step in (1, 5, 1000, len(data)):
        session = Session(size_max=SIZE_MAX, agreement=agreement)
        for piece in cut(data, range(0, len(data), step)):
            assert session.end is None
            session.discard(piece)
            assert held(session) < 1000
        assert session.end == End(4000, "bye", b"\x88\x05\x0f\xa0bye", failed=False)
        session.discard(b"more")


def test_discarding_begins_within_a_message_and_with_bytes_that_wait() -> None:
    for before in (client_frame(TEXT, b"abc", fin=False), client_frame(TEXT, b"abc")[:-1], client_text("abc") * 9):
        session = Session(size_max=SIZE_MAX)
        session.receive(before, 1, HELD_MAX)
        rest = client_frame(CONTINUATION, b"d") if session._opcode and not session._left else b"d"[: session._left]
        session.discard(b"")
        assert session._content == b""
        session.discard(rest + client_close())
        assert session.end is not None
        assert not session.end.failed


def test_broken_frame_is_found_while_messages_are_discarded() -> None:
    session = Session(size_max=SIZE_MAX)
    session.discard(client_text("a") + client_frame(TEXT, b"b", mask=None))
    assert session.end is not None
    assert session.end.failed


# --- Frames of ours


def test_messages_of_ours_are_frames_without_a_mask() -> None:
    session = Session(size_max=SIZE_MAX)
    assert session.text("Grüße") == b"\x81\x07" + "Grüße".encode()
    assert session.binary(b"\x00\xff") == b"\x82\x02\x00\xff"
    assert only_frame(session.binary(bytes(70_000))) == Frame(BINARY, bytes(70_000))


@pytest.mark.parametrize("agreement", [None, DEFLATE])
def test_messages_of_ours_of_any_length_are_read_by_a_client(agreement: Agreement | None) -> None:
    session, client = Session(size_max=SIZE_MAX, agreement=agreement), ClientDeflate()
    for size in [*range(130), 65535, 65536]:
        text = "é" * (size // 2) + "e" * (size % 2)
        for opcode, data in ((TEXT, session.text(text)), (BINARY, session.binary(text.encode()))):
            frame = only_frame(data)
            assert (frame.opcode, frame.rsv1) == (opcode, agreement is not None and size >= COMPRESSED_FROM)
            payload = client.decompress(frame.payload) if frame.rsv1 else frame.payload
            assert payload.decode() == text


def test_text_that_utf_8_cannot_say_is_refused() -> None:
    with pytest.raises(UnicodeEncodeError):
        Session(size_max=SIZE_MAX).text("\ud800")


def test_large_messages_of_ours_are_smaller_when_compressed() -> None:
    session = Session(size_max=SIZE_MAX, agreement=DEFLATE)
    assert len(session.text("x" * 100_000)) < 1000
    assert len(session.binary(b"x" * 100_000)) < 1000
