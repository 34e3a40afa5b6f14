"""One request and its response: the ``receive`` and ``send`` that the app is called with (ASGI HTTP spec 2.5).

An exchange knows the connection it stands on only through a few attributes: the transport to write to, whether writing
is paused, and whom to tell when the response is complete. It does not parse, and it does not know which request
comes next.

Neither ``send`` nor ``receive`` suspends when it need not: a body that has arrived is handed over without a future, and
``send`` waits only above the transport's high-water mark. What the app sends without suspending leaves in one write,
when it suspends, at the end of the response, or when 64 KiB have come together. A response that never suspends by
itself yields to the loop once in a while, or one fast reader of an endless stream would starve every other client.
"""

from __future__ import annotations

import asyncio
import os
import time
import types
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any

from devserver.app.failure import fold
from devserver.errors import AppContractError, ClientDisconnected
from devserver.events import AppRaised, RequestFinished
from devserver.protocol.http1 import limits
from devserver.protocol.http1.response import (
    BODILESS,
    CONTINUE,
    HAS_CLOSE,
    HAS_DATE,
    HAS_EVENTS,
    HAS_SERVER,
    HAS_TWO_LENGTHS,
    content_length_end,
    content_length_ends,
    encode_early_hints,
    encode_headers,
    encode_trailers,
    status_line,
)

if TYPE_CHECKING:
    from devserver.app.types import Message, Scope
    from devserver.protocol.http1.connection import Http1Connection
    from devserver.protocol.http1.target import RequestLine

# How far the response is. AWAITING_BODY lasts until the first body message, whether the head has left or not: what an
# app may send must not depend on whether it suspended in between. OPENING_FILE holds the head until a file is open.
LISTED, AWAITING_START, AWAITING_BODY, OPENING_FILE, STREAMING, AWAITING_TRAILERS, COMPLETE = range(7)
_BODY_STAGES = (AWAITING_BODY, STREAMING)
_PIECE_STAGES = (STREAMING, AWAITING_TRAILERS)

# How the end of the body is marked (RFC 9112 §6).
NONE, LENGTH, CHUNKED, UNTIL_CLOSE = range(4)

_FILE_CHUNK_BYTES = 262144
_PIECE_BYTES_MIN = 4096
"""Pieces of a request body below this size are joined: an object for each would take many times what the body takes."""
_LAST_CHUNK = b"0\r\n\r\n"
_CAUSES_MAX = 16


@types.coroutine
def _yield_once() -> Generator[None]:
    """Gives the loop one turn."""
    yield


