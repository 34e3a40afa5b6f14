"""Servers for tests: one in a thread of this process, or a program in a process of its own.

with serving(app, limit_max_requests=1) as running:
    assert running.get("/").status == 200

with program(folder, "import devserver; devserver.run('main:app', port=0)") as child:
    child.get("/")
    child.process.send_signal(signal.SIGTERM)
"""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from devserver.config import Config
from devserver.events import (
    AppRaised,
    Emitter,
    LifespanChanged,
    Notice,
    ServerReady,
    ServerStarting,
    ServerStopped,
    ServerStopping,
)
from devserver.server.server import Server

if TYPE_CHECKING:
    from devserver.app.types import Receive, Scope, Send

CHECKOUT = Path(__file__).parents[2]
PATIENCE_S = 30.0
"""How long a test waits for what takes a fraction of a second; only a defect waits as long."""

EVENTS = (
    AppRaised,
    LifespanChanged,
    Notice,
    ServerReady,
    ServerStarting,
    ServerStopped,
    ServerStopping,
)
E = TypeVar("E")

HELLO = """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        print("app is down", flush=True)
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})
"""
"""The source of an app with a lifespan."""


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    """An app without lifespan."""
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


def until(condition: Callable[[], object]) -> None:
    """Returns as soon as ``condition`` holds.

    :raises AssertionError: it does not in time.
    """
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.002)


@dataclass
class Answer:
    """What a request got."""

    status: int
    body: bytes


def get(port: int, path: str = "/", host: str = "127.0.0.1") -> Answer:
    """One GET on a connection of its own."""
    connection = http.client.HTTPConnection(host, port, timeout=PATIENCE_S)
    with contextlib.closing(connection):
        connection.request("GET", path)
        response = connection.getresponse()
        return Answer(response.status, response.read())


def read_all(sock: socket.socket) -> bytes:
    """Everything up to the peer's end; what a reset cuts off is left out."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while chunk := sock.recv(65536):
            data += chunk
    return data


@dataclass
class Running:
    """A server that runs in a thread."""

    server: Server
    events: list[Any]
    thread: threading.Thread | None = None
    raised: list[BaseException] = field(default_factory=list)

    @property
    def port(self) -> int:
        port: int = self.server.servers[0].sockets[0].getsockname()[1]
        return port

    def get(self, path: str = "/") -> Answer:
        """One GET on a connection of its own."""
        return get(self.port, path)

    def connect(self) -> socket.socket:
        """A new connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S)

    def of(self, kind: type[E]) -> list[E]:
        """The events of one type so far."""
        return [event for event in self.events if isinstance(event, kind)]

    def join(self) -> None:
        """Returns when it has ended.

        :raises AssertionError: it does not in time.
        """
        assert self.thread is not None
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive()


def recording() -> tuple[Emitter, list[Any]]:
    """An emitter, and the list to which it adds what it was given."""
    emitter, events = Emitter(), list[Any]()
    emitter.listen(events.append, EVENTS)
    return emitter, events


@contextlib.contextmanager
def serving(app: Any = hello, *, ready: bool = True, kind: type[Server] = Server, **options: Any) -> Iterator[Running]:
    """A server on a free port in a thread; it is stopped, and must end, afterwards.

    :param ready: wait until it serves.
    :param options: for Config; ``listeners`` and ``sockets`` go where they belong.
    """
    emitter, events = recording()
    if not {"bind", "uds", "fd"} & options.keys():
        options.setdefault("port", 0)
    sockets = options.pop("sockets", None)
    own = {name: options.pop(name) for name in ("listeners", "target") if name in options}
    running = Running(kind(Config(app, **options), emitter=emitter, **own), events)

    def run() -> None:
        try:
            running.server.run(sockets)
        except BaseException as exc:
            running.raised.append(exc)

    running.thread = threading.Thread(target=run, daemon=True)
    running.thread.start()
    try:
        if ready:
            until(lambda: running.server.started or running.raised)
            if running.raised:
                raise running.raised[0]
        yield running
    finally:
        running.server.should_exit = True
        running.join()


@dataclass
class Program:
    """A process that serves, and what it has written to stdout and stderr so far."""

    process: subprocess.Popen[bytes]
    written: bytearray = field(default_factory=bytearray)
    closed: threading.Event = field(default_factory=threading.Event)
    """Set when it has closed its output, and with it every process that it has started."""

    @property
    def text(self) -> str:
        return self.written.decode(errors="replace")

    @property
    def port(self) -> int:
        """The port that it says it serves on."""
        self.wait_text(r"http://[^ ]*:(\d+)")
        return int(re.findall(r"http://[^ ]*:(\d+)", self.text)[-1])

    def get(self, path: str = "/") -> Answer:
        """One GET."""
        return get(self.port, path)

    def wait_text(self, pattern: str) -> None:
        """Returns when its output matches ``pattern``."""
        deadline = time.monotonic() + PATIENCE_S
        while not re.search(pattern, self.text):
            assert time.monotonic() < deadline, f"{pattern} is not in:\n{self.text}"
            if self.process.poll() is not None and not re.search(pattern, self.text):
                # What is in the pipe is read by the thread; give it the time.
                time.sleep(0.1)
                assert re.search(pattern, self.text), f"ended with {self.process.returncode}:\n{self.text}"
            time.sleep(0.002)

    def wait(self) -> int:
        """Its exit code."""
        return self.process.wait(PATIENCE_S)

    def whole_text(self) -> str:
        """All that it has written; waits for its end."""
        assert self.closed.wait(PATIENCE_S), f"it has not ended:\n{self.text}"
        return self.text

    def read(self) -> None:
        """Reads its output to the end; a thread does."""
        assert self.process.stdout is not None
        while data := os.read(self.process.stdout.fileno(), 65536):
            self.written += data
        self.closed.set()


@contextlib.contextmanager
def program(folder: Path, source: str, *arguments: str, **popen: Any) -> Iterator[Program]:
    """Runs ``source`` as ``program.py`` in ``folder``; killed afterwards if it has not ended by itself."""
    path = folder / "program.py"
    path.write_text(source)
    with spawned([sys.executable, str(path), *arguments], folder, **popen) as child:
        yield child


@contextlib.contextmanager
def command(folder: Path, *arguments: str, **popen: Any) -> Iterator[Program]:
    """Runs ``dev`` with ``arguments`` in ``folder``."""
    with spawned([sys.executable, "-m", "devserver", *arguments], folder, **popen) as child:
        yield child


@contextlib.contextmanager
def spawned(arguments: Sequence[str], folder: Path, **popen: Any) -> Iterator[Program]:
    """Runs any command in ``folder``."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DEVSERVER_")}
    environment |= {"PYTHONPATH": str(CHECKOUT), "PYTHONUNBUFFERED": "1", "NO_COLOR": "1", **popen.pop("env", {})}
    process = subprocess.Popen(
        arguments, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **popen
    )
    child = Program(process)
    reader = threading.Thread(target=child.read, daemon=True)
    reader.start()
    try:
        yield child
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        reader.join(PATIENCE_S)
        assert process.stdout is not None
        process.stdout.close()
