"""An app whose dealings with its server are judged, and written down in the file that ``JUDGED`` names.

``app`` holds every scope and event that the server gives it against the TypedDicts of ``asgiref.typing``;
``inspected()`` wraps it in asgion's rules as well. Each line of the file is a pair: what kind of thing, and which. The
kinds are ``scope`` and ``event`` for what was seen, ``fault`` for what a TypedDict does not allow, ``error`` for what
breaks a rule, and ``done`` for what the app wants to be known to have happened.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from asgiref import typing as asgi

from tests.support.typed_dicts import faults

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

SCOPES: dict[str, Any] = {"http": asgi.HTTPScope, "lifespan": asgi.LifespanScope}
EVENTS: dict[str, Any] = {
    "http.request": asgi.HTTPRequestEvent,
    "http.disconnect": asgi.HTTPDisconnectEvent,
    "lifespan.startup": asgi.LifespanStartupEvent,
    "lifespan.shutdown": asgi.LifespanShutdownEvent,
}
FILE = os.path.abspath(__file__)
PLAIN = [(b"content-type", b"text/plain")]


async def app(scope: Message, receive: Receive, send: Send) -> None:
    """Judges what comes in, and lets :func:`answer` deal with it."""

    async def judged_receive() -> Message:
        event = await receive()
        judge("event", event, EVENTS)
        return event

    judge("scope", scope, SCOPES)
    await (live if scope["type"] == "lifespan" else answer)(scope, judged_receive, send)


# asgion runs on Python 3.12 and newer only.
if sys.version_info >= (3, 12):

    def inspected() -> Callable[[Message, Receive, Send], Awaitable[None]]:
        """The app inside of asgion."""
        from asgion import Inspector, Severity, Violation

        def tell(violation: Violation) -> None:
            if violation.severity is Severity.ERROR:
                note("error", f"{violation.rule_id} {violation.method} {violation.path}: {violation.message}")

        return Inspector(app, on_violation=tell).asgi_app


async def live(scope: Message, receive: Receive, send: Send) -> None:
    """The lifespan."""
    await receive()
    scope["state"]["pool"] = "open"
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


async def answer(scope: Message, receive: Receive, send: Send) -> None:
    """One request, answered with what its path asks for."""
    path = scope["path"].removeprefix(scope["root_path"])
    if scope["state"].get("pool") != "open":
        note("fault", "the state of the lifespan is not in the scope")
    if path == "/upload":
        await upload(receive, send)
    elif path == "/endless":
        await endless(receive, send)
    elif path == "/file":
        await send({"type": "http.response.start", "status": 200, "headers": PLAIN})
        await send({"type": "http.response.pathsend", "path": FILE})
    elif path == "/hinted":
        await send({"type": "http.response.early_hint", "links": [b"</style.css>; rel=preload"]})
        await send({"type": "http.response.start", "status": 200, "headers": PLAIN, "trailers": True})
        await send({"type": "http.response.body", "body": b"hinted"})
        await send({"type": "http.response.trailers", "headers": [(b"x-sum", b"1")], "more_trailers": False})
    else:
        body = json.dumps([scope["method"], scope["path"], scope["query_string"].decode()]).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


async def upload(receive: Receive, send: Send) -> None:
    """Sends back as it reads; notes that the client left before the end, if it did."""
    await send({"type": "http.response.start", "status": 200, "headers": PLAIN})
    more = True
    while more:
        event = await receive()
        if event["type"] == "http.disconnect":
            note("done", "left while it sent")
            return
        more = event["more_body"]
        await send({"type": "http.response.body", "body": event["body"], "more_body": more})


async def endless(receive: Receive, send: Send) -> None:
    """Sends until the client leaves."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": PLAIN})
    leaving = asyncio.ensure_future(receive())
    while not leaving.done():
        await send({"type": "http.response.body", "body": b"more\n", "more_body": True})
        await asyncio.wait([leaving], timeout=0.01)
    note("done", f"left while it read: {leaving.result()['type']}")


def judge(kind: str, value: Message, known: dict[str, Any]) -> None:
    """Notes that there was such a scope or event, and what is wrong with it."""
    name = str(value.get("type"))
    note(kind, name)
    found = faults(value, known[name], name) if name in known else [f"{kind} {name} is unknown"]
    for fault in found:
        note("fault", fault)


def note(kind: str, text: str) -> None:
    """Writes a line."""
    with open(os.environ["JUDGED"], "a", encoding="utf-8") as file:
        file.write(json.dumps([kind, text]) + "\n")
