"""One server in one process, on one event loop: start, serve, drain, stop.

The shape is uvicorn's, because programs subclass it and poll its attributes; what is inside is not. Nothing polls:
``should_exit`` and ``force_exit`` are properties that wake the loop, from a signal handler or another thread as well.

It must not know what bytes mean (``protocol``), what a terminal or a log looks like (it emits events), nor who started
it.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import importlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Generator, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from devserver.app import introspect
from devserver.app.interface import WsgiOptions
from devserver.app.lifespan import Lifespan
from devserver.app.load import load_app
from devserver.config.discovery import FirstParty, find_target, project_root
from devserver.config.env_layers import home
from devserver.config.target import Target
from devserver.errors import ConfigError
from devserver.events import Emitter, Notice, ServerReady, ServerStarting, ServerStopped, ServerStopping
from devserver.protocol.state import FailureResponse, ServerState
from devserver.server import heap, open_files
from devserver.server import listeners as listening
from devserver.server import loop as loops
from devserver.server.allocator import keep_freed_memory
from devserver.server.connections import Sweep, cancel, drain
from devserver.server.doubled import Doubled
from devserver.server.durations import CANCEL_S
from devserver.server.proxied import ProxyAcceptor
from devserver.server.tls import ssl_context

if TYPE_CHECKING:
    import ssl

    from devserver.app.types import ASGIApp
    from devserver.config.settings import Config
    from devserver.protocol.proxy import ProxyHeader
    from devserver.server.listeners import Listener

STOP_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name))

_HTTP_CLASSES = dict.fromkeys(("auto", "httptools", "h11"), "devserver.protocol.http1.connection:Http1Connection")
"""``h11`` is a parser, not a connection class: the state gives it to the same connection."""

_TICKS_A_SECOND = 10
"""uvicorn calls on_tick so often; a subclass that counts ticks depends on it."""


class _LoadInterrupted(KeyboardInterrupt):
    """A signal came while the app was imported, which no flag could interrupt."""


class Server:
    """Serves one app on one event loop.

    Made for a program that has a Config: ``Server(config).run()``, or ``await Server(config).serve()`` inside a running
    loop. In the main thread SIGINT and SIGTERM stop it, and are raised again when it has stopped.

    :param config: the settings; its ``app`` is what is served unless one of the next two is given.
    :param target: what to load.
    :param app: an ASGI app, as it is.
    :param emitter: who is told what happens.
    :param listeners: sockets that are bound already; the settings' addresses are not looked at then.
    :param failure_response: makes the answer to a request whose app raised; None for a bare 500.
    :param ssl: the TLS context, made already; the settings' files are not read then.
    """

    def __init__(
        self,
        config: Config,
        *,
        target: Target | None = None,
        app: ASGIApp | None = None,
        emitter: Emitter | None = None,
        listeners: Sequence[Listener] | None = None,
        failure_response: FailureResponse | None = None,
        ssl: ssl.SSLContext | None = None,
    ) -> None:
        self.config = config
        self.target = target
        self.emitter = emitter if emitter is not None else Emitter()
        self.started = False
        self.servers: list[asyncio.Server | ProxyAcceptor] = []
        self.server_state: ServerState | None = None
        """Set when startup is over; what connections share."""
        self.lifespan: Lifespan | None = None
        self.last_notified = 0.0

        self._app = app
        self._listeners = list(listeners) if listeners is not None else None
        self._failure_response = failure_response
        self._loaded_app: ASGIApp | None = None
        self._ssl = ssl
        self._accepted = 0
        """Connections there have been, with those whose TLS handshake is not over."""
        self._begun = 0.0
        self._loading = False
        self._sweep: Sweep | None = None
        self._fatal: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._captured_signals: list[int] = []
        self._doubled = Doubled()
        self._capturing = False
        self._original_handlers: dict[int, Any] = {}
        """Kept afterwards: a server that began to capture later restores our handler when it ends, see _restore()."""

    # Made on first use, because subclasses set should_exit before they call __init__.

    @functools.cached_property
    def _exit(self) -> _Flag:
        return _Flag()

    @functools.cached_property
    def _force(self) -> _Flag:
        return _Flag()

    @property
    def should_exit(self) -> bool:
        """Set it, from any thread, to stop gracefully."""
        return self._exit.is_set

    @should_exit.setter
    def should_exit(self, value: bool) -> None:
        self._exit.put(value)

    @property
    def force_exit(self) -> bool:
        """Set it, from any thread, to stop without waiting for requests and without lifespan shutdown."""
        return self._force.is_set

    @force_exit.setter
    def force_exit(self, value: bool) -> None:
        self._force.put(value)

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serves on a new event loop until told to stop. The app is imported before the loop runs, so that its modules
        may call ``asyncio.run`` themselves.

        :param sockets: bound sockets to serve on instead of the addresses in the settings.
        :raises DevserverError: an address cannot be bound, or the app does not load or start.
        """
        self.prepare(sockets)
        loops.run(self.serve(sockets), self.config.loop)

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serves on the running event loop until told to stop; then the signals it caught are raised again.

        :param sockets: bound sockets to serve on instead of the addresses in the settings.
        :raises DevserverError: an address cannot be bound, or the app does not load or start.
        """
        self._attach()
        try:
            with self.capture_signals():
                await self._serve(sockets)
        finally:
            self._exit.detach()
            self._force.detach()

    def _attach(self) -> None:
        """Lets :attr:`should_exit` and :attr:`force_exit` wake the running loop."""
        self._loop = asyncio.get_running_loop()
        self._exit.attach(self._loop)
        self._force.attach(self._loop)

    async def _serve(self, sockets: list[socket.socket] | None) -> None:
        try:
            self._loading = True
            try:
                self.prepare(sockets)
            except _LoadInterrupted:
                return
            finally:
                self._loading = False
            if self.should_exit:
                return
            await self.startup(sockets=sockets)
            if not self.started:
                return
            try:
                await self.main_loop()
            finally:
                await self.shutdown(sockets=sockets)
        finally:
            listening.close(self._listeners or ())
        if self._fatal is not None:
            raise self._fatal

    def prepare(self, sockets: Sequence[socket.socket] | None = None) -> None:
        """Binds, reads certificates and loads the app; :meth:`run` and :meth:`serve` do it unless it was done.

        :raises DevserverError: an address cannot be bound, a certificate not read, or the app not loaded.
        """
        if self._loaded_app is not None:
            return
        self._begun = time.perf_counter()
        self.emitter.emit(ServerStarting(os.getpid()))
        if self._ssl is None:
            self._ssl = ssl_context(self.config)
        if sockets is not None:
            scheme = "https" if self._ssl is not None else "http"
            self._listeners = [listening.adopt(sock, scheme=scheme) for sock in sockets]
        elif self._listeners is None:
            self._listeners = listening.bind(self.config, environ=os.environ, emitter=self.emitter)
        try:
            self._loaded_app = self._load()
        except BaseException:
            listening.close(self._listeners)
            raise

    def _load(self) -> ASGIApp:
        if self.target is None:
            self.target = target_of(self.config, self._app)
        if self._app is not None:
            return self._app
        put_in = home(self.config.mode, self.config.env_file)
        return load_app(self.target, interface=self.config.interface, wsgi=WsgiOptions.of(self.config), put_in=put_in)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Runs lifespan startup, then listens. :attr:`started` says whether it got that far: a signal may stop it.

        :meth:`serve` calls it. A program may do so instead, and then :meth:`main_loop` and :meth:`shutdown`.

        :param sockets: see :meth:`serve`.
        :raises AppStartupError: lifespan startup failed or took longer than ``timeout_startup``.
        :raises BindError: somebody else came to listen on the address meanwhile.
        :raises DevserverError: see :meth:`prepare`.
        """
        self._attach()
        self.prepare(sockets)
        loop = asyncio.get_running_loop()
        target, app = self.target, self._loaded_app
        if target is None or app is None or self._listeners is None:
            raise AssertionError("prepare() sets them")
        first_party = FirstParty(project_root(target, Path.cwd()), self.config.reload_dirs or ())
        self.lifespan = self._make_lifespan(app, first_party)
        if not await self._unless(self._exit, self.lifespan.startup(self.config.timeout_startup)):
            return
        keep_freed_memory(os.environ)
        self.server_state = state = ServerState(
            self.config,
            app,
            loop=loop,
            emitter=self.emitter,
            lifespan_state=self.lifespan.state,
            context=contextvars.copy_context(),
        )
        state.failure_response = self._failure_response
        state.first_party = first_party
        state.on_limit = self._on_limit
        state.on_fatal = self._on_fatal
        self._build_routes(app)
        try:
            await self._listen(state, self._listeners)
        except BaseException:
            for server in self.servers:
                server.close()
            await self.lifespan.shutdown(self.config.timeout_shutdown)
            raise
        self._sweep = Sweep(state, loop, self._watchers(state))
        self._sweep.start()
        self.started = True
        self.emitter.emit(
            ServerReady(
                pid=os.getpid(),
                urls=listening.urls(self._listeners),
                app=target.import_string,
                startup_s=time.perf_counter() - self._begun,
                docs_path=introspect.docs_path(app),
                found=target.found,
            )
        )

    def _make_lifespan(self, app: ASGIApp, first_party: FirstParty) -> Lifespan:
        return Lifespan(app, mode=self.config.lifespan, emitter=self.emitter, first_party=first_party)

    def _build_routes(self, app: ASGIApp) -> None:
        """Before anybody waits for an answer."""
        introspect.build_routes(app)

    async def _listen(self, state: ServerState, listeners: Sequence[Listener]) -> None:
        chosen = self._connection_class()
        if self.config.ws not in ("auto", "none"):
            # A wrong name is told at the start; what our own takes is imported with the first WebSocket.
            from devserver.protocol.negotiate import load_class

            load_class(self.config.ws)

        open_files.keep_quiet(state.loop)

        def make(header: ProxyHeader | None = None) -> asyncio.BaseProtocol:
            self._accepted += 1
            return chosen(state) if header is None else chosen(state, header)

        for listener in listeners:
            listener.listen(self.config.backlog)
            if self.config.proxy_protocol != "off":
                self.servers.append(ProxyAcceptor(listener.socket, state, make, self._ssl))
                continue
            # create_server serves Unix sockets as well, and unlike create_unix_server never removes their file.
            server = await state.loop.create_server(
                make, sock=listener.socket, ssl=self._ssl, backlog=self.config.backlog
            )
            self.servers.append(server)

    def _watchers(self, state: ServerState) -> list[Callable[[float], None]]:
        """Makes what looks after the process once a second."""
        exhaustion = open_files.Exhaustion(
            lambda text: self.emitter.emit(Notice("error", text)), lambda: len(state.connections)
        )
        trim = heap.trimmer() if self._ssl is not None else None
        trims = [] if trim is None else [heap.Heap(lambda: self._accepted, trim).look]
        return [exhaustion.look, *trims]

    def _connection_class(self) -> Callable[..., asyncio.BaseProtocol]:
        return connection_class(self.config.http)

    async def main_loop(self) -> None:
        """Serves until :attr:`should_exit`. :meth:`on_tick` is asked once a second, ten times if it is overridden."""
        step = _TICKS_A_SECOND if type(self).on_tick is Server.on_tick else 1
        counter = 0
        while not await self.on_tick(counter):
            await self._exit.wait(step / _TICKS_A_SECOND)
            counter = (counter + step) % 864_000

    async def on_tick(self, counter: int) -> bool:
        """Awaits ``callback_notify`` when it is due.

        :param counter: tenths of a second since the start, modulo a day.
        :returns: whether to stop.
        """
        notify = self.config.callback_notify
        if notify is not None and counter % _TICKS_A_SECOND == 0:
            now = time.time()
            if now - self.last_notified > self.config.timeout_notify:
                self.last_notified = now
                await notify()
        return self.should_exit

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stops accepting, lets requests finish within ``timeout_graceful_shutdown``, cancels the rest, and runs
        lifespan shutdown within ``timeout_shutdown``. :attr:`force_exit` cuts every step short. Does nothing before
        :meth:`startup` has got so far."""
        state, lifespan = self.server_state, self.lifespan
        if state is None or lifespan is None or self._sweep is None:
            return
        self.emitter.emit(ServerStopping(os.getpid(), len(state.connections), len(state.tasks)))
        # One turn accepts what the kernel has connected, one reads what those and the idle ones have sent.
        await asyncio.sleep(0)
        for server in self.servers:
            server.close()
        listening.close(self._listeners or ())
        for sock in sockets or ():
            sock.close()
        await asyncio.sleep(0)
        state.stopping = True
        grace_s = self.config.timeout_graceful_shutdown
        if not await drain(state, timeout_s=grace_s, forced=self._force.event):
            running = len(state.tasks)
            if running and not self.force_exit:
                text = f"Cancel {running} running task(s), timeout graceful shutdown exceeded"
                self.emitter.emit(Notice("error", text))
            await cancel(state)
        if not self.force_exit:
            await self._unless(self._force, lifespan.shutdown(self.config.timeout_shutdown))
        self._sweep.stop()
        self._sweep = None
        self.emitter.emit(ServerStopped(os.getpid()))

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Stops on signals while it is entered, and raises them again afterwards, the last one first, so that whoever
        handled them before learns of them. Override it to leave signals alone."""
        # Python runs signal handlers in the main thread only, and lets no other thread set them.
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self.install_signal_handlers()
        try:
            yield
        finally:
            self._capturing = False
            for number, original in self._original_handlers.items():
                _restore(number, original)
        self.raise_captured_signals()

    def install_signal_handlers(self) -> None:
        """Sets :meth:`handle_exit` for SIGINT and SIGTERM. Override it to leave signals alone."""
        self._original_handlers = {number: signal.signal(number, self.handle_exit) for number in STOP_SIGNALS}
        self._capturing = True

    def raise_captured_signals(self) -> None:
        """Raises the signals that stopped the server again. A command, whose exit code is 0 then, overrides it."""
        captured, self._captured_signals = self._captured_signals, []
        for number in reversed(captured):
            signal.raise_signal(number)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - a signal handler's signature
        """Stops gracefully on the first signal, and at once on the second one.

        A second signal within half a second of the first is the same one, delivered twice.
        """
        is_same = self._doubled.is_same(time.monotonic())
        if not is_same or sig not in self._captured_signals:
            self._captured_signals.append(sig)
        if is_same:
            return
        if self._loading:
            raise _LoadInterrupted
        if self.should_exit:
            self.force_exit = True
        else:
            self.should_exit = True

    def own_descriptors(self) -> list[int]:
        """Returns the numbers of the listening sockets and of the clients' that are open now."""
        listening_ = [listener.socket.fileno() for listener in self._listeners or ()]
        connections = [] if self.server_state is None else [*self.server_state.connections]
        found = listening_ + [_descriptor(getattr(each, "transport", None)) for each in connections]
        return [fd for fd in found if fd >= 0]

    def _on_limit(self) -> None:
        state = self.server_state
        limit = state.requests_max if state is not None else 0
        self.emitter.emit(Notice("warning", f"Maximum request limit of {limit} exceeded. Terminating process."))
        self.should_exit = True

    def _on_fatal(self, exc: BaseException) -> None:
        """A KeyboardInterrupt came out of the app: it leaves :meth:`serve` once everything has stopped."""
        self._fatal = exc
        self.should_exit = True

    async def _unless(self, flag: _Flag, coroutine: Coroutine[Any, Any, None]) -> bool:
        """Awaits ``coroutine``; cancels it when ``flag`` is set first, and returns whether it came to its end."""
        task = asyncio.ensure_future(coroutine)
        waiting = asyncio.ensure_future(flag.event.wait())
        try:
            await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            task.cancel()
            raise
        finally:
            waiting.cancel()
        if task.done():
            task.result()
            return True
        task.cancel()
        await asyncio.wait({task}, timeout=CANCEL_S)
        if task.done() and not task.cancelled():
            # Read, so that asyncio does not report it as never retrieved: what went wrong while being cancelled
            # is of no interest any more.
            task.exception()
        return False


