"""``dev prod``: from what stood on the command line to several processes that serve, and the exit code.

Only wires: settings from ``config``, everything else from ``launch``. There is no UI; what happens is logged.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from devserver.cli.environment import enter
from devserver.cli.run import working_directory
from devserver.config.sources import resolve
from devserver.supervisor.inheritance import VARIABLE
from devserver.supervisor.interpreter import interpreter_flags

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from devserver.config import Config
    from devserver.config.python_file import Hook


def prod(given: Mapping[str, object]) -> int:
    """Serves until it is stopped.

    :param given: field name → value, for the options on the command line.
    :raises DevserverError: the settings are wrong, or what they name cannot be had.
    """
    called_in = working_directory()
    # Without what env files have added, so that they can be read again.
    own = {name: value for name, value in os.environ.items() if name != VARIABLE}
    resolved = resolve("prod", given, environ=own, directory=called_in)
    enter(resolved.directory)
    os.chdir(resolved.directory)
    os.environ.update(resolved.environment)

    from devserver import launch

    def reread() -> tuple[Config, Mapping[str, str], Mapping[str, Hook]]:
        again = resolve("prod", given, environ=own, directory=called_in)
        return again.config, {**own, **again.environment}, again.hooks

    def start_again(inherited: str, fds: Sequence[int]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, *interpreter_flags(), "-m", "devserver", *sys.argv[1:]],
            cwd=called_in,
            env={**own, VARIABLE: inherited},
            pass_fds=fds,
        )

    return launch.serve_workers(
        resolved.config,
        directory=resolved.directory,
        notices=resolved.notices,
        environment={**own, **resolved.environment},
        hooks=resolved.hooks,
        reread=reread,
        start_again=start_again,
    )
