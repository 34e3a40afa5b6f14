"""How to speak: on a terminal or not, with the variables that people set."""

from __future__ import annotations

import pytest

from devserver.ui.choice import ASCII, SYMBOLS, Choice, choose

PLAIN = Choice("plain")
COLOURED = Choice("rich", colour=True)


def chosen(
    ui: str = "auto",
    *,
    terminal: bool = True,
    encoding: str = "utf-8",
    use_colors: bool | None = None,
    **environ: str,
) -> Choice:
    return choose(ui, terminal=terminal, encoding=encoding, environ=environ, use_colors=use_colors)


def test_terminal_gets_rich_text() -> None:
    assert chosen(TERM="xterm-256color") == COLOURED


def test_pipe_gets_plain_text() -> None:
    assert chosen(terminal=False) == PLAIN


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb"), ("CI", "true")])
def test_terminal_that_wants_no_colour_gets_plain_text(name: str, value: str) -> None:
    choice = choose("auto", terminal=True, encoding="utf-8", environ={name: value}, use_colors=None)
    assert choice == PLAIN


def test_empty_no_color_means_nothing() -> None:
    assert chosen(NO_COLOR="") == COLOURED


@pytest.mark.parametrize(("value", "choice"), [("1", COLOURED), ("", PLAIN), ("0", PLAIN), ("false", PLAIN)])
def test_force_color_makes_colours_in_a_pipe(value: str, choice: Choice) -> None:
    assert chosen(terminal=False, FORCE_COLOR=value, CI="1") == choice


def test_no_color_wins_over_force_color() -> None:
    assert chosen(NO_COLOR="1", FORCE_COLOR="1") == PLAIN


def test_option_wins_over_the_environment() -> None:
    assert chosen(use_colors=True, NO_COLOR="1", terminal=False) == COLOURED
    assert chosen(use_colors=False, FORCE_COLOR="1") == PLAIN
    assert chosen("rich", NO_COLOR="1") == Choice("rich", colour=False)
    assert chosen("rich", terminal=False, FORCE_COLOR="1") == COLOURED
    assert chosen("plain", FORCE_COLOR="1") == PLAIN


def test_json_is_the_same_everywhere() -> None:
    assert chosen("json", terminal=True, encoding="ascii", FORCE_COLOR="1") == Choice("json")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437", "no-such-encoding"])
def test_encoding_without_our_symbols_gets_ascii(encoding: str) -> None:
    assert chosen(encoding=encoding) == Choice("rich", colour=True, ascii=True)


def test_every_symbol_has_a_stand_in() -> None:
    assert SYMBOLS.translate(ASCII).isascii()
