"""What apps and clients see of a WebSocket, from handshake to end (ASGI WebSocket spec 2.5, RFC 6455 §4 and §7)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from sys import getsizeof
from typing import TYPE_CHECKING, Any

import pytest

from devserver.errors import AppContractError, ClientDisconnected
from devserver.events import AppRaised, RequestFinished, RequestRefused, WebSocketClosed
from devserver.protocol.websocket import connection as websocket
from devserver.protocol.websocket.session import COUNTED_FROM
from tests.support.memory import MemoryClient, MemoryServer, memory_server
from tests.support.websocket import ClientDeflate, client_frame

if TYPE_CHECKING:
    from devserver.app.types import Message, Receive, Scope, Send

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA


def handshake(*lines: bytes, method: bytes = b"GET", version: bytes = b"1.1", target: bytes = b"/chat?a=b") -> bytes:
    fields = [
        b"Host: h",
        b"Connection: keep-alive, Upgrade",
        b"Upgrade: WebSocket",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: " + KEY,
    ]
    names = {line.partition(b":")[0].lower() for line in lines}
    fields = [line for line in fields if line.partition(b":")[0].lower() not in names]
    return b"%b %b HTTP/%b\r\n" % (method, target, version) + b"\r\n".join([*fields, *lines]) + b"\r\n\r\n"


def close(code: int, reason: bytes = b"") -> bytes:
    return client_frame(CLOSE, code.to_bytes(2) + reason)


def text(data: str) -> bytes:
    return client_frame(TEXT, data.encode())


@dataclass
class Talk:
    """The server's answer, taken apart."""

    head: bytes
    frames: list[tuple[int, bytes]]
    """(opcode, payload); every frame of a server is whole."""

    @property
    def status(self) -> int:
        return int(self.head.split(b" ")[1])

    @property
    def fields(self) -> dict[bytes, bytes]:
        pairs = (line.partition(b":") for line in self.head.split(b"\r\n")[1:] if line)
        return {name: value.strip() for name, _, value in pairs}

    @property
    def codes(self) -> list[int | None]:
        """Of Close frames."""
        return [int.from_bytes(data[:2]) if data else None for opcode, data in self.frames if opcode == CLOSE]

    @property
    def texts(self) -> list[str]:
        return [data.decode() for opcode, data in self.frames if opcode == TEXT]


def talk(client: MemoryClient) -> Talk:
    client.settle()
    head, _, data = client.sent.partition(b"\r\n\r\n")
    frames = []
    while head.startswith(b"HTTP/1.1 101") and data:
        assert data[0] & 0xF0 == 0x80, "neither fragmented nor compressed"
        size, begin = data[1], 2
        if size >= 126:
            begin = 4 if size == 126 else 10
            size = int.from_bytes(data[2:begin])
        frames.append((data[0] & 0x0F, data[begin : begin + size]))
        data = data[begin + size :]
    return Talk(head, frames)


@dataclass
class Echo:
    """Accepts, sends back what comes, and remembers all of it."""

    seen: list[dict[str, Any]] = field(default_factory=list)
    scopes: list[Scope] = field(default_factory=list)
    accept: dict[str, Any] = field(default_factory=dict)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"http"})
            return
        self.scopes.append(scope)
        self.seen.append(dict(await receive()))
        await send({"type": "websocket.accept", **self.accept})
        while True:
            message = dict(await receive())
            self.seen.append(message)
            if message["type"] == "websocket.disconnect":
                return
            await send({**message, "type": "websocket.send"})

    @property
    def end(self) -> dict[str, Any]:
        (end,) = [message for message in self.seen if message["type"] == "websocket.disconnect"]
        return end


def opened(server: MemoryServer, *lines: bytes) -> MemoryClient:
    client = server.connect()
    client.send(handshake(*lines))
    assert talk(client).status == 101
    return client


# --- Opening handshake (RFC 6455 §4.2)


