"""Counts the database queries of a request, when SQLAlchemy is what sends them.

SQLAlchemy is never imported for this: it is listened to once the app has brought it along. What counts as alike is one
statement with other parameters, which is how a loop that loads one row at a time looks.
"""

from __future__ import annotations

import contextvars
import os
import sys
from collections import Counter
from collections.abc import Container
from typing import Any

MANY = 10
"""Queries of one request that are worth a word."""
ALIKE = 5
FRAMES_MAX = 60
STATEMENTS_MAX = 500


class Queries:
    """The queries of one request.

    :param source: knows whose code is the project's.
    """

    __slots__ = ("_places", "_source", "_statements", "count")

    def __init__(self, source: Source) -> None:
        self.count = 0
        self._source = source
        self._statements: Counter[str] = Counter()
        self._places: dict[str, str] = {}

    def add(self, statement: str) -> None:
        """One more."""
        self.count += 1
        if statement not in self._statements and len(self._statements) >= STATEMENTS_MAX:
            return
        self._statements[statement] += 1
        if self._statements[statement] == ALIKE:
            self._places[statement] = self._source.caller()

    def note(self) -> str:
        """A sentence when there are many, or many that are alike; else empty."""
        if not self.count:
            return ""
        statement, alike = self._statements.most_common(1)[0]
        if self.count < MANY and alike < ALIKE:
            return ""
        place = self._places.get(statement, "")
        detail = f"{alike} alike" + (f": {place}" if place else "") if alike >= ALIKE else ""
        return f"{self.count} queries" + (f" ({detail})" if detail else "")


class Source:
    """Finds the line of the project's own that led to where it is called from.

    :param first_party: which files are the project's.
    :param directory: paths below it are told relative to it.
    """

    def __init__(self, first_party: Container[str], directory: str) -> None:
        self._first_party = first_party
        self._directory = directory.rstrip(os.sep) + os.sep

    def caller(self) -> str:
        """``path:line``, or empty when none of the project's functions is on the stack."""
        frame = sys._getframe(1)  # noqa: SLF001 - the frame is all that is wanted
        for _ in range(FRAMES_MAX):
            if frame.f_code.co_filename in self._first_party:
                return f"{frame.f_code.co_filename.removeprefix(self._directory)}:{frame.f_lineno}"
            if frame.f_back is None:
                break
            frame = frame.f_back
        return ""


current: contextvars.ContextVar[Queries | None] = contextvars.ContextVar("queries", default=None)
"""Of the request that is being served; sync endpoints run in a thread with a copy of the context."""


def listen() -> None:
    """Counts from here on, in the whole process, if SQLAlchemy is there by now."""
    global _listens
    if _listens or "sqlalchemy.engine" not in sys.modules:
        return
    _listens = True
    sqlalchemy: Any = sys.modules["sqlalchemy"]
    sqlalchemy.event.listen(sqlalchemy.engine.Engine, "before_cursor_execute", _on_execute)


_listens = False


def _on_execute(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
    queries = current.get()
    if queries is not None:
        queries.add(statement)
