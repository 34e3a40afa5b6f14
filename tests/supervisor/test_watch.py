"""Changes are noticed, each one, whatever the watch is doing at the moment. With real files and the real library."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from watchfiles import _rust_notify as library

from devserver.supervisor import watch
from devserver.supervisor.changes import fingerprint
from devserver.supervisor.watch import Watched, Watcher
from tests.support.reload import until


@dataclass
class Seen:
    """A running watcher and what it has reported."""

    watcher: Watcher
    reports: list[set[str]]
    troubles: list[str]

    def has(self, *paths: Path) -> bool:
        return {str(path) for path in paths} <= set().union(*self.reports)

    def count(self, path: Path) -> int:
        return sum(str(path) in report for report in self.reports)

    def wait_turns(self, count: int = 2) -> None:
        """Returns when the watcher's thread has been idle, and has looked at what there is to do, so many times."""
        turns = 0
        stands, inner = threading.Event(), self.watcher._wait

        def wait(timeout_s: float) -> set[str]:
            nonlocal turns
            found = inner(timeout_s)
            turns = 0 if found else turns + 1
            if turns > count:
                stands.set()
            return found

        self.watcher._wait = wait  # type: ignore[method-assign]
        assert stands.wait(30)
        self.watcher._wait = inner  # type: ignore[method-assign]


def watched_by(**options: Any) -> Seen:
    reports, troubles = list[set[str]](), list[str]()
    return Seen(Watcher(reports.append, on_trouble=troubles.append, **options), reports, troubles)


@contextlib.contextmanager
def watching(*folders: Path, since: float = float("inf"), **options: Any) -> Iterator[Seen]:
    seen = watched_by(**options)
    seen.watcher.watch(Watched(frozenset(map(str, folders)), since=since))
    seen.watcher.start()
    try:
        yield seen
    finally:
        seen.watcher.stop(30)
        assert not seen.watcher._thread.is_alive()


def contents(*paths: Path) -> dict[str, str | None]:
    return {str(path): fingerprint(str(path)) for path in paths}


@pytest.mark.parametrize("poll", [False, True])
def test_file_that_is_written_is_reported(tmp_path: Path, poll: bool) -> None:
    with watching(tmp_path, poll=poll) as seen:
        seen.wait_turns()
        (tmp_path / "a.py").write_text("1")
        until(lambda: seen.has(tmp_path / "a.py"))


def test_folder_below_is_not_watched(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    with watching(tmp_path) as seen:
        seen.wait_turns()
        (tmp_path / "deep" / "a.py").write_text("1")
        (tmp_path / "b.py").write_text("1")
        until(lambda: seen.has(tmp_path / "b.py"))
        assert not seen.has(tmp_path / "deep" / "a.py")


def test_change_is_reported_while_other_folders_are_asked_for(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in "abc"]
    for folder in folders:
        folder.mkdir()
    with watching(folders[0]) as seen:
        seen.wait_turns()
        for number in range(30):
            path = folders[0] / f"{number}.py"
            path.write_text("1")
            seen.watcher.watch(Watched(frozenset({str(folders[0]), str(folders[number % 3])})))
            until(lambda path=path: seen.has(path))  # type: ignore[misc]


def test_what_changed_before_the_watch_stood_is_reported(tmp_path: Path) -> None:
    old, new = tmp_path / "old.py", tmp_path / "new.py"
    old.write_text("1")
    os.utime(old, (1, 1))
    until(lambda: time.time() - old.stat().st_ctime > 2 * watch.CLOCK_S)
    since = time.time()
    new.write_text("1")
    (tmp_path / "folder").mkdir()
    with watching(tmp_path, since=since) as seen:
        until(lambda: seen.has(new, tmp_path / "folder"))
        assert not seen.has(old)


def test_earlier_wish_that_nobody_looked_at_is_not_forgotten(tmp_path: Path) -> None:
    since = time.time()
    new = tmp_path / "new.py"
    new.write_text("1")
    seen = watched_by()
    seen.watcher.watch(Watched(frozenset({str(tmp_path)}), since=since))
    seen.watcher.watch(Watched(frozenset({str(tmp_path)}), since=since + 100))
    seen.watcher.start()
    until(lambda: seen.has(new))
    seen.watcher.stop(30)


def test_file_with_another_content_than_said_is_reported(tmp_path: Path) -> None:
    same, other = tmp_path / "same.py", tmp_path / "other.py"
    same.write_text("1")
    other.write_text("1")
    said = contents(same, other)
    other.write_text("2")
    with watching(tmp_path) as seen:
        seen.watcher.watch(Watched(frozenset({str(tmp_path)}), said))
        until(lambda: seen.has(other))
        assert not seen.has(same)


def test_sweep_finds_what_no_notification_tells_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "SWEEP_S", 0.01)
    (tmp_path / "away").mkdir()
    path = tmp_path / "away" / "a.py"
    path.write_text("1")
    with watching(tmp_path) as seen:
        seen.watcher.watch(Watched(frozenset({str(tmp_path)}), contents(path)))
        seen.wait_turns()
        path.write_text("22")
        until(lambda: seen.has(path))


