"""Imports the warm set, and watches what that does to the process.

A module that starts a thread, leaves a socket or a file open, or brings the project's own code along cannot be part of
a process that is forked. Which one it was is seen by looking before and after each module is executed.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import threading
import time
from collections.abc import Container, Iterable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from devserver.app.source_loader import spec_of_others

QUIET_THREADS = ("jemalloc_bg_thd",)
"""Beginnings of the names of native threads that do no harm to a fork, whoever starts them."""
QUIET_PACKAGES = ("numpy", "scipy", "polars", "_polars_runtime")
"""Beginnings of the names of packages whose native threads do none: OpenBLAS ends its own before a fork and makes them
again when it needs them, and polars has one that only tidies up."""
SETTLED_S = 0.5
"""How long a thread may take to give itself a name, and to close what it has opened for a moment."""

_THREADS = "/proc/self/task"
_FILES = "/proc/self/fd"
_HARMLESS_FILES = ("/dev/null", "/dev/urandom", "/dev/random", "/proc/")
"""Beginnings of the names of files that processes may share."""


def warm_up(modules: Iterable[str], first_party: Container[str], *, to_fork: bool, probe: Probe | None = None) -> Probe:
    """Imports what can be imported of ``modules``, in that order; returns what was seen.

    :param to_fork: this process will be forked, so that threads and open files count; seen on Linux only.
    :param probe: looks on, in the place of a new one.
    """
    probe = Probe(first_party, to_fork=to_fork) if probe is None else probe
    sys.meta_path.insert(0, probe)
    try:
        for name in modules:
            if name not in sys.modules:
                try:
                    importlib.import_module(name)
                except BaseException as exc:
                    # A worker that needs it meets the same error, where it can be told.
                    probe.skipped[name] = f"{type(exc).__name__}: {exc}"[:200]
    finally:
        sys.meta_path.remove(probe)
    others = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    if to_fork and others and not probe.unfit:
        probe.unfit["?"] = f"leaves the thread {others[0]} behind"
    return probe


def thread_count() -> int:
    """The threads of this process, those of native libraries included."""
    return len(os.listdir(_THREADS))


def loud_thread() -> str:
    """The name of a native thread that does harm to a fork; empty when there is none.

    What numpy's OpenBLAS has started does none, and has the name of the process.
    """
    own = _settled_name(str(os.getpid()))
    quiet = {own} if {*sys.modules} & {*QUIET_PACKAGES} else set()
    names = [_settled_name(tid) for tid in os.listdir(_THREADS) if int(tid) != os.getpid()]
    return next((name for name in names if name and name not in quiet), "")


class Probe:
    """A finder in front of ``sys.meta_path``: it finds what the others find, and looks at what executing that leaves.

    :param first_party: which files are the project's.
    :param to_fork: threads and open files count as well.
    """

    def __init__(self, first_party: Container[str], *, to_fork: bool) -> None:
        self.unfit: dict[str, str] = {}
        """Modules that must leave the warm set → why. Those that were importing one are there as well, with no reason
        of their own."""
        self.skipped: dict[str, str] = {}
        """Modules that could not be imported → the error."""
        self._first_party = first_party
        self._running: list[str] = []
        self._to_fork = to_fork
        self._threads = set(os.listdir(_THREADS)) if to_fork else set()
        self._files = open_files() if to_fork else {}

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The import system's question (``importlib.abc.MetaPathFinder``)."""
        spec = spec_of_others(self, name, path, target)
        if spec is not None:
            self._adopt(name, spec)
        return spec

    def blame(self, reason: str) -> None:
        """What is being executed must leave the warm set for this reason."""
        if self._running:
            self._blame(self._running[-1], reason)

    def _adopt(self, name: str, spec: ModuleSpec) -> None:
        if self._is_own(spec):
            self._blame(name, "is the project's own")
        loader: Any = spec.loader
        execute = getattr(loader, "exec_module", None)
        # Built-in and frozen modules have classes for loaders, and leave nothing behind.
        if execute is None or isinstance(loader, type):
            return

        def exec_module(module: ModuleType) -> None:
            # On the instance, and gone again before the module can look at its loader.
            del loader.exec_module
            if self._running:
                self._look(self._running[-1])
            self._running.append(name)
            try:
                execute(module)
            finally:
                self._running.pop()
                self._look(name)

        with contextlib.suppress(AttributeError):
            loader.exec_module = exec_module

    def _is_own(self, spec: ModuleSpec) -> bool:
        if spec.origin is not None and spec.has_location:
            return spec.origin in self._first_party
        # A namespace package is the project's if any of its folders is.
        folders = spec.submodule_search_locations or ()
        return any(os.path.join(folder, "__init__.py") in self._first_party for folder in folders)

    def _look(self, name: str) -> None:
        """Finds what has come since the last look, which ``name`` has done."""
        if not self._to_fork:
            return
        threads = os.listdir(_THREADS)
        if len(threads) != len(self._threads):
            new = set(threads) - self._threads
            self._threads = set(threads)
            loud = [] if name.startswith(QUIET_PACKAGES) else [comm for comm in map(_settled_name, new) if comm]
            if loud:
                self._blame(name, f"starts a thread ({loud[0]})")
        files = os.listdir(_FILES)
        if len(files) != len(self._files):
            left = _settled_files(self._files)
            self._files = open_files()
            if left:
                self._blame(name, f"leaves {left[0]} open")

    def _blame(self, name: str, reason: str) -> None:
        if not self.unfit.get(name):
            self.unfit[name] = reason
        for importer in self._running:
            self.unfit.setdefault(importer, "")


