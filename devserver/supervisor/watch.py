"""Notices changed files; the one place that knows watchfiles.

A thread watches folders, each by itself and not what is below, because an app's folder tends to hold an environment,
a ``node_modules`` or a database that would cost thousands of watches and wake us for nothing. What notification misses
(a replaced folder, an overflow, a network file system, a save between the import of a file and the start of its watch)
is found by comparing contents whenever the set changes and by a look at every file once a second.

It reports paths that may have changed; what that means is decided elsewhere (``changes.py``).
"""

from __future__ import annotations

import contextlib
import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

from devserver.supervisor.changes import fingerprint

if TYPE_CHECKING:
    from watchfiles._rust_notify import RustNotify

SWEEP_S = 1.0
DEBOUNCE_MS = 50
"""While files keep changing, report at least so often."""
WAKE_S = 0.05
"""How late other folders are watched than asked for; what happens meanwhile is found all the same."""
POLL_MS = 200
GIT_LOCK_S_MAX = 10.0
"""``git commit`` keeps its lock while a message is being written, and a crash leaves one: no longer a checkout."""
GIT_STEP_S = 0.02
CLOCK_S = 0.01
"""The clock that stamps files runs behind the one that we read, by as much as a tick of the kernel."""

_Status: TypeAlias = tuple[int, int, int, int] | None


@dataclass(frozen=True)
class Watched:
    """What to watch.

    :ivar folders: absolute paths, each watched by itself.
    :ivar contents: files that matter most, and the content that each is known to have.
    :ivar since: ``time.time()``; what has changed after it in a folder that was not watched yet is reported as if it
        had been. A watch takes its time to stand.
    """

    folders: frozenset[str] = frozenset()
    contents: Mapping[str, str | None] = field(default_factory=dict)
    since: float = float("inf")


