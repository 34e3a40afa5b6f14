"""WebSockets in WSGI apps: the socket in the environ, from the handshake to the end, over real connections."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import queue
import socket
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
import simple_websocket  # type: ignore[import-untyped]
from simple_websocket import ConnectionClosed
from starlette.applications import Starlette
from starlette.routing import Mount
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK, InvalidStatus
from websockets.sync.client import ClientConnection, connect

import devserver
from devserver.app import wsgi as adapter
from devserver.app import wsgi_websocket as bridge
from devserver.events import AppRaised, RequestFinished, WebSocketClosed
from tests.support.server import serving, until
from tests.support.websocket import BINARY, CONTINUATION, PING, SAMPLE_KEY, TEXT, client_frame, client_text
from tests.support.wsgi import Environ, client_of, hello, request, serving_wsgi

if TYPE_CHECKING:
    from tests.support.server import Running
    from tests.support.wire import WireClient

PLAIN = [("Content-Type", "text/plain")]
ASKS = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
KEY = f"Sec-WebSocket-Key: {SAMPLE_KEY.decode()}"
HEAD = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"


@pytest.fixture(autouse=True)
def threads_end() -> Iterator[None]:
    """Threads of a mounted app, whose lifespan nobody runs, end with the app."""
    before = {*threading.enumerate()}
    yield
    until(lambda: gc.collect() >= 0 and not [each for each in left(before) if each.name.startswith("wsgi-")])


def left(before: set[threading.Thread]) -> set[threading.Thread]:
    """The threads that have come since."""
    return {*threading.enumerate()} - before


def echo(environ: Environ, start_response: Any) -> list[bytes]:
    """Sends everything back, in the way of simple-websocket's documentation."""
    ws = simple_websocket.Server(environ)
    with contextlib.suppress(ConnectionClosed):
        while True:
            ws.send(ws.receive())
    return []


class Raw:
    """An app that writes to the socket itself; ``then`` is called with it after the head has been written."""

    def __init__(self, then: Any, head: bytes = HEAD) -> None:
        self.then = then
        self.head = head
        self.told: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def __call__(self, environ: Environ, start_response: Any) -> Any:
        sock = environ["gunicorn.socket"]
        sock.sendall(self.head)
        return self.then(self, sock, start_response)


def read_end(sock: socket.socket) -> bytes:
    """Everything up to the end."""
    data = b""
    while part := sock.recv(65536):
        data += part
    return data


def nothing_more(self: Raw, sock: socket.socket, start_response: Any) -> list[bytes]:
    """The end of an app that has only written a head."""
    return []


