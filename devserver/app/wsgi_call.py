"""One call of a WSGI app in its thread: ``start_response``, ``write`` and the iterable (PEP 3333).

The app is called, iterated and closed in one thread and in one context, since what apps keep for a request is often
bound to either. What it gives is posted to the loop at once, never held back; a thread that is further ahead of the
client than the high-water mark waits. The thread is free as soon as the app has given everything.

Knows nothing of ASGI but the scope: ``wsgi.py`` turns what is posted into messages.
"""

from __future__ import annotations

import contextlib
import contextvars
import queue
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from devserver.app.wsgi_environ import make_environ
from devserver.app.wsgi_file import FileWrapper
from devserver.app.wsgi_headers import content_length, encode_headers, parse_status
from devserver.app.wsgi_warning import warn_once
from devserver.app.wsgi_websocket import SOCKET_KEYS, open_pair
from devserver.errors import AppContractError, ClientDisconnected

if TYPE_CHECKING:
    import asyncio

    from devserver.app.types import Receive, Scope
    from devserver.app.wsgi_threads import ThreadPool
    from devserver.app.wsgi_websocket import PairSocket

HIGH_WATER = 1 << 16
"""Bytes that the thread may be ahead of what the loop has sent."""
CHARGE_MIN = 1 << 12
"""What a small piece counts for there, so that their number is bounded too."""
BODILESS = frozenset({204, 304})

Headers: TypeAlias = list[tuple[bytes, bytes]]
Part: TypeAlias = tuple[int, Headers | None, bytes, bool]
"""A piece of the response: status and headers when it is the first one, else 0 and None; bytes of the body; and whether
more will come. A plain tuple: one is made for each response."""

END: Final = "end"
"""Posted last, when all has gone well; else the exception is."""
WANTED: Final = "wanted"
"""The app waits for the next piece of the request body."""
WITHDRAWN: Final = "withdrawn"
"""Posted by the loop itself: the client did not wait until there was a thread."""


@dataclass(frozen=True, slots=True)
class FilePart:
    """The whole of a response: a file that the loop is to send, and then have closed."""

    status: int
    headers: Headers
    descriptor: int
    position: int
    size: int
    """Bytes from there to the end of the file."""
    wrapper: FileWrapper


