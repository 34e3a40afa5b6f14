"""RFC 9112 (HTTP/1.1) section by section: messages, framing, chunks and connections."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any

import pytest

from devserver.events import AppRaised, RequestFinished, RequestRefused
from tests.support.apps import Recorder, respond
from tests.support.memory import memory_server
from tests.support.wire import wait_for, wire_server

if TYPE_CHECKING:
    from devserver.app.types import Receive, Scope, Send

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
GET_1_0 = b"GET / HTTP/1.0\r\nHost: h\r\n\r\n"
HEAD = b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n"


def request(path: str = "/", *lines: str, method: str = "GET", version: str = "1.1", body: bytes = b"") -> bytes:
    """One request with a Host field and these lines."""
    return "\r\n".join([f"{method} {path} HTTP/{version}", "Host: h", *lines, "", ""]).encode("latin-1") + body


def post(body: bytes, *lines: str, path: str = "/") -> bytes:
    """A POST with Content-Length."""
    return request(path, f"Content-Length: {len(body)}", *lines, method="POST", body=body)


def chunked(*chunks: bytes, path: str = "/", trailers: bytes = b"") -> bytes:
    """A POST in chunks."""
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return request(path, "Transfer-Encoding: chunked", method="POST", body=body + b"0\r\n" + trailers + b"\r\n")


class Streamer:
    """Sends these chunks with these headers and remembers what ``send`` raised."""

    def __init__(self, *chunks: bytes, status: int = 200, headers: list[tuple[bytes, bytes]] | None = None) -> None:
        self.chunks, self.status, self.headers = chunks, status, headers or []
        self.sent = 0
        self.raised: BaseException | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
            for index, chunk in enumerate(self.chunks):
                more = index + 1 < len(self.chunks)
                await send({"type": "http.response.body", "body": chunk, "more_body": more})
                self.sent += 1
        except BaseException as exc:
            self.raised = exc
            raise


# --- Section 3.2: request target


@pytest.mark.parametrize(
    ("target", "path", "raw_path", "query", "host"),
    [
        ("/a/b?c=d", "/a/b", b"/a/b", b"c=d", b"h"),
        ("/a%20b%2Fc?x=%20", "/a b/c", b"/a%20b%2Fc", b"x=%20", b"h"),
        ("/caf%C3%A9", "/café", b"/caf%C3%A9", b"", b"h"),
        ("/%ff", "/�", b"/%ff", b"", b"h"),
        ("//a//b", "//a//b", b"//a//b", b"", b"h"),
        ("/a/../b/.", "/a/../b/.", b"/a/../b/.", b"", b"h"),
        ("/?", "/", b"/", b"", b"h"),
        ("/a?b?c", "/a", b"/a", b"b?c", b"h"),
        ("http://example.com/a?b", "/a", b"/a", b"b", b"example.com"),
        ("HTTP://example.com:8080/a", "/a", b"/a", b"", b"example.com:8080"),
        ("https://example.com", "/", b"/", b"", b"example.com"),
        ("http://example.com?q=/x", "/", b"/", b"q=/x", b"example.com"),
        ("http://example.com/http://h/", "/http://h/", b"/http://h/", b"", b"example.com"),
        ("http://[::1]:80/", "/", b"/", b"", b"[::1]:80"),
    ],
)
def test_request_target_gives_path_query_and_host(
    target: str, path: str, raw_path: bytes, query: bytes, host: bytes
) -> None:
    app = Recorder()
    with memory_server(app) as server:
        client = server.connect()
        client.send(request(target, "X: y"))
        scope = app.seen[0].scope
        assert (scope["path"], scope["raw_path"], scope["query_string"]) == (path, raw_path, query)
        assert [value for name, value in scope["headers"] if name == b"host"] == [host]
        assert (b"x", b"y") in scope["headers"]


def test_options_asterisk_is_served() -> None:
    app = Recorder()
    with memory_server(app) as server:
        client = server.connect()
        client.send(request("*", method="OPTIONS"))
        assert client.response().body == b"OPTIONS * "
        assert app.seen[0].scope["raw_path"] == b"*"


# --- Section 5: field syntax


def test_field_lines_keep_order_and_repetition_and_lose_white_space() -> None:
    app = Recorder()
    with memory_server(app) as server:
        client = server.connect()
        client.send(request("/", "X-B: 1", "Accept:a", "x-b:\t 2 \t", "X-A: \xe9", "Empty:", "Blank:   "))
        assert app.seen[0].scope["headers"] == [
            (b"host", b"h"),
            (b"x-b", b"1"),
            (b"accept", b"a"),
            (b"x-b", b"2"),
            (b"x-a", b"\xe9"),
            (b"empty", b""),
            (b"blank", b""),
        ]


UNDERSCORED = ("X_Real_Ip: 1", "X_Forwarded-For: 6.6.6.6", "Content_Length: 0", "X_Id: 2", "X-Id: 1")


@pytest.mark.parametrize(
    ("options", "client", "names"),
    [
        ({}, "10.0.0.1", [b"x_real_ip", b"x_forwarded-for", b"content_length", b"x_id"]),
        # From a trusted proxy, what an app could take for a field that the proxy has written is dropped.
        ({}, "127.0.0.1", [b"content_length", b"x_id"]),
        ({"proxy_headers": False}, "127.0.0.1", [b"x_real_ip", b"x_forwarded-for", b"content_length", b"x_id"]),
        ({"underscore_headers": "drop"}, "10.0.0.1", []),
    ],
)
def test_field_names_with_underscores_are_delivered_unless_they_may_be_mistaken(
    options: dict[str, Any], client: str, names: list[bytes]
) -> None:
    app = Recorder()
    with memory_server(app, **options) as server:
        connection = server.connect(peername=(client, 50000))
        for _ in range(3):  # the second time from any cache of names, the third from that of whole heads
            connection.send(post(b"hello", *UNDERSCORED, "Ok: y"))
        for seen in app.seen:
            delivered = [name for name, _ in seen.scope["headers"]]
            assert delivered == [b"host", b"content-length", *names, b"x-id", b"ok"]
            assert seen.body == b"hello"
        assert len(app.seen) == 3


def test_underscored_twin_of_a_forwarded_header_changes_nothing() -> None:
    app = Recorder()
    with memory_server(app) as server:
        server.connect().send(request("/", "X-Forwarded-For: 10.1.1.1", "X_Forwarded_For: 6.6.6.6"))
        (seen,) = app.seen
        assert seen.scope["client"][0] == "10.1.1.1"
        assert (b"x_forwarded_for", b"6.6.6.6") not in seen.scope["headers"]


def test_field_names_with_underscores_are_refused_on_request() -> None:
    app = Recorder()
    with memory_server(app, underscore_headers="refuse") as server:
        client = server.connect()
        client.send(request("/", "X_Token: a"))
        assert client.response().status == 400
        assert app.seen == []


def test_repeated_field_lines_mean_what_they_mean_with_each_request_line() -> None:
    lines = ("Connection: keep-alive", "Cookie: a=b", "Content-Length: 5")
    app = Recorder()
    with memory_server(app) as server:
        client = server.connect()
        for raw in (
            request("/a", *lines, method="POST", body=b"first"),
            request("/b", *lines, method="PUT", body=b"again"),
            request("/c", *lines, method="HEAD", body=b"thing"),
            request("http://other/d", *lines, method="POST", body=b"fifth"),
            request("/e", *lines, method="POST", body=b"sixth"),
            request("/f", *lines, method="POST", version="1.0", body=b"seven"),
        ):
            client.send(raw[:40], raw[40:])
        answers = client.responses("POST", "PUT", "HEAD", "POST", "POST", "POST")
        assert [answer.body for answer in answers] == [
            b"POST /a first",
            b"PUT /b again",
            b"",
            b"POST /d fifth",
            b"POST /e sixth",
            b"POST /f seven",
        ]
        assert [answer.get("connection") for answer in answers] == [None] * 5 + ["keep-alive"]
        assert [dict(seen.scope["headers"])[b"host"] for seen in app.seen] == [b"h", b"h", b"h", b"other", b"h", b"h"]
        headers = [seen.scope["headers"] for seen in app.seen]
        assert all(one is not other for one, other in itertools.combinations(headers, 2))


def test_repeated_field_lines_of_one_connection_are_judged_anew_on_another() -> None:
    app = Recorder()
    with memory_server(app) as server:
        forwarded = request("/", "X-Forwarded-For: 203.0.113.9")
        trusted, other = server.connect(), server.connect(peername=("198.51.100.7", 4000))
        trusted.send(forwarded, forwarded)
        other.send(forwarded, forwarded)
        assert [seen.scope["client"] for seen in app.seen] == [
            *[("203.0.113.9", 0)] * 2,
            *[("198.51.100.7", 4000)] * 2,
        ]


# --- Section 6: message body


@pytest.mark.parametrize("raw", [post(b"hello world"), chunked(b"hello", b" ", b"world")], ids=["length", "chunked"])
def test_request_body_at_every_split_reaches_the_app_whole(raw: bytes) -> None:
    app = Recorder()
    with memory_server(app) as server:
        for at in range(1, len(raw)):
            server.connect().send(raw[:at], raw[at:])
        server.connect().send_bytewise(raw)
        server.connect().send(raw)
        assert len(app.seen) == len(raw) + 1
        assert all(seen.complete and seen.body == b"hello world" for seen in app.seen)


def test_body_that_came_with_the_head_is_one_message() -> None:
    app = Recorder()
    with memory_server(app) as server:
        server.connect().send(post(b"hello"))
        assert app.seen[0].messages == [{"type": "http.request", "body": b"hello", "more_body": False}]


def test_get_without_body_receives_one_empty_message() -> None:
    app = Recorder()
    with memory_server(app) as server:
        server.connect().send(GET)
        assert app.seen[0].messages == [{"type": "http.request", "body": b"", "more_body": False}]


def test_body_bytes_that_look_like_a_request_are_a_body() -> None:
    app = Recorder()
    with memory_server(app) as server:
        client = server.connect()
        client.send(post(GET), chunked(GET, GET))
        assert [seen.body for seen in app.seen] == [GET, GET * 2]
        assert len(client.responses()) == 2


@pytest.mark.parametrize("in_chunks", [False, True], ids=["length", "chunked"])
def test_body_that_nobody_reads_stays_with_the_client(in_chunks: bool) -> None:
    release = asyncio.Event()
    received = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await release.wait()
        while True:
            message = await receive()
            received.append(message["body"])
            if not message["more_body"]:
                break
        await respond(send)

    piece = b"x" * 16384
    raw = chunked(*[piece] * 64) if in_chunks else post(piece * 64)
    with memory_server(app) as server:
        client = server.connect()
        client.send(*(raw[at : at + 16384] for at in range(0, len(raw), 16384)))
        taken = len(raw) - client.unread
        assert 64 * 1024 <= taken <= 160 * 1024
        assert not client.transport.reading
        server.loop.call_soon(release.set)
        client.settle()
        assert client.unread == 0
        assert b"".join(received) == piece * 64
        assert client.response().status == 200


# --- Section 6.3: length of a response


def test_response_in_one_chunk_without_length_gets_one() -> None:
    with memory_server(Streamer(b"hello")) as server:
        client = server.connect()
        client.send(GET, GET)
        first, second = client.responses()
        assert (first.framing, first.get("content-length"), first.body) == ("length", "5", b"hello")
        assert second.body == b"hello"


def test_response_in_several_chunks_without_length_is_chunked() -> None:
    with memory_server(Streamer(b"hello", b"", b" ", b"world", b"")) as server:
        client = server.connect()
        client.send(GET, GET)
        assert [(response.framing, response.body) for response in client.responses()] == [
            ("chunked", b"hello world")
        ] * 2


def test_response_in_several_chunks_with_length_is_plain() -> None:
    with memory_server(Streamer(b"hello", b" ", b"world", headers=[(b"Content-Length", b"11")])) as server:
        client = server.connect()
        client.send(GET, GET)
        assert [(response.framing, response.body) for response in client.responses()] == [
            ("length", b"hello world")
        ] * 2


def test_response_of_a_mebibyte_arrives_whole() -> None:
    chunk = bytes(range(256)) * 1024
    for headers in ([], [(b"content-length", b"1048576")]):
        with memory_server(Streamer(*[chunk] * 4, headers=headers)) as server:
            client = server.connect()
            client.send(GET)
            assert client.response().body == chunk * 4


@pytest.mark.parametrize("body", [bytearray(b"hello"), memoryview(b"hello")], ids=["bytearray", "memoryview"])
@pytest.mark.parametrize("more", [False, True])
def test_response_body_may_be_any_byte_string(body: Any, more: bool) -> None:
    with memory_server(Streamer(body, b"!") if more else Streamer(body)) as server:
        client = server.connect()
        client.send(GET)
        assert client.response().body == (b"hello!" if more else b"hello")


def test_transfer_encoding_asked_for_by_the_app_is_written_once() -> None:
    with memory_server(Streamer(b"a", b"b", headers=[(b"Transfer-Encoding", b"chunked")])) as server:
        client = server.connect()
        client.send(GET)
        assert client.response().body == b"ab"


def test_response_to_http_1_0_without_length_ends_with_the_connection() -> None:
    with memory_server(Streamer(b"hello", b" world")) as server:
        client = server.connect()
        client.send(request(version="1.0"))
        response = client.response()
        assert (response.framing, response.body) == ("close", b"hello world")
        assert response.get("connection") == "close"
        client = server.connect()
        client.send(request("/", "Connection: keep-alive", version="1.0"))
        assert (client.response().framing, client.closed) == ("close", True)


@pytest.mark.parametrize("length", [b"4", b"6"])
def test_response_in_one_chunk_of_another_length_is_the_apps_error(length: bytes) -> None:
    app = Streamer(b"hello", headers=[(b"content-length", length)])
    with memory_server(app) as server:
        client = server.connect()
        client.send(GET)
        assert client.response().status == 500
        (event,) = server.events_of(AppRaised)
        assert "Content-Length" in event.failure.message


def test_response_longer_than_its_length_never_sends_the_excess() -> None:
    app = Streamer(b"hell", b"o world", headers=[(b"content-length", b"5")])
    with memory_server(app) as server:
        client = server.connect()
        client.send(GET + GET)
        assert client.sent.endswith(b"\r\n\r\nhell")
        assert client.closed
        assert len(server.events_of(AppRaised)) == 1


def test_response_shorter_than_its_length_is_cut() -> None:
    app = Streamer(b"he", b"ll", headers=[(b"content-length", b"5")])
    with memory_server(app) as server:
        client = server.connect()
        client.send(GET + GET)
        assert client.sent.endswith(b"\r\n\r\nhe")
        assert client.closed
        assert len(server.events_of(AppRaised)) == 1


# --- Section 7.1: chunks and trailers of a request


def test_trailers_of_a_request_are_no_headers_of_the_next_one() -> None:
    app = Recorder()
    with memory_server(app) as server:
        client = server.connect()
        client.send(chunked(b"a", trailers=b"Host: evil\r\nX-Trailer: y\r\nConnection: close\r\n") + GET)
        assert len(client.responses()) == 2
        for seen in app.seen:
            assert (b"x-trailer", b"y") not in seen.scope["headers"]
            assert (b"host", b"evil") not in seen.scope["headers"]


def test_one_byte_chunks_of_a_moderate_body_are_served() -> None:
    app = Recorder()
    with memory_server(app) as server:
        client = server.connect()
        client.send(chunked(*[b"x"] * 8000))
        assert client.response().status == 200
        assert app.seen[0].body == b"x" * 8000


# --- Section 9.3: persistence


@pytest.mark.parametrize(
    ("version", "line", "kept"),
    [
        ("1.1", "X: y", True),
        ("1.1", "Connection: keep-alive", True),
        ("1.1", "Connection: close", False),
        ("1.1", "Connection: Close", False),
        ("1.1", "Connection: foo, close ,bar", False),
        ("1.1", "Connection: closed", True),
        ("1.1", "Connection: close, keep-alive", False),
        ("1.0", "X: y", False),
        ("1.0", "Connection: keep-alive", True),
        ("1.0", "Connection: Keep-Alive", True),
        ("1.0", "Connection: close", False),
        ("1.0", "Connection: keep-alive, close", False),
    ],
)
def test_connection_persists_as_version_and_options_say(version: str, line: str, kept: bool) -> None:
    app = Recorder()
    with memory_server(app) as server:
        client = server.connect()
        client.send(request("/1", line, version=version), request("/2"))
        assert app.paths == (["/1", "/2"] if kept else ["/1"])
        assert client.closed is not kept
        connection = client.responses()[0].get("connection")
        assert connection == ("close" if not kept else "keep-alive" if version == "1.0" else None)


def test_two_connection_lines_are_one_list() -> None:
    app = Recorder()
    with memory_server(app) as server:
        client = server.connect()
        client.send(request("/1", "Connection: foo", "Connection: close"), request("/2"))
        assert app.paths == ["/1"]


def test_app_may_close_the_connection() -> None:
    app = Streamer(b"hello", headers=[(b"Connection", b"close")])
    with memory_server(app) as server:
        client = server.connect()
        client.send(GET + GET)
        response = client.response()
        assert (response.get("connection"), response.body) == ("close", b"hello")
        assert client.closed


# --- Section 9.3.2: pipelining


class Doors:
    """Holds every request until its path is opened; remembers the order of beginnings and ends."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.open: dict[str, asyncio.Event] = {}

    def unlock(self) -> None:
        """Opens the first two doors."""
        for path in ("/1", "/2"):
            self.open.setdefault(path, asyncio.Event()).set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        self.log.append(f"begin {path}")
        await self.open.setdefault(path, asyncio.Event()).wait()
        self.log.append(f"end {path}")
        await respond(send, path.encode())


