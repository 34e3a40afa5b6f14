"""``wsgi.file_wrapper``: what the loop sends by itself, what the thread reads, and that both give the same bytes."""

from __future__ import annotations

import contextvars
import gzip
import io
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from devserver.app.wsgi_file import FileWrapper
from devserver.events import AppRaised
from tests.support.server import until
from tests.support.wsgi import TEXT, Environ, client_of, request, serving_wsgi

CONTENT = bytes(range(256)) * 4096


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of 1 MiB."""
    file = tmp_path / "file"
    file.write_bytes(CONTENT)
    return file


class Sending:
    """An app that sends what ``make`` opens."""

    def __init__(self, make: Callable[[], Any], headers: list[tuple[str, str]] | None = None) -> None:
        self._make = make
        self._headers = [TEXT] if headers is None else headers
        self.files: list[Any] = []

    def __call__(self, environ: Environ, start_response: Any) -> Any:
        self.files.append(self._make())
        start_response("200 OK", self._headers)
        return environ["wsgi.file_wrapper"](self.files[-1], 10_000)


class Proxy:
    """A file as Django's ``File`` is one: it hands on the methods of another."""

    def __init__(self, file: Any) -> None:
        self.file = file

    read = property(lambda self: self.file.read)
    close = property(lambda self: self.file.close)
    closed = property(lambda self: self.file.closed)


class Upper(Proxy):
    """One that changes what it reads."""

    def read(self, size: int = -1) -> bytes:
        data: bytes = self.file.read(size)
        return data.upper()


