"""The app: a page, and the WebSocket behind it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated, NoReturn

import anyio
from fastapi import FastAPI, Query, WebSocket, WebSocketDisconnect, WebSocketException, status
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, StringConstraints, ValidationError

from chat.room import Member, Room

PAGE = Path(__file__).parent / "page"

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=32)]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]

app = FastAPI(title="Chat")
app.mount("/page", StaticFiles(directory=PAGE), name="page")
room = Room()


class Saying(BaseModel):
    """What a browser sends."""

    text: Text


@app.get("/", include_in_schema=False)
async def index() -> FileResponse:
    """The page."""
    return FileResponse(PAGE / "index.html")


@app.websocket("/chat")
async def chat(websocket: WebSocket, name: Annotated[Name, Query()]) -> None:
    """Takes somebody into the room until they leave. Without a proper name the handshake is answered with 403."""
    await websocket.accept()
    with room.joined(name) as member:
        try:
            # Whichever of the three ends first ends the others: the group cancels them.
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(deliver, websocket, member)
                tasks.start_soon(watch, member)
                await listen(websocket, member)
        except* WebSocketDisconnect:
            pass
        except* WebSocketException as refusal:
            first = refusal.exceptions[0]
            if isinstance(first, WebSocketException):
                with suppress(WebSocketDisconnect):
                    await websocket.close(first.code, first.reason)


async def listen(websocket: WebSocket, member: Member) -> NoReturn:
    """Passes on what the member says.

    :raises WebSocketDisconnect: the member has left.
    :raises WebSocketException: what came is nothing that a page of ours sends.
    """
    while True:
        try:
            saying = Saying.model_validate_json(await websocket.receive_text())
        except (ValidationError, KeyError):
            # KeyError: a binary message has no text.
            raise WebSocketException(status.WS_1008_POLICY_VIOLATION, 'Send {"text": "…"}, please.') from None
        room.say(member, saying.text)


async def deliver(websocket: WebSocket, member: Member) -> NoReturn:
    """Sends the member what the room has to tell. This is what a slow connection holds up, and nothing else."""
    while True:
        await websocket.send_text(await member.outbox.get())


async def watch(member: Member) -> NoReturn:
    """Waits for the member to fall behind.

    :raises WebSocketException: that has happened.
    """
    await member.fallen_behind.wait()
    raise WebSocketException(status.WS_1013_TRY_AGAIN_LATER, "The connection is too slow.")
