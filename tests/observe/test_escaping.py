"""devserver/observe/escaping.py."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devserver.observe.escaping import CLEAN, escape, escape_text, printable


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"/a b?c=1", "/a b?c=1"),
        (b"/\x1b[31mred", "/\\x1b[31mred"),
        (b"/a\r\nINFO: forged", "/a\\x0d\\x0aINFO: forged"),
        (b'/"end', "/\\x22end"),
        (b"/\\x1b", "/\\x5cx1b"),
        (b"/\x00\x7f\x80\xff", "/\\x00\\x7f\\x80\\xff"),
        (b"/%1B%0A", "/%1B%0A"),
        (b"", ""),
    ],
)
def test_a_byte_that_is_not_printable_is_shown_in_hexadecimal(raw: bytes, shown: str) -> None:
    assert escape(raw) == shown


@given(st.binary())
def test_any_bytes_become_one_printable_ascii_line_without_quotes(raw: bytes) -> None:
    shown = escape(raw)
    assert shown.isascii()
    assert shown.isprintable()
    assert '"' not in shown


@given(st.binary(), st.binary())
def test_two_inputs_never_look_the_same(one: bytes, other: bytes) -> None:
    assert (escape(one) == escape(other)) == (one == other)


@given(st.binary())
def test_clean_changes_exactly_what_is_escaped(raw: bytes) -> None:
    assert (raw.translate(CLEAN) == raw) == (escape(raw) == raw.decode("latin-1"))


def test_text_beyond_ascii_is_shown_as_utf_8() -> None:
    assert escape_text("GÉT\ud800") == "G\\xc3\\x89T\\xed\\xa0\\x80"


def test_a_message_keeps_its_lines_and_letters_but_no_controls() -> None:
    assert printable("ü\tline\nline \x1b[0m\r\x9b\u202e") == "ü\tline\nline \\x1b[0m\\x0d\\x9b\\u202e"
