#!/usr/bin/env bash
# anyio.fail_after() around a slow thread neither interrupts it nor raises: the deadline passes without a trace.
#
# Version: anyio 4.16.0 on asyncio, CPython 3.13.0 (also 3.11.7).
#
# Guess: a thread can't be interrupted, so `with fail_after(0.1): await to_thread.run_sync(work)` either leaves the thread behind and
#   raises TimeoutError after 0.1 s, or waits for the thread and raises TimeoutError then. asyncio.timeout() around the same
#   call behaves alike.
#
# What happens: run_sync() shields itself, and when the thread is done the cancellation has nothing left to interrupt. The block
#   ends normally after 0.4 s, with the result and no error; only the scope's `cancel_called` tells. One more await in the
#   block makes it a TimeoutError. asyncio.timeout() around the very same call raises after 0.1 s, because anyio's shield does
#   not hold back the cancellation of asyncio, and `abandon_on_cancel=True` does the same for fail_after(). Starlette and
#   FastAPI run plain `def` functions through run_sync(), so a deadline around one of them is of the first kind.
#
# Seen on 2026-11-30 (the thread takes 0.4 s, the deadline is 0.1 s):
#   fail_after: returned the result, late
#   fail_after and one more await: TimeoutError, late
#   fail_after, abandon_on_cancel: TimeoutError, in time
#   asyncio.timeout: TimeoutError, in time
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check anyio==4.16.0 || exit 2

cat >"$work/check.py" <<'PY'
import asyncio
import sys
import threading

import anyio
import anyio.lowlevel
from anyio import to_thread

async def outcome(deadline, then=None, **options):
    done = threading.Event()

    def slow():
        done.wait(0.4)
        done.set()
        return "the result"

    try:
        async with deadline:
            result = await to_thread.run_sync(slow, **options)
            if then is not None:
                await then()
            text = f"returned {result}"
    except TimeoutError:
        text = "TimeoutError"
    # In time: the thread is still busy.
    return f"{text}, {'late' if done.is_set() else 'in time'}"

class FailAfter:
    """`fail_after` as an asynchronous context manager, so that both kinds of deadline are used alike."""

    async def __aenter__(self):
        self.scope = anyio.fail_after(0.1)
        return self.scope.__enter__()

    async def __aexit__(self, *error):
        return self.scope.__exit__(*error)

async def main():
    return {
        "fail_after": await outcome(FailAfter()),
        "fail_after and one more await": await outcome(FailAfter(), anyio.lowlevel.checkpoint),
        "fail_after, abandon_on_cancel": await outcome(FailAfter(), abandon_on_cancel=True),
        "asyncio.timeout": await outcome(asyncio.timeout(0.1)),
    }

seen = asyncio.run(main())
for name, text in seen.items():
    print(f"{name}: {text}")
late, in_time = "TimeoutError, late", "TimeoutError, in time"
sys.exit(list(seen.values()) != ["returned the result, late", late, in_time, in_time])
PY
timeout 60 "$work/venv/bin/python" "$work/check.py"
