"""A Socket.IO server with a page, rooms and an acknowledgement."""

from pathlib import Path

import socketio

sio = socketio.AsyncServer(async_mode="asgi")
Path("page.html").write_text("<!doctype html><title>Rooms</title><p>Socket.IO</p>")
app = socketio.ASGIApp(sio, static_files={"/": "page.html"})


@sio.event
async def connect(sid, environ, auth):
    if auth != {"token": "secret"}:
        raise socketio.exceptions.ConnectionRefusedError("wrong token")


@sio.event
async def join(sid, room):
    await sio.enter_room(sid, room)
    return {"joined": room}


@sio.event
async def say(sid, room, text):
    await sio.emit("said", text, room=room)
    return len(text)
