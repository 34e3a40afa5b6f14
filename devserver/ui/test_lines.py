"""What ``dev test --watch`` shows: a line for each run, and below it what pytest wrote, when that matters."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from devserver.events import Notice
    from devserver.supervisor.testing.watching import Finished

PATHS_SHOWN_MAX = 3
_ERASE = "\r\x1b[2K"
_GREEN, _RED, _YELLOW, _DIM, _NORMAL = "\x1b[32m", "\x1b[31m", "\x1b[33m", "\x1b[2m", "\x1b[0m"
_ORDER = ("failed", "error", "passed", "skipped", "xfailed", "xpassed")
_ENDINGS = {
    2: "interrupted",
    3: "pytest failed",
    4: "pytest was called in a way that it does not know",
    5: "no tests",
}
"""pytest's exit codes that say more than that tests failed."""
_ALL_WELL = frozenset({0, 5})


class TestLines:
    """Writes them.

    :param out: standard output.
    :param terminal: whether a person reads it as it comes.
    :param colors: whether it may have colours.
    :param directory: names of files are shown from here.
    :param everything: what tests write is shown even when all is well.
    """

    __test__ = False

    def __init__(self, out: BinaryIO, *, terminal: bool, colors: bool, directory: str, everything: bool) -> None:
        self._out = out
        self._terminal = terminal
        self._colors = colors
        self._directory = directory
        self._everything = everything
        self._told_keys = False

    def started(self, files: int | None) -> None:
        """On a terminal, a line that stays until there is something to say."""
        if self._terminal:
            what = "all tests" if files is None else "1 file" if files == 1 else f"{files} files"
            self._write(self._styled(_DIM, f"running {what} …"))

    def finished(self, run: Finished) -> None:
        """``12 passed · 3 files · 0.24 s · app/items.py``."""
        erase = _ERASE if self._terminal else ""
        well = run.code in _ALL_WELL
        self._write(f"{erase}{self._styled(_GREEN if well else _RED, summary(run, self._directory))}\n")
        shown = run.output.strip(b"\n")
        if shown and (self._everything or not well):
            self._out.write(shown + b"\n")
        if self._terminal and not self._told_keys:
            self._told_keys = True
            self._write(self._styled(_DIM, "Enter: run all · f: run failed · q: quit") + "\n")
        self._out.flush()

    def notice(self, notice: Notice) -> None:
        """One line."""
        erase = _ERASE if self._terminal else ""
        self._write(f"{erase}{self._styled(_YELLOW, notice.level)}: {notice.text}\n")

    def _styled(self, style: str, text: str) -> str:
        return f"{style}{text}{_NORMAL}" if self._colors else text

    def _write(self, text: str) -> None:
        self._out.write(text.encode("utf-8", "surrogateescape"))
        self._out.flush()


def summary(run: Finished, directory: str) -> str:
    """The line of a run."""
    counted = [f"{run.counts[kind]} {kind}" for kind in _ORDER if run.counts.get(kind)]
    if run.counts.get("error", 0) > 1:
        counted = [text.replace(" error", " errors") for text in counted]
    parts = [", ".join(counted)] if counted else []
    if run.code in _ENDINGS and not (run.code == 2 and counted):
        parts.append(_ENDINGS[run.code])
    elif not counted:
        parts.append("passed" if run.code == 0 else f"exit code {run.code}")
    if run.files:
        parts.append("1 file" if run.files == 1 else f"{run.files} files")
    parts.append(f"{run.duration_s:.2f} s")
    names = [os.path.relpath(path, directory) for path in run.paths]
    if names:
        more = f" and {len(names) - PATHS_SHOWN_MAX} more" if len(names) > PATHS_SHOWN_MAX else ""
        parts.append(", ".join(names[:PATHS_SHOWN_MAX]) + more)
    return " · ".join(parts)
