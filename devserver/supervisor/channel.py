"""One pipe a worker: JSON objects, one a line, both ways over a socket pair.

The two ends are different classes because they live differently. The supervisor's end is driven by its selector and
never blocks. The worker's end must work while the worker imports, blocks its loop or has none yet, so a thread
of its own reads and writes; :meth:`WorkerChannel.send` only appends to a bounded buffer, because a supervisor whose
terminal is stuck must not stop the app.

A message is a JSON object with a ``do`` member (supervisor to worker: ``go``, ``stop``, ``kill``), an ``is`` member
(worker to supervisor: what it has reached) or an ``event`` member (see ``devserver.events.to_json``).
The end of the pipe is the last message in both directions: the other process has gone.
"""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, TypeAlias

Message: TypeAlias = dict[str, Any]

READ_BYTES = 65536
LINE_BYTES_MAX = 64 * 1024 * 1024
"""A folded traceback takes some ten kilobytes; a line beyond this is not one of ours."""
TICK_S = 1.0
PENDING_MESSAGES_MAX = 10_000
"""What a worker keeps for a supervisor that does not read; later messages are dropped."""


class LineBuffer:
    """Cuts a stream of bytes into JSON objects; pure."""

    __slots__ = ("_pieces", "_size")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[Message]:
        """The objects that are complete with ``data``.

        :raises ValueError: a line is not a JSON object, or longer than a message can be.
        """
        *complete, rest = data.split(b"\n")
        messages: list[Message] = []
        for line in complete:
            message = json.loads(b"".join([*self._pieces, line]))
            self._pieces, self._size = [], 0
            if not isinstance(message, dict):
                raise ValueError(f"not a message: {message!r:.80}")
            messages.append(message)
        if rest:
            self._pieces.append(rest)
            self._size += len(rest)
            if self._size > LINE_BYTES_MAX:
                raise ValueError(f"a message of more than {LINE_BYTES_MAX} bytes")
        return messages


def encode(message: Message) -> bytes:
    """``message`` as one line."""
    return json.dumps(message, separators=(",", ":")).encode("ascii") + b"\n"


def channel_pair() -> tuple[SupervisorChannel, socket.socket]:
    """The supervisor's end, and the socket whose descriptor is passed to the worker."""
    ours, theirs = socket.socketpair()
    return SupervisorChannel(ours), theirs


class SupervisorChannel:
    """The end that a selector drives: readable → :meth:`receive`, and nothing ever blocks.

    What a worker is told is a few short lines after the first message, so unsent bytes are kept here and
    tried again with the next call; :meth:`flush` is called once more every turn of the supervisor's loop.
    """

    __slots__ = ("_lines", "_unsent", "closed", "socket")

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.socket = sock
        self.closed = False
        self._lines = LineBuffer()
        self._unsent = bytearray()

    def fileno(self) -> int:
        """For selectors."""
        return self.socket.fileno()

    def send(self, message: Message) -> None:
        """Sends ``message`` as soon as the pipe takes it; does nothing when the worker has gone."""
        self._unsent += encode(message)
        self.flush()

    def flush(self) -> bool:
        """Sends what is waiting; whether nothing waits any more."""
        while self._unsent and not self.closed:
            try:
                sent = self.socket.send(self._unsent)
            except (BlockingIOError, InterruptedError):
                return False
            except OSError:
                # The worker has gone; its last words may still be there to read, so the socket stays open.
                self._unsent.clear()
                return True
            del self._unsent[:sent]
        return True

    def receive(self) -> list[Message] | None:
        """The messages that have arrived, or None when the worker has closed its end."""
        messages: list[Message] = []
        while not self.closed:
            try:
                data = self.socket.recv(READ_BYTES)
            except (BlockingIOError, InterruptedError):
                return messages
            except OSError:
                data = b""
            if not data:
                return messages or None
            try:
                messages += self._lines.feed(data)
            except ValueError:
                # Something else wrote into the worker's descriptor: nothing it says can be trusted any more.
                self.close()
        return messages or None

    def close(self) -> None:
        """Closes this end, which tells the worker to stop."""
        if not self.closed:
            self.closed = True
            self.socket.close()


