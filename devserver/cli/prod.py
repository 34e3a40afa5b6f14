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
from devserver.config import env_once, environment
from devserver.config.folder import logical
from devserver.config.sources import resolve
from devserver.errors import ConfigError
from devserver.supervisor.inheritance import VARIABLE
from devserver.supervisor.interpreter import interpreter_flags

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from devserver.launch import Reread


def prod(given: Mapping[str, object]) -> int:
    """Serves until it is stopped.

    :param given: field name → value, for the options on the command line.
    :raises DevserverError: the settings are wrong, or what they name cannot be had.
    """
    # By the name that the user knows: the folder may be a link that leads elsewhere after the next deployment.
    called_in = logical(working_directory(), os.environ)
    env_once.take_over(os.environ)
    # Without what env files have added, so that they can be read again.
    own = {name: value for name, value in os.environ.items() if name != VARIABLE}
    resolved = resolve("prod", given, environ=own, directory=called_in)
    enter(resolved.directory)
    os.chdir(resolved.directory)
    environment.add(resolved.environment)
    added = resolved.environment

    from devserver import launch

    def reread() -> Reread:
        nonlocal added
        again = resolve("prod", given, environ=own, directory=called_in)
        try:
            os.chdir(again.directory)
        except OSError as exc:
            raise ConfigError(f"The folder {again.directory} cannot be entered ({exc.strerror}).") from exc
        environment.exchange(added, again.environment, own)
        added = again.environment
        return launch.Reread(again.config, {**own, **added}, again.hooks, again.directory)

    def start_again(inherited: str, fds: Sequence[int]) -> subprocess.Popen[bytes]:
        read, pipes = env_once.hand_over()
        try:
            return subprocess.Popen(
                [sys.executable, *interpreter_flags(), "-m", "devserver", *sys.argv[1:]],
                cwd=called_in,
                env={**own, VARIABLE: inherited, **read},
                pass_fds=[*fds, *pipes],
            )
        finally:
            for fd in pipes:
                os.close(fd)

    return launch.serve_workers(
        resolved.config,
        directory=resolved.directory,
        notices=resolved.notices,
        environment={**own, **resolved.environment},
        hooks=resolved.hooks,
        reread=reread,
        start_again=start_again,
    )
