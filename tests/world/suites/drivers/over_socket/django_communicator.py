"""Replaces asgiref's ApplicationCommunicator by one whose messages cross a socket, for Django's ASGI tests."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

import asgiref.testing

from .servers import RunningServer
from .watched import EXCHANGE_HEADER, Exchange, Watched

__all__ = ["SocketCommunicator", "install"]

_OF_THE_SERVER = {b"connection", b"transfer-encoding", b"date", b"server"}
"""Headers that a server may add."""


def install() -> None:
    """Replaces the communicator, before a test module takes its name."""
    asgiref.testing.ApplicationCommunicator = SocketCommunicator  # type: ignore[assignment, misc]


class SocketCommunicator:
    """Sends ASGI messages to an app as HTTP, and reads back the app's as messages.

    :param application: an ASGI 3 app.
    :param scope: of the request that is made; what no request can carry is left out.
    """

    def __init__(self, application: Any, scope: dict[str, Any]) -> None:
        self._scope = scope
        self._watched = Watched(application)
        host, port = scope.get("server") or ("testserver", 80)
        client = tuple(scope.get("client") or ("127.0.0.1", 0))
        self._exchange = Exchange(scope.get("scheme") or "http", client, (host, int(port)))
        self._watched.expect(self._exchange)
        self._server: RunningServer | None = None
        self._begun_sending = False
        self._chunked = False
        self._begun = False
        self._length: int | None = None
        self._complete = False

    async def send_input(self, message: dict[str, Any]) -> None:
        """Sends ``http.request`` as head and body, and ``http.disconnect`` by closing the connection.

        :raises ValueError: no client can send this message.
        """
        if self._server is None:
            self._server = RunningServer(self._watched, lifespan="off")
            await self._server.start_here()
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._server.port)
        if message["type"] == "http.disconnect":
            self._writer.close()
        elif message["type"] == "http.request":
            self._send_body(message.get("body", b""), more=message.get("more_body", False))
            await self._writer.drain()
        else:
            raise ValueError(f"a client cannot send {message['type']}")

    async def receive_output(self, timeout: float = 1) -> dict[str, Any]:  # noqa: ASYNC109
        """Waits for a part of the response: first its head, then pieces of its body.

        :raises TimeoutError: nothing came.
        """
        async with asyncio.timeout(timeout):
            try:
                if not self._begun:
                    return await self._head()
                return await self._piece()
            except (asyncio.IncompleteReadError, ConnectionError):
                await self._raise_exception()
                # Without a connection nothing more comes, which is what the original says with its timeout.
                await asyncio.Event().wait()
        raise AssertionError("unreachable")

    async def wait(self, timeout: float = 1) -> None:  # noqa: ASYNC109
        """Waits until the app has returned, raises its exception, and ends the server."""
        if self._server is None:
            return
        try:
            await asyncio.to_thread(self._exchange.ended.wait, timeout)
            await self._raise_exception()
        finally:
            self._writer.close()
            await self._server.stop_here()

    async def _raise_exception(self) -> None:
        exception = self._exchange.exception
        if exception is not None and not isinstance(exception, asyncio.CancelledError):
            raise exception

    def _send_body(self, body: bytes, *, more: bool) -> None:
        scope = self._scope
        names = {bytes(name).lower() for name, _ in scope["headers"]}
        chunked = more or b"transfer-encoding" in names
        if not self._begun_sending:
            query = scope.get("query_string") or b""
            target = quote(scope["path"]).encode() + (b"?" if query else b"")
            target += query.encode() if isinstance(query, str) else query
            lines = [scope["method"].encode() + b" " + target + b" HTTP/1.1"]
            lines += [bytes(name) + b": " + bytes(value) for name, value in scope["headers"]]
            if b"host" not in names:
                lines.append(b"host: testserver")
            lines.append(EXCHANGE_HEADER.encode() + b": " + self._exchange.number.encode())
            if chunked:
                lines.append(b"transfer-encoding: chunked")
            elif body and b"content-length" not in names:
                lines.append(b"content-length: %d" % len(body))
            self._writer.write(b"\r\n".join(lines) + b"\r\n\r\n")
            self._begun_sending, self._chunked = True, chunked
        if not self._chunked:
            self._writer.write(body)
            return
        if body:
            self._writer.write(b"%x\r\n%b\r\n" % (len(body), body))
        if not more:
            self._writer.write(b"0\r\n\r\n")

    async def _head(self) -> dict[str, Any]:
        # Servers send names in lower case, which is the same to HTTP and not to the tests.
        head = await self._reader.readuntil(b"\r\n\r\n")
        status_line, *lines = head[:-4].split(b"\r\n")
        headers = []
        for line in lines:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                self._length = int(value)
            if name.lower() not in _OF_THE_SERVER:
                headers.append((name.title(), value.strip()))
        status = int(status_line.split()[1])
        if status in {204, 304}:
            self._length = 0
        self._begun = True
        return {"type": "http.response.start", "status": status, "headers": headers}

    async def _piece(self) -> dict[str, Any]:
        if self._complete:
            await asyncio.Event().wait()
        if self._length is not None:
            body = await self._reader.readexactly(self._length)
            self._complete = True
        else:
            size = int((await self._reader.readuntil(b"\r\n")).strip(), 16)
            body = (await self._reader.readexactly(size + 2))[:-2]
            self._complete = size == 0
        return {"type": "http.response.body", "body": body, "more_body": not self._complete}
