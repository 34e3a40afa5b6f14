"""Brings a project to what its template says now, without touching what people have changed.

Three versions of a file count: as the template had it (its hash is on record), as it is, and as the template has it
now. A file that nobody changed is replaced. Beside one that both sides have changed the newer one is put, under another
name.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from devserver.errors import UsageError
from devserver.scaffold.provenance import FOLDER
from devserver.scaffold.record import digest
from devserver.scaffold.write import free_name

if TYPE_CHECKING:
    from devserver.scaffold.plan import PlannedFile

BESIDE = ".new"
"""The ending of a newer file beside the one that was changed."""


class Action(StrEnum):
    """What becomes of one file."""

    NOTHING = "nothing"
    ADD = "new"
    REPLACE = "updated"
    PUT_BESIDE = "conflict"
    REMOVE = "removed"
    STAY_AWAY = "deleted by you"


@dataclass(frozen=True)
class Change:
    """One file, and what becomes of it.

    :ivar content: what is written, if anything is.
    :ivar before: what is there, if anything is.
    """

    path: str
    action: Action
    content: bytes = b""
    before: bytes = b""
    executable: bool = False


def decide(recorded: str | None, present: bytes | None, wanted: bytes | None) -> Action:
    """What becomes of a file. Pure.

    :param recorded: hash of what the template had when the project was made or last updated; None if it had none.
    :param present: what is there; None if nothing is.
    :param wanted: what the template has now; None if it has none any more.
    """
    if present == wanted:
        return Action.NOTHING
    untouched = present is not None and digest(present) == recorded
    if wanted is None:
        return Action.REMOVE if untouched else Action.NOTHING
    if present is None:
        return Action.ADD if recorded is None else Action.STAY_AWAY
    if untouched:
        return Action.REPLACE
    return Action.NOTHING if digest(wanted) == recorded else Action.PUT_BESIDE


def changes(folder: Path, recorded: Mapping[str, str], files: Iterable[PlannedFile]) -> list[Change]:
    """What is to be done, in the order of the paths; without the files that stay as they are.

    :param recorded: path → hash, of every file that the template had.
    :param files: what the template has now.
    :raises UsageError: a file cannot be read.
    """
    return [each for each in _all(folder, recorded, files) if each.action is not Action.NOTHING]


def _all(folder: Path, recorded: Mapping[str, str], files: Iterable[PlannedFile]) -> Iterator[Change]:
    wanted = {each.path: each for each in files}
    for path in sorted({*recorded, *wanted}):
        planned, present = wanted.get(path), _content(folder / path)
        action = decide(recorded.get(path), present, planned.content if planned else None)
        if action is Action.REMOVE and path.startswith(f"{FOLDER}/") and path in _text(folder / "pyproject.toml"):
            # Unless pyproject.toml is replaced as well, it still takes the wheel from there.
            project = wanted.get("pyproject.toml")
            before = _content(folder / "pyproject.toml")
            if project is None or decide(recorded.get(project.path), before, project.content) is not Action.REPLACE:
                continue
        yield Change(
            path,
            action,
            planned.content if planned else b"",
            present or b"",
            planned.executable if planned else False,
        )


def apply(folder: Path, decided: Iterable[Change]) -> dict[str, str]:
    """Does what was decided; safe to be repeated when it is interrupted.

    :returns: path of each conflict → path of the newer file beside it.
    :raises UsageError: something cannot be written.
    """
    beside: dict[str, str] = {}
    for change in decided:
        path = folder / change.path
        try:
            if change.action in {Action.ADD, Action.REPLACE}:
                put(path, change.content, executable=change.executable)
            elif change.action is Action.PUT_BESIDE:
                aside = free_name(path, BESIDE)
                put(aside, change.content)
                beside[change.path] = aside.relative_to(folder).as_posix()
            elif change.action is Action.REMOVE:
                path.unlink()
        except OSError as exc:
            raise UsageError(
                f"{path} cannot be written: {exc.strerror or exc}.", hint="Make it writable, and run this again."
            ) from exc
    return beside


def put(path: Path, content: bytes, *, executable: bool = False) -> None:
    """Writes a file at once: it is there whole, or as it was.

    :raises OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content)
        if path.exists():
            temporary.chmod(path.stat().st_mode & 0o777)
        elif executable:
            temporary.chmod(temporary.stat().st_mode | 0o111)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        raise UsageError(f"{path} cannot be read: {exc.strerror or exc}.", hint="Make it readable.") from exc


def _text(path: Path) -> str:
    return (_content(path) or b"").decode(errors="replace")
