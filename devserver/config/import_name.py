"""The module name under which a file is imported so that its own imports work.

Knows source files, folders and where ``sys.path`` has libraries; imports nothing. The name spans as many folders as the
file's imports need. A library of the same name gets in the way: Python never finds the folder by that name, or finds it
in place of the library. Then the name spans fewer folders, or nothing can be done and an error says why.
"""

from __future__ import annotations

import importlib.machinery
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from devserver.config.app_source import AppSource, is_module, is_project
from devserver.errors import AppLoadError

# Parent folders that are searched for a package name; deeper layouts are not found in practice.
_ANCESTORS_MAX = 8
SERVER_MODULES = frozenset(
    """
    abc array ast asyncio base64 binascii bisect bz2 codecs collections concurrent configparser contextlib
    contextvars copy copyreg dataclasses datetime dis email encodings enum fcntl fnmatch functools genericpath
    gettext glob grp hashlib heapq http importlib inspect io ipaddress json keyword linecache locale logging lzma
    math multiprocessing ntpath opcode operator os pathlib pickle platform posix posixpath pwd queue random re
    reprlib select selectors shlex shutil signal socket socketserver ssl stat string struct subprocess tempfile
    textwrap threading token tokenize traceback types typing urllib uuid warnings weakref zipimport zlib
    anyio h11 httptools uvloop watchfiles
    """.split()
)
"""Top-level modules to import before the app: the standard library's that uvicorn has imported by then on CPython 3.13,
and the libraries of such servers. Others are left alone, as an app may mean its own file by their name."""


def import_name(source: AppSource) -> tuple[str, Path]:
    """Return the name to import the file by, and the folder that must be on ``sys.path`` for it.

    The name is package-qualified when the file imports relatively or by the name of one of its own folders, else it
    spans the folders that have an ``__init__.py``.

    :raises AppLoadError: no import statement can name such a file, or a library has the name of its package.
    """
    folders = list(source.path.parents)[:_ANCESTORS_MAX]
    is_package = source.path.name == "__init__.py"
    least = min(max(source.relative_level, 1 if is_package else 0), len(folders) - 1)
    # In __init__.py as in any other file, level 1 is the folder that holds it.
    depth = min(max(_package_depth(folders), least), len(folders) - 1)
    depth = max(depth, _own_folder_depth(source, folders, depth))
    candidates = [_Name(source, folders, each) for each in range(depth, least - 1, -1)]
    for candidate in candidates:
        if candidate.is_spelled and candidate.library is None:
            return candidate.dotted, candidate.base
    first = candidates[0]
    if not first.is_spelled:
        raise AppLoadError(
            f"{source.path} cannot be imported: a dot in {first.dotted!r} stands where no package ends.",
            hint="Rename the file or its folder.",
        )
    package = folders[first.depth - 1]
    raise AppLoadError(
        f'{source.path} cannot be imported: its folder must be the package "{package.name}", '
        f"and that is the name of a library ({first.library}).",
        hint=f"Rename the folder {package}, or replace the relative imports in {source.path.name}.",
    )


def installed_module(name: str, *, outside: Path) -> Path | None:
    """Return the file of a top-level module or regular package that ``sys.path`` has, or None.

    :param outside: a folder of the user; entries of ``sys.path`` that are this folder or above it do not count.
    """
    own = {str(outside), *map(str, outside.parents)}
    search = [entry for entry in sys.path if entry and os.path.abspath(entry) not in own]
    try:
        spec = importlib.machinery.PathFinder.find_spec(name, search)
    except (ImportError, ValueError, OSError):
        return None
    if spec is None or not spec.origin:
        return Path("built-in") if name in sys.builtin_module_names else None
    return Path(spec.origin)


@dataclass(frozen=True)
class _Name:
    """One name that a file could have: with ``depth`` of its folders."""

    source: AppSource
    folders: list[Path]
    depth: int

    @property
    def base(self) -> Path:
        return self.folders[self.depth]

    @property
    def parts(self) -> list[str]:
        stem = [] if self.source.path.name == "__init__.py" else [self.source.path.stem]
        return [folder.name for folder in reversed(self.folders[: self.depth])] + stem

    @property
    def dotted(self) -> str:
        return ".".join(self.parts)

    @property
    def is_spelled(self) -> bool:
        return not any("." in part for part in self.parts) and all(self.parts)

    @property
    def library(self) -> Path | None:
        """The library that Python, or this file, means by the name of the outermost folder."""
        if not self.depth:
            return None
        package = self.folders[self.depth - 1]
        library = installed_module(package.name, outside=package)
        if library is None:
            return None
        init = package / "__init__.py"
        if not init.is_file() or package.name in sys.stdlib_module_names or _is_loaded(package):
            # A regular package comes before a folder without __init__.py, wherever both stand on sys.path.
            return library
        return library if any(_is_meant(rest, package) for rest in _below(package.name, self.source.imports)) else None


def _is_loaded(package: Path) -> bool:
    """Whether this process has imported a library of that name already, as the process that serves will have."""
    module = sys.modules.get(package.name)
    file = getattr(module, "__file__", None)
    return file is not None and not Path(file).is_relative_to(package)


def _is_meant(rest: list[str], package: Path) -> bool:
    """Whether ``import package.rest`` means the library: the user's own package has nothing of that name."""
    if is_module(package, rest[:1]):
        return False
    try:
        text = (package / "__init__.py").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    # Importing a name from the package does not make it one of the package's own.
    text = re.sub(rf"^\s*(?:from|import)\s+{re.escape(package.name)}\b.*$", "", text, flags=re.MULTILINE)
    return not text.strip() if not rest else re.search(rf"\b{re.escape(rest[0])}\b", text) is None


def _below(name: str, imports: tuple[str, ...]) -> Iterator[list[str]]:
    """What is imported of the package ``name``: one list of parts for each import.

    ``from package import x`` gives ``x`` alone, not the package as well.
    """
    for dotted in imports:
        first, *rest = dotted.split(".")
        if first == name and (rest or not any(other.startswith(f"{name}.") for other in imports)):
            yield rest


def _package_depth(folders: list[Path]) -> int:
    depth = 0
    while depth < len(folders) - 1 and (folders[depth] / "__init__.py").is_file():
        depth += 1
    return depth


def _own_folder_depth(source: AppSource, folders: list[Path], depth: int) -> int:
    """How many folders the package must span so that absolute imports of the file's own folders resolve."""
    base = folders[depth]
    needed = 0
    for dotted in source.imports:
        first, *rest = dotted.split(".")
        if is_module(base, [first]):
            continue
        for level, folder in enumerate(folders[:-1], start=1):
            if folder.name == first and is_module(folder, rest[:1]):
                needed = max(needed, level)
                break
            if is_project(folder):
                break
    return needed
