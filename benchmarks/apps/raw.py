"""The ASGI apps that are measured, each as small as its case allows, so that what is measured is the server."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

GREETING = b"Hello, world!"
PLAIN = (b"content-type", b"text/plain; charset=utf-8")
BINARY = (b"content-type", b"application/octet-stream")
EVENTS = (b"content-type", b"text/event-stream")
EVENT = b"data: " + b"x" * 56 + b"\n\n"
PIECE = b"x" * 65536
PIECES = 16
DROP = b"x" * 1024


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers every request with 13 bytes."""
    if scope["type"] != "http":
        return await lifespan(receive, send)
    return await answer(send, PLAIN, GREETING)


async def who(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the id of the process."""
    if scope["type"] != "http":
        return await lifespan(receive, send)
    return await answer(send, PLAIN, str(os.getpid()).encode())


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the body of the request."""
    if scope["type"] != "http":
        return await lifespan(receive, send)
    body = bytearray()
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return await answer(send, BINARY, bytes(body))


async def upload(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads the body of the request and answers with its length."""
    if scope["type"] != "http":
        return await lifespan(receive, send)
    length = 0
    more = True
    while more:
        message = await receive()
        length += len(message.get("body", b""))
        more = message.get("more_body", False)
    return await answer(send, PLAIN, str(length).encode())


async def stream(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with 1 MiB in 16 pieces whose total is not announced."""
    if scope["type"] != "http":
        return await lifespan(receive, send)
    await send({"type": "http.response.start", "status": 200, "headers": [BINARY]})
    for _ in range(PIECES):
        await send({"type": "http.response.body", "body": PIECE, "more_body": True})
    return await send({"type": "http.response.body", "body": b""})


async def _pieces(send: Send, kind: tuple[bytes, bytes], piece: bytes, count: int, *, length: bool = False) -> None:
    headers = [kind, (b"content-length", str(len(piece) * count).encode())] if length else [kind]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for _ in range(count):
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def tokens(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with 256 events of 64 bytes that are all there, as a model that is faster than its client sends them."""
    if scope["type"] != "http":
        return await lifespan(receive, send)
    return await _pieces(send, EVENTS, EVENT, 256)


async def paced(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with 64 events of 64 bytes, each of which is waited for."""
    if scope["type"] != "http":
        return await lifespan(receive, send)
    await send({"type": "http.response.start", "status": 200, "headers": [EVENTS]})
    loop = asyncio.get_running_loop()
    for _ in range(64):
        waiter = loop.create_future()
        loop.call_later(0.001, waiter.set_result, None)
        await waiter
        await send({"type": "http.response.body", "body": EVENT, "more_body": True})
    return await send({"type": "http.response.body", "body": b""})


async def small_pieces(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with 1 MiB in pieces of 1 KiB."""
    if scope["type"] != "http":
        return await lifespan(receive, send)
    return await _pieces(send, BINARY, DROP, 1024)


async def pieces(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with 1 MiB in pieces of 16 KiB; at ``/length`` the total is announced."""
    if scope["type"] != "http":
        return await lifespan(receive, send)
    return await _pieces(send, BINARY, PIECE[:16384], 64, length=scope["path"] == "/length")


async def endless(scope: Scope, receive: Receive, send: Send) -> None:
    """At ``/endless`` never stops sending, and awaits nothing but ``send()``; elsewhere a greeting."""
    if scope["type"] != "http":
        return await lifespan(receive, send)
    if scope["path"] != "/endless":
        return await answer(send, PLAIN, GREETING)
    await send({"type": "http.response.start", "status": 200, "headers": [BINARY]})
    while True:
        await send({"type": "http.response.body", "body": DROP, "more_body": True})


async def messages(scope: Scope, receive: Receive, send: Send) -> None:
    """Echoes the messages of a WebSocket; a greeting for requests."""
    if scope["type"] == "http":
        return await answer(send, PLAIN, GREETING)
    if scope["type"] != "websocket":
        return await lifespan(receive, send)
    await receive()
    await send({"type": "websocket.accept"})
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return None
        await send({"type": "websocket.send", "text": message["text"]})


async def answer(send: Send, kind: tuple[bytes, bytes], body: bytes) -> None:
    """One response of known length."""
    headers = [kind, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def lifespan(receive: Receive, send: Send) -> None:
    """Says yes to startup and shutdown."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
