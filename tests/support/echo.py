"""A WebSocket app that sends back what it gets: every test program can serve a copy of this file.

Knows nothing but ASGI, and has no lifespan. What it does depends on the path:

- ``/denied``: answers the handshake with 429, a header and a body in two pieces
- ``/refused``: closes before it has accepted
- everything else: accepts with ``superchat`` if that is offered and with two headers, and sends every message back as
  it came; after the text ``close`` it closes with 4002

When a client has closed, a line on stdout says ``ended``, the query of the request, the code and the reason.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any


async def app(
    scope: MutableMapping[str, Any],
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
) -> None:
    """The app."""
    if scope["type"] != "websocket":
        raise NotImplementedError(scope["type"])
    assert (await receive())["type"] == "websocket.connect"
    match scope["path"]:
        case "/denied":
            assert "websocket.http.response" in scope["extensions"]
            headers = [(b"x-extra", b"no entry"), (b"content-length", b"9")]
            await send({"type": "websocket.http.response.start", "status": 429, "headers": headers})
            await send({"type": "websocket.http.response.body", "body": b"not ", "more_body": True})
            await send({"type": "websocket.http.response.body", "body": b"today"})
        case "/refused":
            await send({"type": "websocket.close"})
        case _:
            subprotocol = "superchat" if "superchat" in scope["subprotocols"] else None
            headers = [(b"x-extra", b"one"), (b"x-extra", b"two")]
            await send({"type": "websocket.accept", "subprotocol": subprotocol, "headers": headers})
            await echo(scope["query_string"].decode(), receive, send)


async def echo(
    name: str,
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
) -> None:
    """Sends messages back until either side closes."""
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            sys.stdout.write(f"ended {name} {message['code']} {message['reason']}\n")
            sys.stdout.flush()
            return
        if message.get("text") == "close":
            await send({"type": "websocket.close", "code": 4002, "reason": "Genug für heute"})
            return
        await send({**message, "type": "websocket.send"})
