"""Litestar with compression, static files, an upload, server-sent events and a WebSocket."""

from os import utime
from pathlib import Path
from typing import Annotated, Any

from litestar import Litestar, WebSocket, get, post, websocket
from litestar.config.compression import CompressionConfig
from litestar.datastructures import UploadFile
from litestar.enums import RequestEncodingType
from litestar.params import Body
from litestar.response import ServerSentEvent, Stream
from litestar.static_files import create_static_files_router

static = Path("static")
static.mkdir(exist_ok=True)
(static / "index.html").write_text(
    "<!doctype html><title>Litestar</title><link rel=stylesheet href=style.css><script src=script.js></script>"
)
(static / "style.css").write_text("body { color: black }\n" * 500)
(static / "script.js").write_text("document.title += '!'\n" * 500)
(static / "data.bin").write_bytes(bytes(range(256)) * 4000)
for file in static.iterdir():
    # Validators are made from it.
    utime(file, (1e9, 1e9))


@get("/rows")
async def rows() -> list[dict[str, int]]:
    return [{"row": number} for number in range(500)]


@post("/upload")
async def upload(data: Annotated[UploadFile, Body(media_type=RequestEncodingType.MULTI_PART)]) -> dict[str, Any]:
    return {"name": data.filename, "size": len(await data.read())}


@get("/events")
async def events() -> ServerSentEvent:
    async def numbers():
        for number in range(3):
            yield str(number)

    return ServerSentEvent(numbers())


@get("/stream")
async def stream() -> Stream:
    async def lines():
        for number in range(1000):
            yield f"{number}\n"

    return Stream(lines())


@websocket("/echo")
async def echo(socket: WebSocket) -> None:
    await socket.accept(subprotocols="echo")
    while (text := await socket.receive_text()) != "end":
        await socket.send_text(text)
    await socket.close(4000, "ended")


app = Litestar(
    [rows, upload, events, stream, echo, create_static_files_router("/static", [static], html_mode=True)],
    compression_config=CompressionConfig(backend="brotli", brotli_gzip_fallback=True),
)
