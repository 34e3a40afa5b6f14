"""Requests that are alike are one line with a count, also when they come one by one.

On a terminal the line that was written last can be taken back and written again. That is only right while nothing was
written behind it and none of its text was wrapped, since then it takes more rows than lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from devserver.ui.footer import UP

if TYPE_CHECKING:
    from devserver.events import RequestSeen, RequestsSeen
    from devserver.ui.narrator import Line


class Folding:
    """Remembers the request that stands last on the screen."""

    def __init__(self) -> None:
        self._last: RequestSeen | None = None
        self._rows = 0

    def forget(self) -> None:
        """Something else was written, or the screen has changed."""
        self._last = None

    def fold(self, event: RequestsSeen) -> tuple[RequestsSeen, str]:
        """What to tell in the place of ``event``, and what takes back what it repeats."""
        if self._last is None or not event.requests:
            return event, ""
        folded = self._last.fold(event.requests[0])
        if folded is None:
            return event, ""
        return replace(event, requests=(folded, *event.requests[1:])), UP * self._rows

    def shown(self, event: RequestsSeen, lines: Sequence[Line], columns: int) -> None:
        """``event`` was written, as ``lines``, on a terminal of that width."""
        from rich.cells import cell_len

        self.forget()
        if event.more or not event.requests:
            return
        last = event.requests[-1]
        rows = lines[-1 - len(last.notes) :]
        if all(sum(cell_len(text) for _, text in row) < columns for row in rows):
            self._last, self._rows = last, len(rows)
