"""What all connections of one server share, and the loop turn in which their requests start.

Parsing only lists a connection; one :meth:`ServerState.flush` a loop turn starts the listed exchanges as eager tasks.
Starting them there, and not inside the parser's callbacks, is measurably faster, lets bodies that came with the
head be in place before the app runs, and keeps the app's code out of the parser's stack.

It knows nothing of sockets, signals or logging; the server makes it and asks it to :meth:`tick` once a second.
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
from collections import deque
from collections.abc import Callable, Container, Coroutine, Iterable
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from devserver.events import Notice
from devserver.protocol.http1.large_body import READ_BYTES
from devserver.protocol.http1.limits import Limits
from devserver.protocol.http1.response import status_line
from devserver.protocol.http1.target import raw_path
from devserver.protocol.proxy import ForwardedHeaders, TrustedPeers

if TYPE_CHECKING:
    from devserver.app.types import ASGIApp, Scope
    from devserver.config import Config
    from devserver.events import Emitter, Failure

FailureResponse: TypeAlias = "Callable[[Failure, Scope], tuple[int, list[tuple[bytes, bytes]], bytes]]"
"""Makes the answer to a request whose app raised, as status, headers and body."""

EXTENSIONS = {
    "pathsend": "http.response.pathsend",
    "early-hints": "http.response.early_hint",
    "trailers": "http.response.trailers",
}
"""HTTP extensions of ASGI by their names in ``--extensions``."""

BATCH = 64
"""How many apps run before their responses are written; bounds how long one waits, and how much memory they take."""

RETRY_AFTER_S = 5
"""What a 503 of an overloaded server advises (RFC 9110 §10.2.3)."""


class Connection(Protocol):
    """What the server and the state ask of a connection, whatever it speaks."""

    deadline: float
    """Loop time at which :meth:`expire` is due; 0.0 when nothing is awaited from the peer."""
    listed: bool
    """It is listed for the next flush. Never twice: of two exchanges of one flush the second could be written first."""

    @property
    def idle(self) -> bool:
        """Whether no request is running and no byte of a next one has arrived."""

    @property
    def begun(self) -> bool:
        """Whether the head of a request has been read that is not answered yet."""

    @property
    def lasting(self) -> bool:
        """Whether it stays open until one of the peers closes it: it does not become idle."""

    def shutdown(self) -> None:
        """Takes no further request after those whose bytes have arrived; closes at once when idle or lasting."""

    def abort(self) -> None:
        """Drops the connection with whatever it has not sent."""

    def expire(self, now: float) -> None:
        """The deadline has passed."""

    def proceed(self) -> Exchange | None:
        """The exchange that may start now; called by :meth:`ServerState.flush` only."""

    def release(self) -> bytes | None:
        """Gives the socket up between two requests: the bytes that belong to the next one, or None when it cannot.

        Whoever calls it takes the descriptor and then aborts the connection.
        """


class Exchange(Protocol):
    """What the state asks of a request and its response, whatever protocol brought them."""

    def run(self) -> Coroutine[Any, Any, None]:
        """Calls the app and sees to it that there is a response; raises nothing."""

    def suspended(self, task: asyncio.Task[None]) -> None:
        """``run`` has not come to its end in the first step of ``task``, or has not begun."""

    def end_turn(self) -> None:
        """Writes what is held until the end of the turn."""

    def cancel_if_idle(self, now: float) -> bool:
        """Cancels the app when it has ignored the loss for too long; True when nothing is left to watch."""


class ServerState:
    """The state that uvicorn calls by the same name: connections, tasks, totals, default headers.

    :param config: the checked settings.
    :param app: the adapted ASGI 3 application.
    :param loop: the running loop.
    :param emitter: who listens to events.
    :param lifespan_state: ``scope["state"]`` of the lifespan; each request gets a shallow copy (ASGI lifespan spec,
        "Lifespan State").
    :param context: the context that ``serve()`` was called in; each request runs in a copy of it.
    """

    def __init__(
        self,
        config: Config,
        app: ASGIApp,
        *,
        loop: asyncio.AbstractEventLoop,
        emitter: Emitter,
        lifespan_state: dict[str, Any],
        context: contextvars.Context,
    ) -> None:
        self.config = config
        self.app = app
        self.loop = loop
        self.emitter = emitter
        self.lifespan_state = lifespan_state
        self.limits = Limits.of(config)
        self.small_head_bytes = self.limits.small_head
        self.timeout_keep_alive = self.limits.timeout_keep_alive
        self.keeps_alive = config.timeout_keep_alive != 0
        """Whether a connection may stay open after a response: not when it would be closed at once."""
        self.turn_time = 0.0
        """Loop time of the flush that is running; 0.0 outside of it."""
        self.writes: list[tuple[asyncio.WriteTransport, bytes]] | None = None
        """Whole responses that the flush writes after it has run a batch of apps; None outside of it. For connections
        that stay open only: closing one must not overtake what it has to write."""

        self.connections: set[Connection] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.cancelled: set[asyncio.Task[None]] = set()
        """Tasks that :meth:`cancel` has cancelled: a CancelledError out of any other is the app's own."""
        self.lost: set[Exchange] = set()
        """Exchanges whose client has gone; looked at once a second."""
        self.total_requests = 0
        self.requests_max = _requests_max(config)
        self.stopping = False
        self.give: Callable[[Connection], bool] | None = None
        """Set when another process is to serve what has not begun: takes a connection, and says whether it did. No
        request starts from then on but those that were admitted late."""
        self.on_turn: Callable[[], None] | None = None
        """Called before the requests of a loop turn start."""
        self.on_limit: Callable[[], None] = _ignore
        """Called once, when ``limit_max_requests`` is reached."""
        self.on_fatal: Callable[[BaseException], None] = _ignore_exception
        """Called with a KeyboardInterrupt that came out of the app."""
        self.failure_response: FailureResponse | None = None
        """Makes the page shown when an app raises; None for a bare 500."""
        self.first_party: Container[str] = ()
        """Paths of the app's own source files, which tracebacks show first."""
        self.extensions = tuple(EXTENSIONS[name] for name in config.extensions)
        """ASGI names of the HTTP extensions that are offered to apps."""
        self.ignores_departures = config.send_after_disconnect == "ignore"
        """Whether ``send()`` keeps quiet when the client is gone."""
        self.asgi_version = {"version": "3.0", "spec_version": "2.3" if self.ignores_departures else "2.5"}
        """``scope["asgi"]`` of HTTP. Before 2.4 an app that streams must listen for ``http.disconnect`` itself, and
        frameworks go by the version."""
        self.underscore_headers = config.underscore_headers
        self._warned: set[str] = set()

        self.trusted_peers: TrustedPeers | None = None
        self.forwarded: ForwardedHeaders | None = None
        if config.proxy_headers:
            self.trusted_peers = TrustedPeers(config.trusted_proxies)
            self.forwarded = ForwardedHeaders(config.forwarded_headers, self.trusted_peers)
        self.root_path = config.root_path
        self.root_path_raw = raw_path(config.root_path)

        self.parser_factory, self.parser_error, self.parser_upgrade = load_parser(config.http)
        self._task: Any = asyncio.Task  # Any: eager_start is unknown to the type stubs of Python 3.11.
        self._eager = sys.version_info >= (3, 12) and loop.get_task_factory() is None
        self._context = contextvars.Context() if config.reset_contextvars else context
        self.read_buffer = memoryview(bytearray(READ_BYTES))
        """What large bodies are read into."""
        self._listed: list[Connection] = []
        self._held: list[Exchange] = []
        self.bounded = config.limit_concurrency is not None
        """Whether a request must be admitted before it starts, and released when it is over."""
        self._limit_concurrency = config.limit_concurrency
        self._placed: set[Connection] = set()
        """The first ``limit_concurrency`` connections."""
        self._surplus: dict[Connection, None] = {}
        """Those that have come since, the oldest first."""
        self._running = 0
        self._waiting: deque[Connection] = deque()
        self._extra_headers = _encode_extra(config)
        self._server_header = b"server: devserver\r\n" if config.server_header and not _names_server(config) else b""
        self.head_prefixes: dict[int, bytes] = {}
        """Status line and default header lines by status; made anew with these."""
        self.default_headers = b""
        """Date, Server and the configured header lines; made anew once a second."""
        self.date_header = b""
        self.tick(loop.time())

    # Once a second

    def tick(self, now: float) -> None:
        """Renews the Date field (RFC 9110 §6.6.1) and cancels apps that ignore the loss of their client."""
        self.date_header = b"date: %b\r\n" % formatdate(usegmt=True).encode("ascii") if self.config.date_header else b""
        self.default_headers = self.date_header + self._server_header + self._extra_headers
        self.head_prefixes.clear()
        for exchange in [item for item in self.lost if item.cancel_if_idle(now)]:
            self.lost.discard(exchange)

    def head_prefix(self, status: int) -> bytes:
        """Status line and default header lines.

        :raises AppContractError: no final status.
        """
        prefix = self.head_prefixes[status] = status_line(status) + self.default_headers
        return prefix

    def headers_without(self, *, date: bool, server: bool) -> bytes:
        """The default header lines, less those that the app sent itself."""
        return (b"" if date else self.date_header) + (b"" if server else self._server_header) + self._extra_headers

    # What apps do

    def warn_once(self, kind: str, text: str) -> None:
        """Warns about a mistake of the app that was put right; once for each ``kind``."""
        if kind not in self._warned:
            self._warned.add(kind)
            self.emitter.emit(Notice("warning", text))

    def cancel(self, task: asyncio.Task[None]) -> None:
        """Cancels the task of an exchange. Its CancelledError is then no error of the app."""
        if task not in self.cancelled:
            self.cancelled.add(task)
            task.add_done_callback(self.cancelled.discard)
        task.cancel()

    # Loop turns

    def schedule(self, connection: Connection) -> None:
        """Lists a connection whose next exchange may start; the first one of a turn schedules the flush."""
        if connection.listed:
            return
        connection.listed = True
        self._listed.append(connection)
        if len(self._listed) == 1:
            self.loop.call_soon(self.flush)

    def flush(self) -> None:
        """Starts the exchange of every listed connection. Those listed meanwhile wait for the next turn."""
        listed, self._listed = self._listed, []
        if self.on_turn is not None:
            self.on_turn()
        if self.give is not None:
            listed = self._give_away(self.give, listed)
        self.turn_time = self.loop.time()
        loop, context = self.loop, self._context
        for start in range(0, len(listed), BATCH):
            # Running all apps first and making all system calls afterwards takes a tenth less CPU than taking turns:
            # each of the two finds its code in the cache.
            writes: list[tuple[asyncio.WriteTransport, bytes]] = []
            self.writes = writes
            for connection in listed[start : start + BATCH]:
                connection.listed = False
                exchange = connection.proceed()
                if exchange is None:
                    continue
                self.total_requests = total = self.total_requests + 1
                if total == self.requests_max:
                    self.on_limit()
                if self._eager:
                    # Runs up to its first suspension here.
                    task = self._task(exchange.run(), loop=loop, context=context.copy(), eager_start=True)
                else:
                    task = loop.create_task(exchange.run(), context=context.copy())
                if not task.done():
                    exchange.suspended(task)
            self.writes = None
            for transport, data in writes:
                transport.write(data)
        self.turn_time = 0.0

    def _give_away(self, give: Callable[[Connection], bool], listed: list[Connection]) -> list[Connection]:
        """Gives away what it can; returns the connections whose next request has been read already."""
        kept = []
        for connection in listed:
            if not give(connection) and connection.begun:
                kept.append(connection)
            else:
                connection.listed = False
        return kept

    def hold(self, exchange: Exchange) -> None:
        """Has ``exchange`` write what it holds at the end of this turn."""
        if not self._held:
            self.loop.call_soon(self.end_turn)
        self._held.append(exchange)

    def end_turn(self) -> None:
        """Writes what apps have sent before they suspended."""
        held, self._held = self._held, []
        for exchange in held:
            exchange.end_turn()

    # Other protocols

    @property
    def speaks_websocket(self) -> bool:
        """Whether a request may become a WebSocket."""
        return bool(self.config.ws != "none")

    def open_websocket(self, connection: Any, head: bytes, line: Any, scope: Scope) -> Any:
        """The exchange of a request that asks for a WebSocket; see :mod:`devserver.protocol.negotiate`."""
        # Imported when it is asked for: many servers never are.
        from devserver.protocol.negotiate import open_websocket

        return open_websocket(connection, head, line, scope)

    def replace(self, old: Connection, new: Connection) -> None:
        """Another protocol has taken over a connection."""
        if old not in self.connections:
            return
        self.connections.discard(old)
        self.connections.add(new)
        if old in self._placed:
            self._placed.discard(old)
            self._placed.add(new)
        elif old in self._surplus:
            self._surplus = {new if each is old else each: None for each in self._surplus}

    # Overload

    def enter(self, connection: Connection) -> None:
        """A connection has come."""
        self.connections.add(connection)
        if self._limit_concurrency is None:
            return
        if len(self._placed) < self._limit_concurrency:
            self._placed.add(connection)
        else:
            self._surplus[connection] = None

    def admit(self, connection: Connection) -> bool | None:
        """Whether a request may start now: True, False to refuse it with 503, None when it waits for its turn.

        Requests in flight and connections are both held against ``limit_concurrency``. When there are too many
        connections, those that were there first are served.
        """
        limit = self._limit_concurrency
        if limit is None or (self._running < limit and connection in self._placed):
            self._running += 1
            return True
        if len(self._waiting) < self.config.limit_queue:
            self._waiting.append(connection)
            return None
        return False

    def release(self) -> None:
        """A request that was admitted is over; the one that has waited longest is listed."""
        self._running -= 1
        if self._waiting:
            self.wake_waiting()

    def wake_waiting(self) -> None:
        """Lists the request that has waited longest; it asks to be admitted again."""
        if self._waiting:
            self.schedule(self._waiting.popleft())

    def leave(self, connection: Connection) -> None:
        """A connection serves no further request. The oldest one that had no place takes over its place."""
        self._surplus.pop(connection, None)
        if connection not in self._placed:
            return
        self._placed.discard(connection)
        if self._surplus:
            oldest = next(iter(self._surplus))
            del self._surplus[oldest]
            self._placed.add(oldest)
            if oldest in self._waiting:
                self._waiting.remove(oldest)
                self.schedule(oldest)

    def forget(self, connection: Connection) -> None:
        """A connection is gone."""
        self.connections.discard(connection)
        if self.bounded:
            self.leave(connection)
        if self._waiting:
            if connection in self._waiting:
                self._waiting.remove(connection)
            self.wake_waiting()


