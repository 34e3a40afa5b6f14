"""The app of ``benchmarks/run size``: it counts what a client sends, or never asks for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers ``/count`` with the number of payload bytes; at ``/wait`` does nothing until the process ends."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "http":
        if scope["path"] == "/wait":
            await asyncio.Event().wait()
        await _count_body(receive, send)
    else:
        await _count_messages(receive, send, waits=scope["path"] == "/wait")


async def _count_body(receive: Receive, send: Send) -> None:
    count, more = 0, True
    while more:
        message = await receive()
        count += len(message.get("body", b""))
        more = message.get("more_body", False)
    body = b"%d" % count
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _count_messages(receive: Receive, send: Send, *, waits: bool) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    if waits:
        await asyncio.Event().wait()
    count = 0
    while (message := await receive())["type"] == "websocket.receive":
        text = message.get("text")
        if text is None:
            count += len(message["bytes"])
        elif text == "end":
            await send({"type": "websocket.send", "text": str(count)})
            count = 0
        else:
            count += len(text)
