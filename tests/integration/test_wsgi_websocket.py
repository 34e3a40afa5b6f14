"""flask-sock and Flask-SocketIO as they are, under ``dev run``, ``dev prod`` and gunicorn, with real clients."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import ssl
import sys
from pathlib import Path
from typing import Any

import pytest
import socketio  # type: ignore[import-untyped]
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.support.certificates import make_signed_certificate
from tests.support.dev_run import dev_run
from tests.support.ports import free_port
from tests.support.prod import prod
from tests.support.server import PATIENCE_S, command, spawned

pytestmark = pytest.mark.once

SOCK = """
from flask import Flask
from flask_sock import Sock

app = Flask(__name__)
app.config["SOCK_SERVER_OPTIONS"] = {"ping_interval": 25}
sock = Sock(app)

@app.get("/")
def index():
    return "hello"

@sock.route("/echo")
def echo(ws):
    while True:
        ws.send("old:" + ws.receive())
"""
SOCKETIO = """
from flask import Flask, request
from flask_socketio import SocketIO, disconnect, emit

app = Flask(__name__)
sio = SocketIO(app, async_mode="threading")

@sio.on("shout")
def shout(text):
    emit("answer", {"text": text.upper(), "bytes": bytes(range(256)) * 400})
    return "heard"

@sio.on("count")
def count():
    sio.start_background_task(tick, request.sid)

def tick(sid):
    for number in range(3):
        sio.emit("answer", number, to=sid)

@sio.on("bye")
def bye():
    disconnect()
"""


def code_of(closed: ConnectionClosed) -> int:
    """The status code that the server has closed with."""
    assert closed.rcvd is not None
    return closed.rcvd.code


def test_flask_sock_over_tls(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(SOCK)
    certificate, key, ca = make_signed_certificate(tmp_path)
    words = ["--ssl-certfile", str(certificate), "--ssl-keyfile", str(key)]
    with prod(tmp_path, "-w", "1", "--host", "127.0.0.1", *words) as running:
        trust = ssl.create_default_context(cafile=str(ca))
        with connect(f"wss://localhost:{running.port}/echo", ssl=trust) as client:
            for text in "a", "é" * 100_000:
                client.send(text)
                assert client.recv(30) == "old:" + text
        running.wait(r'"WebSocket /echo" closed 1000')
        assert running.end() == 0
        assert "Traceback" not in running.text


def test_save_closes_with_1012_and_the_next_connection_has_the_new_code(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(SOCK)
    with dev_run("main.py", directory=tmp_path) as running:
        url = running.url.replace("http", "ws") + "/echo"
        with connect(url) as client:
            client.send("a")
            assert client.recv(30) == "old:a"
            (tmp_path / "main.py").write_text(SOCK.replace("old:", "new:"))
            with pytest.raises(ConnectionClosed) as caught:
                client.recv(30)
            assert code_of(caught.value) == 1012
        running.wait_for("Reloaded")
        with connect(url) as client:
            client.send("a")
            assert client.recv(30) == "new:a"
        assert running.stop() == 0


def test_drain_ends_threads_that_wait_for_their_client(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(SOCK)
    words = ["-w", "2", "--threads", "4", "--timeout-graceful-shutdown", "60"]
    with prod(tmp_path, *words) as running, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(f"ws://127.0.0.1:{running.port}/echo")) for _ in range(4)]
        for client in clients[:3]:
            client.send("a")
            assert client.recv(30) == "old:a"
        running.send(signal.SIGTERM)
        for client in clients:
            with pytest.raises(ConnectionClosed) as caught:
                client.recv(30)
            assert code_of(caught.value) == 1012
        # Long before a minute is over.
        assert running.process.wait(PATIENCE_S) == 0
        assert "Traceback" not in running.text


def test_gunicorns_master_with_our_worker(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(SOCK)
    port = free_port()
    words = [
        "-m",
        "gunicorn",
        "main:app",
        "-k",
        "devserver.gunicorn.Worker",
        "-b",
        f"127.0.0.1:{port}",
        "--threads",
        "2",
    ]
    with spawned([sys.executable, *words, "--no-control-socket"], tmp_path) as child:
        child.wait_text("Booting worker")
        with connect(f"ws://127.0.0.1:{port}/echo") as client:
            client.send("a")
            assert client.recv(30) == "old:a"
        child.process.terminate()
        assert child.wait() == 0


@pytest.mark.parametrize("transports", [["websocket"], ["polling", "websocket"], ["polling"]])
def test_flask_socketio_in_threading_mode(tmp_path: Path, transports: list[str]) -> None:
    (tmp_path / "main.py").write_text(SOCKETIO)

    async def talk(port: int) -> None:
        client = socketio.AsyncClient(reconnection=False)
        answers: asyncio.Queue[Any] = asyncio.Queue()
        client.on("answer", answers.put)
        async with asyncio.timeout(60):
            await client.connect(f"http://127.0.0.1:{port}", transports=transports)
            assert client.transport() == transports[-1]
            assert await client.call("shout", "é") == "heard"
            assert await answers.get() == {"text": "É", "bytes": bytes(range(256)) * 400}
            await client.emit("count")
            assert [await answers.get() for _ in range(3)] == [0, 1, 2]
            await client.emit("bye")
            await client.wait()

    with command(tmp_path, "run", "--no-reload", "--ui", "plain", "--port", "0") as child:
        asyncio.run(talk(child.port))
        child.process.terminate()
        assert child.wait() == 0
        assert "Traceback" not in child.text
