"""Workers for those who keep gunicorn: its master, its config file and its hooks, with our server inside.

    gunicorn shop.main:app --workers 4 --worker-class devserver.gunicorn.Worker

The master stays what it is: it binds, forks, reads the settings and watches the heartbeat. A worker takes from the
settings what concerns a connection, serves on the master's sockets, and writes to gunicorn's own logs. What gunicorn's
settings say and this server does otherwise is told once, when the worker starts.

Nothing else of devserver imports this module, and it is the only one that imports gunicorn.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import logging
import os
import signal
import sys
import traceback
from collections.abc import Generator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from gunicorn import sock as gunicorn_sockets
from gunicorn.arbiter import Arbiter
from gunicorn.workers.base import Worker as GunicornWorker

from devserver.config.settings import Config
from devserver.errors import DevserverError
from devserver.events import Emitter, RequestFinished, ServerReady
from devserver.observe import foreign_loggers
from devserver.observe.access_log import AccessRecord
from devserver.observe.logging import LogObserver
from devserver.server import loop as loops
from devserver.server.server import Server

if TYPE_CHECKING:
    import ssl
    from types import FrameType

    from devserver.app.types import ASGIApp, Receive, Scope, Send

BEAT_S = 1.0
"""Between two signs of life, at most; twice in gunicorn's ``timeout`` at least."""
RESERVE_S = 2.0
"""What of gunicorn's ``graceful_timeout`` is left for lifespan shutdown, when running requests have had theirs."""
_LINE_MIN, _LINE_MAX = 64, 1 << 20
_FIELDS_MAX = 32_768
"""What these limits may be at most; for gunicorn 0 is none."""


class Aborted(KeyboardInterrupt):
    """The master has given the worker up. Raised into whatever runs, which may be the app: a SystemExit there would be
    the app's own."""


