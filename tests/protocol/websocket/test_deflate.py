"""RFC 7692: what is agreed on, and compressed messages in and out."""

from __future__ import annotations

import random
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devserver.protocol.websocket.deflate import TAIL, Agreement, Deflate, Extension, agree
from tests.support.websocket import ClientDeflate, cut

SIZE_MAX = 1_000_000


def offer(*parameters: str, name: str = "permessage-deflate") -> Extension:
    """One offer; each parameter as ``name`` or ``name=value``."""
    return name, tuple(
        (key, value if equals else None) for key, equals, value in (text.partition("=") for text in parameters)
    )


def noise(size: int) -> bytes:
    """Bytes that cannot be compressed, the same each time."""
    return random.Random(7692).randbytes(size)


def message(deflate: Deflate, *pieces: bytes, size_max: int = SIZE_MAX) -> bytes:
    """The message that arrives in these pieces."""
    *before, last = pieces or [b""]
    inflated = b"".join(deflate.decompress(piece, size_max, last=False) for piece in before)
    return inflated + deflate.decompress(last, size_max, last=True)


# --- RFC 7692 §5.1 and §7.1: negotiation


@pytest.mark.parametrize(
    ("parameters", "answer", "agreement"),
    [
        ([], "server_max_window_bits=12", Agreement(12, 15)),
        # §7.1.1.1
        (
            ["server_no_context_takeover"],
            "server_no_context_takeover; server_max_window_bits=12",
            Agreement(12, 15, server_forgets=True),
        ),
        # §7.1.1.2
        (
            ["client_no_context_takeover"],
            "client_no_context_takeover; server_max_window_bits=12",
            Agreement(12, 15, client_forgets=True),
        ),
        # §7.1.2.1: never more than was asked for
        (["server_max_window_bits=9"], "server_max_window_bits=9", Agreement(9, 15)),
        (["server_max_window_bits=11"], "server_max_window_bits=11", Agreement(11, 15)),
        (["server_max_window_bits=12"], "server_max_window_bits=12", Agreement(12, 15)),
        (["server_max_window_bits=15"], "server_max_window_bits=12", Agreement(12, 15)),
        # §7.1.2.2: only asked of clients that say they can
        (["client_max_window_bits"], "client_max_window_bits=12; server_max_window_bits=12", Agreement(12, 12)),
        (["client_max_window_bits=8"], "client_max_window_bits=8; server_max_window_bits=12", Agreement(12, 8)),
        (["client_max_window_bits=9"], "client_max_window_bits=9; server_max_window_bits=12", Agreement(12, 9)),
        (["client_max_window_bits=15"], "client_max_window_bits=12; server_max_window_bits=12", Agreement(12, 12)),
        # All of them, in any order
        (
            [
                "client_max_window_bits=10",
                "server_no_context_takeover",
                "server_max_window_bits=9",
                "client_no_context_takeover",
            ],
            (
                "client_max_window_bits=10; server_no_context_takeover; client_no_context_takeover;"
                " server_max_window_bits=9"
            ),
            Agreement(9, 10, server_forgets=True, client_forgets=True),
        ),
    ],
)
def test_offer_is_accepted_with_what_both_can(parameters: list[str], answer: str, agreement: Agreement) -> None:
    assert agree([offer(*parameters)]) == (agreement, f"permessage-deflate; {answer}")


@pytest.mark.parametrize(
    "parameters",
    [
        ["unknown"],
        ["client_max_window_bits", "unknown=1"],
        # Given twice
        ["server_no_context_takeover", "server_no_context_takeover"],
        ["client_max_window_bits", "client_max_window_bits=10"],
        # §7.1.1: no value
        ["server_no_context_takeover=true"],
        ["client_no_context_takeover=1"],
        # §7.1.2.1: a value
        ["server_max_window_bits"],
        # §7.1.2: 8 to 15, without leading zeros
        ["server_max_window_bits=7"],
        ["server_max_window_bits=16"],
        ["server_max_window_bits=010"],
        ["server_max_window_bits=+9"],
        ["server_max_window_bits=x"],
        ["server_max_window_bits=١٠"],
        ["client_max_window_bits=7"],
        ["client_max_window_bits=16"],
        ["client_max_window_bits=08"],
        ["client_max_window_bits=x"],
        # Allowed, but nothing that zlib can do
        ["server_max_window_bits=8"],
    ],
)
def test_offer_that_cannot_be_kept_is_declined(parameters: list[str]) -> None:
    assert agree([offer(*parameters)]) is None


def test_first_offer_that_can_be_kept_is_accepted() -> None:
    agreed = agree(
        [
            offer("server_max_window_bits=9", name="x-webkit-deflate-frame"),
            offer("server_max_window_bits=8"),
            offer("server_max_window_bits=10"),
            offer(),
        ]
    )
    assert agreed == (Agreement(10, 15), "permessage-deflate; server_max_window_bits=10")