def test_pipelined_requests_run_one_after_the_other_and_are_answered_in_order() -> None:
    app = Doors()
    with memory_server(app) as server:
        client = server.connect()
        client.send(request("/1") + request("/2") + request("/3"))
        assert app.log == ["begin /1"]
        for path in ("/2", "/3", "/1"):
            app.open.setdefault(path, asyncio.Event()).set()
        client.settle()
        assert app.log == ["begin /1", "end /1", "begin /2", "end /2", "begin /3", "end /3"]
        assert [response.body for response in client.responses()] == [b"/1", b"/2", b"/3"]


def test_pipelined_bodies_are_kept_apart() -> None:
    app = Recorder()
    raw = post(b"one", path="/1") + chunked(b"t", b"wo", path="/2") + request("/3") + post(b"four", path="/4")
    with memory_server(app) as server:
        for pieces in ([raw], [raw[at : at + 1] for at in range(len(raw))], [raw[:70], raw[70:71], raw[71:]]):
            app.seen.clear()
            client = server.connect()
            client.send(*pieces)
            assert [(seen.scope["path"], seen.body) for seen in app.seen] == [
                ("/1", b"one"),
                ("/2", b"two"),
                ("/3", b""),
                ("/4", b"four"),
            ]
            assert len(client.responses()) == 4