class Worker(GunicornWorker):  # type: ignore[misc] # gunicorn has no types
    """Serves ASGI apps, and what :mod:`devserver.app.interface` recognises beside them, for gunicorn's master.

    TERM lets requests finish for as long as ``graceful_timeout`` says; INT and QUIT cancel them; both run lifespan
    shutdown and the hook ``worker_exit``. The heartbeat goes on through startup and shutdown, so that ``timeout``
    ends only a worker whose event loop stands still; its log then says where.
    """

    CONFIG: ClassVar[dict[str, Any]] = {}
    """Fields of :class:`devserver.Config` that subclasses want otherwise."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._alive = True
        self._server: _Server | None = None
        self._quits = 0
        super().__init__(*args, **kwargs)

    @property
    def alive(self) -> bool:
        """False ends the worker gracefully. The master's reloader sets it from a thread."""
        return self._alive

    @alive.setter
    def alive(self, value: bool) -> None:
        self._alive = value
        if not value and self._server is not None:
            self._server.should_exit = True

    # Signals, in the order of gunicorn's documentation

    def init_signals(self) -> None:
        """Sets handlers that leave the event loop's own alone."""
        for number in self.SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        handlers = {
            signal.SIGQUIT: self.handle_quit,
            signal.SIGINT: self.handle_quit,
            signal.SIGTERM: self.handle_exit,
            signal.SIGUSR1: self.handle_usr1,
            signal.SIGWINCH: self.handle_winch,
            signal.SIGABRT: self.handle_abort,
        }
        for number, handler in handlers.items():
            signal.signal(number, handler)
        # A signal must not interrupt a system call of a request.
        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.siginterrupt(number, False)

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - a signal handler's signature
        """INT, QUIT: cancels requests; the second one does not wait for the app's shutdown either."""
        self._quits += 1
        if self._quits == 1:
            self.cfg.worker_int(self)
        self.alive = False
        if self._server is None:
            # The app is being imported, which no flag interrupts.
            raise SystemExit(0)
        self._server.quit(at_once=self._quits > 1)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - a signal handler's signature
        """TERM: lets requests finish."""
        self.alive = False

    def handle_abort(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - a signal handler's signature
        """ABRT: the master has waited for a sign of life for longer than ``timeout``."""
        stack = "".join(traceback.format_stack(frame)).rstrip()
        self.log.critical("The event loop stands still, here:\n%s", stack)
        self._alive = False
        self.cfg.worker_abort(self)
        if self._server is None:
            raise SystemExit(1)
        raise Aborted

    # A worker's life

    def load_wsgi(self) -> None:
        """Loads the app as gunicorn does; with ``reload`` one that does not load is answered for with its error."""
        # First, since the app may look for handlers on uvicorn's loggers while it is imported.
        self._set_up_loggers()
        if not self.cfg.reload:
            self.wsgi = self.app.wsgi()
            return
        try:
            self.wsgi = self.app.wsgi()
        except Exception as exc:
            self.log.exception("The app cannot be loaded")
            if isinstance(exc, SyntaxError) and exc.filename is not None and self.reloader is not None:
                self.reloader.add_extra_file(exc.filename)
            self.wsgi = _broken(exc)

    def run(self) -> None:
        """Serves until it is told to stop.

        :raises SystemExit: with the code that ends gunicorn when the app does not start.
        """
        if not self.alive:
            return
        try:
            config = self._config()
            self._server = server = _Server(config, emitter=self._emitter(config), ssl=self._ssl())
            if self.alive:
                server.prepare([listener.sock for listener in self.sockets])
                loops.run(self._serve(server), config.loop)
        except Aborted:
            raise SystemExit(1) from None
        except DevserverError as exc:
            self.log.error("%s%s", exc.message, f" {exc.hint}" if exc.hint else "")
            sys.exit(Arbiter.WORKER_BOOT_ERROR)

    async def _serve(self, server: Server) -> None:
        beat = asyncio.create_task(self._beat(server))
        try:
            await server.serve()
        finally:
            beat.cancel()

    async def _beat(self, server: Server) -> None:
        interval_s = min(BEAT_S, self.timeout / 2) if self.timeout else BEAT_S
        while True:
            self.notify()
            if server.server_state is not None:
                self.nr = server.server_state.total_requests
            if self.ppid != os.getppid():
                self.log.info("The master is gone; worker %s stops.", self.pid)
                self.alive = False
                return
            await asyncio.sleep(interval_s)

    # Settings

    def _config(self) -> Config:
        cfg = self.cfg
        grace_s = max(cfg.graceful_timeout - RESERVE_S, cfg.graceful_timeout / 2)
        settings: dict[str, Any] = {
            "app": self._with_hooks(self.wsgi),
            "log_config": None,
            "access_log": False,
            "loop": cfg.asgi_loop,
            "lifespan": cfg.asgi_lifespan,
            "root_path": cfg.root_path,
            "threads": cfg.threads,
            "backlog": cfg.backlog,
            "forwarded_allow_ips": list(cfg.forwarded_allow_ips),
            "limit_connections": cfg.worker_connections or None,
            "limit_max_requests": self.max_requests if self.max_requests < sys.maxsize else None,
            "limit_request_fields": min(cfg.limit_request_fields or _FIELDS_MAX, _FIELDS_MAX),
            "limit_request_field_size": _line_limit(cfg.limit_request_field_size),
            "limit_request_line": _line_limit(cfg.limit_request_line),
            "timeout_keep_alive": cfg.keepalive,
            "timeout_graceful_shutdown": grace_s,
            "timeout_shutdown": cfg.graceful_timeout,
            "proxy_protocol": cfg.proxy_protocol,
            "proxy_allow_ips": list(cfg.proxy_allow_ips),
        }
        limits = {"limit_request_field_size", "limit_request_line"}
        settings["limit_request_head"] = max(65_536, *(settings[name] for name in limits))
        if "h2" in cfg.http_protocols:
            self.log.warning("http_protocols: HTTP/2 is not served by %s; HTTP/1.1 is.", type(self).__qualname__)
        return Config(**{**settings, **self.CONFIG})

    def _ssl(self) -> ssl.SSLContext | None:
        """As gunicorn makes it, its hook ``ssl_context`` included."""
        context: ssl.SSLContext | None = gunicorn_sockets.ssl_context(self.cfg) if self.cfg.is_ssl else None
        return context

    # Logs and hooks

    def _set_up_loggers(self) -> None:
        """Lets our loggers, and uvicorn's as copies of ours, write where gunicorn's do."""
        for name, theirs in (("devserver", self.log.error_log), ("devserver.access", self.log.access_log)):
            logger = logging.getLogger(name)
            logger.handlers = theirs.handlers
            logger.setLevel(theirs.level)
            logger.propagate = False
        foreign_loggers.offer(handlers=True, families=("uvicorn",))

    def _emitter(self, config: Config) -> Emitter:
        emitter = Emitter()
        # gunicorn tells when a worker comes and goes.
        LogObserver(config).attach(emitter, worker=True)
        post_request = self._hook("post_request")
        access_log = _AccessLog(self, post_request)
        if self.log.access_log_enabled or post_request is not None or self.cfg.statsd_host:
            emitter.listen(access_log, (RequestFinished,))
        else:
            # The app may still add a handler to uvicorn's logger.
            emitter.listen(lambda _: access_log.attach_late(emitter), (ServerReady,))
        return emitter

    def _hook(self, name: str) -> Any:
        """The hook, or None when it is gunicorn's, which does nothing that would not be logged."""
        hook = getattr(self.cfg, name)
        return None if hook is self.cfg.settings[name].default else hook

    def _with_hooks(self, app: Any) -> Any:
        pre_request = self._hook("pre_request")
        return app if pre_request is None else _PreRequest(app, self, pre_request)


class H11Worker(Worker):
    """The same on h11 and asyncio's own event loop, where neither httptools nor uvloop can be had."""

    CONFIG: ClassVar[dict[str, Any]] = {"http": "h11", "loop": "asyncio"}


class _Server(Server):
    """Leaves the signals to the worker."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield

    def quit(self, *, at_once: bool) -> None:
        """Stops without waiting for requests.

        :param at_once: nor for lifespan shutdown.
        """
        self.config = dataclasses.replace(self.config, timeout_graceful_shutdown=0)
        self.should_exit = True
        if at_once:
            self.force_exit = True


class _Request:
    """A request as gunicorn's hooks and loggers know it."""

    def __init__(self, method: str, target: bytes, version: str, headers: Any, client: Any, scheme: str) -> None:
        self.method = method
        self.uri = target.decode("latin-1")
        self.path, _, self.query = self.uri.partition("?")
        self.fragment = ""
        self.version = tuple(int(part) for part in version.split("."))
        self.headers = [(name.decode("latin-1").upper(), value.decode("latin-1")) for name, value in headers]
        self.remote_addr = self.peer_addr = client or ("", 0)
        self.scheme = scheme
        self.body = None


class _Response:
    """A response as gunicorn's loggers know it."""

    def __init__(self, event: RequestFinished) -> None:
        self.status = str(event.status or 499)
        self.status_code = event.status or 499
        self.headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in event.response_headers]
        self.sent = event.body_bytes
        self.response_length = event.body_bytes


