"""The last request, sent again to a real server."""

from __future__ import annotations

import queue
import socket
from typing import TYPE_CHECKING, Any

import pytest

from devserver.events import Repeated
from devserver.server import listeners as listening
from devserver.supervisor.repeat import Answer, Repeater, Request, compare, send
from tests.support.server import serving

if TYPE_CHECKING:
    from devserver.app.types import Receive, Scope
    from devserver.app.types import Send as SendMessage

GET = Request("GET", "/a?b=c", (("host", "h"), ("cookie", "d=e"), ("connection", "keep-alive, x")), b"")
POST = Request("POST", "/", (("host", "h"), ("content-length", "3"), ("transfer-encoding", "chunked")), b"abc")


class App:
    """Answers with what was asked, and a number that a test changes."""

    def __init__(self) -> None:
        self.number = 1
        self.status = 200
        self.seen: list[tuple[Scope, bytes]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: SendMessage) -> None:
        if scope["type"] == "lifespan":
            return
        body = (await receive())["body"]
        self.seen.append((scope, body))
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": b'{"number": %d, "same": 1}' % self.number})


def listener(running: Any) -> Any:
    (found,) = running.server._listeners
    return found


def test_request_is_sent_as_it_came_less_what_belonged_to_its_connection() -> None:
    app = App()
    with serving(app) as running:
        repeater = Repeater([listener(running)], print)
        for request in (GET, POST):
            repeater.saw(request)
            assert repeater.repeat() == ""
            while repeater._running:
                pass
    (first, _), (second, body) = app.seen
    assert (first["path"], first["query_string"]) == ("/a", b"b=c")
    assert (b"cookie", b"d=e") in first["headers"]
    assert dict(first["headers"])[b"connection"] == b"close"
    assert dict(second["headers"])[b"content-length"] == b"3"
    assert b"transfer-encoding" not in dict(second["headers"])
    assert body == b"abc"


def test_nobody_there_is_no_answer() -> None:
    # Bound, and nobody listens.
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        assert send(GET, listening.adopt(bound)) == Answer(0)


def test_change_of_status_and_body_is_told_after_a_reload() -> None:
    app = App()
    told: queue.Queue[Repeated] = queue.Queue()
    with serving(app) as running:
        repeater = Repeater([listener(running)], told.put)
        repeater.reloaded()
        repeater.saw(GET)
        repeater.turn(on=True)
        while repeater._running:
            pass
        app.number, app.status = 2, 500
        repeater.reloaded()
        assert told.get(timeout=20) == Repeated("GET", "/a?b=c", 200, 500, ('-  "number": 1,', '+  "number": 2,'))
        repeater.saw(POST)
        assert repeater.replays
        repeater.turn(on=False)
        while repeater._running:
            pass
        repeater.reloaded()
        assert told.empty()


def test_what_cannot_be_repeated_says_why() -> None:
    repeater = Repeater([], lambda _: None)
    assert repeater.repeat() == "No request has come yet."
    repeater.saw(Request("POST", "/x", (), None))
    assert repeater.repeat() == "The body of POST /x was too large to be kept."


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        (b"a\nb", b"a\nb", ()),
        (b"a\nb", b"a\nc", ("-b", "+c")),
        (b'{"a":1}', b'{"a": 1}', ()),
        (b"\xff", b"\xfe", ("-\\xff", "+\\xfe")),
    ],
)
def test_bodies_are_compared_line_by_line(before: bytes, after: bytes, changes: tuple[str, ...]) -> None:
    assert compare(before, after) == changes


def test_long_difference_is_cut() -> None:
    changes = compare(b"", b"\n".join(b"%d" % number for number in range(100)))
    assert len(changes) == 13
    assert changes[-1] == "… 88 more lines"
