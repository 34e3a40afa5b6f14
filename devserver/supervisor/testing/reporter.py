"""In a run of ``dev test --watch``: which tests are run, in which order, and what is told of them.

A plugin of pytest's. pytest itself writes what it has to say of failures; its dots are left out, since whoever watches
shows a line when all is over.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from devserver.supervisor.channel import Message

COUNTED = ("failed", "error", "passed", "skipped", "xfailed", "xpassed")
BROKEN = ("failed", "error")


def run_watched(arguments: Sequence[str], wanted: Message, tell: Callable[[Message], None]) -> int:
    """Runs pytest; its exit code.

    :param wanted: ``only``, paths of test files or None for all; ``first``, node ids of tests that failed before;
        ``failed``, whether to run those alone.
    :param tell: called with what came of it.
    """
    sys.argv[:] = [os.path.join(os.path.dirname(pytest.__file__), "__main__.py"), *arguments]
    return int(pytest.main([*arguments], plugins=[Reporter(wanted, tell)]))


class Reporter:
    """See :func:`run_watched`."""

    def __init__(self, wanted: Message, tell: Callable[[Message], None]) -> None:
        only = wanted["only"]
        self._only = None if only is None else frozenset(map(os.path.realpath, only))
        self._first = frozenset(wanted["first"])
        self._failed_only = bool(wanted["failed"])
        self._tell = tell
        self._tests: dict[str, None] = {}
        self._over = False
        self._named: frozenset[str] = frozenset()

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """A debugger would wait for keys that are read by whoever watches."""
        sys.breakpointhook = _no_debugger
        words = [word.partition("::")[0] for word in config.invocation_params.args if not word.startswith("-")]
        self._named = frozenset(os.path.realpath(word) for word in words if os.path.isfile(word))

    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        """Leaves a file out that is not wanted; one that the command line names must be collected."""
        if self._only is None or collection_path.is_dir():
            return None
        path = os.path.realpath(collection_path)
        return True if path not in self._only and path not in self._named else None

    def pytest_pycollect_makemodule(self, module_path: Path) -> None:
        """Takes a test file down."""
        self._tests[str(module_path)] = None

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Failures of earlier runs first; the order is pytest's otherwise."""
        if self._only is not None:
            items[:] = [item for item in items if os.path.realpath(item.path) in self._only]
        if self._failed_only:
            broken = {known for known in self._first if "::" not in known}
            items[:] = [
                item for item in items if item.nodeid in self._first or item.nodeid.partition("::")[0] in broken
            ]
        items.sort(key=lambda item: item.nodeid not in self._first)

    @pytest.hookimpl(hookwrapper=True)
    def pytest_report_teststatus(self) -> Generator[None, Any, None]:
        """Lets tests be counted, and has no dot written for them."""
        outcome = yield
        if not self._over:
            category, *_ = outcome.get_result()
            outcome.force_result((category, "", ""))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Tells what came of it."""
        self._over = True
        reporter = session.config.pluginmanager.getplugin("terminalreporter")
        stats = getattr(reporter, "stats", {})
        broken = [report for category in BROKEN for report in stats.get(category, ())]
        self._tell(
            {
                "is": "results",
                "counts": {category: len(stats[category]) for category in COUNTED if stats.get(category)},
                "failed": list(dict.fromkeys(report.nodeid for report in broken)),
                "root": str(session.config.rootpath),
                "tests": [*self._tests],
                "patterns": list(session.config.getini("python_files")),
            }
        )


def _no_debugger(*_: Any, **__: Any) -> None:
    raise RuntimeError(
        "breakpoint() needs the terminal, which dev test --watch reads from: run dev test without --watch, "
        "or set PYTHONBREAKPOINT to a debugger that needs none."
    )
