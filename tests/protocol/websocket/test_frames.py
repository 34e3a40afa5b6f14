"""RFC 6455 §5 and §7.4: masks, the frames that a server sends, and status codes."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.speedups import apply_mask

from devserver.protocol.websocket import frames
from tests.support.websocket import MASK, Frame, masked, only_frame

Unmask = Callable[[bytes, bytes], bytes]

both_unmask = pytest.mark.parametrize("unmask", [frames.unmask, apply_mask], ids=["python", "c"])

# --- RFC 6455 §5.2: frames of a server


@pytest.mark.parametrize(
    ("size", "head"),
    [
        (0, b"\x82\x00"),
        (1, b"\x82\x01"),
        (125, b"\x82\x7d"),
        (126, b"\x82\x7e\x00\x7e"),
        (65535, b"\x82\x7e\xff\xff"),
        (65536, b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
def test_length_of_a_frame_is_encoded_in_the_fewest_bytes(size: int, head: bytes) -> None:
    payload = b"x" * size
    data = frames.encode(frames.FIN | frames.BINARY, payload)
    assert data == head + payload
    assert only_frame(data) == Frame(frames.BINARY, payload)


@pytest.mark.parametrize(
    ("first", "payload", "data"),
    [
        (frames.FIN | frames.TEXT, b"Hello", b"\x81\x05Hello"),
        (frames.TEXT, b"Hel", b"\x01\x03Hel"),
        (frames.FIN | frames.CONTINUATION, b"lo", b"\x80\x02lo"),
        (frames.FIN | frames.PING, b"Hello", b"\x89\x05Hello"),
        (frames.FIN | frames.PONG, b"Hello", b"\x8a\x05Hello"),
        (frames.FIN | frames.BINARY, bytes(256), b"\x82\x7e\x01\x00" + bytes(256)),
        (frames.FIN | frames.BINARY, bytes(65536), b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00" + bytes(65536)),
        (frames.FIN | frames.RSV1 | frames.TEXT, b"\xf2", b"\xc1\x01\xf2"),
    ],
)
def test_examples_of_section_5_7_are_encoded_as_they_stand_there(first: int, payload: bytes, data: bytes) -> None:
    assert frames.encode(first, payload) == data


def test_longest_head_of_a_client_has_the_bytes_that_are_allowed_for_it() -> None:
    head = b"\x82\xff" + (1 << 62).to_bytes(8) + MASK
    assert len(head) == frames.HEAD_BYTES_MAX


# --- RFC 6455 §5.3: masks


@both_unmask
def test_example_of_section_5_7_is_unmasked(unmask: Unmask) -> None:
    assert unmask(b"\x7f\x9f\x4d\x51\x58", MASK) == b"Hello"


@both_unmask
@pytest.mark.parametrize("size", [*range(18), 125, 126, 1000, 65537])
def test_payload_of_any_length_is_unmasked(unmask: Unmask, size: int) -> None:
    payload = (bytes(range(256)) * 257)[:size]
    assert unmask(masked(payload, b"\x00\x01\x80\xff"), b"\x00\x01\x80\xff") == payload


@both_unmask
@pytest.mark.parametrize("mask", [bytes(4), b"\xff\xff\xff\xff", b"\x00\x00\x00\x01", b"\x80\x00\x00\x00"])
def test_masks_of_zeros_and_ones_are_masks_like_others(unmask: Unmask, mask: bytes) -> None:
    assert unmask(masked(b"\x00\xffsome\x00text\xff\x00", mask), mask) == b"\x00\xffsome\x00text\xff\x00"


@given(st.binary(max_size=300), st.binary(min_size=4, max_size=4))
def test_any_payload_is_unmasked_the_same_by_both(payload: bytes, mask: bytes) -> None:
    assert frames.unmask(payload, mask) == apply_mask(payload, mask) == masked(payload, mask)


def test_c_code_takes_masks_off_when_it_is_installed() -> None:
    assert frames.fastest_unmask is apply_mask


def test_python_takes_masks_off_when_there_is_no_c_code(monkeypatch: pytest.MonkeyPatch) -> None:
    # None makes the import fail.
    monkeypatch.setitem(sys.modules, "websockets.speedups", None)
    module = runpy.run_path(str(frames.__file__))
    assert module["fastest_unmask"] is module["unmask"]


# --- RFC 6455 §5.5.1: Close frames of a server


def test_close_frame_has_its_code_and_reason() -> None:
    frame = only_frame(frames.encode_close(1001, "gone – away"))
    assert (frame.opcode, frame.code, frame.reason) == (frames.CLOSE, 1001, "gone – away")


def test_close_frame_without_a_status_is_empty() -> None:
    assert frames.encode_close(frames.NO_STATUS) == b"\x88\x00"
    assert frames.encode_close(frames.NO_STATUS, "not sent") == b"\x88\x00"


def test_reason_that_just_fits_is_sent_whole() -> None:
    assert only_frame(frames.encode_close(1000, "é" * 61 + "x")).reason == "é" * 61 + "x"


@pytest.mark.parametrize(
    ("reason", "kept"),
    [
        ("x" * 124, "x" * 123),
        ("é" * 62, "é" * 61),
        ("x" * 121 + "€", "x" * 121),
        ("x" * 122 + "€", "x" * 122),
        ("x" * 120 + "😀", "x" * 120),
        ("x" * 119 + "😀", "x" * 119 + "😀"),
    ],
)
def test_reason_that_is_too_long_is_cut_between_two_characters(reason: str, kept: str) -> None:
    frame = only_frame(frames.encode_close(1000, reason))
    assert frame.reason == kept
    assert len(frame.payload) <= frames.CONTROL_BYTES_MAX


def test_reason_that_utf_8_cannot_say_is_sent_with_a_replacement() -> None:
    assert only_frame(frames.encode_close(1000, "a\ud800b")).reason == "a?b"


# --- RFC 6455 §7.4: status codes


@pytest.mark.parametrize(
    ("codes", "sendable"),
    [
        (range(1000), False),  # §7.4.2: not used
        (range(1000, 1004), True),
        ([1004, 1005, 1006], False),  # §7.4.1: reserved, or never in a frame
        (range(1007, 1015), True),  # §7.4.1, and what the registry got later
        ([1015], False),
        (range(1016, 3000), False),  # §7.4.2: for this protocol's revisions and extensions
        (range(3000, 5000), True),  # §7.4.2: of libraries, frameworks and apps
        (range(5000, 65536), False),
    ],
)
def test_status_code_may_be_sent_as_section_7_4_says(codes: range | list[int], sendable: bool) -> None:
    assert {frames.is_sendable(code) for code in codes} == {sendable}
