"""What a changed file means for the running app; pure decisions.

Knows the options, what the app loaded and which content was last seen of each file. Must not know how changes are
noticed (``watch.py``) nor how the app is restarted (``reload.py``). Reading a file's content is the one thing it does,
through :func:`fingerprint`, because every decision is about content: editors, formatters and version control touch far
more files than they change.
"""

from __future__ import annotations

import enum
import os
import re
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from devserver.app.source_loader import content_hash

IGNORED_NAMES = frozenset(
    {
        ".git",
        ".hg",
        ".svn",
        ".venv",
        ".tox",
        ".nox",
        ".mypy_cache",
        ".pytest_cache",
        ".ruff_cache",
        ".idea",
        ".devserver",
        "__pycache__",
        "node_modules",
        "site-packages",
    }
)
"""Folders that are never watched and whose files never count."""

IGNORED_FILES = re.compile(
    r"""
    .*~ | \.\#.* | \#.*\#           # backups and locks of Emacs
    | \..*\.sw[a-z] | 4913          # swap files of vim, and the file with which it probes a folder
    | .*\.(pyc|pyo|tmp|part|log|lock-journal)
    | .*-(journal|wal|shm)          # SQLite's companions
    | .*___jb_(tmp|old)___          # safe writes of the JetBrains editors
    | \.goutputstream-.* | sed[A-Za-z0-9]{6}
    """,
    re.VERBOSE,
)
"""Files that editors and databases make beside the ones that people mean."""

HASHED_BYTES_MAX = 16 * 1024 * 1024
"""Beyond this, size and modification time stand for the content: a model or a database, not a source."""

FOLDERS_MAX = 10_000
"""inotify allows some ten thousand watches a user by default; a tree beyond this is not a source tree."""

AGAIN_AFTER_S = 0.04
"""Editors that truncate and then write need less; a person does not notice it."""


def fingerprint(path: str) -> str | None:
    """A hash of the file's content, the same as the source loader's; None when there is no such file."""
    try:
        # Looked at before it is opened, because opening a named pipe waits for somebody who writes into it.
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            return None
        with open(path, "rb") as file:
            # Sources are always hashed, because they are compared with what the source loader says.
            if status.st_size > HASHED_BYTES_MAX and not path.endswith(".py"):
                return f"stat:{status.st_size}:{status.st_mtime_ns}"
            return content_hash(file.read())
    except (OSError, ValueError):
        return None


EMPTY = content_hash(b"")


class Patterns:
    """Globs and folder names, as ``--reload-include`` and ``--reload-exclude`` take them.

    A pattern matches a file when it matches the file's path or any folder above it, so ``tests`` and ``tests/`` mean
    everything in a folder of that name. ``*`` and ``?`` stay within one name, ``**`` crosses folders. A relative one
    matches at any depth below the watched folders (``*.html``, ``app/*.py``); ``./x`` and ``../x`` start at the
    current folder; an absolute one starts at the root. The part of a path above the watched folders never matches
    a relative pattern: a project that lies in ``/home/me/tests`` is not excluded by ``tests``.

    :param bases: the watched folders, absolute.
    """

    def __init__(self, patterns: Iterable[str], bases: Sequence[str]) -> None:
        self._bases = _longest_first(bases)
        self.places: list[tuple[str, bool]] = []
        """For each absolute pattern the folder below which it matches, and whether also in the folders of that."""
        relative: list[str] = []
        absolute: list[str] = []
        for given in patterns:
            pattern = given.replace("\\", "/") if os.sep == "\\" else given
            if pattern.startswith(("./", "../")) or pattern in {".", ".."}:
                pattern = os.path.normpath(os.path.join(os.getcwd(), pattern))
            # A final slash says that a folder is meant; folders match by name anyway.
            pattern = pattern.rstrip("/") or "/"
            if os.path.isabs(pattern):
                absolute.append(_regex(pattern))
                self.places.append(_place(pattern))
            else:
                relative.append(_regex(pattern))
        self._relative = re.compile("(?:.*/)?(?:" + "|".join(relative) + ")") if relative else None
        self._absolute = re.compile("|".join(absolute)) if absolute else None

    def __bool__(self) -> bool:
        return self._relative is not None or self._absolute is not None

    def match(self, path: str) -> bool:
        """Whether ``path``, which is absolute, or a folder above it is meant."""
        if self._absolute is not None and any(self._absolute.fullmatch(part) for part in _prefixes(path)):
            return True
        if self._relative is None:
            return False
        inner = _inside(path, self._bases)
        return any(self._relative.fullmatch(part) for part in _prefixes(inner or os.path.basename(path)))


def _longest_first(folders: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({folder.rstrip(os.sep) for folder in folders}, key=len, reverse=True))


def _inside(path: str, bases: Sequence[str]) -> str | None:
    """``path`` seen from the first of the folders in which it lies."""
    return next((path[len(base) + 1 :] for base in bases if path.startswith(base + os.sep)), None)


def _place(pattern: str) -> tuple[str, bool]:
    found = re.search(r"[*?\[]", pattern)
    if found is None:
        return (pattern, True) if os.path.isdir(pattern) else (os.path.dirname(pattern), False)
    folder, _, _ = pattern[: found.start()].rpartition("/")
    rest = pattern[len(folder) + 1 :]
    # A bare star matches folders as well, and with them all that they hold.
    return folder or "/", "/" in rest or "**" in rest or rest == "*"


def _prefixes(path: str) -> Iterable[str]:
    path = path.replace("\\", "/") if os.sep == "\\" else path
    while path and path != "/":
        yield path
        path = path.rpartition("/")[0]


