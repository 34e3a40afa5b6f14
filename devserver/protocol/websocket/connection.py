"""A WebSocket on a transport, and the ``receive`` and ``send`` of its app (ASGI WebSocket spec 2.5).

The object exists from the handshake request on, so that the app has one pair of callables: until the app accepts, the
HTTP connection owns the transport, and what the app sends goes to the :class:`Opening`; then the transport is ours.

Order is kept to the end. When the peer closes or breaks a rule, the app first gets the messages that came before, and
its answers leave before our Close frame does. A peer that sends faster than the app takes is not read any more, a peer
that does not read suspends the app in ``send``, and an app that never suspends gives the loop a turn once in a while.
"""

from __future__ import annotations

import asyncio
import time
import types
from collections import deque
from collections.abc import Generator, Iterable
from sys import getsizeof
from typing import TYPE_CHECKING, Protocol

from devserver.errors import AppContractError, ClientDisconnected
from devserver.events import WebSocketClosed
from devserver.protocol.state import unsent_bytes
from devserver.protocol.websocket.frames import (
    ABNORMAL,
    FIN,
    INTERNAL_ERROR,
    NO_STATUS,
    NORMAL,
    PING,
    SERVICE_RESTART,
    encode,
    encode_close,
    is_sendable,
)
from devserver.protocol.websocket.session import COUNTED_FROM, Session

if TYPE_CHECKING:
    from devserver.app.types import Message, Scope
    from devserver.protocol.state import Exchange, ServerState
    from devserver.protocol.websocket.deflate import Agreement

# How far the conversation is: the app has not answered the handshake; it has refused it; messages go both ways; our
# Close frame has been sent; we only wait for the peer to end the connection; it has ended.
CONNECTING, DENIED, OPEN, CLOSING, LINGERING, CLOSED = range(6)

READ_HIGH_WATER = 65536
"""Bytes of memory that messages may take while they wait for the app; above it reading pauses. A str takes up to four
bytes a character, and each message about 50 besides. Bytes that a read brought beyond it stay as they arrived: at most
256 KiB, which is what the event loop reads at once."""
OBJECT_BYTES = 80
"""Max bytes of memory that a str or bytes object takes besides its content (CPython 3.11; less since)."""
TURNS = 16
"""An app that has received or sent this often without suspending yields once; so does one that has sent
:data:`BYTES_PER_TURN`."""
BYTES_PER_TURN = 262144
BYTES_PER_SEND = BYTES_PER_TURN // TURNS
CLOSE_S = 10.0
"""How long the peer may take to answer our Close frame."""
LINGER_S = 5.0
"""How long the peer may take to end the connection after it broke a rule."""
ANSWER_S = 2.0
"""How long the app may answer earlier messages, before the peer's Close frame is answered without it."""


class WebSocketDisconnected(ClientDisconnected):
    """ClientDisconnected of one connection. An app may hold several, and only the end of its own is no error.

    :param message: one sentence.
    :param websocket: the connection that has ended.
    """

    def __init__(self, message: str, websocket: WebSocketConnection) -> None:
        super().__init__(message)
        self.websocket = websocket


