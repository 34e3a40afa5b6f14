"""``dev prod`` in a process of its own, its log, and clients that keep it busy.

with prod(folder, "-w", "2") as running:
    running.get("/")
    with load(running) as clients:
        running.send(signal.SIGHUP)
    assert clients.failed == []
"""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.ports import free_port
from tests.support.reload import CHECKOUT, PATIENCE_S, Answer, alive, until


@dataclass
class Running:
    """A master and its workers.

    :ivar log: where it writes.
    """

    process: subprocess.Popen[bytes]
    port: int
    log: Path
    folder: Path

    @property
    def text(self) -> str:
        """What it has written so far."""
        return self.log.read_text(errors="replace")

    def wait(self, text: str, count: int = 1) -> None:
        """Returns when ``text``, a regular expression, has been written so often."""
        try:
            until(lambda: len(re.findall(text, self.text)) >= count)
        except AssertionError:
            raise AssertionError(f"{text!r} was not written {count} times; but:\n{self.text[-4000:]}") from None

    @property
    def workers(self) -> list[int]:
        """The pids of the worker processes there are."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in path.read_text().split()]

    def workers_left(self) -> list[int]:
        """Processes that live and have its folder as their working directory, which is the test's own."""
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and (entry / "cwd").readlink() == self.folder and alive(int(entry.name)):
                    found.append(int(entry.name))
        return found

    def get(self, path: str = "/") -> Answer:
        """One request on a connection of its own."""
        connection = self.connect()
        with contextlib.closing(connection):
            connection.request("GET", path)
            response = connection.getresponse()
            return Answer(response.status, response.read().decode())

    def connect(self) -> http.client.HTTPConnection:
        """A connection, for several requests; the caller closes it."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)

    def send(self, number: int) -> None:
        """Sends a signal to the master."""
        self.process.send_signal(number)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Asks it to end; the exit code."""
        self.send(number)
        return self.process.wait(PATIENCE_S)


@contextlib.contextmanager
def prod(
    folder: Path,
    *options: str,
    ready: bool = True,
    environment: Mapping[str, str | None] | None = None,
    command: str = "prod",
    target: str = "main:app",
    pass_fds: tuple[int, ...] = (),
    before: Callable[[], None] | None = None,
) -> Iterator[Running]:
    """``dev prod main:app`` in ``folder``, ended afterwards with all of its processes.

    :param ready: wait until all workers serve.
    :param environment: added to ours; None takes a variable away.
    :param command: another command of ``dev``.
    :param target: what is served.
    :param pass_fds: descriptors that it inherits.
    :param before: called in its process before it runs.
    """
    variables = {**os.environ, "PYTHONPATH": str(CHECKOUT), **(environment or {})}
    port = free_port()
    log = folder.parent / f"log-{port}"
    with log.open("wb") as file:
        where = () if "--fd" in options else ("--port", str(port))
        process = subprocess.Popen(
            [sys.executable, "-m", "devserver", command, target, *where, *options],
            cwd=folder,
            env={name: value for name, value in variables.items() if value is not None},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
            pass_fds=pass_fds,
            preexec_fn=before,
        )
    running = Running(process, port, log, folder)
    try:
        if ready:
            until(lambda: "running on" in running.text or process.poll() is not None)
            assert process.poll() is None, running.text
        yield running
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
        # Workers lead sessions of their own.
        for pid in [process.pid, *running.workers_left()]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


@dataclass
class Clients:
    """What clients have met.

    :ivar answers: bodies → how often.
    :ivar failed: what went wrong.
    """

    answers: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)

    @property
    def count(self) -> int:
        """Answers so far."""
        return sum(self.answers.values())

    def more(self, count: int = 50) -> None:
        """Returns when there are so many answers more."""
        wanted = self.count + count
        until(lambda: self.count >= wanted)


@contextlib.contextmanager
def load(running: Running, *, count: int = 4, path: str = "/", keep_alive: bool = True) -> Iterator[Clients]:
    """So many clients that ask one thing after another, without a second try, until the block is left.

    With ``keep_alive`` half of them use a connection until its server asks them not to, the others one for each
    request.
    """
    clients = Clients()

    def run(index: int) -> None:
        connection: http.client.HTTPConnection | None = None
        while not clients.done.is_set():
            try:
                if connection is None:
                    connection = running.connect()
                connection.request("GET", path)
                response = connection.getresponse()
                body = response.read().decode()
                clients.answers[body if response.status == 200 else f"status {response.status}"] += 1
                if response.will_close or index % 2 or not keep_alive:
                    connection.close()
                    connection = None
            except OSError as exc:
                clients.failed.append(f"{type(exc).__name__}: {exc}")
                connection = None
            except http.client.HTTPException as exc:
                clients.failed.append(f"{type(exc).__name__}: {exc}")
                connection = None
        if connection is not None:
            connection.close()

    threads = [threading.Thread(target=run, args=(index,), daemon=True) for index in range(count)]
    for thread in threads:
        thread.start()
    try:
        clients.more()
        yield clients
    finally:
        clients.done.set()
        for thread in threads:
            thread.join(PATIENCE_S)


def connect_times(running: Running, count: int, *, timeout_s: float) -> list[float]:
    """How long each of so many clients waits for its answer on a connection of its own; they all come at once."""
    taken: list[float] = []

    def ask() -> None:
        began = time.monotonic()
        try:
            with socket.create_connection(("127.0.0.1", running.port), timeout=timeout_s) as sock:
                sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                if not sock.recv(100):
                    raise OSError("closed")
            taken.append(time.monotonic() - began)
        except OSError:
            taken.append(float("inf"))

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return taken
