"""What runs in a worker process: load the app, wait for leave, serve, and tell the supervisor about it.

The main thread imports and serves; the channel has a thread of its own, so that "stop" is heard while either of
them blocks. A worker whose app cannot be served answers every request with a page that says why, on the same sockets,
until it is told to stop. It never outlives its supervisor.
"""

from __future__ import annotations

import atexit
import base64
import contextlib
import dataclasses
import gc
import os
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from devserver.app.interface import WsgiOptions
from devserver.app.introspect import build_routes
from devserver.app.load import load_app, put_on_path
from devserver.app.source_loader import CACHE_FOLDER, SourceLoader, install, stamp
from devserver.config.env_layers import candidates, home
from devserver.errors import EXIT_OK, AppError, ConfigError
from devserver.events import (
    AppFailed,
    AppRaised,
    Emitter,
    Event,
    FilesLoaded,
    LifespanChanged,
    Notice,
    RequestsSeen,
    RoutesSeen,
    ServerReady,
    ServerStarting,
    ServerStopped,
    ServerStopping,
    to_json,
)
from devserver.observe import writer
from devserver.supervisor import children, ending
from devserver.supervisor.channel import First, Message, WorkerChannel, receive_first
from devserver.supervisor.file_recorder import FileRecorder
from devserver.supervisor.freshness import Freshness, Stamp
from devserver.supervisor.handle import Job
from devserver.supervisor.observers import Observers
from devserver.supervisor.third_party import VariableRecorder, others

if TYPE_CHECKING:
    from devserver.app.routes import Route
    from devserver.app.types import ASGIApp, Scope
    from devserver.config import Config
    from devserver.events import Failure
    from devserver.supervisor.checkpoint import Checkpoints
    from devserver.supervisor.succession import SuccessiveServer

FORWARDED = (Notice, LifespanChanged, ServerReady, ServerStopping, ServerStopped, AppRaised, RequestsSeen)
GRACE_S = 2.0
"""What running requests get when the settings name no limit: an open stream must not hold a reload up."""
CLOSE_S = 1.0
"""How long the last messages may take to leave."""
PAUSE_S = 0.5
"""How long our threads may take to end before a checkpoint is done without."""
ROUTES_S = 0.3
"""After the app serves; the first request comes first."""
ROUTES_GARBAGE = 100_000
"""How many objects may come, beyond those that go, before one looks for garbage while routes are made."""
IDLE_S = 0.02
"""How long nobody must be waiting."""
NICE = 19
"""How much a process that has been replaced yields to all others while it ends."""


class Inheritance(NamedTuple):
    """What a worker has of the process that imported something for it."""

    modules: frozenset[str] = frozenset()
    """Names of the modules."""
    listeners: tuple[int, ...] | None = None
    """Descriptors of the listening sockets, when they have other numbers here than the job says."""
    origins: dict[str, tuple[int, int]] | None = None
    """Where the modules come from, when it was forked: see :func:`devserver.supervisor.imports.origins`."""


def main(channel_fd: int) -> None:
    """The whole life of a process that was started for this."""
    work(socket.socket(fileno=channel_fd))


def work(
    sock: socket.socket,
    first: First | None = None,
    *,
    inheritance: Inheritance | None = None,
) -> None:
    """Does one job; ends in SystemExit, so that the app's atexit functions run.

    :param sock: the worker's end of its channel.
    :param first: the job, when it has been read already.
    :param inheritance: what it has of the process that was there before it was known what to do.
    """
    sock.set_inheritable(False)
    inheritance = inheritance or Inheritance()
    try:
        first = receive_first(sock) if first is None else first
    except (OSError, EOFError):
        sys.exit(EXIT_OK)
    job = Job.from_message(first.message)
    reset_signals()
    set_environment(job.environment)
    if inheritance.listeners is not None:
        job = dataclasses.replace(job, listeners=inheritance.listeners)
    sys.argv[:] = job.argv
    worker = Worker(job, sock, first, inheritance)
    # Registered before the app can register anything, so called after all of that.
    atexit.register(worker.end_if_orphaned)
    children.make_ordinary(worker.own_descriptors)
    code = worker.run()
    ending.end_threads(code, threads_s=ending.THREADS_S + (ending.UNAWAITED_S if worker.is_replaced else 0))
    sys.exit(code)


