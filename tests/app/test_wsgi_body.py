"""``wsgi.input`` over real sockets: how it is read, where it lies, and what holds a thread."""

from __future__ import annotations

import hashlib
import tempfile
import threading
from typing import TYPE_CHECKING, Any

import pytest

from devserver.app import wsgi_body
from devserver.errors import ClientDisconnected
from devserver.events import AppRaised
from tests.support.server import until
from tests.support.wsgi import TEXT, Environ, client_of, request, serving_wsgi

if TYPE_CHECKING:
    from collections.abc import Callable

LINES = b"one\ntwo\n\nlast"
CHUNKED = "Transfer-Encoding: chunked"


def reading(read: Callable[[Any], Any]) -> Any:
    """An app that answers with what ``read`` makes of the input."""

    def app(environ: Environ, start_response: Any) -> list[bytes]:
        result = repr(read(environ["wsgi.input"])).encode()
        start_response("200 OK", [TEXT])
        return [result]

    return app


def chunks(*pieces: bytes) -> bytes:
    """A chunked body."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (*pieces, b""))


READS: list[tuple[Callable[[Any], Any], Any]] = [
    (lambda file: file.read(100), LINES),
    (lambda file: [file.read(5), file.read(5), file.read(5), file.read(5)], [LINES[:5], LINES[5:10], b"ast", b""]),
    (lambda file: file.readline(), b"one\n"),
    (lambda file: [file.readline(2), file.readline(9), file.readline()], [b"on", b"e\n", b"two\n"]),
    (lambda file: file.readlines(), [b"one\n", b"two\n", b"\n", b"last"]),
    (lambda file: file.readlines(1), [b"one\n"]),
    (list, [b"one\n", b"two\n", b"\n", b"last"]),
    (lambda file: [file.readline(), file.read(1000), file.read(1), file.readline()], [b"one\n", LINES[4:], b"", b""]),
]


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize(("read", "expected"), READS)
def test_input_is_read_in_every_way_that_pep_3333_names(read: Any, expected: Any, streams: bool) -> None:
    with serving_wsgi(reading(read), wsgi_stream_input=streams) as running, client_of(running) as client:
        client.send(request(method="POST", body=LINES))
        assert client.response().body == repr(expected).encode()
        client.send(request("/", CHUNKED, method="POST"), chunks(LINES[:5], LINES[5:]))
        assert client.response().body == repr(expected).encode()
        assert running.of(AppRaised) == []


@pytest.mark.parametrize("streams", [False, True])
def test_body_arrives_byte_by_byte(streams: bool) -> None:
    with serving_wsgi(reading(lambda file: file.read(100)), wsgi_stream_input=streams) as running:
        with client_of(running) as client:
            client.send_bytewise(
                request("/", CHUNKED, method="POST") + chunks(*[LINES[at : at + 1] for at in range(5)])
            )
            assert client.response().body == repr(LINES[:5]).encode()
            client.send_bytewise(request(method="POST", body=LINES))
            assert client.response().body == repr(LINES).encode()


@pytest.mark.parametrize("streams", [False, True])
def test_read_without_a_size_ends_at_the_end_of_the_body(streams: bool) -> None:
    """The validator insists on a size, which PEP 3333 leaves out of choice."""
    app = reading(lambda file: (file.read(), file.read(), file.read(-1)))
    with serving_wsgi(app, checked=False, wsgi_stream_input=streams) as running, client_of(running) as client:
        client.send(request(method="POST", body=LINES) + request())
        assert client.response().body == repr((LINES, b"", b"")).encode()
        assert client.response().body == repr((b"", b"", b"")).encode()


def facts(environ: Environ, start_response: Any) -> list[bytes]:
    """An app that tells the length, the digest and the kind of its input."""
    body = environ["wsgi.input"]
    digest = hashlib.sha256()
    size = 0
    while data := body.read(100_000):
        digest.update(data)
        size += len(data)
    start_response("200 OK", [TEXT])
    told = environ.get("CONTENT_LENGTH")
    return [f"{size} {told} {environ['wsgi.input_terminated']} {digest.hexdigest()}".encode()]


@pytest.mark.parametrize("size", [1, 65536, wsgi_body.MEMORY_MAX, wsgi_body.MEMORY_MAX + 1, 5_000_000])
def test_body_of_any_size_arrives_whole(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    temporary_file = tempfile.TemporaryFile

    def recorded(*arguments: Any, **keywords: Any) -> Any:
        made.append(temporary_file(*arguments, **keywords))
        return made[-1]

    monkeypatch.setattr(tempfile, "TemporaryFile", recorded)
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    digest = hashlib.sha256(body).hexdigest()
    with serving_wsgi(facts) as running, client_of(running) as client:
        client.send(request(method="POST", body=body))
        assert client.response().body.decode() == f"{size} {size} True {digest}"
        assert len(made) == (size > wsgi_body.MEMORY_MAX)
        # A length that nobody has promised is told once it is known: Django reads no further than CONTENT_LENGTH.
        client.send(request("/", CHUNKED, method="POST"), chunks(body[: size // 2], body[size // 2 :]) or b"")
        if size > 1:
            assert client.response().body.decode() == f"{size} {size} True {digest}"
    until(lambda: all(file.closed for file in made))  # type: ignore[attr-defined]


def test_many_bodies_in_memory_at_once_go_to_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wsgi_body, "HELD_MAX", 300_000)
    made: list[object] = []
    temporary_file = tempfile.TemporaryFile

    def recorded(*arguments: Any, **keywords: Any) -> Any:
        made.append(temporary_file(*arguments, **keywords))
        return made[-1]

    monkeypatch.setattr(tempfile, "TemporaryFile", recorded)
    body = b"x" * 200_000
    digest = hashlib.sha256(body).hexdigest()
    with serving_wsgi(facts) as running:
        clients = [client_of(running) for _ in range(4)]
        for client in clients:
            client.send(request(method="POST", body=body)[:-1])
        until(lambda: len(made) >= 2)
        for client in clients:
            client.send(b"x")
            assert client.response().body.decode() == f"200000 200000 True {digest}"
        made.clear()
        # They have let go of it.
        clients[0].send(request(method="POST", body=body))
        assert clients[0].response().body.decode() == f"200000 200000 True {digest}"
        assert made == []
        for client in clients:
            client.close()


def test_expectation_is_met_before_the_app_is_called() -> None:
    with serving_wsgi(facts) as running, client_of(running) as client:
        head = request("/", "Expect: 100-continue", "Content-Length: 4", method="POST")
        client.send(head)
        assert client.response().status == 100
        client.send(b"body")
        assert client.response().body.startswith(b"4 4 True")


def test_body_that_the_app_does_not_read_is_no_obstacle() -> None:
    def app(environ: Environ, start_response: Any) -> list[bytes]:
        start_response("200 OK", [TEXT])
        return [b"unread"]

    for streams in (False, True):
        with serving_wsgi(app, wsgi_stream_input=streams) as running, client_of(running) as client:
            client.send(request(method="POST", body=b"x" * 1000) + request())
            assert [client.response().body, client.response().body] == [b"unread"] * 2


def test_app_is_not_called_before_the_body_is_there() -> None:
    called = threading.Event()

    def app(environ: Environ, start_response: Any) -> list[bytes]:
        if environ["REQUEST_METHOD"] == "POST":
            called.set()
        return facts(environ, start_response)

    with serving_wsgi(app, threads=1) as running, client_of(running) as slow, client_of(running) as other:
        slow.send(request(method="POST", body=b"body")[:-1])
        other.send(request())
        assert other.response().status == 200
        assert not called.is_set()
        slow.send(b"y")
        assert slow.response().status == 200
        assert called.is_set()


def test_client_that_leaves_during_the_upload_calls_no_app() -> None:
    called: list[str] = []

    def app(environ: Environ, start_response: Any) -> list[bytes]:
        called.append(environ["REQUEST_METHOD"])
        return facts(environ, start_response)

    with serving_wsgi(app) as running:
        for size in (4, 3_000_000):
            client = client_of(running)
            client.send(request(method="POST", body=b"x" * size)[:-1])
            state = running.server.server_state
            assert state is not None
            until(lambda: state.tasks)  # noqa: B023 - called in this turn
            client.reset()
            until(lambda: not state.tasks)  # noqa: B023 - called in this turn
        assert running.get().status == 200
        assert called == ["GET"]
        assert running.of(AppRaised) == []


def test_client_that_ends_its_side_within_the_body_is_gone() -> None:
    with serving_wsgi(facts) as running, client_of(running) as client:
        client.send(request(method="POST", body=b"body")[:-1])
        client.shut()
        assert client.responses_to_end() == []
        assert running.get().status == 200
        assert running.of(AppRaised) == []


# --wsgi-stream-input


def test_streamed_input_is_read_while_it_arrives() -> None:
    seen: list[bytes] = []

    def app(environ: Environ, start_response: Any) -> list[bytes]:
        for line in environ["wsgi.input"]:
            seen.append(line)  # noqa: PERF402 - the test looks at it meanwhile
        start_response("200 OK", [TEXT])
        return [b"".join(seen)]

    with serving_wsgi(app, wsgi_stream_input=True) as running, client_of(running) as client:
        client.send(request("/", "Content-Length: 8", method="POST"))
        for line in (b"one\n", b"two\n"):
            client.send(line)
            until(lambda: line in seen)  # noqa: B023 - called in this turn
        assert client.response().body == b"one\ntwo\n"


def test_streamed_input_answers_while_the_client_still_sends() -> None:
    def app(environ: Environ, start_response: Any) -> Any:
        start_response("200 OK", [TEXT])
        yield from environ["wsgi.input"]

    with serving_wsgi(app, wsgi_stream_input=True) as running, client_of(running) as client:
        client.send(request("/", CHUNKED, method="POST"))
        data = b""
        for line in (b"one\n", b"two\n"):
            client.send(b"%x\r\n%b\r\n" % (len(line), line))
            while not data.endswith(line + b"\r\n"):
                data += client.read(1)
        client.send(b"0\r\n\r\n")
        assert client.read(5) == b"0\r\n\r\n"


def test_streamed_input_is_asked_for_when_the_app_reads() -> None:
    read = threading.Event()

    def app(environ: Environ, start_response: Any) -> list[bytes]:
        assert read.wait(30)
        return facts(environ, start_response)

    with serving_wsgi(app, wsgi_stream_input=True) as running, client_of(running) as client:
        client.send(request("/", "Expect: 100-continue", "Content-Length: 4", method="POST"))
        read.set()
        assert client.response().status == 100
        client.send(b"body")
        assert client.response().body.startswith(b"4 4 True")


def test_reading_on_when_the_client_has_left_raises() -> None:
    caught: list[BaseException] = []

    def app(environ: Environ, start_response: Any) -> list[bytes]:
        for _ in range(2):
            try:
                environ["wsgi.input"].read(100)
            except OSError as exc:
                caught.append(exc)
        start_response("200 OK", [TEXT])
        return []

    with serving_wsgi(app, wsgi_stream_input=True) as running:
        client = client_of(running)
        client.send(request(method="POST", body=b"body")[:-1])
        state = running.server.server_state
        assert state is not None
        until(lambda: state.tasks)
        client.reset()
        until(lambda: len(caught) == 2)
        assert all(isinstance(each, ClientDisconnected) for each in caught)
        until(lambda: not state.tasks)
        assert running.of(AppRaised) == []


def test_app_that_is_left_alone_with_its_input_comes_to_an_end() -> None:
    """The grace is over while the app waits for a client that sends nothing."""
    ended = threading.Event()

    def app(environ: Environ, start_response: Any) -> list[bytes]:
        try:
            environ["wsgi.input"].read(100)
        finally:
            ended.set()
        return []

    with (
        serving_wsgi(app, wsgi_stream_input=True, timeout_graceful_shutdown=0) as running,
        client_of(running) as client,
    ):
        client.send(request(method="POST", body=b"body")[:-1])
        state = running.server.server_state
        assert state is not None
        until(lambda: state.tasks)
        running.server.should_exit = True
        running.join()
        assert ended.wait(30)


def test_input_that_the_app_has_taken_apart_is_its_own_affair() -> None:
    def app(environ: Environ, start_response: Any) -> list[bytes]:
        raw = environ["wsgi.input"].detach()
        start_response("200 OK", [TEXT])
        return [raw.read()]

    with serving_wsgi(app, checked=False, wsgi_stream_input=True) as running, client_of(running) as client:
        client.send(request(method="POST", body=LINES))
        assert client.response().body == LINES
        assert running.of(AppRaised) == []


@pytest.mark.parametrize(("path", "status"), [("/dev/full", 507), ("/nonexistent/folder/file", 503)])
def test_body_that_no_disk_has_room_for_is_refused(
    path: str, status: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def make(**_: object) -> Any:
        return open(path, "r+b")

    with serving_wsgi(reading(lambda file: len(file.read()))) as running, client_of(running) as client:
        monkeypatch.setattr(tempfile, "TemporaryFile", make)
        client.send(request(method="POST", body=b"x" * (3 << 20)))
        response = client.response()
        assert (response.status, response.get("retry-after")) == (status, "5")
        assert response.body == b"There is no room for the request body; try again later.\n"
        monkeypatch.undo()
    assert running.of(AppRaised) == []
    (record,) = [record for record in caplog.records if record.name == "devserver.error"]
    assert f"It is answered with {status}; TMPDIR names another folder." in record.getMessage()
