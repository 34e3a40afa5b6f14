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
from devserver.protocol.http1.exchange import AWAITING_BODY, COMPLETE, Exchange, is_thrown_away
from devserver.protocol.http1.refusal import Refusal
from devserver.protocol.http1.response import HAS_DATE, HAS_SERVER, SWITCHING_PROTOCOLS, encode_headers
from devserver.protocol.websocket import handshake
from devserver.protocol.websocket.connection import WebSocketConnection, WebSocketDisconnected

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
_CAUSES_MAX = 16
"""Exceptions that are followed from the one that left the app to the one that ``send`` raised."""


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
            if is_thrown_away(exc):
                raise
            self._websocket_raised(exc, accepted=websocket.app_ended(raised=True))
        else:
            accepted = websocket.app_ended(raised=False)
            if not accepted and self.stage == AWAITING_BODY:
                self._complete_denial()
            if not accepted or result is not None:
                self._app_returned(result)
        finally:
            if state.bounded:
                state.release()
            if self.task is not None:
                state.tasks.discard(self.task)
                self.task = None

    def end_turn(self) -> None:
        """Keeps the head of a denial response for its first body message, whether or not the app suspends between."""

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
        pairs, subprotocol = self._own_fields(headers, subprotocol)
        fields, agreement = handshake.answer(self._offer, subprotocol, compress=state.config.ws_per_message_deflate)
        lines = b"".join(b"%b: %b\r\n" % field for field in fields)
        block, _, flags = encode_headers(pairs)
        default = state.default_headers
        if flags & (HAS_DATE | HAS_SERVER):
            default = state.headers_without(date=bool(flags & HAS_DATE), server=bool(flags & HAS_SERVER))
        head = SWITCHING_PROTOCOLS + default + b"connection: Upgrade\r\n" + lines + block + b"\r\n"
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

    def _own_fields(
        self, headers: Iterable[tuple[bytes, bytes]], subprotocol: str | None
    ) -> tuple[list[tuple[bytes, bytes]], str | None]:
        """The app's fields without those that the server sends, and the subprotocol, which some apps send as a field.

        :raises AppContractError: a field is not a pair of byte strings.
        """
        pairs = []
        for field in headers:
            try:
                name, value = (part if isinstance(part, bytes) else _bytes(part) for part in field)
            except (TypeError, ValueError) as exc:
                raise AppContractError(f"The headers of a WebSocket must be pairs of byte strings: {exc}.") from exc
            lowered = name.lower()
            if lowered not in _OURS:
                pairs.append((name, value))
                continue
            if lowered == b"sec-websocket-protocol":
                chosen = value.strip().decode("latin-1")
                if subprotocol is None and chosen in self._offer.subprotocols:
                    subprotocol = chosen
                if subprotocol == chosen:
                    continue
            self.connection.state.warn_once(
                lowered.decode("latin-1"),
                f"The app accepted a WebSocket with the header {name!r}: {value!r:.80}, which is the server's to send. "
                "It was left out.",
            )
        return pairs, subprotocol

    async def respond(self, message: Message) -> None:
        """Sends one message of an ordinary response."""
        await self.send(message)

    def _complete_denial(self) -> None:
        """Sends a denial response whose app has returned without a body message."""
        if self.connection.lost:
            return
        try:
            self._send_body(b"", more_body=False)
        except AppContractError:
            # Its Content-Length promises a body; the app is told that it has not completed the response.
            return
        self.connection.state.warn_once(
            "denial",
            'The app returned after "websocket.http.response.start" without a body message. An empty body was sent.',
        )

    def _websocket_raised(self, exc: BaseException, *, accepted: bool) -> None:
        """Tells of an exception that left the app. An open WebSocket has been closed with 1011 already."""
        if isinstance(exc, BaseExceptionGroup):
            # Tasks that failed because the client has gone do not hide the one that failed by itself.
            _, rest = exc.split(lambda each: _means_end_of(each, self._websocket))
            exc = rest or exc
        if _means_end_of(exc, self._websocket):
            if not accepted and self.stage != COMPLETE and not self.connection.lost:
                self.connection.abandon(self)
            return
        if not accepted:
            self._app_raised(exc)
            return
        state = self.connection.state
        if self.task in state.cancelled and isinstance(exc, asyncio.CancelledError):
            return
        if isinstance(exc, KeyboardInterrupt):
            state.on_fatal(exc)
        self._announce(exc)

    def disconnect(self, *, lost: bool) -> None:
        """The client has gone before it was answered."""
        super().disconnect(lost=lost)
        self._websocket.client_gone()


def _means_end_of(exc: BaseException | None, websocket: WebSocketConnection) -> bool:
    """Whether an exception is what ``send`` of this WebSocket raised, or was raised in its place.

    In its place stand an exception raised from it, and one that is raised while it is handled and is named after it:
    Starlette has a WebSocketDisconnect of its own. Anything else that is raised in a handler is a mistake of the app.
    """
    for _ in range(_CAUSES_MAX):
        if isinstance(exc, WebSocketDisconnected):
            return exc.websocket is websocket
        if isinstance(exc, BaseExceptionGroup):
            return all(_means_end_of(each, websocket) for each in exc.exceptions)
        if exc is None:
            return False
        if exc.__cause__ is None and "disconnect" not in type(exc).__name__.lower():
            return False
        exc = exc.__cause__ or exc.__context__
    return False


def _bytes(part: object) -> bytes:
    if not isinstance(part, (bytearray, memoryview)):
        raise TypeError(f"{type(part).__name__} is none")
    return bytes(part)


def _hand_over(connection: Http1Connection, head: bytes, make: Callable[..., Any]) -> None:
    protocol = make(connection.state)
    transport = connection.transport
    received = connection.switch(protocol, b"")
    connection.state.forget(connection)
    protocol.connection_made(transport)
    protocol.data_received(head + received)
