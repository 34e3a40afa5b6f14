"""``dev test --watch``: only wires; see ``supervisor/testing/watching.py``."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence

from devserver.cli.exec import prepare
from devserver.cli.main import report_notice
from devserver.cli.test import check_pytest
from devserver.cli.test_client import path, umask
from devserver.config.project import project_root
from devserver.config.target import Target
from devserver.errors import UsageError
from devserver.events import Notice
from devserver.supervisor.forking import why_not_fork
from devserver.supervisor.testing.arguments import added, why_plain
from devserver.supervisor.testing.surroundings import not_inherited
from devserver.supervisor.testing.watching import TestWatch
from devserver.ui.keys import Keys
from devserver.ui.test_lines import TestLines

_DEBUGGERS = ("--pdb", "--trace", "--pdbcls")
_SHOWS_OUTPUT = frozenset({"-s", "--capture=no", "--cov", "-rA"})


def watch(given: Mapping[str, object], arguments: Sequence[str]) -> int:
    """Watches until it is stopped; the exit code of the last run.

    :raises UsageError: pytest is not installed, or a setting is wrong.
    """
    resolved, environment = prepare(given)
    check_pytest(resolved.directory)
    before, _ = added(environment, resolved.directory, arguments)
    every = [*before, *arguments]
    debugger = next((word for word in every if word.startswith(_DEBUGGERS)), "")
    if debugger:
        raise UsageError(
            f"{debugger} needs the terminal, which dev test --watch reads from.", hint="Leave --watch out."
        )
    why = why_plain(every) or not_inherited(resolved.environment) or why_not_fork(environment)
    if why:
        report_notice(Notice("info", f"Each run is a fresh process: {why}."))
    os.environ.update(resolved.environment)
    terminal = sys.stdout.isatty()
    colors = terminal and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    shown = TestLines(
        sys.stdout.buffer,
        terminal=terminal and os.environ.get("TERM") != "dumb",
        colors=colors,
        directory=os.getcwd(),
        everything=any(word in _SHOWS_OUTPUT or word.startswith("--cov") for word in every),
    )
    if terminal:
        # A run writes into a pipe, which has no width.
        os.environ["COLUMNS"] = str(shutil.get_terminal_size().columns)
    quiet = ["-qq", "--disable-warnings", "-o", "console_output_style=classic", f"--color={'yes' if colors else 'no'}"]
    with _keys() as fd:
        watching = TestWatch(
            resolved.config,
            resolved.directory,
            project_root(Target(), resolved.directory),
            [*quiet, *arguments],
            added=resolved.environment,
            path=path(),
            umask=umask(),
            fresh=why,
            shown=shown,
            keys=None if fd is None else (fd, Keys().press),
        )
        return watching.run()


@contextlib.contextmanager
def _keys() -> Iterator[int | None]:
    """The descriptor of the keyboard, which gives each key at once; None when there is none."""
    if os.name == "nt" or not sys.stdin or not sys.stdin.isatty() or not sys.stdout.isatty():
        yield None
        return
    import termios
    import tty

    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    try:
        tty.setcbreak(fd)
        yield fd
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)
