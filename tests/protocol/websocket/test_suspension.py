"""What an app sends and gets does not depend on where it suspends (ASGI WebSocket spec 2.5).

Every short conversation that the specification allows is run with a suspension at each place, and compared with the run
that never suspends: the bytes on the wire, the events for the app and what the server announces are the same. So are
the errors of conversations that the specification does not allow.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from devserver.events import AppRaised, RequestFinished, WebSocketClosed
from tests.protocol.websocket.test_connection import handshake
from tests.support.memory import memory_server
from tests.support.websocket import BINARY, PING, client_close, client_frame, client_text

if TYPE_CHECKING:
    from devserver.app.types import Receive, Scope, Send

Step = dict[str, Any] | str
"""A message to send, or one of the words below."""
RECEIVE, DRAIN, RAISE = "receive", "drain", "raise"
"""Take one event; take events up to ``websocket.disconnect``; fail."""

ACCEPT = {"type": "websocket.accept"}
TEXT = {"type": "websocket.send", "text": "text"}
BYTES = {"type": "websocket.send", "bytes": b"bytes"}
CLOSE = {"type": "websocket.close", "code": 4000, "reason": "enough"}
START = {"type": "websocket.http.response.start", "status": 401, "headers": [(b"x-y", b"z")]}
LONG_START = {**START, "headers": [(b"content-length", b"8")]}
PART = {"type": "websocket.http.response.body", "body": b"who ", "more_body": True}
BODY = {"type": "websocket.http.response.body", "body": b"are "}

PEER = client_text("one") + client_frame(BINARY, b"two") + client_frame(PING, b"p") + client_text("three")
PEERS_CLOSE = client_close(1001, b"bye")
EVENTS = ["websocket.connect", "one", b"two", "three", (1001, "bye")]
"""What the peer's bytes are to the app."""


class Outcome(NamedTuple):
    """One conversation, as the peer, the app and those who listen to the server have seen it."""

    wire: bytes
    closed: bool
    events: list[Any]
    error: str
    """What ``send`` raised."""
    announced: list[Any]


def shown(event: dict[str, Any]) -> Any:
    """An event of the app, in short."""
    if event["type"] == "websocket.receive":
        return event["text"] if "text" in event else event["bytes"]
    if event["type"] == "websocket.disconnect":
        return event["code"], event["reason"]
    return event["type"]


async def sleep() -> None:
    await asyncio.sleep(0)


async def wait() -> None:
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    loop.call_soon(loop.call_soon, future.set_result, None)
    await future


def run(steps: list[Step], *, early: bool, http: str, places: frozenset[int] = frozenset(), by: Any = sleep) -> Outcome:
    """Runs an app of these steps, which suspends before those at ``places``.

    :param early: the peer's messages come with its handshake; else they come when the app can go no further.
    """
    events: list[Any] = []
    errors: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for place, step in enumerate(steps):
            if place in places:
                await by()
            if step == RAISE:
                raise ZeroDivisionError
            if isinstance(step, dict):
                try:
                    await send(step)
                except Exception as exc:
                    errors.append(f"{type(exc).__name__}: {exc}")
                    raise
                continue
            events.append(shown(dict(await receive())))
            while step == DRAIN and not isinstance(events[-1], tuple):
                if place in places:
                    await by()
                events.append(shown(dict(await receive())))
        if len(steps) in places:
            await by()

    with memory_server(app, http=http, date_header=False) as server:
        client = server.connect()
        if early:
            client.send(handshake() + PEER + PEERS_CLOSE)
        else:
            client.send(handshake(), PEER + PEERS_CLOSE)
        announced: list[Any] = []
        for event in server.events:
            if isinstance(event, AppRaised):
                announced.append((event.failure.kind, event.failure.message))
            elif isinstance(event, RequestFinished):
                announced.append((event.status, event.complete))
            elif isinstance(event, WebSocketClosed):
                announced.append((event.code, event.reason, event.messages_received, event.messages_sent))
        # Those that are done at once and those that are not may be announced in another order.
        return Outcome(client.sent, client.closed, events, "".join(errors), sorted(announced, key=repr))


ENDS_DENIED: list[list[Step]] = [[], [RAISE], [RECEIVE], [RECEIVE, RECEIVE]]
MIDDLE: list[Step] = [TEXT, BYTES, RECEIVE]
ENDS: list[list[Step]] = [[], [RAISE], [DRAIN], [CLOSE], [CLOSE, RECEIVE], [CLOSE, DRAIN]]
ANSWERS: list[list[Step]] = [[CLOSE], [START, BODY], [START, PART, BODY], [LONG_START, PART, BODY], [START]]


