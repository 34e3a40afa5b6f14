"""``dev run``: from what stood on the command line to a running server, and its exit code.

Only wires: settings from ``config``, the terminal from ``ui``, everything else from ``launch``.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from devserver import __version__
from devserver.cli.environment import enter
from devserver.config import env_once, environment
from devserver.config.sources import DEFAULT, resolve
from devserver.errors import DevserverError, UsageError
from devserver.events import Emitter, Notice

if TYPE_CHECKING:
    from collections.abc import Mapping

    from devserver.supervisor.early import Early


def run(given: Mapping[str, object], early: Early | None = None) -> int:
    """Serves until it is stopped.

    :param given: field name → value, for the options on the command line.
    :param early: what was started before they were read.
    :raises DevserverError: the settings are wrong; what goes wrong later is reported by the UI.
    """
    try:
        return _run(given, early)
    finally:
        if early is not None:
            early.close()


def _run(given: Mapping[str, object], early: Early | None) -> int:
    env_once.take_over(os.environ)
    resolved = resolve("run", given, environ=os.environ, directory=working_directory())
    enter(resolved.directory)
    os.chdir(resolved.directory)
    own = dict(os.environ)
    environment.add(resolved.environment)

    from devserver import launch

    if (resolved.config.workers or 1) > 1:
        off = Notice("info", "Several workers do not reload: files are not watched.")
        return launch.serve_workers(
            resolved.config,
            directory=resolved.directory,
            notices=[*resolved.notices, *([off] if resolved.config.reload else [])],
            environment={**own, **resolved.environment},
        )
    from devserver.ui import make_ui

    emitter = Emitter()
    ui = make_ui(
        resolved.config,
        stdout=sys.stdout,
        stderr=sys.stderr,
        name=f"devserver {__version__}",
        env_files=resolved.variables.files if resolved.variables is not None else (),
        own=own,
    )
    ui.attach(emitter)
    try:
        for notice in resolved.notices:
            emitter.emit(notice)
        code: int = launch.serve(
            resolved.config,
            emitter=emitter,
            directory=resolved.directory,
            port_is_default=resolved.origins["port"] == DEFAULT,
            added=resolved.environment,
            early=early,
            screen=ui if ui.kind != "json" else None,
        )
    except DevserverError as exc:
        ui.error(exc)
        code = exc.exit_code
    finally:
        ui.close()
    launch.end_threads(code)
    return code


def working_directory() -> Path:
    """The current folder.

    :raises UsageError: it was deleted meanwhile.
    """
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise UsageError("The current folder no longer exists.", hint="Change to another one.") from None
