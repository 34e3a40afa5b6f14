"""Runs a suite under one server, in a process of its own, and reads back how each test ended."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tests.world.suites.outcome import MISSING, Outcome, parse
from tests.world.suites.sources import cache

if TYPE_CHECKING:
    from tests.world.suites.suite import Suite

__all__ = ["ALONE_MAX", "Run", "again_alone"]

RUN_S = 3000
"""Timeout of a whole suite under one server, in seconds; FastAPI's takes five minutes on an idle core."""

TEST_S = 60
"""Timeout of one test, in seconds, where the suite sets none."""

ALONE_MAX = 40
"""Max number of tests that are run again alone: more than that is no accident, and takes long."""


class Run:
    """One suite under one server; starts at once.

    :param suite: the suite.
    :param server: ``devserver``, or the suite's reference.
    :param arguments: what is run.
    :param python: the interpreter of the suites' environment.
    :param root: the unpacked archive.
    """

    def __init__(self, suite: Suite, server: str, arguments: Sequence[str], *, python: Path, root: Path) -> None:
        # Not in the system's folder for temporary files, which others tidy up: a run takes long.
        self._folder = tempfile.TemporaryDirectory(prefix="run-", dir=cache())
        self._results = Path(self._folder.name) / "results.jsonl"
        self._output = Path(self._folder.name) / "output"
        variables = {
            "WORLD_SERVER": server,
            "WORLD_REFERENCE": suite.reference,
            "WORLD_RESULTS": str(self._results),
            # A folder with nothing else: a module beside it would hide one of the same name that a suite needs.
            "PYTHONPATH": str(Path(__file__).parent / "drivers"),
            # A suite leaves nothing behind in the unpacked archive.
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                _command(suite, arguments, python),
                cwd=root / "tests" if suite.runner == "django" else root,
                env={**_clean(os.environ), **variables},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def wait(self) -> dict[str, Outcome]:
        """Waits for the end, and returns the outcomes by node id.

        :raises RuntimeError: there is not one outcome.
        """
        try:
            self._process.wait(RUN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        try:
            outcomes = parse(self._results.open()) if self._results.exists() else {}
            if not outcomes:
                raise RuntimeError(self._output.read_text(errors="replace")[-3000:])
            return outcomes
        finally:
            self._folder.cleanup()


def again_alone(
    suite: Suite, tests: Sequence[str], *, python: Path, roots: Mapping[str, Path]
) -> dict[str, tuple[Outcome, Outcome]]:
    """Runs each test alone under both servers, and returns the outcomes: the reference's, then ours."""
    outcomes = {}
    for test in tests[:ALONE_MAX]:
        runs = [
            Run(suite, server, [test], python=python, root=roots[server]) for server in (suite.reference, "devserver")
        ]
        results = []
        for run in runs:
            try:
                results.append(run.wait().get(test, MISSING))
            except RuntimeError as exc:
                results.append(Outcome("missing", str(exc)[-400:]))
        outcomes[test] = (results[0], results[1])
    return outcomes


def _command(suite: Suite, arguments: Sequence[str], python: Path) -> list[str]:
    if suite.runner == "django":
        return [str(python), "-m", "over_socket.django_suite", *arguments]
    own = ["-p", "over_socket.plugin", "-p", "no:cacheprovider", "-p", "no:sugar", "--timeout", str(TEST_S)]
    return [str(python), "-m", "pytest", *own, "-q", "--tb=no", *arguments]


def _clean(environ: Mapping[str, str]) -> dict[str, str]:
    """Returns the environment without what would change a suite: settings of Python, of pytest and of our server."""
    return {
        name: value
        for name, value in environ.items()
        if not name.startswith(("PYTHON", "PYTEST", "DEVSERVER_", "UVICORN_", "VIRTUAL_ENV"))
    }
