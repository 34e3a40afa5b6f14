"""Answers about the server itself."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from devserver.app.health import Health


def ask(health: Health, path: str, method: str = "GET", kind: str = "http") -> list[dict[str, Any]]:
    """The messages that are sent."""
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("nothing is received")

    asyncio.run(health({"type": kind, "path": path, "method": method}, receive, send))
    return sent


async def app(scope: Any, receive: Any, send: Any) -> None:
    await send({"app": scope.get("path")})


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [("/h/live", "GET", 200), ("/h/ready", "HEAD", 503), ("/h/live", "POST", 405), ("/h/ready", "DELETE", 405)],
)
def test_health_paths_are_answered(path: str, method: str, status: int) -> None:
    start, body = ask(Health(app, "/h/", lambda: False), path, method)
    assert start["status"] == status
    assert dict(start["headers"])[b"content-length"] == str(len(body["body"])).encode()
    assert dict(start["headers"])[b"cache-control"] == b"no-store"
    assert ((b"allow", b"GET, HEAD") in start["headers"]) is (status == 405)


def test_ready_follows_what_it_is_told() -> None:
    ready = [True]
    health = Health(app, "", lambda: ready[0])
    assert ask(health, "/ready")[0]["status"] == 200
    ready[0] = False
    assert ask(health, "/ready")[0]["status"] == 503
    assert ask(health, "/live")[0]["status"] == 200


@pytest.mark.parametrize(("path", "kind"), [("/h", "http"), ("/h/live/", "http"), ("/h/live", "websocket")])
def test_everything_else_is_the_apps(path: str, kind: str) -> None:
    assert ask(Health(app, "/h", lambda: True), path, kind=kind) == [{"app": path}]
