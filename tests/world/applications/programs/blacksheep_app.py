"""BlackSheep with static files, an upload, a stream and a WebSocket."""

from os import utime
from pathlib import Path

from blacksheep import Application, Content, Request, Response, StreamedContent, WebSocket, json

static = Path("static")
static.mkdir(exist_ok=True)
(static / "index.html").write_text(
    "<!doctype html><title>BlackSheep</title><link rel=stylesheet href=style.css><script src=script.js></script>"
)
(static / "style.css").write_text("body { color: black }\n" * 500)
(static / "script.js").write_text("document.title += '!'\n" * 500)
for file in static.iterdir():
    # Validators are made from it.
    utime(file, (1e9, 1e9))

app = Application()
app.serve_files(static)


@app.router.post("/upload")
async def upload(request: Request):
    files = await request.files()
    return json({(part.name or b"").decode(): len(part.data) for part in files})


@app.router.get("/stream")
async def stream():
    async def lines():
        for number in range(1000):
            yield f"{number}\n".encode()

    return Response(200, content=StreamedContent(b"text/plain", lines))


@app.router.get("/plain")
async def plain():
    return Response(200, content=Content(b"text/plain", b"plain"))


@app.router.ws("/echo")
async def echo(socket: WebSocket):
    await socket.accept(subprotocol="echo")
    while (text := await socket.receive_text()) != "end":
        await socket.send_text(text)
    await socket.close(4000, "ended")
