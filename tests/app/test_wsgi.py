"""WSGI apps over real sockets, rule by rule of PEP 3333; ``wsgiref.validate`` looks on wherever the app keeps them."""

from __future__ import annotations

import contextvars
import functools
import sys
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

import devserver
from devserver.app import wsgi as adapter
from devserver.app import wsgi_warning
from devserver.errors import ClientDisconnected
from devserver.events import AppRaised
from tests.support.responses import read_responses
from tests.support.server import read_all, until
from tests.support.wsgi import TEXT, Environ, client_of, hello, request, serving_wsgi

if TYPE_CHECKING:
    from tests.support.server import Running
    from tests.support.wire import WireClient

FRAMES = [("Content-Type", "text/plain")]


class Pieces:
    """An iterable with close(); what happened to it stays in ``log``."""

    def __init__(self, *pieces: bytes | Exception) -> None:
        self.pieces = pieces
        self.log: list[object] = []

    def __iter__(self) -> Iterator[bytes]:
        for piece in self.pieces:
            self.log.append(piece)
            if isinstance(piece, Exception):
                raise piece
            yield piece

    def close(self) -> None:
        self.log.append("closed")


def answering(pieces: Any, *, status: str = "200 OK", headers: list[tuple[str, str]] | None = None) -> Any:
    """An app that returns ``pieces``."""

    def app(environ: Environ, start_response: Any) -> Any:
        start_response(status, FRAMES if headers is None else headers)
        return pieces

    return app


def messages(running: Running) -> list[str]:
    """What the app was told to have done wrong."""
    return [event.failure.message for event in running.of(AppRaised)]


def cut_off(client: WireClient) -> None:
    """The connection ends before the response does."""
    data = read_all(client.socket)
    assert data.startswith(b"HTTP/1.1 200 OK\r\n")
    with pytest.raises(AssertionError):
        read_responses(data)


def tasks(running: Running) -> set[Any]:
    """The requests that have not come to their end."""
    state = running.server.server_state
    assert state is not None
    return state.tasks


# Responses


def test_list_of_one_piece_gets_a_content_length() -> None:
    with serving_wsgi(hello, checked=False) as running, client_of(running) as client:
        client.send(request())
        response = client.response()
    assert (response.status, response.body, response.framing) == (200, b"hello", "length")
    assert response.get("content-length") == "5"
    assert response.get("content-type") == "text/plain"


@pytest.mark.parametrize("kind", [list, tuple, iter])
@pytest.mark.parametrize("checked", [False, True])
def test_iterables_arrive_whole(kind: Any, checked: bool) -> None:
    with serving_wsgi(answering(kind([b"a", b"", b"bc"])), checked=checked) as running:
        assert running.get().body == b"abc"
        assert messages(running) == []


@pytest.mark.parametrize("pieces", [[], [b""], iter([]), iter([b"", b""])])
def test_empty_response_is_complete(pieces: Any) -> None:
    with serving_wsgi(answering(pieces), checked=False) as running, client_of(running) as client:
        client.send(request(), request())
        first = client.response()
        assert (first.status, first.body, first.get("content-length")) == (200, b"", "0")


def test_each_piece_leaves_before_the_next_is_made() -> None:
    came = [threading.Event(), threading.Event()]

    def app(environ: Environ, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [TEXT])
        yield b"one"
        assert came[0].wait(30)
        yield b"two"
        assert came[1].wait(30)

    with serving_wsgi(app) as running, client_of(running) as client:
        client.send(request())
        data = b""
        for piece, event in zip((b"3\r\none\r\n", b"3\r\ntwo\r\n"), came, strict=True):
            while not data.endswith(piece):
                data += client.read(1)
            event.set()
        assert client.read(5) == b"0\r\n\r\n"


def test_head_stays_with_the_app_until_the_first_piece() -> None:
    """PEP 3333, "The start_response() Callable": until then it may still be replaced."""

    def app(environ: Environ, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [TEXT])
        yield b""
        try:
            raise KeyError("late")
        except KeyError:
            start_response("503 Service Unavailable", [TEXT, ("X-Late", "yes")], sys.exc_info())
        yield b"sorry"

    with serving_wsgi(app) as running, client_of(running) as client:
        client.send(request())
        response = client.response()
    assert (response.status, response.get("x-late"), response.body) == (503, "yes", b"sorry")


