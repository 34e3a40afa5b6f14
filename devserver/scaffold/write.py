"""Puts a planned project on disk: whole, or not at all.

Files are written into a temporary folder beside the target first. Then that folder gets the target's name, which needs
no room on the disk and happens at once; or, when the target is a folder already, file after file is moved to its place.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from devserver.errors import UsageError

if TYPE_CHECKING:
    from devserver.scaffold.plan import PlannedFile

KEPT = ".before"
"""The ending of what ``--force`` would have overwritten."""


@dataclass
class Written:
    """What has been done.

    :ivar added: whether there were files in the folder before.
    :ivar new: files that were not there.
    :ivar same: files that were there just so.
    :ivar kept: path of an overwritten file → path under which its old content is kept.
    """

    added: bool = False
    new: list[str] = field(default_factory=list)
    same: list[str] = field(default_factory=list)
    kept: dict[str, str] = field(default_factory=dict)


def check(target: Path, *, force: bool) -> None:
    """Whether a project may be made there.

    :raises UsageError: there is a file, or a folder that is not empty, or one whose name differs in case alone.
    """
    if target.is_dir():
        try:
            empty = not any(target.iterdir())
        except OSError as exc:
            raise _refused(target, exc) from exc
        if not empty and not force:
            raise UsageError(
                f"{target} exists and is not empty.",
                hint="Take another name, or add to it with --force, which keeps files that differ beside the new.",
            )
    elif os.path.lexists(target):
        raise UsageError(f"{target} exists and is no folder.", hint="Take another name.")
    else:
        # Two folders of such names become one where case does not count: on macOS, on Windows, for a colleague.
        with contextlib.suppress(OSError):
            for name in os.listdir(target.parent):
                if name.lower() == target.name.lower():
                    raise UsageError(
                        f"There is {target.parent / name} already, whose name differs in case alone.",
                        hint="Take another name.",
                    )


def write(target: Path, files: Sequence[PlannedFile], *, force: bool = False) -> Written:
    """Makes the project.

    :param force: whether a folder that is not empty is added to. A file there that differs is kept under another name.
    :raises UsageError: something is in the way (see :func:`check`), or cannot be written; then nothing is left behind.
    """
    check(target, force=force)
    made = _make_parents(target.parent)
    try:
        with _staged(target, files) as staging:
            if target.is_dir():
                return _move_in(staging, target, files)
            staging.rename(target)
            return Written(new=[each.path for each in files])
    except OSError as exc:
        _remove_folders(made)
        raise _refused(target, exc) from exc


@contextlib.contextmanager
def _staged(target: Path, files: Iterable[PlannedFile]) -> Iterator[Path]:
    """The files in a folder beside the target, which is gone afterwards."""
    staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        # mkdtemp keeps everybody else out; a project is an ordinary folder.
        staging.chmod(0o777 & ~_umask())
        for each in files:
            path = staging / each.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(each.content)
            if each.executable:
                path.chmod(0o777 & ~_umask())
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _move_in(staging: Path, target: Path, files: Iterable[PlannedFile]) -> Written:
    """Moves files into a folder that stays the same, as a shell may stand in it; undone when one cannot be moved."""
    written = Written(added=any(target.iterdir()))
    made: list[Path] = []
    try:
        for each in files:
            place = target / each.path
            if place.is_file() and place.read_bytes() == each.content:
                written.same.append(each.path)
                continue
            made = _make_parents(place.parent) + made
            if os.path.lexists(place):
                aside = free_name(place, KEPT)
                place.rename(aside)
                written.kept[each.path] = aside.relative_to(target).as_posix()
            (staging / each.path).rename(place)
            if each.path not in written.kept:
                written.new.append(each.path)
    except (OSError, UsageError):
        for path in written.new:
            (target / path).unlink(missing_ok=True)
        for path, kept in written.kept.items():
            (target / kept).replace(target / path)
        _remove_folders(made)
        raise
    return written


def _remove_folders(folders: Iterable[Path]) -> None:
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()


def free_name(path: Path, ending: str) -> Path:
    """A path beside ``path`` that nothing has: with the ending, and a number when that is taken."""
    for number in range(1, 1000):
        free = path.with_name(f"{path.name}{ending}{number if number > 1 else ''}")
        if not os.path.lexists(free):
            return free
    raise FileExistsError(f"a thousand copies of {path} are kept already")


def _make_parents(folder: Path) -> list[Path]:
    """Makes a folder; gives those that had to be made, deepest first."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    try:
        for each in reversed(missing):
            each.mkdir()
    except OSError as exc:
        _remove_folders(missing)
        raise _refused(missing[0], exc) from exc
    return missing


def _refused(target: Path, exc: OSError) -> UsageError:
    reason = exc.strerror or str(exc)
    return UsageError(
        f"{target} cannot be written: {reason[:1].lower()}{reason[1:]}. Nothing was left behind.",
        hint="Choose a folder that you may write to, on a disk with room.",
    )


def _umask() -> int:
    # There is no way to ask without setting.
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