class WorkerChannel:
    """The end in the worker, with a thread that reads and writes.

    :param sock: the socket whose descriptor was passed.
    :param on_message: called on the thread with every message.
    :param on_close: called on the thread, once, when the supervisor has gone.
    :param received: bytes that were read with the first message but came after it.
    :param on_tick: called on the thread about once a second.
    """

    def __init__(
        self,
        sock: socket.socket,
        on_message: Callable[[Message], None],
        on_close: Callable[[], None],
        *,
        received: bytes = b"",
        on_tick: Callable[[], None] = lambda: None,
    ) -> None:
        self._sock = sock
        self._sock.setblocking(False)
        self._on_message = on_message
        self._on_close = on_close
        self._on_tick = on_tick
        self._received = received
        self._lines = LineBuffer()
        self._pending: deque[Message] = deque()
        self._unsent = b""
        self._closing = False
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)
        self._thread = threading.Thread(target=self._run, name="devserver-channel", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def send(self, message: Message) -> None:
        """Hands ``message`` to the thread; never blocks, from any thread. Dropped when the buffer is full."""
        if len(self._pending) < PENDING_MESSAGES_MAX:
            self._pending.append(message)
            self._wake()

    def close(self, timeout_s: float) -> None:
        """Sends what is waiting, for at most ``timeout_s`` seconds, and ends the thread."""
        self._closing = True
        self._wake()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(timeout_s)

    def _wake(self) -> None:
        # A full pipe means that the thread is being woken already; a closed one that it has ended.
        with contextlib.suppress(OSError):
            self._wake_writer.send(b"\0")

    def _run(self) -> None:
        selector = selectors.DefaultSelector()
        selector.register(self._sock, selectors.EVENT_READ)
        selector.register(self._wake_reader, selectors.EVENT_READ)
        open_ = self._feed(self._received)
        while open_:
            if self._unsent or self._pending:
                open_ = self._write()
            if self._closing and not self._unsent and not self._pending:
                break
            interest = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._unsent else 0)
            selector.modify(self._sock, interest)
            ready_keys = selector.select(TICK_S)
            if not ready_keys:
                self._on_tick()
            for key, ready in ready_keys:
                if key.fileobj is self._wake_reader:
                    with contextlib.suppress(OSError):
                        self._wake_reader.recv(READ_BYTES)
                elif ready & selectors.EVENT_READ:
                    open_ = self._read() and open_
        selector.close()
        if not self._closing:
            self._on_close()
        for sock in (self._sock, self._wake_reader, self._wake_writer):
            sock.close()

    def _write(self) -> bool:
        while self._unsent or self._pending:
            if not self._unsent:
                self._unsent = encode(self._pending.popleft())
            try:
                sent = self._sock.send(self._unsent)
            except (BlockingIOError, InterruptedError):
                return True
            except OSError:
                return False
            self._unsent = self._unsent[sent:]
        return True

    def _read(self) -> bool:
        try:
            data = self._sock.recv(READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return True
        except OSError:
            return False
        return bool(data) and self._feed(data)

    def _feed(self, data: bytes) -> bool:
        try:
            messages = self._lines.feed(data)
        except ValueError:
            # Whatever writes here is not our supervisor: as good as gone.
            return False
        for message in messages:
            self._on_message(message)
        return True


def receive_first(sock: socket.socket) -> tuple[Message, bytes]:
    """Reads the first message on a blocking socket, before there is a thread, and what came after it.

    :raises EOFError: the supervisor went before it had sent one.
    """
    received = bytearray()
    while b"\n" not in received:
        data = sock.recv(READ_BYTES)
        if not data:
            raise EOFError("the supervisor has gone")
        received += data
    line, _, rest = bytes(received).partition(b"\n")
    message = json.loads(line)
    if not isinstance(message, dict):
        raise ValueError(f"not a message: {message!r:.80}")
    return message, rest
