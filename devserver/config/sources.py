"""Where values come from: command line, environment, env files and pyproject.toml, put into one ``Config``.

Each source is first turned into a layer (option → value, checked, with the name of its origin); then the first layer
that has an option wins. A value is checked under the name that the person wrote it by, so that what is wrong is blamed
on what they must change. This file reads files and the environment that it is handed; it never writes either, and never
imports the app.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from devserver.config import env_layers, settings
from devserver.config import option as options
from devserver.config.layer import COMMAND_LINE, Layer, Wrong, attempt, read_value, spelled
from devserver.config.settings import Config
from devserver.errors import ConfigError
from devserver.events import Notice

if TYPE_CHECKING:
    from dataclasses import Field

    from devserver.config.python_file import Hook

DEFAULT = "default"
PREFIX = "DEVSERVER_"
GUNICORN = "gunicorn"
"""Where the options in gunicorn's spelling stand among those of the command line: setting → value."""

GUNICORN_FILE = "gunicorn.conf.py"
"""What gunicorn reads without being told."""

FALLBACKS = {
    "port": "PORT",
    "forwarded_allow_ips": "FORWARDED_ALLOW_IPS",
    "mode": "FASTAPI_ENV",
    "workers": "WEB_CONCURRENCY",
}
"""Variables that are not ours and still mean one of our options; they stand right below its own variable."""

_UVICORN = "UVICORN_"
"""What the variables of uvicorn's own command begin with."""

COMMANDS = ("run", "prod")
"""The commands that serve."""

# Variables with our prefix that are no options: of the scripts of this repository, and of a command that hands over.
_NOT_OPTIONS = frozenset({"DEVSERVER_ENTERED", "DEVSERVER_ENV_READ", "DEVSERVER_INHERITED", "DEVSERVER_PYTHON"})

# Kubernetes makes such variables of a service called "devserver", or "devserver-" and more (service links), and Docker
# of a linked container. They are addresses, not options.
_SERVICE_LINK = re.compile(
    r"DEVSERVER(?:_[A-Z0-9_]+)?_(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?"
    r"|PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)"
)
_SERVICE_ADDRESS = re.compile(r"(?:tcp|udp|sctp)://")

# The env file is chosen, and the folder entered, before the file is read: it cannot say these itself.
_BEFORE_ENV_FILES = ("chdir", "env_file", "mode")

# A Config has one place to listen on; whichever of these the strongest layer names, weaker layers' others are dropped.
_PLACES = {"bind": "bind", "uds": "uds", "fd": "fd", "host": "tcp", "port": "tcp"}

# NAME: after a comma begins another header; a comma inside a value does not.
_NEXT_HEADER = re.compile(r",\s*(?=[A-Za-z][A-Za-z0-9-]*\s*:)")


@dataclass(frozen=True)
class Resolved:
    """A ``Config`` and how it came about."""

    config: Config
    origins: dict[str, str]
    """Field name → ``command line``, ``DEVSERVER_PORT``, ``PORT``, ``pyproject.toml [tool.devserver]``, ``default``."""
    notices: tuple[Notice, ...]
    """What was noticed while reading, and the Config's own."""
    environment: dict[str, str] = field(default_factory=dict)
    """Variables to add to the app's environment, from env files; whoever starts the app sets them."""
    variables: env_layers.Variables | None = None
    """Where each of them comes from, and what is wrong in the files."""
    directory: Path = Path()
    """The folder to work in: the given one after ``--chdir``."""
    hooks: dict[str, Hook] = field(default_factory=dict)
    """Functions of the file of ``--config``."""

    def with_config(self, config: Config) -> Resolved:
        """Makes a copy with another Config."""
        return dataclasses.replace(self, config=config)