def test_ten_thousand_pipelined_requests_are_all_answered() -> None:
    app = Recorder()
    with memory_server(app) as server:
        client = server.connect()
        client.send(*[GET * 500] * 20)
        client.settle()
        assert len(client.responses()) == 10_000


def test_pipelined_requests_behind_a_running_one_stay_with_the_client() -> None:
    app = Doors()
    with memory_server(app) as server:
        client = server.connect()
        client.send(*[GET * 100] * 100)
        assert app.log == ["begin /"]
        assert client.unread >= 100 * 100 * len(GET) - 160 * 1024
        app.open["/"].set()
        client.settle()
        assert client.unread == 0
        assert len(client.responses()) == 10_000


def test_refusal_waits_for_the_responses_before_it() -> None:
    app = Doors()
    with memory_server(app) as server:
        client = server.connect()
        client.send(request("/1") + b"GET  bad HTTP/1.1\r\n\r\n")
        assert client.sent == b""
        app.open["/1"].set()
        client.settle()
        assert [response.status for response in client.responses()] == [200, 400]


# --- Section 9.5 and 9.6: failures, timeouts and tear-down


def test_client_that_half_closes_gets_its_response() -> None:
    app = Doors()
    with wire_server(app) as server:
        with server.connect() as client:
            client.send(request("/1") + request("/2"))
            client.shut()
            wait_for(lambda: app.log)
            server.call(app.unlock)
            assert [response.body for response in client.responses_to_end()] == [b"/1", b"/2"]