def opened(client: WireClient) -> bytes:
    """Reads the head of the response, and nothing behind it."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += client.read(1)
    return head


def frame(opcode: int, payload: bytes, *, fin: bool = True) -> bytes:
    """As a server sends it."""
    return client_frame(opcode, payload, fin=fin, mask=None)


@contextlib.contextmanager
def connected(running: Running, path: str = "/", **options: Any) -> Iterator[ClientConnection]:
    """A client of another maker."""
    with connect(f"ws://127.0.0.1:{running.port}{path}", max_size=None, **options) as client:
        yield client


def logged(running: Running, kind: type) -> list[Any]:
    """The events of later connections, which go to nobody unless somebody listens."""
    events: list[Any] = []
    running.server.emitter.listen(events.append, (kind,))
    return events


def closed_with(client: ClientConnection) -> tuple[int, str]:
    """The status code and reason that end what the server sends."""
    received: Any = None
    try:
        while True:
            client.recv(30)
    except (ConnectionClosedOK, ConnectionClosedError) as exc:
        received = exc.rcvd
    assert received is not None
    return received.code, received.reason


# Messages


def test_messages_go_both_ways_whatever_their_size() -> None:
    with serving_wsgi(echo, checked=False) as running:
        requests, sockets = logged(running, RequestFinished), logged(running, WebSocketClosed)
        exchange_messages(running)
        until(lambda: sockets)
        (event,) = sockets
        assert (event.code, event.reason, event.messages_received, event.messages_sent) == (4001, "enough", 6, 6)
        assert [each.status for each in requests] == [101]
        assert running.of(AppRaised) == []


def exchange_messages(running: Running) -> None:
    with connected(running) as client:
        for message in ("", "é" * 100, b"", b"\xff" * 126, b"x" * 65536, "y" * 3_000_000):
            client.send(message)
            assert client.recv(30) == message
        client.close(4001, "enough")


def test_both_names_are_one_blocking_socket_and_extensions_are_not_offered() -> None:
    seen: list[Environ] = []

    def app(environ: Environ, start_response: Any) -> list[bytes]:
        seen.append(environ)
        return echo(environ, start_response)

    with serving_wsgi(app, checked=False) as running, connected(running, "/a?b=c") as client:
        client.send("x" * 1000)
        assert client.recv(30) == "x" * 1000
        # The server itself has agreed on it with the client.
        assert [extension.name for extension in client.protocol.extensions] == ["permessage-deflate"]
    (environ,) = seen
    assert environ["werkzeug.socket"] is environ["gunicorn.socket"]
    assert environ["REQUEST_METHOD"] == "GET"
    assert environ["wsgi.url_scheme"] == "http"
    assert environ["REQUEST_URI"] == "/a?b=c"
    assert "HTTP_SEC_WEBSOCKET_EXTENSIONS" not in environ


def test_bytes_right_behind_the_handshake_arrive() -> None:
    with serving_wsgi(echo, checked=False) as running, client_of(running) as client:
        client.send(request("/", *ASKS, KEY) + client_text("early") + client_text("bird"))
        assert opened(client).startswith(b"HTTP/1.1 101 ")
        assert client.read(13) == frame(TEXT, b"early") + frame(TEXT, b"bird")


def test_cookies_and_the_subprotocol_of_the_apps_answer_reach_the_client() -> None:
    head = HEAD[:-2] + b"Set-Cookie: a=b\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
    app = Raw(nothing_more, head)
    with serving_wsgi(app, checked=False) as running, connected(running, subprotocols=["x", "chat"]) as client:
        assert client.subprotocol == "chat"
        assert client.response is not None
        assert client.response.headers["Set-Cookie"] == "a=b"


def test_pings_of_the_app_are_answered() -> None:
    def app(self: Raw, sock: socket.socket, start_response: Any) -> list[bytes]:
        sock.sendall(frame(PING, b"there?"))
        self.told.put(sock.recv(100))
        return []

    raw = Raw(app)
    with serving_wsgi(raw, checked=False) as running, connected(running):
        assert raw.told.get(timeout=30) == client_frame(0xA, b"there?", mask=bytes(4))


def test_fragments_of_the_app_arrive_as_one_message() -> None:
    def app(self: Raw, sock: socket.socket, start_response: Any) -> list[bytes]:
        sock.sendall(frame(BINARY, b"a", fin=False) + frame(CONTINUATION, b"b"))
        sock.sendall(frame(0x8, b"\x03\xe8"))
        return []

    with serving_wsgi(Raw(app), checked=False) as running, connected(running) as client:
        assert client.recv(30) == b"ab"
        assert closed_with(client) == (1000, "")


def test_app_that_does_not_read_holds_the_client_up() -> None:
    """Its messages wait in the client, not in our memory."""
    go = threading.Event()

    def app(self: Raw, sock: socket.socket, start_response: Any) -> list[bytes]:
        assert go.wait(30)
        self.told.put(len(read_end(sock)))
        return []

    raw = Raw(app)
    with serving_wsgi(raw, checked=False, ws_per_message_deflate=False) as running, client_of(running) as client:
        client.send(request("/", *ASKS, KEY))
        client.read(12)
        client.socket.settimeout(0.5)
        with pytest.raises(TimeoutError):
            client.socket.sendall(client_frame(BINARY, bytes(1 << 20)) * 64)
        go.set()
        client.reset()
        raw.told.get(timeout=30)


# The ways an app can answer


def test_app_without_websockets_answers_as_to_any_request() -> None:
    with serving_wsgi(hello, checked=False) as running, client_of(running) as client:
        client.send(request("/", *ASKS, KEY))
        response = client.response()
        assert (response.status, response.body, response.get("content-type")) == (200, b"hello", "text/plain")


def test_socket_that_is_not_taken_is_closed() -> None:
    sockets: list[socket.socket] = []

    def app(environ: Environ, start_response: Any) -> Iterator[bytes]:
        sockets.append(environ["werkzeug.socket"])
        start_response("404 Not Found", PLAIN)
        yield b"no"
        yield b"thing"

    with serving_wsgi(app, checked=False) as running:
        with pytest.raises(InvalidStatus) as caught, connected(running):
            pass
        assert caught.value.response.body == b"nothing"
        until(lambda: sockets[0].fileno() == -1)


def test_error_before_the_handshake_is_an_error_page() -> None:
    def app(environ: Environ, start_response: Any) -> list[bytes]:
        raise ValueError("no")

    with serving_wsgi(app, checked=False) as running:
        with pytest.raises(InvalidStatus) as caught, connected(running):
            pass
        assert caught.value.response.status_code == 500
        assert [event.failure.message for event in running.of(AppRaised)] == ["no"]


def test_refusal_written_to_the_socket_reaches_the_client() -> None:
    head = b"HTTP/1.1 403 Forbidden\r\nX-Why: because\r\nContent-Length: 4\r\n\r\nno"

    def app(self: Raw, sock: socket.socket, start_response: Any) -> list[bytes]:
        sock.sendall(b"pe, and this is too much")
        return []

    with serving_wsgi(Raw(app, head), checked=False) as running:
        with pytest.raises(InvalidStatus) as caught, connected(running):
            pass
        response = caught.value.response
        assert (response.status_code, response.body, response.headers["X-Why"]) == (403, b"nope", "because")


def test_refusal_without_a_length_ends_with_the_app() -> None:
    app = Raw(nothing_more, b"HTTP/1.1 401 Unauthorized\r\n\r\nwho")
    with serving_wsgi(app, checked=False) as running:
        with pytest.raises(InvalidStatus) as caught, connected(running):
            pass
        assert (caught.value.response.status_code, caught.value.response.body) == (401, b"who")


def test_long_refusal_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridge, "DENIAL_MAX", 10)
    app = Raw(nothing_more, b"HTTP/1.1 401 Unauthorized\r\n\r\n" + bytes(11))
    with serving_wsgi(app, checked=False) as running:
        with pytest.raises(InvalidStatus) as caught, connected(running):
            pass
        assert caught.value.response.status_code == 500
        assert "more than 10 bytes" in running.of(AppRaised)[0].failure.message


@pytest.mark.parametrize("head", [b"hello", b"hello\r\n\r\n", b"HTTP/1.1 101 x\r\n"])
def test_what_is_no_response_head_is_an_error(head: bytes) -> None:
    with serving_wsgi(Raw(nothing_more, head), checked=False) as running:
        with pytest.raises(InvalidStatus) as caught, connected(running):
            pass
        assert caught.value.response.status_code == 500
        assert "its" in running.of(AppRaised)[0].failure.message


@pytest.mark.parametrize("data", [b"no frame", frame(TEXT, b"\xff")])
def test_what_is_no_message_closes_with_1011(data: bytes) -> None:
    def app(self: Raw, sock: socket.socket, start_response: Any) -> list[bytes]:
        sock.sendall(data)
        self.told.put(read_end(sock))
        return []

    raw = Raw(app)
    with serving_wsgi(raw, checked=False) as running, connected(running) as client:
        assert closed_with(client)[0] == 1011
        raw.told.get(timeout=30)
        assert running.of(AppRaised)[0].failure.message.startswith("The app ")


def end_with(kind: str, start_response: Any) -> Any:
    """What a WSGI app may do at its end."""
    if kind == "list":
        start_response("200 OK", PLAIN)
        return [b"left over"]
    if kind == "generator":
        start_response("200 OK", PLAIN)
        return (bytes(100_000) for _ in range(10))
    raise {"stop": StopIteration(), "connection": ConnectionError()}[kind]


@pytest.mark.parametrize("kind", ["list", "generator", "stop", "connection"])
def test_nothing_but_frames_is_written_once_the_socket_is_taken(kind: str) -> None:
    """Libraries end with a response, or with what gunicorn or Werkzeug's server understand."""

    def app(self: Raw, sock: socket.socket, start_response: Any) -> Any:
        sock.sendall(frame(TEXT, b"hi") + frame(0x8, b"\x03\xe8"))
        return end_with(kind, start_response)

    with serving_wsgi(Raw(app), checked=False, threads=1) as running:
        for _ in range(3):
            with client_of(running) as client:
                client.send(request("/", *ASKS, KEY))
                opened(client)
                assert client.read(8) == frame(TEXT, b"hi") + frame(0x8, b"\x03\xe8")
                client.send(client_frame(0x8, b"\x03\xe8"))
                assert client.read_to_end() == b""
        assert running.of(AppRaised) == []


