"""``dev exec``: another program (pytest, alembic, a shell) with the variables that ``dev run`` would give the app.

The program takes the place of this process, so that its exit code, its signals and its terminal are its own.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence

from devserver.cli.arguments import read_own
from devserver.cli.environment import enter
from devserver.cli.main import report_notice
from devserver.cli.run import working_directory
from devserver.config.sources import Resolved, resolve
from devserver.errors import UsageError

OPTIONS = ("chdir", "env_file", "mode", "strict_env")
"""The options of ``dev run`` that decide about the variables."""
EXIT_NOT_EXECUTABLE, EXIT_NOT_FOUND = 126, 127
"""What a shell says of a command that it cannot run, or cannot find."""


def split(arguments: Sequence[str]) -> tuple[dict[str, object], list[str]]:
    """Our own options, and the command: all from the first word on that is no option, or that stands behind ``--``.

    :raises UsageError: an option is not one of ours.
    """
    return read_own(arguments, "exec", OPTIONS)


def execute(given: Mapping[str, object], command: Sequence[str]) -> int:
    """Runs the command; on POSIX it returns only if that is impossible.

    :raises UsageError: there is no command, it cannot be found or executed, or a setting is wrong.
    """
    if not command:
        raise UsageError("dev exec needs a command.", hint="Write it behind two dashes: dev exec -- pytest -q")
    _, environment = prepare(given)
    program = _find(command[0], environment)
    return become(program, command, environment)


def prepare(given: Mapping[str, object]) -> tuple[Resolved, dict[str, str]]:
    """Goes to the project's folder, and reads the variables that the app would get there.

    :returns: the settings, and the variables of a process.
    :raises UsageError: a setting is wrong.
    """
    resolved = resolve("run", given, environ=os.environ, directory=working_directory())
    enter(resolved.directory)
    for finding in () if resolved.variables is None else resolved.variables.warnings:
        report_notice(finding.notice)
    os.chdir(resolved.directory)
    return resolved, {**os.environ, **resolved.environment}


def become(program: str, command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Has a program take the place of this process; on POSIX this returns only if that is impossible.

    :param program: its path.
    :param command: what it is called, and its arguments.
    :raises UsageError: it cannot be executed.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    if os.name == "nt":
        # There execve starts another process and ends this one, whose exit code the caller would see.
        return subprocess.run([program, *command[1:]], env=environment, check=False).returncode
    for name in ("SIGPIPE", "SIGXFSZ"):
        # Python ignores these, and what is ignored stays so in the program that takes its place.
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    try:
        # By its path, since a Python finds its own environment by the name that it was called by.
        os.execve(program, [program, *command[1:]], environment)
    except OSError as exc:
        raise _failed(f"{command[0]} cannot be executed: {exc.strerror}.", "", EXIT_NOT_EXECUTABLE) from exc


def _find(name: str, environment: Mapping[str, str]) -> str:
    # The project's own tools come first, as they would if its environment were activated.
    own = [os.path.dirname(sys.executable)] if sys.prefix != sys.base_prefix else []
    path = os.pathsep.join([*own, environment.get("PATH", os.defpath)])
    found = shutil.which(name, path=path)
    if found is not None:
        return found
    if os.path.dirname(name) and os.path.isfile(name):
        raise _failed(
            f"{name} is not executable.", f"Run chmod +x {name}, or name its interpreter.", EXIT_NOT_EXECUTABLE
        )
    where = "" if os.path.dirname(name) else f" in {own[0]} or on PATH" if own else " on PATH"
    raise _failed(f"The command {name} was not found{where}.", "", EXIT_NOT_FOUND)


def _failed(message: str, hint: str, code: int) -> UsageError:
    error = UsageError(message, hint=hint)
    error.exit_code = code
    return error