class _AccessLog:
    """Hands finished requests to gunicorn's logger, and to its hook.

    What the app has changed at ``uvicorn.access`` by the first request has the effect that it has with uvicorn's own
    worker: filters decide about lines, and other handlers get them instead.
    """

    def __init__(self, worker: Worker, post_request: Any) -> None:
        self._worker = worker
        self._post_request = post_request
        self._ours = logging.getLogger("devserver.access")

    @functools.cached_property
    def _changed(self) -> logging.Logger | None:
        """uvicorn's logger, when the app has changed it."""
        logger = foreign_loggers.stand_in(self._ours, ("uvicorn.access",))
        return None if logger is self._ours else logger

    def attach_late(self, emitter: Emitter) -> None:
        """Listens if the app has given uvicorn's logger a handler."""
        if self._changed is not None and self._changed.hasHandlers():
            emitter.listen(self, (RequestFinished,))

    def _is_wanted(self, event: RequestFinished, changed: logging.Logger) -> bool:
        """Whether gunicorn's logger gets the request; hands it to the app's handlers otherwise."""
        record = AccessRecord(event, None, name=changed.name)
        if not changed.isEnabledFor(record.levelno):
            return False
        if changed.handlers == self._ours.handlers and not changed.propagate:
            return bool(changed.filter(record))
        changed.handle(record)
        return False

    def __call__(self, event: RequestFinished) -> None:
        request = _Request(
            event.method, event.target, event.http_version, event.request_headers, event.client, event.scheme
        )
        response, environ = _Response(event), _environ(request)
        if self._changed is None or self._is_wanted(event, self._changed):
            self._worker.log.access(response, request, environ, timedelta(seconds=event.duration_s))
        if self._post_request is not None:
            try:
                self._post_request(self._worker, request, environ, response)
            except Exception:
                self._worker.log.exception("Exception in post_request hook")


class _PreRequest:
    """An ASGI app that calls gunicorn's hook before each request of another."""

    def __init__(self, app: ASGIApp, worker: Worker, hook: Any) -> None:
        self.app = app
        self._worker = worker
        self._hook = hook

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in {"http", "websocket"}:
            query = scope.get("query_string", b"")
            target = scope.get("raw_path", b"") + (b"?" + query if query else b"")
            method = scope.get("method", "GET")
            headers, client, scheme = scope["headers"], scope.get("client"), scope["scheme"]
            self._hook(self._worker, _Request(method, target, scope["http_version"], headers, client, scheme))
        await self.app(scope, receive, send)


def _environ(request: _Request) -> dict[str, Any]:
    """What gunicorn's access log asks a WSGI environment for."""
    environ: dict[str, Any] = {
        "REMOTE_ADDR": request.remote_addr[0] or "-",
        "REMOTE_PORT": str(request.remote_addr[1]),
        "REQUEST_METHOD": request.method,
        "RAW_URI": request.uri,
        "PATH_INFO": request.path,
        "QUERY_STRING": request.query,
        "SERVER_PROTOCOL": "HTTP/{}.{}".format(*request.version),
        "wsgi.url_scheme": request.scheme,
    }
    for name, value in request.headers:
        key = f"HTTP_{name.replace('-', '_')}"
        environ[key] = f"{environ[key]},{value}" if key in environ else value
    return environ


def _line_limit(size: int) -> int:
    return min(max(_LINE_MIN, size or _LINE_MAX), _LINE_MAX)


def _broken(exc: Exception) -> ASGIApp:
    """An app that answers with the error; development only, as ``reload`` is."""
    from devserver.app.failure import fold
    from devserver.devtools.error_page import error_app
    from devserver.events import AppFailed

    failed = AppFailed("The app cannot be loaded.", "Save a file to try again.", fold(exc, (), "import"))
    return error_app(failed, share=False)