def _regex(pattern: str) -> str:
    pieces = re.split(r"(\*\*/|\*\*|\*|\?|\[!?[^\]]+\])", pattern)
    translated = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return "".join(
        translated.get(piece) or (_char_class(piece) if index % 2 else re.escape(piece))
        for index, piece in enumerate(pieces)
    )


def _char_class(piece: str) -> str:
    inner = piece[1:-1].replace("\\", "\\\\").replace("[", "\\[").replace("^", "\\^")
    return f"[^/{inner[1:]}]" if inner.startswith("!") else f"[{inner}]"


class Verdict(enum.Enum):
    """What is to be done about one changed file."""

    RELOAD = enum.auto()
    SAME = enum.auto()
    """It has the content that runs."""
    NOT_LOADED = enum.auto()
    """A source file that the app does not use."""
    UNDECIDED = enum.auto()
    """The new code is still being imported; ask again when it has said what it loads."""
    AGAIN = enum.auto()
    """Empty or gone, which is how many editors begin to write: look again in :data:`AGAIN_AFTER_S`."""
    IGNORED = enum.auto()


@dataclass
class Loaded:
    """What is known of the newest worker's files.

    :ivar contents: the content of each file that counts: what ran, or what will.
    :ivar reported: the part of it that the worker itself has named.
    :ivar importing: the worker has not said yet what it loads.
    :ivar failed: the app could not be imported, did not start, or died.
    :ivar written: files that the app itself writes; they never count.
    """

    contents: dict[str, str | None] = field(default_factory=dict)
    reported: dict[str, str | None] = field(default_factory=dict)
    importing: bool = True
    failed: bool = False
    written: set[str] = field(default_factory=set)


class Judge:
    """Decides by the options; one for the life of a supervisor.

    :param root: the project's root.
    :param reload_dirs: folders given with ``--reload-dir``: every ``*.py`` below counts, loaded or not.
    :param env_files: the files that the environment is made from; they may not exist yet.
    """

    def __init__(
        self,
        *,
        root: str,
        reload_dirs: Sequence[str] = (),
        includes: Sequence[str] = (),
        excludes: Sequence[str] = (),
        env_files: Sequence[str] = (),
    ) -> None:
        bases = [root, os.getcwd(), *reload_dirs]
        self.root = root
        self.reload_dirs = tuple(reload_dirs)
        self.env_files = frozenset(env_files)
        self.includes = Patterns(includes, bases)
        self.excludes = Patterns(excludes, bases)
        self._bases = _longest_first([root, *reload_dirs, *(folder for folder, _ in self.includes.places)])

    def judge(
        self, path: str, loaded: Loaded, *, again: bool = False, settled: bool = True
    ) -> tuple[Verdict, str | None]:
        """What the change of ``path`` means, and the content it has now.

        :param again: the file was looked at before and is looked at for the last time.
        :param settled: a failure is old enough for a save without a difference to mean "try again".
        """
        if self.excludes.match(path) or path in loaded.written:
            return Verdict.IGNORED, None
        if path in loaded.contents or path in self.env_files:
            known, now = loaded.contents.get(path), fingerprint(path)
            if now == known and not (loaded.failed and settled):
                return Verdict.SAME, now
            if now in {None, EMPTY} and not again:
                return Verdict.AGAIN, now
            return Verdict.RELOAD, now
        if self.noise(path):
            return Verdict.IGNORED, None
        if self._included(path) or loaded.failed:
            if os.path.exists(path) and not os.path.isfile(path):
                return Verdict.IGNORED, None
            now = fingerprint(path)
            if now in {None, EMPTY} and not again:
                return Verdict.AGAIN, now
            return Verdict.RELOAD, now
        if path.endswith(".py"):
            return (Verdict.UNDECIDED if loaded.importing else Verdict.NOT_LOADED), None
        return Verdict.IGNORED, None

    def counts_always(self, path: str) -> bool:
        """Whether ``path`` counts whether or not the app loads it."""
        return path in self.env_files or self._included(path)

    def noise(self, path: str) -> bool:
        """Whether nobody means ``path`` when they save: caches, swap files, environments."""
        # Seen from a folder that somebody asked for: it may lie in a site-packages itself.
        *folders, name = (_inside(path, self._bases) or path).split(os.sep)
        return IGNORED_FILES.fullmatch(name) is not None or not IGNORED_NAMES.isdisjoint(folders)

    def folders(self, loaded: Loaded) -> set[str]:
        """The folders to watch for ``loaded``, each by itself."""
        found = {self.root}
        for path in (*loaded.contents, *self.env_files):
            found.add(os.path.dirname(path))
            # A link's folder sees nothing when the file that it points to is saved.
            found.add(os.path.dirname(os.path.realpath(path)))
        for folder in self.reload_dirs:
            found |= self.tree(folder)
        for folder, deep in self.includes.places:
            found |= self.tree(folder) if deep else {folder}
        if self.includes or loaded.failed:
            found |= self.tree(self.root)
        return {folder for folder in found if os.path.isdir(folder)}

    def tree(self, top: str) -> set[str]:
        """``top`` and the folders below it, without those that never count."""
        found: set[str] = set()
        for folder, names, files in os.walk(top):
            if "pyvenv.cfg" in files or len(found) >= FOLDERS_MAX:
                names.clear()
                continue
            found.add(folder)
            names[:] = [
                name
                for name in names
                if name not in IGNORED_NAMES and not self.excludes.match(os.path.join(folder, name))
            ]
        return found

    def _included(self, path: str) -> bool:
        if self.includes.match(path):
            return True
        return path.endswith(".py") and any(path.startswith(folder + os.sep) for folder in self.reload_dirs)
