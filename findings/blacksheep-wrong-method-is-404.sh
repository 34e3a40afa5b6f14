#!/usr/bin/env bash
# BlackSheep answers HEAD, OPTIONS and a wrong method with 404 for a path that exists, so probes with HEAD see a missing page.
#
# Version: BlackSheep 2.6.4 and Litestar 2.25.0, Falcon 4.4.0, Quart 0.22.0 for comparison, all under uvicorn 0.54.0.
#
# Guess: a route for GET answers HEAD too (RFC 9110 section 9.1 wants GET and HEAD of every server), or at least 405 with Allow.
#   POST to it is 405.
#
# What happens: in BlackSheep a route of another method is no route: 404 for each. `curl -I`, `wget --spider` and monitors that
#   send HEAD report a page as gone that browsers see. Litestar and Falcon answer HEAD with 405, so of these four only Quart
#   answers it as GET.
#
# Seen on 2026-11-30 (status of GET, HEAD, OPTIONS, POST for one GET route):
#   blacksheep: 200 404 404 404
#   litestar: 200 405 204 405
#   falcon: 200 405 200 405
#   quart: 200 200 200 405
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check blacksheep==2.6.4 litestar==2.25.0 falcon==4.4.0 Quart==0.22.0 uvicorn==0.54.0 || exit 2
cp "$here/served.py" "$work"
cd "$work"

cat >shop.py <<'PY'
import falcon.asgi
from blacksheep import Application
from litestar import Litestar, get
from quart import Quart

blacksheep = Application()

@blacksheep.router.get("/")
def blacksheep_page():
    return "hello"

@get("/", sync_to_thread=False)
def litestar_page() -> str:
    return "hello"

litestar = Litestar([litestar_page])

class Page:
    async def on_get(self, request, response):
        response.text = "hello"

falcon = falcon.asgi.App()
falcon.add_route("/", Page())

quart = Quart("shop")

@quart.get("/")
async def quart_page():
    return "hello"
PY
cat >check.py <<'PY'
import http.client
import sys

from served import free_port, program, serving

def statuses(name):
    port = free_port()
    seen = []
    with serving([program("uvicorn"), f"shop:{name}", "--port", str(port), "--log-level", "critical"], port):
        for method in ("GET", "HEAD", "OPTIONS", "POST"):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request(method, "/")
            seen.append(connection.getresponse().status)
            connection.close()
    print(f"{name}:", *seen, flush=True)
    return seen

expected = {
    "blacksheep": [200, 404, 404, 404],
    "litestar": [200, 405, 204, 405],
    "falcon": [200, 405, 200, 405],
    "quart": [200, 200, 200, 405],
}
sys.exit({name: statuses(name) for name in expected} != expected)
PY
timeout 80 "$work/venv/bin/python" check.py