def test_accepted_handshake_is_answered_with_101_and_nothing_of_http() -> None:
    with memory_server(Echo()) as server:
        answer = talk(opened(server))
        assert answer.fields[b"sec-websocket-accept"] == ACCEPT
        assert answer.fields[b"upgrade"] == b"websocket"
        assert answer.fields[b"connection"] == b"Upgrade"
        assert answer.fields[b"server"] == b"devserver"
        assert b"content-length" not in answer.head
        assert b"sec-websocket-extensions" not in answer.head
        (finished,) = server.events_of(RequestFinished)
        assert (finished.status, finished.target, finished.complete) == (101, b"/chat?a=b", True)


def test_scope_is_that_of_the_specification() -> None:
    app = Echo()
    with memory_server(app, lifespan_state={"db": 1}) as server:
        opened(server, b"Sec-WebSocket-Protocol: one, two")
        (scope,) = app.scopes
        assert scope.pop("headers")[0] == (b"host", b"h")
        assert scope == {
            "type": "websocket",
            "asgi": {"version": "3.0", "spec_version": scope["asgi"]["spec_version"]},
            "http_version": "1.1",
            "scheme": "ws",
            "path": "/chat",
            "raw_path": b"/chat",
            "query_string": b"a=b",
            "root_path": "",
            "client": ("127.0.0.1", 50000),
            "server": ("127.0.0.1", 8000),
            "subprotocols": ["one", "two"],
            "state": {"db": 1},
            "extensions": {"websocket.http.response": {}},
        }
        assert app.seen == [{"type": "websocket.connect"}]


def test_tls_and_trusted_proxies_make_it_wss() -> None:
    app = Echo()
    with memory_server(app) as server:
        client = server.connect(sslcontext=object())
        client.send(handshake())
        client = server.connect()
        client.send(handshake(b"X-Forwarded-Proto: https"))
        assert [scope["scheme"] for scope in app.scopes] == ["wss", "wss"]


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ([b"Sec-WebSocket-Key: short"], 400),
        ([b"Sec-WebSocket-Key: "], 400),
        ([b"Sec-WebSocket-Version: 8"], 426),
        ([b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Version: 13"], 400),
        ([b"Sec-WebSocket-Protocol: \xff"], 400),
        ([b"Sec-WebSocket-Extensions: ;;"], 400),
        ([b"Content-Length: 3"], 400),
        ([b"Transfer-Encoding: chunked"], 400),
    ],
)
def test_malformed_handshake_is_refused_without_the_app(lines: list[bytes], status: int) -> None:
    app = Echo()
    with memory_server(app) as server:
        client = server.connect()
        client.send(handshake(*lines), text("hello"))
        answer = talk(client)
        assert answer.status == status
        assert client.closed
        assert app.scopes == []
        assert [event.status for event in server.events_of(RequestRefused)] == [status]
        if status == 426:
            assert answer.fields[b"sec-websocket-version"] == b"13"
            assert answer.fields[b"upgrade"] == b"websocket"
            assert answer.fields[b"connection"] == b"close, upgrade"


@pytest.mark.parametrize(
    ("options", "request_bytes"),
    [
        ({}, handshake(method=b"POST")),
        ({}, handshake(version=b"1.0")),
        ({}, handshake(b"Upgrade: h2c")),
        ({}, handshake(b"Connection: keep-alive")),
        ({"ws": "none"}, handshake()),
    ],
)
def test_what_is_no_handshake_is_an_ordinary_request(options: dict[str, Any], request_bytes: bytes) -> None:
    app = Echo()
    with memory_server(app, **options) as server:
        client = server.connect()
        client.send(request_bytes)
        assert client.response(request_bytes[:4].decode().strip()).body == b"http"
        assert app.scopes == []


def test_app_chooses_subprotocol_and_headers() -> None:
    app = Echo(accept={"subprotocol": "two", "headers": [(b"Set-Cookie", b"a=b"), [b"X-Y", b"z"]]})
    with memory_server(app) as server:
        answer = talk(opened(server, b"Sec-WebSocket-Protocol: one", b"Sec-WebSocket-Protocol: two"))
        assert answer.fields[b"sec-websocket-protocol"] == b"two"
        assert answer.fields[b"set-cookie"] == b"a=b"
        assert answer.fields[b"x-y"] == b"z"


