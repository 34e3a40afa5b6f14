"""WSGI apps served as ASGI 3 (PEP 3333): the loop reads requests and sends responses, threads call the app.

A request takes a thread when its body has arrived, and gives it back when the app has given the last piece of its
response; neither a slow upload nor the slow download of a file holds one. A WebSocket holds a thread as long as it is
open. Here is what the loop does, ``wsgi_call.py`` is what the thread does, and ``wsgi_threads.py`` passes between them.
"""

from __future__ import annotations

import asyncio
import contextvars
import io
import logging
import os
import socket
import weakref
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

from devserver.app.wsgi_body import Body, BodyReader, NoRoomError, StreamedBody
from devserver.app.wsgi_call import BODILESS, CHARGE_MIN, END, WANTED, WITHDRAWN, Call, Closing, FilePart
from devserver.app.wsgi_environ import base_environ
from devserver.app.wsgi_headers import content_length
from devserver.app.wsgi_threads import ThreadPool
from devserver.app.wsgi_websocket import Bridge, denying, http_scope
from devserver.errors import AppContractError

if TYPE_CHECKING:
    from devserver.app.types import Receive, Scope, Send

WSGIApp: TypeAlias = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

WAITING_MAX = 2048
"""Requests that may wait for a thread, as many as connections may wait for the server by default; past it: 503."""
RETRY_AFTER_S = b"5"
STALE_S = 1.0
"""After so long it is watched whether the client of a waiting request is still there."""
BUSY = b"All threads are busy; try again soon.\n"
NO_ROOM = b"There is no room for the request body; try again later.\n"
_log = logging.getLogger("devserver.error")
FILE_PIECE_BYTES = 1 << 18