def open_files() -> dict[str, str]:
    """Descriptor → what it is of; the one that this list is read through is among them."""
    found = {}
    for fd in os.listdir(_FILES):
        try:
            found[fd] = os.readlink(f"{_FILES}/{fd}")
        except OSError:
            found[fd] = _FILES
    return found


def left_open(known: dict[str, str]) -> list[str]:
    """What is open beyond ``known``, which :func:`open_files` told earlier, and may not be shared by processes."""
    return [place for fd, place in open_files().items() if known.get(fd) != place and not _is_harmless(place)]


def origins() -> dict[str, tuple[int, int]]:
    """What tells whether the installed packages are still those that were imported: path → time and size.

    The files of all modules, and the folders that packages are installed in.
    """
    # The standard library's are left out: nobody edits those.
    library = os.path.dirname(os.path.abspath(os.__file__)) + os.sep
    paths = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    paths = [path for path in paths if path and (not path.startswith(library) or "-packages" + os.sep in path)]
    paths += [entry for entry in sys.path if entry.endswith(("site-packages", "dist-packages"))]
    return {path: _stamp(path) for path in paths if isinstance(path, str)}


def changed(known: dict[str, tuple[int, int]]) -> str:
    """The first path that is no longer what :func:`origins` saw, or an empty string."""
    return next((path for path, stamp in known.items() if _stamp(path) != stamp), "")


def be_apart() -> None:
    """Gives a process that was just forked what it must not share with its siblings.

    Python's own ``random`` reseeds itself after a fork; numpy's global generator does not.
    """
    # What importlib.invalidate_caches() does, less the index of installed packages: those are looked at in other ways.
    for finder in list(sys.path_importer_cache.values()):
        if finder is not None and hasattr(finder, "invalidate_caches"):
            finder.invalidate_caches()
    generator = sys.modules.get("numpy.random")
    if generator is not None:
        generator.seed()


def _stamp(path: str) -> tuple[int, int]:
    try:
        found = os.stat(path)
    except OSError:
        return (0, 0)
    return (found.st_mtime_ns, found.st_size)


def _settled_name(tid: str) -> str:
    """The name of a thread that does harm; empty when it does none, or has ended."""
    deadline = time.monotonic() + SETTLED_S
    while True:
        try:
            with open(f"{_THREADS}/{tid}/comm", encoding="utf-8", errors="replace") as file:
                name = file.read().strip()
        except OSError:
            return ""
        if name.startswith(QUIET_THREADS):
            return ""
        if time.monotonic() > deadline:
            return name
        time.sleep(SETTLED_S / 100)


def _settled_files(known: dict[str, str]) -> list[str]:
    """What is open beyond ``known``, and stays so: native threads look into files of their own for a moment."""
    deadline = time.monotonic() + SETTLED_S
    while True:
        left = left_open(known)
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(SETTLED_S / 100)


def _is_harmless(place: str) -> bool:
    return place.startswith(_HARMLESS_FILES)
