"""Puts a socket into Django's test client, between the request that it makes and the handler that answers.

The client's handler is called by a real server with the environ that the server made of the bytes. What comes back over
the socket must be what the handler answered: status, headers, cookies and body. The test gets the handler's own
response object, because tests look at its context, templates and request.
"""

from __future__ import annotations

import contextvars
import http.client
import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import quote

from django.core.handlers.wsgi import LimitedStream
from django.db import connections
from django.test.client import ClientHandler

from . import django_servers as servers

__all__ = ["install"]

EXCHANGE_HEADER = "X-World-Exchange"
EXCHANGE_KEY = "HTTP_X_WORLD_EXCHANGE"

REQUEST_S = 20.0
"""Timeout of each step of a request, in seconds."""

_FROM_THE_WIRE = {
    "REQUEST_METHOD",
    "PATH_INFO",
    "QUERY_STRING",
    "CONTENT_TYPE",
    "CONTENT_LENGTH",
    "SERVER_PROTOCOL",
}
"""Keys that the server makes of the bytes. Others, such as REMOTE_ADDR or a key of the test's own, are the test's."""

_OF_THE_SERVER = {"date", "server", "connection", "keep-alive", "transfer-encoding", "content-length"}
"""Headers that a server may add."""

_original = ClientHandler.__call__
_numbers = itertools.count(1)
_exchanges: dict[str, Exchange] = {}
_local = threading.local()
_port = 0


class Exchange:
    """One request of the test client.

    :param handler: what the client would have called.
    :param environ: what the client would have called it with.
    """

    def __init__(self, handler: ClientHandler, environ: dict[str, Any]) -> None:
        self.handler = handler
        self.extra = {
            key: value
            for key, value in environ.items()
            if key not in _FROM_THE_WIRE
            and not key.startswith("HTTP_")
            and (key == "wsgi.url_scheme" or "." not in key)
        }
        self.context = contextvars.copy_context()
        self.connections = {connection.alias: connection for connection in connections.all(initialized_only=True)}
        self.begun = False
        self.response: Any = None
        self.exception: BaseException | None = None


def install() -> None:
    """Starts the server, and replaces the handler of every test client."""
    global _port
    _port = servers.start(_app)
    ClientHandler.__call__ = _call


def _call(self: ClientHandler, environ: dict[str, Any]) -> Any:
    exchange = Exchange(self, environ)
    number = str(next(_numbers))
    _exchanges[number] = exchange
    for connection in exchange.connections.values():
        connection.inc_thread_sharing()
    content = environ["wsgi.input"].read()
    try:
        try:
            status, headers, body = _fetch(environ, content, number)
        except (ConnectionError, http.client.RemoteDisconnected):
            if exchange.begun:
                raise
            # The server closed a connection that was idle while the request was on its way: RFC 9112 §9.3.1 lets a
            # client try again on a new one, and all do.
            status, headers, body = _fetch(environ, content, number)
    finally:
        for connection in exchange.connections.values():
            connection.dec_thread_sharing()
        _exchanges.pop(number, None)
    if exchange.exception is not None:
        raise exchange.exception
    if exchange.response is None:
        raise AssertionError(f"the request did not reach the app: {status} {body[:200]!r}")
    _compare(exchange.response, environ, status, headers, body)
    return exchange.response


def _fetch(environ: dict[str, Any], body: bytes, number: str) -> tuple[int, list[tuple[str, str]], bytes]:
    """Sends the request over a kept connection, and returns status, headers and body."""
    connection = getattr(_local, "connection", None)
    if connection is None:
        connection = _local.connection = http.client.HTTPConnection("127.0.0.1", _port, timeout=REQUEST_S)
    target = quote(environ["PATH_INFO"].encode("latin-1"), safe="/~:@!$&'()*+,;=") or "/"
    if environ.get("QUERY_STRING"):
        target += "?" + environ["QUERY_STRING"]
    try:
        connection.putrequest(environ["REQUEST_METHOD"], target, skip_host=True, skip_accept_encoding=True)
        host = environ["SERVER_NAME"] + ("" if environ["SERVER_PORT"] == "80" else f":{environ['SERVER_PORT']}")
        connection.putheader("Host", environ.get("HTTP_HOST", host))
        for key, value in environ.items():
            if key.startswith("HTTP_") and key != "HTTP_HOST":
                connection.putheader(key[5:].replace("_", "-").title(), str(value).encode("latin-1"))
        if environ.get("CONTENT_TYPE"):
            connection.putheader("Content-Type", environ["CONTENT_TYPE"].encode("latin-1"))
        if body or environ["REQUEST_METHOD"] in {"POST", "PUT", "PATCH"}:
            connection.putheader("Content-Length", str(len(body)))
        connection.putheader(EXCHANGE_HEADER, number)
        connection.endheaders(body or None)
        response = connection.getresponse()
        return response.status, response.getheaders(), response.read()
    except BaseException:
        connection.close()
        _local.connection = None
        raise


def _app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Does what Django's WSGIHandler does, with the handler and the database connections of the test client."""
    exchange = _exchanges[environ.pop(EXCHANGE_KEY)]
    exchange.begun = True
    for alias, connection in exchange.connections.items():
        connections[alias] = connection
    environ.update(exchange.extra)
    # The client reads ahead of what a view may read; its own input has an end, a socket's has not.
    environ["wsgi.input"] = LimitedStream(environ["wsgi.input"], int(environ.get("CONTENT_LENGTH") or 0))
    try:
        response = exchange.context.run(_original, exchange.handler, environ)
    except BaseException as exc:
        exchange.exception = exc
        start_response("500 Internal Server Error", [("Content-Length", "0")])
        return []
    exchange.response = response
    headers = [*response.items(), *(("Set-Cookie", morsel.OutputString()) for morsel in response.cookies.values())]
    start_response(f"{response.status_code} {response.reason_phrase}", headers)
    if response.streaming and not response.is_async and getattr(response, "file_to_stream", None) is not None:
        wrapper: Iterable[bytes] = environ["wsgi.file_wrapper"](response.file_to_stream, response.block_size)
        return wrapper
    return _in_context(exchange, iter(response))


def _in_context(exchange: Exchange, pieces: Iterator[bytes]) -> Iterator[bytes]:
    while True:
        piece = exchange.context.run(next, pieces, None)
        if piece is None:
            return
        yield piece


def _compare(response: Any, environ: dict[str, Any], status: int, headers: list[tuple[str, str]], body: bytes) -> None:
    """Compares what arrived with what the handler answered.

    :raises AssertionError: they differ.
    """
    assert status == response.status_code, f"status {response.status_code} arrived as {status}"
    arrived = sorted((name.lower(), value) for name, value in headers if name.lower() not in _OF_THE_SERVER)
    sent = [(name.lower(), value.strip()) for name, value in response.items() if name.lower() not in _OF_THE_SERVER]
    sent += [("set-cookie", morsel.OutputString()) for morsel in response.cookies.values()]
    assert arrived == sorted(sent), f"headers {sorted(sent)} arrived as {arrived}"
    if environ["REQUEST_METHOD"] == "HEAD":
        assert body == b"", f"a HEAD response has a body: {body[:100]!r}"
    elif response.streaming:
        response.streaming_content = [body]
    else:
        assert body == response.content, f"body {response.content[:100]!r} arrived as {body[:100]!r}"
