"""A load of WebSocket messages: every connection sends one, waits for its echo, and sends it again.

The frame is made once and its bytes are sent as they are, so that the load costs two system calls a message and leaves
the core that it runs on mostly idle: what is measured is the server.
"""

from __future__ import annotations

import base64
import os
import select
import socket
import time
import zlib
from dataclasses import dataclass

from benchmarks.process import ServerFailedError

TIMEOUT_S = 10.0
_READ_BYTES = 1 << 20
_TEXT = 0x81
_RSV1 = 0x40


@dataclass(frozen=True, slots=True)
class Messages:
    """What is sent."""

    size: int
    compressed: bool = False

    @property
    def payload(self) -> bytes:
        """Text, some of which repeats."""
        words = b'{"id": 17, "name": "a name", "at": "2026-11-22T10:00:00Z", "tags": ["a", "b", "c"]}, '
        return (words * (self.size // len(words) + 1))[: self.size]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it."""

    messages: int
    duration_s: float
    taken_s: list[float]
    """From a message to its echo, in order of size."""


def handshake(port: int, *, compressed: bool) -> bytes:
    """The opening request."""
    key = base64.b64encode(os.urandom(16)).decode()
    extension = "Sec-WebSocket-Extensions: permessage-deflate\r\n" if compressed else ""
    return (
        f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n{extension}\r\n"
    ).encode()


def run_messages(port: int, messages: Messages, *, connections: int, seconds: float) -> Outcome:
    """Echoes for ``seconds``.

    :raises ServerFailedError: an echo is wrong or does not come.
    """
    frame = _frame(messages)
    clients = [_Client(port, messages, frame) for _ in range(connections)]
    poll = select.epoll()
    by_fd = {client.socket.fileno(): client for client in clients}
    taken: list[float] = []
    try:
        for fd, client in by_fd.items():
            poll.register(fd, select.EPOLLIN)
            client.send()
        begun = time.perf_counter()
        end = begun + seconds
        while time.perf_counter() < end:
            ready = poll.poll(TIMEOUT_S)
            if not ready:
                raise ServerFailedError("no echo within ten seconds")
            for fd, _ in ready:
                client = by_fd[fd]
                if client.receive():
                    taken.append(time.perf_counter() - client.sent_at)
                    client.send()
        duration_s = time.perf_counter() - begun
    finally:
        poll.close()
        for client in clients:
            client.socket.close()
    return Outcome(len(taken), duration_s, sorted(taken))


class _Client:
    def __init__(self, port: int, messages: Messages, frame: bytes) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(handshake(port, compressed=messages.compressed))
        head = b""
        while b"\r\n\r\n" not in head:
            received = self.socket.recv(65536)
            if not received:
                raise ServerFailedError("the handshake was not answered")
            head += received
        if not head.startswith(b"HTTP/1.1 101"):
            raise ServerFailedError(f"the handshake was answered with {head[:40]!r}")
        if messages.compressed and b"permessage-deflate" not in head.lower():
            raise ServerFailedError("it does not compress")
        self._frame = frame
        self._payload = messages.payload
        self._inflate = zlib.decompressobj(wbits=-15) if messages.compressed else None
        self._checked = False
        self._missing = 0
        """Bytes of the echo that have not come; 0 when its head has not been read."""
        self._part = b""
        self.sent_at = 0.0

    def send(self) -> None:
        """One message."""
        self.sent_at = time.perf_counter()
        self.socket.sendall(self._frame)

    def receive(self) -> bool:
        """Reads what has come; whether the echo is complete."""
        received = self.socket.recv(_READ_BYTES)
        if not received:
            raise ServerFailedError("the connection was closed")
        if not self._missing:
            received = self._part + received
            begin, size = _read_head(received)
            self._missing = begin + size
            if not self._checked:
                self._part = received
                if len(received) < self._missing:
                    self._missing = 0
                    return False
                self._check(received[0], received[begin:])
                self._part = b""
        self._missing -= len(received)
        if self._missing < 0:
            raise ServerFailedError("more came than the echo")
        return not self._missing

    def _check(self, first: int, payload: bytes) -> None:
        """The first echo of each connection is looked at."""
        self._checked = True
        if self._inflate is not None and first & _RSV1:
            payload = self._inflate.decompress(payload + b"\x00\x00\xff\xff")
        if payload != self._payload:
            raise ServerFailedError(f"the echo is wrong: {payload[:60]!r}")


def _read_head(data: bytes) -> tuple[int, int]:
    """Where the payload begins, and its size (RFC 6455 §5.2); a server's frame is not masked."""
    size = data[1]
    if size == 126:
        return 4, int.from_bytes(data[2:4])
    if size == 127:
        return 10, int.from_bytes(data[2:10])
    return 2, size


def _frame(messages: Messages) -> bytes:
    """A masked frame. Its compressed payload refers to nothing before it, so that it can be sent again."""
    first, payload = _TEXT, messages.payload
    if messages.compressed:
        compressor = zlib.compressobj(wbits=-12, memLevel=5)
        payload = (compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]
        first |= _RSV1
    size = len(payload)
    if size < 126:
        head = bytes((first, 0x80 | size))
    elif size < 65536:
        head = bytes((first, 0x80 | 126)) + size.to_bytes(2)
    else:
        head = bytes((first, 0x80 | 127)) + size.to_bytes(8)
    mask = b"\x37\xfa\x21\x3d"
    return head + mask + bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
