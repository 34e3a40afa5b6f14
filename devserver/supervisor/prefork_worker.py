"""What runs in one of several workers: load the app unless it is there, serve, and tell the master how it goes.

The event loop writes this worker's row of the scoreboard once a second, from before the app's startup until after its
shutdown. The channel has a thread of its own, so that the master is heard while the app is imported.

A worker can end in three ways. It is **replaced**: it accepts no more, and answers the next request of each open
connection before it closes that. It is **stopped**: idle connections are closed at once, requests in flight finish. It
**quits**: requests in flight are cancelled. When the master has gone it stops by itself.

A worker leads a session of its own, so that what the app starts can be ended with it, and so that no terminal stops or
interrupts it.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import importlib
import os
import signal
import socket
import sys
import threading
import time
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from devserver.app.health import Health
from devserver.app.interface import WsgiOptions
from devserver.app.load import load_app, put_on_path
from devserver.config.env_layers import home
from devserver.errors import EXIT_APP, EXIT_INTERNAL, EXIT_OK, AppError, ConfigError
from devserver.events import AppFailed, Emitter, Event, Notice, RequestFinished, RequestRefused, ServerReady, to_json
from devserver.protocol.state import load_parser
from devserver.server import listeners as listening
from devserver.server import loop as loops
from devserver.server.durations import CANCEL_S
from devserver.server.server import Server, connection_class
from devserver.supervisor import children, ending, life, stuck
from devserver.supervisor.channel import Message, WorkerChannel
from devserver.supervisor.hooks import Hooks, HookServer, HookWorker
from devserver.supervisor.observers import Observers
from devserver.supervisor.post import IGNORED, Job, Post
from devserver.supervisor.scoreboard import LATENCY_BOUNDS_MS, Row, Scoreboard
from devserver.supervisor.worker import set_environment

if TYPE_CHECKING:
    from devserver.app.types import ASGIApp
    from devserver.config import Config

BEAT_S = 1.0
CLOSE_S = 1.0
"""How long the last messages may take to leave."""
ORPHAN_S = 30.0
"""What stands for "no limit" of the graceful and of the shutdown time-out when the master has gone: nobody is left who
could end a worker that waits for ever."""


def work(job: Job, post: Post, app: ASGIApp | None = None) -> NoReturn:
    """Does the job in a process that was forked for it, and ends the process as Python would.

    :param app: what has been loaded already.
    """
    os.setsid()
    try:
        code = _Worker(job, post).run(app)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = EXIT_INTERNAL
    # What the master does at its end is on the stack below us, so the process cannot simply return.
    ending.end_worker(code, is_orphan=lambda: life.is_over(job.master))


def prepare_process(job: Job) -> None:
    """Makes a process that was just forked one in which the app may be imported.

    :raises OSError: it may not take on its identity.
    """
    for name in IGNORED:
        signal.signal(getattr(signal, name), children.ignore)
    for name in ("SIGTERM", "SIGCHLD", "SIGQUIT", "SIGUSR1", "SIGTSTP", "SIGCONT"):
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    set_environment(job.environment)
    job.identity.take_on()
    put_on_path(job.target)


def import_ahead(config: Config) -> None:
    """Imports what every worker needs, so that all of them share it; a wrong name is told by the worker that needs it.

    What is there then is never garbage, and not looked at: looking would copy the pages.
    """
    with contextlib.suppress(Exception):
        loops.loop_factory(config.loop)
        connection_class(config.http)
        load_parser(config.http)
        if config.ws != "none":
            importlib.import_module("devserver.protocol.negotiate")
    gc.collect()
    gc.freeze()


class _Worker:
    def __init__(self, job: Job, post: Post) -> None:
        self._job = job
        self._post = post
        self._server: PoolServer | None = None
        self._observers: Observers | None = None
        self._asked: list[str] = []
        """What the master has asked for."""
        self._emitter = Emitter()
        self._channel = WorkerChannel(post.channel, self._on_message, self._on_close, other=job.master)

    def run(self, app: ASGIApp | None) -> int:
        """Serves until it is told to end; the exit code."""
        job = self._job
        children.make_ordinary(self._own_descriptors)
        self._channel.start()
        gc.disable()
        hooks = Hooks(job.hooks, lambda text: self._channel.send(to_json(Notice("error", text))))
        worker = HookWorker(job.config, self._post.age, os.getpid())
        server = HookServer(job.config, job.config.workers or 0, os.getppid())
        try:
            if app is None:
                prepare_process(job)
            self._observers = Observers(job.config, self._emitter, told_by="master")
            hooks.call("post_fork", server, worker)
            if app is None:
                put_in = home(job.config.mode, job.config.env_file)
                app = load_app(
                    job.target, interface=job.config.interface, wsgi=WsgiOptions.of(job.config), put_in=put_in
                )
            gc.freeze()
            gc.enable()
            hooks.call("post_worker_init", worker)
            self._serve(app)
        except (AppError, ConfigError, OSError) as exc:
            return self._fail(exc)
        except SystemExit as exc:
            # The app's own wish.
            return exc.code if isinstance(exc.code, int) else EXIT_INTERNAL if exc.code else EXIT_OK
        finally:
            hooks.call("worker_exit", server, worker)
            if self._observers is not None:
                self._observers.close()
            self._channel.close(CLOSE_S)
        return EXIT_OK

    def _serve(self, app: ASGIApp) -> None:
        job, post = self._job, self._post
        scheme = "https" if job.config.is_ssl else "http"
        self._emitter.listen(self._forward, (ServerReady,))
        server = PoolServer(
            job.config,
            target=job.target,
            app=app,
            emitter=self._emitter,
            listeners=[listening.adopt(sock, scheme=scheme) for sock in post.listeners],
            row=RowWriter(job.board, post.row, self._emitter, counting=job.counting),
            tell=self._channel.send,
            reopen=self._reopen,
            is_orphan=lambda: life.is_over(job.master),
            ssl=job.ssl,
        )
        stuck.answer(
            lambda text: self._channel.send({"is": "stuck", "text": text}), lambda: server.server_state, post.dump_fd
        )
        server.prepare()
        self._server = server
        for wanted in self._asked:
            server.ask(wanted)
        loops.run(server.serve(), job.config.loop, wait_for_threads=False)

    def _own_descriptors(self) -> list[int]:
        server = [] if self._server is None else self._server.own_descriptors()
        return [*server, *self._post.descriptors, *self._channel.descriptors]

    def _fail(self, exc: Exception) -> int:
        gc.enable()
        if isinstance(exc, OSError):
            exc = ConfigError(f"A worker cannot be set up ({exc}).")
        assert isinstance(exc, (AppError, ConfigError))
        failure = exc.failure if isinstance(exc, AppError) else None
        self._channel.send(to_json(AppFailed(exc.message, exc.hint, failure)))
        return EXIT_APP if isinstance(exc, AppError) else exc.exit_code

    def _forward(self, event: Event) -> None:
        self._channel.send(to_json(event))

    def _reopen(self) -> None:
        if self._observers is not None:
            self._observers.reopen()

    # On the channel's thread

    def _on_message(self, message: Message) -> None:
        wanted = message.get("do")
        if wanted == "reopen":
            self._reopen()
        elif wanted == "explain":
            state = None if self._server is None else self._server.server_state
            self._channel.send({"is": "stuck", "text": stuck.describe(None, state)})
        elif wanted == "dismiss":
            if self._server is None:
                # Nothing has been accepted yet, and an import cannot be asked to end.
                os._exit(EXIT_OK)
            self._ask("replace")
        elif isinstance(wanted, str):
            self._ask(wanted)

    def _ask(self, wanted: str) -> None:
        # In this order: the main thread sets _server first and looks at _asked after it.
        self._asked.append(wanted)
        if self._server is not None:
            self._server.ask(wanted)

    def _on_close(self) -> None:
        """Stops as SIGTERM to the master would have it: that has gone, however that came."""
        if self._server is None:
            # Nothing has been accepted yet, and an import cannot be asked to end.
            ending.end_group()
        self._ask("stop")
        # Another thread, because the end of this one is waited for at the end.
        threading.Thread(target=self._end_in_time, name="devserver-orphan", daemon=True).start()

    def _end_in_time(self) -> None:
        config = self._job.config
        limits = (config.timeout_graceful_shutdown, config.timeout_shutdown)
        time.sleep(sum(ORPHAN_S if limit is None else limit for limit in limits) + CANCEL_S + ending.END_S)
        ending.end_group()


class RowWriter:
    """Writes one row of the scoreboard.

    :param counting: whether responses are counted by status and duration, which costs something for each.
    """

    def __init__(self, board: Scoreboard, index: int, emitter: Emitter, *, counting: bool) -> None:
        self._board = board
        self._index = index
        self.row = Row(pid=os.getpid())
        if counting:
            emitter.listen(self._on_finished, (RequestFinished,))
        emitter.listen(self._on_refused, (RequestRefused,))

    def write(self) -> None:
        """Writes it."""
        self._board.write(self._index, self.row)

    def _on_finished(self, event: RequestFinished) -> None:
        row = self.row
        if event.status:
            row.statuses[event.status // 100 - 1] += 1
        else:
            row.lost += 1
        row.body_bytes += event.body_bytes
        taken_ms = event.duration_s * 1000
        row.latency_us += int(taken_ms * 1000)
        row.latencies[sum(taken_ms > bound for bound in LATENCY_BOUNDS_MS)] += 1

    def _on_refused(self, _: RequestRefused) -> None:
        self.row.refused += 1


class PoolServer(Server):
    """Serves like any other; what differs is who tells it to end, and how.

    :param row: written once a second.
    :param tell: sends a message to the master.
    :param reopen: opens log files again.
    :param is_orphan: returns whether the master has gone.
    """

    def __init__(
        self, config: Config, *, app: ASGIApp, row: RowWriter, tell: Any, reopen: Any, is_orphan: Any, **rest: Any
    ) -> None:
        if config.health_path is not None:
            app = Health(app, config.health_path, lambda: self._is_wanted)
        super().__init__(config, app=app, **rest)
        self._row = row
        self._tell = tell
        self._reopen = reopen
        self._is_orphan = is_orphan
        self._is_wanted = True
        """Whether requests are welcome: load balancers ask."""
        self._ways: list[str] = []
        """How it was told to end, one after the other."""
        self._beat_due = 0.0

    def ask(self, wanted: str) -> None:
        """Tells it to end in one of the three ways, from any thread; a later one may be quicker.

        :param wanted: ``replace``, ``stop`` or ``quit``; or ``unready``, which only says that this is to come.
        """
        self._is_wanted = False
        if wanted == "unready":
            return
        self._ways.append(wanted)
        if wanted == "quit" and self._ways.count("quit") > 1:
            self.force_exit = True
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Writes to the scoreboard from here on."""
        self._beat()
        await super().startup(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """See :meth:`ask`."""
        if "quit" in self._ways:
            self.config = dataclasses.replace(self.config, timeout_graceful_shutdown=0)
        elif "stop" not in self._ways:
            await self._finish_connections()
        await super().shutdown(sockets)
        self._beat()

    async def _finish_connections(self) -> None:
        """Accepts no more, and waits until each connection has had its next request or is closed for being idle."""
        state = self.server_state
        if state is None:
            raise AssertionError("shutdown() comes after startup()")
        # One turn accepts what the kernel has connected: nobody else may be listening on that socket.
        await asyncio.sleep(0)
        for server in self.servers:
            server.close()
        self._tell({"is": "closed"})
        # And one lets those connections begin.
        await asyncio.sleep(0)
        state.stopping = True
        for connection in [*state.connections]:
            if connection.lasting:
                # It has no next request to wait for; its client comes back, to another worker.
                connection.shutdown()
        grace_s = self.config.timeout_graceful_shutdown
        deadline = float("inf") if grace_s is None else state.loop.time() + grace_s
        while len(self._ways) < 2 and state.loop.time() < deadline:
            await asyncio.sleep(_STEP_S)
            if not (state.connections or state.tasks):
                break
        left_s = None if grace_s is None else max(0.0, deadline - state.loop.time())
        if "quit" in self._ways:
            left_s = 0
        self.config = dataclasses.replace(self.config, timeout_graceful_shutdown=left_s)

    def install_signal_handlers(self) -> None:
        """TERM asks the master for a replacement, and stops when there is none; QUIT quits, USR1 opens log files again;
        the others do nothing."""
        signal.signal(signal.SIGTERM, self._on_term)
        signal.signal(signal.SIGQUIT, lambda *_: self.ask("quit"))
        signal.signal(signal.SIGUSR1, lambda *_: self._reopen())

    def raise_captured_signals(self) -> None:
        """There are none that anybody else waits for."""

    def _on_term(self, _: int, __: FrameType | None) -> None:
        if self._is_orphan():
            self.ask("stop")
            return
        self._tell({"is": "due", "why": "SIGTERM", "reason": "signal"})

    def _on_limit(self) -> None:
        limit = self.server_state.requests_max if self.server_state is not None else 0
        self._tell({"is": "due", "why": f"{limit} requests", "reason": "requests"})

    def _beat(self) -> None:
        loop, state, row = asyncio.get_running_loop(), self.server_state, self._row.row
        now = time.monotonic()
        row.lag = max(0, int((now - self._beat_due) * 1e9)) if self._beat_due else 0
        row.beat = time.monotonic_ns()
        if state is not None:
            row.requests, row.running = state.total_requests, len(state.tasks)
            row.connections = len(state.connections)
        self._row.write()
        self._beat_due = now + BEAT_S
        loop.call_later(BEAT_S, self._beat)


_STEP_S = 0.005
"""Between two looks at connections that are to end."""
