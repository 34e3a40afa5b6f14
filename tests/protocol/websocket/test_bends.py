"""What apps in the wild do that is not quite ASGI: what comes of it here, and under uvicorn.

Each row is run on uvicorn's protocol class as well, so that the table in docs/websockets.md stays true.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import uvicorn
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState as UvicornState

from devserver.events import AppRaised, Notice
from tests.protocol.websocket.test_connection import handshake
from tests.support.memory import MemoryTransport, StillLoop, memory_server
from tests.support.websocket import CLOSE, TEXT, client_close, client_text, read_frames

if TYPE_CHECKING:
    from devserver.app.types import ASGIApp, Receive, Scope, Send

ACCEPT = {"type": "websocket.accept"}
START = {"type": "websocket.http.response.start", "status": 401}
BODY = {"type": "websocket.http.response.body", "body": b"no"}
SEND = {"type": "websocket.send", "text": "text"}
CLOSED = {"type": "websocket.close"}
RECEIVE = "receive"
DATES = tuple(f"date: {day}, " for day in ("mon", "tue", "wed", "thu", "fri", "sat", "sun"))


class Bend(NamedTuple):
    """One thing that apps do."""

    steps: list[dict[str, Any] | str]
    """Messages that the app sends, and :data:`RECEIVE`."""
    uvicorn: str
    ours: str
    warns: bool = False
    peer: bytes = b""


def accept(*headers: Any, subprotocol: Any = None) -> dict[str, Any]:
    return {"type": "websocket.accept", "subprotocol": subprotocol, "headers": [*headers]}


BENDS: dict[str, Bend] = {
    "accepts with a subprotocol that was not offered": Bend(
        [accept(subprotocol="c"), SEND],
        "101, sec-websocket-protocol=c, 'text', end",
        "101, 'text', close 1000",
        warns=True,
    ),
    'accepts with the subprotocol ""': Bend(
        [accept(subprotocol=""), SEND], "101, 'text', end", "101, 'text', close 1000"
    ),
    "accepts with `sec-websocket-protocol` among the headers": Bend(
        [accept((b"Sec-WebSocket-Protocol", b"b")), SEND],
        "101, sec-websocket-protocol=b, 'text', end",
        "101, sec-websocket-protocol=b, 'text', close 1000",
    ),
    "accepts with the same subprotocol as an argument and as a header": Bend(
        [accept((b"Sec-WebSocket-Protocol", b"b"), subprotocol="b"), SEND],
        "101, sec-websocket-protocol=b, sec-websocket-protocol=b, 'text', end",
        "101, sec-websocket-protocol=b, 'text', close 1000",
    ),
    "accepts with a header that names a subprotocol that was not offered": Bend(
        [accept((b"Sec-WebSocket-Protocol", b"c")), SEND],
        "101, sec-websocket-protocol=c, 'text', end",
        "101, 'text', close 1000",
        warns=True,
    ),
    "accepts with a `connection` or `upgrade` header": Bend(
        [accept((b"connection", b"close")), SEND],
        "101, connection=close, 'text', end",
        "101, 'text', close 1000",
        warns=True,
    ),
    "accepts with a `sec-websocket-extensions` header": Bend(
        [accept((b"sec-websocket-extensions", b"x")), SEND],
        "101, sec-websocket-extensions=x, 'text', end",
        "101, 'text', close 1000",
        warns=True,
    ),
    "accepts with a `content-length` header": Bend(
        [accept((b"content-length", b"0")), SEND],
        "101, content-length=0, 'text', end",
        "101, 'text', close 1000",
        warns=True,
    ),
    "accepts with `server` and `date` headers": Bend(
        [accept((b"server", b"mine"), (b"date", b"now")), SEND],
        "101, server=mine, date=now, 'text', end",
        "101, server=mine, date=now, 'text', close 1000",
    ),
    "accepts with headers that are str": Bend(
        [accept(("x", "y")), SEND],
        "500, b'Internal Server Error', end, raises, logged",
        "500, b'Internal Server Error', end, raises RuntimeError, logged",
    ),
    "accepts with headers that are lists": Bend(
        [accept([b"X-Y", b"z"]), SEND], "101, x-y=z, 'text', end", "101, x-y=z, 'text', close 1000"
    ),
    "sends text and bytes in one message": Bend(
        [ACCEPT, {**SEND, "bytes": b"bytes"}], "101, b'bytes', end", "101, b'bytes', close 1000"
    ),
    "sends text, with bytes None": Bend(
        [ACCEPT, {**SEND, "bytes": None}], "101, 'text', end", "101, 'text', close 1000"
    ),
    "sends bytes, with text None": Bend(
        [ACCEPT, {**SEND, "text": None, "bytes": b"bytes"}], "101, b'bytes', end", "101, b'bytes', close 1000"
    ),
    "sends bytes, with an empty text": Bend(
        [ACCEPT, {**SEND, "text": "", "bytes": b"bytes"}], "101, b'bytes', end", "101, b'bytes', close 1000"
    ),
    "sends neither text nor bytes": Bend(
        [ACCEPT, {"type": "websocket.send"}], "101, end", "101, close 1000", warns=True
    ),
    "sends a str as bytes": Bend(
        [ACCEPT, {"type": "websocket.send", "bytes": "x"}],
        "101, end, raises, logged",
        "101, close 1011, raises RuntimeError, logged",
    ),
    "sends bytes as text": Bend(
        [ACCEPT, {"type": "websocket.send", "text": b"x"}],
        "101, end, raises, logged",
        "101, close 1011, raises RuntimeError, logged",
    ),
    "sends a bytearray or memoryview": Bend(
        [ACCEPT, {"type": "websocket.send", "bytes": bytearray(b"x")}], "101, b'x', end", "101, b'x', close 1000"
    ),
    "sends before it accepts": Bend(
        [SEND],
        "500, b'Internal Server Error', end, raises RuntimeError, logged",
        "500, b'Internal Server Error', end, raises RuntimeError, logged",
    ),
    "accepts twice": Bend(
        [ACCEPT, ACCEPT], "101, end, raises RuntimeError, logged", "101, close 1011, raises RuntimeError, logged"
    ),
    "closes with the reason None": Bend([ACCEPT, {**CLOSED, "reason": None}], "101, close 1000", "101, close 1000"),
    "closes with the code None": Bend([ACCEPT, {**CLOSED, "code": None}], "101, close 1005", "101, close 1000"),
    "closes with a reason of more than 123 bytes": Bend(
        [ACCEPT, {**CLOSED, "reason": "x" * 200}], "101, end, raises, logged", "101, close 1000 123"
    ),
    "closes with 1005": Bend([ACCEPT, {**CLOSED, "code": 1005}], "101, end, raises, logged", "101, close 1005"),
    "closes with 1006 or 1015": Bend(
        [ACCEPT, {**CLOSED, "code": 1006}], "101, end, raises, logged", "101, close 1011, raises RuntimeError, logged"
    ),
    "closes with a code such as 403": Bend(
        [ACCEPT, {**CLOSED, "code": 403}], "101, end, raises, logged", "101, close 1011, raises RuntimeError, logged"
    ),
    "closes with a code that is a str": Bend(
        [ACCEPT, {**CLOSED, "code": "1000"}], "101, end, raises, logged", "101, close 1011, raises RuntimeError, logged"
    ),
    "closes twice": Bend(
        [ACCEPT, CLOSED, CLOSED],
        "101, close 1000, raises RuntimeError, logged",
        "101, close 1000, raises RuntimeError, logged",
    ),
    "sends after it has closed": Bend(
        [ACCEPT, CLOSED, SEND],
        "101, close 1000, raises RuntimeError, logged",
        "101, close 1000, raises RuntimeError, logged",
    ),
    "closes after `websocket.disconnect`": Bend(
        [ACCEPT, RECEIVE, RECEIVE, CLOSED],
        "101, close 1000, end, got connect, got 1000",
        "101, close 1000, end, got connect, got 1000",
        peer=client_close(1000),
    ),
    "sends after `websocket.disconnect`": Bend(
        [ACCEPT, RECEIVE, RECEIVE, SEND],
        "101, close 1000, end, got connect, got 1000, raises OSError",
        "101, close 1000, end, got connect, got 1000, raises OSError",
        peer=client_close(1000),
    ),
    "receives after `websocket.disconnect`": Bend(
        [ACCEPT, *[RECEIVE] * 3],
        "101, close 1001 3, end, got connect, got 1001, got 1005",
        "101, close 1001 3, end, got connect, got 1001, got 1001",
        peer=client_close(1001, b"bye"),
    ),
    "receives after it has closed": Bend(
        [ACCEPT, RECEIVE, RECEIVE, CLOSED, RECEIVE, RECEIVE],
        "101, close 1000, got connect, got a, got b, got 1000",
        "101, close 1000, got connect, got a, got b, got 1000",
        peer=client_text("a") + client_text("b"),
    ),
    "returns without closing": Bend([ACCEPT], "101, end", "101, close 1000"),
    "returns without accepting": Bend(
        [RECEIVE],
        "500, b'Internal Server Error', end, got connect, logged",
        "500, b'Internal Server Error', end, got connect, logged",
    ),
    "returns after `websocket.http.response.start`": Bend([START], "nothing, end, logged", "401, b'', end", warns=True),
    "returns after a start with a Content-Length": Bend(
        [{**START, "headers": [(b"content-length", b"2")]}],
        "nothing, end, logged",
        "500, b'Internal Server Error', end, logged",
    ),
    "sends a denial body message without `body`": Bend(
        [START, {"type": "websocket.http.response.body"}], "nothing, end, raises, logged", "401, b'', end"
    ),
    "sends a denial response": Bend([START, BODY], "401, b'no', end, logged", "401, b'no', end"),
    "sends after it has closed before accepting": Bend(
        [CLOSED, SEND], "403, b'', end, raises RuntimeError, logged", "403, b'', end, raises RuntimeError, logged"
    ),
    "closes twice before accepting": Bend(
        [CLOSED, CLOSED], "403, b'', end, raises RuntimeError, logged", "403, b'', end, raises RuntimeError, logged"
    ),
}


def app_of(bend: Bend, told: list[str]) -> ASGIApp:
    """An app that takes these steps, and what it sees of them."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for step in bend.steps:
            if isinstance(step, str):
                event = dict(await receive())
                told.append("got " + str(event.get("text") or event.get("code") or event["type"].partition(".")[2]))
                continue
            try:
                await send(step)
            except OSError:
                told.append("raises OSError")
                raise
            except RuntimeError:
                told.append("raises RuntimeError")
                raise
            except Exception:
                told.append("raises")
                raise

    return app


