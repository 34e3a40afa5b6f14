"""``dev prod``: from what stood on the command line to several processes that serve, and the exit code.

Only wires: settings from ``config``, everything else from ``launch``. There is no UI; what happens is logged.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from devserver.cli.environment import enter
from devserver.cli.run import working_directory
from devserver.config.sources import resolve

if TYPE_CHECKING:
    from collections.abc import Mapping

    from devserver.config import Config


def prod(given: Mapping[str, object]) -> int:
    """Serves until it is stopped.

    :param given: field name → value, for the options on the command line.
    :raises DevserverError: the settings are wrong, or what they name cannot be had.
    """
    called_in = working_directory()
    # Without what env files have added, so that they can be read again.
    own = dict(os.environ)
    resolved = resolve("prod", given, environ=own, directory=called_in)
    enter(resolved.directory)
    os.chdir(resolved.directory)
    os.environ.update(resolved.environment)

    from devserver import launch

    def reread() -> tuple[Config, Mapping[str, str]]:
        again = resolve("prod", given, environ=own, directory=called_in)
        return again.config, {**own, **again.environment}

    return launch.serve_workers(
        resolved.config,
        directory=resolved.directory,
        notices=resolved.notices,
        environment={**own, **resolved.environment},
        reread=reread,
    )
