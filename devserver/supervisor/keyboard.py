"""Tells the supervisor when something in a worker reads from the keyboard, so that it can lend it.

Reading happens in two ways: ``input()`` lets C code read, which is also what ``breakpoint()`` and ``code.interact()``
call, and everything else goes through ``sys.stdin``. Programs that draw the screen themselves, and ``os.read(0)``, do
neither; the former are recognized by what they do to the terminal.
"""

from __future__ import annotations

import builtins
import contextlib
import io
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any


def watch_reads(tell: Callable[[int], object]) -> None:
    """Calls ``tell`` with how many threads read from standard input, whenever that changes."""
    reads = _Reads(tell)
    original = builtins.input

    def input(prompt: object = "", /) -> str:  # noqa: A001
        with reads.one():
            return original(prompt)

    builtins.input = input
    given = sys.stdin
    stdin = io.TextIOWrapper(
        io.BufferedReader(_Announced(reads)), encoding=given.encoding, errors=given.errors, line_buffering=True
    )
    # What programs may ask of the real one.
    stdin.mode = "r"  # type: ignore[misc]
    if sys.__stdin__ is given:
        sys.__stdin__ = stdin  # type: ignore[misc]
    sys.stdin = stdin


class _Reads:
    def __init__(self, tell: Callable[[int], object]) -> None:
        self._tell = tell
        self._count = 0
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        self._change(1)
        try:
            yield
        finally:
            self._change(-1)

    def _change(self, by: int) -> None:
        with self._lock:
            self._count += by
            self._tell(self._count)


class _Announced(io.FileIO):
    """Standard input, unbuffered."""

    def __init__(self, reads: _Reads) -> None:
        super().__init__(0, closefd=False)
        self._reads = reads
        self.name = "<stdin>"

    def readinto(self, buffer: Any, /) -> int | None:
        with self._reads.one():
            return super().readinto(buffer)

    def read(self, size: int | None = -1, /) -> Any:
        with self._reads.one():
            return super().read(size)

    def readall(self) -> Any:
        with self._reads.one():
            return super().readall()
