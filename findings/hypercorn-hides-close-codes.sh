#!/usr/bin/env bash
# Hypercorn tells a WebSocket app that the connection broke (1006), whatever Close frame the client has sent.
#
# Version: hypercorn 0.18.0; client websockets 17.4. granian 2.8.9 for comparison.
#
# Guess: the code of `websocket.disconnect` is the one of the client's Close frame, as the ASGI specification has it, so an
#   app can tell a user who logs off (1000) or a code of its own (3001) from a lost connection (1006).
#
# What happens: the Close frame is answered with the client's code, and the app is told 1006 each time. Code that keeps a
#   session for clients that "dropped out" keeps it for everybody. granian passes the code on.
#
# Seen on 2026-11-30 (the client closes with 1000, 1001 and 3001):
#   hypercorn: [1006, 1006, 1006]
#   granian: [1000, 1001, 3001]
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check hypercorn==0.18.0 granian==2.8.9 websockets==17.4 || exit 2
cp "$here/served.py" "$work"
cd "$work"

cat >shop.py <<'PY'
codes = []

async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"codes:%s;" % repr(codes).encode()})
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] != "websocket.disconnect":
            await send({"type": "websocket.send", "text": message["text"]})
        codes.append(int(message["code"]))
PY
cat >check.py <<'PY'
import json
import re
import sys
import time

from websockets.sync.client import connect

from served import exchange, free_port, program, serving

def codes(name, *options):
    port = free_port()
    argv = [program(name), *(each.format(port=port) for each in options), "--log-level", "critical", "shop:app"]
    with serving(argv, port):
        for sent in (1000, 1001, 3001):
            with connect(f"ws://127.0.0.1:{port}/", close_timeout=5) as socket:
                socket.send("hello")
                assert socket.recv(timeout=5) == "hello"
                socket.close(sent)
                assert socket.close_code == sent
        for _ in range(20):
            answer = exchange(port, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            told = json.loads(re.search(rb"codes:(.*?);", answer)[1])
            if len(told) == 3:
                break
            time.sleep(0.25)
    print(f"{name}: {told}", flush=True)
    return told

hypercorn = codes("hypercorn", "-b", "127.0.0.1:{port}")
granian = codes("granian", "--interface", "asgi", "--port", "{port}")
sys.exit([hypercorn, granian] != [[1006] * 3, [1000, 1001, 3001]])
PY
timeout 100 "$work/venv/bin/python" check.py
