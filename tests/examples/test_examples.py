"""Every example, run as its README says and asked over the network."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.dev_run import dev_run
from tests.support.server import until

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def test_every_example_is_tested_here() -> None:
    # The chat and those with WSGI have files of their own, test_chat.py and test_wsgi_examples.py.
    elsewhere = {"chat", "django_app", "flask_app", "mounted", "pyramid_app", "wsgi"}
    assert {path.name for path in EXAMPLES.iterdir() if path.is_dir()} - elsewhere == {
        "background",
        "bookstore",
        "hello",
        "streaming",
    }


def test_bookstore_keeps_books(tmp_path: Path) -> None:
    environ = {"BOOKSTORE_DATABASE": str(tmp_path / "books.db")}
    with dev_run(str(EXAMPLES / "bookstore"), directory=tmp_path, environ=environ) as running:
        assert running.events[-1]["docs_path"] == "/docs"
        with httpx.Client(base_url=running.url) as client:
            assert "Moby-Dick" in client.get("/").text
            assert client.get("/docs").status_code == 200
            book = {"title": "Dune", "author": "Frank Herbert", "year": 1965, "price": 1290}
            created = client.post("/books", json=book)
            assert created.status_code == 201
            assert client.get(created.headers["location"]).json()["title"] == "Dune"
            assert client.get("/books", params={"q": "dune"}).json()["total"] == 1
            assert client.delete(created.headers["location"]).status_code == 204
            assert client.post("/books", json={**book, "price": -1}).status_code == 422
        assert running.stop() == 0


def test_bookstore_is_reloaded_when_a_file_is_saved_and_shows_what_is_broken(tmp_path: Path) -> None:
    project = tmp_path / "bookstore"
    shutil.copytree(EXAMPLES / "bookstore", project)
    routes = project / "bookstore" / "routes.py"
    source = routes.read_text()
    with dev_run("bookstore", directory=tmp_path) as running, httpx.Client(base_url=running.url) as client:
        assert "<h1>Bookstore</h1>" in client.get("/").text

        routes.write_text(source.replace("<h1>Bookstore</h1>", "<h1>Books</h1>"))
        running.wait_for("Reloaded")
        assert "<h1>Books</h1>" in client.get("/").text

        routes.write_text(source + "\nprice = 1 / 0\n")
        failed = running.wait_for("AppFailed")
        assert failed["failure"]["kind"] == "ZeroDivisionError"
        page = client.get("/", headers={"accept": "text/html"})
        assert page.status_code == 500
        assert "ZeroDivisionError" in page.text
        assert "price = 1 / 0" in page.text

        routes.write_text(source)
        running.wait_for("Reloaded")
        assert "<h1>Bookstore</h1>" in client.get("/").text


def test_background_work_goes_on_after_the_response() -> None:
    with dev_run("main.py", directory=EXAMPLES / "background") as running:
        first = httpx.post(f"{running.url}/reports")
        assert (first.status_code, first.json()) == (202, {"number": 1})
        place = f"{running.url}{first.headers['location']}"
        assert httpx.get(place).json() == {"state": "on its way"}
        until(lambda: httpx.get(place).json() == {"state": "done"})
        assert httpx.get(f"{running.url}/reports/9").status_code == 404
        assert running.stop() == 0


def test_hello_greets() -> None:
    with dev_run("main.py", "--no-reload", directory=EXAMPLES / "hello") as running:
        assert httpx.get(running.url).json() == {"message": "Hello, world!"}
        assert httpx.get(running.url, params={"name": "Ada"}).json() == {"message": "Hello, Ada!"}
        assert running.stop() == 0


@pytest.fixture(scope="module")
def streaming() -> Iterator[str]:
    with dev_run("main.py", "--no-reload", directory=EXAMPLES / "streaming") as running:
        yield running.url


def test_streaming_sends_each_event_when_it_happens(streaming: str) -> None:
    with httpx.stream("GET", f"{streaming}/events", params={"count": 3, "interval": 0.2}) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        arrived = [(time.monotonic(), line) for line in response.iter_lines() if line.startswith("data: ")]
    assert [json.loads(line.removeprefix("data: "))["number"] for _, line in arrived] == [1, 2, 3]
    assert arrived[2][0] - arrived[0][0] > 0.3


def test_streaming_sends_files_whole_and_in_part(streaming: str) -> None:
    source = (EXAMPLES / "streaming" / "main.py").read_bytes()
    whole = httpx.get(f"{streaming}/source")
    assert (whole.status_code, whole.content) == (200, source)
    assert "main.py" in whole.headers["content-disposition"]
    part = httpx.get(f"{streaming}/source", headers={"range": "bytes=3-9"})
    assert (part.status_code, part.content) == (206, source[3:10])


def test_streaming_takes_large_bodies_with_and_without_a_length(streaming: str) -> None:
    data = bytes(range(256)) * 20_000
    expected = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    assert httpx.put(f"{streaming}/upload", content=data).json() == expected
    pieces = (data[start : start + 70_000] for start in range(0, len(data), 70_000))
    assert httpx.put(f"{streaming}/upload", content=pieces).json() == expected
