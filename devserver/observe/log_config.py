"""``--log-config`` in every form that uvicorn takes, handed to :mod:`logging.config` with uvicorn's names made ours.

A file made for uvicorn names its loggers and its formatter classes, one made for gunicorn the loggers of that. They
are replaced by ours before anything is configured, so that such a file works without either server. Errors come out as
one sentence that names the file.
"""

from __future__ import annotations

import copy
import json
import logging.config
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeGuard, cast

from devserver.errors import ConfigError

if TYPE_CHECKING:
    from configparser import RawConfigParser

_CLASSES = {
    f"uvicorn.logging.{name}": f"devserver.observe.logging.{name}"
    for name in ("DefaultFormatter", "AccessFormatter", "ColourizedFormatter")
}
_GUNICORN = {"gunicorn.error": "devserver", "gunicorn.access": "devserver.access"}
_STREAM_HANDLERS = {"logging.StreamHandler", "StreamHandler"}
_OUR_STREAM_HANDLER = "devserver.observe.logging.StreamHandler"


def read(source: object) -> dict[str, Any] | RawConfigParser:
    """The configuration that ``source`` names or is, with uvicorn's names replaced by ours. Nothing is configured yet.

    :param source: a dictionary, a path, an open file in INI form, or a parser.
    :raises ConfigError: the file cannot be read or parsed.
    """
    # A parser is a mapping, too.
    if _is_parser(source):
        return _translate_ini(source)
    if isinstance(source, Mapping):
        return translate(source)
    if isinstance(source, (str, os.PathLike)):
        path = Path(os.fspath(source))
        suffix = path.suffix.lower()
        text = _read_text(path)
        if suffix == ".json":
            return translate(_mapping(_parse_json(text, path), path))
        if suffix in {".yaml", ".yml"}:
            return translate(_mapping(_parse_yaml(text, path), path))
        return _translate_ini(_parse_ini(text, str(path)))
    if hasattr(source, "read"):
        file = cast("IO[str]", source)
        name = getattr(file, "name", "<file object>")
        try:
            text = file.read()
        except (OSError, UnicodeDecodeError) as exc:
            raise ConfigError(f'Log config "{name}" cannot be read: {exc}.') from exc
        return _translate_ini(_parse_ini(text, str(name)))
    raise ConfigError(f"log_config is a {type(source).__name__}; expected a path, a dict, a file or a RawConfigParser.")


def apply(config: Mapping[str, Any] | RawConfigParser, name: str) -> None:
    """Configures :mod:`logging`; loggers that exist already stay enabled.

    :param name: of the source, for the error.
    :raises ConfigError: a part of it is unknown, missing or cannot be made.
    """
    try:
        if _is_parser(config):
            logging.config.fileConfig(config, disable_existing_loggers=False)
        else:
            logging.config.dictConfig(dict(config))
    except Exception as exc:
        # Handlers and filters named in it are anybody's code, so anything may be raised.
        reason = _one_line(exc)
        if exc.__cause__ is not None:
            reason += f" ({_one_line(exc.__cause__)})"
        raise ConfigError(f"Logging cannot be configured from {name}: {reason}.") from exc


def translate(config: Mapping[str, Any]) -> dict[str, Any]:
    """A copy in which uvicorn's loggers and formatters are ours.

    Plain stream handlers of our loggers become ours as well, because the standard one blocks the server when nobody
    reads the stream.
    """
    result: dict[str, Any] = copy.deepcopy(dict(config))
    for formatter in _members(result, "formatters"):
        for key in ("()", "class"):
            if isinstance(formatter.get(key), str):
                formatter[key] = _CLASSES.get(formatter[key], formatter[key])
    loggers = result.get("loggers")
    if isinstance(loggers, dict):
        # A logger that is configured under our own name as well keeps that, and uvicorn's comes before gunicorn's: an
        # app that runs under both has the lines of its requests in the former.
        renamed = {_our_name(name): value for name, value in loggers.items() if _our_name(name) != name}
        kept = {name: value for name, value in loggers.items() if _our_name(name) == name and name not in _GUNICORN}
        of_gunicorn = {ours: loggers[name] for name, ours in _GUNICORN.items() if name in loggers}
        result["loggers"] = loggers = {**of_gunicorn, **renamed, **kept}
        handlers = result.get("handlers")
        ours = {
            handler
            for name, logger in loggers.items()
            if isinstance(name, str) and isinstance(logger, dict) and name.partition(".")[0] == "devserver"
            for handler in logger.get("handlers") or ()
        }
        for name in ours:
            handler = handlers.get(name) if isinstance(handlers, dict) else None
            if isinstance(handler, dict) and handler.get("class") in _STREAM_HANDLERS:
                handler["class"] = _OUR_STREAM_HANDLER
    return result