def legal() -> Iterator[list[Step]]:
    """Every short conversation of the specification."""
    firsts: list[list[Step]] = [[], [RECEIVE]]
    for first in firsts:
        for count in range(3):
            for middle in itertools.product(MIDDLE, repeat=count):
                for last in ENDS:
                    steps: list[Step] = [*first, ACCEPT]
                    steps += middle
                    yield steps + last
        for answer in ANSWERS:
            for last in ENDS_DENIED:
                if answer == [START] and last not in ([], [RAISE]):
                    continue  # The app waits for a client that waits for the rest of the response.
                yield [*first, *answer, *last]
        yield [*first]
        yield [*first, RAISE]


ILLEGAL: list[list[Step]] = [
    [TEXT],
    [BODY],
    [{"type": "http.response.start", "status": 200}],
    [{"type": "websocket.receive"}],
    [ACCEPT, ACCEPT],
    [ACCEPT, START],
    [ACCEPT, BODY],
    [ACCEPT, {"type": "http.response.body"}],
    [ACCEPT, {"type": "websocket.send", "text": b"bytes"}],
    [ACCEPT, {"type": "websocket.close", "code": 1006}],
    [ACCEPT, CLOSE, TEXT],
    [ACCEPT, CLOSE, CLOSE],
    [ACCEPT, CLOSE, ACCEPT],
    [ACCEPT, CLOSE, RECEIVE, TEXT],
    [{"type": "websocket.accept", "headers": [(b"x", b"a\r\nb: c")]}],
    [{"type": "websocket.accept", "headers": [("x", "y")]}],
    [CLOSE, ACCEPT],
    [CLOSE, CLOSE],
    [CLOSE, TEXT],
    [CLOSE, START],
    [START, START],
    [START, ACCEPT],
    [START, CLOSE],
    [START, TEXT],
    [START, BODY, BODY],
    [START, BODY, CLOSE],
    [START, PART, TEXT],
    [LONG_START, BODY],
    [LONG_START],
    [{**START, "status": 99}],
    [{**START, "type": "websocket.http.response.trailers"}],
]


def differences(steps: list[Step], *, early: bool, http: str) -> Iterator[tuple[Any, ...]]:
    """The runs that come to something else than the one that does not suspend."""
    expected = run(steps, early=early, http=http)
    everywhere = range(len(steps) + 1)
    for places in [*(frozenset([place]) for place in everywhere), frozenset(everywhere)]:
        for by in (sleep, wait):
            outcome = run(steps, early=early, http=http, places=places, by=by)
            if outcome != expected:
                yield steps, sorted(places), by.__name__, expected, outcome


def expected_events(steps: list[Step], *, early: bool) -> list[Any]:
    """What an app of these steps gets, whatever the order in which bytes and steps come."""
    taken: list[Any] = []
    refused = closed = False
    events = [*EVENTS]
    for step in steps:
        if isinstance(step, dict):
            refused |= step["type"] != ACCEPT["type"] and ACCEPT not in steps
            if step == CLOSE and not refused and not closed:
                closed = True
                end = (4000, "enough")
                events[-1] = end
                if not early and not taken[1:]:
                    # The app has closed before the peer spoke.
                    events = ["websocket.connect", end]
            if refused:
                events = ["websocket.connect", (1006, "")]
        elif step == RECEIVE:
            taken.append(events[min(len(taken), len(events) - 1)])
        elif step == DRAIN:
            taken += events[len(taken) :]
    return taken


@pytest.mark.parametrize("http", ["auto", "h11"])
@pytest.mark.parametrize("early", [True, False])
def test_conversation_is_the_same_wherever_the_app_suspends(early: bool, http: str) -> None:
    found = [difference for steps in legal() for difference in differences(steps, early=early, http=http)]
    assert found == []


@pytest.mark.parametrize("early", [True, False])
def test_app_gets_events_in_order(early: bool) -> None:
    for steps in legal():
        outcome = run(steps, early=early, http="auto")
        assert outcome.error == "", steps
        assert outcome.events == expected_events(steps, early=early), steps


@pytest.mark.parametrize("http", ["auto", "h11"])
@pytest.mark.parametrize("early", [True, False])
def test_error_is_the_same_wherever_the_app_suspends(early: bool, http: str) -> None:
    found = []
    for steps in ILLEGAL:
        found += [*differences(steps, early=early, http=http), *differences([RECEIVE, *steps], early=early, http=http)]
        kinds = [entry[0] for entry in run(steps, early=early, http=http).announced]
        assert any("AppContractError" in str(kind) for kind in kinds), steps
    assert found == []
