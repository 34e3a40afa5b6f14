"""A load of WebSocket messages: every connection sends one, waits for its echo, and sends it again.

Here the connections are opened, and the first echo of each is looked at; ``echoes.c`` then does the rest on the same
sockets. It is compiled when it is first needed. The frame is made once and its bytes are sent as they are.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import shutil
import socket
import subprocess
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.process import ServerFailedError

TIMEOUT_S = 10.0
_SOURCE = Path(__file__).with_name("echoes.c")
_BUILT = Path(__file__).resolve().parent.parent / ".devserver" / "benchmarks"
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
    """What came of it; times are from a message to its echo."""

    messages: int
    duration_s: float
    p50_us: float
    p99_us: float


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

    :raises ServerFailedError: an echo is wrong or does not come, or there is no C compiler.
    """
    program = _compiled()
    frame = _frame(messages)
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(_connect(port, messages)) for _ in range(connections)]
        for connection in sockets:
            connection.sendall(frame)
            _check_echo(connection, messages)
        kept = stack.enter_context(tempfile.NamedTemporaryFile())
        kept.write(frame)
        kept.flush()
        with _in_a_row(sockets) as descriptors:
            done = subprocess.run(
                [str(program), kept.name, str(seconds), str(descriptors[0]), str(connections)],
                pass_fds=descriptors,
                capture_output=True,
                text=True,
                check=False,
            )
    if done.returncode:
        raise ServerFailedError(done.stderr.strip())
    count, duration_s, p50_us, p99_us = done.stdout.split()
    return Outcome(int(count), float(duration_s), float(p50_us), float(p99_us))


def _compiled() -> Path:
    source = _SOURCE.read_bytes()
    program = _BUILT / f"echoes-{hashlib.sha256(source).hexdigest()[:12]}"
    if program.exists():
        return program
    compiler = shutil.which("cc")
    if compiler is None:
        raise ServerFailedError("the load is compiled by cc, which is not installed")
    _BUILT.mkdir(parents=True, exist_ok=True)
    part = program.with_suffix(f".{os.getpid()}")
    subprocess.run([compiler, "-O2", "-o", part, _SOURCE], check=True)
    part.rename(program)
    return program


def _connect(port: int, messages: Messages) -> socket.socket:
    """A WebSocket."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(handshake(port, compressed=messages.compressed))
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        received = connection.recv(65536)
        if not received:
            raise ServerFailedError("the handshake was not answered")
        head += received
    if not head.startswith(b"HTTP/1.1 101"):
        raise ServerFailedError(f"the handshake was answered with {head[:40]!r}")
    if messages.compressed and b"permessage-deflate" not in head.lower():
        raise ServerFailedError("it does not compress")
    return connection


def _check_echo(connection: socket.socket, messages: Messages) -> None:
    first, length = _receive(connection, 2)
    if length > 125:
        length = int.from_bytes(_receive(connection, 2 if length == 126 else 8))
    payload = _receive(connection, length)
    if messages.compressed and first & _RSV1:
        payload = zlib.decompressobj(wbits=-15).decompress(payload + b"\x00\x00\xff\xff")
    if payload != messages.payload:
        raise ServerFailedError(f"the echo is wrong: {payload[:60]!r}")


def _receive(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        received = connection.recv(size - len(data))
        if not received:
            raise ServerFailedError("the connection was closed")
        data += received
    return data


@contextlib.contextmanager
def _in_a_row(sockets: Sequence[socket.socket]) -> Iterator[range]:
    """Copies of the descriptors that follow each other."""
    # Above whatever is open.
    first = 1 + max(int(name) for name in os.listdir("/proc/self/fd"))
    descriptors = range(first, first + len(sockets))
    try:
        for connection, fd in zip(sockets, descriptors, strict=True):
            connection.setblocking(True)
            os.dup2(connection.fileno(), fd)
        yield descriptors
    finally:
        os.closerange(first, first + len(sockets))


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
