"""What is done about saves, with real files and without a worker."""

from __future__ import annotations

from pathlib import Path

import pytest

from devserver.app.source_loader import content_hash
from devserver.events import Event, FilesChanged, FilesLoaded
from devserver.supervisor.changes import Judge
from devserver.supervisor.saves import Saves

WHY = "the app reads"


class Room:
    """Saves whose newest worker has loaded one file."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "main.py"
        self.file.write_text("number = 1\n")
        self.said: list[Event] = []
        self.replaced: list[set[str]] = []
        self.saves = Saves(
            Judge(root=str(folder)),
            say=self.said.append,
            replace=lambda paths, _: self.replaced.append(paths),
            put=lambda _: None,
            delay_s=0.005,
            poll=None,
        )
        self.saves.importing()
        self.saves.reported(FilesLoaded(((str(self.file), content_hash(self.file.read_bytes())),), ()))
        self.saves.settle()

    def write(self, text: str) -> None:
        """Writes the file, which is noticed at once."""
        self.file.write_text(text)
        self.saves.changed({str(self.file)})

    @property
    def told(self) -> list[str]:
        """The reasons that were given for not reloading."""
        return [event.reason for event in self.said if isinstance(event, FilesChanged)]


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)


def test_save_replaces_the_worker(room: Room) -> None:
    room.write("number = 2\n")
    assert room.replaced == [{str(room.file)}]
    assert room.told == []


def test_save_that_waits_is_told_once_though_it_was_seen_half_written(room: Room) -> None:
    room.saves.hold(WHY)
    room.write("")
    assert room.told == []
    room.write("number = 2\n")
    room.write("number = 3\n")
    assert room.told == [WHY]
    assert room.replaced == []
    room.saves.release(WHY)
    assert room.replaced == [{str(room.file)}]


def test_save_that_was_taken_back_while_it_waited_changes_nothing(room: Room) -> None:
    room.saves.hold(WHY)
    room.write("number = 2\n")
    room.write("number = 1\n")
    room.saves.release(WHY)
    assert room.replaced == []
    assert room.told == [WHY, "no change in content"]


def test_reasons_to_wait_may_overlap_and_are_told_anew_the_next_time(room: Room) -> None:
    room.saves.hold(WHY)
    room.saves.hold("another")
    room.write("number = 2\n")
    room.saves.release(WHY)
    assert room.replaced == []
    room.saves.release("another")
    assert len(room.replaced) == 1
    room.saves.hold(WHY)
    room.write("number = 3\n")
    assert room.told == [WHY, WHY]
