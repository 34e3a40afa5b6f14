"""The ``dev`` command: argv in, exit code out. The only place that ends the process.

Commands raise errors and return exit codes; here an error becomes sentences on stderr. What a command needs is imported
when it runs: ``dev --version`` must not wait for a server, nor the server for the help of ``dev``.
"""

from __future__ import annotations

import gc
import os
import sys
from typing import TYPE_CHECKING, NoReturn

from devserver import __version__
from devserver.errors import EXIT_INTERNAL, DevserverError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from devserver.events import Notice

EXIT_INTERRUPTED = 130
"""What a shell expects of a program that Ctrl+C ended: 128 + SIGINT."""

WARM_SET = os.path.join(".devserver", "warm.json")
"""Where it lies, when it does, that an earlier start learned what a warm process imports."""


def main() -> NoReturn:
    """Entry point of the console scripts."""
    from devserver.supervisor.descriptors import reserve_standard_streams

    reserve_standard_streams()
    code = invoke(sys.argv[1:])
    ending = sys.modules.get("devserver.supervisor.ending")
    if ending is not None:
        # The app has run in this process, and may have left functions that never return.
        ending.limit_at_exit(code)
    sys.exit(code)


def invoke(arguments: Sequence[str]) -> int:
    """Runs one command line and returns its exit code; every error has been reported."""
    try:
        return _dispatch(list(arguments))
    except DevserverError as exc:
        report(exc)
        return exc.exit_code
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except Exception:
        import traceback

        traceback.print_exc()
        report(DevserverError("This is a bug in devserver, not in your app; the lines above tell where."))
        return EXIT_INTERNAL


def report(error: DevserverError) -> None:
    """The sentence, a blank line, the hint: on stderr."""
    hint = f"\n\nhint: {error.hint}" if error.hint else ""
    print(f"error: {error.message}{hint}", file=sys.stderr)  # noqa: T201 - what a command says is its business


def report_notice(notice: Notice) -> None:
    """One line on stderr."""
    print(f"{notice.level}: {notice.text}", file=sys.stderr)  # noqa: T201 - what a command says is its business


def version_line() -> str:
    """``devserver 1.0 with CPython 3.13.0 on Linux``."""
    import platform

    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"devserver {__version__} with {python} on {platform.system()}"


def _dispatch(arguments: list[str]) -> int:
    if arguments[:1] == ["run"] and not _asks_for_help(arguments):
        # The way that is taken every day does without typer: see arguments.py. Imports make hardly any garbage, and
        # looking for it takes a twentieth of the start; launch.serve() has it looked for again.
        gc.disable()
        early = None
        if os.path.exists(WARM_SET) and "--no-reload" not in arguments:
            from devserver.supervisor.early import Early

            early = Early.start()
        from devserver.cli.arguments import read
        from devserver.cli.run import run

        return run(read(arguments[1:]), early)
    if arguments[:1] == ["prod"] and not _asks_for_help(arguments):
        from devserver.cli.arguments import read
        from devserver.cli.prod import prod

        return prod(read(arguments[1:], "prod"))
    if arguments[:1] == ["exec"]:
        from devserver.cli.exec import execute, split

        # Behind our own options everything is the other command's, a --help as well.
        given, command = split(arguments[1:])
        if "help" not in given:
            return execute(given, command)
        arguments = ["exec", "--help"]
    if arguments[:1] == ["test"]:
        from devserver.cli.test_client import quickly

        code = quickly(arguments[1:])
        if code is not None:
            return code
        from devserver.cli.test import split as split_test

        given, words, watch = split_test(arguments[1:])
        if "help" not in given:
            if watch:
                from devserver.cli.test_watch import watch as watch_tests

                return watch_tests(given, words)
            from devserver.cli.test import test

            return test(given, words)
        arguments = ["test", "--help"]
    from devserver.cli.commands import dispatch

    return dispatch(arguments)


def _asks_for_help(arguments: list[str]) -> bool:
    from devserver.cli.arguments import HELP

    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return not HELP.isdisjoint(own)
