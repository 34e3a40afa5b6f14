"""A pytest plugin that runs a suite written for Starlette's TestClient over a socket, and writes down each outcome.

Loaded with ``-p over_socket.plugin``. It reads two variables: WORLD_SERVER names the server, WORLD_RESULTS the file
that gets one line of JSON a test.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import starlette.testclient

from . import client

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

# Before any test module is imported: fastapi.testclient and the suites take the name from here.
starlette.testclient.TestClient = client.SocketClient  # type: ignore[misc]

FAILURE_CHARACTERS_MAX = 4000
"""Max length of a failure as it is written down; the first lines are shown, the rest is for a search."""


def pytest_configure(config: pytest.Config) -> None:
    """Leaves aside warnings about the client itself: a server's thread may outlive the test by a moment."""
    config.addinivalue_line("filterwarnings", "ignore::ResourceWarning")
    config.addinivalue_line("filterwarnings", "ignore::pytest.PytestUnraisableExceptionWarning")
    config.addinivalue_line("filterwarnings", "ignore::pytest.PytestUnhandledThreadExceptionWarning")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out tests on trio: no server of ours runs on it."""
    trio = [item for item in items if "trio" in item.name.partition("[")[2]]
    if trio:
        config.hook.pytest_deselected(items=trio)
        items[:] = [item for item in items if item not in trio]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, object, object]:
    """Ends the servers of clients that the test has made, and with the last test of a module all of them."""
    before = set(client.LIVE)
    result = yield
    last = nextitem is None or nextitem.path != item.path
    for live in list(client.LIVE):
        if not live.in_block and (last or live not in before):
            live.leave()
    client.stop_asked()
    return result


class Results:
    """Writes one line a test: its name, how it ended, and the failure."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", buffering=1)
        self._failures: dict[str, str] = {}
        self._skipped: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Gathers the three phases of a test."""
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            message = str(crash.message) if crash is not None else str(report.longrepr)
            self._failures.setdefault(report.nodeid, f"{report.when}: {message}"[:FAILURE_CHARACTERS_MAX])
        elif report.skipped:
            self._skipped.add(report.nodeid)
        if report.when == "teardown":
            failure = self._failures.pop(report.nodeid, None)
            outcome = "failed" if failure is not None else "skipped" if report.nodeid in self._skipped else "passed"
            self._file.write(json.dumps({"test": report.nodeid, "outcome": outcome, "failure": failure}) + "\n")

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Counts a module that cannot be imported as one failed test."""
        if report.failed:
            line = {"test": report.nodeid, "outcome": "failed", "failure": f"collect: {report.longrepr}"[-2000:]}
            self._file.write(json.dumps(line) + "\n")

    def pytest_terminal_summary(self, terminalreporter: TerminalReporter) -> None:
        """Closes the file."""
        self._file.close()


def pytest_sessionstart(session: pytest.Session) -> None:
    """Opens the file of results."""
    session.config.pluginmanager.register(Results(Path(os.environ["WORLD_RESULTS"])), "world-results")
