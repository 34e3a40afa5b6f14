#!/usr/bin/env bash
# Under uvloop asyncio.sleep() returns before its time is over, and a sleep below half a millisecond does not sleep at all.
#
# Version: uvloop 0.22.1 against asyncio's own loop of CPython 3.13.0 (also 3.11.7).
#
# Guess: a timer of the event loop may be late and is never early, as asyncio's documentation has "block for delay seconds"
#   and time.sleep() promises. uvloop is a drop-in replacement, so at worst it rounds a delay up to its millisecond clock.
#
# What happens: uvloop rounds the delay to the nearest millisecond. sleep(0.0004) becomes 0: a loop that polls at that
#   interval spins at full speed. sleep(0.0024) waits for 2 ms of a clock that may already be up to 1 ms into its current
#   tick. A deadline that is computed with time.monotonic() is often still in the future after the sleep, so
#   `await asyncio.sleep(deadline - now)` needs a loop around it.
#
# Seen on 2026-11-30 (sleeps of 50 that ended too early, and the shortest in microseconds):
#   asyncio sleep(0.0004): 0 of 50 early, shortest 1080; sleep(0.0024): 0 of 50 early, shortest 3113
#   uvloop  sleep(0.0004): 50 of 50 early, shortest 3; sleep(0.0024): 44 of 50 early, shortest 1110
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check uvloop==0.22.1 || exit 2

cat >"$work/check.py" <<'PY'
import asyncio
import sys
import time

import uvloop

async def measure(delay_s):
    took = []
    for _ in range(50):
        began = time.perf_counter()
        await asyncio.sleep(delay_s)
        took.append(time.perf_counter() - began)
    return sum(each < delay_s for each in took), round(min(took) * 1e6)

early = {}
for name, factory in (("asyncio", asyncio.new_event_loop), ("uvloop", uvloop.new_event_loop)):
    texts = []
    with asyncio.Runner(loop_factory=factory) as runner:
        for delay_s in (0.0004, 0.0024):
            count, shortest = runner.run(measure(delay_s))
            early[name, delay_s] = count
            texts.append(f"sleep({delay_s}): {count} of 50 early, shortest {shortest}")
    print(f"{name:7} {'; '.join(texts)}")
# A busy machine makes sleeps longer, never shorter: some early ones are enough.
same = early["uvloop", 0.0004] >= 25 and early["uvloop", 0.0024] >= 5
sys.exit(not (same and early["asyncio", 0.0004] == early["asyncio", 0.0024] == 0))
PY
timeout 60 "$work/venv/bin/python" "$work/check.py"
