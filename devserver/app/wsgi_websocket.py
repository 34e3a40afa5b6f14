"""WebSockets of WSGI apps: a socket in the ``environ``, as gunicorn and Werkzeug's server put it there.

PEP 3333 has no WebSocket. Libraries such as simple-websocket (flask-sock, Flask-SocketIO) take the client's socket from
the ``environ``, write the 101 response and speak RFC 6455 on it themselves. Here they get one end of a socket pair, and
the bridge carries messages between the other end and the WebSocket that ASGI has. So TLS, bytes that have been read
already, compression, size limits, pings, 1012 at the end of the server, and log lines are what they are for every
WebSocket; and the app's thread blocks on a socket that nobody but the bridge can close under it.

The bridge runs in the loop and knows nothing of threads. The thread ends the app's side of the pair when the app has
answered in the way of WSGI, so the first thing to arrive says which of the two ways the app has chosen.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

from devserver.app import wsgi_wire as wire
from devserver.errors import AppContractError

if TYPE_CHECKING:
    from devserver.app.types import Message, Receive, Scope, Send

SOCKET_KEYS = ("werkzeug.socket", "gunicorn.socket")
"""Where libraries look for the socket. Both, since some know only one of them."""
ABANDON_S = 5.0
"""How long the app may still write when its client has gone, before it gets an error: its last frames are no fault."""
READ_BYTES = 1 << 16
DENIAL_MAX = 1 << 20
"""Max bytes of a response that the app writes to the socket instead of opening the WebSocket."""
_NORMAL, _ABNORMAL, _INTERNAL_ERROR = 1000, 1006, 1011


class PairSocket(socket.socket):
    """One end of the pair. It closes when nobody refers to it.

    Closing the app's end earlier could hit a thread of the app that is about to read from it.
    """

    def __del__(self) -> None:
        self.close()


def open_pair() -> tuple[PairSocket, PairSocket]:
    """Makes the bridge's end and the app's end, which blocks without a timeout.

    :raises OSError: the process has too many open files.
    """
    near, far = (PairSocket(end.family, end.type, end.proto, end.detach()) for end in socket.socketpair())
    near.setblocking(False)
    far.settimeout(None)
    return near, far


def http_scope(scope: Scope) -> Scope:
    """The handshake as the request that it is.

    The offer of extensions is left out: compression is between the server and the client.
    """
    headers = [field for field in scope["headers"] if field[0] != b"sec-websocket-extensions"]
    scheme = "https" if scope["scheme"] == "wss" else "http"
    return {**scope, "type": "http", "method": "GET", "scheme": scheme, "headers": headers}


def denying(scope: Scope, send: Send) -> Send:
    """Makes a ``send`` for an ordinary response to the handshake.

    A server without the extension for that answers 403.
    """
    allowed = "websocket.http.response" in (scope.get("extensions") or ())

    async def deny(message: Message) -> None:
        if allowed:
            await send({**message, "type": f"websocket.{message['type']}"})
        elif message["type"] == "http.response.start":
            await send({"type": "websocket.close"})

    return deny


class Bridge:
    """Carries one WebSocket between its client and the app's socket.

    :param near: our end of the pair; closed by :meth:`close`.
    :param receive: of the ASGI app; the connect event has been taken.
    :param send: of the ASGI app.
    :param deny: of :func:`denying`.
    """

    def __init__(self, near: socket.socket, receive: Receive, send: Send, deny: Send) -> None:
        self._loop = asyncio.get_running_loop()
        self._near = near
        self._receive = receive
        self._send = send
        self._deny = deny
        self._writing = asyncio.Lock()
        """Held while a frame is written to the app."""
        self._pong: bytes | None = None
        """Answers the app's latest ping."""
        self._ponging: asyncio.Task[None] | None = None
        self._gone = False
        """The client has gone, or the app has closed: what the app still writes goes nowhere."""
        self._abandoning: asyncio.TimerHandle | None = None
        self._reading: asyncio.Task[None] = self._loop.create_task(self._carry_in())

    async def carry(self) -> bool:
        """Carries messages until the app has ended its side; False when the app has written nothing to the socket.

        :raises AppContractError: the app wrote something that is not the server's side of a WebSocket.
        """
        data = await self._read()
        if not data:
            return False
        while b"\r\n\r\n" not in data:
            more = await self._read()
            if not more or len(data) > wire.HEAD_MAX:
                raise AppContractError("The app wrote no whole response head to its WebSocket's socket.")
            data += more
        end = data.index(b"\r\n\r\n") + 4
        answer = wire.read_answer(data[:end])
        if answer.status != 101:
            await self._refuse(answer, data[end:])
            return True
        accept: Message = {"type": "websocket.accept", "headers": answer.headers}
        if answer.subprotocol is not None:
            accept["subprotocol"] = answer.subprotocol
        await self._give(accept)
        reader = wire.FrameReader()
        data = data[end:]
        while True:
            if data and not self._gone:
                for opcode, payload in reader.feed(data):
                    await self._carry_out(opcode, payload)
            data = await self._read()
            if not data:
                break
        # Where the socket is the client's own, it sees a connection that breaks off; nothing nearer can be sent.
        await self._give({"type": "websocket.close", "code": _INTERNAL_ERROR})
        return True

    async def close(self) -> None:
        """Ends the app's socket: whatever the app does with it from now on ends or fails at once."""
        if self._abandoning is not None:
            self._abandoning.cancel()
        tasks = [task for task in (self._reading, self._ponging) if task is not None]
        for task in tasks:
            task.cancel()
        self._shut(socket.SHUT_RDWR)
        await asyncio.gather(*tasks, return_exceptions=True)
        self._near.close()

    # From the app to the client

    async def _read(self) -> bytes:
        """Some bytes from the app; empty at their end."""
        try:
            return await self._loop.sock_recv(self._near, READ_BYTES)
        except OSError:
            return b""

    async def _carry_out(self, opcode: int, payload: bytes) -> None:
        if opcode == wire.TEXT:
            try:
                await self._give({"type": "websocket.send", "text": payload.decode()})
            except UnicodeDecodeError as exc:
                raise AppContractError(f"The app sent a WebSocket text message that is not UTF-8: {exc}.") from exc
        elif opcode == wire.BINARY:
            await self._give({"type": "websocket.send", "bytes": payload})
        elif opcode == wire.PING:
            # The server itself looks after the client. Only the latest ping need be answered (RFC 6455 §5.5.3).
            self._pong = wire.encode(wire.PONG, payload)
            if self._ponging is None or self._ponging.done():
                self._ponging = self._loop.create_task(self._answer_pings())
        elif opcode == wire.CLOSE:
            code, reason = wire.read_close(payload)
            code = _NORMAL if code == wire.NO_STATUS else code
            await self._give({"type": "websocket.close", "code": code, "reason": reason})
            self._leave()

    async def _give(self, message: Message) -> None:
        """Sends to the client, unless it has gone."""
        if self._gone:
            return
        try:
            await self._send(message)
        except OSError:
            self._leave()

    async def _refuse(self, answer: wire.Answer, body: bytes) -> None:
        """Passes on a whole response other than 101 that the app has written to its socket."""
        while answer.length < 0 or len(body) < answer.length:
            if len(body) > DENIAL_MAX:
                raise AppContractError(f"The app refused a WebSocket with more than {DENIAL_MAX} bytes.")
            more = await self._read()
            if not more:
                break
            body += more
        if answer.length >= 0:
            body = body[: answer.length]
        await self._deny({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
        await self._deny({"type": "http.response.body", "body": body})
        self._leave()

    # From the client to the app

    async def _carry_in(self) -> None:
        """Carries messages until there are no more."""
        with contextlib.suppress(OSError):  # The app has closed its end.
            while (message := await self._receive())["type"] == "websocket.receive":
                text = message.get("text")
                if text is not None:
                    await self._write(wire.encode(wire.TEXT, text.encode()))
                else:
                    await self._write(wire.encode(wire.BINARY, message["bytes"]))
            self._leave()
            code = message.get("code", wire.NO_STATUS)
            if code != _ABNORMAL:
                await self._write(wire.encode_close(code, message.get("reason") or ""))
            self._shut(socket.SHUT_WR)

    async def _answer_pings(self) -> None:
        with contextlib.suppress(OSError):
            while self._pong is not None:
                pong, self._pong = self._pong, None
                await self._write(pong)

    async def _write(self, frame: bytes) -> None:
        async with self._writing:
            await self._loop.sock_sendall(self._near, frame)

    # The end

    def _leave(self) -> None:
        """The WebSocket is over; the app has a while to notice."""
        self._gone = True
        if self._abandoning is None:
            self._abandoning = self._loop.call_later(ABANDON_S, self._shut, socket.SHUT_RDWR)

    def _shut(self, how: int) -> None:
        with contextlib.suppress(OSError):
            self._near.shutdown(how)