@pytest.mark.parametrize(
    "accept",
    [
        {"subprotocol": b"one"},
        {"headers": [(b"x", b"a\r\nb: c")]},
        {"headers": [(b"x y", b"z")]},
        {"headers": [("x", "y")]},
        {"headers": [(b"x", 5)]},
        {"headers": [(b"x",)]},
        {"headers": [5]},
    ],
)
def test_answer_that_breaks_the_handshake_is_an_error_of_the_app(accept: dict[str, Any]) -> None:
    with memory_server(Echo(accept=accept)) as server:
        client = server.connect()
        client.send(handshake(b"Sec-WebSocket-Protocol: one"))
        assert talk(client).status == 500
        (raised,) = server.events_of(AppRaised)
        assert raised.failure.kind.endswith("AppContractError")


def test_bytes_behind_the_handshake_are_frames() -> None:
    app = Echo()
    with memory_server(app) as server:
        client = server.connect()
        client.send(handshake() + text("early") + text("bird"))
        assert talk(client).texts == ["early", "bird"]


def test_handshake_behind_a_request_waits_for_its_response() -> None:
    with memory_server(Echo()) as server:
        client = server.connect()
        client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n" + handshake() + text("x"))
        assert client.sent.index(b"200 OK") < client.sent.index(b"101 Switching")
        assert client.sent.endswith(b"\x81\x01x")


# --- Refusal by the app


def test_close_before_accept_is_403() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.close", "code": 4000})
        assert (await receive())["type"] == "websocket.disconnect"

    with memory_server(app) as server:
        client = server.connect()
        client.send(handshake())
        assert talk(client).status == 403
        assert client.closed
        assert [event.status for event in server.events_of(RequestFinished)] == [403]
        assert server.events_of(AppRaised) == []


def test_denial_response_is_sent_as_it_is() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        start = {"status": 401, "headers": [(b"www-authenticate", b"Basic")]}
        await send({"type": "websocket.http.response.start", **start})
        await send({"type": "websocket.http.response.body", "body": b"who ", "more_body": True})
        await send({"type": "websocket.http.response.body", "body": b"are you"})
        assert (await receive())["type"] == "websocket.connect"

    with memory_server(app) as server:
        client = server.connect()
        client.send(handshake())
        response = client.response()
        assert (response.status, response.body) == (401, b"who are you")
        assert client.closed


@pytest.mark.parametrize("raises", [True, False])
def test_app_that_ends_without_an_answer_gives_500(raises: bool) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if raises:
            raise RuntimeError("broken")

    with memory_server(app) as server:
        client = server.connect()
        client.send(handshake())
        assert talk(client).status == 500
        assert len(server.events_of(AppRaised)) == 1


def test_client_that_leaves_before_the_answer_is_told() -> None:
    seen: list[Message] = []
    errors: list[BaseException] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.extend([await receive(), await receive()])
        try:
            await send({"type": "websocket.accept"})
        except ClientDisconnected as exc:
            errors.append(exc)
            raise

    with memory_server(app) as server:
        client = server.connect()
        client.send(handshake())
        client.reset()
        assert seen == [{"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 1006, "reason": ""}]
        assert len(errors) == 1
        assert server.events_of(AppRaised) == []


# --- Messages


def test_messages_go_both_ways_in_order() -> None:
    app = Echo()
    with memory_server(app) as server:
        client = opened(server)
        client.send(text("a") + client_frame(BINARY, b"\0\1") + text("ä" * 100) + client_frame(BINARY, b"x" * 70000))
        frames = talk(client).frames
        assert frames == [(TEXT, b"a"), (BINARY, b"\0\1"), (TEXT, "ä".encode() * 100), (BINARY, b"x" * 70000)]
        assert app.seen[1] == {"type": "websocket.receive", "text": "a"}
        assert app.seen[2] == {"type": "websocket.receive", "bytes": b"\0\1"}


def test_one_message_is_one_write() -> None:
    with memory_server(Echo()) as server:
        client = opened(server)
        before = client.transport.writes
        client.send(text("a"), client_frame(BINARY, b"x" * 70000))
        assert client.transport.writes == before + 2


def test_bytes_one_by_one_make_the_same_messages() -> None:
    app = Echo()
    with memory_server(app) as server:
        client = opened(server)
        client.send_bytewise(text("häuser") + client_frame(PING, b"p") + client_frame(BINARY, b"y" * 200) + close(1000))
        answer = talk(client)
        assert answer.frames == [
            *[(TEXT, "häuser".encode()), (PONG, b"p"), (BINARY, b"y" * 200)],
            (CLOSE, (1000).to_bytes(2)),
        ]


@pytest.mark.parametrize("data", [bytearray(b"ab"), memoryview(b"ab")])
def test_buffers_are_sent_as_bytes(data: object) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "bytes": data})

    with memory_server(app) as server:
        assert talk(opened(server)).frames[0] == (BINARY, b"ab")


