"""Nothing that an app may send, and nothing that it is told, depends on whether it suspended in between.

Every legal sequence of messages is sent with a suspension at each place, and the client must see the same response,
but for its framing: a head that had to leave before the first body chunk was known says nothing of the length.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from devserver.events import AppRaised, Notice, RequestFinished
from tests.support.memory import MemoryServer, memory_server

if TYPE_CHECKING:
    from devserver.app.types import Message, Receive, Scope, Send
    from tests.support.responses import Response

RECEIVE = "receive"
"""In place of a message: the app reads the request, up to and with this part."""
FILE = b"the file " * 500
NEXT = b"GET /next HTTP/1.1\r\nHost: h\r\n\r\n"
FRAMING = {"content-length", "transfer-encoding"}


def start(status: int = 200, *headers: tuple[bytes, bytes], trailers: bool = False) -> Message:
    return {"type": "http.response.start", "status": status, "headers": [*headers], "trailers": trailers}


def body(data: bytes = b"", *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


def length(size: int) -> tuple[bytes, bytes]:
    return b"content-length", str(size).encode()


TRAILER: Message = {"type": "http.response.trailers", "headers": [(b"x-sum", b"1")]}
MORE_TRAILERS: Message = {**TRAILER, "more_trailers": True}
EARLY: Message = {"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload"]}
DEBUG: Message = {"type": "http.response.debug", "info": {}}
PATHSEND: Message = {"type": "http.response.pathsend", "path": ""}
"""The path is filled in by the test."""

SCRIPTS: dict[str, list[Any]] = {
    "whole": [start(), body(b"hello")],
    "whole with a length": [start(200, length(5)), body(b"hello")],
    "empty": [start(), body()],
    "two parts": [start(), body(b"he", more=True), body(b"llo")],
    "parts with a length": [start(200, length(5)), body(b"he", more=True), body(b"llo", more=True), body()],
    "empty part first": [start(), body(more=True), body(b"hello")],
    "large": [start(), body(b"x" * 100_000, more=True), body(b"y" * 100_000)],
    "large with a length": [start(200, length(100_000)), body(b"x" * 100_000)],
    "many parts": [start(), *[body(b"tick", more=True)] * 20, body()],
    "events": [start(200, (b"content-type", b"text/event-stream")), body(b"data: 1\n\n", more=True), body()],
    "file": [start(), PATHSEND],
    "file with a length": [start(200, length(len(FILE))), PATHSEND],
    "part of a file": [start(206, length(9)), PATHSEND],
    "trailers": [start(trailers=True), body(b"hello"), TRAILER],
    "trailers after parts": [start(trailers=True), body(b"he", more=True), body(b"llo"), MORE_TRAILERS, TRAILER],
    "early hint": [EARLY, start(), body(b"hello")],
    "two early hints": [EARLY, EARLY, start(), body(b"hello")],
    "debug": [DEBUG, start(), DEBUG, body(b"hello")],
    "close": [start(200, (b"connection", b"close")), body(b"hello")],
    "no content": [start(204), body()],
    "no content with content": [start(204), body(b"ignored")],
    "reset content": [start(205), body(b"ignored")],
    "not modified": [start(304, length(5)), body()],
    "error": [start(500), body(b"oh")],
    "request first": [RECEIVE, RECEIVE, start(), body(b"hello")],
    "request after the head": [start(), RECEIVE, RECEIVE, body(b"hello")],
    "request between parts": [start(), body(b"he", more=True), RECEIVE, RECEIVE, body(b"llo")],
    "file after the request": [RECEIVE, RECEIVE, start(), PATHSEND],
}
# What bends the rules a little, and is mended.
BENT: dict[str, list[Any]] = {
    "no content without a body": [start(204)],
    "reset content without a body": [start(205)],
    "not modified without a body": [start(304)],
    "length zero without a body": [start(200, length(0))],
    "all bytes but no end": [start(200, length(5)), body(b"hello", more=True)],
    "no content with two lengths": [start(204, length(1), length(2)), body()],
}
HEAD_SCRIPTS: dict[str, list[Any]] = {
    "head alone": [start()],
    "head with a length alone": [start(200, length(5))],
    "head and a part": [start(200, length(5)), body(b"he", more=True)],
    "two lengths": [start(200, length(5), length(6)), body(b"hello")],
}
REQUESTS = {
    "GET": b"GET / HTTP/1.1\r\nHost: h\r\nTE: trailers\r\n\r\n",
    "HEAD": b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n",
    "POST": b"POST / HTTP/1.1\r\nHost: h\r\nTE: trailers\r\nContent-Length: 10\r\n\r\n0123456789",
    "GET 1.0": b"GET / HTTP/1.0\r\nHost: h\r\nTE: trailers\r\n\r\n",
}


async def a_turn() -> None:
    """Suspends for one turn of the loop."""
    await asyncio.sleep(0)


async def a_future() -> None:
    """Suspends until something else has happened."""
    loop = asyncio.get_running_loop()
    waiter = loop.create_future()
    loop.call_soon(loop.call_soon, loop.call_soon, waiter.set_result, None)
    await waiter


async def another_task() -> None:
    """Suspends while another task runs, as middleware does that calls the app in one."""
    await asyncio.create_task(a_turn())


SUSPENSIONS: list[Callable[[], Awaitable[None]]] = [a_turn, a_future, another_task]


@dataclass
class Outcome:
    """What client, app and log saw of one exchange."""

    interim: list[int]
    status: int
    headers: list[tuple[str, str]]
    body: bytes
    trailers: list[tuple[str, str]]
    goes_on: bool
    received: list[Message]
    reported: list[tuple[int, bool]]
    warnings: int
    errors: int


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(FILE)
    return path


def places(script: list[Any]) -> Iterator[frozenset[int]]:
    """Where to suspend: before one of the messages or after the last, and everywhere."""
    for place in range(len(script) + 1):
        yield frozenset({place})
    yield frozenset(range(len(script) + 1))


def run(
    script: list[Any],
    request: str,
    file: Path,
    suspend: Callable[[], Awaitable[None]] = a_turn,
    where: frozenset[int] = frozenset(),
) -> Outcome:
    received: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/next":
            await send(start())
            await send(body(b"next"))
            return
        for place, message in enumerate(script):
            if place in where:
                await suspend()
            if message == RECEIVE:
                if not received or received[-1].get("more_body"):
                    received.append(await receive())
            elif message is PATHSEND:
                await send({**message, "path": str(file)})
            else:
                await send(message)
        if len(script) in where:
            await suspend()
        ended.append(None)

    ended: list[None] = []
    with memory_server(app) as server:
        client = server.connect()
        client.send(REQUESTS[request] + NEXT)
        server.wait_for(lambda: ended and not server.state.tasks)
        client.settle()
        method = request.split()[0]
        return _outcome(server, client.responses(method, "GET"), received)


def _outcome(server: MemoryServer, responses: list[Response], received: list[Message]) -> Outcome:
    interim = [response.status for response in responses if response.status < 200]
    response, *rest = [response for response in responses if response.status >= 200]
    return Outcome(
        interim=interim,
        status=response.status,
        headers=[(name, value) for name, value in response.headers if name not in FRAMING | {"date"}],
        body=response.body,
        trailers=response.trailers,
        goes_on=[each.body for each in rest] == [b"next"],
        received=received,
        reported=[(event.status, event.complete) for event in server.events_of(RequestFinished)],
        warnings=len(server.events_of(Notice)),
        errors=len(server.events_of(AppRaised)),
    )


def expected_body(script: list[Any]) -> bytes:
    return b"".join(
        FILE if message is PATHSEND else message.get("body", b"") for message in script if isinstance(message, dict)
    )


def check(script: list[Any], request: str, file: Path, *, warnings: int) -> None:
    expected = run(script, request, file)
    assert expected.errors == 0
    assert expected.warnings == warnings
    assert expected.reported[0][1]
    head = next(message for message in script if isinstance(message, dict) and message["type"].endswith("start"))
    assert expected.status == head["status"]
    if request == "HEAD" or expected.status in {204, 205, 304}:
        assert expected.body == b""
    elif expected.status == 206:
        assert expected.body == FILE[:9]
    else:
        assert expected.body == expected_body(script)
    if request != "GET 1.0":
        assert expected.goes_on == ((b"connection", b"close") not in head["headers"])
    for where in places(script):
        for suspend in SUSPENSIONS:
            outcome = run(script, request, file, suspend, where)
            if request == "GET 1.0":
                # Without chunks the end of a body whose length is not known is that of the connection.
                expected.goes_on = outcome.goes_on
                expected.headers = [pair for pair in expected.headers if pair[0] != "connection"]
                outcome.headers = [pair for pair in outcome.headers if pair[0] != "connection"]
                outcome.reported, expected.reported = outcome.reported[:1], expected.reported[:1]
            assert outcome == expected, (sorted(where), suspend.__name__)


@pytest.mark.parametrize("request_form", REQUESTS)
@pytest.mark.parametrize("name", SCRIPTS)
def test_response_does_not_depend_on_where_the_app_suspends(name: str, request_form: str, file: Path) -> None:
    check(SCRIPTS[name], request_form, file, warnings=0)


@pytest.mark.parametrize("request_form", ["GET", "POST"])
@pytest.mark.parametrize("name", BENT)
def test_bent_response_is_mended_wherever_the_app_suspends(name: str, request_form: str, file: Path) -> None:
    check(BENT[name], request_form, file, warnings=1)


@pytest.mark.parametrize("name", HEAD_SCRIPTS)
def test_bent_response_to_head_is_mended_wherever_the_app_suspends(name: str, file: Path) -> None:
    check(HEAD_SCRIPTS[name], "HEAD", file, warnings=1)


ILLEGAL: dict[str, list[Any]] = {
    "body first": [body(b"x")],
    "two heads": [start(), start()],
    "trailers that were not announced": [start(), TRAILER],
    "file after a part": [start(), body(b"x", more=True), PATHSEND],
    "early hint after the head": [start(), EARLY],
    "too long": [start(200, length(2)), body(b"abc")],
    "too short": [start(200, length(5)), body(b"abc")],
    "two lengths": [start(200, length(5), length(6)), body(b"hello")],
    "no body": [start()],
    "no end": [start(), body(b"x", more=True)],
    "nothing": [],
}


@pytest.mark.parametrize("name", ILLEGAL)
def test_illegal_response_is_an_error_wherever_the_app_suspends(name: str, file: Path) -> None:
    script = ILLEGAL[name]

    def outcome(suspend: Callable[[], Awaitable[None]], where: frozenset[int]) -> tuple[list[str], list[int], bool]:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            for place, message in enumerate(script):
                if place in where:
                    await suspend()
                await send({**message, "path": str(file)} if message is PATHSEND else message)
            if len(script) in where:
                await suspend()

        with memory_server(app) as server:
            client = server.connect()
            client.send(REQUESTS["GET"])
            server.wait_for(lambda: not server.state.tasks)
            told = [event.failure.message for event in server.events_of(AppRaised)]
            heads = [int(line[9:12]) for line in client.sent.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]
            return told, heads, client.closed

    told, _, _ = outcome(a_turn, frozenset())
    assert len(told) == 1
    for where in places(script):
        for suspend in SUSPENSIONS:
            again, heads, closed = outcome(suspend, where)
            assert again == told, (sorted(where), suspend.__name__)
            # Either nothing had been sent, and the client is told, or the response is cut.
            assert heads == [500] or closed, (sorted(where), suspend.__name__)
