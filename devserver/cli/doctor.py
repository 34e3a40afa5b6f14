"""``dev doctor``: what is wrong or slow here. Reads what ``dev run`` would read; starts and changes nothing.

Only wires: settings from ``config``, the checks from ``supervisor.doctor``, words from ``ui``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from devserver.cli.environment import enter
from devserver.cli.run import working_directory
from devserver.config.discovery import find_target, project_root
from devserver.config.settings import Config
from devserver.config.sources import DEFAULT, resolve
from devserver.config.target import Target
from devserver.errors import EXIT_INTERNAL, EXIT_OK, DevserverError
from devserver.supervisor.doctor.case import Case
from devserver.supervisor.doctor.examination import CHECKS, examine, is_serious
from devserver.ui.findings import report

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

EXIT_SERIOUS = EXIT_INTERNAL
"""As of linters: 1 says that something was found, and not that it could not be looked for."""


def doctor(given: Mapping[str, object], *, as_json: bool, write: Callable[[str], object]) -> int:
    """Examines, and shows what was found; the exit code.

    :param given: field name → value, for the options on the command line.
    :param write: shows the findings.
    :raises DevserverError: the current folder is gone.
    """
    found = examine(_case(given))
    if as_json:
        write(json.dumps([dataclasses.asdict(finding) for finding in found], indent=2))
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        write(report(found, [name for name, _ in CHECKS], width=width))
    return EXIT_SERIOUS if is_serious(found) else EXIT_OK


def _case(given: Mapping[str, object]) -> Case:
    """What is to be examined; settings that cannot be read, and an app that is not found, are part of it."""
    directory = working_directory()
    troubles: list[DevserverError] = []
    try:
        resolved = resolve("run", given, environ=os.environ, directory=directory)
    except DevserverError as exc:
        # With the default settings the rest can be examined all the same.
        troubles.append(exc)
        config = Config(app=str(given["app"]) if "app" in given else None, reload=True, strict_port=False)
        case = Case(config, directory, os.environ)
    else:
        case = Case(
            resolved.config,
            resolved.directory,
            {**os.environ, **resolved.environment},
            notices=resolved.notices,
            port_is_default=resolved.origins["port"] == DEFAULT,
        )
    try:
        # The packages that count are those of the project.
        enter(case.directory)
    except DevserverError as exc:
        troubles.append(exc)
    target: Target | None = None
    try:
        target = find_target(case.config, case.directory)
    except DevserverError as exc:
        troubles.append(exc)
    # What is relative in the settings starts here.
    os.chdir(case.directory)
    root = project_root(target or Target(), case.directory)
    return dataclasses.replace(
        case, target=target, root=root, troubles=tuple(troubles), process_name=_process_name(case.directory)
    )


def _process_name(directory: Path) -> str | None:
    # An option of dev prod alone; what is wrong with that one's settings is for itself to say.
    with contextlib.suppress(DevserverError):
        return resolve("prod", {}, environ=os.environ, directory=directory).config.process_name
    return None