@pytest.mark.parametrize(
    "message",
    [
        {"type": "websocket.send", "text": b"bytes"},
        {"type": "websocket.send", "bytes": "text"},
        {"type": "websocket.send", "text": "\ud800"},
        {"type": "websocket.accept"},
        {"type": "http.response.start", "status": 200},
        {"type": "websocket.close", "code": 1006},
        {"type": "websocket.close", "code": 999},
        {"type": "websocket.close", "code": "1000"},
        {"type": "websocket.close", "reason": b"bytes"},
    ],
)
def test_event_that_may_not_come_is_refused_and_closes_with_1011(message: dict[str, Any]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        await send(message)

    with memory_server(app) as server:
        assert talk(opened(server)).codes == [1011]
        (raised,) = server.events_of(AppRaised)
        assert raised.failure.kind.endswith("AppContractError")


def test_send_after_own_close_is_an_error_of_the_app() -> None:
    errors: list[BaseException] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close"})
        try:
            await send({"type": "websocket.send", "text": "x"})
        except AppContractError as exc:
            errors.append(exc)

    with memory_server(app) as server:
        assert talk(opened(server)).codes == [1000]
        assert len(errors) == 1


# --- Closing (RFC 6455 §7)


@pytest.mark.parametrize(
    ("frame", "code", "reason", "answer"),
    [
        (close(1000), 1000, "", 1000),
        (close(1001, b"bye"), 1001, "bye", 1001),
        (close(4999, "bye ä".encode()), 4999, "bye ä", 4999),
        (client_frame(CLOSE, b""), 1005, "", None),
    ],
)
def test_peers_close_is_answered_and_told(frame: bytes, code: int, reason: str, answer: int | None) -> None:
    app = Echo()
    with memory_server(app) as server:
        client = opened(server)
        client.send(frame)
        assert talk(client).codes == [answer]
        assert client.closed
        assert app.end == {"type": "websocket.disconnect", "code": code, "reason": reason}
        (closed,) = server.events_of(WebSocketClosed)
        assert (closed.code, closed.reason, closed.target) == (code, reason, b"/chat?a=b")


def test_answers_to_earlier_messages_leave_before_the_close() -> None:
    app = Echo()
    with memory_server(app) as server:
        client = opened(server)
        client.send(text("one") + text("two") + close(1000) + text("never"))
        assert talk(client).frames == [(TEXT, b"one"), (TEXT, b"two"), (CLOSE, (1000).to_bytes(2))]
        assert [message.get("text") for message in app.seen[1:-1]] == ["one", "two"]


def test_close_is_answered_without_an_app_that_takes_too_long() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        await asyncio.get_running_loop().create_future()

    with memory_server(app) as server:
        client = opened(server)
        client.send(close(1000))
        assert talk(client).codes == []
        server.advance(websocket.ANSWER_S + 0.5)
        assert talk(client).codes == [1000]
        assert client.closed


def test_app_closes_and_the_peer_answers() -> None:
    seen: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close", "code": 4001, "reason": "enough"})
        seen.append(await receive())

    with memory_server(app) as server:
        client = opened(server)
        assert talk(client).frames == [(CLOSE, (4001).to_bytes(2) + b"enough")]
        assert seen == [{"type": "websocket.disconnect", "code": 4001, "reason": "enough"}]
        assert not client.closed, "the peer's Close is awaited"
        client.send(text("late") + client_frame(PING, b"") + close(4001))
        assert client.closed
        assert len(talk(client).frames) == 1
        (closed,) = server.events_of(WebSocketClosed)
        assert (closed.code, closed.messages_received, closed.messages_sent) == (4001, 0, 0)


def test_peer_that_does_not_answer_a_close_is_dropped() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close"})

    with memory_server(app) as server:
        client = opened(server)
        # Much more than is taken in one go is thrown away.
        client.send(text("x") * 5000)
        server.advance(websocket.CLOSE_S - 1)
        assert not client.closed
        server.advance(2)
        assert client.gone


@pytest.mark.parametrize(("raises", "code"), [(False, 1000), (True, 1011)])
def test_app_that_ends_closes_properly(raises: bool, code: int) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        if raises:
            raise RuntimeError("broken")

    with memory_server(app) as server:
        assert talk(opened(server)).codes == [code]
        assert len(server.events_of(AppRaised)) == raises


def test_long_reason_is_cut_between_characters() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close", "reason": "ä" * 100})

    with memory_server(app) as server:
        ((_, payload),) = talk(opened(server)).frames
        assert payload[2:].decode() == "ä" * 61


def test_lost_connection_is_1006_after_what_has_arrived() -> None:
    app = Echo()
    with memory_server(app) as server:
        client = opened(server)
        client.send(text("a"))
        client.shut()
        assert app.end == {"type": "websocket.disconnect", "code": 1006, "reason": ""}
        assert client.gone
        assert server.events_of(AppRaised) == []


def test_send_to_a_lost_peer_raises_what_is_no_error() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        await receive()
        assert (await receive())["type"] == "websocket.disconnect"
        await send({"type": "websocket.send", "text": "anybody?"})

    with memory_server(app) as server:
        client = opened(server)
        client.reset()
        server.settle()
        assert server.events_of(AppRaised) == []


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\x81\x01a", 1002),
        (client_frame(TEXT, b"\xff"), 1007),
        (client_frame(0x3, b""), 1002),
        (client_frame(0x0, b"x"), 1002),
        (client_frame(CLOSE, b"\x03"), 1002),
        (close(1005), 1002),
        (close(1000, b"\xff"), 1007),
        (client_frame(BINARY, b"x" * 1001), 1009),
    ],
)
def test_broken_frame_closes_with_its_code_and_nothing_more_is_read(frame: bytes, code: int) -> None:
    app = Echo()
    with memory_server(app, ws_max_size=1000) as server:
        client = opened(server)
        client.send(text("before") + frame + text("after"))
        answer = talk(client)
        assert answer.texts == ["before"]
        assert answer.codes == [code]
        assert client.transport.half_closed
        assert app.end["code"] == code
        client.send(text("more") * 1000)
        client.shut()
        assert client.gone
        assert [message.get("text") for message in app.seen[1:-1]] == ["before"]