def test_exc_info_after_the_head_raises_the_error_again() -> None:
    log: list[BaseException] = []

    def app(environ: Environ, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [TEXT])
        yield b"begun"
        try:
            raise KeyError("late")
        except KeyError:
            try:
                start_response("500 Oops", [TEXT], sys.exc_info())
            except KeyError as exc:
                log.append(exc)
                raise

    with serving_wsgi(app) as running, client_of(running) as client:
        client.send(request())
        cut_off(client)
        assert [repr(each) for each in log] == ["KeyError('late')"]
        until(lambda: messages(running) == ["'late'"])


def test_write_and_iterable_keep_their_order() -> None:
    def app(environ: Environ, start_response: Any) -> list[bytes]:
        write = start_response("200 OK", [TEXT])
        write(b"one ")
        write(b"two ")
        return [b"three"]

    with serving_wsgi(app) as running:
        assert running.get().body == b"one two three"
        assert messages(running) == []


def test_write_alone_is_a_response() -> None:
    def app(environ: Environ, start_response: Any) -> list[bytes]:
        start_response("200 OK", [TEXT, ("Content-Length", "4")])(b"data")
        return []

    with serving_wsgi(app) as running, client_of(running) as client:
        client.send(request(), request())
        assert [client.response().body, client.response().body] == [b"data", b"data"]


def test_client_has_a_complete_response_before_the_app_is_closed() -> None:
    may_close = threading.Event()

    class Slow(Pieces):
        def close(self) -> None:
            assert may_close.wait(30)
            super().close()

    pieces = Slow(b"hello")
    app = answering(pieces, headers=[TEXT, ("Content-Length", "5")])
    with serving_wsgi(app, checked=False) as running:
        assert running.get().body == b"hello"
        assert "closed" not in pieces.log
        may_close.set()
        until(lambda: "closed" in pieces.log)


@pytest.mark.parametrize(
    ("pieces", "status"),
    [
        (Pieces(b"one", b"two"), 200),
        (Pieces(), 200),
        (Pieces(ValueError("x")), 500),
    ],
)
def test_close_is_called_once_whatever_happens(pieces: Pieces, status: int) -> None:
    with serving_wsgi(answering(pieces)) as running:
        assert running.get().status == status
        until(lambda: "closed" in pieces.log)
        assert pieces.log.count("closed") == 1


def test_everything_of_a_request_runs_in_one_thread_and_one_context() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
    seen: list[tuple[str, int, str]] = []

    class Body(Pieces):
        def __iter__(self) -> Iterator[bytes]:
            for piece in (b"a", b"b"):
                seen.append(("piece", threading.get_ident(), variable.get()))
                yield piece

        def close(self) -> None:
            seen.append(("close", threading.get_ident(), variable.get()))

    def app(environ: Environ, start_response: Any) -> Body:
        seen.append(("call", threading.get_ident(), variable.get()))
        variable.set("set")
        start_response("200 OK", [TEXT])
        return Body()

    with serving_wsgi(app) as running:
        for _ in range(3):
            running.get()
            until(lambda: seen[-1][0] == "close")
            what, threads, values = zip(*seen, strict=True)
            assert what == ("call", "piece", "piece", "close")
            assert len(set(threads)) == 1
            assert values == ("unset", "set", "set", "set")
            assert threads[0] != running.thread
            seen.clear()


# HEAD, 204, 304


def test_head_request_has_the_head_alone() -> None:
    with serving_wsgi(answering([b"hello"], headers=[TEXT, ("Content-Length", "5")])) as running:
        with client_of(running) as client:
            client.send(request(method="HEAD"), request())
            response = client.response("HEAD")
            assert (response.get("content-length"), response.body) == ("5", b"")
            assert client.response().body == b"hello"
        assert messages(running) == []


def test_head_request_does_not_make_what_nobody_reads() -> None:
    pieces = Pieces(b"one", b"two")
    with serving_wsgi(answering(pieces)) as running, client_of(running) as client:
        client.send(request(method="HEAD"), request(method="HEAD"))
        response = client.response("HEAD")
        assert response.get("content-length") is None
        assert response.get("transfer-encoding") is None
        until(lambda: pieces.log == [b"one", "closed"] * 2)


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_bodiless_status_has_no_body(status: str) -> None:
    for pieces in ([b"x"], iter([b"x", b"y"])):
        with serving_wsgi(answering(pieces, status=status, headers=[]), checked=False) as running:
            with client_of(running) as client:
                client.send(request())
                response = client.response()
                assert (response.status, response.framing) == (int(status[:3]), "none")
                client.send(request(method="HEAD"))
                assert client.response("HEAD").status == int(status[:3])