class Call:
    """A job of the :class:`~devserver.app.wsgi_threads.ThreadPool`.

    :param app: the WSGI app.
    :param base: what every environ begins with.
    :param scope: the request.
    :param pool: gets what is posted.
    :param body: ``wsgi.input``.
    :param length: bytes of the body, when they have been counted.
    :param context: the app runs in it.
    """

    __slots__ = (
        "_app",
        "_base",
        "_begun",
        "_body",
        "_complete",
        "_gone",
        "_has_body",
        "_headers",
        "_length",
        "_pool",
        "_promised",
        "_sent",
        "_status",
        "_unsent",
        "context",
        "credits",
        "inbox",
        "opens_socket",
        "receive",
        "scope",
        "socket",
        "waiter",
        "watch",
    )

    def __init__(
        self,
        app: Callable[..., Iterable[bytes]],
        base: dict[str, Any],
        scope: Scope,
        pool: ThreadPool,
        body: Any,
        length: int | None,
        context: contextvars.Context,
    ) -> None:
        self.scope = scope
        self.context = context
        self.inbox: list[Any] = []
        """What was posted and not looked at."""
        self.waiter: asyncio.Future[Any] | None = None
        """Who waits for the next item."""
        self.receive: Receive | None = None
        """Tells when the client has gone, unless the app reads the body from it."""
        self.watch: asyncio.Task[None] | None = None
        """Waits for that."""
        self.opens_socket = False
        """The request asks for a WebSocket: the app gets a socket for it, and the other end of it is posted first."""
        self.socket: PairSocket | None = None
        """That socket."""
        self.credits: queue.SimpleQueue[int | None] | None = None
        """Tells the thread how much was sent, as far as it needs to know."""
        self._app = app
        self._base = base
        self._pool = pool
        self._body = body
        self._length = length
        self._status = 0
        self._headers: Headers = []
        self._begun = False
        """The head has been posted and cannot be taken back."""
        self._complete = False
        """The last piece has been posted."""
        self._has_body = True
        """Whether the response may have a body, going by method and status (RFC 9110 §6.4.1)."""
        self._promised = -1
        """Content-Length, or -1."""
        self._sent = 0
        self._unsent = 0
        """Of what was posted, as far as the thread knows."""
        self._gone = False
        """Nobody wants the response any more."""

    # On the loop

    def take(self, item: Any) -> None:
        """See :class:`~devserver.app.wsgi_threads.Job`."""
        waiter = self.waiter
        if waiter is None:
            self.inbox.append(item)
            return
        self.waiter = None
        if not waiter.done():
            waiter.set_result(item)

    def leave(self) -> None:
        """Nobody wants the response any more: the app is stopped at its next piece."""
        self._gone = True
        # In this order: the thread sets credits first and looks at _gone after it.
        if self.credits is not None:
            self.credits.put(None)

    def close_socket(self) -> None:
        """The app answers in the way of WSGI, and has left its socket alone."""
        if self.socket is not None:
            self.socket.close()

    # In the thread

    def run(self) -> None:
        """See :class:`~devserver.app.wsgi_threads.Job`."""
        # Posted outside of the context, which another thread may enter as soon as the loop knows.
        self._pool.post(self, *self.context.run(self._run))

    def _run(self) -> tuple[Any, ...]:
        """Calls the app; what is to be posted at the end."""
        last: tuple[Any, ...] = (END,)
        try:
            if not self._gone:
                last = self._call()
        except BaseException as exc:
            if not (self._gone and isinstance(exc, ClientDisconnected)):
                last = (exc,)
        # Here and not in the loop: letting go of a large temporary file takes a while. Errors are of what the app has
        # done to the file.
        with contextlib.suppress(Exception):
            self._body.close()
        if self.socket is not None:
            self._end_socket(self.socket)
        return last

    def _call(self) -> tuple[Any, ...]:
        environ = make_environ(self._base, self.scope, self._body, self._length)
        if self.opens_socket:
            self._open_socket(environ)
        result = self._app(environ, self.start_response)
        # Exactly these, which have all their pieces ready and no close().
        if type(result) is list or type(result) is tuple:
            body = _joined(result)
            if not self._begun:
                return (self._head(body, more=False), END)
            if body:
                self.write(body)
            self._finish()
            return (END,)
        if type(result) is FileWrapper and not self._begun and self._status:
            plain = result.plain_file()
            if plain is not None:
                return (FilePart(self._status, self._headers, *plain, result),)
        try:
            self._iterate(result)
        finally:
            close = getattr(result, "close", None)
            if close is not None:
                close()
        return (END,)

    def _iterate(self, result: Any) -> None:
        if isinstance(result, (bytes, str)) or not hasattr(result, "__iter__"):
            raise AppContractError(
                f"The app returned {type(result).__name__}, where WSGI asks for an iterable of bytes."
            )
        for piece in result:
            if piece or type(piece) is not bytes:
                self.write(piece)
                if not self._has_body:
                    # The rest would be thrown away.
                    break
        self._finish()

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], None]:
        """See PEP 3333, "The start_response() Callable". The arguments have the names that gunicorn gives them.

        :raises AppContractError: it may not be called here or with this; or ``exc_info`` when the head is on its way.
        """
        try:
            if exc_info:
                if self._begun:
                    raise exc_info[1].with_traceback(exc_info[2])
            elif self._status:
                raise AppContractError("start_response was called a second time without exc_info.")
        finally:
            # The traceback refers to this frame.
            exc_info = None
        code = parse_status(status)
        self._headers = encode_headers(headers, warn_once)
        self._status = code
        return self.write

    def write(self, data: bytes) -> None:
        """Posts a piece of the body, with the head before the first one, and waits while too much is unsent.

        :raises AppContractError: it is no bytes, comes too early, or is more than Content-Length promises.
        :raises ClientDisconnected: nobody wants it any more.
        """
        if not isinstance(data, bytes):
            raise AppContractError(f"A piece of the response body must be bytes, not {type(data).__name__}.")
        if not data:
            return
        size = len(data)
        if self.credits is None:
            self.credits = queue.SimpleQueue()
        if self._gone:
            raise ClientDisconnected("The client has closed the connection.")
        if not self._begun:
            part = self._head(data, more=True)
        elif not self._has_body:
            return
        else:
            part = (0, None, data, True)
        if self._has_body:
            self._sent += size
            if self._sent > self._promised >= 0:
                # What was not posted can still become an error response.
                self._begun = self._sent > size
                raise AppContractError("The response body is longer than its Content-Length.")
            self._complete = self._sent == self._promised
        else:
            self._complete = True
        if self._complete:
            part = (*part[:3], False)
        self._pool.post(self, part)
        self._unsent += max(size, CHARGE_MIN)
        while self._unsent > HIGH_WATER and not self._complete:
            credit = self.credits.get()
            if credit is None:
                raise ClientDisconnected("The client has closed the connection.")
            self._unsent -= credit

    def _head(self, body: bytes, *, more: bool) -> Part:
        """The first piece of the response."""
        if not self._status:
            raise AppContractError("The app has not called start_response before it gave the response body.")
        self._begun = True
        if self.socket is not None:
            self._end_socket(self.socket)
        self._has_body = self.scope["method"] != "HEAD" and self._status not in BODILESS
        if more:
            if self._has_body:
                self._promised = content_length(self._headers)
            else:
                # How long the whole would have been is not known, and must not be guessed from the first piece.
                body = b""
        return self._status, self._headers, body, more

    def _open_socket(self, environ: dict[str, Any]) -> None:
        near, self.socket = open_pair()
        for key in SOCKET_KEYS:
            environ[key] = self.socket
        self._pool.post(self, near)

    def _end_socket(self, app_socket: PairSocket) -> None:
        """The app answers in the way of WSGI, or has ended: what it has written to the socket is complete."""
        # OSError: the app, or its client, has closed it.
        with contextlib.suppress(OSError):
            app_socket.shutdown(socket.SHUT_WR)

    def _finish(self) -> None:
        """The app has given everything."""
        if not self._begun:
            self._pool.post(self, self._head(b"", more=False))
        elif not self._complete:
            self._pool.post(self, (0, None, b"", False))
        self._complete = True


