"""A server on a real socket and real time, in a thread of its own, and a client that sends exactly what it is told.

For what a fake transport cannot show: kernels that split and join, half-closed sockets, resets, uvloop. The sweep that
looks at deadlines runs every 10 ms here, so that tests of timeouts need only fractions of a second.
"""

from __future__ import annotations

import asyncio
import contextvars
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from devserver.config import Config
from devserver.events import AppRaised, Emitter, Notice, RequestFinished, RequestRefused
from devserver.protocol.http1.connection import Http1Connection
from devserver.protocol.state import ServerState
from devserver.server.loop import new_loop
from tests.support.responses import Response, read_response, read_responses

if TYPE_CHECKING:
    from devserver.app.types import ASGIApp

PATIENCE_S = 10.0
"""How long a test waits for what should happen at once; only a defect waits as long."""
SWEEP_S = 0.01


def wait_for(condition: Callable[[], object], *, timeout_s: float = PATIENCE_S) -> None:
    """Returns as soon as ``condition`` holds.

    :raises AssertionError: it does not within ``timeout_s``.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError("the condition did not come true in time")
        time.sleep(0.002)


class WireClient:
    """One connection of a client, without any opinion about HTTP but the strict reader of responses."""

    def __init__(self, address: tuple[str, int] | str) -> None:
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.settimeout(PATIENCE_S)
        self.socket.connect(address)
        if family == socket.AF_INET:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""

    def send(self, *pieces: bytes) -> None:
        """Each piece in a segment of its own, when the kernel agrees."""
        for piece in pieces:
            self.socket.sendall(piece)

    def send_bytewise(self, data: bytes) -> None:
        """One byte at a time."""
        self.send(*(data[at : at + 1] for at in range(len(data))))

    def response(self, method: str = "GET") -> Response:
        """The next response, waiting for it."""
        while True:
            read = read_response(self._buffer, method=method)
            if read is not None:
                self._buffer = self._buffer[read[1] :]
                return read[0]
            data = self.socket.recv(65536)
            if not data:
                last = read_response(self._buffer, method=method, at_eof=True)
                assert last is not None, "the server closed the connection without a response"
                self._buffer = self._buffer[last[1] :]
                return last[0]
            self._buffer += data

    def read(self, size: int) -> bytes:
        """Exactly ``size`` bytes."""
        while len(self._buffer) < size:
            data = self.socket.recv(65536)
            assert data, f"the server closed the connection after {len(self._buffer)} of {size} bytes"
            self._buffer += data
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken

    def read_to_end(self) -> bytes:
        """Everything until the server closes its side; an abrupt end (RST) is an error."""
        while data := self.socket.recv(65536):
            self._buffer += data
        taken, self._buffer = self._buffer, b""
        return taken

    def responses_to_end(self, *methods: str) -> list[Response]:
        """Every response until the server closes its side."""
        return read_responses(self.read_to_end(), methods=list(methods))

    def shut(self) -> None:
        """Nothing more will be sent (FIN); reading goes on."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Leaves without a goodbye (RST)."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        self.socket.close()

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> WireClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()


class WireServer:
    """One ServerState behind a listening socket, on a loop in a thread. Use :func:`wire_server`."""

    def __init__(self, app: ASGIApp, config: Config, lifespan_state: dict[str, Any], uds: Path | None) -> None:
        self.failures: list[dict[str, Any]] = []
        self.events: list[Any] = []
        self.address: tuple[str, int] | str = ""
        self._app, self._config, self._lifespan_state, self._uds = app, config, lifespan_state, uds
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._main, daemon=True)
        self._thread.start()
        assert self._ready.wait(PATIENCE_S)

    def _main(self) -> None:
        self.loop = new_loop(self._config.loop)
        self.loop.set_exception_handler(lambda _, context: self.failures.append(context))
        self._stop = asyncio.Event()
        try:
            self.loop.run_until_complete(self._serve())
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
        finally:
            self.loop.close()

    async def _serve(self) -> None:
        emitter = Emitter()
        emitter.listen(self.events.append, (AppRaised, Notice, RequestFinished, RequestRefused))
        self.state = ServerState(
            self._config,
            self._app,
            loop=self.loop,
            emitter=emitter,
            lifespan_state=self._lifespan_state,
            context=contextvars.copy_context(),
        )

        def make() -> Http1Connection:
            return Http1Connection(self.state)

        if self._uds is not None:
            server: Any = await self.loop.create_unix_server(make, str(self._uds))
            self.address = str(self._uds)
        else:
            server = await self.loop.create_server(make, "127.0.0.1", 0)
            self.address = server.sockets[0].getsockname()[:2]
        sweep = self.loop.create_task(self._sweep())
        self._ready.set()
        await self._stop.wait()
        sweep.cancel()
        server.close()
        for connection in list(self.state.connections):
            connection.abort()
        await asyncio.sleep(0)
        tasks = list(self.state.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)

    async def _sweep(self) -> None:
        while True:
            now = self.loop.time()
            self.state.tick(now)
            for connection in list(self.state.connections):
                if connection.deadline and now >= connection.deadline:
                    connection.expire(now)
            await asyncio.sleep(SWEEP_S)

    def connect(self) -> WireClient:
        """A new connection to the server."""
        return WireClient(self.address)

    def call(self, function: Callable[[], Any]) -> Any:
        """Runs ``function`` on the server's loop and returns what it returns."""

        async def call() -> Any:
            return function()

        return asyncio.run_coroutine_threadsafe(call(), self.loop).result(PATIENCE_S)

    def events_of(self, kind: type) -> list[Any]:
        """The events of one type so far, in order."""
        return [event for event in list(self.events) if type(event) is kind]

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive(), "the server does not stop"


@contextmanager
def wire_server(
    app: ASGIApp, *, lifespan_state: dict[str, Any] | None = None, uds: Path | None = None, **options: Any
) -> Iterator[WireServer]:
    """A server for ``app`` on a free port of 127.0.0.1, or on the Unix socket ``uds``, with these options of Config."""
    server = WireServer(app, Config(app, **options), {} if lifespan_state is None else lifespan_state, uds)
    try:
        yield server
    finally:
        server.close()
    assert not server.failures, server.failures