def test_half_closed_idle_connection_is_closed() -> None:
    with memory_server(Recorder()) as server:
        client = server.connect()
        client.send(GET)
        client.shut()
        assert client.gone
        assert len(client.responses()) == 1


@pytest.mark.parametrize("raw", [b"", b"G", b"GET / HTTP/1.1\r\nHost: h\r\n"])
def test_half_closed_connection_without_a_request_is_closed_without_an_answer(raw: bytes) -> None:
    with memory_server(Recorder()) as server:
        client = server.connect()
        client.send(raw)
        client.shut()
        server.advance(10.0, step=1.0)
        assert client.gone
        assert client.sent == b""


@pytest.mark.parametrize("raw", [post(b"hello")[:-1], chunked(b"hello")[:-1], chunked(b"hello")[:-8]])
def test_half_closed_client_that_owes_a_body_is_a_disconnect(raw: bytes) -> None:
    app = Recorder()
    with memory_server(app) as server:
        client = server.connect()
        client.send(raw)
        client.shut()
        assert app.seen[0].disconnected
        server.advance(10.0, step=1.0)
        assert client.gone
        assert server.state.tasks == set()


def test_unread_body_up_to_64_kib_is_discarded_and_the_connection_goes_on() -> None:
    app = Streamer(b"ok")
    with memory_server(app) as server:
        raw = post(b"x" * 65536)
        client = server.connect()
        client.send(raw[:100])
        assert client.response().get("connection") is None
        client.send(*(raw[at : at + 4096] for at in range(100, len(raw), 4096)))
        client.send(GET)
        assert [response.status for response in client.responses()] == [200, 200]
        assert not client.closed


