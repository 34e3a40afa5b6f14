"""What is told of requests, with a real app on a server without sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import Depends, FastAPI, HTTPException
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from pydantic import BaseModel
from sqlalchemy import create_engine, text

from devserver.app.routes import routes
from devserver.devtools import spans
from devserver.devtools.inspector import SEEN_MAX, Inspector, explain_422
from devserver.devtools.route_hints import listed, nearest
from devserver.events import Emitter, Notice, RequestSeen, RequestsSeen
from tests.support.memory import MemoryServer, memory_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from devserver.app.types import ASGIApp, Receive, Scope, Send

pause = time.sleep
HERE = str(Path(__file__).parent)


class Item(BaseModel):
    name: str
    price: float
    password: int = 0


def fastapi_app() -> FastAPI:
    app = FastAPI()
    engine = create_engine("sqlite://")

    @app.get("/items/{number}")
    async def get_item(number: int) -> int:
        if number == 0:
            raise HTTPException(404, "no such item")
        return 10 // (number - 3)

    @app.post("/items")
    async def add_item(item: Item) -> Item:
        return item

    @app.get("/blocks")
    async def blocks() -> int:
        pause(0.4)
        return 1

    @app.get("/queries")
    async def queries() -> int:
        with engine.connect() as connection:
            for number in range(12):
                connection.execute(text("select :number"), {"number": number})
        return 12

    return app


class Watched:
    """A server whose requests are inspected."""

    def __init__(self, server: MemoryServer, emitter: Emitter, kept: list[tuple[Any, ...]]) -> None:
        self.server = server
        self.told: list[RequestsSeen] = []
        self.notices: list[str] = []
        self.kept = kept
        emitter.listen(self.told.append, (RequestsSeen,))
        emitter.listen(lambda notice: self.notices.append(notice.text), (Notice,))

    def send(self, data: bytes) -> None:
        client = self.server.connect()
        client.send(data)
        self.server.advance(0.2)

    def get(self, path: str, method: str = "GET") -> RequestSeen:
        self.send(f"{method} {path} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        return self.seen[-1]

    def post(self, path: str, body: bytes) -> RequestSeen:
        head = (
            f"POST {path} HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self.send(head.encode() + body)
        return self.seen[-1]

    @property
    def seen(self) -> list[RequestSeen]:
        return [seen for each in self.told for seen in each.requests]


def inspected(app: ASGIApp, hints: Any = None, slow_s: float = 0.5) -> Iterator[Watched]:
    emitter = Emitter()
    kept: list[tuple[Any, ...]] = []
    inspector = Inspector(
        app,
        emitter,
        directory=HERE,
        slow_s=slow_s,
        first_party={__file__},
        hint=lambda method, path: nearest(method, path, hints or ()),
        keep=lambda *parts: kept.append(parts),
    )
    with memory_server(inspector) as server:
        yield Watched(server, emitter, kept)


@pytest.fixture
def watched() -> Iterator[Watched]:
    app = fastapi_app()
    yield from inspected(app, routes(app))


def test_request_is_told_with_its_endpoint(watched: Watched) -> None:
    seen = watched.get("/items/5?a=b")
    assert (seen.method, seen.target, seen.status, seen.endpoint) == ("GET", "/items/5?a=b", 200, "get_item")
    file, _, line = seen.where.partition(":")
    assert file == "test_inspector.py"
    assert "@app.get" in Path(__file__).read_text().splitlines()[int(line) - 1]
    assert seen.notes == ()
    assert seen.duration_s < 5


def test_exception_of_the_app_is_a_500(watched: Watched) -> None:
    assert watched.get("/items/3").status == 500


def test_detail_of_an_error_is_told(watched: Watched) -> None:
    seen = watched.get("/items/0")
    assert (seen.status, seen.notes) == (404, ("no such item",))


def test_path_without_a_route_gets_the_nearest(watched: Watched) -> None:
    assert watched.get("/itms/{number}").notes == ("no route; the nearest is GET /items/{number}",)
    assert watched.get("/item/3").notes == ("no route; the nearest is GET /items/{number}",)
    assert watched.post("/item", b"{}").notes == ("no route; the nearest is POST /items",)
    assert watched.get("/qeries/").notes == ("no route; the nearest is GET /queries",)
    assert watched.get("/nothing-like-it-at-all").notes == ()


def test_only_one_path_of_a_moment_is_compared_with_the_routes(watched: Watched) -> None:
    client = watched.server.connect()
    # The first one is told at once, and what follows it closely together.
    for path in ("/items/5", "/item/1", "/item/1", "/item/2"):
        client.send(f"GET {path} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
    watched.server.advance(0.2)
    found = [(seen.target, seen.count, len(seen.notes)) for seen in watched.seen]
    assert found == [("/items/5", 1, 0), ("/item/1", 2, 1), ("/item/2", 1, 0)]


def test_slow_request_is_told_with_where_its_time_went(monkeypatch: pytest.MonkeyPatch) -> None:
    # A provider can be set once a process, so that the app's is only looked up.
    provider = TracerProvider()
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    monkeypatch.setattr(spans, "_listens", False)
    app = FastAPI()

    async def wait() -> None:
        pause(0.03)

    @app.get("/slow", dependencies=[Depends(wait)])
    async def slow() -> int:
        pause(0.02)
        return 1

    @app.get("/quick")
    async def quick() -> int:
        return 1

    with contextlib.contextmanager(inspected)(app, slow_s=0.04) as watched:
        # On a busy machine there may be another about the blocked loop.
        (note,) = [note for note in watched.get("/slow").notes if note.startswith("dependencies")]
        found = re.fullmatch(r"dependencies (\d+) ms, endpoint (\d+) ms, response model \d+ ms", note)
        assert found is not None
        assert int(found[1]) >= 30
        assert int(found[2]) >= 20
        other = watched.get("/quick")
        assert other.duration_s >= 0.04 or other.notes == ()


def test_method_that_is_not_allowed_says_which_is(watched: Watched) -> None:
    seen = watched.get("/items/1", "PUT")
    assert (seen.status, seen.notes) == (405, ("allowed here: GET",))


def test_validation_errors_are_explained_and_keep_secrets(watched: Watched) -> None:
    seen = watched.post("/items", b'{"price": "abc", "password": "hunter22"}')
    assert seen.status == 422
    assert seen.notes[0] == "body → name: Field required"
    assert seen.notes[1].startswith("body → price: ")
    assert seen.notes[1].endswith('(got "abc")')
    assert seen.notes[2].endswith("(got str, 8 characters)")
    assert "hunter22" not in str(seen)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"detail": "x"}', b'{"detail": [1]}', b"[" * 10_000])
def test_other_422_responses_have_no_explanation(body: bytes) -> None:
    assert explain_422(body) == ()


def test_many_validation_errors_are_cut() -> None:
    errors = [{"loc": ["body", number], "msg": "bad", "input": "x" * 100} for number in range(9)]
    lines = explain_422(json.dumps({"detail": errors}).encode())
    assert len(lines) == 6
    assert lines[-1] == "and 4 more"
    assert len(lines[0]) < 100


def test_block_of_the_loop_is_told_with_the_request_and_the_line(watched: Watched) -> None:
    (note,) = watched.get("/blocks").notes
    assert note.startswith("blocked the event loop for ")
    assert note.endswith("pause(0.4)")
    assert "test_inspector.py:" in note
    assert watched.notices == []


def test_many_queries_are_told_with_their_place(watched: Watched) -> None:
    (note,) = watched.get("/queries").notes
    assert note.startswith("12 queries (12 alike: test_inspector.py:")
    assert watched.get("/items/5").notes == ()


def test_what_can_be_sent_again_is_kept(watched: Watched) -> None:
    watched.post("/items", b'{"name": "a", "price": 1}')
    method, target, headers, body = watched.kept[-1]
    assert (method, target, body) == ("POST", b"/items", b'{"name": "a", "price": 1}')
    assert (b"content-type", b"application/json") in headers
    watched.post("/items", b'"' + b"x" * 70_000 + b'"')
    assert watched.kept[-1][3] is None


def test_alike_requests_of_one_moment_are_folded(watched: Watched) -> None:
    client = watched.server.connect()
    client.send(b"GET /items/5 HTTP/1.1\r\nHost: h\r\n\r\n" * 5)
    watched.server.advance(0.2)
    assert sum(seen.count for seen in watched.seen) == 5
    assert len(watched.seen) < 5


def test_flood_is_sampled_and_counted() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    for watched in inspected(app):
        client = watched.server.connect()
        requests = [f"GET /{number} HTTP/1.1\r\nHost: h\r\n\r\n".encode() for number in range(500)]
        client.send(b"".join(requests))
        watched.server.advance(0.3)
        assert len(client.responses()) == 500
        shown, more = len(watched.seen), sum(each.more for each in watched.told)
        assert shown + more == 500
        assert all(len(each.requests) <= SEEN_MAX for each in watched.told)


def test_client_that_leaves_before_the_response_is_told() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        assert (await receive())["type"] == "http.disconnect"

    for watched in inspected(app):
        client = watched.server.connect()
        client.send(b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n")
        client.reset()
        watched.server.advance(0.2)
        assert watched.seen[-1].status == 0


def test_app_is_seen_through_the_inspector() -> None:
    app = fastapi_app()
    listing = listed(routes(Inspector(app, Emitter(), directory=HERE)), HERE)
    assert [(methods, path) for methods, path, _ in listing] == [
        *[("GET", "/items/{number}"), ("POST", "/items"), ("GET", "/blocks"), ("GET", "/queries")]
    ]
    assert all(place.startswith("test_inspector.py:") for _, _, place in listing)


def test_lifespan_and_cancelled_requests_pass_through() -> None:
    async def main() -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "lifespan.startup.complete"})

        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            return {"type": "lifespan.startup"}

        await Inspector(app, Emitter(), directory=HERE)({"type": "lifespan"}, receive, send)
        assert sent == [{"type": "lifespan.startup.complete"}]

    asyncio.run(main())
