"""The master of ``dev prod``: it binds, forks workers, watches and replaces them, and serves nothing itself.

It has one thread and no event loop, never imports the app and reads no byte from the network, so that there is little
in it that could fail. It learns everything from signals, from the workers' channels and from the scoreboard; what to do
about it is decided in :mod:`devserver.supervisor.pool`.

    signal                 what it does
    TERM                   stops: idle connections are closed at once, requests in flight finish
    INT, QUIT              quits: requests in flight are cancelled; a second one ends the workers
    HUP                    reads the settings again and replaces the workers one by one; if the new code does not start,
                           the old workers stay
    USR1                   opens log files again
    USR2                   starts the program again beside this one, on the same sockets; TERM to the older master ends
                           the change, TERM to the newer one takes it back
    TTIN, TTOU             one worker more, one less
    WINCH                  stops the workers and not the master, until HUP or TTIN; unless it runs on a terminal,
                           which sends this when its size changes
    CHLD                   a process has ended

Each is only noted when it arrives and acted upon in the next turn, whatever else is going on.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import selectors
import signal
import socket
import time
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeAlias

from devserver import __version__
from devserver.errors import EXIT_APP, EXIT_INTERNAL, EXIT_OK, EXIT_USAGE, ConfigError, DevserverError
from devserver.events import AppFailed, Emitter, Event, Notice, ServerReady, WorkerDied, from_json
from devserver.observe import writer
from devserver.server import listeners as listening
from devserver.server import open_files
from devserver.supervisor import certificates, children, descriptors, ending, inheritance, life, status, steer
from devserver.supervisor.channel import channel_pair
from devserver.supervisor.control import Answer, Control
from devserver.supervisor.figures import Monitor
from devserver.supervisor.handle import kill_group, kill_leader
from devserver.supervisor.hooks import Hooks, HookServer
from devserver.supervisor.molds import Mold, MoldedProcess, Molds
from devserver.supervisor.pidfile import PidFile
from devserver.supervisor.pool import Drop, Pool, PoolHandle, Replace, Slot, Spawn
from devserver.supervisor.post import Job, Post
from devserver.supervisor.privileges import Identity
from devserver.supervisor.process_name import name_process
from devserver.supervisor.processors import available
from devserver.supervisor.scoreboard import Scoreboard
from devserver.supervisor.signals import SignalQueue
from devserver.supervisor.steer import Sharing
from devserver.supervisor.systemd import VARIABLES, Notifier
from devserver.supervisor.warden import FRESH_S, Warden

if TYPE_CHECKING:
    import ssl
    import subprocess
    from collections.abc import Mapping

    from devserver.config import Config
    from devserver.config.python_file import Hook
    from devserver.config.target import Target
    from devserver.server.listeners import Listener
    from devserver.supervisor.channel import Message
    from devserver.supervisor.handle import Process
    from devserver.supervisor.inheritance import Inheritance

StartAgain: TypeAlias = "Callable[[str, Sequence[int]], subprocess.Popen[bytes]]"

TURN_S = 0.5
"""At least so often is looked at the scoreboard."""
WRITE_S = 0.02
"""Between two tries to write log lines that nobody reads."""
FILES_S = 2.0
"""Between two looks at the files of the certificate."""
AGAIN_MAX_S = 30.0
"""Between two tries to make a worker when there are no descriptors, processes or memory for it: doubled up to this."""
CERTIFICATES_AGAIN_MAX_S = 3600.0
"""Between two tries to use a certificate with code that does not start: doubled up to this, since each imports the app
and logs why it failed."""
WORKERS_MAX = 512
HIDDEN = frozenset({*VARIABLES, "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"})
"""Variables that are about the master."""


@dataclass(frozen=True)
class Settings:
    """What the workers of one generation are made of.

    :ivar config: without an app object.
    :ivar target: what to load.
    :ivar environment: the variables of the workers.
    :ivar ssl: the TLS context that they have in common.
    :ivar hooks: functions of a config file.
    :ivar directory: the working folder.
    """

    config: Config
    target: Target
    environment: Mapping[str, str]
    ssl: ssl.SSLContext | None = None
    hooks: Mapping[str, Hook] = field(default_factory=dict)
    directory: Path = field(default_factory=Path.cwd)


@dataclass(frozen=True)
class Before:
    """What is gone back to when new code does not start.

    :ivar settings: those of the old workers.
    :ivar identity: whose rights they have.
    :ivar stamps: their certificate's files, as they were when they were read.
    """

    settings: Settings
    identity: Identity
    stamps: certificates.Stamps


class PreforkSupervisor:
    """Serves an app with several workers.

    :param settings: what to begin with.
    :param listeners: bound; closed by whoever made them.
    :param emitter: gets what happens, on the thread of :meth:`run`.
    :param reread: reads the settings again, for SIGHUP; None when they can only be what they are.
    :param start_again: starts this program once more, with a variable of that value and with those descriptors, for
        SIGUSR2; None when that is impossible.
    :param inherited: what an older master has left.
    :param renew: makes a TLS context from the files as they are now.
    :param reopen: opens the master's own log files again.
    :raises ConfigError: the settings ask for a user or a file that cannot be had.
    """

    def __init__(
        self,
        settings: Settings,
        listeners: Sequence[Listener],
        emitter: Emitter,
        *,
        reread: Callable[[], Settings] | None = None,
        start_again: StartAgain | None = None,
        inherited: Inheritance | None = None,
        renew: Callable[[Config], ssl.SSLContext | None] | None = None,
        reopen: Callable[[], None] = lambda: None,
    ) -> None:
        self._life = life.own()
        more = () if inherited is None else [sock for socks in inherited.more for sock in socks]
        monitored = () if inherited is None else inherited.monitor
        bound = [*more, *(listener.socket for listener in (*listeners, *monitored))]
        # Before anything of our own is opened: what is here is the user's, and stays in every process.
        self._known = descriptors.without(descriptors.held(), [sock.fileno() for sock in bound])
        self._settings = settings
        self._before: Before | None = None
        """What the old workers have, while they are replaced by new code that has not shown yet that it starts."""
        self._wanted_then: int | None = None
        """How many workers there are to be when it has."""
        self._listeners = tuple(listeners)
        self._emitter = emitter
        self._reread = reread
        self._reopen = reopen
        self._renew = renew
        self._refused_stamps: certificates.Stamps = {}
        self._start_again = start_again
        self._inherited = inherited
        self._next_master: subprocess.Popen[bytes] | None = None
        config = settings.config
        self._identity = Identity.of(config)
        self._pid_file = None if config.pid is None else PidFile(config.pid)
        workers = max(2, available()) if config.workers is None else max(1, config.workers)
        self._pool = Pool(wanted=min(workers, WORKERS_MAX))
        _check_open_files(self._pool.wanted, len(self._listeners))
        self._board = Scoreboard(2 * max(64, 2 * self._pool.wanted))
        self._warden = Warden(
            self._pool, self._board, lambda: self._settings.config, say=self._say, forget=self._forget
        )
        self._server = HookServer(config, self._pool.wanted, self._listeners)
        self._sharings: list[Sharing] = []
        self._monitor = Monitor(config, None if inherited is None else inherited.monitor)
        # An older master has the socket until it ends.
        self._control = None
        if config.control is not None and inherited is None:
            self._control = Control(os.fspath(config.control), self._obey)
        self._started_at = time.monotonic()
        self._selector = selectors.DefaultSelector()
        self._signals: SignalQueue
        self._exits: dict[int, int] = {}
        """Pid → exit code of processes that have ended."""
        self._files_due = 0.0
        self._renewals_failed = 0
        """Certificates in a row that could not be used, because the code did not start."""
        self._monitor_failed = False
        """It was said that the monitor cannot be started."""
        self._spawn_due = 0.0
        self._spawns_failed = 0
        """Tries in a row to make a worker for which the system had no room."""
        self._stamps = certificates.stamps(config)
        self._age = 0
        """Workers there have been."""
        self._molds = Molds(self._selector, self._exits, on_failed=self._on_mold_failed, on_unfit=self._on_unfit)
        """What workers are forked from, with --preload."""
        self._is_reloading = False
        """systemd was told so."""
        self._way = ""
        """How it ends: ``stop`` or ``quit``."""
        self._stop_at = float("inf")
        """When it begins to, with --shutdown-delay."""
        self._notifier = Notifier.take(os.environ)
        self._exit_code = EXIT_OK
        self._announced = False

    def run(self) -> int:
        """Serves until it is told to end; the exit code.

        :raises DevserverError: the pid file or a socket cannot be had.
        """
        wanted = [getattr(signal, f"SIG{name}") for name in _SIGNALS]
        writer.take_turns()
        if self._settings.config.preload:
            _become_subreaper()
        try:
            # SIGTERM lets requests finish and SIGINT does not, so one of each is no doubled signal.
            with SignalQueue(wanted, alike=False) as self._signals:
                if self._pid_file is not None:
                    self._pid_file.write(beside=self._inherited is not None)
                with self._keeping():
                    self._hooks.call("nworkers_changed", self._hook_server, self._pool.wanted, None)
                    self._hooks.call_first("on_starting", self._hook_server)
                if self._control is not None:
                    self._control.attach(self._selector)
                self._share()
                if not self._settings.config.preload:
                    from devserver.supervisor.prefork_worker import import_ahead

                    import_ahead(self._settings.config)
                name_process(self._settings.config.process_name, "master")
                self._selector.register(self._signals, selectors.EVENT_READ, self._on_signals)
                self._say("info", f"Master {os.getpid()} runs {_workers(self._pool.wanted)}.")
                while not self._way or any(True for _ in self._pool):
                    self._turn()
                self._say("info", f"Master {os.getpid()} ends.")
                self._call_hook("on_exit", self._hook_server)
        finally:
            self._close()
        return self._exit_code

    @property
    def _hooks(self) -> Hooks:
        return Hooks(self._settings.hooks, lambda text: self._say("error", text))

    @property
    def _hook_server(self) -> HookServer:
        pids = {handle.age: handle.pid for handle in self._pool}
        self._server.refresh(self._settings.config, self._pool.wanted, pids)
        return self._server

    def _call_hook(self, name: str, *arguments: object) -> None:
        if name in self._settings.hooks:
            with self._keeping():
                self._hooks.call(name, *arguments)

    @contextlib.contextmanager
    def _keeping(self) -> Iterator[None]:
        """Lets every process that comes have what is opened meanwhile, because it is the user's or a log file."""
        before = descriptors.held()
        try:
            yield
        finally:
            self._known |= descriptors.held() - before

    def _share(self) -> None:
        self._monitor.listen()
        apart = steer.is_possible() and self._pool.wanted <= steer.SLOTS_MAX
        more = [()] * len(self._listeners) if self._inherited is None else self._inherited.more
        for listener, others in zip(self._listeners, more, strict=True):
            first = listener.socket

            def listen(sock: object, listener: Listener = listener, first: object = first) -> None:
                chosen = listener if sock is first else listening.adopt(sock)  # type: ignore[arg-type]
                chosen.listen(self._settings.config.backlog)

            self._sharings.append(Sharing(first, listen, apart=apart and listener.owned, more=others))

    # One turn

    def _turn(self) -> None:
        now = time.monotonic()
        due = [now + TURN_S, self._stop_at, self._pool.next_look(now), *(handle.deadline for handle in self._pool)]
        if self._spawn_due > now:
            due.append(self._spawn_due)
        timeout_s = max(0.0, min(due) - now)
        if writer.turn():
            timeout_s = min(timeout_s, WRITE_S)
        for key, _ in self._selector.select(timeout_s):
            key.data()
        woken = time.monotonic()
        if woken - now > timeout_s + FRESH_S:
            # The machine was suspended, or we were: nobody could write to the scoreboard either.
            self._warden.forgive(woken)
        self._succeed()
        self._reap()
        self._warden.look(time.monotonic())
        self._warden.enforce(time.monotonic())
        self._look_at_certificates(time.monotonic())
        if time.monotonic() >= self._stop_at:
            self._stop_at = float("inf")
            self._end("stop")
        self._act()
        self._watch_monitor(time.monotonic())
        if self._control is not None:
            self._control.tidy(time.monotonic())
        self._steer()
        self._notify()

    def _succeed(self) -> None:
        """The older master has gone: what was its alone is ours."""
        if self._inherited is None or os.getppid() == self._inherited.parent:
            return
        self._inherited = None
        for listener in (*self._listeners, *self._monitor.listeners):
            listener.own()
        if self._pid_file is not None:
            self._pid_file.take_over()
        path = self._settings.config.control
        if path is not None:
            try:
                self._control = Control(os.fspath(path), self._obey)
                self._control.attach(self._selector)
            except DevserverError as exc:
                self._say("error", exc.message)
        self._say("info", f"Master {os.getpid()} goes on alone.")

    def _act(self) -> None:
        if self._way:
            return
        for action in self._pool.next_actions(time.monotonic()):
            match action:
                case Spawn():
                    if time.monotonic() >= self._spawn_due:
                        self._spawn(action.slot)
                case Replace():
                    self._warden.replace(action.handle)
                case Drop():
                    for sharing in self._sharings:
                        sharing.drop(action.slot.index)
                    self._pool.slots.remove(action.slot)

    # Workers

    def _spawn(self, slot: Slot) -> None:
        row = self._board.take()
        if row is None:
            return
        try:
            handle = self._make(slot, row)
        except OSError as exc:
            self._board.free(row)
            if not self._spawns_failed:
                self._say("error", f"No worker can be started ({exc}). The master tries again; the rest serves on.")
            self._spawns_failed += 1
            self._spawn_due = time.monotonic() + min(AGAIN_MAX_S, 2.0 ** min(self._spawns_failed - 1, 16))
            return
        if self._spawns_failed:
            self._spawns_failed = 0
            self._say("info", "Workers can be started again.")
        if self._settings.config.timeout_worker_startup:
            handle.deadline = handle.spawned_at + self._settings.config.timeout_worker_startup
        slot.successor = handle
        self._selector.register(handle.channel, selectors.EVENT_READ, lambda: self._on_channel(handle))

    def _make(self, slot: Slot, row: int) -> PoolHandle:
        """Makes a worker.

        :raises OSError: there are no descriptors, processes or memory for it.
        """
        self._age += 1
        server = self._hook_server
        self._call_hook("pre_fork", server, server.hire(self._age, [handle.age for handle in self._pool]))
        mold = None
        if self._settings.config.preload and self._molds.fit:
            # Before anything of the worker is opened.
            mold = self._molds.current(self._job(), lambda: self._leave_to_child(()), self._known)
        with contextlib.ExitStack() as undo, contextlib.ExitStack() as theirs:
            channel, sock = channel_pair()
            undo.callback(channel.close)
            theirs.callback(sock.close)
            reading, writing = os.pipe()
            undo.callback(os.close, reading)
            theirs.callback(os.close, writing)
            os.set_blocking(reading, False)
            sockets = [sharing.of(slot.index) for sharing in self._sharings]
            post = Post(sock, sockets, writing, row, self._age, server.marks(self._age))
            process: Process = self._fork(post) if mold is None else mold.fork(post)
            undo.pop_all()
        return PoolHandle(
            process, channel, slot=slot, generation=self._pool.generation, age=self._age, row=row, dump_fd=reading
        )

    def _job(self) -> Job:
        settings = self._settings
        environment = {name: value for name, value in settings.environment.items() if name not in HIDDEN}
        return Job(
            settings.config,
            settings.target,
            environment,
            self._identity,
            self._board,
            settings.ssl,
            settings.hooks,
            self._life,
            server=self._hook_server,
            directory=settings.directory,
        )

    def _fork(self, post: Post) -> _Forked:
        """Makes a worker without a mold.

        :raises OSError: no process can be made.
        """
        job = self._job()

        def live() -> NoReturn:
            self._leave_to_child(post.listeners)
            name_process(job.config.process_name, "worker")
            # Imported here: with --preload the master does without all that it takes to serve.
            from devserver.supervisor.prefork_worker import work

            work(job, post)

        return _Forked(children.start(live, self._known, post.descriptors), self._exits)

    def _on_mold_failed(self, mold: Mold, failed: AppFailed) -> None:
        for handle in self._pool:
            process = handle.process
            if isinstance(process, MoldedProcess) and process.mold is mold and not process.pid:
                handle.failed = failed

    def _on_unfit(self, why: str, processes: list[MoldedProcess]) -> None:
        """No worker can be forked from a mold of this app: they are made without."""
        if self._molds.fit:
            self._say("warning", f"--preload has no effect: {why}.")
        self._molds.fit = False
        for process in processes:
            post = process.post()
            try:
                process.forked(self._fork(post).pid)
            except OSError:
                process.ended(EXIT_INTERNAL)
            post.channel.close()
            os.close(post.dump_fd)
            for sock in post.listeners:
                sock.close()

    def _leave_to_child(self, listeners: Sequence[socket.socket], *, monitor: bool = False) -> None:
        """In a worker or a mold: closes what is the master's alone.

        :param listeners: what it accepts from.
        :param monitor: it is the monitor.
        """
        if self._control is not None:
            self._control.leave_to_child()
        self._monitor.leave_to_child(is_it=monitor)
        self._signals.leave_to_child()
        self._selector.close()
        for handle in self._pool:
            handle.channel.socket.close()
            os.close(handle.dump_fd)
        for sharing in self._sharings:
            sharing.close_others(listeners)
        self._molds.leave_to_child()

    def _watch_monitor(self, now: float) -> None:
        """Starts the monitor when there is none and should be one."""
        if self._monitor.has_ended(self._exits):
            self._say("error", "The process that shows the figures has ended; it is started again.")
            self._monitor_failed = False
        if not self._way and self._monitor.is_due(now):
            try:
                self._monitor.start(self._board, self._identity, self._become_monitor, self._known)
            except OSError as exc:
                if not self._monitor_failed:
                    self._say("error", f"The process that shows the figures cannot be started yet ({exc}).")
                self._monitor_failed = True

    def _become_monitor(self) -> None:
        self._leave_to_child((), monitor=True)
        name_process(self._settings.config.process_name, "monitor")

    def _look_at_certificates(self, now: float) -> None:
        """Replaces the workers when certificate or key are others than those that they serve with."""
        if self._settings.ssl is None or self._renew is None or now < self._files_due or self._way:
            return
        self._files_due = now + FILES_S
        found = certificates.stamps(self._settings.config)
        if found == self._stamps:
            return
        try:
            settings = replace(self._settings, ssl=self._renew(self._settings.config))
        except (DevserverError, OSError) as exc:
            # Perhaps only one of the two files has been written yet.
            if found != self._refused_stamps:
                self._say("warning", f"The new certificate is not used: {_sentence(exc)}")
            self._refused_stamps = found
            return
        self._say("info", "The certificate has changed.")
        self._start_over(settings, stamps=found)

    # What ends

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while dead := _reap_one({handle.pid for handle in self._pool}):
                pid, status = dead
                self._exits[pid] = os.waitstatus_to_exitcode(status)
        if self._next_master is not None and self._next_master.pid in self._exits:
            self._say("warning", f"Master {self._next_master.pid} has ended; this one goes on.")
            if self._pid_file is not None:
                self._pid_file.remove_beside(self._next_master.pid)
            self._next_master = None
            for sharing in self._sharings:
                sharing.steer_again()
        now = time.monotonic()
        for handle in [*self._pool]:
            code = handle.exit_code
            if code is None:
                continue
            # What it said at the end explains it.
            self._on_channel(handle)
            self._forget(handle)
            server = self._hook_server
            self._call_hook("child_exit", server, server.dismiss(handle.age, handle.pid))
            asked = handle.dismissed or bool(self._way)
            self._pool.ended(handle, now, failed=not asked)
            self._exits.pop(handle.pid, None)
            if not asked:
                self._on_death(handle, code)
        # What is left was somebody else's, such as an orphan's in a container (we are its process 1 then).
        for pid in [pid for pid in self._exits if pid != self._monitor.pid]:
            del self._exits[pid]

    def _on_death(self, handle: PoolHandle, code: int) -> None:
        if handle.serving or handle.failed is None:
            self._emitter.emit(WorkerDied(handle.pid, code))
        if handle.serving:
            self._board.count_restart("died")
            return
        if handle.failed is not None:
            self._emitter.emit(handle.failed)
        if self._before is not None and handle.generation == self._pool.generation:
            self._go_back()
        elif not self._announced:
            self._exit_code = EXIT_USAGE if code == EXIT_USAGE else EXIT_APP
            self._say("error", "No worker starts, so the master ends.")
            self._end("quit")

    def _forget(self, handle: PoolHandle) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(handle.channel)
        handle.close()
        os.close(handle.dump_fd)
        self._board.free(handle.row)

    # What workers say

    def _on_channel(self, handle: PoolHandle) -> None:
        handle.channel.flush()
        messages = handle.channel.receive()
        if messages is None:
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(handle.channel)
            if not handle.killed:
                handle.ends = True
                handle.deadline = time.monotonic() + ending.END_S
            return
        for message in messages:
            if "event" in message:
                with contextlib.suppress(ValueError):
                    self._on_event(handle, from_json(message))
            else:
                self._on_report(handle, message)

    def _on_report(self, handle: PoolHandle, message: Message) -> None:
        match message.get("is"):
            case "closed":
                handle.accepts = False
            case "due":
                self._warden.becomes_due(handle, str(message["why"]), str(message["reason"]))
            case "stuck":
                self._warden.answered(handle, str(message["text"]))
            case _:
                pass

    def _on_event(self, handle: PoolHandle, event: Event) -> None:
        match event:
            case AppFailed():
                handle.failed = event
            case ServerReady():
                self._on_ready(handle, event)
            case _:
                self._emitter.emit(event)

    def _on_ready(self, handle: PoolHandle, event: ServerReady) -> None:
        handle.serving = True
        handle.deadline = float("inf")
        lifetime_s = self._settings.config.worker_lifetime
        if lifetime_s is not None:
            # So that workers that were started together are not replaced together.
            handle.ends_at = time.monotonic() + lifetime_s * (1 + random.uniform(0, 0.1))
        if self._way or handle.stopping:
            self._warden.tell(handle, self._way or "replace", self._settings.config.timeout_graceful_shutdown)
            return
        earlier = self._pool.became_ready(handle)
        if earlier is not None:
            if not earlier.due:
                self._board.count_restart("reload")
            self._warden.replace(earlier)
        startup_s = time.monotonic() - handle.spawned_at
        self._say("info", f"Worker {handle.pid} is ready, {startup_s:.2f} s after it was started.")
        if handle.generation == self._pool.generation:
            # The new code starts.
            self._before = None
            self._renewals_failed = 0
            self._molds.keep()
            if self._wanted_then is not None:
                self._scale(self._wanted_then)
        if not self._announced and self._pool.complete:
            self._announced = True
            self._call_hook("when_ready", self._hook_server)
            self._notifier.ready(_workers(self._pool.wanted))
            self._emitter.emit(ServerReady(os.getpid(), listening.urls(self._listeners), event.app, startup_s))

    # Connections

    def _steer(self) -> None:
        """Sends connections to those workers that will take them."""
        if not any(sharing.apart for sharing in self._sharings):
            return
        slots = [slot.index for slot in self._pool.slots if not slot.leaving_at and self._warden.is_fresh(slot.current)]
        for sharing in self._sharings:
            try:
                sharing.steer(slots)
            except OSError as exc:
                self._say("warning", f"Connections are spread by the kernel: {exc}.")

    # Signals

    def _on_signals(self) -> None:
        for number in self._signals.take():
            match signal.Signals(number):
                case signal.SIGTERM:
                    self._stop()
                case signal.SIGINT | signal.SIGQUIT:
                    self._end("quit")
                case signal.SIGHUP:
                    self._reload()
                case signal.SIGUSR1:
                    with self._keeping():
                        self._reopen()
                    for handle in self._pool:
                        handle.channel.send({"do": "reopen"})
                case signal.SIGUSR2:
                    self._start_next_master()
                case signal.SIGTTIN:
                    self._scale(self._pool.wanted + 1)
                case signal.SIGTTOU:
                    self._scale(max(1, self._pool.wanted - 1))
                case signal.SIGWINCH if not any(map(_is_terminal, (0, 1, 2))):
                    self._scale(0)
                case _:
                    pass

    def _start_next_master(self) -> None:
        """Starts this program again, perhaps in a newer version, beside us and on the same sockets."""
        if self._way or self._start_again is None:
            return
        if self._next_master is not None or self._inherited is not None:
            self._say("warning", "There are two masters already; end one of them first.")
            return
        try:
            self._next_master = self._start_again(
                *inheritance.describe(self._listeners, self._sharings, self._monitor.listeners)
            )
        except OSError as exc:
            self._say("error", f"No other master can be started: {exc}.")
            return
        self._say("info", f"Master {self._next_master.pid} has been started; end this one with SIGTERM when it serves.")

    def _scale(self, wanted: int) -> None:
        # Whoever asks last has the say.
        self._wanted_then = None
        wanted = min(wanted, WORKERS_MAX, self._board.rows // 2)
        if wanted != self._pool.wanted and not self._way:
            before, self._pool.wanted = self._pool.wanted, wanted
            self._say("info", f"{_workers(wanted)} from now on.")
            self._call_hook("nworkers_changed", self._hook_server, wanted, before)

    def _reload(self) -> None:
        if self._way:
            return
        stamps, identity, wanted = self._stamps, self._identity, None
        if self._reread is not None:
            try:
                with self._keeping():
                    settings = self._reread()
                identity = Identity.of(settings.config)
            except (DevserverError, OSError) as exc:
                self._say("error", f"Nothing is reloaded: {_sentence(exc)}")
                return
            if settings.config.workers != self._settings.config.workers and settings.config.workers is not None:
                wanted = max(1, settings.config.workers)
            stamps = certificates.stamps(settings.config)
            if any(getattr(settings.config, name) != getattr(self._settings.config, name) for name in _PLACES):
                self._say("warning", "Where the server listens cannot change while it runs; restart it for that.")
        else:
            settings = self._settings
        self._call_hook("on_reload", self._hook_server)
        self._start_over(settings, stamps=stamps, identity=identity, wanted=wanted)

    def _start_over(
        self,
        settings: Settings,
        *,
        stamps: certificates.Stamps,
        identity: Identity | None = None,
        wanted: int | None = None,
    ) -> None:
        """Replaces the workers one by one, by some with these settings.

        :param stamps: of the files that the certificate was read from.
        :param identity: whose rights they have; None for those of the workers before.
        :param wanted: how many there are to be when the new code has shown that it starts; None for as many as now.
        """
        if self._before is None:
            self._before = Before(self._settings, self._identity, self._stamps)
        self._settings, self._stamps = settings, stamps
        self._identity = self._identity if identity is None else identity
        if wanted is not None:
            # Not at once: a worker that goes could not come back when the new code on the disk does not start.
            self._wanted_then = wanted
        if not self._pool.wanted:
            # SIGWINCH has stopped all of them.
            workers = self._settings.config.workers
            self._scale(max(2, available()) if workers is None else max(1, workers))
        self._pool.generation += 1
        self._molds.replace()
        self._is_reloading = True
        self._notifier.reloading()
        self._say("info", "The workers are replaced one by one.")
        # A worker of the code before that is still on its way is not waited for.
        for slot in self._pool.slots:
            slot.failures, slot.not_before = 0, 0.0
            if slot.successor is not None:
                handle, slot.successor = slot.successor, None
                self._pool.leaving.append(handle)
                self._warden.dismiss(handle)

    def _go_back(self) -> None:
        """The new code does not start: what runs stays, and so do its number of workers and its certificate."""
        assert self._before is not None
        before, self._before = self._before, None
        if self._stamps != before.stamps:
            # It is tried again, as the code may have been repaired by then.
            self._renewals_failed += 1
            again_s = min(CERTIFICATES_AGAIN_MAX_S, FILES_S * 2.0 ** min(self._renewals_failed, 16))
            self._files_due = time.monotonic() + again_s
        self._settings, self._identity, self._stamps = before.settings, before.identity, before.stamps
        self._wanted_then = None
        self._molds.go_back()
        self._pool.generation += 1
        for handle in self._pool:
            if handle.serving:
                handle.generation = self._pool.generation
        for slot in self._pool.slots:
            slot.failures, slot.not_before = 0, 0.0
        self._say("error", "The new code does not start; the workers stay as they are.")

    def _stop(self) -> None:
        """Stops, after the time in which load balancers learn of it."""
        delay_s = self._settings.config.shutdown_delay
        if not delay_s or self._way or self._stop_at != float("inf"):
            self._stop_at = float("inf")
            self._end("stop")
            return
        self._stop_at = time.monotonic() + delay_s
        self._notifier.stopping()
        for handle in self._pool:
            handle.channel.send({"do": "unready"})
        self._say("info", f"Requests are served for {delay_s:g} s more.")

    def _notify(self) -> None:
        """Tells systemd."""
        now = time.monotonic()
        if self._way:
            left_s = [handle.deadline - now for handle in self._pool if handle.deadline != float("inf")]
            if left_s:
                self._notifier.takes_longer(max(left_s) + TURN_S)
        elif any(self._warden.is_fresh(slot.current) for slot in self._pool.slots):
            self._notifier.alive()
        if self._is_reloading and self._pool.complete and all(self._is_up_to_date(handle) for handle in self._pool):
            self._is_reloading = False
            self._notifier.ready(_workers(self._pool.wanted))

    def _is_up_to_date(self, handle: PoolHandle) -> bool:
        return handle.dismissed or (handle.serving and handle.generation == self._pool.generation)

    def _end(self, way: str) -> None:
        if self._way == "quit" or (self._way and way == "stop"):
            if way == "quit":
                for handle in self._pool:
                    self._warden.kill(handle)
            return
        self._way = way
        if self._next_master is not None:
            self._notifier.main_pid(self._next_master.pid)
        else:
            self._notifier.stopping()
        config = self._settings.config
        grace_s = 0 if way == "quit" else config.timeout_graceful_shutdown
        # The clients of idle connections find the other master there, so that nothing needs to be cut.
        other = self._next_master is not None or self._inherited is not None
        told = "replace" if way == "stop" and other else way
        for handle in self._pool:
            if handle.serving:
                self._warden.tell(handle, told, grace_s)
            else:
                self._warden.dismiss(handle)
        # After the workers have been told: each takes what has come to its socket by then.
        for sharing in self._sharings:
            sharing.leave()

    # What dev ctl asks

    def _obey(self, asked: Answer) -> Answer:
        number = asked.get("number")
        match asked.get("do"):
            case "status":
                return self._describe()
            case "workers":
                return {**self._describe(), "workers": status.workers(self._pool, self._board)}
            case "reload":
                self._reload()
                return {"said": "The workers are replaced one by one."}
            case "scale" if type(number) is int and 1 <= number <= WORKERS_MAX:
                self._scale(number)
                return {"said": f"{_workers(self._pool.wanted)} from now on."}
            case "scale":
                return {"error": f"The number of workers is between 1 and {WORKERS_MAX}."}
            case "stop":
                self._stop()
                return {"said": "The master stops."}
            case _:
                return {"error": "It does not know how to do that."}

    def _describe(self) -> Answer:
        return {
            "version": __version__,
            "app": self._settings.target.import_string,
            "urls": listening.urls(self._listeners),
            "uptime_s": time.monotonic() - self._started_at,
            **status.master(self._pool, self._board),
        }

    # The end

    def _say(self, level: str, text: str) -> None:
        self._emitter.emit(Notice(level, text))

    def _close(self) -> None:
        for handle in self._pool:
            handle.process.kill()
        self._molds.close()
        if self._control is not None:
            self._control.close()
        if self._life >= 0:
            os.close(self._life)
        for sharing in self._sharings:
            sharing.close()
        if self._next_master is not None or self._inherited is not None:
            for listener in (*self._listeners, *self._monitor.listeners):
                listener.leave()
        self._monitor.close()
        if self._pid_file is not None:
            self._pid_file.remove()
        self._selector.close()
        self._board.close()


_PLACES = ("bind", "host", "port", "uds", "fd", "metrics", "control", "pid")
"""Settings that are read once."""
_SIGNALS = ("TERM", "INT", "QUIT", "HUP", "USR1", "USR2", "TTIN", "TTOU", "WINCH", "CHLD")


class _Forked:
    """A child of the master; see :class:`~devserver.supervisor.handle.Process`.

    :param exits: exit codes of processes that have been waited for.
    """

    mode = "fork"

    def __init__(self, pid: int, exits: Mapping[int, int]) -> None:
        self.pid = pid
        self._exits = exits

    def poll(self) -> int | None:
        """See :class:`~devserver.supervisor.handle.Process`."""
        return self._exits.get(self.pid)

    def kill(self) -> None:
        """See :class:`~devserver.supervisor.handle.Process`."""
        kill_leader(self.pid)


def _reap_one(leaders: Container[int]) -> tuple[int, int] | None:
    """Reaps a child that has ended; its pid and status, or None when there is none.

    :param leaders: children whose process groups end with them.
    :raises ChildProcessError: there are no children.
    """
    if hasattr(os, "waitid"):
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if found is None:
            return None
        if found.si_pid in leaders:
            # Before it is reaped, so that the number of the group cannot belong to anybody else yet.
            kill_group(found.si_pid)
        return os.waitpid(found.si_pid, 0)
    pid, status = os.waitpid(-1, os.WNOHANG)
    return (pid, status) if pid else None


def _sentence(exc: DevserverError | OSError) -> str:
    return f"{exc.message} {exc.hint}".rstrip() if isinstance(exc, DevserverError) else f"{exc}."


def _become_subreaper() -> None:
    """Lets the children of a mold that has died become ours (PR_SET_CHILD_SUBREAPER in prctl(2))."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(36, 1, 0, 0, 0)


def _check_open_files(workers: int, addresses: int) -> None:
    """:raises ConfigError: the master may not open enough files for so many workers."""
    allowed, needed = open_files.limit(), open_files.needed(workers, addresses)
    if allowed is not None and allowed < needed:
        raise ConfigError(
            f"A process may open {allowed} files here, and {_workers(workers)} need {needed}.",
            hint="Raise the hard limit (ulimit -Hn, LimitNOFILE= of systemd), or run fewer workers.",
        )


def _workers(count: int) -> str:
    return "1 worker" if count == 1 else f"{count} workers"


def _is_terminal(fd: int) -> bool:
    try:
        return os.isatty(fd)
    except OSError:
        return False
