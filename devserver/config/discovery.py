"""Finds the app that is to be served: from the APP argument, from pyproject.toml, or by looking round.

Source files are read with ``ast`` and never imported, so that the process which supervises stays free of the user's
code. Knows the order in which places are tried; the forms of one text are in ``target``, the reading of one file in
``app_source``.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from devserver.config import paste_file
from devserver.config.app_source import AppSource
from devserver.config.project import (
    FirstParty,
    editable_installs,
    project_interpreter,
    project_root,
    read_pyproject,
    workspace_members,
)
from devserver.config.target import Call, Target
from devserver.errors import AppLoadError, ConfigError

if TYPE_CHECKING:
    from devserver.config.settings import Config

__all__ = [
    "FirstParty",
    "app_folder",
    "editable_installs",
    "find_target",
    "project_interpreter",
    "project_root",
    "workspace_members",
]

FILE_NAMES = ("main.py", "app.py", "api.py", "asgi.py", "wsgi.py")


def find_target(config: Config, directory: Path) -> Target:
    """What ``config`` says is to be served, or what the working directory suggests.

    :param config: only ``app``, ``entrypoint``, ``paste``, ``factory`` and ``app_dir`` are read.
    :param directory: the working directory, ``--chdir`` already applied; relative paths start from it.
    :raises ConfigError: a text does not have the form of an APP, or pyproject.toml cannot be read.
    :raises AppLoadError: nothing was found, the file is missing, or several apps are equally likely.
    """
    directory = Path(os.path.abspath(directory))
    if config.app is not None and not isinstance(config.app, str):
        return Target(app=config.app, factory=config.factory, found="given by the program")
    if config.paste is not None:
        file, name = paste_file.split(str(config.paste))
        call: Call = ((str(directory / file), name), {})
        return Target(module="devserver.app.paste", attribute="load", call=call, found=f"{file}, {name}")
    for text, found in ((config.app, "given"), (config.entrypoint, "--entrypoint")):
        if not text:
            continue
        folder = app_folder(text, directory)
        if folder is not None:
            return _search(config, folder)
        return _complete(_parse(config, text, directory), found, config.factory)
    return _search(config, directory)


def app_folder(app: object, directory: Path) -> Path | None:
    """The project folder that an APP argument names, or None when it names a module or a file.

    A folder that is a package, given by its bare name, is the package: ``dev run bookstore`` imports ``bookstore``.
    """
    if not isinstance(app, str) or not app or app.endswith(".py"):
        return None
    try:
        folder = Path(os.path.abspath(directory / Path(app).expanduser()))
        if not folder.is_dir():
            return None
    except (OSError, ValueError, RuntimeError):
        return None
    bare = app.isidentifier()
    if bare and ((folder / "__init__.py").is_file() or folder.with_name(folder.name + ".py").is_file()):
        return None
    return folder


def _search(config: Config, directory: Path) -> Target:
    """Without an APP: the entry point of the project, else the first usual file that holds an app."""
    declared = _declared(directory)
    if declared is not None:
        text, found = declared
        return _complete(_parse(config, text, directory), found, config.factory)
    looked_at: list[str] = []
    for group in _places(directory):
        hits: list[Target] = []
        for folder in group:
            for path in (folder / name for name in FILE_NAMES):
                if not path.is_file():
                    continue
                target = _from_file(config, path, directory)
                if target is not None:
                    hits.append(target)
                    break
                looked_at.append(str(path.relative_to(directory)))
        if len(hits) > 1:
            names = [str(hit.path.relative_to(directory)) for hit in hits if hit.path is not None]
            raise AppLoadError(
                f"Several files in {directory} hold an app: {', '.join(names)}.",
                hint=f"Say which one: {names[0]}",
            )
        if hits:
            return hits[0]
    above = next((folder for folder in directory.parents if (folder / "pyproject.toml").is_file()), None)
    declared = _declared(above) if above is not None else None
    if above is not None and declared is not None:
        return _complete(_parse(config, declared[0], above), declared[1], config.factory)
    if looked_at:
        raise AppLoadError(
            f"No app found in {directory}: looked in {', '.join(looked_at[:5])}.",
            hint='Name it: module:attribute, or put entrypoint = "module:attribute" under [tool.fastapi] in '
            "pyproject.toml.",
        )
    raise AppLoadError(
        f"No app found in {directory}: there is no {', '.join(FILE_NAMES[:-1])} or {FILE_NAMES[-1]}, "
        "nor one in app/ or src/*/.",
        hint="Name it: path/to/file.py, or module:attribute. Or begin with a new project: dev new.",
    )


def _places(directory: Path) -> list[list[Path]]:
    """Folders in the order of preference; those of one group are equals."""
    try:
        packages = sorted(folder for folder in (directory / "src").iterdir() if folder.is_dir())
    except OSError:
        packages = []
    return [[directory], [directory / "app"], packages]


def _declared(directory: Path) -> tuple[str, str] | None:
    path = directory / "pyproject.toml"
    tool = read_pyproject(path).get("tool")
    for table, key in (("fastapi", "entrypoint"), ("devserver", "app")):
        section = tool.get(table) if isinstance(tool, dict) else None
        value = section.get(key) if isinstance(section, dict) else None
        if value is None:
            continue
        if not isinstance(value, str) or not value.strip():
            raise ConfigError(f'"{key}" in [tool.{table}] of {path} must be a text such as "main:app".')
        return value, f"[tool.{table}] {key} in {path.name}"
    return None


def _parse(config: Config, text: str, directory: Path) -> Target:
    return Target.parse(text, directory=directory, app_dir=config.app_dir or None, factory=config.factory)


def _complete(target: Target, found: str, factory: bool) -> Target:
    """Adds the attribute when the text did not say one, and notices a factory that nobody announced."""
    target = replace(target, found=found)
    if target.path is None or target.path.suffix != ".py":
        return target
    source = AppSource.read(target.path)
    if target.attribute:
        announced = target.call is None and target.attribute in source.factories
        return replace(target, factory=True) if announced else target
    choice = source.choose(factory=factory)
    if choice is None and target.path.name == "__init__.py":
        inner = next((inner for name in FILE_NAMES if (inner := target.path.with_name(name)).is_file()), None)
        if inner is not None:
            module = f"{target.module}.{inner.stem}"
            return _complete(replace(target, module=module, path=inner), found, factory)
    if choice is None:
        if source.broken:
            return replace(target, attribute="app")
        raise AppLoadError(
            f"No app found in {target.path}: it binds none of app, application, api, nor a FastAPI() or a factory.",
            hint=f"Name it: {target.module}:attribute",
        )
    return replace(target, attribute=choice.attribute, factory=choice.factory)


def _from_file(config: Config, path: Path, directory: Path) -> Target | None:
    source = AppSource.read(path)
    choice = source.choose(factory=config.factory)
    if choice is None:
        return None
    module, base = source.module_name()
    if config.app_dir:
        given = Target.parse(str(path), directory=directory, app_dir=config.app_dir)
        module, base = given.module, Path(given.search_path)
    return Target(
        module=module,
        attribute=choice.attribute,
        factory=choice.factory,
        search_path=str(base),
        path=path,
        found=f"found in {path.relative_to(directory)}",
    )
