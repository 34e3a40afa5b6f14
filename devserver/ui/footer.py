"""The line at the bottom of the terminal, below everything that was written.

It is taken away before anything is written and drawn again behind it, in the same write, so that no line is ever torn
and none of it stays behind in the history. What the app writes without a line break stands where it would be:
then there is none.
"""

from __future__ import annotations

from collections.abc import Callable

ERASE = "\r\x1b[2K"
UP = "\x1b[1A\x1b[2K"
"""To the line above, and clears it."""


class Footer:
    """Puts itself below what is written.

    :param columns: gives the terminal's width.
    """

    def __init__(self, columns: Callable[[], int]) -> None:
        self._columns = columns
        self._drawn = False
        self.text = ""
        """What it says."""
        self.hidden = False
        """Somebody else has the screen."""

    def around(self, data: bytes, *, at_start_of_line: bool) -> bytes:
        """``data`` with what takes the footer away before it and draws it after it.

        :param at_start_of_line: ``data`` leaves the cursor at the start of a line.
        """
        before = ERASE.encode() if self._drawn else b""
        self._drawn = bool(self.text) and at_start_of_line and not self.hidden
        return before + data + (self._line().encode() if self._drawn else b"")

    def _line(self) -> str:
        width = max(0, self._columns() - 1)
        return f"\x1b[2m{self.text[:width]}\x1b[0m"
