"""The warm set: which modules a zygote imports, kept for each project from one start to the next.

It is learned from a worker that was started cold, since the modules of a forked one are its zygote's as well. On disk
it lies in the project's cache folder, in a file that is thrown away when the interpreter or the installed packages
change.
Environment variables are kept there by name only: their values may be secrets.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from devserver.config.import_name import SERVER_MODULES

FILE = Path(".devserver", "warm.json")
"""Where it is kept, seen from the project's root."""
_VERSION = 2
_MODULES_MAX = 20_000
_OURS = ("devserver", "uvloop", "httptools", "h11", "fastapi", "starlette")
"""What a worker needs itself."""


class WarmSet:
    """What a zygote of this project is made of.

    :param root: the project's root folder.
    :param file: where it is kept, seen from there.
    """

    def __init__(self, root: str | Path, file: Path = FILE) -> None:
        self.modules: list[str] = []
        """Names, in the order of their first import."""
        self.variables: dict[str, str] = {}
        """What the project's own code puts into the environment before it imports from others."""
        self.unfit: dict[str, str] = {}
        """Modules that no zygote may import → why."""
        self.wanted: frozenset[str] = frozenset()
        """What the project's own code names in its import statements."""
        self._path = Path(root, file)
        self._unknown: tuple[str, ...] = ()
        self._read()

    @property
    def usable(self) -> bool:
        """Whether a zygote can be made from it."""
        return bool(self.modules) and not self._unknown

    def learn(self, modules: Sequence[str], variables: Mapping[str, str]) -> bool:
        """Takes what a cold worker has imported in the place of what was known; whether that changed anything."""
        modules = [name for name in modules if name not in self.unfit]
        same = modules == self.modules and variables == self.variables and not self._unknown
        self.modules, self.variables, self._unknown = modules, dict(variables), ()
        if not same:
            self._write()
        return not same

    def extend(self, modules: Sequence[str]) -> bool:
        """Adds what a forked worker has imported by itself; whether there was anything new."""
        known = {*self.modules, *self.unfit}
        new = [name for name in modules if name not in known]
        if new:
            self.modules += new
            self._write()
        return bool(new)

    def want(self, names: Set[str]) -> bool:
        """Takes out what the project's own code no longer imports; whether there was any.

        What that brought along is not known, so that only what is still named is kept, with Python's own modules and
        ours; what those bring along comes by itself, and what a worker imports besides is told by it.
        """
        gone = (self.wanted - names) & {*self.modules}
        changed = self.wanted != names
        self.wanted = frozenset(names)
        if gone:
            self.modules = [name for name in self.modules if name in names or _is_basic(name)]
        if changed:
            self._write()
        return bool(gone)

    def drop(self, unfit: Mapping[str, str]) -> None:
        """Takes modules out, with what lies below them."""
        self.unfit.update(unfit)
        starts = tuple(f"{name}." for name in unfit)
        self.modules = [name for name in self.modules if name not in unfit and not name.startswith(starts)]
        self._write()

    def drop_hidden(self, search_path: str) -> bool:
        """Takes out what a fresh process would find in the project instead; whether there was any.

        :param search_path: the folder that the project's modules are imported from.
        """
        own = set()
        with contextlib.suppress(OSError):
            own = {name.partition(".")[0] for name in os.listdir(search_path)}
        # What devserver itself has imported, or imports first, comes before the project's in a fresh process, too.
        hidden = (own & {name.partition(".")[0] for name in self.modules}) - sys.modules.keys() - SERVER_MODULES
        if hidden:
            self.drop(dict.fromkeys(hidden, "is hidden by a module of the project"))
        return bool(hidden)

    def _read(self) -> None:
        try:
            kept: dict[str, Any] = json.loads(self._path.read_text(encoding="utf-8"))
            if kept["version"] == _VERSION and kept["packages"] == fingerprint():
                self._take(kept)
                self.modules = list(map(str, kept["modules"]))[:_MODULES_MAX]
                self.unfit = {str(name): str(why) for name, why in kept["unfit"].items()}
                self.wanted = frozenset(map(str, kept["wanted"]))
                self._unknown = tuple(map(str, kept["variables"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            # Not there, or not ours: it is learned again.
            self.modules, self.unfit, self.wanted, self._unknown = [], {}, frozenset(), ()

    def _take(self, kept: dict[str, Any]) -> None:
        """Reads what a subclass keeps besides; what is wrong with it may raise as it comes."""

    def _besides(self) -> dict[str, Any]:
        """What a subclass keeps besides."""
        return {}

    def _write(self) -> None:
        kept = {
            **self._besides(),
            "version": _VERSION,
            "packages": fingerprint(),
            "modules": self.modules[:_MODULES_MAX],
            "variables": sorted(self.variables),
            "unfit": self.unfit,
            "wanted": sorted(self.wanted)[:_MODULES_MAX],
        }
        temporary = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        # Without it the next start is cold, which is no reason to stop anybody.
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            ignore = self._path.with_name(".gitignore")
            if not ignore.exists():
                ignore.write_text("*\n", encoding="utf-8")
            try:
                temporary.write_text(json.dumps(kept), encoding="utf-8")
                temporary.replace(self._path)
            finally:
                # When the disk is full, half of it may be there.
                temporary.unlink(missing_ok=True)


def _is_basic(name: str) -> bool:
    top = name.partition(".")[0]
    return top in sys.stdlib_module_names or top in _OURS


def fingerprint() -> str:
    """Changes with the interpreter, its path, and the packages that are installed."""
    found = [sys.version, sys.executable, *sys.path]
    for entry in sys.path:
        if entry.endswith(("site-packages", "dist-packages")):
            with contextlib.suppress(OSError):
                found += sorted(name for name in os.listdir(entry) if name.endswith((".dist-info", ".egg-info")))
    return hashlib.blake2b("\0".join(found).encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
