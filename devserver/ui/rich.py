"""Lines as coloured text for a terminal, by rich.

rich is imported when the first line is rendered, on the thread that writes: its 100 ms are never part of the start.
Markup, highlighting and emoji codes are off, so that what a path or a message says is printed and never obeyed. Lines
are not wrapped, because a terminal that wraps a URL itself still knows it as one.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from devserver.ui.choice import ASCII

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rich.console import Console

    from devserver.ui.narrator import Line

_STYLES = {
    "text": "",
    "strong": "bold",
    "dim": "dim",
    "good": "bold green",
    "warn": "bold yellow",
    "bad": "bold red",
    "link": "cyan",
    "source": "bold",
}


class RichText:
    """Lines in colour.

    :param environ: says which colours the terminal knows (``TERM``, ``COLORTERM``).
    :param colour: False leaves bold and dim only.
    :param ascii: the stream cannot print our symbols.
    """

    def __init__(self, environ: Mapping[str, str], *, colour: bool, ascii: bool) -> None:  # noqa: A002 - the word for it
        self._environ = environ
        self._colour = colour
        self._ascii = ascii
        self._console: Console | None = None

    def prepare(self) -> None:
        """Imports rich; called early, on a thread that has nothing else to do, it saves the first line that time."""
        self._open()

    def render(self, lines: Iterable[Line]) -> str:
        """The lines as one text with escape sequences that ends with a line break."""
        from rich.text import Text

        console = self._open()
        with console.capture() as capture:
            for line in lines:
                text = Text(end="")
                for style, part in line:
                    text.append(part.translate(ASCII) if self._ascii else part, _STYLES[style])
                console.print(text, soft_wrap=True)
        return capture.get()

    def _open(self) -> Console:
        if self._console is None:
            from rich.console import Console

            self._console = Console(
                file=io.StringIO(),
                force_terminal=True,
                force_interactive=False,
                no_color=not self._colour,
                markup=False,
                highlight=False,
                emoji=False,
                legacy_windows=False,
                _environ=self._environ,
            )
        return self._console
