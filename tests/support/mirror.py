"""An app that answers with what it was given: every test program can serve a copy of this file.

Knows nothing but ASGI, and has no lifespan. Answers are JSON, except where the path asks for something else:

- ``/environ/NAME``: the value of an environment variable
- ``/stream/N``: N numbered lines, each sent on its own and without a length
- ``/early``: an answer to a request whose body was not read
- everything else: the request, as a :class:`Seen` can be made of it
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

TEXT = [(b"content-type", b"text/plain; charset=utf-8")]

requests = 0
"""Requests that this process has begun."""


async def app(
    scope: MutableMapping[str, Any],
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
) -> None:
    """The app."""
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    global requests
    requests += 1
    number = requests
    match scope["path"].removeprefix(scope["root_path"]).split("/"):
        case ["", "environ", name]:
            await answer(send, os.environ.get(name, "").encode(), TEXT)
        case ["", "stream", count]:
            await send({"type": "http.response.start", "status": 200, "headers": TEXT})
            for line in range(int(count)):
                await send({"type": "http.response.body", "body": b"line %d\n" % line, "more_body": True})
                await asyncio.sleep(0)
            await send({"type": "http.response.body"})
        case ["", "early"]:
            await answer(send, b"early", TEXT)
        case _:
            body = await whole_body(receive)
            seen = {
                "number": number,
                "pid": os.getpid(),
                "loop": type(asyncio.get_running_loop()).__module__,
                "method": scope["method"],
                "http_version": scope["http_version"],
                "scheme": scope["scheme"],
                "path": scope["path"],
                "root_path": scope["root_path"],
                "query": scope["query_string"].decode(),
                "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]],
                "client": scope["client"],
                "server": scope["server"],
                "body_bytes": len(body),
                "body_sha256": hashlib.sha256(body).hexdigest(),
            }
            await answer(send, json.dumps(seen).encode(), [(b"content-type", b"application/json")])


async def whole_body(receive: Callable[[], Awaitable[MutableMapping[str, Any]]]) -> bytes:
    """The body of a request.

    :raises EOFError: the client left before its end.
    """
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise EOFError("the client has left")
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return bytes(body)


async def answer(
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]], body: bytes, headers: list[tuple[bytes, bytes]]
) -> None:
    """Sends a whole response."""
    headers = [(b"content-length", b"%d" % len(body)), *headers]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