def test_peer_that_stays_after_a_broken_frame_is_dropped() -> None:
    with memory_server(Echo()) as server:
        client = opened(server)
        client.send(b"\x81\x01a")
        server.advance(websocket.LINGER_S + 1)
        assert client.gone


# --- Back-pressure


def test_peer_that_is_faster_than_the_app_is_not_read() -> None:
    gate: list[asyncio.Event] = []
    taken: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        gate.append(asyncio.Event())
        await receive()
        await send({"type": "websocket.accept"})
        await gate[0].wait()
        while (message := await receive())["type"] == "websocket.receive":
            taken.append(message)

    with memory_server(app, ws_max_queue=4) as server:
        client = opened(server)
        client.send(*[text(str(number)) * 3 for number in range(20)])
        assert client.unread
        assert not client.transport.reading
        gate[0].set()
        client.settle()
        assert not client.unread
        assert [message["text"] for message in taken] == [str(number) for number in range(20) for _ in range(3)]


def test_large_messages_fill_the_queue_by_their_bytes() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        await asyncio.get_running_loop().create_future()

    with memory_server(app) as server:
        client = opened(server)
        client.send(*[client_frame(BINARY, b"x" * 40_000)] * 5)
        assert client.unread >= 3 * 40_000


def held(connection: Any) -> int:
    """Bytes of memory of messages that wait for the app, and of bytes that wait to become messages."""
    session = connection._session
    return sum(map(getsizeof, connection._queue)) + getsizeof(session._rest) + getsizeof(session._content)