def resolve(command: str, cli: Mapping[str, object], *, environ: Mapping[str, str], directory: Path) -> Resolved:
    """Reads every source and makes the ``Config`` of one command.

    :param command: ``run``, or ``api`` for what a program gets that calls :func:`devserver.run`; the latter reads
        neither ``DEVSERVER_*`` nor ``pyproject.toml``, as a program's behaviour must not depend on them.
    :param cli: field name → text, list of texts or bool, for the options that were given; no others. Under
        :data:`GUNICORN`, settings of gunicorn.
    :param environ: the environment, such as ``os.environ``.
    :param directory: the folder that the command was called in.
    :raises ConfigError: a source is unreadable, or has an unknown key, a bad value or a contradiction.
    """
    notices: list[Notice] = []
    given = _command_line(cli, notices)
    notices += _foreign_variables(environ, command)
    directory = directory.absolute()
    variables = _environment(environ, command, notices)
    _take_folder(given, variables, directory)
    chdir = _first("chdir", given, variables)
    if chdir:
        directory = _folder(directory / chdir, "--chdir" if "chdir" in given.values else variables.values["chdir"][1])
    project = _project(command, directory)
    if not chdir and (inner := _first("chdir", *project)):
        directory = _folder(Path(inner), "chdir in pyproject.toml")
    fallbacks = _fallbacks(environ, command)
    typed = Layer({})
    # Imported where somebody comes from another server, which is seldom.
    if command == "prod" and "GUNICORN_CMD_ARGS" in environ:
        from devserver.config import foreign

        typed = foreign.gunicorn_variable(environ, notices)
    hooks: dict[str, Hook] = {}
    config_file = _first("config_file", given, variables, typed, *project)
    if config_file is not None:
        from devserver.config import foreign, python_file

        path = python_file.locate(directory, config_file)
        names = python_file.run(path, directory)
        hooks = python_file.hooks(names, path)
        project = [foreign.python_layer(names, path, command, notices), *project]
    elif command == "prod" and (directory / GUNICORN_FILE).is_file():
        notices.append(Notice("info", f"{GUNICORN_FILE} is not read; give --config {GUNICORN_FILE}."))
    paste = _first("paste", given, variables, typed, *project)
    if paste is not None:
        from devserver.config import foreign

        project = [*project, foreign.paste_layer(directory, paste, command, notices)]
    layers = [given, variables, typed, fallbacks, *project]

    mode = _first("mode", *layers) if "mode" in _names(*layers) else options.default(settings.by_name("mode"), command)
    read = env_layers.read_layers(mode, _first("env_file", *layers) or (), environ, directory=directory)
    notices += _env_notices(command, read, directory)
    added = read.added
    if added:
        from_files, others = _environment(added, command, notices), _fallbacks(added, command)
        for name in _BEFORE_ENV_FILES:
            from_files.values.pop(name, None)
            others.values.pop(name, None)
        layers = [given, variables, from_files, typed, fallbacks, others, *project]
    if command == "run" and "FASTAPI_ENV" not in environ:
        # FastAPI itself reads it, to be lenient in development.
        added.setdefault("FASTAPI_ENV", "development")

    values, origins = _merge(command, layers, notices)
    added.update(_assignments(values["env"], origins["env"]))
    _check_files(values, origins, directory)
    config = Config(**values)
    if config.strict_env and command in COMMANDS:
        _refuse(read, origins["strict_env"])
    return Resolved(config, origins, (*notices, *config.notices), added, read, directory, hooks)


def _assignments(pairs: Any, origin: str) -> dict[str, str]:
    """The variables of ``--env``."""
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not name or not equals:
            where = "" if origin == COMMAND_LINE else f" ({origin})"
            raise ConfigError(f"--env{where}: {pair!r} is not of the form NAME=VALUE.")
        found[name] = value
    return found


def complete(config: Config, *, environ: Mapping[str, str], directory: Path) -> Resolved:
    """Adds to a program's ``Config`` what uvicorn would read by itself: its env files, ``FORWARDED_ALLOW_IPS`` and
    ``WEB_CONCURRENCY``.

    :raises ConfigError: an env file is missing or unreadable, or the variable is malformed.
    """
    notices = list(config.notices)
    directory = _folder(directory.absolute() / config.chdir, "chdir")
    files = config.env_file if isinstance(config.env_file, tuple) else ()
    read = env_layers.read_layers(config.mode, files, environ, directory=directory)
    if config.strict_env:
        _refuse(read, "strict_env")
    notices += [finding.notice for finding in read.findings]
    added = read.added
    origins = {
        known.name: DEFAULT
        if getattr(config, known.name) == options.check(known, options.default(known, "api"))
        else "the program"
        for known in settings.fields()
    }
    for field_name in ("forwarded_allow_ips", "workers"):
        name = FALLBACKS[field_name]
        found = environ.get(name, added.get(name))
        if getattr(config, field_name) is None and found is not None and _says_something(field_name, found):
            known = settings.by_name(field_name)
            changed = {field_name: options.check(known, options.parse(known, found, name), name)}
            config = config.changed(**changed)
            origins[field_name] = name
    notices += [notice for notice in config.notices if notice not in notices]
    return Resolved(config, origins, tuple(notices), added, read, directory)


def only_of(known: Field[Any]) -> str:
    """The command that has an option which another one lacks."""
    return next(command for command in COMMANDS if command in options.of(known).commands)


