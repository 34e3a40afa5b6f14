"""RFC 9110 (HTTP semantics) section by section: methods, fields, statuses, expectations, upgrades and overload."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import pytest

from devserver.events import AppRaised, RequestFinished, RequestRefused
from tests.support.apps import Recorder, respond
from tests.support.memory import MemoryServer, memory_server
from tests.support.wire import wait_for, wire_server

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from devserver.app.types import Message, Receive, Scope, Send

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
HEAD = b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Script:
    """Sends these messages, whatever the request, and remembers what ``send`` raised."""

    def __init__(self, *messages: Message) -> None:
        self.messages = messages
        self.raised: list[BaseException] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        for message in self.messages:
            try:
                await send(message)
            except BaseException as exc:
                self.raised.append(exc)
                raise


def start(status: int = 200, *headers: tuple[Any, Any], **more: Any) -> Message:
    return {"type": "http.response.start", "status": status, "headers": list(headers), **more}


def body(data: bytes = b"", *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


# --- Section 5.5: field values of responses


@pytest.mark.parametrize(
    "header",
    [
        (b"x", b"a\r\nset-cookie: evil=1"),
        (b"x", b"a\nset-cookie: evil=1"),
        (b"x", b"a\rb"),
        (b"x", b"a\x00b"),
        (b"x", b"a\x7fb"),
        (b"x", b"a\x1b[31m"),
        (b"x", b"\r\n\r\n<html>"),
        (b"x\r\ny", b"a"),
        (b"x y", b"a"),
        (b"x:", b"a"),
        (b"", b"a"),
        (b"x\xe9", b"a"),
        (b"location", b"/\r\nset-cookie: evil=1"),
        (b"content-length", b"1\r\n\r\n"),
        (b"content-length", b"-1"),
        (b"content-length", b"1, 1"),
        (b"connection", b"close\r\nevil: 1"),
        (b"transfer-encoding", b"gzip"),
        (b"set-cookie", b"a\r\nb"),
        ("x", "a"),
        (b"x", "a"),
        (b"x", 1),
        (b"x", None),
    ],
)
def test_response_header_that_http_cannot_carry_is_the_apps_error(header: tuple[Any, Any]) -> None:
    app = Script(start(200, (b"fine", b"1"), header), body(b"secret"))
    with memory_server(app) as server:
        client = server.connect()
        client.send(GET)
        response = client.response()
        assert response.status == 500
        assert b"evil" not in client.sent
        assert b"secret" not in client.sent
        assert response.get("fine") is None
        (event,) = server.events_of(AppRaised)
        assert event.failure.message
        assert len(app.raised) == 1


@pytest.mark.parametrize("status", [0, 99, 100, 199, 1000, -1, "200", None, 200.5, True])
def test_response_status_that_is_no_final_one_is_the_apps_error(status: Any) -> None:
    with memory_server(Script({"type": "http.response.start", "status": status, "headers": []}, body())) as server:
        client = server.connect()
        client.send(GET)
        assert client.response().status == 500
        assert len(server.events_of(AppRaised)) == 1


@pytest.mark.parametrize(
    "headers", [(("x", 1),), 5, "ab", ((b"a",),), ((b"a", b"b", b"c"),)], ids=["mixed", "int", "str", "one", "three"]
)
def test_response_headers_of_another_shape_are_the_apps_error(headers: Any) -> None:
    with memory_server(Script({"type": "http.response.start", "status": 200, "headers": headers}, body())) as server:
        client = server.connect()
        client.send(GET)
        assert client.response().status == 500
        assert len(server.events_of(AppRaised)) == 1


def test_response_headers_may_be_any_iterable_and_may_be_left_out() -> None:
    headers: Iterable[Any]
    for headers in (((b"x", b"1"),), iter([(b"x", b"1")]), [[b"x", b"1"]], ([b"x", b"1"] for _ in range(1))):
        with memory_server(
            Script({"type": "http.response.start", "status": 200, "headers": headers}, body())
        ) as server:
            client = server.connect()
            client.send(GET)
            assert client.response().get("x") == "1"
            (event,) = server.events_of(RequestFinished)
            assert [tuple(pair) for pair in event.response_headers] == [(b"x", b"1")]
    with memory_server(Script({"type": "http.response.start", "status": 200}, body())) as server:
        client = server.connect()
        client.send(GET)
        assert client.response().status == 200


def test_response_header_names_are_written_in_lower_case_and_values_as_they_are() -> None:
    with memory_server(Script(start(200, (b"X-Mixed", b"A b\tc\xe9"), (b"x-mixed", b"")), body())) as server:
        client = server.connect()
        client.send(GET)
        assert b"\r\nx-mixed: A b\tc\xe9\r\n" in client.sent
        assert len([name for name, _ in client.response().headers if name == "x-mixed"]) == 2


def test_two_equal_lengths_become_one_and_different_ones_are_the_apps_error() -> None:
    for second, status in ((b"5", 200), (b"6", 500)):
        with memory_server(
            Script(start(200, (b"content-length", b"5"), (b"Content-Length", second)), body(b"hello"))
        ) as server:
            client = server.connect()
            client.send(GET)
            assert client.response().status == status


def test_cookies_never_enter_a_cache_and_reach_their_own_client() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, headers=[(b"set-cookie", scope["path"].encode())])

    with memory_server(app) as server:
        for path in ("/a", "/b", "/a"):
            client = server.connect()
            client.send(GET.replace(b"/ ", path.encode() + b" ", 1))
            assert client.response().get("set-cookie") == path


# --- Section 6.6.1 and 10.2.4: Date and Server


def test_date_and_server_are_sent_unless_turned_off_or_given_by_the_app() -> None:
    plain = Script(start(), body())
    own = Script(start(200, (b"Date", b"today"), (b"Server", b"mine")), body())
    for app, options, date, name in (
        (plain, {}, r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", "devserver"),
        (plain, {"date_header": False, "server_header": False}, None, None),
        (own, {}, "today", "mine"),
        (plain, {"headers": [("Server", "theirs"), ("X-Extra", "y")]}, r".* GMT", "theirs"),
    ):
        with memory_server(app, **options) as server:
            client = server.connect()
            client.send(GET)
            response = client.response()
            assert response.get("server") == name
            assert (response.get("date") is None) if date is None else re.fullmatch(date, response.get("date") or "")
            assert response.get("x-extra") == ("y" if "headers" in options else None)


# --- Section 8.6, 9.3.2, 15.3.5, 15.4.5: responses without content


@pytest.mark.parametrize(
    ("messages", "length"),
    [
        ([start(), body(b"hello")], "5"),
        ([start(200, (b"content-length", b"5")), body(b"hello")], "5"),
        ([start(200, (b"content-length", b"5")), body()], "5"),
        ([start(200, (b"content-length", b"10")), body(b"hello", more=True), body(b"world")], "10"),
        ([start(), body(b"hello", more=True), body(b"world")], None),
        ([start(), body()], None),
    ],
)
def test_head_is_answered_without_a_body(messages: list[Message], length: str | None) -> None:
    with memory_server(Script(*messages)) as server:
        client = server.connect()
        client.send(HEAD, HEAD)
        first, second = client.responses("HEAD", "HEAD")
        assert first.get("content-length") == length or (length is None and first.get("content-length") == "0")
        assert second.status == 200
        assert client.sent.endswith(b"\r\n\r\n")
        assert not server.events_of(AppRaised)


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("content", [b"", b"hello"])
@pytest.mark.parametrize("headers", [[], [(b"content-length", b"5")], [(b"transfer-encoding", b"chunked")]])
def test_statuses_without_content_have_none(status: int, content: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    for messages in ([body(content)], [body(content, more=True), body()]):
        with memory_server(Script(start(status, *headers), *messages)) as server:
            client = server.connect()
            client.send(GET, GET)
            assert [response.status for response in client.responses()] == [status, status]
            assert client.sent.endswith(b"\r\n\r\n")


def test_status_205_has_a_length_of_zero() -> None:
    for messages in ([body()], [body(b"content")], [body(b"con", more=True), body(b"tent")]):
        for headers in ([], [(b"content-length", b"7")]):
            with memory_server(Script(start(205, *headers), *messages)) as server:
                client = server.connect()
                client.send(GET + GET)
                assert [response.get("content-length") for response in client.responses()] == ["0", "0"]
                assert client.sent.endswith(b"\r\n\r\n")


def test_unregistered_status_has_an_empty_reason() -> None:
    with memory_server(Script(start(799), body())) as server:
        client = server.connect()
        client.send(GET)
        assert client.sent.startswith(b"HTTP/1.1 799 \r\n")


# --- Section 10.1.1: Expect

EXPECTING = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"


def test_continue_is_sent_when_the_app_first_receives() -> None:
    ready = asyncio.Event()
    app = Recorder()

    async def late(scope: Scope, receive: Receive, send: Send) -> None:
        await ready.wait()
        await app(scope, receive, send)

    with memory_server(late) as server:
        client = server.connect()
        client.send(EXPECTING)
        assert client.sent == b""
        ready.set()
        client.settle()
        assert client.sent == CONTINUE
        client.send(b"he", b"llo")
        assert client.sent.startswith(CONTINUE + b"HTTP/1.1 200 OK\r\n")
        assert client.sent.count(b"100 Continue") == 1
        assert app.seen[0].body == b"hello"
        client.send(GET)
        assert len(client.responses()) == 3
        assert not client.closed


def test_continue_is_not_sent_when_the_body_is_there_or_there_is_none() -> None:
    with memory_server(Recorder()) as server:
        for raw in (
            EXPECTING + b"hello",
            EXPECTING.replace(b"Content-Length: 5", b"Content-Length: 0"),
            EXPECTING.replace(b"Content-Length: 5\r\n", b""),
        ):
            client = server.connect()
            client.send(raw)
            assert [response.status for response in client.responses()] == [200]


def test_continue_is_not_sent_to_http_1_0() -> None:
    with memory_server(Recorder()) as server:
        client = server.connect()
        client.send(EXPECTING.replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert client.sent == b""
        client.send(b"hello")
        assert client.response().status == 200


def test_final_response_without_receiving_replaces_continue_and_closes() -> None:
    """Whether the client still sends the body cannot be known, so nothing after it could be understood."""
    with memory_server(Script(start(403), body(b"no"))) as server:
        client = server.connect()
        client.send(EXPECTING)
        response = client.response()
        assert (response.status, response.get("connection")) == (403, "close")
        client.send(b"hello" + GET)
        assert len(client.responses()) == 1


def test_continue_is_not_sent_after_the_response_has_begun() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(200))
        await send(body(b"early", more=True))
        while (await receive()).get("more_body"):
            pass
        await send(body(b"!"))

    with memory_server(app) as server:
        client = server.connect()
        client.send(EXPECTING)
        assert b"100 Continue" not in client.sent
        client.send(b"hello")
        assert [response.body for response in client.responses()] == [b"early!"]


# --- Section 7.8: Upgrade to what is not spoken here

H2C = (
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAA\r\n"
)
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
UPGRADES = [
    b"POST /up HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n" % len(SMUGGLED) + H2C + b"\r\n" + SMUGGLED,
    b"POST /up HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n"
    + H2C
    + b"\r\n%x\r\n" % len(SMUGGLED)
    + SMUGGLED
    + b"\r\n0\r\n\r\n",
    b"POST /up HTTP/1.1\r\nHost: h\r\nUpgrade: foo/2\r\nConnection: upgrade\r\nContent-Length: %d\r\n\r\n"
    % len(SMUGGLED)
    + SMUGGLED,
]


@pytest.mark.parametrize("raw", UPGRADES, ids=["length", "chunked", "other"])
def test_body_behind_an_upgrade_that_is_not_taken_reaches_the_app_once_as_a_body(raw: bytes) -> None:
    app = Recorder()
    after = GET.replace(b"GET / ", b"GET /after ")
    with memory_server(app) as server:
        whole = raw + after
        splittings = [[whole], [raw, after], [whole[at : at + 1] for at in range(len(whole))]]
        splittings += [[whole[:at], whole[at:]] for at in range(1, len(whole))]
        for pieces in splittings:
            app.seen.clear()
            client = server.connect()
            client.send(*pieces)
            assert app.paths == ["/up", "/after"]
            assert app.seen[0].body == SMUGGLED
            assert app.seen[0].complete
            assert [response.status for response in client.responses()] == [200, 200]


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
def test_upgrade_without_a_body_is_a_plain_request(version: bytes) -> None:
    app = Recorder()
    with memory_server(app) as server:
        client = server.connect()
        client.send(b"GET /up HTTP/" + version + b"\r\nHost: h\r\n" + H2C + b"\r\n")
        assert client.response().status == 200
        assert app.paths == ["/up"]
        assert (b"upgrade", b"h2c") in app.seen[0].scope["headers"]
        client.send(GET)
        assert app.paths[1:] == (["/"] if version == b"1.1" else [])


def test_malformed_chunks_behind_an_upgrade_are_refused() -> None:
    app = Recorder()
    head, _, _ = UPGRADES[1].partition(b"\r\n\r\n")
    with memory_server(app) as server:
        # In one piece the request is refused before the app has begun.
        for pieces, paths in (([head + b"\r\n\r\nzz\r\n"], []), ([head + b"\r\n\r\n", b"zz\r\n"], ["/up"])):
            app.seen.clear()
            client = server.connect()
            client.send(*pieces, SMUGGLED)
            assert client.response().status == 400
            assert app.paths == paths


# --- Section 15.2: interim responses; RFC 8297: early hints


def test_early_hints_precede_the_response() -> None:
    hints = {"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload", b"</b.js>; rel=preload"]}
    with memory_server(Script(hints, hints, start(), body(b"ok"))) as server:
        client = server.connect()
        client.send(GET)
        first, second, final = client.responses()
        assert (first.status, first.reason) == (103, "Early Hints")
        assert first.headers == [("link", "</a.css>; rel=preload"), ("link", "</b.js>; rel=preload")]
        assert (second.status, final.status, final.body) == (103, 200, b"ok")


def test_early_hints_are_not_sent_to_http_1_0() -> None:
    app = Script({"type": "http.response.early_hint", "links": [b"</a>"]}, start(), body(b"ok"))
    with memory_server(app) as server:
        client = server.connect()
        client.send(GET.replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert client.response().body == b"ok"


@pytest.mark.parametrize("link", [b"</a>\r\nevil: 1", "</a>", None])
def test_early_hint_that_http_cannot_carry_is_the_apps_error(link: Any) -> None:
    with memory_server(Script({"type": "http.response.early_hint", "links": [link]}, start(), body())) as server:
        client = server.connect()
        client.send(GET)
        assert client.response().status == 500
        assert b"evil" not in client.sent
        assert len(server.events_of(AppRaised)) == 1


# --- Section 6.5: trailers of a response


def trailers(*headers: tuple[bytes, bytes], more: bool = False) -> Message:
    return {"type": "http.response.trailers", "headers": list(headers), "more_trailers": more}


TE = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: TE\r\nTE: trailers\r\n\r\n"


@pytest.mark.parametrize(
    "messages",
    [
        [body(b"hello"), trailers((b"X-Sum", b"1"), (b"y", b"2"))],
        [body(b"he", more=True), body(b"llo"), trailers((b"x-sum", b"1"), more=True), trailers((b"y", b"2"))],
    ],
)
def test_trailers_follow_the_last_chunk_when_the_client_wants_them(messages: list[Message]) -> None:
    with memory_server(Script(start(200, trailers=True), *messages)) as server:
        client = server.connect()
        client.send(TE, TE)
        for response in client.responses():
            assert response.body == b"hello"
            assert response.trailers == [("x-sum", "1"), ("y", "2")]
        client = server.connect()
        client.send(GET, GET)
        assert [(response.body, response.trailers) for response in client.responses()] == [(b"hello", [])] * 2
        assert not server.events_of(AppRaised)


def test_trailers_are_left_out_where_there_are_no_chunks() -> None:
    for headers, version, method in (
        ([(b"content-length", b"5")], b"1.1", b"GET"),
        ([], b"1.0", b"GET"),
        ([], b"1.1", b"HEAD"),
    ):
        app = Script(start(200, *headers, trailers=True), body(b"hello"), trailers((b"x-sum", b"1")))
        with memory_server(app) as server:
            client = server.connect()
            client.send(TE.replace(b"1.1", version).replace(b"GET", method))
            response = client.response(method.decode())
            assert response.body == (b"" if method == b"HEAD" else b"hello")
            assert b"x-sum" not in client.sent
            assert not server.events_of(AppRaised)


@pytest.mark.parametrize(
    "header",
    [(b"x", b"a\r\nb: c"), (b"content-length", b"5"), (b"transfer-encoding", b"chunked"), (b"connection", b"close")],
)
def test_trailer_that_http_cannot_carry_cuts_the_response(header: tuple[bytes, bytes]) -> None:
    with memory_server(Script(start(200, trailers=True), body(b"hello"), trailers(header))) as server:
        client = server.connect()
        client.send(TE + TE)
        assert client.closed
        assert not client.sent.endswith(b"0\r\n\r\n")
        assert b"b: c" not in client.sent
        assert len(server.events_of(AppRaised)) == 1


# --- ASGI extension http.response.pathsend


@pytest.mark.parametrize("size", [0, 1, 100_000, 3_000_000])
@pytest.mark.parametrize("told", [False, True], ids=["no-length", "length"])
def test_pathsend_sends_the_file(tmp_path: Path, size: int, told: bool) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(range(256)) * (size // 256) + bytes(size % 256))
    headers = [(b"content-length", str(size).encode())] if told else []
    with wire_server(Script(start(200, *headers), {"type": "http.response.pathsend", "path": str(file)})) as server:
        with server.connect() as client:
            client.send(GET + HEAD + GET)
            assert client.response().body == file.read_bytes()
            head = client.response("HEAD")
            assert (head.body, head.get("content-length")) == (b"", str(size))
            assert client.response().body == file.read_bytes()
        assert not server.events_of(AppRaised)


def test_pathsend_to_http_1_0_sends_the_file(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"hello" * 100_000)
    with wire_server(Script(start(), {"type": "http.response.pathsend", "path": str(file)})) as server:
        with server.connect() as client:
            client.send(GET.replace(b"1.1", b"1.0"))
            assert [response.body for response in client.responses_to_end()] == [b"hello" * 100_000]


def test_pathsend_of_a_missing_file_is_the_apps_error(tmp_path: Path) -> None:
    with wire_server(Script(start(), {"type": "http.response.pathsend", "path": str(tmp_path / "no")})) as server:
        with server.connect() as client:
            client.send(GET)
            assert client.response().status == 500
        assert len(server.events_of(AppRaised)) == 1


def test_pathsend_of_a_file_shorter_than_its_length_cuts_the_response(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"hello")
    app = Script(start(200, (b"content-length", b"9")), {"type": "http.response.pathsend", "path": str(file)})
    with wire_server(app) as server:
        with server.connect() as client:
            client.send(GET)
            client.read(10)
            with pytest.raises((ConnectionError, AssertionError)):
                client.response()
        wait_for(lambda: server.events_of(AppRaised))


def test_client_that_leaves_a_pathsend_frees_the_file(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(50_000_000))
    app = Script(start(), {"type": "http.response.pathsend", "path": str(file)})
    with wire_server(app) as server:
        with server.connect() as client:
            client.send(GET)
            client.read(100_000)
            client.reset()
        wait_for(lambda: app.raised and not server.state.tasks)
        assert isinstance(app.raised[0], OSError)


# --- Section 15.6.4: 503, and limits


def waiting_app() -> tuple[Any, asyncio.Event]:
    door = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await door.wait()
        await respond(send)

    return app, door


def statuses(server: MemoryServer, count: int) -> list[list[int]]:
    clients = [server.connect() for _ in range(count)]
    for client in clients:
        client.send(GET)
    return [[response.status for response in client.responses()] for client in clients]


def test_request_over_the_concurrency_limit_is_answered_503_with_retry_after() -> None:
    app, door = waiting_app()
    with memory_server(app, limit_concurrency=3) as server:
        clients = [server.connect() for _ in range(3)]
        for client in clients:
            client.send(GET)
        late = server.connect()
        late.send(GET + GET)
        response = late.response()
        assert (response.status, response.get("connection")) == (503, "close")
        assert (response.get("retry-after") or "").isdigit()
        assert [event.status for event in server.events_of(RequestRefused)] == [503]
        door.set()
        for client in clients:
            client.settle()
            assert client.response().status == 200


def test_of_more_connections_than_the_concurrency_limit_those_that_came_first_are_served() -> None:
    with memory_server(Recorder(), limit_concurrency=3) as server:
        clients = [server.connect() for _ in range(6)]
        for client in clients:
            client.send(GET)
        assert [client.response().status for client in clients] == [200] * 3 + [503] * 3
        assert [client.closed for client in clients] == [False] * 3 + [True] * 3
        waiting = [server.connect() for _ in range(2)]
        clients[0].reset()
        for client in waiting:
            client.send(GET)
        assert [client.response().status for client in waiting] == [200, 503]


def test_request_over_the_concurrency_limit_waits_in_the_queue() -> None:
    app, door = waiting_app()
    with memory_server(app, limit_concurrency=2, limit_queue=1) as server:
        clients = [server.connect() for _ in range(2)]
        for client in clients:
            client.send(GET)
        clients[1].reset()
        queued = server.connect()
        queued.send(GET)
        assert queued.sent == b""
        door.set()
        queued.settle()
        assert queued.response().status == 200


def test_connection_over_the_connection_limit_is_answered_503() -> None:
    with memory_server(Recorder(), limit_connections=2) as server:
        first, second, third = (server.connect() for _ in range(3))
        assert third.response().status == 503
        assert third.closed
        first.send(GET)
        second.send(GET)
        assert (first.response().status, second.response().status) == (200, 200)
        first.reset()
        fourth = server.connect()
        fourth.send(GET)
        assert fourth.response().status == 200


def test_limit_of_requests_is_announced_once() -> None:
    announced = []
    with memory_server(Recorder(), limit_max_requests=3) as server:
        server.state.on_limit = lambda: announced.append(server.state.total_requests)
        client = server.connect()
        client.send(GET * 5)
        assert announced == [3]
        assert len(client.responses()) == 5


def test_body_limit_is_checked_before_the_app_for_a_length_and_while_reading_for_chunks() -> None:
    app = Recorder()
    with memory_server(app, limit_request_body=5) as server:
        client = server.connect()
        client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\n")
        assert client.response().status == 413
        assert app.seen == []
        client = server.connect()
        client.send(
            b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", b"5\r\nhello\r\n", b"1\r\n!\r\n"
        )
        assert client.response().status == 413
        assert app.seen[0].disconnected
        for raw in (b"Content-Length: 5\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"):
            client = server.connect()
            client.send(b"POST / HTTP/1.1\r\nHost: h\r\n" + raw)
            assert client.response().status == 200
