"""Files that are no longer those that were read."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from devserver.app.source_loader import stamp
from devserver.supervisor import freshness
from devserver.supervisor.freshness import Freshness


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file."""
    path = tmp_path / "a.py"
    path.write_text("1")
    return path


def test_file_that_is_written_exchanged_or_removed_has_changed(path: Path) -> None:
    known = {str(path): stamp(str(path))}
    fresh = Freshness(lambda: known)
    assert fresh.changed() == []
    path.write_text("22")
    assert fresh.changed() == [str(path)]
    known[str(path)] = stamp(str(path))
    other = path.with_name("b")
    other.write_text("33")
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    other.replace(path)
    assert fresh.changed() == [str(path)]
    path.unlink()
    assert fresh.changed() == [str(path)]


def test_change_that_was_accepted_is_told_again_only_when_there_is_another(path: Path) -> None:
    known = {str(path): stamp(str(path))}
    fresh = Freshness(lambda: known)
    path.write_text("22")
    fresh.accept(fresh.changed())
    assert fresh.changed() == []
    path.write_text("333")
    assert fresh.changed() == [str(path)]


def test_many_files_are_not_looked_at_all_the_time(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freshness, "CHEAP_S", 0)
    monkeypatch.setattr(freshness, "SHARE", 1e9)
    looks = []
    fresh = Freshness(lambda: looks.append(1) or {str(path): stamp(str(path))})  # type: ignore[func-returns-value]
    for _ in range(3):
        fresh.changed()
        time.sleep(0.001)
    assert len(looks) == 1
