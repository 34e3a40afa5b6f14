"""One interaction with each application, as its users have it: a login, an upload, a stream, a WebSocket.

Each function returns what was seen as JSON can carry it; the same is required under every server.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.world.applications.serving import Running, run_client

TIMEOUT_S = 60.0
"""Timeout of an answer or a message, because some applications compute their first one for seconds."""
PROGRAMS = Path(__file__).with_name("programs")


@contextmanager
def browser_like(running: Running, **options: Any) -> Iterator[httpx.Client]:
    """A client that keeps cookies, for one session; redirects are followed."""
    options = {"follow_redirects": True, "timeout": TIMEOUT_S, "trust_env": False, **options}
    with httpx.Client(base_url=running.url, **options) as client:
        yield client


def web_socket(running: Running, path: str, **options: Any) -> ClientConnection:
    """Open a WebSocket."""
    url = f"ws://127.0.0.1:{running.port}{path}"
    return connect(url, proxy=None, open_timeout=TIMEOUT_S, max_size=None, **options)


def own_client(name: str) -> Callable[[Running], Any]:
    """Return an interaction that runs ``programs/NAME`` beside the application and takes the JSON that it prints."""

    def interaction(running: Running) -> Any:
        return json.loads(run_client(running, PROGRAMS / name).splitlines()[-1])

    return interaction


def wait_until(condition: Callable[[], Any]) -> Any:
    """Return the first true result of ``condition``.

    :raises AssertionError: it stays false for :data:`TIMEOUT_S`.
    """
    deadline = time.monotonic() + TIMEOUT_S
    while not (result := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
    return result


def token_in(page: str, name: str) -> str:
    """Return the value of a hidden field of a form; empty when it has none."""
    for field in re.findall(r"<input[^>]*>", page):
        if f'name="{name}"' in field and (found := re.search(r'value="([^"]*)"', field)):
            return found[1]
    return ""


def admin_login(login: str, create: str, listing: str, book: str) -> Callable[[Running], Any]:
    """Return an interaction that fails to log in, logs in, adds a book and finds it in the list.

    :param login: path of the login form; the other two are those of the form of a new book and of the list.
    :param book: text that surrounds a title in the list, with ``%s`` in its place.
    """

    def interaction(running: Running) -> Any:
        seen: list[Any] = []
        with browser_like(running) as client:

            def post(path: str, **fields: str) -> httpx.Response:
                token = {
                    name: value
                    for name in ("csrf_token", "_csrf_token")
                    if (value := token_in(client.get(path).text, name))
                }
                return client.post(path, data=fields | token)

            seen.append(client.get(listing).url.path)
            for password in ("wrong", "secret"):
                answer = post(login, username="reader", password=password)
                seen.append([answer.status_code, answer.url.path])
            answer = post(create, title="Ulysses")
            seen.append([answer.status_code, answer.url.path])
            listed = client.get(listing)
            seen.append([listed.status_code, book % "Ulysses" in listed.text])
        return seen

    return interaction


def sse(running: Running) -> Any:
    """Read a stream of events to its end, leave another, and see that the application knows."""
    seen: list[Any] = []
    with browser_like(running) as client:
        with client.stream("GET", "/ticks") as stream:
            seen += [stream.headers["content-type"], "".join(stream.iter_text())]
        with client.stream("GET", "/endless") as stream:
            lines = stream.iter_lines()
            seen.append([next(lines) for _ in range(5)])
        seen.append(wait_until(lambda: client.get("/departures").json()))
        seen.append(client.post("/add", headers={"HX-Request": "true"}).text)
    return seen


def graphql(running: Running) -> Any:
    """Query, upload a file, and subscribe in both protocols for GraphQL over WebSockets."""
    seen: list[Any] = []
    with browser_like(running) as client:
        query = {"query": "query ($name: String!) { hello(name: $name) }", "variables": {"name": "Ada"}}
        seen.append(client.post("/graphql", json=query).json())
        upload = {"query": "mutation ($file: Upload!) { size(file: $file) }", "variables": {"file": None}}
        fields = {"operations": json.dumps(upload), "map": json.dumps({"0": ["variables.file"]})}
        seen.append(client.post("/graphql", data=fields, files={"0": ("file.bin", b"x" * 3_000_000)}).json())
    for protocol, start in (("graphql-transport-ws", "subscribe"), ("graphql-ws", "start")):
        with web_socket(running, "/graphql", subprotocols=[Subprotocol(protocol)]) as socket:
            seen.append(socket.subprotocol)
            socket.send(json.dumps({"type": "connection_init"}))
            seen.append(json.loads(socket.recv(TIMEOUT_S)))
            payload = {"query": "subscription { count(to: 3) }"}
            socket.send(json.dumps({"id": "1", "type": start, "payload": payload}))
            while seen[-1].get("type") != "complete":
                seen.append(json.loads(socket.recv(TIMEOUT_S)))
    return seen