def _descriptor(transport: Any) -> int:
    """The number of the socket under ``transport``; -1 when it has none any more."""
    with contextlib.suppress(AttributeError, OSError, RuntimeError):
        return int(transport.get_extra_info("socket").fileno())
    return -1


def _restore(number: int, handler: Any) -> None:
    """Gives a signal back to ``handler``, in whatever order the servers of one program come and go."""
    on_top = getattr(signal.getsignal(number), "__self__", None)
    if isinstance(on_top, Server) and on_top._capturing:  # noqa: SLF001 - of the class above
        return
    while isinstance(below := getattr(handler, "__self__", None), Server) and not below._capturing:  # noqa: SLF001
        handler = below._original_handlers.get(number)  # noqa: SLF001
    # None: it was not set from Python, and cannot be set again from here.
    signal.signal(number, handler if handler is not None else signal.SIG_DFL)


class _Flag:
    """A bool that any thread and any signal handler may set, and that a loop can wait for."""

    def __init__(self) -> None:
        self.is_set = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._event: asyncio.Event | None = None

    @property
    def event(self) -> asyncio.Event:
        """Follows the flag in the loop that it is attached to."""
        if self._event is None:
            raise AssertionError("attach() comes first")
        return self._event

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wakes ``loop`` from now on; nothing when it does so already."""
        if self._loop is loop:
            return
        self._event = asyncio.Event()
        self._loop = loop
        self._follow()

    def detach(self) -> None:
        """No longer wakes a loop."""
        self._loop = None

    def put(self, value: bool) -> None:
        """Sets or clears the flag."""
        self.is_set = value
        if self._loop is not None:
            # From a signal handler too: call_soon would not wake a loop that waits for its selector. RuntimeError
            # is what a loop that was closed meanwhile raises.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._follow)

    async def wait(self, timeout_s: float) -> None:
        """Returns when the flag is set, or after ``timeout_s``."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self.event.wait()

    def _follow(self) -> None:
        if self.is_set:
            self.event.set()
        else:
            self.event.clear()


def target_of(config: Config, app: Any = None) -> Target:
    """What to load: ``app``, or the one of the settings, or the one that is found.

    :raises AppLoadError: none is found.
    """
    given = app if app is not None else config.app
    if given is None or isinstance(given, str):
        return find_target(config, Path.cwd())
    return Target(app=given, factory=config.factory)


def connection_class(http: Any) -> Callable[..., asyncio.BaseProtocol]:
    """The class behind ``http``: a class as it is, a known name, or an import string.

    It is called with the :class:`~devserver.protocol.state.ServerState`, and with the
    :class:`~devserver.protocol.proxy.ProxyHeader` after it when the connection began with one.

    :raises ConfigError: there is no such class.
    """
    if not isinstance(http, str):
        found: Any = http
    else:
        module, _, attribute = _HTTP_CLASSES.get(http, http).partition(":")
        try:
            found = importlib.import_module(module)
            for part in attribute.split("."):
                found = getattr(found, part)
        except (ImportError, AttributeError) as exc:
            raise ConfigError(f'http: cannot import "{http}" ({exc}).') from exc
    if not callable(found):
        raise ConfigError(f'http: "{http}" is not a class.')
    factory: Callable[..., asyncio.BaseProtocol] = found
    return factory
