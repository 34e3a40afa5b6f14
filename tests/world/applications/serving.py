"""One application under one server, as a process in a session of its own that ends with everything it has started.

with serving(site, MODES["dev prod"]) as running:
    fetch(running.url)
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

START_TIMEOUT_S = 120.0
"""Timeout of a start, because the largest applications import for 20 s on a busy machine and make a database then."""
STOP_TIMEOUT_S = 15.0
"""Timeout of a stop, because `dev prod` gives running requests time; whoever is left is killed."""
LOG_BYTES_MAX = 1024 * 1024
"""Max size of the log that is read, because an application that writes in a loop must not fill the memory."""

MARK = "WORLD_RUN"
"""Environment variable that every process of a run inherits, so that those in sessions of their own are found too."""

# uvicorn waits without end for a client that polls.
_STOP = ("--timeout-graceful-shutdown", "2")
MODES: Mapping[str, tuple[str, ...]] = {
    "uvicorn": ("uvicorn", *_STOP),
    "dev prod": ("devserver", "prod", "--workers", "1", *_STOP),
    "dev run": ("devserver", "run", *_STOP),
}
"""Commands, as modules with arguments, that serve an application; the first is the measure."""


class StartError(Exception):
    """A server that does not serve; the message ends with its log."""


@dataclass(frozen=True)
class Program:
    """Whatever is needed to start an application.

    :param python: the interpreter of its environment.
    :param files: name in the working folder, to file; one of them is ``main.py``.
    :param target: import string of the ASGI application.
    :param factory: true when the target is a function that makes the application.
    """

    python: Path
    files: Mapping[str, Path]
    target: str = "main:app"
    factory: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Running:
    """A server that answers.

    :ivar url: its root, without a slash at the end.
    :ivar left: processes that were still there after the server itself had ended; known after the block.
    """

    url: str
    port: int
    folder: Path
    python: Path
    environment: Mapping[str, str]
    log_file: Path
    left: int = 0

    @property
    def log(self) -> str:
        """The end of everything that the server has written so far."""
        with self.log_file.open("rb") as file:
            file.seek(max(0, self.log_file.stat().st_size - LOG_BYTES_MAX))
            return file.read().decode(errors="replace")


def free_port() -> int:
    """Return a port that nothing listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def serving(program: Program, command: tuple[str, ...], folder: Path, port: int) -> Iterator[Running]:
    """Start ``program`` and yield it when it answers; end it with all its children afterwards.

    :param command: one of :data:`MODES`.
    :param folder: where it works and has its home; emptied first, so that each start finds the same.
    :raises StartError: it ended, or does not answer in time.
    """
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "home").mkdir(parents=True)
    work = folder / "work"
    work.mkdir()
    for name, source in program.files.items():
        shutil.copy(source, work / name)
    environment = _environment(program, folder / "home")
    module, *arguments = command
    options = ["--factory"] if program.factory else []
    line = [str(program.python), "-m", module, *arguments, program.target, "--host", "127.0.0.1", "--port", str(port)]
    log_file = folder / "log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [*line, *options],
            cwd=work,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    running = Running(f"http://127.0.0.1:{port}", port, work, program.python, environment, log_file)
    try:
        _wait_until_answering(process, running)
        yield running
    finally:
        running.left = _end(process, environment[MARK])


def run_client(running: Running, source: Path, *arguments: str, timeout_s: float = 60.0) -> str:
    """Run a client program in the application's environment, and return what it printed.

    :raises AssertionError: it failed or took too long; the message has its output.
    """
    command = [str(running.python), str(source), running.url, *arguments]
    # In a folder of its own: the server watches the one that it works in.
    folder = running.folder.parent / "client"
    folder.mkdir(exist_ok=True)
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=dict(running.environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, errors = process.communicate()
        raise AssertionError(f"{source.name} has not ended within {timeout_s:.0f} s\n{output}{errors}") from None
    assert process.returncode == 0, f"{source.name} ended with {process.returncode}\n{output}{errors}"
    return output


def traceback_count(log: str) -> int:
    """Return how many tracebacks a server's log shows."""
    return len(re.findall(r"Traceback \(most recent call last\)", log))


def _environment(program: Program, home: Path) -> dict[str, str]:
    # Nothing that the machine sets for Python, for its own servers or for a proxy reaches the application.
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "LANG", "LC_ALL", "TZ", "TMPDIR"}}
    return {
        **kept,
        "HOME": str(home),
        "PATH": f"{program.python.parent}:{kept.get('PATH', os.defpath)}",
        "PYTHONUNBUFFERED": "1",
        # Some applications send what they hold in sets: in the same order each time.
        "PYTHONHASHSEED": "0",
        "NO_COLOR": "1",
        # Applications that would report to their makers say so, and do not.
        "DO_NOT_TRACK": "1",
        **program.environment,
        MARK: uuid.uuid4().hex,
    }


def _wait_until_answering(process: subprocess.Popen[bytes], running: Running) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        if process.poll() is not None:
            raise StartError(f"ended with {process.returncode}\n{running.log[-3000:]}")
        with contextlib.suppress(OSError):
            # `dev run` listens before it has imported the application: only an answer says that it serves.
            with socket.create_connection(("127.0.0.1", running.port), timeout=deadline - time.monotonic()) as probe:
                probe.sendall(b"GET /favicon.ico HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
                if probe.recv(1):
                    return
        if time.monotonic() > deadline:
            raise StartError(f"does not answer within {START_TIMEOUT_S:.0f} s\n{running.log[-3000:]}")
        time.sleep(0.05)


def _end(process: subprocess.Popen[bytes], mark: str) -> int:
    """End a server and return how many of its processes it has left behind."""
    if process.poll() is None:
        process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_TIMEOUT_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    # Those that it started in other sessions, and that were started by those while we look.
    left: set[int] = set()
    while found := _marked(mark):
        left |= found
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    return len(left)


def _marked(mark: str) -> set[int]:
    """Return the processes that run with :data:`MARK` set to ``mark``; none where there is no /proc."""
    wanted = f"{MARK}={mark}".encode()
    found = set()
    for path in Path("/proc").glob("[0-9]*/environ"):
        # Gone in between, another user's, or a zombie, whose environment is empty.
        with contextlib.suppress(OSError):
            if wanted in path.read_bytes().split(b"\0"):
                found.add(int(path.parent.name))
    return found
