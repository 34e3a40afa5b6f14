"""FastAPI with work that goes on after the response: scripts/dev run examples/background

`BackgroundTasks` run when the response has been sent; a server that stops waits for them. What has to outlive a process
belongs in a queue of its own, not here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import count

from fastapi import BackgroundTasks, FastAPI, HTTPException, Response

reports: dict[int, str] = {}
numbers = count(1)


async def forget_old_reports() -> None:
    """Keeps the hundred newest, as long as the app runs."""
    while True:
        await asyncio.sleep(60)
        for number in sorted(reports)[:-100]:
            del reports[number]


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    task = asyncio.create_task(forget_old_reports())
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


app = FastAPI(title="Background", lifespan=lifespan)


async def write_report(number: int) -> None:
    """Takes its time."""
    await asyncio.sleep(0.5)
    reports[number] = "done"


@app.post("/reports", status_code=202)
async def ask_for_report(tasks: BackgroundTasks, response: Response) -> dict[str, int]:
    """Begins a report, and says where it will be."""
    number = next(numbers)
    reports[number] = "on its way"
    tasks.add_task(write_report, number)
    response.headers["Location"] = f"/reports/{number}"
    return {"number": number}


@app.get("/reports/{number}")
async def read_report(number: int) -> dict[str, str]:
    """Tells how far it is."""
    if number not in reports:
        raise HTTPException(404, f"There is no report {number}.")
    return {"state": reports[number]}
