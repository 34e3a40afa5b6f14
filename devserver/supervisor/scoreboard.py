"""What each worker is doing, in memory that the master and all workers share.

One row a worker, written by that worker alone and read by the master, so that neither ever waits for the other: a
worker whose loop stands still is noticed because its row does not change. Cells are native 64-bit integers. A row is
written between two steps of its sequence number, and read again when that was odd or has changed (a seqlock), since a
reader would otherwise see half of it every tenth time.

Rows belong to workers and not to slots: while a worker is replaced there are two in a slot. The row of a worker that
has ended is freed by the master, which keeps its totals, so that counters never fall.
"""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, fields

LATENCY_BOUNDS_MS = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000)
"""Upper bounds of the buckets; requests that took longer are in one more."""
STATUS_CLASSES = 5
"""1xx to 5xx."""
_BUCKETS = len(LATENCY_BOUNDS_MS) + 1
_CELL_BYTES = 8
_WRITTEN_S = 0.05
"""Writing takes some microseconds, unless the writer loses its processor meanwhile; after so long it must have died."""
_STEP_S = 0.0001
_LIMIT = 1 << 64
REASONS = ("died", "stuck", "requests", "lifetime", "memory", "reload", "signal")
"""Why workers are replaced."""


@dataclass
class Row:
    """The figures of one worker; times in nanoseconds of ``time.monotonic_ns()``, counters since its start.

    :ivar pid: 0 in a row that is free.
    :ivar beat: when its event loop wrote last; 0 before it runs.
    :ivar lag: how much later than it should have.
    :ivar requests: started so far.
    :ivar running: requests whose app has not returned.
    :ivar connections: open ones.
    :ivar refused: requests that broke a rule of HTTP or a limit.
    :ivar lost: requests whose client left before a response began.
    :ivar body_bytes: sent in response bodies.
    :ivar latency_us: the sum of all durations, in microseconds.
    :ivar statuses: responses by class, from 1xx to 5xx.
    :ivar latencies: responses by duration, see :data:`LATENCY_BOUNDS_MS`.
    """

    pid: int = 0
    beat: int = 0
    lag: int = 0
    requests: int = 0
    running: int = 0
    connections: int = 0
    refused: int = 0
    lost: int = 0
    body_bytes: int = 0
    latency_us: int = 0
    statuses: list[int] = field(default_factory=lambda: [0] * STATUS_CLASSES)
    latencies: list[int] = field(default_factory=lambda: [0] * _BUCKETS)

    def add(self, other: Row) -> None:
        """Adds the counters of another row; what is a state and no counter stays."""
        for name in COUNTERS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.statuses = [one + two for one, two in zip(self.statuses, other.statuses, strict=True)]
        self.latencies = [one + two for one, two in zip(self.latencies, other.latencies, strict=True)]


COUNTERS = ("requests", "refused", "lost", "body_bytes", "latency_us")
_PLAIN = tuple(each.name for each in fields(Row) if each.name not in {"statuses", "latencies"})
_CELLS = 1 + len(_PLAIN) + STATUS_CLASSES + _BUCKETS
"""Of a row, its sequence number included."""


class Scoreboard:
    """The shared memory; made before the workers are, which inherit it.

    :param rows: how many workers there may be at once. Twice as many as slots will do, as each may have a successor.
    """

    def __init__(self, rows: int) -> None:
        self.rows = rows
        # One row more for what has ended, and the counts of restarts: both are the master's.
        self._memory = mmap.mmap(-1, ((rows + 1) * _CELLS + len(REASONS)) * _CELL_BYTES)
        self._cells = memoryview(self._memory).cast("Q")
        self._taken: set[int] = set()

    def take(self) -> int | None:
        """A free row, made empty; None when there is none. For the master alone, as is :meth:`free`."""
        index = next((index for index in range(self.rows) if index not in self._taken), None)
        if index is not None:
            self._taken.add(index)
            self.write(index, Row())
        return index

    def free(self, index: int) -> None:
        """Its worker has ended: the row may be used again, and its totals are kept."""
        ended = self.read(self.rows)
        ended.add(self.read(index))
        self.write(self.rows, ended)
        self._taken.discard(index)
        self.write(index, Row())

    def write(self, index: int, row: Row) -> None:
        """Writes a whole row."""
        cells, start = self._cells, index * _CELLS
        values: Iterable[int] = (*(getattr(row, name) for name in _PLAIN), *row.statuses, *row.latencies)
        sequence = cells[start] | 1
        cells[start] = sequence
        for offset, value in enumerate(values, start=start + 1):
            cells[offset] = value % _LIMIT
        cells[start] = (sequence + 1) % _LIMIT

    def read(self, index: int) -> Row:
        """A row as its worker wrote it last; never half of it, unless that worker died while it wrote."""
        cells, start = self._cells, index * _CELLS
        values: list[int] = []
        deadline = time.monotonic() + _WRITTEN_S
        while True:
            before = cells[start]
            values = cells[start + 1 : start + _CELLS].tolist()
            if (not before % 2 and cells[start] == before) or time.monotonic() > deadline:
                break
            time.sleep(_STEP_S)
        plain = len(_PLAIN)
        row = Row(statuses=values[plain : plain + STATUS_CLASSES], latencies=values[plain + STATUS_CLASSES :])
        for name, value in zip(_PLAIN, values, strict=False):
            setattr(row, name, value)
        return row

    def totals(self) -> Row:
        """The counters of all workers there have been."""
        total = Row()
        # What has ended first: a worker that ends meanwhile is counted twice for a moment, rather than never.
        for index in (self.rows, *range(self.rows)):
            total.add(self.read(index))
        return total

    def live(self) -> list[tuple[int, Row]]:
        """The rows that a worker has written to, with their numbers."""
        found = [(index, self.read(index)) for index in range(self.rows)]
        return [(index, row) for index, row in found if row.beat]

    def silent_s(self, index: int) -> float:
        """How long the loop of a worker has not written; 0.0 before it has for the first time."""
        beat = self.read(index).beat
        return max(0.0, (time.monotonic_ns() - beat) / 1e9) if beat else 0.0

    def count_restart(self, reason: str) -> None:
        """A worker is replaced; for the master alone.

        :param reason: one of :data:`REASONS`.
        """
        self._cells[(self.rows + 1) * _CELLS + REASONS.index(reason)] += 1

    def restarts(self) -> list[int]:
        """How many have been, by reason."""
        start = (self.rows + 1) * _CELLS
        return self._cells[start : start + len(REASONS)].tolist()

    def close(self) -> None:
        """Gives the memory up, in this process."""
        self._cells.release()
        self._memory.close()


def resident_bytes(pid: int) -> int:
    """The memory that a process holds, what it shares included; 0 when that is not known."""
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
