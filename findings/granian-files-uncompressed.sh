#!/usr/bin/env bash
# Under granian Starlette's GZipMiddleware does not compress files, and leaves out `Vary` too.
#
# Version: granian 2.8.9 with Starlette 1.10.0, against uvicorn 0.54.0.
#
# Guess: GZipMiddleware compresses every response of more than 500 bytes whose type suits, files included, under any ASGI server.
#
# What happens: granian offers the extension `http.response.pathsend`, and FileResponse (thus StaticFiles) then sends the
#   path of the file in place of its bytes. The middleware knows no such message and passes it on with the head as it was:
#   no Content-Encoding, and no `Vary: Accept-Encoding` either. JSON of the same app is still compressed, which hides it.
#
# Seen on 2026-11-30 (about 30,000 bytes of CSS and of JSON, Accept-Encoding: gzip):
#   uvicorn: file gzip (Vary: Accept-Encoding), JSON gzip
#   granian: file None (Vary: None), JSON gzip
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check granian==2.8.9 uvicorn==0.54.0 starlette==1.10.0 || exit 2
cp "$here/served.py" "$work"
cd "$work"

cat >shop.py <<'PY'
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

async def report(request):
    return JSONResponse(["hello"] * 4000)

routes = [Route("/report", report), Mount("/static", StaticFiles(directory="static"))]
app = Starlette(routes=routes, middleware=[Middleware(GZipMiddleware)])
PY
mkdir static
printf 'p { margin: 0; padding: 0 }\n%.0s' {1..1100} >static/shop.css
cat >check.py <<'PY'
import sys
import urllib.request

from served import free_port, program, serving

def coding(port, path):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"Accept-Encoding": "gzip"})
    with urllib.request.urlopen(request, timeout=10) as response:
        response.read()
        return response.headers["content-encoding"], response.headers["vary"]

def try_out(name, *argv):
    port = free_port()
    with serving([program(argv[0]), *argv[1:], "--port", str(port), "--log-level", "critical", "shop:app"], port):
        (file, vary), (report, _) = coding(port, "/static/shop.css"), coding(port, "/report")
    print(f"{name}: file {file} (Vary: {vary}), JSON {report}", flush=True)
    return file, vary, report

usual, plain = try_out("uvicorn", "uvicorn"), try_out("granian", "granian", "--interface", "asgi")
sys.exit((usual, plain) != (("gzip", "Accept-Encoding", "gzip"), (None, None, "gzip")))
PY
timeout 60 "$work/venv/bin/python" check.py