@pytest.mark.parametrize("app", [Streamer(b"ok"), Streamer(b"o", b"k")])
@pytest.mark.parametrize("raw", [post(b"x" * 70_000), chunked(*[b"x" * 8192] * 20), chunked(b"x")[:-7]])
def test_body_that_will_not_be_read_is_announced_as_the_end_of_the_connection(app: Streamer, raw: bytes) -> None:
    # RFC 9112 section 9.6. How much of a chunked body is to come is not known.
    with memory_server(app) as server:
        client = server.connect()
        client.send(*(raw[at : at + 4096] for at in range(0, len(raw), 4096)), GET)
        response = client.response()
        assert (response.status, response.get("connection")) == (200, "close")
        assert client.closed


def test_body_that_has_arrived_unread_leaves_the_connection_open() -> None:
    app = Streamer(b"ok")
    with memory_server(app) as server:
        for raw in (post(b"x" * 70_000), chunked(*[b"x" * 8192] * 20)):
            client = server.connect()
            client.send(raw + GET)
            assert [response.get("connection") for response in client.responses()] == [None, None]
            assert not client.closed


@pytest.mark.parametrize("size", [100_000, 8_000_000])
def test_response_to_an_unread_upload_arrives_before_the_connection_ends(size: int) -> None:
    with wire_server(Streamer(b"enough", status=413)) as server:
        with server.connect() as client:
            raw = post(b"x" * size)
            client.send(raw[:1000])
            for at in range(1000, len(raw), 65536):
                try:
                    client.send(raw[at : at + 65536])
                except OSError:
                    break
            assert client.response().body == b"enough"


