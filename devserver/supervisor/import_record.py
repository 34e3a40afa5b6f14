"""What an import has depended on so far, and whether that is still so.

A process that waits in the middle of an import may go on with it only when a fresh process would have come to the same
point: every file that was run or read is as it was, files that were missing are missing still, and the folders that
modules were looked for in, or that somebody listed, have the same names in them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.machinery import all_suffixes
from typing import TYPE_CHECKING, Any

from devserver.app.source_loader import content_hash, stamp
from devserver.supervisor.changes import IGNORED_FILES, IGNORED_NAMES, fingerprint

if TYPE_CHECKING:
    from devserver.supervisor.freshness import Stamp

_SUFFIXES = tuple(all_suffixes())


@dataclass(frozen=True)
class ImportRecord:
    """Crosses the channel as a message's members.

    :ivar executed: path of a module → hash of its content, and its stamp from before it was read.
    :ivar read: path of any other file that was opened, or looked for → its stamp from before.
    :ivar searched: folder that modules were imported from → :func:`names_hash` of what can be imported.
    :ivar listed: folder that the app has listed → :func:`names_hash` of all of it.
    """

    executed: Mapping[str, tuple[str, Stamp]]
    read: Mapping[str, Stamp]
    searched: Mapping[str, str]
    listed: Mapping[str, str]

    def to_message(self) -> dict[str, Any]:
        """The record in JSON's types."""
        return vars(self)

    @staticmethod
    def from_message(message: Mapping[str, Any]) -> ImportRecord:
        """The inverse of :meth:`to_message`, after it has been JSON; other members are left alone."""
        return ImportRecord(
            {path: (digest, _stamp(known)) for path, (digest, known) in message["executed"].items()},
            {path: _stamp(known) for path, known in message["read"].items()},
            message["searched"],
            message["listed"],
        )

    def difference(self) -> str:
        """The first path at which things are no longer as they were, or an empty string."""
        for path, (digest, known) in self.executed.items():
            # Most often nothing was written, and one look tells.
            if stamp(path) != known and fingerprint(path) != digest:
                return path
        for path, known in self.read.items():
            if stamp(path) != known:
                return path
        for folders, importable in ((self.searched, True), (self.listed, False)):
            for folder, digest in folders.items():
                if names_hash(folder, importable=importable) != digest:
                    return folder
        return ""


def names_hash(folder: str, *, importable: bool) -> str:
    """A hash of the names in a folder, less those that nobody means: caches, swap files, environments.

    :param importable: only of what could be a module or a package.
    """
    try:
        found: Iterable[str] = os.listdir(folder)
    except OSError:
        return ""
    names = [name for name in found if name not in IGNORED_NAMES and not IGNORED_FILES.fullmatch(name)]
    if importable:
        names = [name for name in names if "." not in name or name.endswith(_SUFFIXES)]
    return content_hash("\0".join(sorted(names)).encode("utf-8", "surrogateescape"))


def _stamp(known: Iterable[int]) -> Stamp:
    modified_ns, size, inode = known
    return (modified_ns, size, inode)