def unsent_bytes(transport: asyncio.WriteTransport) -> int:
    """Bytes in the buffer of a transport.

    asyncio's TLS transport has none to ask between the end of its socket and ``connection_lost``.
    """
    try:
        return transport.get_write_buffer_size()
    except AttributeError:
        return 0


def load_parser(http: object) -> tuple[Callable[[object], Any], tuple[type[Exception], ...], type[Exception]]:
    """The class that judges heads and decodes chunks, and the errors it raises: malformed, and upgrade.

    ``h11`` stands in for httptools behind the same callbacks; it is imported only when asked for.
    """
    if http == "h11":
        from devserver.protocol.http1 import h11

        return h11.RequestParser, (h11.MalformedRequest,), h11.UpgradeRequested
    from devserver.protocol.http1 import llhttp

    return llhttp.RequestParser, llhttp.MALFORMED, llhttp.UpgradeRequested


def _requests_max(config: Config) -> int:
    """``limit_max_requests`` with its jitter, or 0 for none."""
    if not config.limit_max_requests:
        return 0
    import random  # not at the top: few have a limit

    return config.limit_max_requests + random.randint(0, config.limit_max_requests_jitter or 0)


def _names_server(config: Config) -> bool:
    return any(name.lower() == "server" for name, _ in config.headers or ())


def _encode_extra(config: Config) -> bytes:
    lines: Iterable[str] = (f"{name.lower()}: {value}\r\n" for name, value in config.headers or ())
    return "".join(lines).encode("latin-1")


def _ignore() -> None:
    pass


def _ignore_exception(_: BaseException) -> None:
    pass