# Mistakes of the app


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (["text"], "A piece of the response body must be bytes, not str."),
        (iter(["text"]), "A piece of the response body must be bytes, not str."),
        (iter([""]), "A piece of the response body must be bytes, not str."),
        (None, "The app returned NoneType, where WSGI asks for an iterable of bytes."),
        (b"bytes", "The app returned bytes, where WSGI asks for an iterable of bytes."),
        ("text", "The app returned str, where WSGI asks for an iterable of bytes."),
    ],
)
def test_what_is_no_iterable_of_bytes_is_answered_with_500(result: Any, message: str) -> None:
    with serving_wsgi(answering(result), checked=False) as running:
        assert running.get().status == 500
        assert messages(running) == [message]


def test_response_without_start_response_is_answered_with_500() -> None:
    for result in ([b"x"], [], iter([b"x"]), iter([])):
        with serving_wsgi(functools.partial(lambda result, *_: result, result), checked=False) as running:
            assert running.get().status == 500
            assert messages(running) == ["The app has not called start_response before it gave the response body."]


def test_second_start_response_is_a_mistake() -> None:
    def app(environ: Environ, start_response: Any) -> list[bytes]:
        start_response("200 OK", [TEXT])
        start_response("200 OK", [TEXT])
        return [b"x"]

    with serving_wsgi(app) as running:
        assert running.get().status == 500
        assert messages(running) == ["start_response was called a second time without exc_info."]