class Worker:
    """One worker.

    :param job: what to do.
    :param sock: this end of the channel.
    :param first: what has been read from it.
    :param inheritance: what another process has imported for this one.
    """

    def __init__(self, job: Job, sock: socket.socket, first: First, inheritance: Inheritance) -> None:
        self._go = threading.Event()
        self._stop = threading.Event()
        self._importing = True
        self._orphaned = False
        self._server: SuccessiveServer | None = None
        self._freshness = Freshness(self._stamps)
        self._opened: dict[str, Stamp] = {}
        self._taken: deque[Message] = deque()
        """Connections of the worker before this one, until they are served."""
        self._gives = False
        self._failed = job.failed is not None
        self._loader: SourceLoader | None = None
        self._reported = 0
        self._modules_reported = 0
        self._recorder = FileRecorder(job.first_party, self._on_write)
        self._variables = VariableRecorder(job.first_party)
        self._inheritance = inheritance
        self._checkpoints: Checkpoints | None = None
        self._emitter = Emitter()
        self._emitter.listen(self._forward, FORWARDED)
        self._observers: Observers | None = None
        self._app: ASGIApp | None = None
        """When it was loaded."""
        self._routes: tuple[Route, ...] = ()
        self._take_up(job, sock, first)

    def _take_up(self, job: Job, sock: socket.socket, first: First) -> None:
        self._job = job
        self._config = _for_reload(job)
        self._env_files = {path: stamp(path) for path in _env_files(self._config)}
        self._last_failure = job.last_failure
        self._channel = WorkerChannel(sock, self._on_message, self._on_close, first=first, on_tick=self._on_tick)

    def run(self) -> int:
        """Does the job; returns the exit code."""
        self._channel.start()
        try:
            failed = self._job.failed
            if failed is None:
                app = self._load()
                failed = app if isinstance(app, AppFailed) else self._serve_app(app)
            if failed is not None:
                self._serve_page(failed)
        finally:
            if self._taken:
                from devserver.supervisor.succession import give_back

                give_back(self._taken, self._channel.send, keep=self._gives)
            if self._observers is not None:
                self._observers.close()
            if not self._orphaned:
                self._channel.close(CLOSE_S)
        if self._gives and hasattr(os, "nice"):
            # Taking an interpreter apart writes to most of its pages; the one that comes next should not wait for that.
            os.nice(NICE)
        return EXIT_OK

    @property
    def is_replaced(self) -> bool:
        """Whether new code comes after it."""
        return self._gives

    def own_descriptors(self) -> list[int]:
        """Returns what the processes that the app forks must not hold."""
        server = [] if self._server is None else self._server.own_descriptors()
        return [*server, *self._job.listeners, *self._channel.descriptors]

    def end_if_orphaned(self) -> None:
        """Takes along what the app has started, when there is no supervisor left to do that."""
        if self._orphaned:
            ending.end_group()

    def _load(self) -> ASGIApp | AppFailed:
        self._channel.send(to_json(ServerStarting(os.getpid())))
        self._loader = install(self._job.first_party, Path(self._job.root, CACHE_FOLDER))
        self._recorder.install()
        self._variables.install()
        if sys.stdin is not None and os.isatty(0):
            from devserver.supervisor.keyboard import watch_reads

            watch_reads(lambda count: self._channel.send({"is": "reads", "count": count}))
        elif "PYTHONBREAKPOINT" not in os.environ and sys.breakpointhook is sys.__breakpointhook__:
            sys.breakpointhook = _no_terminal
        try:
            # Logging comes first, as the app's import may log; its handlers may be the user's code, and a save may mend
            # what is wrong with them.
            put_on_path(self._job.target)
            shown = self._job.inspects
            self._observers = Observers(self._config, self._emitter, told_by=self._job.told_by, shown=shown)
            put_in = home(self._config.mode, self._config.env_file)
            if self._job.checkpoints and self._inheritance.origins is not None:
                self._leave_checkpoints(self._loader)
            app = load_app(
                self._job.target,
                interface=self._config.interface,
                wsgi=WsgiOptions.of(self._config),
                first_party=self._job.first_party,
                put_in=put_in,
            )
        except (AppError, ConfigError) as exc:
            return self._fail(exc)
        finally:
            self._importing = False
            if self._checkpoints is not None:
                self._checkpoints.end()
            self._variables.settle()
            gc.enable()
        self._report_files()
        self._channel.send({"is": "loaded"})
        return app

    def _leave_checkpoints(self, loader: SourceLoader) -> None:
        # Not at the top: most workers leave none.
        from devserver.supervisor.checkpoint import Checkpoints

        self._checkpoints = Checkpoints(loader, self._recorder, self._job.first_party, self._job.root)
        self._checkpoints.begin(self._job.checkpoints)
        loader.before = self._before

    def _before(self, path: str) -> None:
        """Before a file of the project is run: the moment for a checkpoint."""
        checkpoints, origins = self._checkpoints, self._inheritance.origins
        if checkpoints is None or origins is None or not checkpoints.due(path):
            return
        if threading.current_thread() is not threading.main_thread():
            return
        # In this order: what the log has to say may go through the channel.
        if not writer.pause(PAUSE_S):
            return
        obstacle = checkpoints.obstacle() if self._channel.pause(PAUSE_S) else "has more to say than is heard"
        begun = None if obstacle else checkpoints.leave(path, self._channel, origins)
        if begun is not None:
            self._begin_again(begun, checkpoints)
        self._channel.start()
        if obstacle:
            told = os.path.relpath(path, self._job.root)
            self._channel.send(to_json(Notice("debug", f"No checkpoint before {told}: the app's import {obstacle}.")))

    def _begin_again(self, sock: socket.socket, checkpoints: Checkpoints) -> None:
        """A later worker, forked from a checkpoint: it has a job of its own, and goes on with the import."""
        try:
            first = receive_first(sock)
        except (OSError, EOFError):
            os._exit(EXIT_OK)
        job = dataclasses.replace(Job.from_message(first.message), listeners=self._job.listeners)
        self._take_up(job, sock, first)
        checkpoints.begin(job.checkpoints)
        self._channel.send(to_json(ServerStarting(os.getpid())))

    def _serve_app(self, app: ASGIApp) -> AppFailed | None:
        self._app = app
        if self._job.inspects:
            from devserver.devtools.inspector import Inspector

            app = Inspector(
                app,
                self._emitter,
                directory=os.getcwd(),
                slow_s=self._config.slow_ms / 1000 or float("inf"),
                first_party=self._job.first_party,
                hint=self._nearest_route,
                keep=self._keep_request,
            )
        from devserver.devtools.last_failure import LastFailure

        self._emitter.listen(self._on_raised, (AppRaised,))
        app = LastFailure(app, lambda: self._last_failure, share=self._config.share_errors)
        self._go.wait()
        self._server = self._make_server(
            self._config,
            target=self._job.target,
            app=app,
            emitter=self._emitter,
            failure_response=self._failure_response,
        )
        if self._stop.is_set():
            return None
        try:
            self._server.run(self._sockets())
        except AppError as exc:
            return self._fail(exc)
        if not self._stop.is_set():
            self._channel.send({"is": "finished"})
        return None

    def _on_raised(self, event: AppRaised) -> None:
        self._last_failure = event

    def _build_routes(self) -> None:
        """On a thread, when the app serves: it takes a moment, in which nobody may be waiting.

        A request that is there already builds them itself, and two who build at once hinder each other.
        """
        until = time.monotonic() + ROUTES_S
        # What is made now stays, whoever makes it: looking for garbage in it takes a twentieth of the time.
        thresholds = gc.get_threshold()
        gc.set_threshold(ROUTES_GARBAGE)
        state = None if self._server is None else self._server.server_state
        time.sleep(IDLE_S)
        while state is not None and state.tasks and time.monotonic() < until:
            time.sleep(IDLE_S)
        if self._app is not None:
            build_routes(self._app)
        if gc.get_threshold()[0] == ROUTES_GARBAGE:
            gc.set_threshold(*thresholds)
        if self._job.inspects:
            time.sleep(max(0.0, until - time.monotonic()))
            self._tell_routes(self._app)

    def _tell_routes(self, app: object) -> None:
        from devserver.app.routes import routes
        from devserver.devtools.route_hints import listed

        self._routes = routes(app)
        self._channel.send(to_json(RoutesSeen(listed(self._routes, os.getcwd()))))

    def _nearest_route(self, method: str, path: str) -> str:
        from devserver.devtools.route_hints import nearest

        return nearest(method, path, self._routes)

    def _keep_request(self, method: str, target: bytes, headers: list[tuple[bytes, bytes]], body: bytes | None) -> None:
        self._channel.send(
            {
                "is": "request",
                "method": method,
                "target": target.decode("latin-1"),
                "headers": [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers],
                "body": None if body is None else base64.b64encode(body).decode("ascii"),
            }
        )

    def _serve_page(self, failed: AppFailed) -> None:
        from devserver.devtools.error_page import error_app
        from devserver.devtools.last_failure import LastFailure

        self._importing = False
        gc.enable()
        self._go.wait()
        share = self._config.share_errors
        page = LastFailure(error_app(failed, share=share), lambda: failed, share=share)
        # Whoever reads the page waits for the fix; its requests are not the app's.
        config = dataclasses.replace(self._config, lifespan="off", limit_max_requests=None, access_log=False)
        emitter = Emitter()
        emitter.listen(self._forward, (ServerStopped,))
        self._server = self._make_server(config, app=page, emitter=emitter)
        if not self._stop.is_set():
            self._server.run(self._sockets())

    def _make_server(self, config: Config, **rest: Any) -> SuccessiveServer:
        # Imported here: the app's import comes first, and what it needs of asyncio it imports itself.
        from devserver.supervisor.succession import SuccessiveServer

        return SuccessiveServer(
            config,
            give=self._channel.send,
            taken=self._taken,
            on_serving=self._on_serving,
            changed=self._freshness.changed,
            on_changed=self._on_changed,
            **rest,
        )

    def _failure_response(self, failure: Failure, scope: Scope) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        # Imported here: most apps never raise, and should not wait for what they do not need.
        from devserver.app.redact import Redactor
        from devserver.devtools.error_page import failure_response

        redactor = Redactor.of(os.environ)
        return failure_response(failure, scope, share=self._config.share_errors, redactor=redactor)

    def _sockets(self) -> list[socket.socket]:
        # Duplicates, because a server closes what it was given and the page may still need them.
        return [socket.socket(fileno=os.dup(fd)) for fd in self._job.listeners]

    def _fail(self, exc: AppError | ConfigError) -> AppFailed:
        self._failed = True
        failed = AppFailed(exc.message, exc.hint, exc.failure if isinstance(exc, AppError) else None)
        self._opened = {path: stamp(path) for path in self._recorder.opened()}
        self._report_files()
        self._channel.send(to_json(failed))
        return failed

    # What the supervisor is told

    def _forward(self, event: Event) -> None:
        if isinstance(event, ServerReady):
            self._recorder.settle()
            self._opened = {path: stamp(path) for path in self._recorder.opened()}
            self._report_files()
        self._channel.send(to_json(event))

    def _report_files(self) -> None:
        executed = dict(self._loader.executed) if self._loader is not None else {}
        self._reported = len(executed)
        opened = tuple(path for path in self._recorder.opened() if path not in executed)
        self._channel.send({"is": "wrote", "paths": list(self._recorder.written())})
        self._channel.send(to_json(FilesLoaded(tuple(executed.items()), opened)))

    def _on_serving(self) -> None:
        self._channel.send({"is": "serving"})
        if not self._failed:
            self._report_imports()
        if not self._failed:
            threading.Thread(target=self._build_routes, name="devserver-routes", daemon=True).start()

    def _stamps(self) -> dict[str, Stamp]:
        loaded = {} if self._loader is None else self._loader.stamps
        return {**loaded, **self._opened, **self._env_files}

    def _on_changed(self, paths: list[str]) -> None:
        self._freshness.accept(paths)
        self._channel.send({"is": "changed", "paths": paths})

    def _report_imports(self) -> None:
        self._modules_reported = len(sys.modules)
        modules = others(self._job.first_party, known=self._inheritance.modules)
        self._channel.send({"is": "imported", "modules": modules, "variables": self._variables.before_others()})

    def _on_write(self, path: str) -> None:
        self._channel.send({"is": "wrote", "paths": [path]})

    def _on_tick(self) -> None:
        # Modules that are imported inside of functions turn up while requests are served.
        if not self._importing and self._loader is not None and len(self._loader.executed) != self._reported:
            self._report_files()
        if self._modules_reported and len(sys.modules) != self._modules_reported:
            self._report_imports()

    # What the supervisor says; called on the channel's thread

    def _on_message(self, message: Message) -> None:
        match message.get("do"):
            case "go":
                self._go.set()
            case "stop":
                self._gives = message.get("give", False)
                self._ask_to_stop()
            case "take":
                self._taken.append(message)
                self._tell_server("adopt")
            case "resume" | "wait" as what:
                self._tell_server(what)
            case _:
                pass

    def _tell_server(self, what: str) -> None:
        server = self._server
        if server is not None and server.started and server.server_state is not None:
            with contextlib.suppress(RuntimeError):
                # Its loop may have ended meanwhile.
                server.server_state.loop.call_soon_threadsafe(getattr(server, what))

    def _ask_to_stop(self) -> None:
        # In this order: the main thread sets _server first and looks at _stop after it.
        self._stop.set()
        self._go.set()
        if self._server is not None:
            self._server.gives = self._gives
            self._server.should_exit = True
        elif self._importing:
            # Nothing is in flight yet, and an import cannot be asked to end.
            ending.end_group()

    def _on_close(self) -> None:
        # The supervisor has gone, however that came. The kernel closes its end of the channel as soon as it dies, which
        # is all that is needed: PR_SET_PDEATHSIG would come earlier than getppid() tells of it, once for each of the
        # supervisor's threads, and end nobody but this process.
        self._orphaned = True
        self._ask_to_stop()
        time.sleep((self._config.timeout_graceful_shutdown or 0) + (self._config.timeout_shutdown or GRACE_S) + CLOSE_S)
        ending.end_group()


def _no_terminal(*_: Any, **__: Any) -> None:
    # pdb would read the end of an empty input and leave without a word of why.
    raise RuntimeError(
        "breakpoint() needs a terminal, and standard input, output and error are not one: "
        "run in a terminal, or set PYTHONBREAKPOINT to a debugger that needs none."
    )


def _for_reload(job: Job) -> Config:
    if job.config.timeout_graceful_shutdown is None:
        return dataclasses.replace(job.config, timeout_graceful_shutdown=GRACE_S)
    return job.config


def _env_files(config: Config) -> tuple[str, ...]:
    """What the environment of this process was read from, or would have been."""
    given = config.env_file
    return candidates(config.mode, given if isinstance(given, tuple) else (), Path.cwd())


def set_environment(wanted: Mapping[str, str]) -> None:
    """Makes ``os.environ`` what it would be in a process that was started with ``wanted``."""
    for name in os.environ.keys() - wanted.keys():
        del os.environ[name]
    for name, value in wanted.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


def reset_signals() -> None:
    """Gives the app the signal handling of a process that was started from a terminal."""
    for name in ("SIGTERM", "SIGHUP", "SIGCHLD", "SIGUSR1", "SIGUSR2"):
        number = getattr(signal, name, None)
        if number is not None:
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
