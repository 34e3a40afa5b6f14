"""Quart with static files, an upload, a stream and a WebSocket."""

from os import utime
from pathlib import Path

from quart import Quart, request, websocket

Path("static").mkdir(exist_ok=True)
Path("static/style.css").write_text("body { color: black }\n" * 500)
Path("static/data.bin").write_bytes(bytes(range(256)) * 4000)
for file in Path("static").iterdir():
    # Validators are made from it.
    utime(file, (1e9, 1e9))
app = Quart(__name__)


@app.get("/")
async def index():
    return "<!doctype html><title>Quart</title><link rel=stylesheet href=/static/style.css><img src=/static/data.bin>"


@app.post("/upload")
async def upload():
    files = await request.files
    return {name: len(file.read()) for name, file in files.items()}


@app.get("/stream")
async def stream():
    async def lines():
        for number in range(1000):
            yield f"{number}\n"

    return lines(), {"content-type": "text/plain"}


@app.websocket("/echo")
async def echo():
    await websocket.accept(subprotocol="echo")
    while (text := await websocket.receive()) != "end":
        await websocket.send(text)
    await websocket.close(4000, "ended")