def test_apps_that_bend_pep_3333_without_harm_are_answered(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As under gunicorn. What an app does is said once."""
    monkeypatch.setattr(wsgi_warning, "_warned", set())

    def app(environ: Environ, start_response: Any) -> list[bytes]:
        hops = [(name, "close") for name in ("Connection", "Transfer-Encoding", "Keep-Alive", "Upgrade", "TE")]
        start_response(status="200", headers=(TEXT, *hops, ["X-A", "b"]), exc_info=None)
        return [b"x"]

    with serving_wsgi(app, checked=False) as running, client_of(running) as client:
        client.send(request(), request())
        for response in (client.response(), client.response()):
            assert (response.status, response.reason, response.body) == (200, "OK", b"x")
            names = [name for name, _ in response.headers if name not in {"date", "server"}]
            assert sorted(names) == ["content-length", "content-type", "x-a"]
        assert messages(running) == []
    records = [record for record in caplog.records if record.name == "devserver.error"]
    assert len(records) == 7
    assert {record.levelname for record in records} == {"WARNING"}


@pytest.mark.parametrize(("pieces", "what"), [([b"abcde", b"f"], "longer"), ([b"abc"], "shorter")])
def test_list_that_breaks_its_content_length_is_answered_with_500(pieces: list[bytes], what: str) -> None:
    with serving_wsgi(answering(pieces, headers=[TEXT, ("Content-Length", "5")]), checked=False) as running:
        assert running.get().status == 500
        assert messages(running) == [f"The response body is {what} than its Content-Length."]


def test_stream_never_has_more_bytes_than_its_content_length() -> None:
    pieces = Pieces(b"abc", b"def", b"ghi")
    with serving_wsgi(answering(pieces, headers=[TEXT, ("Content-Length", "5")])) as running:
        with client_of(running) as client:
            client.send(request())
            cut_off(client)
        until(lambda: messages(running) == ["The response body is longer than its Content-Length."])
        until(lambda: pieces.log == [b"abc", b"def", "closed"])


def test_surplus_after_a_complete_stream_is_reported_and_the_response_stands() -> None:
    pieces = Pieces(b"abcde", b"f")
    with serving_wsgi(answering(pieces, headers=[TEXT, ("Content-Length", "5")])) as running:
        with client_of(running) as client:
            client.send(request(), request())
            assert [client.response().body, client.response().body] == [b"abcde", b"abcde"]
        until(lambda: messages(running) == ["The response body is longer than its Content-Length."] * 2)


def test_first_piece_that_is_too_long_is_answered_with_500() -> None:
    with serving_wsgi(answering(Pieces(b"abc"), headers=[TEXT, ("Content-Length", "2")])) as running:
        assert running.get().status == 500


def test_stream_that_ends_early_cuts_the_connection() -> None:
    with serving_wsgi(answering(Pieces(b"abc"), headers=[TEXT, ("Content-Length", "5")])) as running:
        with client_of(running) as client:
            client.send(request())
            cut_off(client)
        until(lambda: messages(running) == ["The response body is shorter than its Content-Length."])


# Errors of the app


def test_error_before_the_head_is_answered_with_500_and_told_with_its_line() -> None:
    def app(environ: Environ, start_response: Any) -> list[bytes]:
        start_response("200 OK", [TEXT])
        raise ValueError("boom")

    with serving_wsgi(app) as running, client_of(running) as client:
        client.send(request("/shop"), request())
        assert client.response().status == 500
        assert client.response().status == 500
        failure = running.of(AppRaised)[0].failure
        assert (failure.message, failure.during) == ("boom", "GET /shop")
        assert failure.frames[-1].path == __file__


def test_error_after_the_head_cuts_the_connection_and_closes() -> None:
    pieces = Pieces(b"abc", ValueError("boom"))
    with serving_wsgi(answering(pieces)) as running, client_of(running) as client:
        client.send(request())
        cut_off(client)
        until(lambda: messages(running) == ["boom"])
        assert pieces.log[-1] == "closed"


def test_error_in_close_is_told_and_the_response_stands() -> None:
    class Bad(Pieces):
        def close(self) -> None:
            raise ValueError("close")

    with serving_wsgi(answering(Bad(b"abc")), checked=False) as running, client_of(running) as client:
        client.send(request(), request())
        assert [client.response().body, client.response().body] == [b"abc", b"abc"]
        until(lambda: messages(running) == ["close"] * 2)


def test_system_exit_in_a_thread_is_an_error_of_that_request() -> None:
    def app(environ: Environ, start_response: Any) -> list[bytes]:
        sys.exit(3)

    with serving_wsgi(app, checked=False) as running:
        assert [running.get().status, running.get().status] == [500, 500]
        assert running.raised == []


# Clients


def test_endless_response_ends_when_the_client_goes() -> None:
    closed = threading.Event()

    def app(environ: Environ, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [TEXT])
        try:
            while True:
                yield b"x" * 1000
        finally:
            closed.set()

    with serving_wsgi(app) as running:
        client = client_of(running)
        client.send(request())
        client.read(100_000)
        client.reset()
        assert closed.wait(30)
        assert messages(running) == []


def test_write_to_a_client_that_has_gone_raises() -> None:
    caught: list[BaseException] = []

    def app(environ: Environ, start_response: Any) -> list[bytes]:
        write = start_response("200 OK", [TEXT])
        try:
            while True:
                write(b"x" * 1000)
        except OSError as exc:
            caught.append(exc)
            raise

    with serving_wsgi(app) as running:
        client = client_of(running)
        client.send(request())
        client.read(100_000)
        client.reset()
        until(lambda: caught)
        assert isinstance(caught[0], ClientDisconnected)
        assert messages(running) == []


def test_slow_reader_holds_the_iterable_back() -> None:
    made = 0

    def app(environ: Environ, start_response: Any) -> Iterator[bytes]:
        nonlocal made
        start_response("200 OK", [TEXT])
        for _ in range(1000):
            made += 1
            yield b"x" * 65536

    with serving_wsgi(app) as running, client_of(running) as client:
        client.send(request())
        client.read(1)
        last = -1
        while last != made:
            last = made
            time.sleep(0.1)
        assert made < 500
        left = 65536 * 999
        while left > 0:
            left -= len(client.socket.recv(1 << 20))
        until(lambda: made == 1000)


def test_pipelined_requests_are_answered_in_order() -> None:
    def app(environ: Environ, start_response: Any) -> list[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH", "0")))
        start_response("200 OK", [TEXT])
        return [environ["PATH_INFO"].encode(), body]

    with serving_wsgi(app) as running, client_of(running) as client:
        client.send(request("/1") + request("/2", method="POST", body=b"-body") + request("/3") + request("/4"))
        assert [client.response().body for _ in range(4)] == [b"/1", b"/2-body", b"/3", b"/4"]


def test_http_1_0_client_is_served() -> None:
    with serving_wsgi(answering(iter([b"a", b"b"]))) as running, client_of(running) as client:
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        assert client.response().body == b"ab"


# Threads


class Gates:
    """An app whose requests wait until they are let go."""

    def __init__(self) -> None:
        self.entered: list[str] = []
        self.go = threading.Event()

    def __call__(self, environ: Environ, start_response: Any) -> list[bytes]:
        self.entered.append(environ["PATH_INFO"])
        if environ["PATH_INFO"] != "/hello":
            assert self.go.wait(30)
        start_response("200 OK", [TEXT])
        return [b"done"]


def test_as_many_requests_run_at_once_as_there_are_threads() -> None:
    gates = Gates()
    with serving_wsgi(gates, threads=5) as running:
        clients = [client_of(running) for _ in range(7)]
        for client in clients:
            client.send(request())
        until(lambda: len(gates.entered) == 5)
        gates.go.set()
        assert [client.response().body for client in clients] == [b"done"] * 7
        for client in clients:
            client.close()
        assert len([each for each in threading.enumerate() if each.name.startswith("wsgi-")]) <= 5


def test_requests_that_block_one_by_one_wake_thread_after_thread() -> None:
    """All come in one turn of the loop, and one wake-up is all that it makes."""
    barrier = threading.Barrier(8)

    def app(environ: Environ, start_response: Any) -> list[bytes]:
        barrier.wait(30)
        start_response("200 OK", [TEXT])
        return [b"all"]

    with serving_wsgi(app, threads=8) as running:
        for _ in range(20):
            clients = [client_of(running) for _ in range(8)]
            for client in clients:
                client.send(request())
            assert [client.response().body for client in clients] == [b"all"] * 8
            for client in clients:
                client.close()


def test_stopping_waits_for_threads() -> None:
    gates = Gates()
    with serving_wsgi(gates) as running, client_of(running) as client:
        client.send(request())
        until(lambda: gates.entered)
        running.server.should_exit = True
        until(lambda: running.server.server_state is not None and running.server.server_state.stopping)
        gates.go.set()
        assert client.response().body == b"done"
        running.join()
    until(lambda: not [each for each in threading.enumerate() if each.name.startswith("wsgi-")])


def test_stopping_waits_for_what_follows_the_response() -> None:
    may_close, closed = threading.Event(), threading.Event()

    class Slow(Pieces):
        def close(self) -> None:
            assert may_close.wait(30)
            closed.set()

    app = answering(Slow(b"hello"), headers=[TEXT, ("Content-Length", "5")])
    with serving_wsgi(app, checked=False) as running:
        assert running.get().body == b"hello"
        running.server.should_exit = True
        until(lambda: running.server.server_state is not None and running.server.server_state.stopping)
        assert running.thread is not None
        assert running.thread.is_alive()
        may_close.set()
        running.join()
        assert closed.is_set()


def test_app_that_hangs_does_not_hold_the_server_beyond_its_grace() -> None:
    gates = Gates()
    with serving_wsgi(gates, timeout_graceful_shutdown=0) as running, client_of(running) as client:
        client.send(request())
        until(lambda: gates.entered)
        running.server.should_exit = True
        running.join()
        gates.go.set()


def test_more_waiting_requests_than_may_wait_are_told_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "WAITING_MAX", 2)
    gates = Gates()
    with serving_wsgi(gates, threads=1) as running:
        clients = [client_of(running) for _ in range(3)]
        clients[0].send(request())
        until(lambda: gates.entered)
        for client in clients[1:]:
            client.send(request())
        until(lambda: len(tasks(running)) == 3)
        with client_of(running) as refused:
            refused.send(request(method="POST", body=b"x"))
            response = refused.response()
            assert (response.status, response.get("retry-after")) == (503, "5")
        gates.go.set()
        assert [client.response().status for client in clients] == [200] * 3
        for client in clients:
            client.close()


def test_request_whose_client_gave_up_waiting_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "STALE_S", 0.01)
    gates = Gates()
    with serving_wsgi(gates, threads=1) as running:
        clients = [client_of(running) for _ in range(3)]
        for number, client in enumerate(clients):
            client.send(request(f"/{number}"))
            until(lambda: len(tasks(running)) == len(clients[: number + 1]))  # noqa: B023 - called before the next turn
        clients[1].reset()
        until(lambda: len(tasks(running)) == 2)
        gates.go.set()
        assert [clients[each].response().status for each in (0, 2)] == [200, 200]
        assert gates.entered == ["/0", "/2"]
        for client in clients:
            client.close()


# In one process with others


def test_middleware_is_an_asgi_app_that_can_be_mounted() -> None:
    from fastapi import FastAPI

    from tests.support.server import serving

    def legacy(environ: Environ, start_response: Any) -> list[bytes]:
        start_response("200 OK", [TEXT])
        return [f"{environ['SCRIPT_NAME']} {environ['PATH_INFO']}".encode()]

    api = FastAPI()
    api.mount("/old", devserver.WSGIMiddleware(legacy, threads=2))
    with serving(api) as running:
        assert running.get("/old/shop").body == b"/old /shop"
        assert running.get("/old/").body == b"/old /"
        assert running.get("/docs").status == 200
