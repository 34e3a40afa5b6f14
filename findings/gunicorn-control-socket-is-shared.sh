#!/usr/bin/env bash
# A second gunicorn of the same user takes the control socket of the first one away, and removes it when it stops.
#
# Version: gunicorn 27.0.1 (control interface, `gunicornc`).
#
# Guess: each master has a control socket of its own, named for its process or its address. Or the second one finds the path
#   in use and says so. `gunicornc` then asks which server is meant.
#
# What happens: the default path is one for each user (gunicorn.ctl in XDG_RUNTIME_DIR or ~/.gunicorn). The second master replaces
#   the socket of the first without a word in either log. A command such as "reload" or "shutdown" that is meant for the
#   first server then reaches the second. When the second stops, it removes the path, and the first can't be controlled any
#   more although it still listens on the removed socket. Several apps on one host each need `--control-socket`.
#
# Seen on 2026-11-30:
#   first alone: gunicornc sees the first
#   both run: gunicornc sees the second
#   second has stopped: gunicornc fails, the first still serves: True
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check gunicorn==27.0.1 || exit 2
cp "$here/served.py" "$work"
cd "$work"

cat >shop.py <<'PY'
def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "5")])
    return [b"hello"]
PY
mkdir home
cat >check.py <<'PY'
import os
import subprocess
import sys
import time

from served import exchange, free_port, program, serving

os.environ["HOME"] = os.path.abspath("home")
os.environ.pop("XDG_RUNTIME_DIR", None)
path = "home/.gunicorn/gunicorn.ctl"

def inode():
    try:
        return os.stat(path).st_ino
    except FileNotFoundError:
        return None

def until(condition):
    """Wait for a change of the socket; a server makes it a moment after it has begun to listen."""
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)

def seen(ports):
    command = [program("gunicornc"), "-c", "show listeners"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=20)
    for name, port in ports.items():
        if f":{port} " in answer.stdout:
            return f"sees the {name}"
    return "fails"

first, second = free_port(), free_port()
ports = {"first": first, "second": second}

def argv(port):
    return [program("gunicorn"), "-b", f"127.0.0.1:{port}", "--log-level", "warning", "shop:app"]

with serving(argv(first), first):
    until(inode)
    before = inode()
    alone = seen(ports)
    with serving(argv(second), second):
        until(lambda: inode() not in (None, before))
        both = seen(ports)
    until(lambda: inode() is None)
    after = seen(ports)
    serves = exchange(first, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").endswith(b"hello")
print(f"first alone: gunicornc {alone}")
print(f"both run: gunicornc {both}")
print(f"second has stopped: gunicornc {after}, the first still serves: {serves}")
sys.exit((alone, both, after, serves) != ("sees the first", "sees the second", "fails", True))
PY
timeout 100 "$work/venv/bin/python" check.py
