"""Responses and bodies that flow: server-sent events, a download and an upload.

scripts/dev run examples/streaming
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, StreamingResponse

app = FastAPI(title="Streaming")


@app.get("/events")
async def events(count: int = 10, interval: float = 0.5) -> StreamingResponse:
    """Counts, one event at a time: curl -N http://127.0.0.1:8000/events"""

    async def counting() -> AsyncIterator[str]:
        for number in range(1, count + 1):
            yield f"id: {number}\nevent: tick\ndata: {json.dumps({'number': number, 'of': count})}\n\n"
            await asyncio.sleep(interval)

    return StreamingResponse(counting(), media_type="text/event-stream", headers={"cache-control": "no-cache"})


@app.get("/source")
async def source() -> FileResponse:
    """Downloads this file; a Range header asks for a part of it."""
    return FileResponse(Path(__file__), media_type="text/x-python", filename="main.py")


@app.put("/upload")
async def upload(request: Request) -> dict[str, Any]:
    """Takes a body of any size without keeping it: curl -T FILE http://127.0.0.1:8000/upload"""
    digest = hashlib.sha256()
    size = 0
    async for chunk in request.stream():
        digest.update(chunk)
        size += len(chunk)
    return {"bytes": size, "sha256": digest.hexdigest()}