class Closing:
    """A job: closes a file that was sent, in the context of the request.

    :param wrapper: what the app returned.
    :param context: see :class:`Call`.
    :param pool: gets what is posted.
    :param waiter: gets its result when it has been closed, or the exception.
    """

    __slots__ = ("_context", "_pool", "_waiter", "_wrapper")

    def __init__(
        self, wrapper: FileWrapper, context: contextvars.Context, pool: ThreadPool, waiter: asyncio.Future[None]
    ) -> None:
        self._wrapper = wrapper
        self._context = context
        self._pool = pool
        self._waiter = waiter

    def run(self) -> None:
        """See :class:`~devserver.app.wsgi_threads.Job`."""
        try:
            self._context.run(self._wrapper.close)
        except BaseException as exc:
            self._pool.post(self, exc)
        else:
            self._pool.post(self, END)

    def take(self, item: Any) -> None:
        """See :class:`~devserver.app.wsgi_threads.Job`."""
        if self._waiter.done():
            return
        if item is END:
            self._waiter.set_result(None)
        else:
            self._waiter.set_exception(item)


def _joined(pieces: list[Any] | tuple[Any, ...]) -> bytes:
    for piece in pieces:
        if not isinstance(piece, bytes):
            raise AppContractError(f"A piece of the response body must be bytes, not {type(piece).__name__}.")
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
