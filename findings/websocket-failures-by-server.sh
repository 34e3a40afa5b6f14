#!/usr/bin/env bash
# What a WebSocket client sees when the app's code fails depends on the server; under granian the failure is a clean close.
#
# Version: uvicorn 0.54.0 (websockets-sansio and wsproto), gunicorn 27.0.1 (`-k asgi`), hypercorn 0.18.0, granian 2.8.9; client
#   websockets 17.4, wsproto 1.3.2.
#
# Guess: a handler that raises after it has accepted is answered with Close 1011 (internal error) by every server, and one
#   that returns without closing with Close 1000 or 1011.
#
# What happens: gunicorn and hypercorn send 1011 in both cases. uvicorn cuts the TCP connection without a Close frame in both
#   cases (1006 at the client), also when the app has merely returned. granian sends an empty Close frame (1005) in both
#   cases: a client library raises no error for it, so a crashed handler looks as if the server had finished, and
#   reconnect logic that looks for abnormal closures does nothing.
#
# Seen on 2026-11-30:
#   uvicorn websockets-sansio: app returns: 1006 ConnectionClosedError, app raises: 1006 ConnectionClosedError
#   uvicorn wsproto: app returns: 1006 ConnectionClosedError, app raises: 1006 ConnectionClosedError
#   gunicorn: app returns: 1011 ConnectionClosedError, app raises: 1011 ConnectionClosedError
#   hypercorn: app returns: 1011 ConnectionClosedError, app raises: 1011 ConnectionClosedError
#   granian: app returns: 1005 ConnectionClosedOK, app raises: 1005 ConnectionClosedOK
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check uvicorn==0.54.0 gunicorn==27.0.1 hypercorn==0.18.0 granian==2.8.9 websockets==17.4 wsproto==1.3.2 || exit 2
cp "$here/served.py" "$work"
cd "$work"

cat >shop.py <<'PY'
async def app(scope, receive, send):
    if scope["type"] != "websocket":
        return
    await receive()
    await send({"type": "websocket.accept"})
    if scope["path"] == "/raises":
        raise ValueError("meant")
PY
cat >check.py <<'PY'
import sys

import websockets.exceptions
from websockets.sync.client import connect

from served import free_port, program, serving

def outcome(port, path):
    with connect(f"ws://127.0.0.1:{port}{path}", open_timeout=10, close_timeout=5) as socket:
        try:
            socket.recv(timeout=10)
        except websockets.exceptions.ConnectionClosed as closed:
            return f"{closed.rcvd.code if closed.rcvd else 1006} {type(closed).__name__}"
    return "open"

def try_out(name, *argv):
    port = free_port()
    with serving([part.format(port=port) for part in (program(argv[0]), *argv[1:])], port):
        returns, raises = outcome(port, "/returns"), outcome(port, "/raises")
    print(f"{name}: app returns: {returns}, app raises: {raises}", flush=True)
    return returns, raises

cut, error, clean = "1006 ConnectionClosedError", "1011 ConnectionClosedError", "1005 ConnectionClosedOK"
uvicorn = ("uvicorn", "shop:app", "--port", "{port}", "--log-level", "critical", "--ws")
bind = ("-b", "127.0.0.1:{port}", "--log-level", "critical", "shop:app")
same = [
    try_out("uvicorn websockets-sansio", *uvicorn, "websockets-sansio") == (cut, cut),
    try_out("uvicorn wsproto", *uvicorn, "wsproto") == (cut, cut),
    try_out("gunicorn", "gunicorn", "-k", "asgi", "--no-control-socket", *bind) == (error, error),
    try_out("hypercorn", "hypercorn", *bind) == (error, error),
    try_out("granian", "granian", "--interface", "asgi", "--port", "{port}", "--log-level", "critical", "shop:app")
    == (clean, clean),
]
sys.exit(not all(same))
PY
timeout 150 "$work/venv/bin/python" check.py