def test_sweep_does_not_repeat_what_was_notified(tmp_path: Path) -> None:
    path, marker = tmp_path / "a.py", tmp_path / "marker"
    path.write_text("1")
    with watching(tmp_path) as seen:
        seen.watcher.watch(Watched(frozenset({str(tmp_path)}), contents(path)))
        seen.wait_turns()
        os.utime(path, (1, 1))
        until(lambda: seen.has(path))
        wait_sweep(seen)
        marker.write_text("1")
        until(lambda: seen.has(marker))
        assert seen.count(path) == 1


def wait_sweep(seen: Seen) -> None:
    """Returns when the watcher has looked at every file once more."""
    swept, inner = threading.Event(), seen.watcher._sweep

    def sweep() -> set[str]:
        found = inner()
        swept.set()
        return found

    seen.watcher._sweep = sweep  # type: ignore[method-assign]
    assert swept.wait(30)


def test_replaced_folder_is_watched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "SWEEP_S", 0.01)
    folder = tmp_path / "app"
    folder.mkdir()
    with watching(folder) as seen:
        seen.wait_turns()
        folder.rename(tmp_path / "away")
        folder.mkdir()
        # Whether it comes before or after the new watch stands.
        (folder / "a.py").write_text("1")
        until(lambda: seen.has(folder / "a.py"))
        seen.wait_turns()
        (folder / "b.py").write_text("1")
        until(lambda: seen.has(folder / "b.py"))


def test_folder_that_is_not_there_yet_is_watched_when_it_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "SWEEP_S", 0.01)
    folder = tmp_path / "app"
    with watching(folder) as seen:
        seen.wait_turns()
        folder.mkdir()
        (folder / "a.py").write_text("1")
        until(lambda: seen.has(folder / "a.py"))


@pytest.mark.parametrize("kind", [OSError, library.WatchfilesRustInternalError])
def test_notification_that_is_not_available_is_replaced_by_looking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    real = library.RustNotify

    def make(paths: list[str], debug: bool, polls: bool, *rest: Any) -> Any:
        if not polls:
            raise kind("no space left on device")
        return real(paths, debug, polls, *rest)

    monkeypatch.setattr(library, "RustNotify", make)
    with watching(tmp_path) as seen:
        until(lambda: seen.troubles)
        assert "looking every 200 ms instead" in seen.troubles[0]
        seen.wait_turns()
        (tmp_path / "a.py").write_text("1")
        until(lambda: seen.has(tmp_path / "a.py"))


def test_where_nothing_can_be_watched_the_sweep_still_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "SWEEP_S", 0.01)

    def make(*_: Any) -> Any:
        raise OSError("no space left on device")

    monkeypatch.setattr(library, "RustNotify", make)
    path = tmp_path / "a.py"
    path.write_text("1")
    with watching(tmp_path) as seen:
        seen.watcher.watch(Watched(frozenset({str(tmp_path)}), contents(path)))
        until(lambda: any("within a second" in text for text in seen.troubles))
        path.write_text("22")
        until(lambda: seen.has(path))
        seen.watcher.watch(Watched(frozenset(), contents(path)))
        path.write_text("333")
        until(lambda: seen.count(path) > 1)
        # Once each: that it looks instead, and that it cannot even do that.
        assert len(seen.troubles) == 2


def test_notification_that_fails_later_is_set_up_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = library.RustNotify

    class Once:
        """The library's class, whose first object fails as soon as it is asked."""

        made = 0

        def __init__(self, *arguments: Any) -> None:
            Once.made += 1
            self._fails = Once.made == 1
            self._inner = real(*arguments)

        def watch(self, *arguments: Any) -> Any:
            if self._fails:
                (tmp_path / "lost.py").write_text("1")
                raise library.WatchfilesRustInternalError("error in underlying watcher")
            return self._inner.watch(*arguments)

        def close(self) -> None:
            self._inner.close()

    monkeypatch.setattr(library, "RustNotify", Once)
    with watching(tmp_path) as seen:
        until(lambda: seen.has(tmp_path / "lost.py"))
        assert "set up again" in seen.troubles[0]
        (tmp_path / "later.py").write_text("1")
        until(lambda: seen.has(tmp_path / "later.py"))


@pytest.mark.parametrize("worktree", [False, True])
def test_changes_are_held_while_git_works(tmp_path: Path, worktree: bool) -> None:
    root = tmp_path / "root"
    root.mkdir()
    git = tmp_path / "real.git" if worktree else root / ".git"
    git.mkdir()
    if worktree:
        (root / ".git").write_text(f"gitdir: {git}\n")
    lock = git / "index.lock"
    lock.write_text("")
    with watching(root, root=str(root)) as seen:
        seen.wait_turns()
        (root / "a.py").write_text("1")
        seen.wait_turns()
        (root / "b.py").write_text("1")
        seen.wait_turns()
        assert seen.reports == []
        lock.unlink()
        until(lambda: seen.has(root / "a.py", root / "b.py"))
        assert len([report for report in seen.reports if str(root / "a.py") in report]) == 1


def test_lock_that_a_crash_left_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    lock = tmp_path / ".git" / "index.lock"
    lock.write_text("")
    os.utime(lock, (1, 1))
    with watching(tmp_path, root=str(tmp_path)) as seen:
        seen.wait_turns()
        (tmp_path / "a.py").write_text("1")
        until(lambda: seen.has(tmp_path / "a.py"))
