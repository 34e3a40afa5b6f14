"""The supervisor of ``dev run``: one worker that runs the user's code, replaced whenever that code changes.

It owns the listening sockets and never closes them meanwhile, so that a client who comes while the app is replaced
waits in the kernel's queue and is not refused. It imports neither the app nor anything that the app imports, has no
event loop, and learns everything from messages: from the watcher's thread, from the workers' channels, from signals and
from :meth:`ReloadSupervisor.post`. One selector waits for all of them.

The course of a reload:

    a file changed ─► the old worker is told to stop ──► ends ──────────┐
                   └► a new one is spawned ─► imports ─► reports files ─┴► "go" ─► startup ─► serves

The two imports overlap, the two lifespans never do. A newer change kills a worker that is still importing and
begins again. At any time there is one newest worker, and older ones that are on their way out.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
import selectors
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from devserver.commands import Command, Pause, Reload, Repeat, Replay, Resume, Stop
from devserver.config.discovery import FirstParty, project_root
from devserver.errors import EXIT_OK
from devserver.events import (
    AppFailed,
    AppRaised,
    Emitter,
    Event,
    Failure,
    FilesChanged,
    FilesLoaded,
    Notice,
    Reloaded,
    Repeated,
    RequestsSeen,
    RoutesSeen,
    ServerReady,
    ServerStopped,
    ServerStopping,
    WorkerDied,
    from_json,
)
from devserver.supervisor import ending
from devserver.supervisor.changes import Judge
from devserver.supervisor.cold import ColdSpawner
from devserver.supervisor.forking import ForkSpawner, why_not_fork, why_not_standby
from devserver.supervisor.handle import Handle, Job, Process, Spawner
from devserver.supervisor.observers import shows_requests
from devserver.supervisor.rendezvous import Rendezvous
from devserver.supervisor.repeat import Repeater, Request
from devserver.supervisor.saves import Saves
from devserver.supervisor.signals import STOP_SIGNALS, SignalQueue
from devserver.supervisor.standby import StandbySpawner
from devserver.supervisor.statements import Statements
from devserver.supervisor.terminal import Screen, Terminal
from devserver.supervisor.testing.service import TestService
from devserver.supervisor.variables import WorkerVariables

if TYPE_CHECKING:
    from devserver.config import Config
    from devserver.config.target import Target
    from devserver.server.listeners import Listener
    from devserver.supervisor.channel import Message
    from devserver.supervisor.early import Early
    from devserver.supervisor.observers import Teller
    from devserver.supervisor.rendezvous import Asker

GRACE_S = 2.0
"""What stands for "no limit" of the graceful and of the shutdown time-out: a reload is being waited for."""
ANSWER_S = 0.5
"""A worker that has not begun to stop this long after its grace has a blocked loop."""
EXIT_S = ending.END_S + ending.UNAWAITED_S
"""Between the end of the app's shutdown and the end of the process, which ends itself within this time."""
KILLED_S = 5.0
"""A process that SIGKILL does not end in this time hangs in the kernel; it is left behind."""
CONNECTIONS_MAX = 10_000
"""Connections that may wait for new code; further ones are closed."""
PAUSED = "reload is paused"
READING = "waits for the app, which reads from the keyboard"
POLL_S = 0.1
"""How often workers are looked at when no signal tells of their end."""

_IN_USE = re.compile(
    r"address already in use|resource temporarily unavailable|database is locked|set lock|lock file", re.IGNORECASE
)

_PLAIN_ERRORS = frozenset({"SyntaxError", "IndentationError", "TabError"})
"""Errors of the text alone: what was imported before has no part in them."""

_MODES = {
    "standby": "Saves use a process that stands by",
    "cold": "Every save starts a fresh process",
}

_Incoming: TypeAlias = "set[str] | Command | Notice | Repeated"


@dataclass
class Change:
    """What the newest worker was started for.

    :ivar seen_at: ``time.monotonic()`` when the first of the files was seen.
    """

    seen_at: float
    paths: set[str] = field(default_factory=set)


