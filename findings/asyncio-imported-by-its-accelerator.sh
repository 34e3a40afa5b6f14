#!/usr/bin/env bash
# Importing _asyncio before asyncio leaves a process in which asyncio.timeout() never works.
#
# Version: CPython 3.11.7, 3.12.1 and 3.13.0. The C module _asyncio is the accelerator of asyncio. A tool that imports a list of
#   modules in sorted order imports it first.
#
# Guess: the order makes no difference. Either module imports the other one, as with _json and json or _datetime and datetime.
#
# What happens: _asyncio imports asyncio while it is itself half initialised. `from _asyncio import ...` inside asyncio.tasks
#   fails and is ignored, so asyncio.tasks keeps its Python functions and a Python register of the running tasks. Tasks are
#   still those of C and enter themselves in another register: current_task() returns None inside a running task, and
#   asyncio.timeout() raises RuntimeError in every task. Nothing is said at import time.
#
# Seen on 2026-11-30 (CPython 3.13.0):
#   import asyncio first:  Task of _asyncio, current_task() is None: False, timeout works
#   import _asyncio first: Task of _asyncio, current_task() is None: True, RuntimeError: Timeout should be used inside a task
set -euo pipefail

python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cat >"$work/check.py" <<'PY'
import importlib
import sys

for name in sys.argv[1].split(","):
    importlib.import_module(name)

import asyncio

async def main():
    start = f"Task of {asyncio.Task.__module__}, current_task() is None: {asyncio.current_task() is None}"
    try:
        async with asyncio.timeout(5):
            await asyncio.sleep(0)
    except RuntimeError as error:
        return f"{start}, RuntimeError: {error}"
    return f"{start}, timeout works"

print(asyncio.run(main()))
PY

usual=$(timeout 30 "$python" "$work/check.py" asyncio)
turned=$(timeout 30 "$python" "$work/check.py" _asyncio,asyncio)
echo "import asyncio first:  $usual"
echo "import _asyncio first: $turned"
[[ $usual == *"None: False, timeout works" && $turned == *"None: True, RuntimeError: Timeout should be used inside a task" ]]