def describe(source: object) -> str:
    """What to call ``source`` in a sentence."""
    if isinstance(source, (str, os.PathLike)):
        return f'"{os.fspath(source)!s}"'
    name = getattr(source, "name", None)
    return f'"{name}"' if isinstance(name, str) else "the given log_config"


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as exc:
        raise ConfigError(f'Log config "{path}" is not UTF-8 text (byte {exc.start}).') from exc
    except OSError as exc:
        raise ConfigError(f'Log config "{path}" cannot be read: {exc.strerror or exc}.') from exc


def _parse_json(text: str, path: Path) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError as exc:
        raise ConfigError(f'Log config "{path}", line {exc.lineno}: {exc.msg}.') from exc
    except RecursionError as exc:
        raise ConfigError(f'Log config "{path}" is nested too deeply.') from exc


def _parse_yaml(text: str, path: Path) -> object:
    try:
        import yaml
    except ModuleNotFoundError as exc:
        raise ConfigError(
            f'Log config "{path}" is YAML, which needs the extra: pip install "devserver[yaml]".',
        ) from exc
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        raise ConfigError(f'Log config "{path}"{where}: {getattr(exc, "problem", None) or _one_line(exc)}.') from exc
    except RecursionError as exc:
        raise ConfigError(f'Log config "{path}" is nested too deeply.') from exc


def _is_parser(source: object) -> TypeGuard[RawConfigParser]:
    # Whoever has made a parser has imported its module; few do.
    module = sys.modules.get("configparser")
    return module is not None and isinstance(source, module.RawConfigParser)


def _parse_ini(text: str, name: str) -> RawConfigParser:
    import configparser  # not at the top: few configs are INI files

    # The interpolating parser, as fileConfig itself makes for a file name.
    parser = configparser.ConfigParser()
    try:
        parser.read_string(text, source=name)
    except configparser.MissingSectionHeaderError as exc:
        raise ConfigError(f'Log config "{name}", line {exc.lineno}: a key stands before the first section.') from exc
    except configparser.ParsingError as exc:
        line = exc.errors[0][0]
        raise ConfigError(f'Log config "{name}", line {line}: neither a section, a key nor a comment.') from exc
    except (configparser.DuplicateSectionError, configparser.DuplicateOptionError) as exc:
        what = f"option {exc.option}" if isinstance(exc, configparser.DuplicateOptionError) else f"[{exc.section}]"
        raise ConfigError(f'Log config "{name}", line {exc.lineno}: {what} is given twice.') from exc
    if not parser.has_section("loggers"):
        raise ConfigError(f'Log config "{name}" has no section [loggers].')
    return parser


def _translate_ini(source: RawConfigParser) -> RawConfigParser:
    result = copy.deepcopy(source)
    ours: set[str] = set()
    for section in result.sections():
        if section.startswith("formatter_"):
            _replace(result, section, "class", lambda value: _CLASSES.get(value, value))
        elif section.startswith("logger_"):
            _replace(result, section, "qualname", lambda name: _GUNICORN.get(name, _our_name(name)))
            if result.get(section, "qualname", raw=True, fallback="").partition(".")[0] == "devserver":
                ours |= {name.strip() for name in result.get(section, "handlers", raw=True, fallback="").split(",")}
    for name in ours:
        _replace(
            result,
            f"handler_{name}",
            "class",
            lambda value: _OUR_STREAM_HANDLER if value in _STREAM_HANDLERS else value,
        )
    return result


def _replace(parser: RawConfigParser, section: str, key: str, change: Callable[[str], str]) -> None:
    if parser.has_option(section, key):
        value = parser.get(section, key, raw=True)
        if change(value) != value:
            parser.set(section, key, change(value))


def _our_name(name: str) -> str:
    return "devserver" + name.removeprefix("uvicorn") if f"{name}.".startswith("uvicorn.") else name


def _members(config: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    section = config.get(key)
    return [value for value in section.values() if isinstance(value, dict)] if isinstance(section, dict) else []


def _mapping(value: object, path: Path) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f'Log config "{path}" holds a {type(value).__name__}; expected a mapping with "version: 1".')
    return value


def _one_line(exc: BaseException) -> str:
    text = " ".join(str(exc).split()).rstrip(".")
    return f"no {text}" if isinstance(exc, KeyError) else text or type(exc).__name__
