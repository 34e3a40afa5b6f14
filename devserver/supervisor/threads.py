"""Threads in a process that is to be forked: which module has started each, and whether a fork survives it.

A fork copies one thread. What the others were doing stays undone in the child for ever: a lock that one of them held is
never released, a pool waits for threads that are not there, and some libraries then give wrong results. So a process is
forked only when its other threads are known to do no harm. A thread's name tells nothing, since many native threads
have the name of their process. What counts is the module that was being imported when the thread appeared.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from dataclasses import dataclass

_JEMALLOC = "jemalloc_bg_thd"

HARMLESS: dict[str, str] = {
    # OpenBLAS: ends its threads before a fork, and makes them again when it needs them.
    "numpy": "",
    "scipy": "",
    # OpenBLAS as well, which their wheels bring along.
    "cv2": "",
    "faiss": "",
    # jemalloc, which prepares itself for forks; polars has one more that only tidies up.
    "polars": _JEMALLOC,
    "_polars_runtime_32": _JEMALLOC,
    "_polars_runtime_64": _JEMALLOC,
    "_polars_runtime_compat": _JEMALLOC,
    "pyarrow": _JEMALLOC,
}
"""Top-level packages whose native threads survive a fork, if they appear while the package is imported → the name of
those that these threads start themselves, a moment later. docs/production.md says which versions were tried. Threads
that appear when a package is used do not count."""
SETTLED_S = 0.5
"""Max time for all new threads together to end, because some libraries have one for a moment."""

_STEP_S = 0.005
_THREADS = "/proc/self/task"


@dataclass(frozen=True)
class Left:
    """A thread that does not survive a fork.

    :ivar module: that was being imported when the thread appeared; empty when none was.
    :ivar importers: the modules that were importing that one.
    :ivar name: as Python has it, or the system for a native thread.
    """

    module: str
    importers: tuple[str, ...]
    name: str


class Threads:
    """The threads of this process, by their native ids; on Linux only.

    Those that run already, apart from the main one, are known and loud unless ``accepted``.
    """

    def __init__(self, *, accepted: bool = False) -> None:
        self._main = str(os.getpid())
        running = _running()
        self._harmless = running if accepted else {self._main}
        self._loud: dict[str, tuple[str, tuple[str, ...]]] = dict.fromkeys(running - self._harmless, ("", ()))
        self._later: set[str] = set()
        """Names of threads that harmless ones start."""
        # Linux counts each thread as a link of the folder, which is seen in a third of the time of listing it.
        self._count_now = _links if _links() - 2 == len(running) else thread_count
        self._count = self._count_now()

    def look(self, module: str, importers: tuple[str, ...] = ()) -> None:
        """Attributes the threads that have appeared since the last look.

        A thread that replaced one that has ended in the meantime is attributed to nobody, and loud.

        :param module: what was executed in the meantime; empty for nothing in particular.
        :param importers: what was importing it.
        """
        count = self._count_now()
        if count == self._count:
            return
        self._count = count
        running = _running()
        new = running - self._harmless - self._loud.keys()
        # An id may come again.
        self._harmless &= running
        self._loud = {tid: found for tid, found in self._loud.items() if tid in running}
        package = module.partition(".")[0]
        # Python's own threads are never harmless.
        if package in HARMLESS and len(sys._current_frames()) == 1:  # noqa: SLF001
            self._harmless |= new
            self._later |= {HARMLESS[package]} if new else set()
        else:
            self._loud.update(dict.fromkeys(new, (module, importers)))

    def loud(self) -> list[Left]:
        """The threads that do not survive a fork, after all had some time to end; at once when there are none."""
        deadline = time.monotonic() + SETTLED_S
        while found := _running() - self._harmless:
            if self._later:
                # A thread has the name of the process until it gives itself another.
                late = {tid for tid in found if _name(tid) in self._later}
                self._harmless |= late
                found -= late
            if not found or time.monotonic() > deadline:
                break
            time.sleep(_STEP_S)
        return [Left(*self._loud.get(tid, ("", ())), _name(tid)) for tid in sorted(found, key=int)]


def thread_count() -> int:
    """The number of threads of this process, those of native libraries included."""
    return len(os.listdir(_THREADS))


def python_thread() -> str:
    """The name of a thread besides the main one, of those that Python has started; empty when there is none."""
    main = threading.main_thread()
    return next((thread.name for thread in threading.enumerate() if thread is not main), "")


def are_visible() -> bool:
    """Whether the system shows the threads of native libraries."""
    return os.path.isdir(_THREADS)


def _running() -> set[str]:
    return {*os.listdir(_THREADS)}


def _links() -> int:
    return os.stat(_THREADS).st_nlink


def _name(tid: str) -> str:
    for thread in threading.enumerate():
        if str(thread.native_id) == tid:
            return thread.name
    try:
        with open(f"{_THREADS}/{tid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return "?"
