#!/usr/bin/env bash
# Daphne takes everything that an app sends at once, however slowly the client reads.
#
# Version: daphne 4.2.3 (Twisted 26.10.0), against uvicorn 0.54.0 on Linux's default socket buffers.
#
# Guess: `await send()` waits while the client is slow, so an app that streams a large file holds a few buffers of it. That is
#   what the await is for.
#
# What happens: Daphne's send() writes to Twisted's transport and returns without waiting. The transport buffers without a
#   limit: the app runs to its end while the client has read nothing, and all of the body sits in the server's memory.
#
# Seen on 2026-11-30 (32 MiB body, client reads nothing):
#   uvicorn: app could send 3 MiB of 32
#   daphne: app could send 32 MiB of 32
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check daphne==4.2.3 uvicorn==0.54.0 || exit 2
cp "$here/served.py" "$work"
cd "$work"

cat >shop.py <<'PY'
sent = 0

async def app(scope, receive, send):
    global sent
    if scope["type"] != "http":
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    if scope["path"] == "/sent":
        await send({"type": "http.response.body", "body": b"sent:%d" % sent})
        return
    for _ in range(512):
        await send({"type": "http.response.body", "body": bytes(65536), "more_body": True})
        sent += 65536
    await send({"type": "http.response.body", "body": b""})
PY
cat >check.py <<'PY'
import re
import socket
import sys
import time

from served import exchange, free_port, program, serving

def sent_mib(name, argv, port):
    with serving(argv, port):
        with socket.socket() as client:
            # A small receive buffer: the kernel holds less of the body.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            client.connect(("127.0.0.1", port))
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            before = -1
            while True:
                time.sleep(1)
                answer = exchange(port, b"GET /sent HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                now = int(re.search(rb"sent:(\d+)", answer)[1])
                if now == before:
                    break
                before = now
    print(f"{name}: app could send {now >> 20} MiB of 32")
    return now >> 20

port = free_port()
waited = sent_mib("uvicorn", [program("uvicorn"), "shop:app", "--port", str(port), "--log-level", "critical"], port)
port = free_port()
all_of_it = sent_mib("daphne", [program("daphne"), "-v", "0", "-b", "127.0.0.1", "-p", str(port), "shop:app"], port)
sys.exit(not (waited < 16 and all_of_it == 32))
PY
timeout 100 "$work/venv/bin/python" check.py
