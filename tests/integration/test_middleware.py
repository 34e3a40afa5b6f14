"""Files, streams and headers behind the middleware people have: FastAPI, Starlette and what their tutorials show."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fastapi import FastAPI, Header, Request
from fastapi.responses import FileResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles
from starlette.middleware.gzip import GZipMiddleware

from tests.support.ports import free_port
from tests.support.server import PATIENCE_S, serving, spawned, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from starlette.responses import Response

    from devserver.app.types import ASGIApp, Message, Receive, Scope, Send

SCRIPT = b"console.log('asset');\n" * 2000
PROGRAM = """
from pathlib import Path
from tests.integration.test_middleware import make_app
app = make_app(Path("static"))
"""


def make_app(folder: Path) -> FastAPI:
    """What FastAPI's tutorial says of middleware, static files and headers, in one app."""
    app = FastAPI()

    @app.middleware("http")
    async def passthrough(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        return await call_next(request)

    app.mount("/static", StaticFiles(directory=folder))

    @app.get("/download")
    async def download() -> FileResponse:
        return FileResponse(folder / "app.js", filename="app.js")

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def lines() -> AsyncIterator[bytes]:
            for number in range(100):
                yield b"line %d\n" % number

        return StreamingResponse(lines(), media_type="text/plain")

    @app.get("/headers")
    async def headers(strange_header: str | None = Header(default=None, convert_underscores=False)) -> dict[str, Any]:
        return {"strange_header": strange_header}

    return app


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    static = tmp_path / "static"
    static.mkdir()
    (static / "app.js").write_bytes(SCRIPT)
    (static / "empty").write_bytes(b"")
    return static


def check(client: httpx.Client) -> None:
    for _ in range(2):
        answer = client.get("/static/app.js")
        assert (answer.status_code, answer.content) == (200, SCRIPT)
        part = client.get("/static/app.js", headers={"range": "bytes=8-17"})
        assert (part.status_code, part.content) == (206, SCRIPT[8:18])
        assert client.get("/static/empty").content == b""
        head = client.head("/static/app.js")
        assert (head.status_code, head.headers["content-length"]) == (200, str(len(SCRIPT)))
        unchanged = client.get("/static/app.js", headers={"if-none-match": answer.headers["etag"]})
        assert (unchanged.status_code, unchanged.content) == (304, b"")
        assert client.get("/static/missing").status_code == 404
        assert client.get("/download").content == SCRIPT
        assert client.get("/stream").text.count("line") == 100
        assert client.get("/headers", headers={"strange_header": "seen"}).json() == {"strange_header": "seen"}


@pytest.mark.parametrize("http", ["httptools", "h11"])
@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@pytest.mark.parametrize("extensions", ["", "pathsend"])
def test_files_streams_and_headers_pass_through_middleware(folder: Path, http: str, loop: str, extensions: str) -> None:
    with serving(make_app(folder), http=http, loop=loop, extensions=extensions or ()) as running:
        with httpx.Client(base_url=f"http://127.0.0.1:{running.port}", timeout=PATIENCE_S) as client:
            check(client)


@pytest.mark.once
@pytest.mark.parametrize("worker", ["Worker", "H11Worker"])
def test_files_streams_and_headers_pass_through_middleware_in_gunicorn(folder: Path, worker: str) -> None:
    (folder.parent / "main.py").write_text(PROGRAM)
    port = free_port()
    arguments = ["-k", f"devserver.gunicorn.{worker}", "-b", f"127.0.0.1:{port}", "--no-control-socket", "main:app"]
    with spawned([sys.executable, "-m", "gunicorn", *arguments], folder.parent):
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_S) as client:
            until(lambda: _answers(client))
            check(client)


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/headers").status_code == 200
    except httpx.TransportError:
        return False


# --- Compression: what a middleware does not know must not be offered to the app behind it


class CompressesBodies:
    """A middleware of the kind that knows the head and body messages and drops every other one."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started: list[Message] = []
        body = bytearray()

        async def compress(message: Message) -> None:
            if message["type"] == "http.response.start":
                started.append(message)
            elif message["type"] == "http.response.body":
                body.extend(message.get("body", b""))
                if not message.get("more_body", False):
                    head = dict(started[0])
                    kept = [pair for pair in head["headers"] if pair[0].lower() != b"content-length"]
                    head["headers"] = [*kept, (b"content-encoding", b"gzip"), (b"vary", b"Accept-Encoding")]
                    await send(head)
                    await send({"type": "http.response.body", "body": gzip.compress(bytes(body))})

        await self.app(scope, receive, compress)


@pytest.fixture(params=[GZipMiddleware, CompressesBodies])
def compressing(request: pytest.FixtureRequest, folder: Path) -> Iterator[httpx.Client]:
    app = FastAPI()
    app.add_middleware(request.param)
    app.mount("/static", StaticFiles(directory=folder))
    with serving(app) as running:
        with httpx.Client(base_url=f"http://127.0.0.1:{running.port}", timeout=PATIENCE_S) as client:
            yield client


def test_assets_are_compressed_by_the_middleware_that_is_asked_to(compressing: httpx.Client) -> None:
    answer = compressing.get("/static/app.js", headers={"accept-encoding": "gzip"})
    assert answer.content == SCRIPT
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["vary"].lower() == "accept-encoding"