def test_lingering_ends_when_the_client_closes_and_after_a_while() -> None:
    with memory_server(Recorder()) as server:
        for patient in (True, False):
            client = server.connect()
            client.send(b"BAD\r\n\r\n")
            assert client.closed
            assert not client.gone
            client.send(b"more" * 100)
            if patient:
                server.advance(10.0, step=1.0)
            else:
                client.shut()
            assert client.gone
            assert len(client.responses()) == 1


def test_fresh_connection_that_sends_nothing_is_closed() -> None:
    with memory_server(Recorder(), timeout_request_head=3) as server:
        client = server.connect()
        server.advance(2.5)
        assert not client.closed
        server.advance(1.0)
        assert client.gone
        assert client.sent == b""


def test_head_that_trickles_is_refused_with_408_when_its_time_is_over() -> None:
    app = Recorder()
    with memory_server(app, timeout_request_head=3) as server:
        client = server.connect()
        for byte in b"GET / HTTP/1.1\r\nX: yyyyyyyyyyyyyy"[:29]:
            client.send(bytes([byte]))
            server.advance(0.1)
        assert not client.closed
        for byte in b"abcdefgh":
            client.send(bytes([byte]))
            server.advance(0.1)
        assert client.response().status == 408
        assert client.closed
        (event,) = server.events_of(RequestRefused)
        assert event.status == 408
        assert app.seen == []


def test_head_on_a_kept_connection_has_its_own_time() -> None:
    with memory_server(Recorder(), timeout_request_head=3, timeout_keep_alive=60) as server:
        client = server.connect()
        client.send(GET)
        server.advance(20.0, step=1.0)
        client.send(GET[:10])
        server.advance(2.5)
        assert not client.closed
        client.send(GET[10:15])
        server.advance(1.0)
        assert [response.status for response in client.responses()] == [200, 408]


def test_idle_connection_is_closed_without_a_word_after_the_keep_alive_time() -> None:
    with memory_server(Recorder(), timeout_keep_alive=5) as server:
        client = server.connect()
        client.send(GET)
        server.advance(4.5)
        client.send(GET)
        server.advance(4.5)
        assert not client.closed
        server.advance(1.0)
        assert client.gone
        assert [response.status for response in client.responses()] == [200, 200]


def test_keep_alive_time_of_zero_closes_after_the_response() -> None:
    with memory_server(Recorder(), timeout_keep_alive=0) as server:
        client = server.connect()
        client.send(GET)
        server.advance(0.2)
        assert client.gone
        assert client.response().status == 200


def test_running_request_may_take_as_long_as_it_likes() -> None:
    app = Doors()
    with memory_server(app, timeout_keep_alive=1, timeout_request_head=1, timeout_request_body=1) as server:
        client = server.connect()
        client.send(request("/1"))
        server.advance(100.0, step=1.0)
        assert not client.closed
        app.open["/1"].set()
        client.settle()
        assert client.response().body == b"/1"


