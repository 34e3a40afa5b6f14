"""Which files the app opens while it is imported and started, besides its modules.

An audit hook (PEP 578) sees every file that Python opens, whoever opens it; it cannot be removed again, so it does next
to nothing once the app serves. A file that the app itself writes is not part of its source, whatever
else it is: a JSON file kept as a database must not restart the app at every request.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Container
from typing import TYPE_CHECKING, Any

from devserver.app.source_loader import stamp

if TYPE_CHECKING:
    from devserver.supervisor.freshness import Stamp

FILES_MAX = 10_000
"""An app that reads more files than this while it starts reads data, not settings."""

IN_MEMORY = ":memory:"
"""SQLite's name for a database that is no file."""

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC
_PYTHON = (".py", ".pyc", ".pyi", ".so", ".pyd")


class FileRecorder:
    """Notes files until :meth:`settle` is called, and from then on only those of them that the app writes.

    :param first_party: which files are the project's.
    :param on_write: called, once a file and from any thread, when the app writes a file that it read before.
    """

    def __init__(self, first_party: Container[str], on_write: Callable[[str], None]) -> None:
        self._first_party = first_party
        self._on_write = on_write
        self._read: dict[str, Stamp] = {}
        """With what was known of each before it was read."""
        self._written: set[str] = set()
        self._recording = False

    def install(self) -> None:
        """Begins to record; for good, as far as the interpreter is concerned."""
        self._recording = True
        sys.addaudithook(self._audit)

    def settle(self) -> None:
        """The app has started: files read from now on are data."""
        self._recording = False

    def opened(self) -> tuple[str, ...]:
        """The project's files that were read and not written, other than modules."""
        return tuple(path for path in list(self._read) if path not in self._written and self._counts(path))

    def written(self) -> tuple[str, ...]:
        """The project's files that were written."""
        return tuple(path for path in list(self._written) if path in self._first_party)

    def all_read(self) -> dict[str, Stamp]:
        """Every file that was opened to be read so far, or looked for, with its stamp from before."""
        return dict(self._read)

    def all_written(self) -> list[str]:
        """Every file that was written so far, whoever's it is."""
        return list(self._written)

    def _counts(self, path: str) -> bool:
        return not path.endswith(_PYTHON) and path in self._first_party and os.path.isfile(path)

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            writes = not set("wax+").isdisjoint(mode) if isinstance(mode, str) else bool(flags & _WRITING)
            if writes:
                self._wrote(path)
            elif self._recording and len(self._read) < FILES_MAX:
                name = _absolute(path)
                if name and name not in self._read:
                    self._read[name] = stamp(name)
        elif event == "os.rename":
            self._wrote(arguments[1])
        elif event == "sqlite3.connect" and arguments[0] != IN_MEMORY:
            self._wrote(arguments[0])

    def _wrote(self, path: Any) -> None:
        if not self._recording and not self._read:
            return
        name = _absolute(path)
        if not name or name in self._written:
            return
        if self._recording:
            if len(self._written) < FILES_MAX:
                self._written.add(name)
        elif name in self._read:
            self._written.add(name)
            self._on_write(name)


def _absolute(path: Any) -> str:
    # Descriptors and in-memory names have no file; a path that cannot be read as text is nobody's source.
    try:
        return "" if isinstance(path, int) else os.path.abspath(os.fsdecode(path))
    except (TypeError, ValueError, OSError):
        return ""