class Watcher:
    """A thread that calls back with the paths of changed files.

    :param on_changes: called on the thread.
    :param on_trouble: called on the thread with a sentence when notification does not work here.
    :param step_s: how long it must be quiet before a change is reported.
    :param poll: True looks at the folders again and again instead of being notified; None decides by the platform.
    :param root: the project, for finding git's lock.
    """

    def __init__(
        self,
        on_changes: Callable[[set[str]], None],
        *,
        on_trouble: Callable[[str], None],
        step_s: float = 0.005,
        poll: bool | None = None,
        root: str = "",
    ) -> None:
        self._on_changes = on_changes
        self._on_trouble = on_trouble
        self._step_ms = max(1, round(step_s * 1000))
        self._poll = needs_polling(root) if poll is None else poll
        self._git_lock = _git_lock(root) if root else ""
        self._lock = threading.Lock()
        self._wanted: Watched | None = None
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="devserver-watch", daemon=True)

        self._gave_up = False
        self._notify: RustNotify | None = None
        self._now = Watched()
        self._folders: dict[str, _Status] = {}
        self._files: dict[str, _Status] = {}

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def watch(self, watched: Watched) -> None:
        """Watches this from now on, instead of what was watched before. A file that has another content than
        ``watched`` says is reported."""
        with self._lock:
            if self._wanted is not None:
                # Nobody has looked at that one yet, so what has happened since then is still to be found.
                watched = replace(watched, since=min(self._wanted.since, watched.since))
            self._wanted = watched
        self._woken.set()

    def stop(self, timeout_s: float = 1.0) -> None:
        """Ends the thread."""
        self._stopping.set()
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        collected: set[str] = set()
        next_sweep = time.monotonic() + SWEEP_S
        while True:
            self._woken.clear()
            if self._stopping.is_set():
                break
            with self._lock:
                wanted, self._wanted = self._wanted, None
            if wanted is not None:
                collected |= self._change(wanted)
            timeout_s = next_sweep - time.monotonic()
            if collected:
                timeout_s = min(timeout_s, GIT_STEP_S) if self._git_is_busy() else 0
            if timeout_s > 0:
                collected |= self._wait(timeout_s)
            if time.monotonic() >= next_sweep:
                collected |= self._sweep()
                next_sweep = time.monotonic() + SWEEP_S
            if collected and not self._git_is_busy():
                self._on_changes(collected)
                collected = set()
        self._close()

    def _wait(self, timeout_s: float) -> set[str]:
        from watchfiles._rust_notify import WatchfilesRustInternalError

        if self._notify is None:
            self._woken.wait(timeout_s)
            return set()
        # It forgets what it has collected when its event is set, so that one must not mean "there is something else to
        # do"; the end of a short time is no such moment.
        timeout_ms = max(1, round(min(timeout_s, WAKE_S) * 1000))
        try:
            result = self._notify.watch(DEBOUNCE_MS, self._step_ms, timeout_ms, self._stopping)
        except WatchfilesRustInternalError as exc:
            self._on_trouble(f"File notification has failed and is set up again ({exc}).")
            self._folders = {}
            return self._rebuild(time.time() - 2 * SWEEP_S)
        found = {path for _, path in result} if isinstance(result, set) else set()
        # The next sweep need not say it again; what comes after this moment is notified again.
        self._files.update((path, _status(path)) for path in found & self._files.keys())
        return found

    def _change(self, wanted: Watched) -> set[str]:
        before, self._now = self._now, wanted
        different: set[str] = set()
        if wanted.folders != before.folders or self._notify is None:
            different |= self._rebuild(wanted.since)
        # Contents are read after the watch stands, so that no save can fall between the two.
        files: dict[str, _Status] = {}
        for path, content in wanted.contents.items():
            status = files[path] = _status(path)
            known = path in self._files and self._files[path] == status and before.contents.get(path) == content
            if not known and fingerprint(path) != content:
                different.add(path)
        self._files = files
        return different

    def _sweep(self) -> set[str]:
        changed = {path for path, status in self._files.items() if _status(path) != status}
        for path in changed:
            self._files[path] = _status(path)
        if any(_identity(folder) != known for folder, known in self._folders.items()):
            # A replaced folder took its watch along; its files are new, too.
            changed |= self._rebuild(time.time() - 2 * SWEEP_S)
        return changed

    def _rebuild(self, since: float) -> set[str]:
        """Watches other folders; what the watch that ends has still seen, and what was new before the new one stood."""
        # Imported here, on the thread: it takes as long as everything else in the supervisor together.
        from watchfiles._rust_notify import RustNotify, WatchfilesRustInternalError

        before, self._notify = self._notify, None
        known_before, self._folders = self._folders, {folder: _identity(folder) for folder in self._now.folders}
        paths = sorted(folder for folder, known in self._folders.items() if known is not None)
        try:
            self._notify = RustNotify(paths, False, self._poll, POLL_MS, False, True) if paths else None
        except FileNotFoundError:
            # One of them went this moment; the next sweep sees it.
            self._folders = dict.fromkeys(paths, None)
        except (OSError, WatchfilesRustInternalError) as exc:
            if self._poll:
                if not self._gave_up:
                    self._gave_up = True
                    self._on_trouble(f"Files cannot be watched ({exc}); changes are noticed within a second.")
                return set()
            self._poll = True
            self._on_trouble(f"File notification is not available ({exc}); looking every {POLL_MS} ms instead.")
            return self._rebuild(since)
        # Only now, with the new watch in place: a file written between the two would be seen by neither.
        found: set[str] = set()
        if before is not None:
            with contextlib.suppress(WatchfilesRustInternalError):
                last = before.watch(DEBOUNCE_MS, self._step_ms, self._step_ms, None)
                found |= {path for _, path in last} if isinstance(last, set) else set()
            before.close()
        for folder, known in self._folders.items():
            if known is not None and known_before.get(folder) != known:
                found |= _changed_since(folder, since - CLOCK_S)
        return found

    def _close(self) -> None:
        if self._notify is not None:
            self._notify.close()
            self._notify = None

    def _git_is_busy(self) -> bool:
        if not self._git_lock:
            return False
        try:
            return time.time() - os.stat(self._git_lock).st_mtime < GIT_LOCK_S_MAX
        except OSError:
            return False


def snapshot(paths: Iterable[str]) -> dict[str, str | None]:
    """The content that each of these files has now."""
    return {path: fingerprint(path) for path in paths}


def _status(path: str) -> _Status:
    with contextlib.suppress(OSError, ValueError):
        status = os.stat(path)
        return status.st_ino, status.st_size, status.st_mtime_ns, status.st_dev
    return None


def _changed_since(folder: str, moment: float) -> set[str]:
    """What in ``folder``, folders included, was made, written, renamed or touched after ``moment``."""
    found: set[str] = set()
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                if entry.stat().st_ctime >= moment:
                    found.add(entry.path)
    return found


def _identity(folder: str) -> _Status:
    with contextlib.suppress(OSError):
        status = os.stat(folder)
        return status.st_ino, 0, 0, status.st_dev
    return None


def _git_lock(root: str) -> str:
    folder = os.path.abspath(root)
    while True:
        git = os.path.join(folder, ".git")
        if os.path.isdir(git):
            return os.path.join(git, "index.lock")
        if os.path.isfile(git):
            # A worktree or a submodule: the file says where its own folder is.
            with contextlib.suppress(OSError), open(git, encoding="utf-8") as file:
                target = file.readline().removeprefix("gitdir:").strip()
                return os.path.join(folder, target, "index.lock")
        parent = os.path.dirname(folder)
        if parent == folder:
            return ""
        folder = parent


def needs_polling(root: str) -> bool:
    """Whether nobody tells of changes below ``root``, so that they are looked for without being asked to."""
    # Windows' drives in WSL 2 notify nobody.
    return sys.platform == "linux" and "microsoft" in platform.uname().release.lower() and root.startswith("/mnt/")
