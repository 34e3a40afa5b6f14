"""Runs a part of Django's suite over a socket, with its own runner: ``python -m over_socket.django_suite LABEL ...``.

Started in the ``tests`` folder of Django's source archive. It reads three variables: WORLD_SERVER names the server,
WORLD_REFERENCE the one that it is compared with (uvicorn: ASGI tests; django: WSGI tests), WORLD_RESULTS the file that
gets one line of JSON a test.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import unittest
from pathlib import Path
from typing import Any, TextIO

import django.test.runner
from django.test import testcases
from django.test import utils as test_utils

from . import django_client, django_communicator, django_servers

FAILURE_CHARACTERS_MAX = 4000
"""Max length of a failure as it is written down."""


def main() -> None:
    """Replaces the servers and the client, and hands over to Django's runner."""
    # Open until the process ends, which the runner does.
    write_results(Path(os.environ["WORLD_RESULTS"]).open("w", buffering=1))  # noqa: SIM115
    if os.environ["WORLD_REFERENCE"] == "uvicorn":
        django_communicator.install()
    else:
        install_wsgi()
    folder = Path.cwd()
    sys.path.insert(0, str(folder))
    sys.argv = ["runtests.py", "--parallel=1", "--verbosity=0", *sys.argv[1:]]
    runpy.run_path(str(folder / "runtests.py"), run_name="__main__")


def install_wsgi() -> None:
    """Replaces the live server, and the test client's handler as soon as there are settings."""
    if django_servers.chosen() == "devserver":
        testcases.LiveServerThread.server_class = django_servers.Devserver
    set_up = test_utils.setup_test_environment

    def set_up_with_server(*args: Any, **kwargs: Any) -> None:
        set_up(*args, **kwargs)
        django_client.install()

    django.test.runner.setup_test_environment = set_up_with_server


def write_results(file: TextIO) -> None:
    """Has every test write a line when it ends, whatever class the runner gathers results with."""
    failures: dict[str, str] = {}
    skipped: set[str] = set()

    def fail(self: unittest.TestResult, test: unittest.TestCase, error: Any) -> None:
        failures.setdefault(_name(test), f"{error[0].__name__}: {error[1]}"[:FAILURE_CHARACTERS_MAX])

    def fail_in_part(self: unittest.TestResult, test: unittest.TestCase, part: unittest.TestCase, error: Any) -> None:
        if error is not None:
            fail(self, test, error)

    def skip(self: unittest.TestResult, test: unittest.TestCase, reason: str) -> None:
        skipped.add(_name(test))

    def stop(self: unittest.TestResult, test: unittest.TestCase) -> None:
        name = _name(test)
        failure = failures.pop(name, None)
        outcome = "failed" if failure is not None else "skipped" if name in skipped else "passed"
        file.write(json.dumps({"test": name, "outcome": outcome, "failure": failure}) + "\n")

    for method, ours in {
        "addError": fail,
        "addFailure": fail,
        "addSubTest": fail_in_part,
        "addSkip": skip,
        "stopTest": stop,
    }.items():
        setattr(unittest.TestResult, method, _after(getattr(unittest.TestResult, method), ours))


def _name(test: unittest.TestCase) -> str:
    return test.id()


def _after(original: Any, ours: Any) -> Any:
    def both(self: unittest.TestResult, *args: Any) -> Any:
        result = original(self, *args)
        ours(self, *args)
        return result

    return both


if __name__ == "__main__":
    main()