def written() -> Any:
    """A file whose last bytes are still in Python's buffer, read from its second byte on."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the server closes it
    file.write(b"0123456789")
    file.seek(0)
    file.write(b"x")
    return file


def test_plain_file_is_sent_with_its_length(path: Path) -> None:
    for make in (lambda: path.open("rb"), lambda: path.open("rb", buffering=0), lambda: Proxy(path.open("rb"))):
        app = Sending(make)
        with serving_wsgi(app, checked=False) as running, client_of(running) as client:
            client.send(request() + request())
            for _ in range(2):
                response = client.response()
                assert (response.framing, response.get("content-length")) == ("length", str(len(CONTENT)))
                assert response.body == CONTENT
            until(lambda: [file.closed for file in app.files] == [True, True])  # noqa: B023 - called in this turn


def test_file_is_sent_from_where_it_stands(path: Path) -> None:
    def make() -> Any:
        file = path.open("rb")
        file.read(1000)
        return file

    with serving_wsgi(Sending(make), checked=False) as running:
        assert running.get().body == CONTENT[1000:]
    with serving_wsgi(Sending(written), checked=False) as running:
        assert running.get().body == b"123456789"


def test_file_is_sent_as_far_as_its_content_length(path: Path) -> None:
    app = Sending(lambda: path.open("rb"), [TEXT, ("Content-Length", "1000")])
    with serving_wsgi(app, checked=False) as running, client_of(running) as client:
        client.send(request() + request())
        assert [client.response().body, client.response().body] == [CONTENT[:1000]] * 2


def test_file_that_is_shorter_than_its_content_length_cuts_the_connection(path: Path) -> None:
    app = Sending(lambda: path.open("rb"), [TEXT, ("Content-Length", str(len(CONTENT) + 1))])
    with serving_wsgi(app, checked=False) as running, client_of(running) as client:
        client.send(request())
        with pytest.raises((AssertionError, ConnectionError)):
            client.response()
        until(lambda: running.of(AppRaised))
        message = "The file is shorter than the response's Content-Length."
        assert running.of(AppRaised)[0].failure.message == message
        until(lambda: app.files[0].closed)


def test_head_request_sends_nothing_of_the_file(path: Path) -> None:
    app = Sending(lambda: path.open("rb"))
    with serving_wsgi(app, checked=False) as running, client_of(running) as client:
        client.send(request(method="HEAD") + request())
        assert client.response("HEAD").get("content-length") == str(len(CONTENT))
        assert client.response().body == CONTENT
        until(lambda: all(file.closed for file in app.files))


def test_empty_file_is_an_empty_response(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    with serving_wsgi(Sending(lambda: (tmp_path / "empty").open("rb")), checked=False) as running:
        answer = running.get()
        assert (answer.status, answer.body) == (200, b"")


def pipe() -> Any:
    """A file without a size."""
    reading, writing = os.pipe()
    os.write(writing, b"piped")
    os.close(writing)
    return os.fdopen(reading, "rb")


@pytest.mark.parametrize(
    ("make", "body"),
    [
        (lambda: io.BytesIO(CONTENT), CONTENT),
        (lambda: gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(CONTENT))), CONTENT),
        (lambda: Upper(io.BytesIO(b"shout")), b"SHOUT"),
        (pipe, b"piped"),
    ],
)
def test_other_files_are_read_by_the_thread(make: Any, body: bytes) -> None:
    app = Sending(make)
    with serving_wsgi(app, checked=False) as running:
        assert running.get().body == body
        until(lambda: app.files[0].closed)


def test_compressed_file_with_a_descriptor_is_decompressed(tmp_path: Path) -> None:
    (tmp_path / "file.gz").write_bytes(gzip.compress(CONTENT))
    with serving_wsgi(Sending(lambda: gzip.open(tmp_path / "file.gz")), checked=False) as running:
        assert running.get().body == CONTENT


def test_changed_file_with_a_descriptor_is_read_by_the_thread(path: Path) -> None:
    with serving_wsgi(Sending(lambda: Upper(path.open("rb"))), checked=False) as running:
        assert running.get().body == CONTENT.upper()


def test_wrapper_passes_the_validator(path: Path) -> None:
    with serving_wsgi(Sending(lambda: path.open("rb"))) as running:
        assert running.get().body == CONTENT
        assert running.of(AppRaised) == []


def test_file_is_closed_in_a_thread_and_in_the_context_of_the_request(path: Path) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
    seen: list[tuple[str, bool]] = []

    class Watched(Proxy):
        def close(self) -> None:
            self.file.close()
            seen.append((variable.get(), threading.current_thread().name.startswith("wsgi-")))

    def app(environ: Environ, start_response: Any) -> Any:
        variable.set("set")
        start_response("200 OK", [TEXT])
        return environ["wsgi.file_wrapper"](Watched(path.open("rb")))

    with serving_wsgi(app, checked=False) as running:
        assert running.get().body == CONTENT
        until(lambda: seen == [("set", True)])


def test_error_in_close_is_told(path: Path) -> None:
    class Bad(Proxy):
        def close(self) -> None:
            self.file.close()
            raise ValueError("close")

    with serving_wsgi(Sending(lambda: Bad(path.open("rb"))), checked=False) as running, client_of(running) as client:
        client.send(request() + request())
        assert [client.response().body, client.response().body] == [CONTENT] * 2
        until(lambda: [event.failure.message for event in running.of(AppRaised)] == ["close"] * 2)


def test_client_that_leaves_has_the_file_closed(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(1 << 28)
    app = Sending(lambda: (tmp_path / "large").open("rb"))
    with serving_wsgi(app, checked=False, threads=1) as running:
        client = client_of(running)
        client.send(request())
        client.read(100_000)
        client.reset()
        until(lambda: app.files and app.files[0].closed)
        assert running.of(AppRaised) == []


def test_slow_download_holds_no_thread(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(1 << 26)
    sending = Sending(lambda: (tmp_path / "large").open("rb"))

    def app(environ: Environ, start_response: Any) -> Any:
        if environ["PATH_INFO"] == "/file":
            return sending(environ, start_response)
        start_response("200 OK", [TEXT])
        return [b"hello"]

    with serving_wsgi(app, checked=False, threads=1) as running, client_of(running) as slow:
        slow.send(request("/file"))
        slow.read(1000)
        for _ in range(3):
            assert running.get().body == b"hello"
        assert not sending.files[0].closed


def test_wrapper_is_an_iterable_as_pep_3333_describes_it() -> None:
    file = io.BytesIO(b"abcde")
    wrapper = FileWrapper(file, 2)
    iterator: Iterator[bytes] = iter(wrapper)
    assert list(iterator) == [b"ab", b"cd", b"e"]
    wrapper.close()
    assert file.closed
    FileWrapper(object()).close()