def test_file_that_is_returned_after_all_is_closed(tmp_path: Any) -> None:
    (tmp_path / "file").write_bytes(b"left over")
    file = (tmp_path / "file").open("rb")

    def app(environ: Environ, start_response: Any) -> Any:
        ws = simple_websocket.Server(environ)
        ws.close()
        start_response("200 OK", PLAIN)
        return environ["wsgi.file_wrapper"](file)

    with serving_wsgi(app, checked=False) as running, connected(running) as client:
        assert closed_with(client)[0] == 1000
        until(lambda: file.closed)


def test_error_of_the_app_is_told_and_closes_with_1011() -> None:
    def app(self: Raw, sock: socket.socket, start_response: Any) -> Any:
        raise ValueError("broken")

    with serving_wsgi(Raw(app), checked=False) as running, connected(running) as client:
        assert closed_with(client)[0] == 1011
        until(lambda: running.of(AppRaised))
        assert [event.failure.message for event in running.of(AppRaised)] == ["broken"]


# Clients that go, and servers that stop


@pytest.mark.parametrize("how", ["reset", "close", "shut"])
def test_client_that_leaves_frees_the_thread(how: str) -> None:
    with serving_wsgi(echo, checked=False, threads=1) as running:
        for _ in range(3):
            with client_of(running) as client:
                client.send(request("/", *ASKS, KEY) + client_text("hi"))
                client.read(20)
                getattr(client, how)()
        # Whoever comes now is served by the one thread there is.
        with connected(running) as another:
            another.send("free")
            assert another.recv(30) == "free"
        assert running.of(AppRaised) == []


