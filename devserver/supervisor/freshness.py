"""Whether the files that this process runs are still those on disk, asked before a request is answered.

The supervisor is told of a save some milliseconds after it; a request that comes in between must not be answered by the
old code. So a worker looks for itself, which costs 2 µs a file, and lets the supervisor judge what it has found.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TypeAlias

from devserver.app.source_loader import stamp

Stamp: TypeAlias = tuple[int, int, int]
"""What :func:`devserver.app.source_loader.stamp` gives."""

CHEAP_S = 0.0002
"""A look that takes no longer is taken before every batch of requests."""
SHARE = 5
"""A look that takes longer is taken again after so many times as long."""


class Freshness:
    """Compares files with their stamps.

    :param stamps: gives path → stamp of all files that count, as they were when they were read.
    """

    def __init__(self, stamps: Callable[[], Mapping[str, Stamp]]) -> None:
        self._stamps = stamps
        self._accepted: dict[str, Stamp] = {}
        """Stamps of files that are known to have changed in nothing that matters."""
        self._next = 0.0

    def changed(self) -> list[str]:
        """The files that differ; none while it is too early to look again."""
        if self._next and time.perf_counter() < self._next:
            return []
        # CPU time, so that a process that is not given the processor meanwhile does not look less often for it.
        began_s = time.thread_time()
        accepted = self._accepted
        found = []
        # A copy, made at one go: another thread may be importing a module.
        for path, known in list(self._stamps().items()):
            now = stamp(path)
            if now != known and accepted.get(path) != now:
                found.append(path)
        took_s = time.thread_time() - began_s
        self._next = 0.0 if took_s < CHEAP_S else time.perf_counter() + SHARE * took_s
        return found

    def accept(self, paths: list[str]) -> None:
        """What has been said of these files is enough, until they change again."""
        for path in paths:
            self._accepted[path] = stamp(path)
