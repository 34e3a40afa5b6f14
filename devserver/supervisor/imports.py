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
from importlib.machinery import ExtensionFileLoader, ModuleSpec
from types import ModuleType
from typing import Any, Self

from devserver.app.source_loader import spec_of_others
from devserver.supervisor.generators import NUMPY, generators
from devserver.supervisor.plan import STARTUP
from devserver.supervisor.threads import Threads

SETTLED_S = 0.5
"""Max time for all files together to be closed, because native threads look into files of their own for a moment."""

_ORIGINAL = "_devserver_original"
_FILES = "/proc/self/fd"
_HARMLESS_FILES = ("/dev/null", "/dev/urandom", "/dev/random", "/proc/")
"""Beginnings of the names of files that processes may share."""


def warm_up(modules: Iterable[str], first_party: Container[str], *, to_fork: bool, probe: Probe | None = None) -> Probe:
    """Imports what can be imported of ``modules``, in that order; returns what was seen.

    :param to_fork: this process will be forked, so that threads and open files count; seen on Linux only.
    :param probe: looks on, in the place of a new one.
    """
    probe = Probe(first_party, to_fork=to_fork) if probe is None else probe
    with probe:
        for name in modules:
            if name not in sys.modules:
                try:
                    importlib.import_module(name)
                except BaseException as exc:
                    # A worker that needs it meets the same error, where it can be told.
                    probe.skipped[name] = f"{type(exc).__name__}: {exc}"[:200]
    probe.judge()
    return probe


class Probe:
    """A finder in front of ``sys.meta_path``: it finds what the others find, and looks at what executing that leaves.

    It takes notes in a ``with`` block, and :meth:`judge` waits once for all of what has been noted.

    :param first_party: which files are the project's.
    :param to_fork: threads and open files count as well, and generators of random numbers are noted.
    :param files: open files count.
    """

    def __init__(self, first_party: Container[str], *, to_fork: bool, files: bool = True) -> None:
        self.unfit: dict[str, str] = {}
        """Modules that must leave the warm set → why. Those that were importing one are there as well, with no reason
        of their own."""
        self.skipped: dict[str, str] = {}
        """Modules that could not be imported → the error."""
        self.threads = Threads() if to_fork else None
        """Who has started which thread; None when that does not count."""
        if to_fork:
            generators.watch()
        self._first_party = first_party
        self._running: list[str] = []
        self._thread = threading.get_ident()
        self._files = open_files() if to_fork and files else None
        self._opened: dict[tuple[str, str], tuple[str, tuple[str, ...]]] = {}
        """Descriptor and what it is of → the module that has opened it, and its importers."""

    def __enter__(self) -> Self:
        sys.meta_path.insert(0, self)
        return self

    def __exit__(self, *_: object) -> None:
        sys.meta_path.remove(self)
        self._look("")

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
            self._blame(self._running[-1], reason, self._running[:-1])

    def judge(self) -> None:
        """Blames the modules that have left a thread or an open file behind."""
        if self.threads is None:
            return
        for left in self.threads.loud():
            if left.module:
                self._blame(left.module, f"starts a thread ({left.name})", left.importers)
            else:
                self.unfit.setdefault(STARTUP, f"a thread runs that no imported module has started ({left.name})")
        for opened in _settled(self._opened):
            name, importers = self._opened[opened]
            self._blame(name, f"leaves {opened[1]} open", importers)
        self._opened.clear()

    def _adopt(self, name: str, spec: ModuleSpec) -> None:
        if self._is_own(spec):
            self._blame(name, "is the project's own", tuple(self._running))
        loader: Any = spec.loader
        execute = getattr(loader, "exec_module", None)
        # Built-in and frozen modules have classes for loaders, and leave nothing behind.
        if execute is None or isinstance(loader, type):
            return
        if isinstance(loader, ExtensionFileLoader):
            # The library that it is in is loaded here already.
            self._watch(loader, "create_module", name)
        self._watch(loader, "exec_module", name)

    def _watch(self, loader: Any, method: str, name: str) -> None:
        """Looks before and after the loader executes something for the module ``name``."""
        found = getattr(loader, method)
        # Several modules may share a loader, and asking for a module's spec does not import it.
        original = getattr(found, _ORIGINAL, found)

        def watched(argument: Any) -> Any:
            # On the instance, and gone again before the module can look at its loader.
            delattr(loader, method)
            # What other threads import meanwhile is attributed to what the main thread imports.
            if threading.get_ident() != self._thread:
                return original(argument)
            self._look_at_running()
            self._running.append(name)
            try:
                return original(argument)
            finally:
                self._look_at_running()
                self._running.pop()
                if name == NUMPY:
                    generators.watch_numpy()

        setattr(watched, _ORIGINAL, original)
        with contextlib.suppress(AttributeError):
            setattr(loader, method, watched)

    def _is_own(self, spec: ModuleSpec) -> bool:
        if spec.origin is not None and spec.has_location:
            return spec.origin in self._first_party
        # A namespace package is the project's if any of its folders is.
        folders = spec.submodule_search_locations or ()
        return any(os.path.join(folder, "__init__.py") in self._first_party for folder in folders)

    def _look_at_running(self) -> None:
        """Attributes what has come since the last look to the innermost module that is being executed."""
        if self._running:
            self._look(self._running[-1], tuple(self._running[:-1]))
        else:
            self._look("")

    def _look(self, name: str, importers: tuple[str, ...] = ()) -> None:
        if self.threads is None:
            return
        self.threads.look(name, importers)
        if self._files is not None and len(os.listdir(_FILES)) != len(self._files):
            now = open_files()
            for opened in now.items():
                if self._files.get(opened[0]) != opened[1] and not _is_harmless(opened[1]) and name:
                    self._opened.setdefault(opened, (name, importers))
            self._files = now

    def _blame(self, name: str, reason: str, importers: Iterable[str]) -> None:
        if not self.unfit.get(name):
            self.unfit[name] = reason
        for importer in importers:
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
    """Gives a process that was just forked what it must not share with its siblings."""
    # What importlib.invalidate_caches() does, less the index of installed packages: those are looked at in other ways.
    for finder in list(sys.path_importer_cache.values()):
        if finder is not None and hasattr(finder, "invalidate_caches"):
            finder.invalidate_caches()
    generators.reseed()


def _stamp(path: str) -> tuple[int, int]:
    try:
        found = os.stat(path)
    except OSError:
        return (0, 0)
    return (found.st_mtime_ns, found.st_size)


def _settled(opened: Container[tuple[str, str]]) -> list[tuple[str, str]]:
    """Those of the files that are still open, after all had some time to be closed."""
    deadline = time.monotonic() + SETTLED_S
    while True:
        left = [each for each in open_files().items() if each in opened]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(SETTLED_S / 100)


def _is_harmless(place: str) -> bool:
    return place.startswith(_HARMLESS_FILES)
