"""A project and its template, both of which change."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from devserver.errors import UsageError
from devserver.scaffold.plan import PlannedFile
from devserver.scaffold.record import digest
from devserver.scaffold.update import Action, apply, changes, decide
from tests.support.projects import write_files

pytestmark = pytest.mark.once

OLD, NEW, MINE = b"old", b"new", b"mine"


@pytest.mark.parametrize(
    ("recorded", "present", "wanted", "action"),
    [
        # The template has it still, and nobody changed anything.
        (OLD, OLD, OLD, Action.NOTHING),
        # Only the template changed it.
        (OLD, OLD, NEW, Action.REPLACE),
        # Only the people did.
        (OLD, MINE, OLD, Action.NOTHING),
        # Both did; or both did the same.
        (OLD, MINE, NEW, Action.PUT_BESIDE),
        (OLD, NEW, NEW, Action.NOTHING),
        # It was deleted, whatever the template says.
        (OLD, None, OLD, Action.STAY_AWAY),
        (OLD, None, NEW, Action.STAY_AWAY),
        # The template has a new file.
        (None, None, NEW, Action.ADD),
        (None, NEW, NEW, Action.NOTHING),
        (None, MINE, NEW, Action.PUT_BESIDE),
        # The template has dropped it.
        (OLD, OLD, None, Action.REMOVE),
        (OLD, MINE, None, Action.NOTHING),
        (OLD, None, None, Action.NOTHING),
    ],
)
def test_decision(recorded: bytes | None, present: bytes | None, wanted: bytes | None, action: Action) -> None:
    assert decide(digest(recorded) if recorded else None, present, wanted) is action


def test_decisions_are_carried_out(tmp_path: Path) -> None:
    write_files(tmp_path, {"same": "old", "stale": "old", "mine": "mine", "dropped": "old"})
    recorded = dict.fromkeys(("same", "stale", "mine", "dropped", "deleted"), digest(OLD))
    files = [
        PlannedFile("same", OLD),
        PlannedFile("stale", NEW),
        PlannedFile("mine", NEW),
        PlannedFile("deleted", NEW),
        PlannedFile("deep/added", NEW, executable=True),
    ]
    decided = changes(tmp_path, recorded, files)
    assert {each.path: each.action for each in decided} == {
        "deep/added": Action.ADD,
        "deleted": Action.STAY_AWAY,
        "dropped": Action.REMOVE,
        "mine": Action.PUT_BESIDE,
        "stale": Action.REPLACE,
    }
    assert apply(tmp_path, decided) == {"mine": "mine.new"}
    found = {path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {"same": OLD, "stale": NEW, "mine": MINE, "mine.new": NEW, "deep/added": NEW}
    assert os.access(tmp_path / "deep/added", os.X_OK)
    # With what is on record then, a second time has nothing to do, but for what was deleted.
    again = changes(tmp_path, {each.path: digest(each.content) for each in files}, files)
    assert [(each.path, each.action) for each in again] == [("deleted", Action.STAY_AWAY)]


def test_mode_of_a_replaced_file_stays(tmp_path: Path) -> None:
    write_files(tmp_path, {"run": "old"})
    (tmp_path / "run").chmod(0o750)
    apply(tmp_path, changes(tmp_path, {"run": digest(OLD)}, [PlannedFile("run", NEW)]))
    assert ((tmp_path / "run").read_bytes(), (tmp_path / "run").stat().st_mode & 0o777) == (NEW, 0o750)


@pytest.mark.parametrize(("project", "removed"), [("old", True), ("vendor/a.whl is mine", False)])
def test_wheel_stays_while_the_project_takes_it_from_there(tmp_path: Path, project: str, removed: bool) -> None:
    write_files(tmp_path, {"pyproject.toml": project, "vendor/a.whl": "old"})
    recorded = {"pyproject.toml": digest(OLD), "vendor/a.whl": digest(OLD)}
    apply(tmp_path, changes(tmp_path, recorded, [PlannedFile("pyproject.toml", NEW), PlannedFile("vendor/b.whl", NEW)]))
    assert (tmp_path / "vendor/a.whl").exists() is not removed
    assert (tmp_path / "vendor/b.whl").exists()


def test_folder_in_the_place_of_a_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "README.md").mkdir()
    with pytest.raises(UsageError, match=r"README\.md cannot be read: Is a directory"):
        changes(tmp_path, {}, [PlannedFile("README.md", NEW)])


def test_file_in_the_place_of_a_folder_is_one_sentence(tmp_path: Path) -> None:
    write_files(tmp_path, {"src": "a file"})
    with pytest.raises(UsageError, match="cannot be written"):
        apply(tmp_path, changes(tmp_path, {}, [PlannedFile("src/main.py", NEW)]))
    assert os.listdir(tmp_path) == ["src"]