def shown(wire: bytes, closed: bool, told: list[str]) -> str:
    """What the client and the app have seen, in one line."""
    head, _, rest = wire.partition(b"\r\n\r\n")
    words = [head.split(b" ")[1].decode() if head else "nothing"]
    if head.startswith(b"HTTP/1.1 101"):
        ordinary = ("upgrade", "connection: upgrade", "sec-websocket-accept", "server: devserver")
        lines = [line.decode().lower() for line in head.split(b"\r\n")[1:]]
        words += [line.replace(": ", "=") for line in lines if not line.startswith((*ordinary, *DATES))]
        frames, _ = read_frames(rest)
        for frame in frames:
            if frame.opcode == CLOSE:
                words.append(f"close {frame.code}{' ' * bool(frame.reason)}{len(frame.reason) or ''}")
            else:
                words.append(repr(frame.payload.decode() if frame.opcode == TEXT else frame.payload))
    elif head:
        words.append(repr(rest))
    if closed:
        words.append("end")
    return ", ".join([*words, *told])


def under_devserver(bend: Bend) -> tuple[str, bool]:
    told: list[str] = []
    with memory_server(app_of(bend, told)) as server:
        client = server.connect()
        client.send(handshake(b"Sec-WebSocket-Protocol: a, b"), bend.peer)
        client.settle()
        told += ["logged"] * bool(server.events_of(AppRaised))
        return shown(client.sent, client.closed, told), bool(server.events_of(Notice))


