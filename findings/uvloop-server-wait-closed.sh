#!/usr/bin/env bash
# Under uvloop `await server.wait_closed()` returns while connections are open, and Server has no close_clients().
#
# Version: uvloop 0.22.1 (rloop 0.5.0 in part), against asyncio of CPython 3.13.0. Needs 3.13 or newer.
#
# Guess: uvloop is a drop-in replacement, so `async with server` ends when the last connection has ended, as asyncio documents
#   since 3.12, and close_clients() and abort_clients() of 3.13 are there. Code after it can close what handlers use.
#
# What happens: on uvloop and rloop wait_closed() returns at once with a connection open: a database that is closed after
#   `async with server` goes away under handlers that still run. With asyncio the same code waits, without a limit. A program
#   that is tried on one loop and deployed on the other either breaks requests at its end or does not end.
#   server.close_clients() raises AttributeError on uvloop.
#
# Seen on 2026-11-30 (one idle connection is open):
#   asyncio: still waiting after 0.5 s, close_clients: True
#   uvloop: returned at once, close_clients: False
#   rloop: returned at once, close_clients: True
set -euo pipefail

python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 13))' || { echo "this finding needs CPython 3.13" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check uvloop==0.22.1 rloop==0.5.0 || exit 2

cat >"$work/check.py" <<'PY'
import asyncio
import sys

import rloop
import uvloop

async def try_out():
    async def serve(reader, writer):
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    await asyncio.sleep(0.1)
    server.close()
    try:
        async with asyncio.timeout(0.5):
            await server.wait_closed()
        waited = "returned at once"
    except TimeoutError:
        waited = "still waiting after 0.5 s"
    writer.close()
    # The handler sees the end of its connection and leaves.
    await asyncio.sleep(0.1)
    return f"{waited}, close_clients: {hasattr(server, 'close_clients')}"

seen = {}
for name, factory in (("asyncio", asyncio.new_event_loop), ("uvloop", uvloop.new_event_loop), ("rloop", rloop.new_event_loop)):
    with asyncio.Runner(loop_factory=factory) as runner:
        seen[name] = runner.run(try_out())
    print(f"{name}: {seen[name]}")
sys.exit(
    seen
    != {
        "asyncio": "still waiting after 0.5 s, close_clients: True",
        "uvloop": "returned at once, close_clients: False",
        "rloop": "returned at once, close_clients: True",
    }
)
PY
timeout 60 "$work/venv/bin/python" "$work/check.py"