@pytest.mark.parametrize("text", ["x" * 60_000, "ab", "漢", "x" * 59_999 + "\U0001f600"])
@pytest.mark.parametrize("compressed", [True, False])
def test_messages_are_inflated_as_the_app_takes_them(compressed: bool, text: str) -> None:
    gate: list[asyncio.Event] = []
    taken: list[object] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        gate.append(asyncio.Event())
        await receive()
        await send({"type": "websocket.accept"})
        await gate[0].wait()
        while (message := await receive())["type"] == "websocket.receive":
            taken.append(message["text"])
            most.append(held(connections[0]))

    most: list[int] = []
    connections: list[Any] = []
    with memory_server(app, ws_max_queue=10_000) as server:
        client = server.connect()
        client.send(handshake(b"Sec-WebSocket-Extensions: permessage-deflate"))
        connection: Any = client.transport.get_protocol()
        connections.append(connection)
        deflate = ClientDeflate()
        one = text.encode()
        frames = [
            client_frame(TEXT, deflate.compress(one), rsv1=True) if compressed else client_frame(TEXT, one)
            for _ in range(5_000 if len(text) < 3 else 20)
        ]
        # Reads are of at most 256 KiB.
        data = b"".join(frames)
        client.send(*[data[at : at + 262_144] for at in range(0, len(data), 262_144)])
        read = min(len(data), 262_144)
        bound = websocket.READ_HIGH_WATER + getsizeof(text) + read + 1_000
        if not compressed and len(one) < COUNTED_FROM:
            bound += 10 * read
        assert held(connection) <= bound
        assert not client.transport.reading
        gate[0].set()
        client.settle()
        assert taken == [text] * len(frames)
        # The message that the app has taken last is no longer held.
        assert max(most) <= bound + getsizeof(text)
        assert client.transport.reading
        assert connection._held == 0


@pytest.mark.parametrize("queue_max", [2, 100])
def test_read_that_comes_after_reading_was_paused_is_kept(queue_max: int) -> None:
    gate: list[asyncio.Event] = []
    taken: list[object] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        gate.append(asyncio.Event())
        await receive()
        await send({"type": "websocket.accept"})
        await gate[0].wait()
        while (message := await receive())["type"] == "websocket.receive":
            taken.append(message["text"])

    with memory_server(app, ws_max_queue=queue_max) as server:
        client = opened(server)
        large = "x" * 40_000
        client.send(text(large) + text(large))
        assert not client.transport.reading
        # TLS may hand over what it had decrypted before.
        connection: Any = client.transport.get_protocol()
        connection.data_received(text("a") + text("b")[:3])
        connection.data_received(text("b")[3:])
        assert len(connection._queue) == 2
        gate[0].set()
        client.settle()
        assert taken == [large, large, "a", "b"]