@pytest.mark.parametrize("raw", [post(b"hello")[:-1], chunked(b"hello")[:-1]], ids=["length", "chunked"])
def test_body_that_stops_is_refused_with_408(raw: bytes) -> None:
    app = Recorder()
    with memory_server(app, timeout_request_body=3) as server:
        client = server.connect()
        client.send(raw)
        server.advance(2.5)
        assert not client.closed
        server.advance(1.0)
        assert client.response().status == 408
        assert app.seen[0].disconnected
        assert client.closed


def test_body_slower_than_240_bytes_a_second_is_refused_with_408() -> None:
    app = Recorder()
    with memory_server(app, timeout_request_body=60) as server:
        slow, fast = server.connect(), server.connect()
        for client in (slow, fast):
            client.send(post(b"x" * 100_000)[:-100_000])
        for _ in range(62):
            slow.send(b"x" * 200)
            fast.send(b"x" * 300)
            server.advance(1.0, step=1.0)
        assert slow.response().status == 408
        assert not fast.closed


def test_time_of_a_body_does_not_run_while_the_app_is_not_reading() -> None:
    release = asyncio.Event()
    app = Recorder()

    async def late(scope: Scope, receive: Receive, send: Send) -> None:
        await release.wait()
        await app(scope, receive, send)

    raw = post(b"x" * 300_000)
    with memory_server(late, timeout_request_body=3) as server:
        client = server.connect()
        client.send(*(raw[at : at + 16384] for at in range(0, len(raw), 16384)))
        assert client.unread
        server.advance(100.0, step=1.0)
        assert not client.closed
        release.set()
        client.settle()
        assert len(app.seen[0].body) == 300_000


def test_client_that_reads_nothing_is_dropped_after_the_write_time() -> None:
    app = Streamer(*[b"x" * 50_000] * 10)
    with memory_server(app, timeout_write=3) as server:
        client = server.connect()
        client.transport.stuck = True
        client.send(GET)
        assert 0 < app.sent < 10
        server.advance(2.5)
        assert not client.gone
        server.advance(4.0)
        assert client.gone
        assert isinstance(app.raised, OSError)
        (event,) = server.events_of(RequestFinished)
        assert not event.complete


def test_client_that_reads_slowly_is_kept() -> None:
    app = Streamer(*[b"x" * 50_000] * 10)
    with memory_server(app, timeout_write=3) as server:
        client = server.connect()
        client.transport.stuck = True
        client.send(GET)
        while len(client.transport.unsent):
            server.advance(2.0)
            client.transport.drain(20_000)
            client.settle()
        assert app.sent == 10
        assert client.response().body == b"x" * 500_000


def test_client_that_reads_nothing_of_a_complete_response_is_dropped_after_the_write_time() -> None:
    with memory_server(Streamer(b"x" * 50_000), timeout_write=3, timeout_keep_alive=3) as server:
        client = server.connect()
        client.transport.stuck = True
        client.send(request("/", "Connection: close"))
        server.advance(20.0)
        assert client.gone


def test_send_waits_while_the_client_does_not_read() -> None:
    app = Streamer(*[b"x" * 50_000] * 10)
    with memory_server(app) as server:
        client = server.connect()
        client.transport.stuck = True
        client.send(GET)
        assert app.sent <= 2
        client.transport.drain()
        client.settle()
        assert 2 < app.sent < 10
        client.transport.stuck = False
        client.transport.drain()
        client.settle()
        assert app.sent == 10


def test_timeouts_pass_on_real_sockets_too() -> None:
    with wire_server(Recorder(), timeout_request_head=0.1, timeout_request_body=0.1, timeout_keep_alive=0.1) as server:
        with server.connect() as idle, server.connect() as head, server.connect() as body, server.connect() as kept:
            head.send(b"GET / HT")
            body.send(post(b"hello")[:-1])
            kept.send(GET)
            assert idle.read_to_end() == b""
            assert [response.status for response in head.responses_to_end()] == [408]
            assert [response.status for response in body.responses_to_end()] == [408]
            assert [response.status for response in kept.responses_to_end()] == [200]
        wait_for(lambda: not server.state.connections)


# --- Fairness


