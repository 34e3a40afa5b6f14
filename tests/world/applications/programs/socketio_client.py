"""Two Socket.IO clients, one of which stays with long polling, and one that is refused."""

import asyncio
import json
import os
import sys

import socketio


async def talk(url, transports):
    heard = []
    client = socketio.AsyncClient(reconnection=False)
    client.on("said", heard.append)
    await client.connect(url, auth={"token": "secret"}, transports=transports)
    said = [await client.call("join", "kitchen"), await client.call("say", ("kitchen", "hello")), client.transport()]
    large = "x" * 100_000
    said.append(await client.call("say", ("kitchen", large)))
    while len(heard) < 2:
        await asyncio.sleep(0.01)
    if client.transport() == "websocket":
        await client.disconnect()
    return said + [len(text) for text in heard]


async def refused(url):
    try:
        await socketio.AsyncClient().connect(url, auth={"token": "wrong"}, transports=["websocket"])
    except socketio.exceptions.ConnectionError as exc:
        return str(exc)


async def main(url):
    print(json.dumps([await talk(url, ["websocket"]), await talk(url, ["polling"]), await refused(url)]), flush=True)
    # A client that polls waits half a minute for the end of its last poll otherwise.
    os._exit(0)


asyncio.run(main(sys.argv[1]))
