#!/usr/bin/env bash
# gunicorn's ASGI worker announces ASGI 2.4 but never raises from send(), so Starlette streams on to clients that have left.
#
# Version: gunicorn 27.0.1 (`-k asgi`) with Starlette 1.10.0, against uvicorn 0.54.0 (announces 2.3).
#
# Guess: a newer spec_version changes nothing for an application of usual responses. When the client leaves, a
#   StreamingResponse ends at the next piece, and its background task runs, as under uvicorn.
#
# What happens: since 2.4 send() must raise OSError after a disconnect, so Starlette then stops listening for http.disconnect
#   and waits for that error. gunicorn says 2.4 and lets every send() succeed. The generator goes on producing until
#   `--asgi-disconnect-grace-period` (3 s) cancels the whole request, and the background task never runs. Each side keeps
#   half of the contract.
#
# Seen on 2026-11-30, one piece each 0.1 s, the client leaves after the first three or so:
#   uvicorn  spec 2.3: 4 pieces made, background task ran: True
#   gunicorn spec 2.4: 33 pieces made, background task ran: False
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check gunicorn==27.0.1 uvicorn==0.54.0 starlette==1.10.0 || exit 2
cp "$here/served.py" "$work"
cd "$work"

cat >shop.py <<'PY'
import asyncio

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

seen = {"pieces": 0, "background": False, "over": False}

async def pieces():
    try:
        for _ in range(100):
            seen["pieces"] += 1
            yield b"piece"
            await asyncio.sleep(0.1)
    finally:
        seen["over"] = True

async def stream(request):
    seen["spec"] = request.scope["asgi"]["spec_version"]
    return StreamingResponse(pieces(), background=BackgroundTask(seen.update, background=True))

async def report(request):
    return JSONResponse(seen)

app = Starlette(routes=[Route("/stream", stream), Route("/report", report)])
PY
cat >check.py <<'PY'
import json
import socket
import sys
import time

from served import exchange, free_port, program, serving

def report(port):
    answer = exchange(port, b"GET /report HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    return json.loads(answer.partition(b"\r\n\r\n")[2])

def try_out(name, argv, port):
    with serving(argv, port):
        with socket.create_connection(("127.0.0.1", port), 5) as client:
            client.sendall(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
            client.recv(1000)
            time.sleep(0.3)
        deadline = time.monotonic() + 9
        while time.monotonic() < deadline:
            time.sleep(0.5)
            if report(port)["over"]:
                break
        # The background task follows the end of the generator at once.
        time.sleep(0.5)
        seen = report(port)
    print(f"{name:8} spec {seen['spec']}: {seen['pieces']} pieces made, background task ran: {seen['background']}")
    return seen

port = free_port()
usual = try_out("uvicorn", [program("uvicorn"), "shop:app", "--port", str(port), "--log-level", "critical"], port)
port = free_port()
argv = [program("gunicorn"), "-k", "asgi", "-b", f"127.0.0.1:{port}", "--log-level", "critical", "--no-control-socket", "shop:app"]
late = try_out("gunicorn", argv, port)
same = usual["spec"] == "2.3" and usual["background"] and late["spec"] == "2.4" and not late["background"]
sys.exit(not (same and late["pieces"] > usual["pieces"] + 10))
PY
timeout 100 "$work/venv/bin/python" check.py