class Wsgi:
    """An ASGI app round a WSGI app.

    Serve it, or mount it beside others: ``api.mount("/old", devserver.WSGIMiddleware(flask_app))``.

    :param app: the WSGI app.
    :param threads: how many threads call it, at most.
    :param stream_input: ``wsgi.input`` reads from the connection, instead of being complete before the app is called.
    :param multiprocess: what ``wsgi.multiprocess`` says.
    """

    def __init__(
        self, app: WSGIApp, *, threads: int = 8, stream_input: bool = False, multiprocess: bool = False
    ) -> None:
        self.app = app
        self._threads = threads
        self._streams = stream_input
        self._base = base_environ(multithread=threads > 1, multiprocess=multiprocess)
        self._pool: ThreadPool | None = None
        self._bodies = BodyReader()
        self._looking: asyncio.TimerHandle | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] != "http":
            await self._other(scope, receive, send)
            return
        pool = self._current_pool()
        if pool.waiting >= WAITING_MAX:
            await _plain(send, 503, BUSY, retry=True)
            return
        body: Body | None = None
        streamed: StreamedBody | None = None
        length: int | None = None
        if not _has_body(scope):
            file: Any = io.BytesIO()
        elif self._streams:
            streamed = StreamedBody(lambda: pool.post(call, WANTED))
            file = io.BufferedReader(streamed)
        else:
            try:
                body = await self._bodies.read(receive)
            except NoRoomError as exc:
                _log.error("%s It is answered with %d; TMPDIR names another folder.", exc, exc.status)
                await _plain(send, exc.status, NO_ROOM, retry=True)
                return
            if body is None:
                # A client that has only shut down its sending side still reads this.
                await _plain(send, 400, b"The request body ended too early.\n")
                return
            file, length = body.file, body.length
        call = Call(self.app, self._base, scope, pool, file, length, contextvars.copy_context())
        if streamed is None:
            call.receive = receive
        waiter = self._submit(call, pool)
        try:
            await self._answer(call, await waiter, pool, receive, send, streamed)
        finally:
            call.leave()
            if call.watch is not None:
                call.watch.cancel()
            if streamed is not None:
                streamed.break_off()
            if body is not None:
                body.release()

    def _submit(self, call: Call, pool: ThreadPool) -> asyncio.Future[Any]:
        """Has a thread make the call; returns what gets the first item."""
        loop = pool.loop
        call.waiter = waiter = loop.create_future()
        pool.submit(call)
        if pool.waiting > self._threads and self._looking is None:
            self._looking = loop.call_later(STALE_S, self._look_at_waiting, pool)
        return waiter

    async def _answer(
        self,
        call: Call,
        item: Any,
        pool: ThreadPool,
        receive: Receive,
        send: Send,
        streamed: StreamedBody | None,
    ) -> None:
        """Sends what the thread posts.

        :param item: what was posted first.
        """
        lost: BaseException | None = None
        body_arrived = streamed is None
        while True:
            if type(item) is tuple:
                if lost is None:
                    status, headers, data, more = item
                    try:
                        if headers is not None:
                            await send({"type": "http.response.start", "status": status, "headers": headers})
                        await send({"type": "http.response.body", "body": data, "more_body": more})
                    except OSError as exc:
                        # The thread is still at it: it is waited for, so that stopping the server waits for it too.
                        lost = exc
                        call.leave()
                    else:
                        if more and call.credits is not None:
                            call.credits.put(max(len(data), CHARGE_MIN))
                            if call.watch is None and body_arrived and _send_keeps_quiet(call.scope):
                                call.watch = pool.loop.create_task(_watch(call, receive, pool))
            elif item is END:
                if lost is not None:
                    raise lost
                return
            elif item is WANTED and streamed is not None:
                message = await receive()
                if message["type"] == "http.request":
                    body_arrived = not message.get("more_body", False)
                    streamed.put(message.get("body", b""), not body_arrived)
                else:
                    streamed.break_off()
            elif item is WITHDRAWN:
                # The client has gone, or has shut down its sending side and still reads.
                await _plain(send, 503, BUSY, retry=True)
                return
            elif isinstance(item, FilePart):
                await self._send_file(item, call, pool, send)
                return
            else:
                raise item
            # Without a coroutine for what has come together with the item before.
            item = call.inbox.pop(0) if call.inbox else await _next_item(call, pool)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lets the app take the socket of a WebSocket, or answer the handshake like any request."""
        await receive()
        deny = denying(scope, send)
        pool = self._current_pool()
        if pool.waiting >= WAITING_MAX:
            await _plain(deny, 503, BUSY, retry=True)
            return
        call = Call(self.app, self._base, http_scope(scope), pool, io.BytesIO(), None, contextvars.copy_context())
        call.opens_socket = True
        call.receive = receive
        waiter = self._submit(call, pool)
        bridge: Bridge | None = None
        try:
            item = await waiter
            if isinstance(item, socket.socket):
                if call.watch is not None:
                    # The watch must not take messages that are for the bridge.
                    call.watch.cancel()
                    await asyncio.wait([call.watch])
                bridge = Bridge(item, receive, send, deny)
                if await bridge.carry():
                    call.leave()
                    await self._await_end(call, pool)
                    return
                await bridge.close()
                call.close_socket()
                item = await _next_item(call, pool)
            await self._answer(call, item, pool, receive, deny, None)
        finally:
            call.leave()
            if call.watch is not None:
                call.watch.cancel()
            if bridge is not None:
                await bridge.close()

    async def _await_end(self, call: Call, pool: ThreadPool) -> None:
        """Returns when the app that took the socket has ended. Its response goes nowhere.

        :raises BaseException: what the app raised. Libraries have their own ways to tell that the socket was taken:
            a StopIteration for gunicorn, a ConnectionError for Werkzeug's server, an empty list for others. These,
            and whatever else is no response, are no errors here.
        """
        item: Any = None
        while item is not END:
            item = await _next_item(call, pool)
            if isinstance(item, FilePart):
                await self._close_file(item, call, pool)
                return
            if isinstance(item, BaseException):
                if isinstance(item, (StopIteration, OSError, AppContractError)):
                    return
                raise item

    async def _send_file(self, part: FilePart, call: Call, pool: ThreadPool, send: Send) -> None:
        """Sends a file from its position on, reading it piece by piece in the loop's executor."""
        try:
            headers, left = part.headers, content_length(part.headers)
            if left < 0:
                left = part.size
                headers = [*headers, (b"content-length", b"%d" % left)]
            if call.scope["method"] == "HEAD" or part.status in BODILESS:
                left = 0
            start = {"type": "http.response.start", "status": part.status, "headers": headers}
            position, piece = part.position, b""
            begun = False
            while left or not begun:
                if left:
                    size = min(left, FILE_PIECE_BYTES)
                    piece = await pool.loop.run_in_executor(None, _read_at, part.descriptor, size, position)
                    if not piece:
                        raise AppContractError("The file is shorter than the response's Content-Length.")
                    position += len(piece)
                    left -= len(piece)
                if not begun:
                    # Not before the first piece is there, so that both are one write.
                    await send(start)
                    begun = True
                await send({"type": "http.response.body", "body": piece, "more_body": left > 0})
        finally:
            closed = self._close_file(part, call, pool)
        await closed

    def _close_file(self, part: FilePart, call: Call, pool: ThreadPool) -> asyncio.Future[None]:
        """Has a thread close the file; the future is done when it has."""
        closed: asyncio.Future[None] = pool.loop.create_future()
        pool.submit(Closing(part.wrapper, call.context, pool, closed))
        return closed

    async def _other(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves a WebSocket, or the lifespan, whose end is the end of the threads."""
        if scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
            return
        if scope["type"] != "lifespan":
            raise NotImplementedError(scope["type"])
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if self._pool is not None:
            self._pool.close()
            self._pool = None
        await send({"type": "lifespan.shutdown.complete"})

    def _current_pool(self) -> ThreadPool:
        """The threads of the running loop."""
        pool = self._pool
        loop = asyncio.get_running_loop()
        if pool is not None and pool.loop is loop:
            return pool
        if pool is not None:
            pool.close()
        self._looking = None
        self._pool = pool = ThreadPool(self._threads, loop)
        # Where nobody runs the lifespan.
        weakref.finalize(self, pool.close)
        return pool

    # Clients that go away while they wait

    def _look_at_waiting(self, pool: ThreadPool) -> None:
        """Watches the clients of those that wait for a thread: under overload many give up, and come again."""
        self._looking = None
        for call in pool.jobs():
            if isinstance(call, Call) and call.receive is not None and call.watch is None:
                call.watch = pool.loop.create_task(_watch(call, call.receive, pool))
        if pool.waiting:
            self._looking = pool.loop.call_later(STALE_S, self._look_at_waiting, pool)


async def _next_item(call: Call, pool: ThreadPool) -> Any:
    """Returns the next item that the thread has posted."""
    if call.inbox:
        return call.inbox.pop(0)
    call.waiter = waiter = pool.loop.create_future()
    return await waiter


async def _watch(call: Call, receive: Receive, pool: ThreadPool) -> None:
    """Takes back a call whose client leaves while it waits for a thread, and stops one that would send in vain."""
    while (await receive())["type"] == "http.request":
        pass
    if pool.withdraw(call):
        call.take(WITHDRAWN)
    elif _send_keeps_quiet(call.scope):
        call.leave()


def _send_keeps_quiet(scope: Scope) -> bool:
    """Returns whether ``send`` does nothing after the client has gone, as before version 2.4 of the ASGI spec.

    An app that sends without end then has to listen for ``http.disconnect`` itself, or it keeps its thread for ever.
    """
    version = scope.get("asgi", {}).get("spec_version", "2.0")
    return version in {"2.0", "2.1", "2.2", "2.3"}


def _has_body(scope: Scope) -> bool:
    for name, _ in scope["headers"]:  # noqa: SIM110 - any() takes three times as long, for each request
        if name == b"content-length" or name == b"transfer-encoding":
            return True
    return False


async def _plain(send: Send, status: int, text: bytes, *, retry: bool = False) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(text))]
    if retry:
        headers.append((b"retry-after", RETRY_AFTER_S))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text})


def _read_at(descriptor: int, size: int, position: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(descriptor, size, position)
    os.lseek(descriptor, position, os.SEEK_SET)
    return os.read(descriptor, size)
