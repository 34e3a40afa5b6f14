"""What has been saved, and which of it the app must be replaced for.

Keeps what is known of the newest worker's files, has them watched and judged (:mod:`devserver.supervisor.watch`,
:mod:`devserver.supervisor.changes`), and tells its owner when the worker must be replaced. Must not know how that is
done, nor what a worker is.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable

from devserver.events import Event, FilesChanged, FilesLoaded, Notice
from devserver.supervisor.changes import AGAIN_AFTER_S, Judge, Loaded, Verdict, fingerprint
from devserver.supervisor.watch import Watched, Watcher

SETTLE_S = 0.5
"""Events this soon after a failure still belong to the save that caused it."""
EDITED_MAX = 10
"""How many of the files that were saved last are remembered."""
RECENT_S = 1.0
"""Editors touch a file more than once when they save; "no change" is not worth saying then."""


class Saves:
    """The files of the newest worker, and what is done to them. All methods are called on one thread.

    :param judge: decides about each file.
    :param say: tells what is not worth a reload, and why.
    :param replace: called with the files for which the worker must be replaced, and with ``time.monotonic()`` of when
        that was seen. It calls :meth:`importing` when a new worker is on its way.
    :param put: hands what the watcher's thread has to tell over to the one thread: paths, which are for
        :meth:`changed`, or a notice.
    :param delay_s: how long it must be quiet before a change counts.
    :param poll: True looks at the folders again and again instead of being notified; None decides by the platform.
    """

    def __init__(
        self,
        judge: Judge,
        *,
        say: Callable[[Event], None],
        replace: Callable[[set[str], float], None],
        put: Callable[[set[str] | Notice], None],
        delay_s: float,
        poll: bool | None,
    ) -> None:
        self._judge = judge
        self._say = say
        self._replace = replace
        self._watcher = Watcher(
            put,
            on_trouble=lambda text: put(Notice("warning", text)),
            step_s=delay_s,
            poll=poll,
            root=judge.root,
        )
        self._loaded = Loaded()
        self._failed_at = 0.0
        self._tried: set[str] = set()
        self._again: dict[str, float] = {}
        self._touched: dict[str, None] = {}
        """Changed while the newest worker was importing, and not decided."""
        self._recent: dict[str, float] = {}
        self._held: dict[str, set[str]] = {}
        """Why changes wait → those that do."""
        self._edited: dict[str, None] = {}
        """Source files that were saved, the last one last."""
        self._told_of: set[str] = set()
        """Those that somebody has been told of."""

    def start(self, since: float) -> None:
        """Begins to watch.

        :param since: ``time.time()``; a file that has changed after it has changed.
        """
        self._watcher.start()
        self._watch(since)

    def stop(self) -> None:
        """Watches no longer."""
        self._watcher.stop()

    @property
    def next_look(self) -> float:
        """When :meth:`look_again` has something to do, as ``time.monotonic()``."""
        return min(self._again.values(), default=float("inf"))

    @property
    def undecided(self) -> bool:
        """Whether files have changed of which it is not known yet what that means."""
        return bool(self._again)

    @property
    def sources(self) -> list[str]:
        """The source files that the worker has loaded."""
        return [path for path in self._loaded.reported if path.endswith(".py")]

    def edited(self, count: int) -> tuple[str, ...]:
        """The source files that were saved last, at most so many; the last one last."""
        return tuple(self._edited)[-count:] if count else ()

    def waits(self, why: str) -> bool:
        """Whether changes wait for this reason."""
        return why in self._held

    def hold(self, why: str) -> None:
        """Lets changes wait until this reason is gone; it is told with each of them."""
        self._held.setdefault(why, set())

    def release(self, why: str) -> None:
        """A reason to wait is gone; with the last one, what waited counts."""
        waiting = self._held.pop(why, set())
        if self._held:
            next(iter(self._held.values())).update(waiting)
            return
        self._told_of.clear()
        if waiting:
            self.changed(waiting)

    # What has changed

    def changed(self, paths: Iterable[str], *, again: bool = False) -> None:
        """Judges paths that may have changed.

        :param again: it is known of them that they are empty or gone.
        """
        if self._held:
            why, waiting = next(iter(self._held.items()))
            waiting.update(paths)
            # Looked at each time: one that was empty a moment ago was still being written.
            untold = waiting - self._told_of
            told = [path for path in untold if self._judge.judge(path, self._loaded)[0] is Verdict.RELOAD]
            self._told_of.update(told)
            if told:
                self._say(FilesChanged(tuple(sorted(told)), reloading=False, reason=why))
            return
        seen_at = time.monotonic()
        reload: dict[str, str | None] = {}
        same: list[str] = []
        strangers: list[str] = []
        for path in self._with_new_folders(paths):
            settled = seen_at - self._failed_at > SETTLE_S
            verdict, content = self._judge.judge(path, self._loaded, again=again, settled=settled)
            match verdict:
                case Verdict.RELOAD if not self._made_by_failure(path, seen_at):
                    reload[path] = content
                case Verdict.AGAIN:
                    self._again.setdefault(path, seen_at + AGAIN_AFTER_S)
                case Verdict.SAME if seen_at - self._recent.get(path, 0.0) > RECENT_S:
                    same.append(path)
                case Verdict.NOT_LOADED:
                    strangers.append(path)
                case _:
                    pass
            if self._loaded.importing and verdict is not Verdict.RELOAD:
                self._touched[path] = None
        if reload:
            known = self._loaded.contents
            self._replace(set(reload), seen_at)
            # So that what more is said of this save is no change. Not of a file that counted only because the app had
            # failed: the app may be what writes it.
            self._loaded.contents.update(
                (path, content)
                for path, content in reload.items()
                if path in known or path.endswith(".py") or self._judge.counts_always(path)
            )
        elif same or strangers:
            for found, reason in ((same, "no change in content"), (strangers, "not loaded by the app")):
                if found:
                    self._say(FilesChanged(tuple(sorted(found)), reloading=False, reason=reason))

    def look_again(self) -> bool:
        """Looks at files once more that were empty or gone; whether there were any to look at."""
        now = time.monotonic()
        due = [path for path, moment in self._again.items() if moment <= now]
        for path in due:
            del self._again[path]
        if due:
            self.changed(due, again=True)
        return bool(due)

    def reloading(self, paths: set[str]) -> None:
        """The worker is about to be replaced for these."""
        now = time.monotonic()
        self._recent = {path: seen for path, seen in self._recent.items() if now - seen < RECENT_S}
        self._recent.update(dict.fromkeys(paths, now))
        sources = [path for path in paths if path.endswith(".py")]
        # Of more at once nobody has typed anything into them: they were moved about by a tool.
        for path in sources if len(sources) <= EDITED_MAX else ():
            self._edited.pop(path, None)
            self._edited[path] = None
        while len(self._edited) > EDITED_MAX:
            del self._edited[next(iter(self._edited))]

    # What the newest worker is doing

    def importing(self) -> None:
        """A new worker begins to import the app; it reads the env files as they are now."""
        before = self._loaded
        self._loaded = Loaded(contents=before.contents, written=before.written)
        self._loaded.contents.update({path: fingerprint(path) for path in self._judge.env_files})
        self._touched.clear()

    def reported(self, event: FilesLoaded) -> None:
        """The worker has told which files it has loaded."""
        reported: dict[str, str | None] = dict(event.executed)
        for path in event.opened:
            if self._judge.noise(path):
                # Our own cache of compiled code, or git's files from which a version was read.
                continue
            reported[path] = self._loaded.contents[path] if path in self._loaded.contents else fingerprint(path)
        self._loaded.reported = reported
        self._loaded.contents.update(reported)
        if not self._loaded.importing:
            self.settle()

    def wrote(self, paths: Iterable[str]) -> None:
        """The worker has written to these files itself."""
        self._loaded.written.update(paths)

    def settle(self) -> None:
        """The worker has said what it loads: earlier files are forgotten, and undecided ones decided."""
        loaded, touched = self._loaded, list(self._touched)
        kept = {path: content for path, content in loaded.contents.items() if self._judge.counts_always(path)}
        loaded.contents = {**kept, **loaded.reported}
        loaded.importing = False
        self._touched.clear()
        self._watch()
        if touched:
            self.changed(touched)

    def serving(self) -> None:
        """The worker serves."""
        self._tried.clear()

    def failed(self) -> None:
        """The app does not run: from now on any change counts."""
        self._loaded.failed = True
        self._loaded.importing = False
        self._failed_at = time.monotonic()
        self._touched.clear()
        self._watch()

    def failed_to_load(self) -> None:
        """The same, when the worker itself has said so."""
        touched = list(self._touched)
        self._loaded.written.update(
            path for path in touched if path not in self._loaded.contents and not path.endswith(".py")
        )
        self.failed()
        # A save during the import may be what it failed on: a file that was only half written.
        moment = time.monotonic() + AGAIN_AFTER_S
        for path in touched:
            content = self._loaded.reported.get(path)
            if path.endswith(".py") and (content is None or content != fingerprint(path)):
                self._again.setdefault(path, moment)

    def _with_new_folders(self, paths: Iterable[str]) -> list[str]:
        """The paths, and what is in folders among them: nobody watched those when their files were written."""
        found, since = list(paths), time.time()
        if self._loaded.failed or self._judge.includes or self._judge.reload_dirs:
            folders = [path for path in found if os.path.isdir(path) and not self._judge.noise(path)]
            for folder in folders:
                for inner in self._judge.tree(folder):
                    with contextlib.suppress(OSError):
                        found += [entry.path for entry in os.scandir(inner) if entry.is_file()]
            if folders:
                self._watch(since)
        return found

    def _made_by_failure(self, path: str, now: float) -> bool:
        """Whether an app that fails wrote ``path`` itself while it did, which must not start it again and again.

        What cannot be known, such as of a file that a process of the app's writes every second, counts once.
        """
        if not self._loaded.failed or path in self._loaded.contents or path.endswith(".py"):
            return False
        if self._judge.counts_always(path):
            return False
        if now - self._failed_at < SETTLE_S / 10:
            self._loaded.written.add(path)
        if path in self._loaded.written or path in self._tried:
            return True
        self._tried.add(path)
        return False

    def _watch(self, since: float | None = None) -> None:
        since = time.time() if since is None else since
        contents = {
            path: content for path, content in self._loaded.contents.items() if not self._judge.excludes.match(path)
        }
        self._watcher.watch(Watched(frozenset(self._judge.folders(self._loaded)), contents, since))
