"""``dev config``: every setting, its value and its origin. Reads what ``dev run`` would read, and starts nothing."""

from __future__ import annotations

import dataclasses
import json
import os
from typing import TYPE_CHECKING, Any

from devserver.cli.options import in_order, shown
from devserver.cli.run import working_directory
from devserver.config import option as options
from devserver.config.discovery import find_target
from devserver.config.sources import Resolved, resolve
from devserver.errors import DevserverError, UsageError

if TYPE_CHECKING:
    from dataclasses import Field

COMMANDS = ("run", "prod", "api")
SECRET = "(hidden)"
_SECRETS = frozenset({"ssl_keyfile_password"})


def config(command: str, *, as_json: bool, chdir: str | None = None) -> str:
    """The settings of ``command``, as a table or as JSON.

    :raises DevserverError: ``command`` is unknown, or a source of settings is wrong.
    """
    if command not in COMMANDS:
        raise UsageError(f"There are no settings of {command!r}.", hint=f"Ask for one of {', '.join(COMMANDS)}.")
    cli = {"chdir": chdir} if chdir else {}
    resolved = resolve(command, cli, environ=os.environ, directory=working_directory())
    if command != "api":
        resolved = _with_app(resolved)
    known = in_order(command)
    return _json(known, resolved) if as_json else table(known, resolved)


def translated(file: str) -> str:
    """gunicorn's settings file as tables of pyproject.toml.

    :raises ConfigError: it cannot be read or run.
    """
    from devserver.config import gunicorn, python_file

    path = working_directory() / file
    return gunicorn.as_toml(python_file.run(path, working_directory()), path.name)


def table(known: list[Field[Any]], resolved: Resolved) -> str:
    """Aligned columns: name, value, origin; notices below."""
    rows = [(options.key(each), shown(_value(each, resolved)), resolved.origins[each.name]) for each in known]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    # One long value must not push every origin out of sight.
    widths[1] = min(widths[1], 40)
    lines = [f"{name:<{widths[0]}}  {value:<{widths[1]}}  {origin}" for name, value, origin in rows]
    notices = [f"{notice.level}: {notice.text}" for notice in resolved.notices]
    return "\n".join([*lines, *([""] if notices else []), *notices])


def _with_app(resolved: Resolved) -> Resolved:
    """Names the app that would be served when nobody named one; none is no error here, as nothing is served."""
    if resolved.config.app is not None or resolved.config.entrypoint is not None:
        return resolved
    try:
        target = find_target(resolved.config, resolved.directory)
    except DevserverError:
        return dataclasses.replace(resolved, origins={**resolved.origins, "app": "not found"})
    config = dataclasses.replace(resolved.config, app=target.import_string)
    return dataclasses.replace(resolved, config=config, origins={**resolved.origins, "app": target.found})


def _json(known: list[Field[Any]], resolved: Resolved) -> str:
    content = {
        options.key(each): {"value": _value(each, resolved), "origin": resolved.origins[each.name]} for each in known
    }
    return json.dumps(content, indent=2, default=str)


def _value(known: Field[Any], resolved: Resolved) -> Any:
    value = getattr(resolved.config, known.name)
    if known.name in _SECRETS and value is not None:
        return SECRET
    if options.of(known).kind == "octal" and value is not None:
        return f"{value:o}"
    return value
