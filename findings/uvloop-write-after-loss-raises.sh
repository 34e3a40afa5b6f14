#!/usr/bin/env bash
# Under uvloop StreamWriter.write() raises RuntimeError when the client has gone: `except ConnectionError` is not enough.
#
# Version: uvloop 0.22.1, against asyncio of CPython 3.13.0 (also 3.11.7).
#
# Guess: write() on a lost connection does nothing, and drain() raises ConnectionResetError or BrokenPipeError. StreamWriter is
#   Python code that all loops share, so `except ConnectionError` around both is right on every loop.
#
# What happens: the transport below is the loop's own. asyncio's ignores writes after the loss (from the fifth on it logs a
#   warning); uvloop's raises RuntimeError, which is no OSError. Code that ignores clients who leave with
#   `except ConnectionError` has a traceback for each of them under uvloop, and in the tests under asyncio it has none.
#
# Seen on 2026-11-30 (the peer resets the connection during a large write):
#   asyncio: drain raises ConnectionResetError, write afterwards is ignored
#   uvloop: drain raises ConnectionResetError, write afterwards raises RuntimeError
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check uvloop==0.22.1 || exit 2

cat >"$work/check.py" <<'PY'
import asyncio
import socket
import struct
import sys

import uvloop

async def try_out():
    accepted = asyncio.get_running_loop().create_future()

    async def serve(reader, writer):
        accepted.set_result(writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    peer = socket.create_connection(server.sockets[0].getsockname())
    writer = await accepted
    writer.write(bytes(8_000_000))
    draining = asyncio.create_task(writer.drain())
    await asyncio.sleep(0.1)
    # Linger of 0 seconds: close() resets the connection.
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()
    try:
        await asyncio.wait_for(draining, 10)
        drained = "returns"
    except Exception as error:
        drained = f"raises {type(error).__name__}"
    await asyncio.sleep(0.1)
    try:
        writer.write(b"more")
        written = "is ignored"
    except Exception as error:
        written = f"raises {type(error).__name__}"
    server.close()
    return f"drain {drained}, write afterwards {written}"

seen = []
for name, factory in (("asyncio", asyncio.new_event_loop), ("uvloop", uvloop.new_event_loop)):
    with asyncio.Runner(loop_factory=factory) as runner:
        seen.append(runner.run(try_out()))
    print(f"{name}: {seen[-1]}", flush=True)
ignored, raised = (f"drain raises ConnectionResetError, write afterwards {end}" for end in ("is ignored", "raises RuntimeError"))
sys.exit(seen != [ignored, raised])
PY
timeout 60 "$work/venv/bin/python" "$work/check.py"
