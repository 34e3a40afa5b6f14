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
from websockets.exceptions import ConnectionClosed, InvalidStatus
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
    socket: ClientConnection = connect(url, proxy=None, open_timeout=TIMEOUT_S, max_size=None, **options)
    return socket


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


def upload_stream_echo(running: Running) -> Any:
    """Upload a file, read a stream, and talk over a WebSocket until the application closes it."""
    seen: list[Any] = []
    with browser_like(running) as client:
        answer = client.post("/upload", files={"data": ("data.bin", b"x" * 400_000)})
        seen.append([answer.status_code, answer.json()])
        with client.stream("GET", "/stream") as stream:
            seen.append([stream.status_code, stream.headers["content-type"], len("".join(stream.iter_text()))])
    with web_socket(running, "/echo", subprotocols=[Subprotocol("echo")]) as socket:
        seen.append(socket.subprotocol)
        for text in ("hello", "ünïcode", "x" * 200_000, ""):
            socket.send(text)
            seen.append(socket.recv(TIMEOUT_S) == text)
        socket.send("end")
        seen.append(_closed(socket))
    return seen


def rooms(running: Running) -> Any:
    """Log in to Django's admin, upload, and let two people of a room hear one another, one of them logged in."""
    seen: list[Any] = []
    with browser_like(running) as client:
        token = token_in(client.get("/admin/login/").text, "csrfmiddlewaretoken")
        fields = {"username": "reader", "password": "secret", "csrfmiddlewaretoken": token, "next": "/admin/"}
        answer = client.post("/admin/login/", data=fields)
        seen.append([answer.status_code, answer.url.path, "Site administration" in answer.text])
        seen.append(client.post("/upload", files={"data": ("data.bin", b"x" * 4_000_000)}).json())
        seen.append(client.get("/stream").text)
        cookies = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    with (
        web_socket(running, "/rooms/kitchen", subprotocols=[Subprotocol("chat")]) as stranger,
        web_socket(running, "/rooms/kitchen", additional_headers={"Cookie": cookies}) as reader,
    ):
        seen.append([stranger.subprotocol, reader.subprotocol])
        for socket in (stranger, reader):
            socket.send(json.dumps({"text": "hello"}))
            seen += [json.loads(each.recv(TIMEOUT_S)) for each in (stranger, reader)]
    seen.append(_refusal(running, "/rooms/closed"))
    return seen


def sql(running: Running) -> Any:
    """Query a database, and download a table as CSV and as JSON."""
    with browser_like(running) as client:
        query = client.get("/shop.json", params={"sql": "select sum(price) from orders", "_shape": "array"})
        table = client.get("/shop/orders.csv", params={"_stream": "on", "_size": "max"})
        page = client.get("/shop/orders.json", params={"_size": "1000", "_shape": "array"})
        return [query.json(), len(table.text.splitlines()), table.headers["content-type"], len(page.json())]


def notebook(running: Running) -> Any:
    """Run a notebook over its WebSocket until it is done, and name the kinds of messages."""
    kinds: dict[str, int] = {}
    with web_socket(running, "/ws?session_id=s_world1") as socket:
        while "completed-run" not in kinds:
            kind = json.loads(socket.recv(TIMEOUT_S))["op"]
            kinds[kind] = kinds.get(kind, 0) + 1
    return sorted(kinds)


def tiles(running: Running) -> Any:
    """Look at a raster: what it is, its statistics within an area, and tiles in two formats."""
    area = {"type": "Polygon", "coordinates": [[[-10, -10], [10, -10], [10, 10], [-10, 10], [-10, -10]]]}
    seen: list[Any] = []
    with browser_like(running) as client:
        seen.append(client.get("/cog/info", params={"url": "world.tif"}).json())
        feature = {"type": "Feature", "properties": {}, "geometry": area}
        seen.append(client.post("/cog/statistics", params={"url": "world.tif"}, json=feature).json())
        for name in ("1/0/0.png", "1/0/0.webp"):
            tile = client.get(f"/cog/tiles/WebMercatorQuad/{name}", params={"url": "world.tif"})
            seen.append([tile.status_code, tile.headers["content-type"], len(tile.content)])
    return seen


def engine_io(path: str, auth: Any) -> Callable[[Running], Any]:
    """Return an interaction that connects to a Socket.IO server at ``path``, first by polling and then by WebSocket."""

    def interaction(running: Running) -> Any:
        seen: list[Any] = []
        with browser_like(running) as client:
            opened = client.get(path, params={"EIO": "4", "transport": "polling"})
            seen.append([opened.status_code, opened.text[:1], sorted(json.loads(opened.text[1:]))])
        with web_socket(running, f"{path}?EIO=4&transport=websocket") as socket:
            seen.append(str(socket.recv(TIMEOUT_S))[:1])
            socket.send("40" + json.dumps(auth))
            seen.append(re.sub('"sid":"[^"]*"', '"sid":"…"', str(socket.recv(TIMEOUT_S))))
        return seen

    return interaction


def flows(running: Running) -> Any:
    """Create a flow and a run with Prefect's API, and find them."""
    with browser_like(running) as client:
        flow = client.post("/api/flows/", json={"name": "brew"}).json()
        run = client.post(
            "/api/flow_runs/", json={"flow_id": flow["id"], "name": "first", "state": {"type": "SCHEDULED"}}
        )
        found = client.post("/api/flow_runs/filter", json={"flows": {"name": {"any_": ["brew"]}}}).json()
        seen = [run.status_code, [each["name"] for each in found], client.get("/api/health").json()]
    with web_socket(running, "/api/events/in") as socket:
        event = {
            "occurred": "2030-01-01T00:00:00Z",
            "event": "kettle.on",
            "resource": {"prefect.resource.id": "kettle"},
            "id": "00000000-0000-4000-8000-000000000001",
        }
        socket.send(json.dumps(event))
    return seen


def _closed(socket: ClientConnection) -> Any:
    try:
        return socket.recv(TIMEOUT_S)
    except ConnectionClosed as exc:
        return [exc.rcvd.code, exc.rcvd.reason] if exc.rcvd else "without a close frame"


def _refusal(running: Running, path: str) -> Any:
    try:
        with web_socket(running, path):
            return "opened"
    except InvalidStatus as exc:
        return exc.response.status_code