def test_messages_after_our_close_are_thrown_away_at_once() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        assert (await receive())["type"] == "websocket.receive"
        await send({"type": "websocket.close"})

    with memory_server(app) as server:
        client = opened(server, b"Sec-WebSocket-Extensions: permessage-deflate")
        connection: Any = client.transport.get_protocol()
        deflate = ClientDeflate()
        bombs = b"".join(
            client_frame(BINARY, deflate.compress(bytes(1_000_000)), rsv1=True) + client_frame(PING, b"p")
            for _ in range(50)
        )
        # One message has become the app's before our Close frame, and one waits for it.
        client.send(bombs[:-10], bombs[-10:] + bombs)
        assert len(connection._queue) == 1
        assert held(connection) < 1_002_000
        assert connection._session.pongs == []
        assert not client.closed
        client.send(close(1000))
        assert client.closed


def test_reading_goes_on_for_the_peers_close_while_messages_wait() -> None:
    seen: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        await send({"type": "websocket.close"})
        while not seen or seen[-1]["type"] == "websocket.receive":
            seen.append(await receive())

    with memory_server(app, ws_max_queue=2) as server:
        client = opened(server)
        client.send(b"".join(text(data) for data in "abcdef"), text("g"))
        assert not client.unread
        assert [message.get("text") for message in seen] == ["b", None]
        client.send(close(1000))
        assert client.gone


def test_app_that_accepts_first_gets_connect_before_messages() -> None:
    seen: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        while not seen or seen[-1]["type"] != "websocket.disconnect":
            seen.append(await receive())

    for queue_max in (32, 1):
        seen.clear()
        with memory_server(app, ws_max_queue=queue_max) as server:
            client = server.connect()
            client.send(handshake() + text("a") + text("b") + close(1000))
            client.settle()
            assert [message.get("text", message["type"]) for message in seen] == [
                "websocket.connect",
                "a",
                "b",
                "websocket.disconnect",
            ]


def test_client_that_left_before_the_app_asked_is_connect_and_disconnect() -> None:
    gate: list[asyncio.Event] = []
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        gate.append(asyncio.Event())
        await gate[0].wait()
        seen.extend([(await receive())["type"] for _ in range(3)])

    with memory_server(app) as server:
        client = server.connect()
        client.send(handshake())
        client.reset()
        gate[0].set()
        server.settle()
        assert seen == ["websocket.connect", "websocket.disconnect", "websocket.disconnect"]


def test_app_waits_for_a_peer_that_does_not_read() -> None:
    sent: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        for number in range(1000):
            await send({"type": "websocket.send", "bytes": bytes(10_000)})
            sent.append(number)

    with memory_server(app) as server:
        client = server.connect()
        client.transport.stuck = True
        client.send(handshake())
        assert len(sent) < 10
        assert len(client.transport.unsent) < 100_000
        # Pings are answered when somebody reads, and then only the latest.
        client.send(*[client_frame(PING, b"%d" % number) for number in range(100)])
        assert len(client.transport.unsent) < 100_000
        client.transport.stuck = False
        client.transport.drain()
        client.settle()
        assert len(sent) == 1000
        pongs = [data for opcode, data in talk(client).frames if opcode == PONG]
        assert pongs == [b"99"]


def test_peer_that_reads_nothing_for_too_long_is_dropped() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        while True:
            await send({"type": "websocket.send", "bytes": bytes(10_000)})

    with memory_server(app, timeout_write=3, ws_ping_interval=1, ws_ping_timeout=1) as server:
        client = server.connect()
        client.transport.stuck = True
        client.send(handshake())
        server.advance(2)
        assert not client.gone
        server.advance(3)
        assert client.gone
        assert server.events_of(AppRaised) == []


def test_app_that_never_suspends_gives_others_their_turn() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        if scope["path"] == "/endless":
            while True:
                await send({"type": "websocket.send", "text": "x"})
        await send({"type": "websocket.send", "text": "here"})

    with memory_server(app) as server:
        endless = server.connect()
        server.loop.call_soon(endless.connection.data_received, handshake(target=b"/endless"))
        server.loop.turn(20)
        before = len(endless.sent)
        server.loop.turn(1)
        # At most so many messages of three bytes in one turn.
        assert 0 < len(endless.sent) - before <= 3 * 2 * websocket.TURNS
        endless.transport.abort()
        server.loop.turn(20)


# --- Signs of life


