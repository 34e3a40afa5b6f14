#!/usr/bin/env bash
# The `fastapi` command serves the app without the middleware that the module wraps around it under the name `app`.
#
# Version: fastapi-cli 0.0.34, FastAPI 0.165.0, Starlette 1.10.0, uvicorn 0.54.0.
#
# Guess: `fastapi run shop.py` serves `app`, as `uvicorn shop:app` does. If it does not accept
#   what `app` is, it says so and stops.
#
# What happens: discovery only accepts instances of FastAPI. `app = CORSMiddleware(api, ...)` is none, so the command goes on
#   to the next FastAPI object of the module, `api`, and serves it. The log names `shop:api`; nothing else says that the
#   middleware is not there. With `--app app` the command refuses to start.
#
# Seen on 2026-11-30:
#   uvicorn shop:app:          access-control-allow-origin: *
#   fastapi run shop.py:       access-control-allow-origin: None
#   fastapi run --app app:     exit code 1
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check fastapi-cli==0.0.34 fastapi==0.165.0 starlette==1.10.0 uvicorn==0.54.0 || exit 2
cp "$here/served.py" "$work"
cd "$work"

cat >shop.py <<'PY'
from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

api = FastAPI()

@api.get("/")
def root():
    return "hello"

app = CORSMiddleware(api, allow_origins=["*"])
PY
cat >check.py <<'PY'
import subprocess
import sys
import urllib.request

from served import free_port, program, serving

def allowed(*argv):
    port = free_port()
    with serving([program(argv[0]), *argv[1:], "--host", "127.0.0.1", "--port", str(port)], port):
        request = urllib.request.Request(f"http://127.0.0.1:{port}/", headers={"Origin": "https://shop.example"})
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.headers["access-control-allow-origin"]

wrapped = allowed("uvicorn", "shop:app")
bare = allowed("fastapi", "run", "shop.py")
argv = [program("fastapi"), "run", "shop.py", "--app", "app", "--host", "127.0.0.1", "--port", str(free_port())]
refusal = subprocess.run(argv, capture_output=True, timeout=30).returncode
print(f"uvicorn shop:app:          access-control-allow-origin: {wrapped}")
print(f"fastapi run shop.py:       access-control-allow-origin: {bare}")
print(f"fastapi run --app app:     exit code {refusal}")
sys.exit((wrapped, bare, refusal) != ("*", None, 1))
PY
timeout 80 "$work/venv/bin/python" check.py
