#!/usr/bin/env python
"""Writes docs/terminal.svg: what `dev run` shows of the bookstore example while somebody works on it.

It runs the real command on a pseudoterminal, sends requests, saves a file, and draws what the terminal has shown then.
"""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import io
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "terminal.svg"
COLUMNS, ROWS = 118, 60
PORT = 8000
PATIENCE_S = 20.0
ERASE, UP = "\r\x1b[2K", "\x1b[1A\x1b[2K"


class Screen:
    """A terminal that is read.

    :param fd: its other side.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._shown = b""
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while data := os.read(self._fd, 65_536):
                self._shown += data

    @property
    def lines(self) -> list[str]:
        """What stands there now, colours included."""
        lines = [""]
        for part in re.split(rf"({re.escape(ERASE)}|{re.escape(UP)}|\r?\n)", self._shown.decode()):
            if part == ERASE:
                lines[-1] = ""
            elif part == UP:
                lines[-2:] = [""]
            elif part in {"\n", "\r\n"}:
                lines.append("")
            else:
                lines[-1] += part
        return lines

    def wait(self, text: str) -> None:
        """Returns when ``text`` is there."""
        deadline = time.monotonic() + PATIENCE_S
        while text not in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", "\n".join(self.lines)):
            if time.monotonic() > deadline:
                raise SystemExit(f"{text!r} was not shown, but:\n" + "\n".join(self.lines))
            time.sleep(0.02)


def main() -> None:
    """Makes the picture."""
    with tempfile.TemporaryDirectory() as folder:
        project = Path(shutil.copytree(ROOT / "examples" / "bookstore", Path(folder, "bookstore")))
        project.joinpath(".env").write_text("BOOKSTORE_DATABASE=:memory:\n")
        ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "PYTHONPATH": str(ROOT)}
        for name in ("CI", "NO_COLOR"):
            environment.pop(name, None)
        process = subprocess.Popen(
            ["setsid", "--ctty", sys.executable, "-m", "devserver", "run", "--port", str(PORT)],
            cwd=project,
            env=environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        screen = Screen(ours)
        try:
            work(project, screen)
            lines = screen.lines
        finally:
            process.terminate()
            process.wait(PATIENCE_S)
    draw(lines)


def work(project: Path, screen: Screen) -> None:
    """What somebody does who writes an app."""
    screen.wait("quit")
    ask("POST", "/books", {"title": "The Analytical Engine", "author": "Ada Lovelace", "year": 1843, "price": 2400})
    screen.wait("POST")
    for _ in range(3):
        ask("GET", "/books/1")
        time.sleep(0.1)
    ask("POST", "/books", {"title": "Notes", "author": "Ada Lovelace", "year": "next year", "price": 900})
    screen.wait("422")
    ask("GET", "/book/1")
    screen.wait("404")
    routes = project / "bookstore" / "routes.py"
    text = routes.read_text()
    routes.write_text(text + '\n\n@router.get("/authors")\ndef list_authors() -> list[str]:\n    return ["Ada"] + 1\n')
    screen.wait("+1 route")
    ask("GET", "/authors")
    screen.wait("/authors  ")
    time.sleep(0.3)


def ask(method: str, path: str, body: object = None) -> None:
    """One request."""
    client = http.client.HTTPConnection("127.0.0.1", PORT, timeout=PATIENCE_S)
    with contextlib.closing(client):
        client.request(method, path, json.dumps(body) if body else None, {"Content-Type": "application/json"})
        client.getresponse().read()


def draw(lines: list[str]) -> None:
    """Writes the picture."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    for line in lines:
        console.print(Text.from_ansi(re.sub(r"\x1b\[\?[0-9]+[a-z]", "", line)), soft_wrap=True)
    picture = console.export_svg(title="dev run", unique_id="devserver")
    # Whoever looks at it need not fetch a font from elsewhere.
    PICTURE.write_text(re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL))
    print(PICTURE.relative_to(ROOT))


if __name__ == "__main__":
    main()
