"""A server without sockets or time: connections on fake transports, on a loop whose clock stands until it is moved.

Bytes arrive in exactly the pieces that a test gives, deadlines pass when it says so, and everything comes to rest
before the next step, so that every split of a request can be tried in a fraction of a second.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from devserver.config import Config
from devserver.events import (
    AppRaised,
    Emitter,
    Notice,
    RequestFinished,
    RequestRefused,
    WebSocketClosed,
)
from devserver.protocol.http1.connection import Http1Connection
from devserver.protocol.state import ServerState
from tests.support.responses import Response, read_responses

if TYPE_CHECKING:
    from devserver.app.types import ASGIApp

PARSER: dict[str, Any] = {"http": "auto"}
"""The parser of servers whose test does not ask for one."""
TURNS_MAX = 20_000
"""A connection that keeps the loop busy for longer than this never comes to rest."""


class StillLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0
        super().__init__()

    def time(self) -> float:
        return self.now

    def settle(self) -> None:
        """Runs until nothing is ready and no timer is due."""
        for _ in range(TURNS_MAX):
            self.call_soon(self.stop)
            self.run_forever()
            if self.at_rest:
                return
        raise AssertionError("the loop does not come to rest")

    def turn(self, times: int = 1) -> None:
        """Runs what is ready, ``times`` over; for apps that never rest."""
        for _ in range(times):
            self.call_soon(self.stop)
            self.run_forever()

    @property
    def at_rest(self) -> bool:
        ready, scheduled = cast("Any", self)._ready, cast("Any", self)._scheduled
        return not ready and not any(not timer.cancelled() and timer.when() <= self.now for timer in scheduled)


class MemoryTransport(asyncio.Transport):
    """The server's end of a connection. What is written lands in ``sent`` at once, unless it is ``stuck``."""

    def __init__(self, loop: StillLoop, extra: dict[str, Any]) -> None:
        super().__init__(extra)
        self._loop = loop
        self._protocol: asyncio.Protocol | None = None
        self.sent = bytearray()
        self.writes = 0
        self.unsent = bytearray()
        self.stuck = False
        self.writing_paused = False
        self.reading = True
        self.half_closed = False
        self.closing = False
        self.lost = False
        self.low, self.high = 16 * 1024, 64 * 1024

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = cast("asyncio.Protocol", protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        assert self._protocol is not None
        return self._protocol

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert isinstance(data, bytes | bytearray | memoryview), type(data)
        assert not self.half_closed, "write() after write_eof()"
        self.writes += 1
        if self.closing:
            return
        if not self.stuck:
            self.sent += data
            return
        self.unsent += data
        if len(self.unsent) > self.high and not self.writing_paused:
            self.writing_paused = True
            self.get_protocol().pause_writing()

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        self.write(b"".join(list_of_data))

    def drain(self, size: int | None = None) -> None:
        """The client takes ``size`` of the unsent bytes, all of them when None."""
        taken = len(self.unsent) if size is None else size
        self.sent += self.unsent[:taken]
        del self.unsent[:taken]
        if self.writing_paused and len(self.unsent) <= self.low:
            self.writing_paused = False
            self.get_protocol().resume_writing()
        if self.closing and not self.unsent:
            self._lose(None)

    def get_write_buffer_size(self) -> int:
        return len(self.unsent)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self.low, self.high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high = 64 * 1024 if high is None else high
        self.low = self.high // 4 if low is None else low

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.half_closed = True

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            self.reading = False
            if not self.unsent:
                self._lose(None)

    def abort(self) -> None:
        self.closing = True
        self.reading = False
        self.unsent.clear()
        self._lose(None)

    def reset(self) -> None:
        """The client is gone for good (RST)."""
        self.closing = True
        self.reading = False
        self.unsent.clear()
        self._lose(ConnectionResetError("gone"))

    def is_reading(self) -> bool:
        return self.reading

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = not self.closing

    def _lose(self, exc: Exception | None) -> None:
        if not self.lost:
            self.lost = True
            self._loop.call_soon(self.get_protocol().connection_lost, exc)


class MemoryClient:
    """The client's end of one connection."""

    def __init__(self, server: MemoryServer, transport: MemoryTransport, connection: Http1Connection) -> None:
        self._server = server
        self.transport = transport
        self.connection = connection
        self._pending: list[bytes] = []
        """Pieces that the server has not read, because it has paused reading."""
        self._eof = False
        self._eof_seen = False

    def send(self, *pieces: bytes) -> None:
        """Each piece is one read of the server, when it reads."""
        for piece in pieces:
            if piece:
                self._pending.append(piece)
            self._pump()

    def send_bytewise(self, data: bytes) -> None:
        """One byte a read."""
        self.send(*(data[at : at + 1] for at in range(len(data))))

    def shut(self) -> None:
        """The client sends no more (FIN) and goes on reading."""
        self._eof = True
        self._pump()

    def reset(self) -> None:
        """The client is gone."""
        self.transport.reset()
        self._server.settle()

    def settle(self) -> None:
        """Everything comes to rest, and what the server would now read is read."""
        self._pump()

    def _pump(self) -> None:
        loop = self._server.loop
        loop.settle()
        while self._pending and self.transport.reading:
            loop.call_soon(self._deliver, self._pending.pop(0))
            loop.settle()
        if self.transport.closing:
            self._pending.clear()
        elif self._eof and not self._pending and not self._eof_seen and self.transport.reading:
            self._eof_seen = True
            loop.call_soon(self._deliver_eof)
            loop.settle()

    def _deliver(self, data: bytes) -> None:
        protocol: Any = self.transport.get_protocol()
        if not isinstance(protocol, asyncio.BufferedProtocol):
            protocol.data_received(data)
            return
        buffer: Any = protocol.get_buffer(-1)
        size = min(len(buffer), len(data))
        buffer[:size] = data[:size]
        protocol.buffer_updated(size)
        if data[size:]:
            self._pending.insert(0, data[size:])

    def _deliver_eof(self) -> None:
        if not self._protocol.eof_received():
            self.transport.close()

    @property
    def _protocol(self) -> asyncio.Protocol:
        """Whom the transport calls: another one after an upgrade."""
        return cast("asyncio.Protocol", self.transport.get_protocol())

    @property
    def unread(self) -> int:
        """Bytes that the server has left in the client's hands."""
        return sum(map(len, self._pending))

    @property
    def closed(self) -> bool:
        """Whether the server has closed the connection, or at least its own side of it."""
        return self.transport.closing or self.transport.half_closed

    @property
    def gone(self) -> bool:
        """Whether the server has let go of the connection altogether."""
        return self.transport.lost and cast("Any", self._protocol) not in self._server.state.connections

    @property
    def sent(self) -> bytes:
        """Everything that the server has sent so far."""
        return bytes(self.transport.sent)

    def responses(self, *methods: str) -> list[Response]:
        """What the server has sent so far, as responses to requests with these methods (GET when not given)."""
        return read_responses(self.sent, methods=list(methods), at_eof=self.closed)

    def response(self, method: str = "GET") -> Response:
        """The only response."""
        (response,) = self.responses(method)
        return response


class MemoryServer:
    """One ServerState and its connections. Use :func:`memory_server`."""

    def __init__(self, app: ASGIApp, config: Config, lifespan_state: dict[str, Any]) -> None:
        self.loop = StillLoop()
        self.failures: list[dict[str, Any]] = []
        """What reached the loop's exception handler: always a defect of ours."""
        self.loop.set_exception_handler(lambda _, context: self.failures.append(context))
        self.events: list[Any] = []
        emitter = Emitter()
        emitter.listen(self.events.append, (AppRaised, Notice, RequestFinished, RequestRefused, WebSocketClosed))
        self.emitter = emitter
        self.state = ServerState(
            config,
            app,
            loop=self.loop,
            emitter=emitter,
            lifespan_state=lifespan_state,
            context=contextvars.copy_context(),
        )

    def connect(self, **extra: Any) -> MemoryClient:
        """A new connection; keywords are the transport's extra info."""
        info: dict[str, Any] = {"peername": ("127.0.0.1", 50000), "sockname": ("127.0.0.1", 8000), **extra}
        connection = Http1Connection(self.state)
        transport = MemoryTransport(self.loop, info)
        transport.set_protocol(connection)
        self.loop.call_soon(connection.connection_made, transport)
        self.loop.settle()
        return MemoryClient(self, transport, connection)

    def settle(self) -> None:
        """Everything comes to rest."""
        self.loop.settle()

    def advance(self, seconds: float, *, step: float = 0.1) -> None:
        """Time passes; a sweep looks at the deadlines every ``step`` seconds, as the server's does."""
        end = self.loop.now + seconds
        while self.loop.now < end:
            self.loop.now = min(end, self.loop.now + step)
            self.loop.call_soon(self._sweep)
            self.loop.settle()

    def _sweep(self) -> None:
        self.state.tick(self.loop.now)
        for connection in list(self.state.connections):
            if connection.deadline and self.loop.now >= connection.deadline:
                connection.expire(self.loop.now)

    def wait_for(self, condition: Callable[[], object], *, timeout_s: float = 5.0) -> None:
        """Runs the loop until ``condition`` holds; for apps that use threads."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError("the condition did not come true in time")
            self.loop.turn()

    def events_of(self, kind: type) -> list[Any]:
        """The events of one type, in order."""
        return [event for event in self.events if type(event) is kind]

    def close(self) -> None:
        """Drops every connection, cancels every task."""
        for connection in list(self.state.connections):
            connection.abort()
        self.loop.settle()
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.settle()
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()


@contextmanager
def memory_server(
    app: ASGIApp, *, lifespan_state: dict[str, Any] | None = None, **options: Any
) -> Iterator[MemoryServer]:
    """A server for ``app`` with these options of Config; leaving it checks that nothing went wrong unseen."""
    server = MemoryServer(app, Config(app, **{**PARSER, **options}), {} if lifespan_state is None else lifespan_state)
    try:
        yield server
    finally:
        server.close()
    assert not server.failures, server.failures
