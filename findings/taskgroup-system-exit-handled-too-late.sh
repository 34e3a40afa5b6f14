#!/usr/bin/env bash
# A SystemExit that a child task raises cannot be handled around its task group: the program ends all the same.
#
# Version: CPython 3.13.0 (also 3.11.7) and anyio 4.16.0.
#
# Guess: a task group delivers SystemExit as it delivers ValueError. `except SystemExit` (or `except*`) around the group
#   handles the exit, for example of a command-line function that is run as a task, and the program goes on.
#
# What happens: asyncio's Task stores SystemExit and raises it again out of the event loop, so asyncio.run() leaves its main
#   coroutine in the middle. Only then, while asyncio.run() cancels what is left, does the group end and the handler run. The
#   handler runs to its end, even across an await, and its return value is thrown away: asyncio.run() raises SystemExit anyway.
#   An unrelated task is cancelled before the handler runs. asyncio's group delivers a bare SystemExit, anyio's a
#   BaseExceptionGroup, so `except SystemExit` does not even match there.
#
# Seen on 2026-11-30:
#   asyncio ValueError: bystander cancelled: False, handler got ExceptionGroup, run returned 'handled'
#   asyncio SystemExit: bystander cancelled: True, handler got SystemExit, run raised SystemExit(3)
#   anyio   ValueError: bystander cancelled: False, handler got ExceptionGroup, run returned 'handled'
#   anyio   SystemExit: bystander cancelled: True, handler got BaseExceptionGroup, run raised SystemExit(3)
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check anyio==4.16.0 || exit 2

cat >"$work/check.py" <<'PY'
import asyncio
import sys

import anyio

def try_out(library, error):
    seen = {}

    async def child():
        await asyncio.sleep(0.01)
        raise error

    async def stand_by():
        await asyncio.sleep(5)

    async def main():
        bystander = asyncio.create_task(stand_by())
        try:
            if library == "asyncio":
                async with asyncio.TaskGroup() as group:
                    group.create_task(child())
            else:
                async with anyio.create_task_group() as group:
                    group.start_soon(child)
        except BaseException as caught:
            seen["handler"] = type(caught).__name__
            await asyncio.sleep(0.05)
            seen["bystander"] = bystander.cancelled()
        bystander.cancel()
        return "handled"

    try:
        end = f"run returned {asyncio.run(main())!r}"
    except SystemExit as raised:
        end = f"run raised {raised!r}"
    kind = type(error).__name__
    line = f"bystander cancelled: {seen['bystander']}, handler got {seen['handler']}, {end}"
    print(f"{library:7} {kind}: {line}")
    return line

ordinary = "bystander cancelled: False, handler got ExceptionGroup, run returned 'handled'"
leaving = "bystander cancelled: True, handler got {}, run raised SystemExit(3)"
same = [
    try_out("asyncio", ValueError()) == ordinary,
    try_out("asyncio", SystemExit(3)) == leaving.format("SystemExit"),
    try_out("anyio", ValueError()) == ordinary,
    try_out("anyio", SystemExit(3)) == leaving.format("BaseExceptionGroup"),
]
sys.exit(not all(same))
PY
timeout 60 "$work/venv/bin/python" "$work/check.py"