def variable(known: Field[Any]) -> str:
    """The option's variable, such as ``DEVSERVER_RELOAD_DIR``."""
    return PREFIX + options.key(known).replace("-", "_").upper()


def _env_notices(command: str, read: env_layers.Variables, directory: Path) -> list[Notice]:
    found = [finding.notice for finding in read.findings]
    if command == "prod" and read.files:
        found.append(Notice("info", f"Env files: {', '.join(read.files)}."))
    elif command == "prod" and (directory / ".env").is_file():
        text = (
            ".env is not read, as dev prod reads only what it is told to; give --env-file .env, or --mode production."
        )
        found.append(Notice("info", text))
    return found


def _refuse(read: env_layers.Variables, origin: str) -> None:
    """:raises ConfigError: something is wrong in an env file."""
    if read.warnings:
        first, *others = read.warnings
        more = f" There are {len(others)} more." if others else ""
        where = "" if origin == COMMAND_LINE else f" ({origin})"
        raise ConfigError(str(first), hint=f"--strict-env{where} makes it an error.{more} dev env shows them all.")


def _names(*layers: Layer) -> set[str]:
    return {name for layer in layers for name in layer.values}


def _first(name: str, *layers: Layer) -> Any:
    """:raises ConfigError: the strongest source that gives the option gives a wrong value."""
    value = next((layer.values[name][0] for layer in layers if name in layer.values), None)
    if isinstance(value, Wrong):
        raise value.error
    return value


def _merge(command: str, layers: list[Layer], notices: list[Notice]) -> tuple[dict[str, Any], dict[str, str]]:
    """:raises ConfigError: a value that counts is wrong. One that loses against a stronger source is only noticed."""
    places = next(filter(None, map(_kinds, layers)), {"tcp"})
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for layer in layers:
        # "--reload-dir" with "--no-reload" contradict each other only when one person wrote both.
        _check_together(layer, values)
        for name, (value, origin) in layer.values.items():
            loses = (
                name in values
                or (name in _PLACES and _PLACES[name] not in places)
                or {"app": "entrypoint", "entrypoint": "app"}.get(name, "") in values.keys() - layer.values.keys()
            )
            if isinstance(value, Wrong):
                if not loses:
                    raise value.error
                notices.append(Notice("warning", f"{value.error.message} A stronger setting is used instead."))
            elif not loses:
                values[name], origins[name] = value, origin
    if "port" in values and "strict_port" not in values:
        # The next free port is a convenience for those who do not care which it is.
        values["strict_port"], origins["strict_port"] = True, f"a port was asked for ({origins['port']})"
    for known in settings.fields():
        if known.name not in values:
            values[known.name], origins[known.name] = options.default(known, command), DEFAULT
    return values, origins


def _kinds(layer: Layer) -> set[str]:
    """The places that a layer names; a variable of another tool, such as PORT, only says which port."""
    return {
        kind
        for name, kind in _PLACES.items()
        if name in layer.values and layer.values[name][1] not in FALLBACKS.values()
    }


def _check_together(layer: Layer, stronger: Mapping[str, Any]) -> None:
    """:param stronger: the options that other sources have decided already."""
    if "reload" not in layer.values or layer.values["reload"][0] or "reload" in stronger:
        return
    for name in (
        "reload_dirs",
        "reload_includes",
        "reload_excludes",
        "reload_delay",
        "reload_mode",
        "reload_checkpoints",
        "poll",
        "on_error",
    ):
        if name in layer.values and name not in stronger:
            flag, origin = options.flag(settings.by_name(name)), layer.values[name][1]
            where = "" if origin == COMMAND_LINE else f" ({origin})"
            raise ConfigError(f"{flag} has no effect with --no-reload{where}.", hint="Leave one of them out.")


def _command_line(cli: Mapping[str, object], notices: list[Notice]) -> Layer:
    values: dict[str, tuple[Any, str]] = {}
    for name, given in cli.items():
        if name == GUNICORN:
            continue
        known = settings.by_name(name)
        label = "APP" if name == "app" else options.flag(known)
        values[name] = (read_value(known, given, label), COMMAND_LINE)
    if GUNICORN in cli:
        words: Any = cli[GUNICORN]
        from devserver.config import foreign  # not at the top: few come from there

        values = {**foreign.gunicorn_options(words, COMMAND_LINE, notices).values, **values}
    return Layer(values)


