"""Loads the user's own modules from their source, so that what runs is always what lies on disk.

A finder in front of ``sys.meta_path`` asks all others as the import system would, and exchanges the loader of a spec
that names a first-party source file. ``__pycache__`` is then neither read nor written; the code comes from a
:class:`~devserver.app.code_cache.CodeCache`. Every other module, a zip file's or an extension's included, is imported
as if we were not there. Path and hash of every file that ran are kept, because "nothing changed" is decided by
comparing with those.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Container, Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from devserver.app.code_cache import CodeCache

CACHE_FOLDER = Path(".devserver", "code")
"""Where compiled code is kept, seen from the project's root."""


def install(first_party: Container[str], cache_dir: Path | str | None) -> SourceLoader:
    """Puts a new SourceLoader in front of ``sys.meta_path``; do it before the app is imported.

    :param first_party: tells the user's own files from all others.
    :param cache_dir: where compiled code is kept between processes; None compiles anew each time.
    """
    loader = SourceLoader(first_party, None if cache_dir is None else CodeCache(Path(cache_dir)))
    sys.meta_path.insert(0, loader)
    return loader


def spec_of_others(
    asking: object, name: str, path: Sequence[str] | None, target: ModuleType | None
) -> ModuleSpec | None:
    """What the finders on ``sys.meta_path`` other than ``asking`` find, in their order."""
    for finder in list(sys.meta_path):
        find = None if finder is asking else getattr(finder, "find_spec", None)
        spec: ModuleSpec | None = find(name, path, target) if find is not None else None
        if spec is not None:
            return spec
    return None


def stamp(path: str) -> tuple[int, int, int]:
    """What changes when a file is written or exchanged: its time in ns, size and inode; zeros when there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return (0, 0, 0)
    return (found.st_mtime_ns, found.st_size, found.st_ino)


def content_hash(data: bytes) -> str:
    """Hash of a file's content, as it is reported in FilesLoaded and compared by the watcher."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


class SourceLoader:
    """The finder; made by :func:`install`.

    :param first_party: tells the user's own files from all others.
    :param cache: compiled code, or None.
    """

    def __init__(self, first_party: Container[str], cache: CodeCache | None) -> None:
        self.executed: dict[str, str] = {}
        """Path → content hash of every first-party module file that ran, in the order of their first run."""
        self.stamps: dict[str, tuple[int, int, int]] = {}
        """Path → what os.stat told before the file was read: time of the last change in ns, size, inode."""
        self.before: Callable[[str], object] | None = None
        """Called with the path of a file that is about to be run, before it is looked at."""
        self._first_party = first_party
        self._cache = cache

    def uninstall(self) -> None:
        """Takes it out again; modules that it has loaded keep their loaders."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The import system's question (``importlib.abc.MetaPathFinder``)."""
        spec = spec_of_others(self, name, path, target)
        return None if spec is None else self._adopt(spec)

    def invalidate_caches(self) -> None:
        """Part of the finder's contract; nothing is remembered here."""

    def code(self, loader: FirstPartyLoader, path: str) -> CodeType:
        """The code of the file as it is now."""
        if self.before is not None:
            self.before(path)
        self.stamps[path] = stamp(path)
        source = loader.get_data(path)
        source_hash = content_hash(source)
        code = None if self._cache is None else self._cache.get(path, source_hash)
        # Recorded even when it does not compile: the next look at the file compares with what failed.
        self.executed[path] = source_hash
        if code is None:
            try:
                code = loader.source_to_code(source, path)
            except SyntaxError as exc:
                # Python names no file for a null byte.
                exc.filename = exc.filename or path
                raise
            if self._cache is not None:
                self._cache.put(path, source_hash, code)
        return code

    def _adopt(self, spec: ModuleSpec) -> ModuleSpec:
        # Exactly this type: a subclass (an assertion rewriter, a tracer) has reasons of its own to be there.
        if type(spec.loader) is SourceFileLoader and spec.origin is not None and spec.origin in self._first_party:
            spec.loader = FirstPartyLoader(spec.name, spec.origin, self)
        return spec


class FirstPartyLoader(SourceFileLoader):
    """Loader of one first-party module; ``inspect``, ``linecache`` and tracebacks see an ordinary source loader."""

    def __init__(self, fullname: str, path: str, sources: SourceLoader) -> None:
        super().__init__(fullname, path)
        self._sources = sources

    def get_code(self, fullname: str) -> CodeType | None:
        """Overrides the lookup in ``__pycache__``."""
        return self._sources.code(self, self.get_filename(fullname))

    def set_data(self, path: str, data: Any, *, _mode: int = 0o666) -> None:
        """Nothing is written beside the source."""