class Opening(Protocol):
    """The HTTP request that asks for the WebSocket, as far as it matters here."""

    @property
    def target(self) -> bytes:
        """The request target as it was received."""

    @property
    def offered(self) -> list[str]:
        """The subprotocols that the client speaks."""

    def accept(self, subprotocol: str | None, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Answers 101 and lets the connection take over the transport.

        :raises AppContractError: HTTP cannot carry the headers.
        """

    async def respond(self, message: Message) -> None:
        """Sends ``http.response.start`` or ``http.response.body``."""


class WebSocketConnection(asyncio.Protocol):
    """See :class:`devserver.protocol.state.Connection`.

    :param state: what the connections of this server share.
    :param scope: the app's.
    """

    __slots__ = (
        "_asked",
        "_begun_at",
        "_bytes_out",
        "_bytes_taken",
        "_close_code",
        "_close_reason",
        "_closed_by_app",
        "_connect_taken",
        "_drain_waiter",
        "_has_event",
        "_heard",
        "_held",
        "_messages_in",
        "_messages_out",
        "_opening",
        "_phase",
        "_pinged",
        "_queue",
        "_queue_max",
        "_reading_paused",
        "_session",
        "_turns_left",
        "_unsent_bytes",
        "_waiter",
        "_write_left",
        "deadline",
        "listed",
        "state",
        "transport",
        "write_paused",
    )

    transport: asyncio.Transport

    def __init__(self, state: ServerState, scope: Scope, opening: Opening) -> None:
        self.state = state
        self._opening = opening
        self._asked = (scope["client"], scope["scheme"], scope["headers"])
        """For the log; the scope is the app's, to change as it likes."""
        self.deadline = 0.0
        self.listed = False
        self.write_paused = False
        self._phase = CONNECTING
        self._session: Session
        self._queue: deque[str | bytes | None] = deque()
        """Messages that the app has not taken. None is ``websocket.connect``, for an app that accepts first."""
        self._queue_max = state.config.ws_max_queue
        self._waiter: asyncio.Future[None] | None = None
        self._drain_waiter: asyncio.Future[None] | None = None
        self._reading_paused = False
        self._turns_left = TURNS
        self._write_left = BYTES_PER_TURN
        self._unsent_bytes = 0
        self._has_event = True
        """There may be something else for the app than messages."""
        self._connect_taken = False
        self._close_code = 0
        """What the app is told at the end; 0 as long as there is none."""
        self._close_reason = ""
        self._closed_by_app = False
        self._pinged = False
        """A ping of ours has not been answered."""
        self._heard = False
        """Something has come since the deadline was set."""
        self._begun_at = time.perf_counter()
        self._messages_in = self._messages_out = self._bytes_out = 0
        self._held = 0
        """Bytes of memory that the messages take which have come since the queue was empty, taken or not. Counting down
        with each would cost more than pausing once in a while before it is due."""
        self._bytes_taken = 0
        """Bytes of messages that the app has taken."""

    # The event loop's side

    def take_over(
        self, transport: asyncio.Transport, received: bytes, agreement: Agreement | None, *, eof: bool
    ) -> None:
        """The app has accepted, 101 is on its way, and the transport calls us from now on.

        :param received: what the peer has sent after its request.
        :param agreement: how messages are compressed.
        :param eof: the peer sends nothing more.
        """
        self.transport = transport
        self._session = Session(size_max=self.state.config.ws_max_size, agreement=agreement)
        self._phase = OPEN
        if not self._connect_taken:
            self._connect_taken = True
            self._queue.append(None)
            self._queue_max += 1
        self._await_peer()
        if received:
            self.data_received(received)
        if eof:
            transport.close()
        elif self.state.stopping:
            self.shutdown()

    def data_received(self, data: bytes) -> None:
        """Bytes from the peer."""
        session = self._session
        if self._phase != OPEN:
            if self._phase == CLOSING:
                self._await_answer(data)
            return
        self._heard = True
        queue = self._queue
        if not queue:
            messages = session.receive(data, self._queue_max, READ_HIGH_WATER)
        else:
            room, held_max = self._queue_max - len(queue), READ_HIGH_WATER - self._held
            if room <= 0 or held_max < 0:
                # What has come before the transport stopped reading.
                session.keep(data)
                return
            messages = session.receive(data, room, held_max)
        if messages:
            self._messages_in += len(messages)
            held = self._held
            for message in messages:
                size = len(message)
                # To ask for the size of an object takes longer than to assume the most for a small one.
                held += 4 * size + OBJECT_BYTES if size < COUNTED_FROM else getsizeof(message)
            self._held = held
            queue.extend(messages)
            waiter = self._waiter
            if waiter is not None and not waiter.done():
                waiter.set_result(None)
            if held > READ_HIGH_WATER or len(queue) >= self._queue_max:
                self._pause_reading()
        if session.pongs or session.heard_pong or session.end is not None:
            self._on_control()

    def eof_received(self) -> bool:
        """The peer has ended its side; with a WebSocket there is nothing left to say then."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """The socket is closed."""
        phase, self._phase = self._phase, CLOSED
        self.deadline = 0.0
        if not self._close_code:
            self._end(ABNORMAL, "")
        _wake(self._waiter)
        _wake(self._drain_waiter)
        self.state.forget(self)
        if phase >= OPEN:
            self._report()

    def pause_writing(self) -> None:
        """The transport's buffer is above its high-water mark."""
        self.write_paused = True
        self._watch_writing()

    def resume_writing(self) -> None:
        """The transport's buffer is below its low-water mark."""
        self.write_paused = False
        self._unsent_bytes = 0
        if self._phase == OPEN:
            self._write_pongs()
            if self._session.end is None:
                self._await_peer()
            else:
                self.deadline = self.state.loop.time() + ANSWER_S
        _wake(self._drain_waiter)

    # The server's side

    @property
    def idle(self) -> bool:
        """Never: the app runs."""
        return False

    @property
    def begun(self) -> bool:
        """Always: see :attr:`idle`."""
        return True

    @property
    def lasting(self) -> bool:
        """See :class:`devserver.protocol.state.Connection`."""
        return True

    def proceed(self) -> Exchange | None:
        """No further request comes."""
        return None

    def release(self) -> bytes | None:
        """It is never between two requests."""
        return None

    def shutdown(self) -> None:
        """The server is about to end or to be replaced: closes with 1012."""
        if self._phase == OPEN:
            self._close(SERVICE_RESTART, "")
            self._end(SERVICE_RESTART, "")

    def abort(self) -> None:
        """Drops the connection with whatever it has not sent."""
        self.transport.abort()

    def expire(self, now: float) -> None:
        """The deadline has passed."""
        if self.write_paused and self._phase < LINGERING:
            self._expire_writing(now)
        elif self._phase != OPEN:
            self.transport.abort()
        elif self._session.end is not None:
            # The app has not come to take it.
            self._answer_end()
        elif self._heard:
            # Somebody who speaks need not be asked whether he is there.
            self._await_peer()
        elif self._pinged:
            self._end(ABNORMAL, "The peer did not answer a ping in time.")
            self.transport.write(encode_close(INTERNAL_ERROR, "keepalive ping timeout"))
            self.transport.abort()
        else:
            timeout_s = self.state.config.ws_ping_timeout
            self._pinged = timeout_s is not None
            self._session.heard_pong = False
            self.deadline = now + (timeout_s or self.state.config.ws_ping_interval or 0.0)
            self.transport.write(encode(FIN | PING, b""))

    # The app's side

    async def receive(self) -> Message:
        """The next event for the app (ASGI WebSocket spec: connect, receive, disconnect)."""
        queue = self._queue
        if queue:
            self._turns_left -= 1
            if self._turns_left <= 0:
                self._turns_left = TURNS
                await _yield_once()
        while not queue:
            if self._has_event:
                event = self._next_event()
                if event is not None:
                    return event
            self._turns_left = TURNS
            self._write_left = BYTES_PER_TURN
            if self._waiter is None:
                self._waiter = waiter = self.state.loop.create_future()
                try:
                    await waiter
                finally:
                    self._waiter = None
            else:
                # Several tasks may wait at once.
                await asyncio.shield(self._waiter)
        message = queue.popleft()
        if not queue:
            self._held = 0
            if self._reading_paused:
                self._resume_reading()
        if isinstance(message, str):
            self._bytes_taken += len(message)
            return {"type": "websocket.receive", "text": message}
        if message is None:
            self._queue_max -= 1
            return {"type": "websocket.connect"}
        self._bytes_taken += len(message)
        return {"type": "websocket.receive", "bytes": message}

    def _next_event(self) -> Message | None:
        """What there is besides messages."""
        if not self._connect_taken:
            self._connect_taken = True
            return {"type": "websocket.connect"}
        if self._phase == OPEN and self._session.end is not None:
            self._answer_end()
        if self._close_code:
            return {"type": "websocket.disconnect", "code": self._close_code, "reason": self._close_reason}
        self._has_event = False
        return None

    async def send(self, message: Message) -> None:
        """Takes one event of the app (ASGI WebSocket spec: accept, send, close, and the denial response).

        :raises ClientDisconnected: the client is gone, or has closed.
        :raises AppContractError: the event may not come here, or WebSocket cannot carry it.
        """
        if self._phase != OPEN or message["type"] != "websocket.send":
            await self._send_other(message)
            return
        session = self._session
        text = message.get("text")
        if text is not None and ("bytes" not in message or message["bytes"] is None):
            try:
                frame = session.text(text)
            except (AttributeError, UnicodeEncodeError) as exc:
                if not isinstance(text, str):
                    raise AppContractError(f"A text message must be a str, not {type(text).__name__}.") from None
                raise AppContractError(f"A text message cannot be sent: {exc}.") from exc
        else:
            data = message.get("bytes")
            if not isinstance(data, bytes):
                if data is None:
                    self.state.warn_once("empty send", 'The app sent a "websocket.send" event without text or bytes.')
                    return
                if not isinstance(data, (bytearray, memoryview)):
                    raise AppContractError('A "websocket.send" event needs text (str) or bytes.')
                data = bytes(data)
            frame = session.binary(data)
        self.transport.write(frame)
        size = len(frame)
        self._messages_out += 1
        self._bytes_out += size
        self._write_left -= max(size, BYTES_PER_SEND)
        if self.write_paused or self._write_left <= 0:
            await self._give_way()

    async def _give_way(self) -> None:
        """Waits while the transport is above its high-water mark; else yields once, for fairness."""
        self._write_left = BYTES_PER_TURN
        if not self.write_paused:
            await _yield_once()
            return
        while self.write_paused and self._phase < LINGERING:
            if self._drain_waiter is None or self._drain_waiter.done():
                self._drain_waiter = self.state.loop.create_future()
            # Several tasks may wait at once, and one of them be cancelled.
            await asyncio.shield(self._drain_waiter)
        if self._phase == CLOSED:
            raise WebSocketDisconnected("The client has closed the connection.", self)

    async def _send_other(self, message: Message) -> None:
        kind, phase = message["type"], self._phase
        if self.peer_gone:
            if kind == "websocket.close":
                # Nothing is lost, and apps often close in a "finally" that the client's end has led to.
                return
            raise WebSocketDisconnected("The WebSocket is closed.", self)
        if phase == CONNECTING:
            if kind == "websocket.accept":
                self._accept(message)
                return
            if kind == "websocket.close":
                self._phase = DENIED
                await self._opening.respond({"type": "http.response.start", "status": 403, "headers": []})
                await self._opening.respond({"type": "http.response.body", "body": b""})
                self._end(ABNORMAL, "")
                return
            if kind == "websocket.http.response.start":
                start = {"status": message["status"], "headers": message.get("headers") or ()}
                await self._opening.respond({"type": "http.response.start", **start})
                self._phase = DENIED
                return
        elif phase == DENIED:
            if kind == "websocket.http.response.body" and not self._close_code:
                await self._opening.respond({**message, "type": "http.response.body"})
                if not message.get("more_body", False):
                    self._end(ABNORMAL, "")
                return
        elif phase == OPEN and kind == "websocket.close":
            self._close_by_app(message)
            return
        expected = (
            _EXPECTED[phase] if not self._close_code else "nothing more, because the app has closed the WebSocket,"
        )
        raise AppContractError(f"The app sent {kind!r} when {expected} was due.")

    def _accept(self, message: Message) -> None:
        subprotocol = message.get("subprotocol") or None
        if subprotocol is not None:
            if not isinstance(subprotocol, str):
                raise AppContractError(f"A subprotocol must be a str, not {type(subprotocol).__name__}.")
            if subprotocol not in self._opening.offered:
                # RFC 6455 §4.1 has the client fail the connection over it; without one it can go on.
                self.state.warn_once(
                    "subprotocol",
                    f"The app accepted a WebSocket with the subprotocol {subprotocol!r:.80}, which the client did not "
                    "offer. The client was told of none.",
                )
                subprotocol = None
        self._opening.accept(subprotocol, message.get("headers") or ())

    def _close_by_app(self, message: Message) -> None:
        code = message.get("code", NORMAL)
        code = NORMAL if code is None else code
        if not isinstance(code, int) or not (is_sendable(code) or code == NO_STATUS):
            raise AppContractError(f"The app closes with the code {code!r:.80}, which a Close frame cannot carry.")
        reason = message.get("reason") or ""
        if not isinstance(reason, str):
            raise AppContractError(f"The reason of a close must be a str, not {type(reason).__name__}.")
        self._closed_by_app = True
        self._close(code, reason)
        self._end(code, reason)

    def client_gone(self) -> None:
        """The client has gone before the app has answered."""
        if self._phase == CONNECTING:
            self._end(ABNORMAL, "")

    @property
    def peer_gone(self) -> bool:
        """The connection has ended, and not because the app has closed it."""
        return bool(self._close_code) and not self._closed_by_app and self._phase != DENIED

    def app_ended(self, *, raised: bool) -> bool:
        """The app has returned, or an exception has left it; whether it had answered the handshake with 101."""
        if self._phase == OPEN:
            end = self._session.end
            if end is not None:
                self._answer_end()
            else:
                code = INTERNAL_ERROR if raised else NORMAL
                self._close(code, "")
                self._end(code, "")
        return self._phase >= OPEN

    # Both ends

    def _on_control(self) -> None:
        """The peer has sent something that is not for the app."""
        session = self._session
        if session.heard_pong:
            session.heard_pong = False
            if self._pinged:
                self._pinged = False
                self._await_peer()
        if session.pongs:
            self._write_pongs()
        if session.end is None:
            return
        self._has_event = True
        if not self._queue and self._waiter is not None:
            self._answer_end()
        elif not self.write_paused:
            self.deadline = self.state.loop.time() + ANSWER_S

    def _write_pongs(self) -> None:
        pongs = self._session.pongs
        if not pongs:
            return
        if self.write_paused:
            # Only the latest need be answered (RFC 6455 §5.5.3), and nobody reads.
            del pongs[:-1]
        else:
            self.transport.write(b"".join(pongs))
            pongs.clear()

    def _answer_end(self) -> None:
        """Sends the Close frame that the peer is due, and ends the connection (RFC 6455 §7.1)."""
        end = self._session.end
        if end is None:
            raise AssertionError("the session says that it has ended")
        self.transport.write(end.answer)
        self._end(end.code, end.reason)
        if end.failed:
            self._linger()
        else:
            self._hang_up()

    def _close(self, code: int, reason: str) -> None:
        """Sends a Close frame and waits for the peer's."""
        self._phase = CLOSING
        self.transport.write(encode_close(code, reason))
        if self._session.end is not None:
            self._hang_up()
            return
        self.deadline = self.state.loop.time() + CLOSE_S
        self._await_answer(b"")
        if self._reading_paused and self._phase == CLOSING:
            self._reading_paused = False
            if not self.transport.is_closing():
                self.transport.resume_reading()

    def _await_answer(self, data: bytes) -> None:
        """Looks for the peer's Close frame, once ours has been sent: messages are no longer for the app."""
        session = self._session
        session.discard(data)
        session.pongs.clear()
        if session.end is None:
            return
        if session.end.failed:
            self._linger()
        else:
            self._hang_up()

    def _hang_up(self) -> None:
        """Closes the connection, which the server does first (RFC 6455 §7.1.1)."""
        self._phase = LINGERING
        self.transport.close()
        self._watch_writing()

    def _linger(self) -> None:
        """Ends our side, and throws away what a peer that broke a rule still sends, for a while."""
        self._phase = LINGERING
        self.deadline = self.state.loop.time() + LINGER_S
        if self._reading_paused:
            self._reading_paused = False
            self.transport.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self._hang_up()

    def _end(self, code: int, reason: str) -> None:
        """What the app is told when it has taken all messages."""
        if not self._close_code:
            self._close_code, self._close_reason = code, reason
            self._has_event = True
        _wake(self._waiter)

    def _await_peer(self) -> None:
        """Awaits a sign of life."""
        self._heard = self._pinged = False
        if not self.write_paused:
            interval_s = self.state.config.ws_ping_interval
            self.deadline = self.state.loop.time() + interval_s if interval_s and not self._reading_paused else 0.0

    def _watch_writing(self) -> None:
        """Awaits progress of the peer's reading."""
        timeout_s = self.state.limits.timeout_write
        if timeout_s:
            self._unsent_bytes = unsent_bytes(self.transport)
            self.deadline = self.state.loop.time() + timeout_s

    def _expire_writing(self, now: float) -> None:
        unsent = unsent_bytes(self.transport)
        if unsent < self._unsent_bytes:
            self._unsent_bytes = unsent
            self.deadline = now + self.state.limits.timeout_write
        else:
            self.transport.abort()

    def _pause_reading(self) -> None:
        if not self._reading_paused:
            self._reading_paused = True
            self.transport.pause_reading()
            if self._session.end is None and not self.write_paused:
                # A pong would not be read.
                self.deadline = 0.0

    def _resume_reading(self) -> None:
        """Reads on, first what has arrived already."""
        if self._phase != OPEN:
            return
        if self._session.waiting:
            self.data_received(b"")
            if self._queue and self._reading_paused:
                # There was enough of it.
                return
        if self._reading_paused and self._phase == OPEN:
            self._reading_paused = False
            if not self.transport.is_closing():
                self.transport.resume_reading()
            if self._session.end is None:
                self._await_peer()

    def _report(self) -> None:
        emitter = self.state.emitter
        if not emitter.wants(WebSocketClosed):
            return
        client, scheme, headers = self._asked
        emitter.emit(
            WebSocketClosed(
                client,
                scheme,
                self._opening.target,
                headers,
                self._close_code,
                self._close_reason,
                self._messages_in,
                self._messages_out,
                self._bytes_taken,
                self._bytes_out,
                time.perf_counter() - self._begun_at,
                time.time(),
            )
        )


_EXPECTED = {
    CONNECTING: "'websocket.accept' or 'websocket.close'",
    DENIED: "the rest of the denial response",
    OPEN: "'websocket.send' or 'websocket.close'",
}


@types.coroutine
def _yield_once() -> Generator[None]:
    """Gives the loop one turn."""
    yield


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
