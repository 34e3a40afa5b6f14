"""Finds the app that is to be served: from the APP argument, from pyproject.toml, or by looking round.

Source files are read with ``ast`` and never imported, so that the process which supervises stays free of the user's
code. Knows the order in which places are tried; the forms of one text are in ``target``, the reading of one file in
``app_source``.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from devserver.config import paste_file
from devserver.config.app_source import AppSource
from devserver.config.import_name import import_name, installed_module
from devserver.config.project import (
    FirstParty,
    editable_installs,
    project_interpreter,
    project_root,
    read_pyproject,
    workspace_members,
)
from devserver.config.target import Call, Target, typed
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
# Names that fastapi-cli looks for, in the working directory and in app/; the others are looked for after these.
_FASTAPI_NAMES = FILE_NAMES[:3]
# A hint must not cost a walk through a large tree: backend/app/main.py lies two folders deep.
_DEPTH_MAX = 3
_FOLDERS_MAX = 200
_FILES_MAX = 50
_SUGGESTED_MAX = 3
_NO_APP_FOLDERS = frozenset({"node_modules", "site-packages", "tests", "test", "docs", "build", "dist", "migrations"})


def find_target(config: Config, directory: Path) -> Target:
    """What ``config`` says is to be served, or what the working directory suggests.

    :param config: only ``app``, ``entrypoint``, ``paste``, ``factory`` and ``app_dir`` are read.
    :param directory: the working directory, ``--chdir`` already applied; relative paths start from it.
    :raises ConfigError: a text does not have the form of an APP, or pyproject.toml cannot be read.
    :raises AppLoadError: nothing was found, the file is missing, or several apps are equally likely.
    """
    directory = Path(os.path.abspath(directory))
    # An APP that is a folder counts as --chdir: what is typed in its place is not relative to that folder.
    here = "" if config.chdir else str(directory)
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
            return _search(config, folder, here)
        return _complete(_parse(config, text, directory), found, config, here)
    return _search(config, directory, here)


def app_folder(app: object, directory: Path) -> Path | None:
    """The project folder that an APP argument names, or None when it names a module or a file.

    A folder that is a package, given by its bare name, is the package: ``dev run bookstore`` imports ``bookstore``. If
    an installed library has that name, the folder is searched instead.
    """
    if not isinstance(app, str) or not app or app.endswith(".py"):
        return None
    try:
        folder = Path(os.path.abspath(directory / Path(app).expanduser()))
        if not folder.is_dir():
            return None
    except (OSError, ValueError, RuntimeError):
        return None
    if app.isidentifier() and (folder.with_name(f"{folder.name}.py").is_file() or _is_own_package(folder)):
        return None
    return folder


def _is_own_package(folder: Path) -> bool:
    """Tell whether the folder's name, as a module, means the folder: a library may have the same name."""
    init = folder / "__init__.py"
    if not init.is_file():
        return False
    return installed_module(folder.name, outside=folder) is None or AppSource.read(init).choose() is not None


def _search(config: Config, directory: Path, here: str) -> Target:
    """Find the app of a folder: the entry point of the project, else the first usual file that holds an app.

    :param here: the folder in which the user types, or an empty string; what hints suggest is relative to it.
    """
    declared = _declared(directory)
    if declared is not None:
        text, found = declared
        return _complete(_parse(config, text, directory), found, config, here)
    looked_at: list[Path] = []
    groups = _places(directory)
    for group in groups:
        hits: list[Target] = []
        for paths in group:
            for path in paths:
                if not path.is_file():
                    continue
                target = _from_file(config, path, directory, here)
                if target is not None and (group is not groups[1] or _is_fastapi(path)):
                    hits.append(target)
                    break
                looked_at.append(path)
        if len(hits) > 1:
            names = [str(hit.path.relative_to(directory)) for hit in hits if hit.path is not None]
            raise AppLoadError(
                f"Several files in {directory} hold an app: {', '.join(names)}.",
                hint=f"Say which one: {_typed(directory / names[0], here)}",
            )
        if hits:
            return hits[0]
    above = next((folder for folder in directory.parents if (folder / "pyproject.toml").is_file()), None)
    declared = _declared(above) if above is not None else None
    if above is not None and declared is not None:
        return _complete(_parse(config, declared[0], above), declared[1], config, here)
    for path in looked_at:
        # Nothing is sure. The first file whose text leaves it open is imported, as fastapi-cli does with any file.
        target = _from_file(config, path, directory, here, is_sure=False)
        if target is not None:
            return target
    raise _nothing_found(directory, list(dict.fromkeys(looked_at)), here)


def _nothing_found(directory: Path, looked_at: Sequence[Path], here: str) -> AppLoadError:
    if looked_at:
        names = ", ".join(str(path.relative_to(directory)) for path in looked_at[:5])
        message = f"No app found in {directory}: looked in {names}."
    else:
        message = (
            f"No app found in {directory}: there is no {', '.join(FILE_NAMES[:-1])} or {FILE_NAMES[-1]}, "
            "nor one in app/, src/ or src/*/."
        )
    for path in looked_at:
        source = AppSource.read(path)
        if source.nested or source.runs or source.patterns:
            target = Target.parse(str(path), directory=directory)
            return AppLoadError(message, hint=name_it(source, replace(target, typed_in=here)))
    deeper = [_typed(path, here) for path in deeper_apps(directory)]
    if deeper:
        return AppLoadError(message, hint=f"Name its file: {' or '.join(deeper)}")
    if looked_at:
        hint = (
            'Say where it is: path/to/file.py:name, or entrypoint = "module:name" in [tool.fastapi] of pyproject.toml.'
        )
    else:
        hint = "Say where it is: path/to/file.py, or module:name. Or begin with a new project: dev new."
    return AppLoadError(message, hint=hint)