def under_uvicorn(bend: Bend, caplog: pytest.LogCaptureFixture) -> str:
    told: list[str] = []
    loop = StillLoop()
    config = uvicorn.Config(app_of(bend, told), log_config=None)
    config.load()
    protocol = WebSocketsSansIOProtocol(config, UvicornState(), {}, _loop=loop)
    transport = MemoryTransport(loop, {"peername": ("127.0.0.1", 50000), "sockname": ("127.0.0.1", 8000)})
    transport.set_protocol(protocol)
    try:
        loop.call_soon(protocol.connection_made, transport)
        for data in (handshake(b"Sec-WebSocket-Protocol: a, b"), bend.peer):
            if data and not transport.closing:
                loop.call_soon(protocol.data_received, data)
            loop.settle()
        told += ["logged"] * any(record.levelno >= logging.ERROR for record in caplog.records)
        return shown(bytes(transport.sent), transport.closing, told)
    finally:
        transport.abort()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.settle()
        loop.close()


def test_table_of_the_documentation_has_a_row_for_each() -> None:
    page = (Path(__file__).parents[3] / "docs" / "websockets.md").read_text(encoding="utf-8")
    table = page.partition("## What apps may do")[2].partition("\n## ")[0]
    rows = [line.split(" | ")[0].removeprefix("| ") for line in table.splitlines() if line.startswith("| ")]
    assert sorted(rows[1:]) == sorted(BENDS)


@pytest.mark.parametrize("name", BENDS)
def test_bend_here(name: str) -> None:
    bend = BENDS[name]
    assert under_devserver(bend) == (bend.ours, bend.warns)


@pytest.mark.parametrize("name", BENDS)
def test_bend_under_uvicorn(name: str, caplog: pytest.LogCaptureFixture) -> None:
    bend = BENDS[name]
    assert under_uvicorn(bend, caplog) == bend.uvicorn