def _take_folder(given: Layer, variables: Layer, directory: Path) -> None:
    """``dev run path/to/project`` is ``--chdir path/to/project`` and an app to be found there.

    A bare name that is a package stays one: ``dev run app`` means the module ``app``, ``dev run app/`` the folder.
    """
    app, origin = given.values.get("app", (None, ""))
    if not isinstance(app, str):
        return
    before = _first("chdir", given, variables) or ""
    folder = directory / before / app
    written_as_path = "/" in app or os.sep in app or app in {".", ".."}
    if not folder.is_dir() or (not written_as_path and _is_module(folder)):
        return
    del given.values["app"]
    given.values["chdir"] = (os.path.normpath(os.path.join(before, app)), f"{origin} (APP is a folder)")


def _is_module(folder: Path) -> bool:
    return (folder / "__init__.py").is_file() or folder.with_name(f"{folder.name}.py").is_file()


def _folder(path: Path, label: str) -> Path:
    if not path.is_dir():
        what = "is not a folder" if path.exists() else "does not exist"
        raise ConfigError(f"{label}: the folder {path} {what}.")
    return Path(os.path.normpath(path))


def _environment(environ: Mapping[str, str], command: str, notices: list[Notice]) -> Layer:
    """Reads the DEVSERVER_* variables.

    An empty one counts as absent, because compose files pass such for what is not set; see :func:`_says_something`.
    """
    if command == "api":
        return Layer({})
    spelled = {name: known for known in settings.fields() for name in {variable(known), PREFIX + known.name.upper()}}
    values: dict[str, tuple[Any, str]] = {}
    for name in sorted(name for name in environ if name.startswith(PREFIX)):
        text = environ[name]
        known = spelled.get(name)
        if _is_service_link(name, text):
            continue
        if known is None or options.of(known).commands == settings.API_ONLY:
            if name not in _NOT_OPTIONS:
                guess = options.nearest(name.removeprefix(PREFIX), [each.removeprefix(PREFIX) for each in spelled])
                notices.append(
                    Notice("warning", f"{name} is not an option{f'; did you mean {PREFIX}{guess}?' if guess else '.'}")
                )
        elif _says_something(known.name, text) and command in options.of(known).commands:
            values[known.name] = (attempt(partial(_from_variable, known, text, name)), name)
    return Layer(values)


def _from_variable(known: Field[Any], text: str, name: str) -> Any:
    if options.of(known).kind == "header":
        value: Any = tuple(options.parse(known, part, name)[0] for part in _NEXT_HEADER.split(text))
    else:
        value = options.parse(known, text, name, split=True)
    return options.check(known, value, name)


def _foreign_variables(environ: Mapping[str, str], command: str) -> list[Notice]:
    """Names the variables of uvicorn's command line, which are not read, with ours."""
    if command == "api":
        return []
    ours = {variable(known).removeprefix(PREFIX): known for known in settings.fields()}
    found = [
        name
        for name in sorted(environ)
        if name.startswith(_UVICORN)
        and (known := ours.get(name.removeprefix(_UVICORN))) is not None
        and command in options.of(known).commands
        and f"{PREFIX}{name.removeprefix(_UVICORN)}" not in environ
    ]
    if not found:
        return []
    wanted = ", ".join(f"{PREFIX}{name.removeprefix(_UVICORN)}" for name in found)
    verb = "is" if len(found) == 1 else "are"
    return [Notice("warning", f"{', '.join(found)} {verb} not read here; write {wanted}.")]


def _is_service_link(name: str, text: str) -> bool:
    """Whether Kubernetes made the variable, and nobody meant an option."""
    return _SERVICE_LINK.fullmatch(name) is not None or (
        name.endswith("PORT") and _SERVICE_ADDRESS.match(text) is not None
    )


def _says_something(field_name: str, text: str) -> bool:
    """Says whether a variable with this text counts as set. An empty list of proxies does: trust nobody."""
    return text != "" or field_name == "forwarded_allow_ips"


def _fallbacks(environ: Mapping[str, str], command: str) -> Layer:
    values = {}
    for name, other in FALLBACKS.items():
        text = environ.get(other)
        # Kubernetes sets PORT=tcp://… for a service that is called "port".
        if (
            text is None
            or not _says_something(name, text)
            or _is_service_link(other, text)
            or (command == "api" and name != "forwarded_allow_ips")
        ):
            continue
        if name == "workers" and command == "run":
            # Set for production, where this command is not meant to be used.
            continue
        if name == "mode" and command == "prod":
            # Set for FastAPI; which files are read in production is said in so many words.
            continue
        values[name] = (attempt(partial(_from_variable, settings.by_name(name), text, other)), other)
    return Layer(values)