def test_offers_of_other_extensions_are_declined() -> None:
    assert agree([]) is None
    assert agree([offer(name="permessage-bzip2"), offer(name="permessage-deflate2")]) is None


# --- RFC 7692 §7.2.1: compression


@pytest.mark.parametrize("payload", [b"", b"a", b"Hello" * 100, noise(70_000)])
def test_compressed_messages_are_read_by_a_client(payload: bytes) -> None:
    deflate, client = Deflate(Agreement()), ClientDeflate()
    for _ in range(3):
        assert client.decompress(deflate.compress(payload)) == payload


def test_tail_of_a_message_is_not_sent() -> None:
    assert not Deflate(Agreement()).compress(b"Hello" * 100).endswith(TAIL)


@pytest.mark.parametrize("bits", range(9, 16))
def test_compressor_reaches_back_no_further_than_agreed(bits: int) -> None:
    # What is repeated lies within every window once, and once beyond all but the largest.
    payload = noise(200) * 2 + noise(20_000) + noise(200)
    deflate, client = Deflate(Agreement(server_bits=bits)), ClientDeflate(server_bits=bits)
    for _ in range(2):
        assert client.decompress(deflate.compress(payload)) == payload


# --- RFC 7692 §7.1.1: context takeover


def test_server_with_takeover_refers_to_the_messages_before() -> None:
    deflate, client = Deflate(Agreement(server_bits=12)), ClientDeflate(server_bits=12)
    payload = noise(500)
    first, second = deflate.compress(payload), deflate.compress(payload)
    assert len(second) < 50 < len(first)
    assert [client.decompress(first), client.decompress(second)] == [payload, payload]


def test_server_without_takeover_compresses_each_message_on_its_own() -> None:
    deflate = Deflate(Agreement(server_forgets=True))
    payload = noise(500)
    first, second = deflate.compress(payload), deflate.compress(payload)
    assert first == second
    client = ClientDeflate(server_forgets=True)
    assert [client.decompress(second), client.decompress(first)] == [payload, payload]


def test_client_with_takeover_may_refer_to_the_messages_before() -> None:
    deflate, client = Deflate(Agreement()), ClientDeflate()
    payload = noise(500)
    first, second = client.compress(payload), client.compress(payload)
    assert len(second) < 50
    assert [message(deflate, first), message(deflate, second)] == [payload, payload]


def test_client_without_takeover_compresses_each_message_on_its_own() -> None:
    deflate, client = Deflate(Agreement(client_forgets=True)), ClientDeflate(forgets=True)
    payload = noise(500)
    assert [message(deflate, client.compress(payload)) for _ in range(3)] == [payload] * 3


def test_client_that_breaks_its_promise_to_forget_is_found_out() -> None:
    deflate, client = Deflate(Agreement(client_forgets=True)), ClientDeflate()
    assert message(deflate, client.compress(noise(500))) == noise(500)
    with pytest.raises(zlib.error):
        message(deflate, client.compress(noise(500)))


# --- RFC 7692 §7.1.2: windows


@pytest.mark.parametrize("bits", range(8, 16))
def test_messages_of_a_client_with_any_window_are_read(bits: int) -> None:
    # zlib makes no window of 256 bytes: what is as short as that needs none.
    payload = noise(100) * 2 if bits == 8 else noise(200) * 2 + noise(20_000) + noise(200)
    deflate, client = Deflate(Agreement(client_bits=bits)), ClientDeflate(bits=max(9, bits))
    assert message(deflate, client.compress(payload)) == payload


def test_client_that_reaches_back_further_than_agreed_is_found_out() -> None:
    deflate, client = Deflate(Agreement(client_bits=9)), ClientDeflate(bits=15)
    data = client.compress(noise(20_000) + noise(200))
    # In several pieces: zlib allows any distance within what one call returns.
    with pytest.raises(zlib.error):
        message(deflate, *cut(data, range(0, len(data), 1000)))


# --- RFC 7692 §7.2.2 and §7.2.3: decompression


@pytest.mark.parametrize(
    "data",
    [
        bytes.fromhex("f2 48 cd c9 c9 07 00"),  # §7.2.3.1: one block
        bytes.fromhex("00 05 00 fa ff 48 65 6c 6c 6f 00"),  # §7.2.3.3: not compressed
        bytes.fromhex("f3 48 cd c9 c9 07 00 00"),  # §7.2.3.4: BFINAL
        bytes.fromhex("f3 48 cd c9 c9 07 00"),  # the same without the empty block
        bytes.fromhex("f2 48 05 00 00 00 ff ff ca c9 c9 07 00"),  # §7.2.3.5: two blocks
    ],
)
def test_examples_of_section_7_2_3_are_read(data: bytes) -> None:
    deflate = Deflate(Agreement())
    # Each is a whole message; so it is also as the second and the third.
    for pieces in ([data], [data[:3], data[3:]], cut(data, range(len(data)))):
        assert message(deflate, *pieces) == b"Hello"