def test_silent_peer_is_pinged_and_dropped() -> None:
    app = Echo()
    with memory_server(app, ws_ping_interval=5, ws_ping_timeout=3) as server:
        client = opened(server)
        server.advance(4.5)
        assert talk(client).frames == []
        server.advance(1)
        assert talk(client).frames == [(PING, b"")]
        server.advance(3.5)
        assert talk(client).codes == [1011]
        assert client.gone
        assert app.end["code"] == 1006
        assert "ping" in app.end["reason"]


def test_peer_that_answers_pings_stays() -> None:
    with memory_server(Echo(), ws_ping_interval=5, ws_ping_timeout=3) as server:
        client = opened(server)
        for _ in range(4):
            server.advance(5.5)
            assert talk(client).frames[-1] == (PING, b"")
            client.send(client_frame(PONG, b""))
        assert not client.closed


def test_peer_that_speaks_is_not_pinged() -> None:
    with memory_server(Echo(), ws_ping_interval=5) as server:
        client = opened(server)
        for _ in range(5):
            server.advance(4)
            client.send(text("x"))
        assert [opcode for opcode, _ in talk(client).frames] == [TEXT] * 5


@pytest.mark.parametrize("options", [{"ws_ping_interval": None}, {"ws_ping_interval": 0}])
def test_without_an_interval_nobody_is_pinged(options: dict[str, Any]) -> None:
    with memory_server(Echo(), **options) as server:
        client = opened(server)
        server.advance(100, step=10)
        assert talk(client).frames == []
        assert not client.closed


def test_without_a_timeout_pings_go_on() -> None:
    with memory_server(Echo(), ws_ping_interval=5, ws_ping_timeout=None) as server:
        client = opened(server)
        server.advance(21)
        assert [opcode for opcode, _ in talk(client).frames] == [PING] * 4
        assert not client.closed


# --- The server's end


def test_stopping_server_closes_with_1012() -> None:
    app = Echo()
    with memory_server(app) as server:
        client = opened(server)
        server.state.stopping = True
        for each in [*server.state.connections]:
            assert each.lasting
            each.shutdown()
        assert talk(client).codes == [1012]
        assert app.end == {"type": "websocket.disconnect", "code": 1012, "reason": ""}
        client.send(close(1012))
        assert client.gone


def test_handshake_that_is_accepted_while_the_server_stops_is_closed_with_1012() -> None:
    gate: list[asyncio.Event] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        gate.append(asyncio.Event())
        await gate[0].wait()
        await send({"type": "websocket.accept"})
        await receive()
        assert (await receive())["code"] == 1012

    with memory_server(app) as server:
        client = server.connect()
        client.send(handshake())
        server.state.stopping = True
        for each in [*server.state.connections]:
            each.shutdown()
        gate[0].set()
        assert talk(client).codes == [1012]


def test_websockets_count_against_the_limit_of_concurrency() -> None:
    with memory_server(Echo(), limit_concurrency=1) as server:
        first = opened(server)
        second = server.connect()
        second.send(handshake())
        assert talk(second).status == 503
        first.send(close(1000))
        first.settle()
        third = server.connect()
        third.send(handshake())
        assert talk(third).status == 101


# --- Compression (RFC 7692)


def test_messages_are_compressed_when_the_client_offers_it() -> None:
    with memory_server(Echo()) as server:
        client = server.connect()
        client.send(handshake(b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"))
        assert b"sec-websocket-extensions: permessage-deflate" in client.sent
        before = len(client.sent)
        client.send(text("x" * 10_000))
        answer = client.sent[before:]
        assert answer[0] == 0xC1
        assert len(answer) < 100


def test_compression_can_be_turned_off() -> None:
    with memory_server(Echo(), ws_per_message_deflate=False) as server:
        client = opened(server, b"Sec-WebSocket-Extensions: permessage-deflate")
        assert b"sec-websocket-extensions" not in client.sent
        client.send(text("x" * 10_000))
        assert talk(client).texts == ["x" * 10_000]