class Exchange:
    """Made by the connection when a head is complete; started by the flush of that loop turn."""

    __slots__ = (
        "_body",
        "_body_taken",
        "_bytes_sent",
        "_deliveries",
        "_framing",
        "_length_left",
        "_lost_at",
        "_pieces",
        "_pieces_bytes",
        "_prefix",
        "_received_at",
        "_response_headers",
        "_trailers",
        "_turn_left",
        "_waiter",
        "body_bytes_received",
        "body_bytes_waiting",
        "body_complete",
        "connection",
        "disconnected",
        "endless",
        "expects_continue",
        "head",
        "keep_alive",
        "line",
        "scope",
        "stage",
        "status",
        "task",
    )

    def __init__(
        self,
        connection: Http1Connection,
        scope: Scope,
        line: RequestLine,
        keep_alive: bool,
        body_complete: bool,
        expects_continue: bool,
    ) -> None:
        self.connection = connection
        self.scope = scope
        self.line = line
        self.keep_alive = keep_alive
        """Whether the connection stays open after this exchange, as far as the request and the server go."""
        self.task: asyncio.Task[None] | None = None
        """The app's task, while it is suspended."""

        self.body_complete = body_complete
        """The whole request body has arrived."""
        self.expects_continue = expects_continue
        """The client waits for 100 Continue before it sends the body (RFC 9110 §10.1.1)."""
        self._body_taken = False
        """The last part of the body has been delivered; only http.disconnect follows."""
        self.body_bytes_waiting = 0
        """Bytes of the body that have arrived and that the app has not taken."""
        if not body_complete:
            self._body: list[bytes | bytearray] = []
            self.body_bytes_received = 0
            self._deliveries = 0
            """How many body messages the app took since it last suspended in ``receive``."""
        self.disconnected = False
        """The client will send nothing more and need not be there: ``receive`` says so."""
        self._waiter: asyncio.Future[None] | None = None

        self.endless = False
        """The response is a stream of events, which does not end by itself."""
        self.stage = LISTED
        self.head: bytes | None = None
        """The app's header lines while they wait for the first body chunk."""
        if connection.logs_requests:
            self._received_at = time.perf_counter()
        # What the response is made of is set when it starts.
        self.status: int
        self._prefix: bytes
        """Status line and default header lines."""
        self._framing: int
        self._length_left: int
        """Body bytes that a Content-Length still promises; negative when there is none."""
        self._trailers: bool
        self._pieces: list[bytes]
        """What has been sent since the last write."""
        self._pieces_bytes: int
        self._bytes_sent: int
        """Bytes of the response body, without framing."""
        self._turn_left: int
        """What may still be sent before the loop gets a turn."""
        self._response_headers: Sequence[tuple[bytes, bytes]]

    @property
    def received_at(self) -> float | None:
        """When its head was complete, as ``time.perf_counter()``; known when somebody listens to finished requests."""
        return getattr(self, "_received_at", None)

    # The app's side

    async def run(self) -> None:
        try:
            app: Any = self.connection.state.app  # Any: an app may return something although it must not.
            result = await app(self.scope, self.receive, self.send)
        except BaseException as exc:
            if is_thrown_away(exc):
                raise
            self._app_raised(exc)
        else:
            if self.stage != COMPLETE or result is not None:
                self._app_returned(result)
        finally:
            state = self.connection.state
            if state.bounded:
                state.release()
            if self.task is not None:
                state.tasks.discard(self.task)
                self.task = None

    def suspended(self, task: asyncio.Task[None]) -> None:
        """The app has not come to its end in the first step of its task, or has not begun."""
        self.task = task
        self.connection.state.tasks.add(task)
        self.end_turn()

    async def receive(self) -> Message:
        """The next part of the request body, or ``http.disconnect`` (ASGI HTTP spec, "Request")."""
        if self.expects_continue and not self.body_complete and self.stage == AWAITING_START:
            self.expects_continue = False
            if not self.connection.lost:
                self.connection.transport.write(CONTINUE)
        if not self.body_complete and self._deliveries >= limits.DELIVERIES_PER_TURN:
            self._deliveries = 0
            await _yield_once()
        while self.stage != COMPLETE:
            if self.body_complete:
                if not self._body_taken:
                    return self._take_body()
                if self.disconnected:
                    break
            elif self.disconnected:
                break
            elif self.body_bytes_waiting:
                return self._take_body()
            await self._wait()
        return {"type": "http.disconnect"}

    async def _wait(self) -> None:
        """Returns when something has changed, or may have."""
        waiter, earlier = self.connection.state.loop.create_future(), self._waiter
        if earlier is not None:
            # Several tasks may wait at once: each wakes the one that came before it.
            waiter.add_done_callback(lambda _: _wake(earlier))
        self._waiter = waiter
        try:
            await waiter
        finally:
            if self._waiter is waiter:
                self._waiter = None

    def _take_body(self) -> Message:
        waiting = self.body_bytes_waiting
        if waiting:
            body = self._body
            first = body[0]
            data = first if len(body) == 1 and isinstance(first, bytes) else b"".join(body)
            body.clear()
            self.body_bytes_waiting = 0
        else:
            data = b""
        if self.body_complete:
            self._body_taken = True
            return {"type": "http.request", "body": data, "more_body": False}
        if waiting > limits.READ_HIGH_WATER:
            self.connection.resume_body()
        self._deliveries += 1
        return {"type": "http.request", "body": data, "more_body": True}

    async def send(self, message: Message) -> None:
        """Takes one message of the response (ASGI HTTP spec, "Response").

        :raises ClientDisconnected: the client is gone; not raised under ``--send-after-disconnect ignore``.
        :raises AppContractError: the message may not come here, or HTTP cannot carry it.
        """
        connection = self.connection
        if connection.lost and self.stage != COMPLETE:
            await self._send_in_vain()
            return
        kind = message["type"]
        stage = self.stage
        if stage == AWAITING_START:
            if kind == "http.response.start":
                self._start_response(message)
                return
            if kind == "http.response.early_hint":
                self._early_hint(message)
                return
        elif stage in _BODY_STAGES:
            if kind == "http.response.body":
                self._send_body(message.get("body", b""), message.get("more_body", False))
                if self.stage != COMPLETE and (connection.write_paused or self._turn_left <= 0):
                    await self._give_way()
                return
            if kind == "http.response.pathsend" and stage == AWAITING_BODY:
                await self._send_file(message["path"])
                return
        elif stage == AWAITING_TRAILERS and kind == "http.response.trailers":
            self._send_trailers(message)
            return
        if kind == "http.response.debug":
            return
        raise AppContractError(f"The app sent {kind!r} when {_EXPECTED[stage]} was due.")

    # The response

    def _start_response(self, message: Message) -> None:
        status = message["status"]
        headers = message.get("headers", ())
        connection = self.connection
        state = connection.state
        prefix = state.head_prefixes.get(status) or state.head_prefix(status)
        if not isinstance(headers, (list, tuple)):
            headers = list(headers)
        block, length, flags = encode_headers(headers)
        if flags:
            if flags & HAS_CLOSE:
                self.keep_alive = False
            if flags & HAS_EVENTS:
                self.endless = True
            if flags & HAS_TWO_LENGTHS:
                if self.line.method != "HEAD" and status not in BODILESS:
                    raise AppContractError("The response has two different Content-Length headers.")
                state.warn_once(
                    "two lengths",
                    f"The app sent two different Content-Length headers ({self.line.method}, status {status}). The "
                    "response has no content, so the first one was kept.",
                )
            if flags & (HAS_DATE | HAS_SERVER):
                prefix = status_line(status) + state.headers_without(
                    date=bool(flags & HAS_DATE), server=bool(flags & HAS_SERVER)
                )
        if state.stopping:
            self.keep_alive = False
        self._prefix = prefix
        self.head = block
        self.status = status
        self._length_left = length
        self._trailers = message.get("trailers", False)
        if connection.logs_requests:
            self._response_headers = headers
        self.stage = AWAITING_BODY
        if self.task is not None:
            state.hold(self)  # After the first step of its task suspended() looks after it.

    def end_turn(self) -> None:
        """Writes what the app has sent in this turn: the head alone when no body has come, or the pieces."""
        if self.connection.lost:
            return
        if self.stage == AWAITING_BODY:
            if self.head is not None:
                self.connection.transport.write(self._finish_head(0, more_body=True))
        elif self.stage in _PIECE_STAGES:
            self._write_pieces()

    def _write_pieces(self) -> None:
        pieces = self._pieces
        if not pieces:
            return
        if self._pieces_bytes <= limits.WRITE_JOIN_MAX:
            self.connection.transport.write(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        else:
            self.connection.transport.writelines(pieces)
        self._pieces = []
        self._pieces_bytes = 0

    def _finish_head(self, size: int, *, more_body: bool) -> bytes:
        """Chooses the framing, now that it is known whether the first chunk is the last (RFC 9112 §6.3)."""
        head = self.head
        if head is None:
            raise AssertionError("the head is finished once")
        self.head = None
        head = self._prefix + head
        self._pieces = []
        self._pieces_bytes = 0
        self._bytes_sent = 0
        self._turn_left = limits.BYTES_PER_TURN
        length = self._length_left
        status = self.status
        if status in BODILESS:
            self._framing = NONE
            if status == 205:
                # RFC 9110 §15.3.6: no content, and the client must be able to tell.
                head += b"content-length: 0\r\n"
            elif length >= 0 and status == 304:
                head += b"content-length: %d\r\n" % length
        elif self.line.method == "HEAD":
            self._framing = NONE
            if length >= 0:
                head += b"content-length: %d\r\n" % length
            elif not more_body and size:
                head += b"content-length: %d\r\n" % size
        elif length >= 0:
            self._framing = LENGTH
            head += b"content-length: %d\r\n" % length
        elif not more_body and not self._trailers:
            self._framing = LENGTH
            self._length_left = size
            head += b"content-length: %d\r\n" % size
        elif self.line.http_version == "1.1":
            self._framing = CHUNKED
            head += b"transfer-encoding: chunked\r\n"
        else:
            self._framing = UNTIL_CLOSE
            self.keep_alive = False
        if not self.body_complete and (self.expects_continue or self.connection.much_is_unread):
            # The client may or may not send the body after a final response, and more than a little of it is not
            # worth reading for the sake of the next request: the client must know (RFC 9112 §9.6).
            self.keep_alive = False
        if not self.keep_alive:
            return head + b"connection: close\r\n\r\n"
        if self.line.http_version == "1.0":
            return head + b"connection: keep-alive\r\n\r\n"
        return head + b"\r\n"

    def _send_body(self, body: bytes, more_body: bool) -> None:
        if not isinstance(body, bytes):
            if not isinstance(body, (bytearray, memoryview)):
                raise AppContractError(f"A response body must be bytes, not {type(body).__name__}.")
            body = bytes(body)
        connection = self.connection
        size = len(body)
        head = self.head
        if head is not None:
            line = self.line
            if (
                not more_body
                and line.is_plain
                and self.keep_alive
                and (self._length_left == size or self._length_left < 0)
                and self.status not in BODILESS
                and not self._trailers
                and self.body_complete
            ):
                # The whole of an ordinary response in one write; every other case takes the long way below.
                self.head = None
                parts = (self._prefix, head, content_length_ends.get(size) or content_length_end(size), body)
                transport, writes = connection.transport, connection.state.writes
                if size > limits.WRITE_JOIN_MAX:
                    transport.writelines(parts)
                elif writes is not None and not connection.eof:
                    writes.append((transport, b"".join(parts)))
                else:
                    transport.write(b"".join(parts))
                self._bytes_sent = size
                self._complete()
                return
            head = self._finish_head(size, more_body=more_body)
        else:
            head = b""
        self.stage = STREAMING
        framing = self._framing
        pieces = self._pieces
        is_first = not pieces
        if framing == LENGTH:
            left = self._length_left - size
            if left < 0 or (left and not more_body):
                if head:
                    # Nothing has been written: the error can still be answered properly.
                    self.stage = AWAITING_START
                raise AppContractError(
                    f"The response body is {'longer' if left < 0 else 'shorter'} than its Content-Length."
                )
            self._length_left = left
        elif framing == NONE:
            size = 0
        if head:
            pieces.append(head)
        if size:
            if framing != CHUNKED:
                pieces.append(body)
            elif size > limits.PIECE_JOIN_MAX:
                pieces += (b"%x\r\n" % size, body, b"\r\n")
            else:
                pieces.append(b"%x\r\n%b\r\n" % (size, body))
        self._pieces_bytes = waiting = self._pieces_bytes + len(head) + size
        self._bytes_sent += size
        self._turn_left -= max(limits.BYTES_PER_SEND, size)
        if more_body:
            if waiting >= limits.PIECES_BYTES_MAX:
                self._write_pieces()
            elif is_first and self.task is not None:
                connection.state.hold(self)
        elif self._trailers:
            self.stage = AWAITING_TRAILERS
            if is_first and self.task is not None:
                connection.state.hold(self)
        else:
            if framing == CHUNKED:
                pieces.append(_LAST_CHUNK)
            self._write_pieces()
            self._complete()

    async def _give_way(self) -> None:
        """Waits while the transport is above its high-water mark; else yields once, for fairness."""
        self._turn_left = limits.BYTES_PER_TURN
        if self.stage == COMPLETE:
            return
        if self.connection.write_paused:
            await self.connection.drained()
            if self.connection.lost:
                await self._send_in_vain()
        else:
            await _yield_once()

    async def _send_in_vain(self) -> None:
        """Tells the app that its client is gone, unless it wants to go on as under uvicorn.

        :raises ClientDisconnected: it wants to know.
        """
        if not self.connection.state.ignores_departures:
            raise ClientDisconnected("The client has closed the connection.")
        # An app that sends without end must not keep the loop for itself.
        await _yield_once()

    def _early_hint(self, message: Message) -> None:
        if self.line.http_version != "1.0":
            self.connection.transport.write(encode_early_hints(message["links"]))

    def _send_trailers(self, message: Message) -> None:
        block = encode_trailers(message.get("headers", ()))
        if self._framing == CHUNKED:
            wanted = any(name == b"te" and b"trailers" in value.lower() for name, value in self.scope["headers"])
            if not wanted:
                block = b""
            end = b"" if message.get("more_trailers", False) else b"\r\n"
            start = b"0\r\n" if self._trailers else b""
            self._trailers = False
            self._pieces.append(start + block + end)
        if not message.get("more_trailers", False):
            self._write_pieces()
            self._complete()
        elif self.task is not None:
            self.connection.state.hold(self)

    async def _send_file(self, path: str | os.PathLike[str]) -> None:
        """Sends a file that the app names (ASGI extension ``http.response.pathsend``), reading it in a thread."""
        connection = self.connection
        file = await self._open_file(path)
        try:
            left = os.fstat(file).st_size if self._length_left < 0 else self._length_left
            if self.head is not None:
                # The framing is not chosen yet.
                self._length_left = left
            if connection.lost:
                await self._send_in_vain()
                return
            if self.line.method == "HEAD" or self.status in BODILESS or not left:
                self._send_body(b"", more_body=False)
                return
            while left:
                chunk = await connection.state.loop.run_in_executor(None, os.read, file, min(left, _FILE_CHUNK_BYTES))
                if connection.lost:
                    await self._send_in_vain()
                    return
                if not chunk:
                    raise AppContractError(
                        f"The file {os.fspath(path)!r} is shorter than the response's Content-Length."
                    )
                left -= len(chunk)
                self._send_body(chunk, more_body=bool(left))
                if connection.write_paused and left:
                    await self._give_way()
        finally:
            os.close(file)

    async def _open_file(self, path: str | os.PathLike[str]) -> int:
        """Opens a file in a thread. A head that has not left is held meanwhile: it can still become another one.

        :raises AppContractError: there is no such file, or it cannot be read.
        """
        if self.head is not None:
            self.stage = OPENING_FILE
        try:
            return await self.connection.state.loop.run_in_executor(None, _open_file, path)
        except OSError as exc:
            if self.stage == OPENING_FILE:
                self.stage = AWAITING_START
                self.head = None
            raise AppContractError(f"The file {os.fspath(path)!r} cannot be sent: {exc.strerror}.") from exc
        finally:
            if self.stage == OPENING_FILE:
                self.stage = AWAITING_BODY

    def _complete(self) -> None:
        """The response is on its way. Wakes an app that waits in ``receive`` and lets the connection go on."""
        self.stage = COMPLETE
        if self._waiter is not None:
            _wake(self._waiter)
        connection = self.connection
        if connection.logs_requests:
            self.report(complete=True)
        connection.response_complete(self)

    def report(self, *, complete: bool) -> None:
        """Announces the end of this exchange; called only when somebody listens."""
        scope = self.scope  # What middleware made of it: some drop keys, some say who the client is.
        begun = self.stage >= STREAMING or (self.stage == AWAITING_BODY and self.head is None)
        connection = self.connection
        connection.state.emitter.emit(
            RequestFinished(
                scope.get("client"),
                scope.get("scheme", "http"),
                self.line.method,
                self.line.target,
                self.line.http_version,
                self.status if begun else 0,
                scope.get("headers", []),
                self._response_headers if begun else [],
                self._bytes_sent if begun else 0,
                time.perf_counter() - self._received_at,
                time.time(),
                complete,
            )
        )

    # The end of the app

    def _app_returned(self, result: object) -> None:
        if result is not None:
            self._announce(AppContractError(f"The app returned {type(result).__name__!s}, where ASGI asks for None."))
        if self.stage == COMPLETE or self.connection.lost:
            return
        if self._misses_no_byte:
            self.connection.state.warn_once(
                "no last message",
                f"The app returned without the last 'http.response.body' message ({self.line.method}, status "
                f"{self.status}). No byte is missing, so the response was completed.",
            )
            self._send_body(b"", more_body=False)
            return
        if self.disconnected:
            # It has given up because its client ended the connection: nobody is left to be answered.
            self.connection.abandon(self)
            return
        self._announce(AppContractError("The app returned without completing the response."))
        self._answer_failure(None)

    @property
    def _misses_no_byte(self) -> bool:
        """True when only the last body message is missing, and no byte of the body."""
        if self.stage not in _BODY_STAGES or self._trailers:
            return False
        return self._length_left == 0 or self.line.method == "HEAD" or self.status in BODILESS

    def _app_raised(self, exc: BaseException) -> None:
        state = self.connection.state
        if self.task in state.cancelled and isinstance(exc, asyncio.CancelledError):
            if self.stage != COMPLETE:
                self.connection.abandon(self)
            return
        if self.connection.lost and means_disconnected(exc):
            return
        if isinstance(exc, KeyboardInterrupt):
            # Ctrl+C where nobody handles the signal. A SystemExit is the app's: a request must not end the server.
            state.on_fatal(exc)
        self._answer_failure(self._announce(exc))

    def _announce(self, exc: BaseException) -> Any:
        """Tells the listeners what went wrong; returns the folded failure when a page will be made of it."""
        state = self.connection.state
        wanted = state.emitter.wants(AppRaised)
        if not wanted and state.failure_response is None:
            return None
        failure = fold(exc, state.first_party, during=f"{self.line.method} {self.scope.get('path', '')}")
        if wanted:
            state.emitter.emit(AppRaised(failure))
        return failure

    def _answer_failure(self, failure: Any) -> None:
        """500 when nothing was sent; otherwise the connection is cut, so that the client can tell."""
        connection = self.connection
        if connection.lost or self.stage == COMPLETE:
            return
        if self.stage == AWAITING_START or self.head is not None:
            self.head = None
            self.stage = AWAITING_START
            status, headers, body = 500, [(b"content-type", b"text/plain; charset=utf-8")], b"Internal Server Error"
            if failure is not None and connection.state.failure_response is not None:
                try:
                    status, headers, body = connection.state.failure_response(failure, self.scope)
                except Exception as exc:
                    # A page that cannot be made must not leave the client without an answer.
                    self._announce(exc)
            self._start_response({"status": status, "headers": headers})
            self._send_body(body, more_body=False)
        else:
            connection.abandon(self)

    # The connection's side

    def whole_body(self, data: bytes) -> None:
        """The body came along with the head."""
        self._body = [data]
        self.body_bytes_waiting = len(data)

    def body_arrived(self, data: bytes) -> None:
        """Takes bytes of the request body; they are thrown away when the response is complete."""
        size = len(data)
        self.body_bytes_received += size
        if self.stage != COMPLETE:
            body = self._body
            if body and size < _PIECE_BYTES_MIN and len(body[-1]) < _PIECE_BYTES_MIN:
                last = body[-1]
                if not isinstance(last, bytearray):
                    last = body[-1] = bytearray(last)
                last += data
            else:
                body.append(data)
            self.body_bytes_waiting += size
            self._wake()

    def body_ended(self) -> None:
        """The last byte of the request body has arrived."""
        self.body_complete = True
        self._wake()

    def disconnect(self, *, lost: bool) -> None:
        """The client sends nothing more; ``lost`` says that it reads nothing more either."""
        if not self.disconnected:
            self.disconnected = True
            self._wake()
        state = self.connection.state
        if lost and self.task is not None and AWAITING_START < self.stage < COMPLETE and not state.ignores_departures:
            self._lost_at = state.loop.time()
            state.lost.add(self)

    def cancel_if_idle(self, now: float) -> bool:
        """See :class:`devserver.protocol.state.Exchange`."""
        if self.task is None:
            return True
        if now - self._lost_at < limits.LOST_GRACE_S:
            return False
        self.connection.state.cancel(self.task)
        return True

    def _wake(self) -> None:
        if self._waiter is not None:
            _wake(self._waiter)


_EXPECTED = {
    LISTED: "nothing yet",
    AWAITING_START: "'http.response.start'",
    AWAITING_BODY: "'http.response.body'",
    OPENING_FILE: "nothing until the file is open",
    STREAMING: "'http.response.body'",
    AWAITING_TRAILERS: "'http.response.trailers'",
    COMPLETE: "nothing more, because the response is complete,",
}


def means_disconnected(exc: BaseException | None) -> bool:
    """Returns whether an exception says that the client has gone.

    It does when it is ours, when it was raised ``from`` ours, when all of a group do, and when it took the place of
    ours under the name of a disconnect, as Starlette's ``ClientDisconnect`` does. A bug in the handler of our exception
    has it as its context, too, and is a bug.
    """
    for _ in range(_CAUSES_MAX):
        if exc is None or isinstance(exc, ClientDisconnected):
            return exc is not None
        if isinstance(exc, BaseExceptionGroup):
            return all(means_disconnected(each) for each in exc.exceptions)
        if exc.__cause__ is not None:
            exc = exc.__cause__
        elif isinstance(exc, (OSError, asyncio.CancelledError)) or "disconnect" in type(exc).__name__.lower():
            exc = exc.__context__
        else:
            return False
    return False


def is_thrown_away(exc: BaseException) -> bool:
    """Returns whether Python ends the app's coroutine because the event loop is gone."""
    if not isinstance(exc, GeneratorExit):
        return False
    try:
        return asyncio.current_task() is None
    except RuntimeError:
        return True


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _open_file(path: str | os.PathLike[str]) -> int:
    return os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
