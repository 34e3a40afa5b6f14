"""Answers to whoever asks whether the server lives and whether it wants requests, without the app.

``PATH/live`` is 200 as long as the event loop turns. ``PATH/ready`` is 200 while requests are welcome, and 503 from the
moment that the process is about to end: a load balancer then looks for another one before this one is gone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from devserver.app.types import ASGIApp, Receive, Scope, Send

_HEADERS = [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store")]


class Health:
    """An ASGI app in front of another.

    :param app: gets everything else.
    :param path: what the two paths begin with, such as ``/health``; an empty one makes them ``/live`` and ``/ready``.
    :param ready: whether requests are welcome.
    """

    def __init__(self, app: ASGIApp, path: str, ready: Callable[[], bool]) -> None:
        self._app = app
        self._live, self._ready = f"{path.rstrip('/')}/live", f"{path.rstrip('/')}/ready"
        self._is_ready = ready

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        path = scope.get("path")
        if scope["type"] != "http" or path not in {self._live, self._ready}:
            await self._app(scope, receive, send)
            return
        if scope["method"] not in {"GET", "HEAD"}:
            await _answer(send, 405, b"GET or HEAD\n", [(b"allow", b"GET, HEAD")])
        elif path == self._live or self._is_ready():
            await _answer(send, 200, b"ok\n", [])
        else:
            await _answer(send, 503, b"stopping\n", [])


async def _answer(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [*_HEADERS, length, *headers]})
    await send({"type": "http.response.body", "body": body})
