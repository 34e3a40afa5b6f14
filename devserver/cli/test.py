"""``dev test``: the project's tests, forked from the warm process of a ``dev run`` in the same project.

Without one, and whenever a fork could not stand in for it, this process becomes ``python -m pytest``: the fork is only
ever faster. It has this process's standard streams, its working directory and the variables of ``dev exec``; signals
are passed on, and its exit code is ours.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from devserver.cli.arguments import spelled, take
from devserver.cli.environment import command_that_adds
from devserver.cli.exec import become, prepare
from devserver.cli.main import report_notice
from devserver.cli.test_client import follow
from devserver.config.project import project_root
from devserver.config.target import Target
from devserver.errors import UsageError
from devserver.events import Notice
from devserver.supervisor.interpreter import interpreter_flags
from devserver.supervisor.testing.arguments import added, why_plain
from devserver.supervisor.testing.surroundings import not_inherited

OPTIONS = ("chdir", "env_file", "mode", "strict_env")
"""Those of ``dev exec``."""
WATCH = "--watch"


def split(arguments: Sequence[str]) -> tuple[dict[str, object], list[str], bool]:
    """Our own options, pytest's arguments, and whether to watch.

    Ours may stand anywhere before ``--``; whatever else there is, and all behind it, is pytest's.

    :raises UsageError: one of ours lacks its value.
    """
    known = {spelling: found for spelling, found in spelled("run").items() if found[0].name in OPTIONS}
    given: dict[str, object] = {}
    rest: list[str] = []
    watch = False
    words = list(arguments)[::-1]
    while words:
        word = words.pop()
        if word == "--":
            rest += words[::-1]
            break
        if word == WATCH:
            watch = True
        elif word in {"--help", "--help-all"}:
            return {"help": True}, [], False
        elif word.startswith("--") and word.partition("=")[0] in known:
            take(word, words, known, given, "test")
        else:
            rest.append(word)
    return given, rest, watch


def test(given: Mapping[str, object], arguments: Sequence[str]) -> int:
    """Runs the tests once; the exit code of pytest.

    :raises UsageError: pytest is not installed, or a setting is wrong.
    """
    resolved, environment = prepare(given)
    directory = resolved.directory
    check_pytest(directory)
    before, trouble = added(environment, directory, arguments)
    why: str | None = trouble or why_plain([*before, *arguments]) or not_inherited(resolved.environment)
    if not why:
        code, why = follow(arguments, environment, project_root(Target(), directory))
        if code is not None:
            return code
        if why is None and sys.stderr.isatty():
            _hint("dev run in another terminal makes this faster")
    if why:
        report_notice(Notice("info", f"A plain pytest runs the tests: {why}."))
    return become(sys.executable, [sys.executable, *interpreter_flags(), "-m", "pytest", *arguments], environment)


def check_pytest(directory: Path) -> None:
    """:raises UsageError: pytest is not installed."""
    if importlib.util.find_spec("pytest") is None:
        raise UsageError(
            f"pytest is not installed in {sys.prefix}.",
            hint=f"Add it: {command_that_adds(Path(sys.prefix), directory, 'pytest')}",
        )


def _hint(text: str) -> None:
    dim, normal = ("", "") if "NO_COLOR" in os.environ else ("\x1b[2m", "\x1b[0m")
    print(f"{dim}hint: {text}{normal}", file=sys.stderr)  # noqa: T201 - what a command says is its business
