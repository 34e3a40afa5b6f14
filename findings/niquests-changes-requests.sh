#!/usr/bin/env bash
# Installing niquests changes what requests does in the same environment: it replaces the urllib3 that requests imports.
#
# Version: niquests 3.21.2 with urllib3-future 2.25.904, beside requests 2.34.2 with urllib3 2.8.0.
#
# Guess: two HTTP clients under two names live side by side. niquests brings its fork of urllib3 under a name of its own, and
#   an application on requests is not touched by a dependency that uses niquests.
#
# What happens: the fork also writes its files over the package `urllib3`, and keeps them there by a .pth file that runs when
#   Python starts. `pip list` still says urllib3 2.8.0, and `pip check` has no complaint, but `import urllib3` gives the fork,
#   for requests and everything else. One visible result: requests now skips 103 Early Hints, where it took 103 for the
#   response before.
#
# Seen on 2026-11-30:
#   before: pip says urllib3 2.8.0, import says 2.8.0, requests got 103
#   after:  pip says urllib3 2.8.0, import says 2.25.904, requests got 200
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check urllib3==2.8.0 requests==2.34.2 || exit 2

cat >"$work/look.py" <<'PY'
import importlib.metadata
import socket
import threading

import requests
import urllib3

ANSWER = b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello"

def serve(listener):
    client, _ = listener.accept()
    with client:
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(65536)
        client.sendall(ANSWER)
        client.shutdown(socket.SHUT_WR)
        # Closing with bytes unread would reset the connection.
        client.recv(1)

listener = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=serve, args=(listener,), daemon=True).start()
status = requests.get(f"http://127.0.0.1:{listener.getsockname()[1]}/", timeout=10).status_code
print(f"pip says urllib3 {importlib.metadata.version('urllib3')}, import says {urllib3.__version__}, requests got {status}")
PY
before=$(timeout 30 "$work/venv/bin/python" "$work/look.py")
echo "before: $before"
"$work/venv/bin/pip" install -q --disable-pip-version-check niquests==3.21.2 urllib3-future==2.25.904 || exit 2
"$work/venv/bin/pip" check
after=$(timeout 30 "$work/venv/bin/python" "$work/look.py")
echo "after:  $after"
[[ $before == "pip says urllib3 2.8.0, import says 2.8.0, requests got 103" ]]
[[ $after == "pip says urllib3 2.8.0, import says 2.25.904, requests got 200" ]]
