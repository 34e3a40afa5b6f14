"""``dev routes``: what an app answers to. Finds and imports the app as ``dev run`` does, and serves nothing.

Only wires: settings from ``config``, the app from ``app``, words from ``ui``.
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
from devserver.config.sources import resolve
from devserver.errors import EXIT_OK, DevserverError
from devserver.events import Emitter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from devserver.app.types import ASGIApp
    from devserver.config.settings import Config
    from devserver.config.target import Target


def routes(given: Mapping[str, object], *, as_json: bool, write: Callable[[str], object]) -> int:
    """Shows the routes; the exit code.

    :param given: field name → value, for the options on the command line.
    :param write: shows the answer.
    :raises DevserverError: the settings are wrong; what is wrong with the app is reported by the UI.
    """
    resolved = resolve("run", given, environ=os.environ, directory=working_directory())
    enter(resolved.directory)
    os.chdir(resolved.directory)
    os.environ.update(resolved.environment)

    from devserver import launch
    from devserver.ui import make_ui

    emitter = Emitter()
    ui = make_ui(resolved.config, stdout=sys.stdout, stderr=sys.stderr)
    ui.attach(emitter)
    code = EXIT_OK
    try:
        for notice in resolved.notices:
            emitter.emit(notice)
        target, app = _load(resolved.config, resolved.directory)
        write(_json(app) if as_json else _text(target, app, resolved.directory))
    except DevserverError as exc:
        ui.error(exc)
        code = exc.exit_code
    finally:
        ui.close()
    # Before the process may be ended under a thread that the app has started.
    sys.stdout.flush()
    launch.end_threads(code)
    return code


def _load(config: Config, directory: Path) -> tuple[Target, ASGIApp]:
    from devserver.app.load import load_app, put_on_path
    from devserver.app.source_loader import CACHE_FOLDER, install
    from devserver.config.discovery import FirstParty, find_target, project_root

    target = find_target(config, directory)
    root = project_root(target, directory)
    first_party = FirstParty.of(root, config.reload_dirs or ())
    put_on_path(target)
    # The cache of earlier starts is used; one that is not there is not made by looking.
    cache = root / CACHE_FOLDER
    install(first_party, cache if cache.is_dir() else None)
    # What the app prints is no part of the answer.
    with contextlib.redirect_stdout(sys.stderr):
        return target, load_app(target, interface=config.interface, first_party=first_party)


def _json(app: ASGIApp) -> str:
    from devserver.app.routes import routes as routes_of

    return json.dumps([dataclasses.asdict(route) for route in routes_of(app)], indent=2)


def _text(target: Target, app: ASGIApp, directory: Path) -> str:
    from devserver.app.routes import has_routes
    from devserver.app.routes import routes as routes_of
    from devserver.ui.routes import table

    found = routes_of(app)
    if not has_routes(app):
        return f"{target.import_string} has no routes to list: it is neither a FastAPI nor a Starlette app."
    if not found:
        return f"{target.import_string} has no routes yet."
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    return table(found, directory=str(directory), width=width)
