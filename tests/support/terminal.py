"""``dev run`` on a terminal of its own, with somebody who types.

with on_terminal(project) as terminal:
    terminal.wait("ready in")
    terminal.type("c\n")
"""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import os
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from tests.support.ports import free_port
from tests.support.reload import CHECKOUT, PATIENCE_S, Answer, Project, until

CANONICAL = termios.ICANON | termios.ECHO | termios.ISIG


@dataclass
class OnTerminal:
    """A running command, and what its terminal has shown.

    :ivar ours: the terminal's other side, where keys come from.
    :ivar theirs: the side that the command has.
    """

    process: subprocess.Popen[bytes]
    port: int
    ours: int
    theirs: int
    shown: bytearray = field(default_factory=bytearray)
    requests: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(4))

    def read(self) -> None:
        """Reads what is shown, until the terminal is closed; a thread does."""
        with contextlib.suppress(OSError):
            while data := os.read(self.ours, 65_536):
                self.shown += data

    @property
    def text(self) -> str:
        """What was shown, without colours and without what was erased again."""
        # Only lines that are whole have an end, so that what is erased began behind one.
        text = re.sub(r"(?<=\n)[^\n]*\r\x1b\[2K", "", self.shown.decode(errors="replace"))
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text).replace("\r", "")

    def wait(self, text: str, count: int = 1) -> None:
        """Returns when ``text`` has been shown so often."""
        try:
            until(lambda: self.text.count(text) >= count)
        except AssertionError:
            raise AssertionError(f"{text!r} was not shown {count} times; but:\n{self.text[-3000:]}") from None

    def type(self, keys: str) -> None:
        """Types."""
        os.write(self.ours, keys.encode())

    def get(self, path: str = "/") -> Future[Answer]:
        """Sends a request, whose answer may take until somebody types."""
        return self.requests.submit(self._get, path)

    def answer(self, path: str = "/") -> str:
        """The body of the answer to a request."""
        return self.get(path).result(PATIENCE_S).body

    def _get(self, path: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        with contextlib.closing(connection):
            connection.request("GET", path)
            response = connection.getresponse()
            return Answer(response.status, response.read().decode())

    @property
    def settings(self) -> int:
        """The terminal's local modes, as far as they matter to who types."""
        modes: int = termios.tcgetattr(self.theirs)[3]
        return modes & CANONICAL

    @property
    def lent(self) -> bool:
        """Whether the keys go to a worker, as they are."""
        modes: int = termios.tcgetattr(self.theirs)[0]
        return not modes & termios.ICRNL

    def resize(self, rows: int, columns: int) -> None:
        """Gives the terminal another size."""
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


@contextlib.contextmanager
def on_terminal(project: Project, *options: str, command: Sequence[str] | None = None) -> Iterator[OnTerminal]:
    """``dev run main:app`` of ``project`` on a terminal, ended afterwards.

    :param command: what to run instead; the port is added to its arguments.
    """
    port = free_port()
    ours, theirs = os.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    given = command or [
        *(sys.executable, "-m", "devserver", "run", "main:app", "--reload-mode", project.mode, *options),
        "--port",
    ]
    environment: dict[str, Any] = {**os.environ, "PYTHONPATH": str(CHECKOUT), "TERM": "xterm-256color"}
    for name in ("CI", "NO_COLOR", "PYTHONDONTWRITEBYTECODE"):
        environment.pop(name, None)
    process = subprocess.Popen(
        # Makes it the terminal's foreground, as a shell would.
        ["setsid", "--ctty", *given, str(port)],
        cwd=project.root,
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    terminal = OnTerminal(process, port, ours, theirs)
    reader = threading.Thread(target=terminal.read, daemon=True)
    reader.start()
    try:
        yield terminal
    finally:
        for number in (signal.SIGCONT, signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
            if process.poll() is None:
                process.send_signal(number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.01 if number == signal.SIGCONT else 5)
        process.wait()
        terminal.requests.shutdown(wait=True, cancel_futures=True)
        os.close(theirs)
        reader.join(PATIENCE_S)
        os.close(ours)