def _project(command: str, directory: Path) -> list[Layer]:
    """The tables of the nearest pyproject.toml, the command's own first."""
    path = next((folder / "pyproject.toml" for folder in (directory, *directory.parents) if _has_project(folder)), None)
    if command == "api" or path is None:
        return []
    shown = os.path.relpath(path, directory)
    table = _tool_table(path, shown)
    own = {name: table.pop(name, {}) for name in ("run", "prod")}
    for name, content in own.items():
        if not isinstance(content, dict):
            raise ConfigError(f"{shown}: [tool.devserver.{name}] is not a table.")
    return [
        _table(own.get(command, {}), f"{shown} [tool.devserver.{command}]", command, True, path.parent, directory),
        _table(table, f"{shown} [tool.devserver]", command, False, path.parent, directory),
    ]


def _has_project(folder: Path) -> bool:
    return (folder / "pyproject.toml").is_file()


def _tool_table(path: Path, shown: str) -> dict[str, Any]:
    from devserver.config.project import read_pyproject

    content = read_pyproject(path)
    table = content.get("tool", {})
    table = table.get("devserver", {}) if isinstance(table, dict) else {}
    if not isinstance(table, dict):
        raise ConfigError(f"{shown}: tool.devserver is not a table.")
    return dict(table)


def _table(table: Mapping[str, Any], origin: str, command: str, own: bool, home: Path, directory: Path) -> Layer:
    """:param own: whether it is the command's own table, and not the one that all share."""
    by_spelling = spelled()
    values: dict[str, tuple[Any, str]] = {}
    for key, given in table.items():
        known = by_spelling.get(key.replace("-", "_"))
        label = f"{origin} {key}"
        if known is None or options.of(known).commands == settings.API_ONLY:
            guess = options.nearest(key.replace("-", "_"), by_spelling).replace("_", "-")
            raise ConfigError(
                f"{origin} {key}: there is no such option.", hint=f"Did you mean {guess}?" if guess else ""
            )
        if command not in options.of(known).commands:
            if not own:
                continue
            other = only_of(known)
            raise ConfigError(
                f"{origin} {key}: this option belongs to dev {other}.", hint=f"Move it to [tool.devserver.{other}]."
            )
        if known.name in values:
            raise ConfigError(f"{label}: the option is given twice, under two spellings.")
        if known.name == "app":
            # The search for the app reads it itself: it stands below [tool.fastapi] entrypoint.
            if own or not isinstance(given, str):
                raise ConfigError(f"{label}: the app is named by a text in [tool.devserver].")
            continue
        value = attempt(partial(_from_toml, known, given, label))
        values[known.name] = (_anchored(known, value, home, directory), origin)
    return Layer(values)


def _from_toml(known: Field[Any], given: Any, label: str) -> Any:
    declared = options.of(known)
    if declared.kind == "header" and isinstance(given, dict):
        given = list(given.items())
    elif isinstance(given, str) and (declared.kind == "octal" or (declared.none and given in options.NONE_WORDS)):
        # TOML has no word for "none".
        given = options.parse(known, given, label)
    elif declared.kind == "object" and not isinstance(given, (str, dict)):
        raise ConfigError(f"{label}: {given!r} is neither a file nor a table.")
    return options.check(known, given, label)


def _anchored(known: Field[Any], value: Any, home: Path, directory: Path) -> Any:
    """Paths in a file start at that file's folder, wherever the command was called."""
    if isinstance(value, tuple):
        return tuple(_anchored(known, item, home, directory) for item in value)
    is_path = options.of(known).kind == "path" or known.name == "log_config"
    if not is_path or not isinstance(value, str) or value in {"", "-"} or (home == directory and known.name != "chdir"):
        return value
    return str(home / value)


def _check_files(values: dict[str, Any], origins: dict[str, str], directory: Path) -> None:
    """:raises ConfigError: a file or folder that is only looked at much later does not exist."""
    for name in ("reload_dirs", "app_dir"):
        for path in values[name] if isinstance(values[name], tuple) else [values[name]]:
            if path:
                _folder(directory / path, _label(name, origins))
    config = values["log_config"]
    if isinstance(config, str) and not (directory / config).is_file():
        raise ConfigError(f"{_label('log_config', origins)}: the file {config} does not exist.")


def _label(name: str, origins: dict[str, str]) -> str:
    flag = options.flag(settings.by_name(name))
    return flag if origins[name] in {COMMAND_LINE, DEFAULT} else f"{origins[name]} {flag[2:]}"
