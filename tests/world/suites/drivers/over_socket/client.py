"""Replaces Starlette's TestClient by a client of a real server: same signature, same results, a socket between.

A server starts with the first request, or with ``with`` when the lifespan is wanted, and ends with the ``with`` block,
the test that made the client, or its module. The client knows nothing of which server it talks to.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, Self
from urllib.parse import urljoin

import httpx2
from starlette.testclient import TestClient

from .servers import RunningServer
from .watched import EXCHANGE_HEADER, Exchange, Watched
from .websocket import WebSocketSession

__all__ = ["SocketClient", "stop_asked"]

END_S = 3.0
"""Timeout for the app to return once its response is complete, in seconds; background tasks run meanwhile."""

REQUEST_S = 15.0
"""Timeout of each step of a request, in seconds: below that of the suites, so that the failure names the request."""

LIVE: set[SocketClient] = set()
"""Clients that have a server; the plugin ends it with the test or the module."""

_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}

STOPPING: list[RunningServer] = []
"""Servers that were asked to stop and have not been waited for."""


def stop_asked() -> None:
    """Forgets the servers that have stopped by now."""
    STOPPING[:] = [server for server in STOPPING if server.is_running]


class SocketClient(TestClient):
    """A TestClient whose requests go over a socket.

    Its arguments are the TestClient's. ``backend`` is ignored: the server has an event loop of its own.
    """

    __test__ = False

    def __init__(
        self,
        app: Any,
        base_url: str = "http://testserver",
        raise_server_exceptions: bool = True,
        root_path: str = "",
        backend: Literal["asyncio", "trio"] = "asyncio",
        backend_options: dict[str, Any] | None = None,
        cookies: Any = None,
        headers: dict[str, str] | None = None,
        follow_redirects: bool = True,
        client: tuple[str, int] = ("testclient", 50000),
    ) -> None:
        super().__init__(
            app,
            base_url,
            raise_server_exceptions,
            root_path,
            backend,
            backend_options,
            cookies,
            headers,
            follow_redirects,
            client,
        )
        self.raise_server_exceptions = raise_server_exceptions
        self.root_path = root_path
        self.address = client
        # What super() has made of the app: it may have been an ASGI 2 one.
        self.watched = Watched(typing.cast("Any", self.app))
        self._server: RunningServer | None = None
        self.in_block = False
        self._transport = SocketTransport(self)

    def server(self) -> RunningServer:
        """Returns the server, and starts it if there is none.

        :raises RuntimeError: it does not start.
        """
        if self._server is None or not self._server.is_running:
            self._serve("off")
        assert self._server is not None
        return self._server

    def leave(self, *, wait: bool = False) -> None:
        """Ends the server, if there is one.

        :param wait: whether to wait until it has stopped.
        """
        server, self._server = self._server, None
        LIVE.discard(self)
        self._transport.close()
        if server is None:
            return
        if wait:
            server.stop()
        else:
            server.ask_to_stop()
            STOPPING.append(server)

    def settle(self, exchange: Exchange, *, always_raise: bool = False) -> None:
        """Waits until the app has returned, and raises its exception as the TestClient does.

        :param always_raise: whether to raise even if ``raise_server_exceptions`` is off.
        """
        if not exchange.begun:
            return
        exchange.ended.wait(END_S)
        if exchange.exception is not None and (always_raise or self.raise_server_exceptions):
            raise exchange.exception

    def exchange(self, url: httpx2.URL) -> Exchange:
        """Makes the account of a request that is about to be sent."""
        exchange = Exchange(url.scheme, self.address, (url.host, url.port or _PORTS[url.scheme]))
        self.watched.expect(exchange)
        return exchange

    def target(self, url: httpx2.URL) -> bytes:
        """Returns the request target. Tests name the whole path; a proxy takes the root path away, as we do."""
        target, prefix = url.raw_path, self.root_path.rstrip("/").encode()
        return target[len(prefix) :] if prefix and target.startswith(prefix + b"/") else target

    def websocket_connect(  # type: ignore[override]
        self, url: str, subprotocols: Sequence[str] | None = None, **kwargs: Any
    ) -> WebSocketSession:
        """Prepares a WebSocket, which connects when it is entered."""
        headers = kwargs.pop("headers", None) or {}
        if subprotocols is not None:
            headers.setdefault("sec-websocket-protocol", ", ".join(subprotocols))
        try:
            # Past the TestClient's own request(): auth and cookies come to the transport as they do with any request.
            httpx2.Client.request(self, "GET", urljoin("ws://testserver", url), headers=headers, **kwargs)
        except Upgrade as upgrade:
            return upgrade.session
        raise AssertionError("the transport hands every WebSocket over")

    def __enter__(self) -> Self:
        self.leave()
        self._serve("on")
        self.in_block = True
        return self

    def __exit__(self, *args: Any) -> None:
        self.in_block = False
        self.watched.lifespan_exception = None
        self.leave(wait=True)
        if self.watched.lifespan_exception is not None:
            raise self.watched.lifespan_exception

    def _serve(self, lifespan: str) -> None:
        self.watched.lifespan_exception = None
        server = RunningServer(self.watched, lifespan=lifespan, root_path=self.root_path)
        if not server.start():
            if self.watched.lifespan_exception is not None:
                raise self.watched.lifespan_exception
            raise RuntimeError("the server did not start") from server.failure
        self._server = server
        LIVE.add(self)


class Upgrade(Exception):
    """A request that turned out to be a WebSocket.

    :param session: the WebSocket, not connected yet.
    """

    def __init__(self, session: WebSocketSession) -> None:
        self.session = session


class SocketTransport(httpx2.BaseTransport):
    """Sends what the client would have given to the app over HTTP/1.1.

    :param client: knows the server, and settles each exchange.
    """

    def __init__(self, client: SocketClient) -> None:
        self._client = client
        self._http: httpx2.HTTPTransport | None = None
        self._reused = 0
        """How many requests the open connections have had an answer to."""

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Sends the request, and returns the response with its body still to be read."""
        exchange = self._client.exchange(request.url)
        if request.url.scheme in {"ws", "wss"}:
            raise Upgrade(WebSocketSession(self._client, request, exchange))
        try:
            response = self._send(request, exchange)
        except (httpx2.ReadError, httpx2.WriteError, httpx2.RemoteProtocolError):
            if exchange.begun or self._reused == 0 or not isinstance(request.stream, httpx2.ByteStream):
                self._client.settle(exchange)
                raise
            # The server closed a connection that was idle while the request was on its way: RFC 9112 §9.3.1 lets a
            # client try again on a new one, and all do.
            self.close()
            response = self._send(request, exchange)
        except httpx2.TransportError:
            self._client.settle(exchange)
            raise
        assert isinstance(response.stream, httpx2.SyncByteStream)
        response.stream = Settled(response.stream, lambda: self._client.settle(exchange))
        response.request = request
        # The app has sent it before it sent the head.
        if exchange.debug is not None:
            response.extensions["http.response.debug"] = exchange.debug
            for name in ("template", "context"):
                if name in exchange.debug:
                    setattr(response, name, exchange.debug[name])
        return response

    def close(self) -> None:
        """Closes the connections."""
        self._reused = 0
        if self._http is not None:
            self._http.close()
            self._http = None

    def _send(self, request: httpx2.Request, exchange: Exchange) -> httpx2.Response:
        server = self._client.server()
        if self._http is None:
            self._http = httpx2.HTTPTransport(trust_env=False)
        url = httpx2.URL(scheme="http", host="127.0.0.1", port=server.port, raw_path=self._client.target(request.url))
        sent = httpx2.Request(
            request.method,
            url,
            headers=[*request.headers.raw, (EXCHANGE_HEADER.encode(), exchange.number.encode())],
            stream=request.stream,
            extensions={**request.extensions, "timeout": httpx2.Timeout(REQUEST_S).as_dict()},
        )
        response = self._http.handle_request(sent)
        self._reused += 1
        return response


class Settled(httpx2.SyncByteStream):
    """The body of a response; when it is closed, the app's end is waited for.

    :param stream: the body.
    :param settle: waits for the app, and raises its exception.
    """

    def __init__(self, stream: httpx2.SyncByteStream, settle: Callable[[], None]) -> None:
        self._stream = stream
        self._settle: Callable[[], None] | None = settle

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._stream)

    def close(self) -> None:
        """Closes the body, then settles; only once, however often it is called."""
        settle, self._settle = self._settle, None
        try:
            self._stream.close()
        finally:
            if settle is not None:
                settle()
