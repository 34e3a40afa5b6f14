"""Decides how to speak: as rich text, plain text or JSON, with which colours and with which characters.

Pure: what it needs to know of the process is given to it. The rules are those of no-color.org and force-color.org; a
machine that reads along (a pipe, a CI job) gets plain text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

SYMBOLS = "↻↺➜→↓│·…×"
"""Everything that is not ASCII in what the UI says of its own accord."""

ASCII = str.maketrans({"↻": "*", "↺": "*", "➜": ">", "→": "->", "↓": "v", "│": "|", "·": "-", "…": "...", "×": "x"})
"""What stands for :data:`SYMBOLS` where they cannot be printed."""


@dataclass(frozen=True, slots=True)
class Choice:
    """How to speak."""

    kind: str
    """``rich``, ``plain`` or ``json``."""
    colour: bool = False
    ascii: bool = False


def choose(ui: str, *, terminal: bool, encoding: str, environ: Mapping[str, str], use_colors: bool | None) -> Choice:
    """How to speak on a stream.

    :param ui: the option: ``auto``, ``rich``, ``plain`` or ``json``.
    :param terminal: whether a terminal is at the other end of the stream.
    :param encoding: of the stream.
    :param use_colors: the option; None leaves it to the environment.
    """
    if ui == "json":
        return Choice("json")
    able = environ.get("TERM") != "dumb"
    if use_colors is not None:
        colour = use_colors
    elif environ.get("NO_COLOR"):
        colour = False
    elif environ.get("FORCE_COLOR", "0").lower() not in {"", "0", "false"}:
        colour = True
    else:
        colour = terminal and able and not environ.get("CI")
    if ui == "auto":
        # Without colours, rich text has nothing over plain text, which is there 100 ms earlier.
        ui = "rich" if colour else "plain"
    return Choice(ui, colour=colour and ui == "rich", ascii=not _can_print(SYMBOLS, encoding))


def _can_print(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