class ReloadSupervisor:
    """Serves an app and replaces it when its files change.

    :param config: the settings; its app is an import string or None.
    :param target: what to load, without an app object.
    :param listeners: bound; they are listened on here and closed by whoever made them.
    :param emitter: gets the workers' events and those of the supervisor itself, on the thread of :meth:`run`.
    :param spawner: how workers are made; by default as ``reload_mode`` says.
    :param added: the variables that came into ``os.environ`` from env files, which are read again for every worker.
    :param told_by: who listens to ``emitter``.
    :param early: an interpreter that was started before all of this was known.
    :param screen: what shows the workers' output, on a terminal; without it they write to the standard streams
        themselves.
    """

    def __init__(
        self,
        config: Config,
        target: Target,
        listeners: Sequence[Listener],
        emitter: Emitter,
        *,
        spawner: Spawner | None = None,
        added: Mapping[str, str] | None = None,
        told_by: Teller = "ui",
        early: Early | None = None,
        screen: Screen | None = None,
    ) -> None:
        self._config = config
        self._target = target
        self._listeners = tuple(listeners)
        self._emitter = emitter
        self._told_by = told_by
        self._early = early
        self._terminal = Terminal.open(screen)

        directory = Path.cwd()
        root = project_root(target, directory)
        reload_dirs = tuple(os.path.abspath(folder) for folder in config.reload_dirs or ())
        self._first_party = FirstParty.of(root, reload_dirs)
        self._spawner = spawner if spawner is not None else self._choose_spawner(root)
        if early is not None and not isinstance(self._spawner, ForkSpawner):
            early.close()
        self._root = str(root)
        added = added or {}
        # The command sets it where nothing else does; a program's environment is its own.
        defaults = {"FASTAPI_ENV": "development"} if "FASTAPI_ENV" in added and told_by == "ui" else {}
        self._variables = WorkerVariables(config, directory, added=added, defaults=defaults, say=emitter.emit)
        judge = Judge(
            root=self._root,
            reload_dirs=reload_dirs,
            includes=tuple(config.reload_includes or ()),
            excludes=tuple(config.reload_excludes or ()),
            env_files=self._variables.files,
        )
        self._saves = Saves(
            judge,
            say=emitter.emit,
            replace=self._start_over,
            put=self._put,
            delay_s=config.reload_delay,
            poll=config.poll,
        )
        self._tests = TestService(
            self._root,
            self._first_party,
            lambda: self._spawner,
            search_path=os.path.abspath(target.search_path or directory),
            say=emitter.emit,
        )
        self._rendezvous = Rendezvous(self._root, {"test": self._tests.answer, "state": self._tell_state})
        self._incoming: deque[_Incoming] = deque()
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)
        self._selector = selectors.DefaultSelector()

        self._newest: Handle | None = None
        self._kept: Handle | None = None
        """With ``on_error="last-good"``: what serves while its successor is imported."""
        self._older: list[Handle] = []
        self._spawn_due = False
        self._retired: list[Spawner] = []
        """Spawners that make nothing any more, and whose processes may live."""
        self._connections: deque[tuple[Message, int]] = deque()
        """Connections between two workers."""
        self._sequential = False
        self._doubted: tuple[str, str] | None = None
        """While a fresh process tries the same: the error of a forked worker, and the last checkpoint that it knew."""
        self._told_where = False
        self._change: Change | None = None
        self._statements = Statements()
        self._route_names: list[str] | None = None
        self._repeater = Repeater(self._listeners, self._put)
        self._last_failure: AppFailed | AppRaised | None = None
        self._stopping = False
        self._exit_code = EXIT_OK

    def post(self, command: Command) -> None:
        """Asks for something, from any thread."""
        self._put(command)

    def run(self) -> int:
        """Serves until it is asked to stop.

        :returns: the exit code.
        :raises ConfigError: the settings cannot be handed to another process.
        """
        try:
            with self._signals() as signals:
                self._selector.register(self._wake_reader, selectors.EVENT_READ, self._drain_wake)
                if signals is not None:
                    self._selector.register(signals, selectors.EVENT_READ, lambda: self._on_signals(signals))
                for listener in self._listeners:
                    listener.listen(self._config.backlog)
                since = time.time()
                if self._terminal is not None:
                    self._terminal.attach(self._selector, self.post)
                self._attach_spawner()
                self._open_rendezvous()
                if self._spawner.why:
                    self._emitter.emit(Notice("info", f"{_MODES[self._spawner.mode]}: {self._spawner.why}."))
                self._spawn(None)
                self._saves.start(since)
                while self._workers() or not self._stopping:
                    self._turn(None if signals is not None and hasattr(signal, "SIGCHLD") else POLL_S)
        finally:
            self._close()
        return self._exit_code

    # One turn

    def _turn(self, timeout_s: float | None) -> None:
        now = time.monotonic()
        due = [self._saves.next_look, *(handle.deadline for handle in self._older)]
        if self._terminal is not None:
            due.append(self._terminal.next_look)
        due = [moment for moment in due if moment != float("inf")]
        if due:
            wait_s = max(0.0, min(due) - now)
            timeout_s = wait_s if timeout_s is None else min(timeout_s, wait_s)
        for key, _ in self._selector.select(timeout_s):
            key.data()
        while self._incoming:
            self._take(self._incoming.popleft())
        if self._terminal is not None:
            self._follow(self._terminal)
        if not self._stopping and self._saves.look_again():
            self._resume()
        self._reap()
        self._enforce_deadlines()
        self._advance()

    def _take(self, incoming: _Incoming) -> None:
        match incoming:
            case set():
                self._on_paths(incoming)
            case Notice():
                self._emitter.emit(incoming)
            case Stop():
                self._stop()
            case Reload():
                self._start_over(set(), fresh=incoming.cold)
            case Pause():
                self._saves.hold(PAUSED)
            case Resume():
                self._saves.release(PAUSED)
            case Repeat():
                if why := self._repeater.repeat():
                    self._emitter.emit(Notice("info", why))
            case Replay():
                self._repeater.turn(on=incoming.on)
            case Repeated():
                self._emitter.emit(incoming)

    def _follow(self, terminal: Terminal) -> None:
        """Lets saves wait while a worker reads from the keyboard."""
        terminal.look()
        if terminal.busy:
            self._saves.hold(READING)
        elif self._saves.waits(READING) and not self._stopping:
            self._saves.release(READING)
            self._resume()

    def _advance(self) -> None:
        """What waits for the old workers' end: of the process, or of all that it has to do."""
        if self._stopping:
            return
        if self._spawn_due:
            if not self._older:
                self._spawn(None)
        elif self._newest is not None and self._kept is None and all(handle.stopped for handle in self._older):
            self._newest.go()
            if self._newest.takes:
                self._pass_on(self._newest)

    # Changes

    def _on_paths(self, paths: Iterable[str]) -> None:
        if not self._stopping:
            self._saves.changed(paths)

    def _resume(self) -> None:
        """Lets workers serve on that have found a change and are not replaced for it."""
        if not self._saves.undecided and not self._saves.waits(READING):
            for handle in self._workers():
                if handle.holds and not handle.stopping:
                    handle.holds = False
                    handle.channel.send({"do": "resume"})

    def _start_over(self, paths: set[str], seen_at: float | None = None, *, fresh: bool = False) -> None:
        """Replaces the newest worker, whatever it is doing.

        :param fresh: nothing that was imported before may be used.
        """
        if self._stopping:
            return
        now = time.monotonic()
        if self._keeps_good():
            self._kept, self._newest = self._newest, None
        # First of all, so that the old code accepts no further connection.
        self._retire()
        if self._change is None:
            self._change = Change(seen_at if seen_at is not None else now)
        self._change.paths |= paths
        self._saves.reloading(paths)
        self._emitter.emit(FilesChanged(tuple(sorted(paths)), reloading=True))
        if self._sequential and self._older:
            self._spawn_due = True
        else:
            self._spawn(None, fresh=fresh)

    # Workers

    def _choose_spawner(self, root: Path) -> Spawner:
        wanted = self._config.reload_mode
        why = "" if wanted in {"standby", "cold"} else why_not_fork(os.environ)
        if wanted == "cold":
            return ColdSpawner()
        if wanted == "standby" or why:
            return self._make_standby(root, why)
        search_path = os.path.abspath(self._target.search_path or Path.cwd())
        return ForkSpawner(
            root,
            self._first_party,
            search_path,
            say=self._emitter.emit,
            on_stale=self._on_stale,
            on_unfit=self._distrust,
            early=self._early,
            checkpoints=self._config.reload_checkpoints,
        )

    def _make_standby(self, root: str | Path, why: str) -> Spawner:
        better = why_not_standby(os.environ)
        if better:
            return ColdSpawner(better)
        search_path = os.path.abspath(self._target.search_path or Path.cwd())
        return StandbySpawner(root, self._first_party, search_path, say=self._emitter.emit, why=why)

    def _attach_spawner(self) -> None:
        self._spawner.attach(self._selector, None if self._terminal is None else self._terminal.fd)

    def _tell_state(self, asker: Asker, _: Message) -> None:
        """What ``dev doctor`` asks."""
        waiting = [{"path": path, "pid": pid} for path, pid in self._spawner.checkpoints]
        asker.answer({"is": "state", "pid": os.getpid(), "mode": self._spawner.mode, "checkpoints": waiting})

    def _open_rendezvous(self) -> None:
        self._tests.attach(self._selector)
        why = self._rendezvous.open(self._selector)
        if why:
            self._emitter.emit(Notice("debug", f"Other commands cannot ask this one: {why}."))

    def _trust_less(self, error: str, path: str) -> None:
        """A worker was misled by what was imported before, or by a checkpoint before the file ``path``."""
        if path:
            self._spawner.distrust_checkpoints()
            where = os.path.relpath(path)
            self._emitter.emit(
                Notice(
                    "warning",
                    "Every save imports the whole app from now on: "
                    f"it fails when that goes on from {where} ({error}), and not in a fresh process.",
                )
            )
        else:
            self._distrust(f"the app fails there ({error}), and not in a fresh process")

    def _distrust(self, why: str) -> None:
        """Goes on in the next mode that is slower and closer to a fresh process."""
        earlier = self._spawner
        self._spawner = self._make_standby(self._root, why) if earlier.mode == "fork" else ColdSpawner(why)
        self._attach_spawner()
        self._retired.append(earlier)
        earlier.retire()
        self._emitter.emit(Notice("warning", f"{_MODES[self._spawner.mode]} from now on: {why}."))

    def _spawn(self, failed: AppFailed | None, *, fresh: bool = False) -> None:
        """Starts a worker that loads the app, or one that only shows ``failed``.

        :param fresh: nothing that was imported before may be used.
        """
        self._spawn_due = False
        if failed is None:
            # Before the env files are read: what is saved after that is a change.
            self._saves.importing()
        job = Job(
            config=self._config,
            target=self._target,
            root=self._root,
            first_party=self._first_party,
            listeners=(),
            failed=failed,
            told_by=self._told_by,
            inspects=self._emitter.wants(RequestsSeen) and shows_requests(self._config),
            argv=tuple(sys.argv),
            environment=self._variables.read(),
            last_failure=self._last_failure,
            checkpoints=self._saves.edited(self._config.reload_checkpoints),
        )
        try:
            handle = self._spawner.spawn(job, [listener.socket for listener in self._listeners], fresh=fresh)
        except OSError as exc:
            self._emitter.emit(Notice("error", f"The app's process cannot be started: {exc}."))
            self._saves.failed()
            return
        self._newest = handle
        self._selector.register(handle.channel, selectors.EVENT_READ, lambda: self._on_channel(handle))

    def _keeps_good(self) -> bool:
        """Whether the newest worker goes on serving until its successor is imported."""
        wanted = self._config.on_error == "last-good" and not self._sequential
        return wanted and self._newest is not None and self._newest.serving

    def _fall_back(self) -> bool:
        """Lets the code from before a failed import go on; False when there is none, or it has been replaced."""
        kept, self._kept = self._kept, None
        if kept is None:
            return False
        self._retire()
        self._newest = kept
        self._emitter.emit(Notice("info", "The code from before the save goes on serving."))
        return True

    def _retire_kept(self) -> None:
        if self._kept is not None:
            candidate, self._newest, self._kept = self._newest, self._kept, None
            self._retire()
            self._newest = candidate

    def _workers(self) -> list[Handle]:
        return [*self._older, *(handle for handle in (self._kept, self._newest) if handle is not None)]

    def _on_stale(self, process: Process) -> None:
        handle = self._newest
        if handle is not None and handle.process is process and not self._stopping:
            self._discard()
            self._spawn(handle.failed, fresh=True)

    def _retire(self) -> None:
        handle, self._newest = self._newest, None
        if handle is None:
            return
        if handle.going and (handle.loaded or handle.failed is not None):
            # A startup that hangs has no request to finish, and holds neither a reload nor Ctrl+C up for long.
            grace_s = self._grace_s() if handle.serving else min(self._grace_s(), GRACE_S)
            if self._terminal is not None and self._terminal.read_by(handle):
                # In a debugger, most likely: it would wait for an answer for ever.
                grace_s = 0
            handle.stop(grace_s + ANSWER_S, give=not self._stopping)
            self._older.append(handle)
        else:
            self._newest = handle
            self._discard()

    def _discard(self) -> None:
        """Ends the newest worker, which has only imported: there is no request to finish and no lifespan to end."""
        handle, self._newest = self._newest, None
        if handle is not None:
            handle.kill()
            handle.deadline = time.monotonic() + KILLED_S
            self._older.append(handle)

    def _reap(self) -> None:
        for handle in [*self._older]:
            if handle.exit_code is not None:
                self._on_channel(handle)
                self._forget(handle)
                self._older.remove(handle)
        kept, newest = self._kept, self._newest
        if kept is not None and kept.exit_code is not None:
            # What comes after it is on its way already.
            self._kept = None
            self._older.append(kept)
        if newest is not None and newest.exit_code is not None:
            self._on_channel(newest)
            self._forget(newest)
            if self._newest is newest:
                self._newest = None
                self._on_death(newest)

    def _on_death(self, handle: Handle) -> None:
        if self._stopping:
            return
        if handle.finished:
            # It stopped by itself as its settings say, such as after --limit-max-requests.
            self._stop()
            return
        self._emitter.emit(WorkerDied(handle.pid, handle.exit_code or 0))
        self._saves.failed()
        self._change = None
        if self._fall_back():
            return
        if handle.failed is not None:
            self._emitter.emit(
                Notice("error", "The process that shows the error ended as well; save a file to try again.")
            )
            return
        self._spawn(AppFailed(f"The app's process {_ending(handle)}.", "It is started again with the next save.", None))

    def _enforce_deadlines(self) -> None:
        now = time.monotonic()
        for handle in [*self._older]:
            if now < handle.deadline:
                continue
            if handle.killed:
                self._emitter.emit(Notice("warning", f"Process {handle.pid} does not end; it is left behind."))
                self._forget(handle)
                self._older.remove(handle)
            else:
                handle.kill()
                handle.deadline = now + KILLED_S

    def _forget(self, handle: Handle) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(handle.channel)
        if self._terminal is not None:
            self._terminal.forget(handle)
        handle.close()

    # What workers say

    def _on_channel(self, handle: Handle) -> None:
        handle.channel.flush()
        messages = handle.channel.receive()
        if messages is None:
            # The end is near, and poll() will see it; a channel at its end would wake the selector for ever.
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(handle.channel)
            return
        for message in messages:
            if "event" in message:
                with contextlib.suppress(ValueError):
                    self._on_event(handle, from_json(message))
            else:
                self._on_report(handle, message)

    def _on_report(self, handle: Handle, message: Message) -> None:
        match message.get("is"):
            case "loaded":
                handle.loaded = True
                if handle is self._newest:
                    if self._doubted:
                        self._trust_less(*self._doubted)
                        self._doubted = None
                    self._retire_kept()
                    self._saves.settle()
            case "checkpoint" if message["fd"] is not None:
                handle.moved = str(message["path"])
                spawners = (self._spawner, *self._retired)
                if not any(spawner.keep(handle.process, message) for spawner in spawners):
                    os.close(message["fd"])
            case "connection":
                self._keep_connection(message)
            case "serving" if handle is self._newest:
                handle.takes = True
            case "changed":
                handle.holds = True
                if handle is self._newest:
                    self._on_paths(map(str, message["paths"]))
                if self._saves.waits(READING):
                    handle.channel.send({"do": "wait"})
                self._resume()
            case "stale":
                self._spawner.stale(message["unfit"])
                self._on_stale(handle.process)
            case "imported" if handle is self._newest:
                wanted = self._statements.names(self._saves.sources)
                self._spawner.learned(handle.process, message["modules"], message["variables"], wanted)
            case "wrote" if handle is self._newest:
                self._saves.wrote(map(str, message["paths"]))
            case "reads" if self._terminal is not None:
                self._terminal.reads(handle, int(message["count"]))
            case "request":
                body = message["body"]
                headers = tuple((str(name), str(value)) for name, value in message["headers"])
                body = None if body is None else base64.b64decode(body)
                self._repeater.saw(Request(message["method"], message["target"], headers, body))
            case "finished":
                handle.finished = True
            case _:
                pass

    def _keep_connection(self, message: Message) -> None:
        """A worker that is replaced has given up a connection; it waits here for the next one."""
        fd = message.pop("fd")
        if fd is None:
            return
        if self._stopping or len(self._connections) >= CONNECTIONS_MAX:
            os.close(fd)
        else:
            self._connections.append((message, fd))

    def _pass_on(self, handle: Handle) -> None:
        while self._connections:
            message, fd = self._connections.popleft()
            handle.channel.send({"do": "take", "received": message["received"], "proxied": message["proxied"]}, fd)

    def _on_event(self, handle: Handle, event: Event) -> None:
        current = handle is self._newest
        match event:
            case FilesLoaded() if current:
                self._saves.reported(event)
            case AppFailed() if current:
                self._on_failed(handle, event)
                return
            case ServerReady() if current:
                handle.serving = True
                self._saves.serving()
                self._told_where = True
                urls = tuple(listener.url for listener in self._listeners)
                startup_s = time.monotonic() - handle.spawned_at
                self._emitter.emit(
                    replace(event, urls=urls, startup_s=startup_s, found=self._target.found, mode=self._spawner.mode)
                )
                change, self._change = self._change, None
                if change is not None:
                    duration_s = time.monotonic() - change.seen_at
                    paths = tuple(sorted(change.paths))
                    self._emitter.emit(Reloaded(paths, duration_s, handle.process.mode, handle.resumed))
                    self._repeater.reloaded()
                return
            case FilesLoaded() | AppFailed() | ServerReady():
                # Of a worker that is being replaced: no longer true.
                return
            case RoutesSeen() if current:
                self._emitter.emit(self._with_changes(event))
                return
            case RoutesSeen():
                return
            case ServerStopping():
                if handle.stopping:
                    handle.deadline = time.monotonic() + self._grace_s() + self._shutdown_s() + ANSWER_S
            case AppRaised():
                self._last_failure = event
            case ServerStopped():
                handle.stopped = True
                if handle.stopping:
                    handle.deadline = time.monotonic() + EXIT_S
            case _:
                pass
        self._emitter.emit(event)

    def _with_changes(self, event: RoutesSeen) -> RoutesSeen:
        """With what is not as it was before the reload."""
        now = [f"{methods} {path}" for methods, path, _ in event.routes]
        before, self._route_names = self._route_names, now
        if before is None:
            return event
        added = tuple(name for name in now if name not in {*before})
        removed = tuple(name for name in before if name not in {*now})
        return replace(event, added=added, removed=removed)

    def _on_failed(self, handle: Handle, event: AppFailed) -> None:
        imported, handle.loaded = handle.loaded, True
        if not imported and self._try_fresh(handle, event):
            return
        if (self._older or self._kept) and _is_in_use(event.failure):
            self._sequential = True
            self._retire_kept()
            self._emitter.emit(
                Notice("info", "The app needs something that its predecessor holds: reloads take turns.")
            )
            self._retire()
            self._spawn_due = True
            return
        self._last_failure = event
        self._emitter.emit(event)
        if not self._told_where:
            # Nobody has been told an address yet: an app that serves is what tells of it.
            self._told_where = True
            urls = " ".join(listener.url for listener in self._listeners)
            self._emitter.emit(Notice("info", f"The next save tries again; until then {urls} shows the error."))
        self._saves.failed_to_load()
        self._change = None
        self._fall_back()

    def _try_fresh(self, handle: Handle, event: AppFailed) -> bool:
        """Tries a failed import once more in a fresh process before anybody is told, since that decides."""
        self._doubted = None
        failure = event.failure
        if handle.process.mode == "cold" or failure is None or failure.kind in _PLAIN_ERRORS:
            return False
        self._discard()
        self._spawn(None, fresh=True)
        self._doubted = (failure.kind, handle.moved or handle.resumed)
        return True

    # Stopping, signals, the rest

    def _stop(self) -> None:
        if self._stopping:
            for handle in self._workers():
                handle.kill()
            return
        self._stopping = True
        self._spawn_due = False
        self._retire_kept()
        self._retire()

    def _on_signals(self, signals: SignalQueue) -> None:
        for number in signals.take():
            if self._terminal is not None and number == signal.SIGTSTP:
                self._terminal.stop(self._workers())
            elif self._terminal is not None and number == signal.SIGCONT:
                # Perhaps to the foreground.
                self._terminal.listen()
            elif self._terminal is not None and number == signal.SIGWINCH:
                self._terminal.resize(self._workers())
            elif number in STOP_SIGNALS or (number == getattr(signal, "SIGHUP", None) and self._terminal_is_gone()):
                self._stop()
            elif number == getattr(signal, "SIGHUP", None):
                self._start_over(set())

    def _terminal_is_gone(self) -> bool:
        """A terminal that is closed sends the same signal as a person who wants a reload."""
        if not self._had_terminal:
            return False
        try:
            os.tcgetpgrp(0)
        except OSError:
            return True
        return False

    @contextlib.contextmanager
    def _signals(self) -> Iterator[SignalQueue | None]:
        self._had_terminal = sys.stdin is not None and hasattr(os, "tcgetpgrp") and os.isatty(0)
        if threading.current_thread() is not threading.main_thread():
            yield None
            return
        wanted = [*STOP_SIGNALS]
        wanted += [getattr(signal, name) for name in ("SIGHUP", "SIGCHLD") if hasattr(signal, name)]
        if self._terminal is not None:
            # The second of them is only to be woken by.
            wanted += [signal.SIGTSTP, signal.SIGCONT, signal.SIGWINCH]
        with SignalQueue(wanted) as signals:
            yield signals

    def _put(self, incoming: _Incoming) -> None:
        self._incoming.append(incoming)
        with contextlib.suppress(OSError):
            self._wake_writer.send(b"\0")

    def _drain_wake(self) -> None:
        with contextlib.suppress(OSError):
            self._wake_reader.recv(4096)

    def _grace_s(self) -> float:
        given = self._config.timeout_graceful_shutdown
        return GRACE_S if given is None else given

    def _shutdown_s(self) -> float:
        given = self._config.timeout_shutdown
        return GRACE_S if given is None else given

    def _close(self) -> None:
        self._saves.stop()
        for handle in self._workers():
            handle.kill()
            handle.process.poll()
            handle.close()
        for _, fd in self._connections:
            os.close(fd)
        self._rendezvous.close()
        self._tests.close()
        for spawner in (self._spawner, *self._retired):
            spawner.close()
        if self._terminal is not None:
            self._terminal.close()
        self._selector.close()
        self._wake_reader.close()
        self._wake_writer.close()


def _is_in_use(failure: Failure | None) -> bool:
    while failure is not None:
        if _IN_USE.search(failure.message):
            return True
        failure = failure.cause
    return False


def _ending(handle: Handle) -> str:
    code = handle.exit_code or 0
    when = "while it served" if handle.going and handle.loaded else "while it was imported"
    if code >= 0:
        return f"ended with exit code {code} {when}"
    with contextlib.suppress(ValueError):
        return f"was ended by {signal.Signals(-code).name} {when}"
    return f"was ended by signal {-code} {when}"
