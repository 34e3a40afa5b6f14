"""One pipe a worker: JSON objects, one a line, both ways over a socket pair.

The two ends are different classes because they live differently. The supervisor's end is driven by its selector and
never blocks. The worker's end must work while the worker imports, blocks its loop or has none yet, so a thread
of its own reads and writes; :meth:`WorkerChannel.send` only appends to a bounded buffer, because a supervisor whose
terminal is stuck must not stop the app.

A message is a JSON object with a ``do`` member (supervisor to worker: ``go``, ``stop``, ``take``), an ``is`` member
(worker to supervisor: what it has reached) or an ``event`` member (see ``devserver.events.to_json``). A descriptor may
travel with a message (SCM_RIGHTS): its ``fd`` member is true on the way, and the receiver's own number at the end.
The end of the pipe is the last message in both directions: the other process has gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

Message: TypeAlias = dict[str, Any]

READ_BYTES = 65536
LINE_BYTES_MAX = 64 * 1024 * 1024
"""A folded traceback takes some ten kilobytes; a line beyond this is not one of ours."""
TICK_S = 1.0
FDS_A_READ_MAX = 253
"""More than the kernel passes with one message (SCM_MAX_FD)."""
PENDING_MESSAGES_MAX = 10_000
"""What a worker keeps for a supervisor that does not read; later messages are dropped."""


class LineBuffer:
    """Cuts a stream of bytes into JSON objects; pure.

    :param line_bytes_max: how long one may be; :data:`LINE_BYTES_MAX` when left out.
    """

    __slots__ = ("_bytes_max", "_pieces", "_size")

    def __init__(self, line_bytes_max: int | None = None) -> None:
        self._bytes_max = LINE_BYTES_MAX if line_bytes_max is None else line_bytes_max
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
            if self._size > self._bytes_max:
                raise ValueError(f"a message of more than {self._bytes_max} bytes")
        return messages


class Outbox:
    """What is to be sent, descriptors included.

    A descriptor leaves with the first byte of its message, and is closed here as soon as it has.
    """

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: deque[tuple[bytes, int | None]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, message: Message, fd: int | None = None) -> None:
        """Adds a message; ``fd`` is ours to close from now on."""
        self._waiting.append((encode(message if fd is None else {**message, "fd": True}), fd))

    def send(self, sock: socket.socket) -> bool:
        """Sends as much as the socket takes; whether nothing is left.

        :raises OSError: the other end has gone.
        """
        while self._waiting:
            data, fd = self._waiting[0]
            try:
                sent = sock.send(data) if fd is None else socket.send_fds(sock, [data], [fd])
            except (BlockingIOError, InterruptedError):
                return False
            if fd is not None:
                os.close(fd)
            if sent < len(data):
                self._waiting[0] = (data[sent:], None)
            else:
                self._waiting.popleft()
        return True

    def clear(self) -> None:
        """Throws away what is left."""
        for _, fd in self._waiting:
            if fd is not None:
                os.close(fd)
        self._waiting.clear()


class Inbox:
    """What arrives: bytes and descriptors become messages.

    :param line_bytes_max: how long a message may be.
    :param fds_max: how many descriptors may wait for their messages.
    """

    __slots__ = ("_fds", "_fds_max", "_lines")

    def __init__(self, line_bytes_max: int | None = None, fds_max: float = float("inf")) -> None:
        self._lines = LineBuffer(line_bytes_max)
        self._fds: deque[int] = deque()
        self._fds_max = fds_max

    def receive(self, sock: socket.socket) -> list[Message] | None:
        """The messages that are complete with what one read brings; None at the end.

        :raises OSError: nothing has arrived (BlockingIOError), or the other end has gone.
        :raises ValueError: what has arrived is no message.
        """
        data, fds, _, _ = socket.recv_fds(sock, READ_BYTES, FDS_A_READ_MAX)
        for fd in fds:
            os.set_inheritable(fd, False)
        self._fds.extend(fds)
        if len(self._fds) > self._fds_max:
            raise ValueError(f"more than {self._fds_max} descriptors without a message")
        if not data:
            return None
        messages = self._lines.feed(data)
        for message in messages:
            if message.get("fd") is True:
                # None when this process has no room for it: the kernel has closed it then.
                message["fd"] = self._fds.popleft() if self._fds else None
        return messages

    def close(self) -> None:
        """Closes descriptors whose messages have not come."""
        while self._fds:
            os.close(self._fds.popleft())


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

    __slots__ = ("_inbox", "_outbox", "closed", "socket")

    def __init__(self, sock: socket.socket, inbox: Inbox | None = None) -> None:
        sock.setblocking(False)
        self.socket = sock
        self.closed = False
        self._inbox = Inbox() if inbox is None else inbox
        self._outbox = Outbox()

    def fileno(self) -> int:
        """For selectors."""
        return self.socket.fileno()

    def send(self, message: Message, fd: int | None = None) -> None:
        """Sends ``message`` as soon as the pipe takes it; does nothing when the worker has gone.

        :param fd: goes along, and is closed here.
        """
        self._outbox.put(message, fd)
        self.flush()

    def flush(self) -> bool:
        """Sends what is waiting; whether nothing waits any more."""
        try:
            if not self.closed:
                return self._outbox.send(self.socket)
        except OSError:
            # The worker has gone; its last words may still be there to read, so the socket stays open.
            pass
        self._outbox.clear()
        return True

    def receive(self) -> list[Message] | None:
        """The messages that have arrived, or None when the worker has closed its end."""
        messages: list[Message] = []
        while not self.closed:
            try:
                received = self._inbox.receive(self.socket)
            except (BlockingIOError, InterruptedError):
                return messages
            except OSError:
                received = None
            except ValueError:
                # Something else wrote into the worker's descriptor: nothing it says can be trusted any more.
                self.close()
                break
            if received is None:
                break
            messages += received
        return messages or None

    def close(self) -> None:
        """Closes this end, which tells the worker to stop."""
        if not self.closed:
            self.closed = True
            self._outbox.clear()
            self._inbox.close()
            self.socket.close()


class WorkerChannel:
    """The end in the worker, with a thread that reads and writes.

    :param sock: the socket whose descriptor was passed.
    :param on_message: called on the thread with every message.
    :param on_close: called on the thread, once, when the supervisor has gone.
    :param first: what :func:`receive_first` has read besides the first message.
    :param on_tick: called on the thread about once a second.
    :param other: a descriptor that is readable when the supervisor has gone, for a process whose channel somebody else
        may hold; -1 for none.
    """

    def __init__(
        self,
        sock: socket.socket,
        on_message: Callable[[Message], None],
        on_close: Callable[[], None],
        *,
        first: First | None = None,
        on_tick: Callable[[], None] = lambda: None,
        other: int = -1,
    ) -> None:
        self._sock = sock
        self._other = other
        self._sock.setblocking(False)
        self._on_message = on_message
        self._on_close = on_close
        self._on_tick = on_tick
        self._first = first if first is not None else First({}, [], Inbox())
        self._inbox = self._first.inbox
        self._outbox = Outbox()
        self._pending: deque[tuple[Message, int | None]] = deque()
        self._closing = False
        self._pausing = False
        self._thread = threading.current_thread()
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)

    def start(self) -> None:
        """Starts the thread; it may have been paused."""
        if self._pausing:
            self._thread.join()
            self._pausing = False
        self._thread = threading.Thread(target=self._run, name="devserver-channel", daemon=True)
        self._thread.start()

    def send(self, message: Message, fd: int | None = None) -> None:
        """Hands ``message`` to the thread; never blocks, from any thread. Dropped when the buffer is full.

        :param fd: goes along, and is closed here.
        """
        if len(self._pending) < PENDING_MESSAGES_MAX:
            self._pending.append((message, fd))
            if len(self._pending) == 1:
                # Otherwise the thread has been woken for the one before, and takes all that there are.
                self._wake()
        elif fd is not None:
            os.close(fd)

    def pause(self, timeout_s: float) -> bool:
        """Sends what is waiting and ends the thread, until :meth:`start`; False when ``timeout_s`` was not enough.

        Then the thread ends as soon as it can, and :meth:`start` waits for that.
        """
        self._pausing = True
        self._wake()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def descriptors(self) -> list[int]:
        """The numbers of those that are open."""
        sockets = (self._sock, self._wake_reader, self._wake_writer)
        return [sock.fileno() for sock in sockets if sock.fileno() >= 0]

    def abandon(self) -> None:
        """Closes this end in a process that has none of it: a copy of the one whose end it is."""
        for sock in (self._sock, self._wake_reader, self._wake_writer):
            sock.close()

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
        if self._other >= 0:
            selector.register(self._other, selectors.EVENT_READ)
        first, self._first = self._first, First({}, [], self._inbox)
        for message in first.rest:
            self._on_message(message)
        open_ = True
        while open_:
            if self._outbox or self._pending:
                open_ = self._write()
            if (self._closing or self._pausing) and not self._outbox and not self._pending:
                break
            interest = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._outbox else 0)
            selector.modify(self._sock, interest)
            ready_keys = selector.select(TICK_S)
            if not ready_keys:
                self._on_tick()
            for key, ready in ready_keys:
                if key.fileobj is self._wake_reader:
                    with contextlib.suppress(OSError):
                        self._wake_reader.recv(READ_BYTES)
                elif key.fileobj == self._other:
                    open_ = False
                elif ready & selectors.EVENT_READ:
                    open_ = self._read() and open_
        selector.close()
        if self._pausing and open_:
            return
        if not self._closing:
            self._on_close()
        for sock in (self._sock, self._wake_reader, self._wake_writer):
            sock.close()

    def _write(self) -> bool:
        while self._outbox or self._pending:
            if not self._outbox:
                self._outbox.put(*self._pending.popleft())
            try:
                if not self._outbox.send(self._sock):
                    return True
            except OSError:
                self._outbox.clear()
                return False
        return True

    def _read(self) -> bool:
        try:
            messages = self._inbox.receive(self._sock)
        except (BlockingIOError, InterruptedError):
            return True
        except (OSError, ValueError):
            # Whatever writes what is no message is not our supervisor: as good as gone.
            return False
        for message in messages or ():
            self._on_message(message)
        return messages is not None


class First(NamedTuple):
    """What a worker reads before its channel has a thread: one message after the other."""

    message: Message
    rest: list[Message]
    """What had come after it by then."""
    inbox: Inbox
    """Reads on."""


def receive_first(sock: socket.socket, before: First | None = None) -> First:
    """Reads one message on a blocking socket.

    :param before: what this has returned the last time.
    :raises EOFError: the supervisor went before it had sent one.
    """
    if before is not None and before.rest:
        return First(before.rest[0], before.rest[1:], before.inbox)
    inbox = Inbox() if before is None else before.inbox
    while True:
        messages = inbox.receive(sock)
        if messages is None:
            raise EOFError("the supervisor has gone")
        if messages:
            return First(messages[0], messages[1:], inbox)