def test_client_that_leaves_before_the_answer_ends_a_read_of_the_app() -> None:
    told: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def app(environ: Environ, start_response: Any) -> list[bytes]:
        told.put(b"called")
        told.put(read_end(environ["werkzeug.socket"]))
        start_response("200 OK", PLAIN)
        return []

    with serving_wsgi(app, checked=False) as running:
        with client_of(running) as client:
            client.send(request("/", *ASKS, KEY))
            assert told.get(timeout=30) == b"called"
        assert told.get(timeout=30) == b""


def test_app_that_goes_on_writing_gets_an_error_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridge, "ABANDON_S", 0.05)

    def app(self: Raw, sock: socket.socket, start_response: Any) -> Any:
        try:
            while True:
                sock.sendall(frame(BINARY, bytes(1000)))
        except OSError as exc:
            self.told.put(exc)
            raise

    raw = Raw(app)
    with serving_wsgi(raw, checked=False) as running:
        with client_of(running) as client:
            client.send(request("/", *ASKS, KEY))
            client.read(1000)
        assert isinstance(raw.told.get(timeout=30), OSError)
    assert running.of(AppRaised) == []


def test_stopping_the_server_closes_with_1012_and_ends_the_app() -> None:
    codes: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def app(environ: Environ, start_response: Any) -> list[bytes]:
        ws = simple_websocket.Server(environ)
        try:
            while True:
                ws.send(ws.receive())
        except ConnectionClosed as exc:
            codes.put(exc.reason)
        return []

    with serving_wsgi(app, checked=False) as running, connected(running) as client:
        client.send("hi")
        assert client.recv(30) == "hi"
        running.server.should_exit = True
        assert closed_with(client)[0] == 1012
        assert codes.get(timeout=30) == 1012
        running.join()


