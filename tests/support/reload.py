"""A project in a folder, served by a real reload supervisor in a process of its own.

with serve(project) as session:
    session.get("/")                        # → Answer(status, body)
    project.write("main.py", answering("2"))
    session.wait("Reloaded")
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.ports import free_port

CHECKOUT = Path(__file__).parents[2]
PATIENCE_S = 30.0
"""How long a test waits for what takes a fraction of a second; only a defect waits as long."""

APP = """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({{"type": "lifespan.startup.complete"}})
        await receive()
        await send({{"type": "lifespan.shutdown.complete"}})
        return
    await send({{"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]}})
    await send({{"type": "http.response.body", "body": str({expression}).encode()}})
"""


def answering(expression: str, *, before: str = "") -> str:
    """The source of an app that answers with the value of ``expression``."""
    return before + "\n" + APP.format(expression=expression)


def until(condition: Callable[[], object], *, timeout_s: float = PATIENCE_S) -> None:
    """Returns as soon as ``condition`` holds.

    :raises AssertionError: it does not within ``timeout_s``.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def alive(pid: int) -> bool:
    """Whether there is a process ``pid`` that is not a zombie."""
    try:
        return state(pid) not in {"Z", "X"}
    except (FileNotFoundError, ProcessLookupError):
        return False


def state(pid: int) -> str:
    """The state of a process, one letter as in proc(5)."""
    return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]


@dataclass
class Project:
    """A folder with source files.

    :ivar mode: how its app is reloaded.
    """

    root: Path
    mode: str = "cold"

    def write(self, name: str, text: str) -> Path:
        """Writes a file as most editors do: truncate, write."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def replace(self, name: str, text: str) -> None:
        """Writes a file as careful editors do: a new file, moved over the old one."""
        temporary = self.root / f".{name}.new"
        temporary.write_text(text)
        temporary.replace(self.root / name)


@dataclass
class Answer:
    """What an HTTP request got."""

    status: int
    body: str


@dataclass
class Session:
    """A running supervisor."""

    process: subprocess.Popen[str]
    address: tuple[str, int]
    mode: str
    events: list[dict[str, Any]] = field(default_factory=list)

    def read_events(self) -> None:
        """Reads the events until the supervisor ends; a thread does."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.events.append(json.loads(line))

    def get(self, path: str = "/") -> Answer:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection(*self.address, timeout=PATIENCE_S)
        with contextlib.closing(connection):
            connection.request("GET", path)
            response = connection.getresponse()
            return Answer(response.status, response.read().decode())

    def named(self, name: str) -> list[dict[str, Any]]:
        """The events of one type so far."""
        return [event for event in self.events if event["event"] == name]

    def wait(self, name: str, count: int = 1) -> dict[str, Any]:
        """The ``count``-th event of a type, as soon as it is there."""
        deadline = time.monotonic() + PATIENCE_S
        while len(self.named(name)) < count:
            if time.monotonic() > deadline or (self.process.poll() is not None and not self.named("End")):
                shown = "\n".join(json.dumps(event)[:300] for event in self.events)
                raise AssertionError(f"no {name} number {count}; there were:\n{shown}")
            time.sleep(0.005)
        return self.named(name)[count - 1]

    def wait_body(self, body: str) -> None:
        """Returns when the app answers with ``body``."""
        until(lambda: self.get().body == body)

    def wait_watching(self) -> None:
        """Returns when the app serves, and saves will be forked if they ever are."""
        self.wait("ServerReady")
        if self.mode == "fork":
            self.wait_notice("Saves fork a process")

    def wait_notice(self, text: str) -> None:
        """Returns when a notice that begins with ``text`` is there."""
        until(lambda: any(event["text"].startswith(text) for event in self.named("Notice")))

    @property
    def worker(self) -> int:
        """Pid of the newest worker that has served."""
        pid: int = self.named("ServerReady")[-1]["pid"]
        return pid

    def order(self, command: str) -> None:
        """Gives a command."""
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def signal(self, number: int) -> None:
        """Sends a signal to the supervisor."""
        self.process.send_signal(number)

    def stop(self) -> int:
        """Asks it to end; the exit code."""
        if self.process.poll() is None:
            self.signal(signal.SIGINT)
        return self.process.wait(PATIENCE_S)


@contextlib.contextmanager
def serve(
    project: Project, app: str | None = "main:app", *, ready: bool = True, python: str = sys.executable, **options: Any
) -> Iterator[Session]:
    """A supervisor that serves ``app`` of ``project``, ended afterwards with everything it started.

    :param ready: wait until the app serves.
    :param python: the interpreter.
    :param options: for ``Config``; ``environment`` is added to the process's environment.
    """
    port = free_port()
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), **options.pop("environment", {})}
    # It would hide what a stale __pycache__ does.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    settings = {
        "app": app,
        "reload": True,
        "reload_mode": project.mode,
        "reload_delay": 0.005,
        "timeout_graceful_shutdown": 2,
        "timeout_shutdown": 2,
        "port": port,
        **options,
    }
    process = subprocess.Popen(
        [python, "-c", "from tests.support.reload_driver import main; main()", json.dumps(settings)],
        cwd=project.root,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    session = Session(process, ("127.0.0.1", port), project.mode)
    reader = threading.Thread(target=session.read_events, daemon=True)
    reader.start()
    try:
        if ready:
            session.wait_watching()
        yield session
    finally:
        for _ in range(2):
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(5)
        if process.poll() is None:
            process.kill()
            process.wait()
        reader.join(PATIENCE_S)
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
