#!/usr/bin/env bash
# In FastAPI's streaming endpoints (`yield` in a path operation) an HTTPException, a status and headers come too late.
#
# Version: FastAPI 0.165.0, Starlette 1.10.0, uvicorn 0.54.0.
#
# Guess: nothing is sent before the first item. A lookup that fails and raises HTTPException(404) before the first `yield`
#   gives a 404, and what the function sets on its `Response` parameter before the first `yield` is in the response.
#
# What happens: the response is built before the function's first line runs, so 200 is on the way already. HTTPException ends
#   the stream as an unhandled error: the client gets 200, the media type of a stream, and a body that breaks off.
#   The status and headers set on `Response` are dropped without a word. A dependency is the place that still works for both.
#   The same holds for JSON lines and for Server-Sent Events.
#
# Seen on 2026-11-30:
#   /missing: 200 application/jsonl, body complete: False
#   /missing-events: 200 text/event-stream; charset=utf-8, body complete: False
#   /created: 200, x-total None, body complete: True
#   /created-by-dependency: 201, x-total 1, body complete: True
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check fastapi==0.165.0 starlette==1.10.0 uvicorn==0.54.0 || exit 2
cp "$here/served.py" "$work"
cd "$work"

cat >shop.py <<'PY'
from collections.abc import AsyncIterable

from fastapi import Depends, FastAPI, HTTPException, Response
from fastapi.sse import EventSourceResponse
from pydantic import BaseModel

app = FastAPI()

class Item(BaseModel):
    price: int

@app.get("/missing")
async def missing() -> AsyncIterable[Item]:
    raise HTTPException(404)
    yield Item(price=1)

@app.get("/missing-events", response_class=EventSourceResponse)
async def missing_events() -> AsyncIterable[Item]:
    raise HTTPException(404)
    yield Item(price=1)

@app.get("/created")
async def created(response: Response) -> AsyncIterable[Item]:
    response.status_code = 201
    response.headers["x-total"] = "1"
    yield Item(price=1)

def announce(response: Response):
    response.status_code = 201
    response.headers["x-total"] = "1"

@app.get("/created-by-dependency", dependencies=[Depends(announce)])
async def created_by_dependency() -> AsyncIterable[Item]:
    yield Item(price=1)
PY
cat >check.py <<'PY'
import http.client
import sys

from served import free_port, program, serving

port = free_port()

def get(path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path)
    response = connection.getresponse()
    try:
        response.read()
        complete = True
    except http.client.IncompleteRead:
        complete = False
    connection.close()
    return response.status, response.headers["content-type"], response.headers["x-total"], complete

with serving([program("uvicorn"), "shop:app", "--port", str(port), "--log-level", "critical"], port):
    paths = ("/missing", "/missing-events", "/created", "/created-by-dependency")
    missing, events, created, dependency = map(get, paths)
print(f"/missing: {missing[0]} {missing[1]}, body complete: {missing[3]}")
print(f"/missing-events: {events[0]} {events[1]}, body complete: {events[3]}")
print(f"/created: {created[0]}, x-total {created[2]}, body complete: {created[3]}")
print(f"/created-by-dependency: {dependency[0]}, x-total {dependency[2]}, body complete: {dependency[3]}")
lines = "application/jsonl"
same = missing == (200, lines, None, False) and events[0::3] == (200, False)
sys.exit(not (same and created == (200, lines, None, True) and dependency == (201, lines, "1", True)))
PY
timeout 60 "$work/venv/bin/python" check.py
