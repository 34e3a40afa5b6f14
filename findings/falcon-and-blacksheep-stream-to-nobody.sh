#!/usr/bin/env bash
# Streams of Falcon and BlackSheep go on to their end under uvicorn although the client has left.
#
# Version: Falcon 4.4.0 and BlackSheep 2.6.4, against Starlette 1.10.0 and Litestar 2.25.0, all under uvicorn 0.54.0.
#
# Guess: a framework ends a streamed response when the client leaves, because either send() raises or the framework listens
#   for http.disconnect. The generator is closed and can free what it holds.
#
# What happens: uvicorn's send() never raises after a disconnect; it drops the message. Starlette and Litestar listen for the
#   disconnect and cancel the generator. Falcon (`resp.stream`) and BlackSheep (StreamedContent) do neither: the generator runs
#   to its end, and one without an end, such as a feed of events, runs until the server stops, once for each client that left.
#
# Seen on 2026-11-30 (pieces made of 30, one each 0.1 s; the client leaves after about three):
#   starlette: 4
#   litestar: 4
#   falcon: 30
#   blacksheep: 30
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check falcon==4.4.0 blacksheep==2.6.4 litestar==2.25.0 starlette==1.10.0 uvicorn==0.54.0 || exit 2
cp "$here/served.py" "$work"
cd "$work"

cat >shop.py <<'PY'
import asyncio

import falcon.asgi
from blacksheep import Application, Response, StreamedContent
from litestar import Litestar, get
from litestar.response import Stream
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

seen = {"made": 0, "over": False}

async def pieces():
    try:
        for _ in range(30):
            seen["made"] += 1
            yield b"piece"
            await asyncio.sleep(0.1)
    finally:
        seen["over"] = True

def summary():
    return f"made={seen['made']} over={seen['over']};"

async def starlette_stream(request):
    return StreamingResponse(pieces())

async def starlette_report(request):
    return PlainTextResponse(summary())

starlette = Starlette(routes=[Route("/stream", starlette_stream), Route("/report", starlette_report)])

@get("/stream")
async def litestar_stream() -> Stream:
    return Stream(pieces())

@get("/report")
async def litestar_report() -> str:
    return summary()

litestar = Litestar([litestar_stream, litestar_report])

class FalconStream:
    async def on_get(self, request, response):
        response.stream = pieces()

class FalconReport:
    async def on_get(self, request, response):
        response.text = summary()

falcon = falcon.asgi.App()
falcon.add_route("/stream", FalconStream())
falcon.add_route("/report", FalconReport())

blacksheep = Application()

@blacksheep.router.get("/stream")
async def blacksheep_stream():
    return Response(200, content=StreamedContent(b"text/plain", pieces))

@blacksheep.router.get("/report")
async def blacksheep_report():
    return summary()
PY
cat >check.py <<'PY'
import re
import socket
import sys
import time

from served import exchange, free_port, program, serving

def report(port):
    answer = exchange(port, b"GET /report HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    made, over = re.search(rb"made=(\d+) over=(\w+);", answer).groups()
    return int(made), over == b"True"

def made(name):
    port = free_port()
    with serving([program("uvicorn"), f"shop:{name}", "--port", str(port), "--log-level", "critical"], port):
        with socket.create_connection(("127.0.0.1", port), 5) as client:
            client.sendall(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
            client.recv(1000)
            time.sleep(0.3)
        deadline = time.monotonic() + 15
        while not report(port)[1] and time.monotonic() < deadline:
            time.sleep(0.3)
        count, over = report(port)
    print(f"{name}: {count}", flush=True)
    return count if over else -1

ended = [made("starlette"), made("litestar")]
went_on = [made("falcon"), made("blacksheep")]
sys.exit(not (all(0 < count < 20 for count in ended) and went_on == [30, 30]))
PY
timeout 110 "$work/venv/bin/python" check.py
