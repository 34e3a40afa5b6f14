"""Wraps the app of a test, so that the client learns what a socket does not carry: the app's exception, and its end.

Starlette's TestClient calls the app itself and therefore raises the app's exceptions, waits for background tasks, and
shows the template of a page. The wrapper stands between server and app, is the same under every server, and leaves the
messages as they are.
"""

from __future__ import annotations

import contextvars
import itertools
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

__all__ = ["EXCHANGE_HEADER", "Exchange", "Watched"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

EXCHANGE_HEADER = "x-world-exchange"
"""Name of the header that carries the exchange's number from client to wrapper; the app never sees it."""

_numbers = itertools.count(1)


class Exchange:
    """One request, seen from both ends: what the client wants the app to see, and what became of the app.

    :param scheme: the scheme of the URL that the test asked for; the socket itself is never encrypted.
    :param client: the address that the test wants the app to see.
    :param server: host and port of that URL; the socket's are 127.0.0.1 and any.
    """

    def __init__(self, scheme: str, client: tuple[str, int], server: tuple[str, int]) -> None:
        self.number = str(next(_numbers))
        self.scheme = scheme
        self.client = client
        self.server = server
        self.context = contextvars.copy_context()
        """The test's context variables; the TestClient runs the app with them."""
        self.begun = False
        self.ended = threading.Event()
        self.exception: BaseException | None = None
        self.debug: dict[str, Any] | None = None
        """What the app sent with ``http.response.debug``: template and context."""
        self.closed_before_accept: tuple[int, str] | None = None
        """Code and reason of a ``websocket.close`` instead of an accept; the wire carries only a 403."""


class Watched:
    """The app of a test, with an account of each exchange.

    :param app: an ASGI 3 app.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._exchanges: dict[bytes, Exchange] = {}
        self.lifespan_exception: BaseException | None = None

    def expect(self, exchange: Exchange) -> None:
        """Announces an exchange, before the client sends its request."""
        self._exchanges[exchange.number.encode()] = exchange

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            try:
                await self._app(scope, receive, send)
            except BaseException as exc:
                self.lifespan_exception = exc
                raise
            return
        name = EXCHANGE_HEADER.encode()
        number = next((value for key, value in scope["headers"] if key.lower() == name), b"")
        exchange = self._exchanges.pop(number, None)
        if exchange is None:
            # Not a request of the client's: a test that speaks to the socket itself.
            await self._app(scope, receive, send)
            return
        exchange.begun = True
        for variable, value in exchange.context.items():
            variable.set(value)
        scope["headers"] = [pair for pair in scope["headers"] if pair[0].lower() != name]
        scope["client"] = exchange.client
        scope["server"] = exchange.server
        scope["scheme"] = exchange.scheme
        if scope["type"] == "http":
            extensions = scope.get("extensions") or {}
            scope["extensions"] = {**extensions, "http.response.debug": {}}
        accepted = False

        async def watched_send(message: Message) -> None:
            nonlocal accepted
            if message["type"] == "http.response.debug":
                exchange.debug = dict(message["info"])
                return
            if message["type"] == "websocket.accept":
                accepted = True
            elif message["type"] == "websocket.close" and not accepted:
                exchange.closed_before_accept = (message.get("code", 1000), message.get("reason") or "")
            await send(message)

        try:
            await self._app(scope, receive, watched_send)
        except BaseException as exc:
            exchange.exception = exc
            raise
        finally:
            exchange.ended.set()