def _typed(path: Path, here: str) -> str:
    return shlex.quote(typed(path, here))


def _places(directory: Path) -> list[list[list[Path]]]:
    """Groups of files in the order of preference. Each list of a group is one folder; those of one group are equals."""
    try:
        packages = sorted(folder for folder in (directory / "src").iterdir() if folder.is_dir())
    except OSError:
        packages = []

    def files(folder: Path, names: Sequence[str] = FILE_NAMES) -> list[Path]:
        return [folder / name for name in names]

    return [
        [files(directory, _FASTAPI_NAMES)],
        # Only for what is surely a FastAPI: an asgi.py or wsgi.py here says more than a file of any other kind there.
        [files(directory / "app", _FASTAPI_NAMES)],
        [files(directory)],
        [files(directory / "app")],
        [files(directory / "src")],
        [files(folder) for folder in packages],
    ]


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


def _complete(target: Target, found: str, config: Config, here: str) -> Target:
    """Add the attribute when the text did not say one, and notice a factory that was not announced."""
    factory = config.factory
    target = replace(target, found=found, typed_in=here)
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
            return _complete(replace(target, module=module, path=inner), found, config, here)
    if choice is not None:
        return replace(target, attribute=choice.attribute, factory=choice.factory, guessed=not factory)
    if source.broken or source.is_open:
        return replace(target, attribute="app" if source.broken else "", factory=factory, guessed=True)
    raise AppLoadError(
        f"No app found in {target.path}: it binds none of app, application, api, nor a FastAPI() or a factory.",
        hint=name_it(source, target),
    )


def name_it(source: AppSource | None, target: Target) -> str:
    """Suggest how to name an app that the rules do not find in a module."""
    if source is not None and source.runs:
        return f"{source.path.name} runs another app: {shlex.quote(source.runs[0])}"
    if source is not None and source.nested:
        return f"Name it: {shlex.quote(target.argument(source.nested[0]))}"
    if source is not None and source.patterns:
        pattern = shlex.quote(target.argument(source.patterns[0]))
        return f"Call the factory, with a literal for each argument: {pattern}"
    return 'Bind it to the name "app", or say where it is: path/to/file.py:name.'


def _from_file(config: Config, path: Path, directory: Path, here: str, *, is_sure: bool = True) -> Target | None:
    """The target of one file, or None when its text shows no app.

    :param is_sure: False: a file whose text leaves open whether it has an app will do.
    """
    source = AppSource.read(path)
    choice = source.choose(factory=config.factory)
    if choice is None and (is_sure or not source.is_open):
        return None
    module, base = import_name(source)
    if config.app_dir:
        given = Target.parse(str(path), directory=directory, app_dir=config.app_dir)
        module, base = given.module, Path(given.search_path)
    return Target(
        module=module,
        attribute=choice.attribute if choice is not None else "",
        factory=choice.factory if choice is not None else config.factory,
        guessed=choice is None or not config.factory,
        search_path=str(base),
        path=path,
        found=f"found in {path.relative_to(directory)}",
        typed_in=here,
    )


def deeper_apps(directory: Path) -> list[Path]:
    """Files in the folders below that hold an app, at most three. Used for a hint; nothing below is served unasked."""
    found: list[Path] = []
    folders, seen = [(directory, 0)], 0
    for folder, depth in folders:
        seen += 1
        if seen > _FOLDERS_MAX or len(found) >= _SUGGESTED_MAX:
            break
        try:
            entries = sorted(folder.iterdir())
        except OSError:
            continue
        # A lone script may have any name; deeper, files that look like an entry point are enough.
        names = (
            [*FILE_NAMES, "index.py", "server.py"] if depth else [each.name for each in entries if each.suffix == ".py"]
        )
        found += [path for name in names[:_FILES_MAX] if _holds_app(path := folder / name)][:1]
        if depth < _DEPTH_MAX:
            folders += [(each, depth + 1) for each in entries if each.is_dir() and _may_have_app(each)]
    return found[:_SUGGESTED_MAX]


def _is_fastapi(path: Path) -> bool:
    return bool(AppSource.read(path).apps)


def _holds_app(path: Path) -> bool:
    if not path.is_file():
        return False
    try:
        source = AppSource.read(path)
        name, _ = import_name(source)
        choice = source.choose()
    except AppLoadError:
        return False
    # A file that imports its own name means a library, and gets itself.
    return choice is not None and name not in {dotted.partition(".")[0] for dotted in source.imports}


def _may_have_app(folder: Path) -> bool:
    name = folder.name
    is_environment = (folder / "pyvenv.cfg").is_file()
    return not (name.startswith((".", "_")) or name in _NO_APP_FOLDERS or is_environment or folder.is_symlink())
