"""The floor: httptools on uvloop answering a constant, with no scope, no app and no check of anything.

No server in Python on these two libraries can use less CPU per request, so the distance to it is what a server's own
work costs. It is no server: it keeps no rule of HTTP.
"""

from __future__ import annotations

import argparse
import asyncio
from typing import cast

import httptools
import uvloop

RESPONSE = (
    b"HTTP/1.1 200 OK\r\nserver: floor\r\n"
    b"content-type: text/plain; charset=utf-8\r\ncontent-length: 13\r\n\r\nHello, world!"
)


class Floor(asyncio.Protocol):
    """Writes the constant whenever the parser has seen a whole request."""

    __slots__ = ("parser", "transport")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        """Called by the parser."""
        self.transport.write(RESPONSE)


async def serve(port: int) -> None:
    """Serves until the process is stopped."""
    server = await asyncio.get_running_loop().create_server(Floor, "127.0.0.1", port, backlog=2048)
    await server.serve_forever()


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--port", type=int, default=8000)
    uvloop.run(serve(arguments.parse_args().port))