def test_requests_of_one_turn_are_all_answered_and_each_connection_ends_as_it_must() -> None:
    """Responses of one turn are written together at its end; nothing that closes a connection may overtake them."""
    app = Recorder()
    with memory_server(app) as server:
        clients = [server.connect() for _ in range(150)]
        for number, client in enumerate(clients):
            raw = request(f"/{number}", *(["Connection: close"] if number % 3 == 0 else []))
            server.loop.call_soon(client.connection.data_received, raw)
            if number % 3 == 1:
                server.loop.call_soon(client.connection.eof_received)
        server.settle()
        for number, client in enumerate(clients):
            assert client.response().body == b"GET /%d " % number
            assert client.closed == (number % 3 != 2)
            assert client.transport.writes == 1


def test_responses_of_one_connection_stay_in_order_when_its_requests_come_in_one_turn() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/whole":
            await respond(send, b"whole")
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"in ", "more_body": True})
        await send({"type": "http.response.body", "body": b"pieces"})

    with memory_server(app) as server:
        client = server.connect()
        for path in ("/whole", "/pieces", "/whole", "/pieces"):
            server.loop.call_soon(client.connection.data_received, request(path))
        server.settle()
        assert [response.body for response in client.responses()] == [b"whole", b"in pieces"] * 2


def test_endless_fast_response_leaves_turns_to_others() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/small":
            await respond(send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": b"x" * 1000, "more_body": True})

    with wire_server(app) as server:
        with server.connect() as endless, server.connect() as other:
            endless.send(GET)
            endless.read(100_000)
            for _ in range(10):
                other.send(request("/small"))
                while len(endless.socket.recv(65536)) == 65536:
                    pass
                assert other.response().body == b"ok"


def test_upload_that_is_always_there_leaves_turns_to_others() -> None:
    """An app that loops over ``receive()`` with data at hand must not keep the loop to itself."""
    app = Recorder()
    with wire_server(app) as server:
        with server.connect() as client, server.connect() as other:
            raw = post(b"x" * 4_000_000)
            client.send(raw[:2_000_000])
            other.send(GET)
            assert other.response().status == 200
            client.send(raw[2_000_000:])
            assert client.response().status == 200


# --- Large bodies, which are read into memory that is used again


def test_large_bodies_of_several_connections_do_not_mix_in_the_shared_buffer() -> None:
    app = Recorder()
    bodies = [bytes([65 + number]) * 1_000_000 for number in range(3)]
    with memory_server(app) as server:
        clients = [server.connect() for _ in bodies]
        pieces = [[*(post(body)[at : at + 50_000] for at in range(0, 1_000_100, 50_000)), GET] for body in bodies]
        for turn in zip(*pieces, strict=True):
            for client, piece in zip(clients, turn, strict=True):
                client.send(piece)
        for client in clients:
            assert [response.status for response in client.responses()] == [200, 200]
            assert client.transport.get_protocol() is client.connection
        assert sorted(seen.body for seen in app.seen if seen.body) == bodies


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_large_body_over_a_real_socket_arrives_with_what_follows_it(loop: str) -> None:
    app = Recorder()
    data = bytes(range(256)) * 8192
    with wire_server(app, loop=loop) as server:
        with server.connect() as client:
            for _ in range(2):
                client.send(post(data) + GET)
                assert client.response().body.endswith(data[-1000:])
                assert client.response().status == 200
    assert [seen.body for seen in app.seen] == [data, b""] * 2


def test_client_that_leaves_within_a_large_body_is_gone() -> None:
    app = Recorder()
    with memory_server(app) as server:
        client = server.connect()
        client.send(*(post(b"x" * 1_000_000)[at : at + 60_000] for at in range(0, 600_000, 60_000)))
        client.shut()
        assert client.gone
        assert app.seen[0].disconnected


def test_many_pipelined_requests_in_one_read_are_answered_and_reading_goes_on() -> None:
    app = Streamer(b"ok")
    with memory_server(app) as server:
        client = server.connect()
        client.send(GET * 5000, GET)
        assert len(client.responses()) == 5001
        assert client.transport.is_reading()


@pytest.mark.parametrize("size", [60_000, 100_000, 300_000])
def test_large_head_that_is_allowed_is_read_whole_however_it_is_cut(size: int) -> None:
    app = Recorder()
    limits: dict[str, Any] = {"limit_request_head": 1 << 20, "limit_request_field_size": 1 << 20}
    raw = request("/", "X: " + "y" * size)
    with memory_server(app, **limits) as server:
        for step in (len(raw), 70_000, 10_000):
            client = server.connect()
            client.send(*(raw[at : at + step] for at in range(0, len(raw), step)), GET)
            assert [response.status for response in client.responses()] == [200, 200]
