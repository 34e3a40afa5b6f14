"""How one protocol hands a connection to another: here a request that asks for a WebSocket (RFC 9110 §7.8).

HTTP and WebSocket do not know each other. A handshake is an HTTP exchange until the app accepts: it waits for its turn,
it can be answered with any response, and its client can go away. What the app is called with belongs to the WebSocket
from the beginning.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from devserver.errors import AppContractError, ConfigError
from devserver.protocol.http1.exchange import COMPLETE, Exchange, means_disconnected
from devserver.protocol.http1.refusal import Refusal
from devserver.protocol.http1.response import SWITCHING_PROTOCOLS, encode_headers
from devserver.protocol.websocket import handshake
from devserver.protocol.websocket.connection import WebSocketConnection

if TYPE_CHECKING:
    from devserver.app.types import Message, Scope
    from devserver.protocol.http1.connection import Http1Connection
    from devserver.protocol.http1.target import RequestLine
    from devserver.protocol.websocket.handshake import Offer

_OURS = frozenset(
    b"connection content-length sec-websocket-accept sec-websocket-extensions sec-websocket-protocol "
    b"transfer-encoding upgrade".split()
)
"""Fields of the 101 response that are not the app's to send."""


def open_websocket(connection: Http1Connection, head: bytes, line: RequestLine, scope: Scope) -> Exchange | None:
    """What serves a request that asks for a WebSocket; None when a class of the user's has taken the connection.

    :param head: the request's, as it came.
    :raises Refusal: the handshake is malformed.
    """
    websocket_class = connection.state.config.ws
    if websocket_class != "auto":
        _hand_over(connection, head, load_class(websocket_class))
        return None
    try:
        offer = handshake.read_offer(scope["headers"])
    except handshake.HandshakeError as exc:
        raise Refusal(exc.status, exc.reason, exc.fields) from None
    return Opening(connection, scope, line, offer)


def load_class(ws: Any) -> Callable[..., asyncio.Protocol]:
    """The class behind ``ws``: a class as it is, or an import string.

    It is called with the :class:`~devserver.protocol.state.ServerState`; then come ``connection_made`` and, with the
    whole request, ``data_received``.

    :raises ConfigError: there is no such class.
    """
    if not isinstance(ws, str):
        found: Any = ws
    else:
        module, _, attribute = ws.partition(":")
        try:
            found = importlib.import_module(module)
            for part in attribute.split("."):
                found = getattr(found, part)
        except (ImportError, AttributeError) as exc:
            raise ConfigError(f'ws: cannot import "{ws}" ({exc}).') from exc
    if not callable(found):
        raise ConfigError(f'ws: "{ws}" is not a class.')
    factory: Callable[..., asyncio.Protocol] = found
    return factory


class Opening(Exchange):
    """The request that asks for a WebSocket; see :class:`devserver.protocol.websocket.connection.Opening`."""

    __slots__ = ("_http", "_offer", "_websocket")

    def __init__(self, connection: Http1Connection, scope: Scope, line: RequestLine, offer: Offer) -> None:
        super().__init__(connection, scope, line, False, True, False)
        self._offer = offer
        scope["type"] = "websocket"
        scope["scheme"] = "wss" if scope["scheme"] in {"https", "wss"} else "ws"
        scope["subprotocols"] = [*offer.subprotocols]
        scope["extensions"] = {"websocket.http.response": {}}
        del scope["method"]
        self._websocket = WebSocketConnection(connection.state, scope, self)

    async def run(self) -> None:
        """See :class:`devserver.protocol.state.Exchange`."""
        state = self.connection.state
        websocket = self._websocket
        try:
            app: Any = state.app
            result = await app(self.scope, websocket.receive, websocket.send)
        except BaseException as exc:
            if websocket.app_ended(raised=True):
                self._websocket_raised(exc)
            else:
                self._app_raised(exc)
        else:
            if not websocket.app_ended(raised=False) or result is not None:
                self._app_returned(result)
        finally:
            if state.bounded:
                state.release()
            if self.task is not None:
                state.tasks.discard(self.task)
                self.task = None

    @property
    def target(self) -> bytes:
        """The request target as it was received."""
        return self.line.target

    @property
    def offered(self) -> list[str]:
        """The subprotocols that the client speaks."""
        return self._offer.subprotocols

    def accept(self, subprotocol: str | None, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Answers 101 and lets the WebSocket take over the transport (RFC 6455 §4.2.2)."""
        connection = self.connection
        state = connection.state
        fields, agreement = handshake.answer(self._offer, subprotocol, compress=state.config.ws_per_message_deflate)
        pairs = [(bytes(name), bytes(value)) for name, value in headers]
        for name, _ in pairs:
            if name.lower() in _OURS:
                raise AppContractError(f"The field {name!r:.80} of a WebSocket handshake is the server's to send.")
        lines = b"".join(b"%b: %b\r\n" % field for field in fields)
        block = encode_headers(pairs)[0]
        head = SWITCHING_PROTOCOLS + state.default_headers + b"connection: Upgrade\r\n" + lines + block + b"\r\n"
        self.stage = COMPLETE
        if connection.logs_requests:
            self.status = 101
            self._response_headers = pairs
            self._bytes_sent = 0
            self.report(complete=True)
        received = connection.switch(self._websocket, head)
        state.replace(connection, self._websocket)
        self._websocket.write_paused = connection.write_paused
        self._websocket.take_over(connection.transport, received, agreement, eof=connection.eof)

    async def respond(self, message: Message) -> None:
        """Sends one message of an ordinary response."""
        await self.send(message)

    def _websocket_raised(self, exc: BaseException) -> None:
        """The WebSocket has been closed with 1011; what is left is to tell of it."""
        if isinstance(exc, asyncio.CancelledError) or means_disconnected(exc):
            return
        if isinstance(exc, (SystemExit, KeyboardInterrupt)):
            self.connection.state.on_fatal(exc)
        self._announce(exc)

    def disconnect(self, *, lost: bool) -> None:
        """The client has gone before it was answered."""
        super().disconnect(lost=lost)
        self._websocket.client_gone()


def _hand_over(connection: Http1Connection, head: bytes, make: Callable[..., Any]) -> None:
    protocol = make(connection.state)
    transport = connection.transport
    received = connection.switch(protocol, b"")
    connection.state.forget(connection)
    protocol.connection_made(transport)
    protocol.data_received(head + received)
