"""``dev run`` as a real process, on a free port, read through ``--ui json``."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

WAIT_S = 30.0
"""Longer than any start or reload takes on a busy machine; nothing waits this long unless it is broken."""


class DevRun:
    """A running ``dev run`` and what it says."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.url = ""
        self.events: list[dict[str, Any]] = []
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def wait_for(self, kind: str) -> dict[str, Any]:
        """The next event of this kind."""
        deadline = time.monotonic() + WAIT_S
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no {kind} within {WAIT_S:.0f} s, only {self.events}") from None
            if line is None:
                raise AssertionError(f"it ended without {kind}, after {self.events}")
            event: dict[str, Any] = json.loads(line)
            self.events.append(event)
            if event["event"] == kind:
                return event

    def stop(self) -> int:
        """Asks it to stop and returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(WAIT_S)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)


@contextmanager
def dev_run(*arguments: str, directory: Path, environ: Mapping[str, str | None] | None = None) -> Iterator[DevRun]:
    """Runs the app that ``arguments`` name until the block ends; it answers under ``url`` when the block begins.

    :param environ: variables besides ours; None takes one away.
    """
    command = [sys.executable, "-m", "devserver", "run", *arguments, "--port", "0", "--ui", "json", "--no-access-log"]
    process = subprocess.Popen(
        command,
        cwd=directory,
        env={name: value for name, value in {**os.environ, **(environ or {})}.items() if value is not None},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    running = DevRun(process)
    try:
        (running.url,) = running.wait_for("ServerReady")["urls"]
        yield running
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(WAIT_S)
        assert process.stdout is not None
        process.stdout.close()
