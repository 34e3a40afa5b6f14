"""The footer goes away before anything is written and comes back behind it."""

from __future__ import annotations

from devserver.ui.footer import ERASE, Footer


def footer(text: str = "keys", columns: int = 80) -> Footer:
    made = Footer(lambda: columns)
    made.text = text
    return made


def test_footer_is_drawn_behind_what_is_written_and_taken_away_before() -> None:
    made = footer()
    assert made.around(b"one\n", at_start_of_line=True) == b"one\n\x1b[2mkeys\x1b[0m"
    assert made.around(b"two\n", at_start_of_line=True) == ERASE.encode() + b"two\n\x1b[2mkeys\x1b[0m"


def test_line_of_the_app_that_has_no_end_stands_alone() -> None:
    made = footer()
    made.around(b"one\n", at_start_of_line=True)
    assert made.around(b"name? ", at_start_of_line=False) == ERASE.encode() + b"name? "
    assert made.around(b"\n", at_start_of_line=True) == b"\n\x1b[2mkeys\x1b[0m"


def test_footer_is_never_wider_than_the_terminal() -> None:
    assert footer("x" * 100, 20).around(b"", at_start_of_line=True) == b"\x1b[2m" + b"x" * 19 + b"\x1b[0m"
    assert footer("x" * 100, 0).around(b"", at_start_of_line=True) == b"\x1b[2m\x1b[0m"


def test_hidden_footer_is_taken_away_once() -> None:
    made = footer()
    made.around(b"", at_start_of_line=True)
    made.hidden = True
    assert made.around(b"", at_start_of_line=True) == ERASE.encode()
    assert made.around(b"x\n", at_start_of_line=True) == b"x\n"
