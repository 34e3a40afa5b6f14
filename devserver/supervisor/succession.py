"""A server that gives its connections to the process that comes after it, and takes those of the one before.

A connection between two requests moves with the bytes that have arrived for the next one: its descriptor travels over
the channel to the supervisor, which keeps it until the new code serves. The client notices nothing but the time that
takes; closing such a connection instead would fail whoever is about to send a request on it (RFC 9112 §9.6). TLS
connections stay, since their keys are here: they are asked to close with their next response.
"""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import os
import socket
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from devserver.protocol.http1.connection import Http1Connection
from devserver.protocol.proxy import ProxyHeader
from devserver.server import loop as loops
from devserver.server.server import Server

if TYPE_CHECKING:
    from devserver.app.types import ASGIApp
    from devserver.config import Config
    from devserver.protocol.state import Connection, ServerState
    from devserver.supervisor.channel import Message

Give: TypeAlias = "Callable[[Message, int], None]"

ARRIVE_S = 0.2
"""How long a connection that cannot be given away may take to bring a request, once no further one is accepted."""
HOLD_S = 5.0
"""How long requests are held for a supervisor that does not say whether a change matters."""
STEP_S = 0.002
"""Between two looks at requests that are running."""


class SuccessiveServer(Server):
    """Serves like any other; what differs is how it begins and how it ends.

    :param give: sends a message and a descriptor to the supervisor.
    :param taken: messages with connections of the server before; filled from another thread.
    :param on_serving: called when it has started.
    :param changed: the files that are no longer those that run here; asked before requests start.
    :param on_changed: called with them. Requests are held until :meth:`resume` or the end.
    """

    def __init__(
        self,
        config: Config,
        *,
        give: Give,
        taken: deque[Message],
        on_serving: Callable[[], None],
        changed: Callable[[], list[str]],
        on_changed: Callable[[list[str]], None],
        **rest: Any,
    ) -> None:
        super().__init__(config, **rest)
        self.gives = False
        """Somebody comes after it: connections are given away and not closed."""
        self._give_message = give
        self._taken = taken
        self._on_serving = on_serving
        self._changed = changed
        self._on_changed = on_changed
        self._held: list[Connection] = []
        self._timer: asyncio.TimerHandle | None = None
        self._connecting: set[asyncio.Task[None]] = set()

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """See :meth:`Server.run`; what still runs in threads is left to the end of the process."""
        self.prepare(sockets)
        loops.run(self.serve(sockets), self.config.loop, wait_for_threads=False)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Takes what the server before has left, when it serves."""
        await super().startup(sockets)
        if self.started:
            self._state().on_turn = self._look
            self._on_serving()
            self.adopt()

    def _build_routes(self, app: ASGIApp) -> None:
        """Somebody may be waiting already: whoever made this server does it meanwhile."""

    def adopt(self) -> None:
        """Serves the connections that have been taken by now."""
        state = self._state()
        while self._taken:
            task = state.loop.create_task(self._connect(state, self._taken.popleft()))
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)

    def resume(self) -> None:
        """Serves on: what has changed does not matter, or nobody says."""
        state = self._state()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if state.give == self._hold:
            state.give = None
            held, self._held = self._held, []
            for connection in held:
                state.schedule(connection)

    def wait(self) -> None:
        """Holds requests until :meth:`resume`, however long that takes: the supervisor has said that it will."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Closes the listeners first: what waits in the kernel's queue must be answered by the new code."""
        for server in self.servers:
            server.close()
        state = self._state()
        give_back(self._taken, self._give_message, keep=self.gives)
        if self.gives and not self.config.is_ssl:
            await self._give_all(state)
        else:
            await self._let_requests_arrive(state)
        await super().shutdown(sockets)

    async def _connect(self, state: ServerState, message: Message) -> None:
        fd = message["fd"]
        if fd is None:
            return
        sock = socket.socket(fileno=fd)
        sock.setblocking(False)
        connection = Http1Connection(state, _header(message["proxied"]), base64.b64decode(message["received"]))
        try:
            await state.loop.connect_accepted_socket(lambda: connection, sock)
        except OSError:
            # The client has gone meanwhile.
            sock.close()

    async def _give_all(self, state: ServerState) -> None:
        """Gives away every connection as soon as its request is over, and leaves those that take too long."""
        grace_s = self.config.timeout_graceful_shutdown or 0
        deadline = state.loop.time() + grace_s
        state.give = self._give
        if self._connecting:
            await asyncio.wait(self._connecting)
        while not self.force_exit:
            for connection in list(state.connections):
                if not self._give(connection):
                    _end_stream(connection)
            if not (state.tasks or state.connections) or state.loop.time() >= deadline:
                break
            await asyncio.sleep(STEP_S)
        left_s = max(0.0, deadline - state.loop.time())
        self.config = dataclasses.replace(self.config, timeout_graceful_shutdown=left_s)

    def _look(self) -> None:
        state = self._state()
        paths = self._changed() if state.give is None else None
        if paths:
            state.give = self._hold
            self._timer = state.loop.call_later(HOLD_S, self.resume)
            self._on_changed(paths)

    def _hold(self, connection: Connection) -> bool:
        self._held.append(connection)
        return False

    def _give(self, connection: Connection) -> bool:
        received = connection.release()
        if received is None or not isinstance(connection, Http1Connection):
            return False
        fd = os.dup(connection.transport.get_extra_info("socket").fileno())
        proxied = connection.proxied
        # Closing one of two descriptors ends nothing.
        connection.abort()
        message = {
            "is": "connection",
            "received": base64.b64encode(received).decode("ascii"),
            "proxied": None if proxied is None else [proxied.source, proxied.destination],
        }
        self._give_message(message, fd)
        return True

    async def _let_requests_arrive(self, state: ServerState) -> None:
        # A client whose connection was accepted is about to send its request. Closing under it would fail that request;
        # the time passes while the new code is imported.
        state.stopping = True
        deadline = state.loop.time() + ARRIVE_S
        while state.loop.time() < deadline and not self.force_exit:
            await asyncio.sleep(STEP_S)
            if not any(connection.idle for connection in state.connections):
                break

    def _state(self) -> ServerState:
        if self.server_state is None:
            raise AssertionError("there is a state from startup() on")
        return self.server_state


def give_back(taken: deque[Message], give: Give, *, keep: bool) -> None:
    """Returns connections that nobody has served yet, or closes them.

    :param keep: somebody comes after us.
    """
    while taken:
        message = taken.popleft()
        fd = message.pop("fd")
        if fd is not None and keep:
            give({**message, "is": "connection"}, fd)
        elif fd is not None:
            os.close(fd)


def _end_stream(connection: Connection) -> None:
    """Ends a WebSocket or a stream of events, which have no end of their own; their clients come back by themselves."""
    if connection.lasting:
        connection.shutdown()
    exchange = connection.exchange if isinstance(connection, Http1Connection) else None
    if exchange is not None and exchange.endless and exchange.task is not None:
        exchange.connection.state.cancel(exchange.task)


def _header(proxied: list[Any] | None) -> ProxyHeader | None:
    if proxied is None:
        return None
    source, destination = (None if place is None else tuple(place) for place in proxied)
    return ProxyHeader(version=0, length=0, source=source, destination=destination)