def test_app_that_does_not_end_is_cut_off_when_time_is_up() -> None:
    """``read`` ends although the app has been told and has ignored it."""

    def app(self: Raw, sock: socket.socket, start_response: Any) -> Any:
        read_end(sock)
        try:
            while True:
                sock.sendall(frame(BINARY, b"still here"))
        except OSError as exc:
            self.told.put(exc)
        return []

    raw = Raw(app)
    with serving_wsgi(raw, checked=False, timeout_graceful_shutdown=1) as running, connected(running) as client:
        running.server.should_exit = True
        assert closed_with(client)[0] == 1012
        running.join()
        assert isinstance(raw.told.get(timeout=30), OSError)


# Threads


def test_handshakes_wait_for_a_thread_and_past_the_limit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "WAITING_MAX", 1)
    with serving_wsgi(echo, checked=False, threads=1) as running, connected(running) as first:
        first.send("a")
        assert first.recv(30) == "a"
        with client_of(running) as second:
            second.send(request("/", *ASKS, KEY))
            state = running.server.server_state
            assert state is not None
            until(lambda: len(state.tasks) == 2)
            with pytest.raises(InvalidStatus) as caught, connected(running):
                pass
            assert caught.value.response.status_code == 503
            assert caught.value.response.headers["Retry-After"] == "5"
            first.close()
            assert second.read(12) == b"HTTP/1.1 101"


def test_client_that_does_not_wait_for_a_thread_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "STALE_S", 0.01)
    with serving_wsgi(echo, checked=False, threads=1) as running, connected(running) as first:
        first.send("a")
        assert first.recv(30) == "a"
        state = running.server.server_state
        assert state is not None
        clients = [client_of(running) for _ in range(3)]
        for client in clients:
            client.send(request("/", *ASKS, KEY))
        until(lambda: len(state.tasks) == 4)
        clients.pop().close()
        until(lambda: len(state.tasks) == 3)
        # The watched ones get their messages all the same.
        first.close()
        for client in clients:
            opened(client)
            client.send(client_text("mine"))
            assert client.read(6) == frame(TEXT, b"mine")
            client.close()


# Elsewhere


def test_app_mounted_beside_an_asgi_app_has_websockets_too() -> None:
    app = Starlette(routes=[Mount("/old", devserver.WSGIMiddleware(echo))])
    with serving(app) as running, connected(running, "/old/chat") as client:
        client.send("hi")
        assert client.recv(30) == "hi"


def test_server_that_cannot_refuse_with_a_response_closes_instead() -> None:
    """As other ASGI servers may be, without the extension ``websocket.http.response``."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "websocket", "scheme": "wss", "path": "/", "query_string": b"", "http_version": "1.1"}

    async def main() -> None:
        app = devserver.WSGIMiddleware(hello)
        await app({**scope, "headers": []}, receive, send)

    asyncio.run(main())
    assert sent == [{"type": "websocket.close"}]