def test_example_of_shared_window_is_read() -> None:
    deflate = Deflate(Agreement())
    assert message(deflate, bytes.fromhex("f2 48 cd c9 c9 07 00")) == b"Hello"
    assert message(deflate, bytes.fromhex("f2 00 11 00 00")) == b"Hello"  # §7.2.3.2


def test_empty_compressed_message_is_empty() -> None:
    deflate = Deflate(Agreement())
    assert message(deflate, b"\x00") == b""  # §7.2.3.6
    assert message(deflate, b"\x00") == b""
    assert message(deflate, bytes.fromhex("f2 48 cd c9 c9 07 00")) == b"Hello"


def test_message_after_a_final_block_begins_with_an_empty_window() -> None:
    deflate = Deflate(Agreement())
    assert message(deflate, bytes.fromhex("f3 48 cd c9 c9 07 00 00")) == b"Hello"
    with pytest.raises(zlib.error):
        message(deflate, bytes.fromhex("f2 00 11 00 00"))


def test_data_after_a_final_block_is_refused_and_not_kept() -> None:
    deflate = Deflate(Agreement())
    assert deflate.decompress(bytes.fromhex("f3 48 cd c9 c9 07 00"), SIZE_MAX, last=False) == b"Hello"
    assert deflate.decompress(b"\x00", SIZE_MAX, last=False) == b""
    with pytest.raises(zlib.error, match="follows"):
        message(deflate, *[b"\x00"] * 100)
    assert len(deflate._decompressor.unused_data) < 10


@pytest.mark.parametrize("after", ["f3 48 cd c9 c9 07 00", "f2 48 cd c9 c9 07 00", "00 00"])
def test_blocks_after_a_final_block_are_refused_and_not_dropped(after: str) -> None:
    with pytest.raises(zlib.error, match="follows"):
        message(Deflate(Agreement()), bytes.fromhex("f3 48 cd c9 c9 07 00" + after))


@pytest.mark.parametrize("data", [b"\xff", b"\x07", b"\x01\x05\x00\x00\x00", b"Hello, world"])
def test_data_that_was_not_compressed_is_an_error(data: bytes) -> None:
    with pytest.raises(zlib.error):
        message(Deflate(Agreement()), data)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=4), st.lists(st.integers(0, 500), max_size=5), st.booleans())
def test_messages_are_the_same_in_any_pieces(payloads: list[bytes], places: list[int], forgets: bool) -> None:
    client, deflate = ClientDeflate(forgets=forgets), Deflate(Agreement(client_forgets=forgets))
    for payload in payloads:
        assert message(deflate, *cut(client.compress(payload), places)) == payload


# --- Limits


@pytest.mark.parametrize("size_max", [0, 1, 1000, 100_000])
def test_bomb_is_inflated_to_one_byte_beyond_the_limit(size_max: int) -> None:
    bomb = ClientDeflate().compress(bytes(10_000_000))
    assert len(bomb) < 11_000
    assert len(Deflate(Agreement()).decompress(bomb, size_max, last=False)) == size_max + 1


def test_message_as_large_as_the_limit_is_whole() -> None:
    data = ClientDeflate().compress(b"x" * 1000)
    assert message(Deflate(Agreement()), data, size_max=1000) == b"x" * 1000


@pytest.mark.parametrize("size_max", [0, 1, 3])
def test_end_of_a_message_is_limited_too(size_max: int) -> None:
    # A stored block whose four bytes are what is appended to each message.
    deflate = Deflate(Agreement())
    assert deflate.decompress(b"\x00\x04\x00\xfb\xff", size_max, last=False) == b""
    assert deflate.decompress(b"", size_max, last=True) == TAIL[: size_max + 1]


def test_nothing_is_made_before_it_is_needed() -> None:
    deflate = Deflate(Agreement())
    assert deflate._compressor is deflate._decompressor is None
    deflate.compress(b"Hello")
    assert deflate._decompressor is None
    message(deflate, b"\x00")
    assert deflate._decompressor is not None


def test_nothing_is_kept_of_messages_that_stand_alone() -> None:
    deflate = Deflate(Agreement(server_forgets=True, client_forgets=True))
    deflate.compress(b"Hello")
    message(deflate, b"\x00")
    assert deflate._compressor is deflate._decompressor is None
