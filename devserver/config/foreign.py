"""Layers in other words than ours: a Python file, a Paste file, and gunicorn's options.

Imported only where there is one of them, which is seldom.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from devserver.config import gunicorn, gunicorn_flags, paste_file, settings
from devserver.config import option as options
from devserver.config.layer import COMMAND_LINE, Layer, Wrong, attempt, read_value, spelled
from devserver.config.python_file import HOOKS
from devserver.errors import ConfigError
from devserver.events import Notice

GUNICORN_VARIABLE = "GUNICORN_CMD_ARGS"


def python_layer(names: Mapping[str, Any], path: Path, command: str, notices: list[Notice]) -> Layer:
    """Reads the file of ``--config``, which is gunicorn's or has our names."""
    is_theirs = is_gunicorns(names, path)
    converted = gunicorn.convert(names, numbers_only=not is_theirs)
    translated = gunicorn.translate(converted.names)
    notices += [Notice("warning", f"{path}: {note}") for note in translated.notes]
    values: dict[str, tuple[Any, str]] = {}
    for field_name, (name, value) in translated.values.items():
        label = f"{path} {name}"
        values[field_name] = (attempt(partial(options.check, settings.by_name(field_name), value, label)), str(path))
    for name, text in converted.wrong.items():
        wrong = Wrong(ConfigError(f"{path} {name}: {text}"))
        values |= {field_name: (wrong, str(path)) for field_name in gunicorn.OPTIONS[name]("1")}
    if is_theirs:
        _tell_of_own_variables(names, path, notices)
    else:
        values |= _own_options(names, path, command, notices)
    return Layer(values)


def is_gunicorns(names: Mapping[str, Any], path: Path) -> bool:
    """Says whether a Python file was written for gunicorn, so that only gunicorn's settings count in it.

    The word gunicorn in its name says so. So does a setting that only gunicorn has, or a ``bind`` beside the ``host``
    or ``port`` that it was put together from.
    """
    if "gunicorn" in path.name.lower():
        return True
    if names.keys() & (gunicorn.KNOWN - HOOKS.keys() - spelled().keys()):
        return True
    return "bind" in names and not names.keys().isdisjoint({"host", "port"})


def _tell_of_own_variables(names: Mapping[str, Any], path: Path, notices: list[Notice]) -> None:
    """Names our options among the file's own variables: whoever meant one must learn that it does not count."""
    others = {name: value for name, value in names.items() if name not in gunicorn.KNOWN and not callable(value)}
    ours = [name for name in others if name in spelled()]
    if ours:
        level = "info" if "gunicorn" in path.name.lower() else "warning"
        text = f"{path}: only gunicorn's settings count in a gunicorn file; {', '.join(ours)} mean nothing there."
        notices.append(Notice(level, text.replace(" mean ", " means ") if len(ours) == 1 else text))
    for name in others.keys() - ours:
        guess = options.nearest(name, gunicorn.KNOWN, cutoff=0.85)
        # A name beside the one it looks like is a variable that the setting was made of, such as timeout_str.
        if guess and guess not in names:
            notices.append(Notice("warning", f"{path}: gunicorn has no setting {name}; did you mean {guess}?"))


def _own_options(
    names: Mapping[str, Any], path: Path, command: str, notices: list[Notice]
) -> dict[str, tuple[Any, str]]:
    """Reads a file with our names; names that are no options are its own, unless they look like one."""
    by_spelling = spelled()
    values: dict[str, tuple[Any, str]] = {}
    for name, value in names.items():
        if name in gunicorn.KNOWN:
            continue
        known = by_spelling.get(name)
        if known is not None and command in options.of(known).commands and known.name != "config_file":
            values[known.name] = (attempt(partial(options.check, known, value, f"{path} {name}")), str(path))
        elif not callable(value) and known is None and (guess := options.nearest(name, by_spelling, cutoff=0.85)):
            notices.append(Notice("warning", f"{path}: {name} is not an option; did you mean {guess}?"))
    return values


def paste_layer(directory: Path, paste: str, command: str, notices: list[Notice]) -> Layer:
    """What ``[server:main]`` of a Paste file says: the weakest of all, since it is part of the app."""
    path = directory / paste_file.split(paste)[0]
    return server_layer(paste_file.server_settings(path), f"{path} [server:main]", command, notices)


def server_layer(names: dict[str, str], origin: str, command: str, notices: list[Notice]) -> Layer:
    """What such a section says.

    :param names: name → text, without those that say which server it is for.
    :param origin: where it stands, for messages.
    """
    if "listen" in names:
        names["bind"] = names.pop("listen")
    typed = {name: gunicorn_flags.typed(name, text) for name, text in names.items() if name in gunicorn.KNOWN}
    translated = gunicorn.translate(typed)
    values: dict[str, tuple[Any, str]] = {}
    for field_name, (name, value) in translated.values.items():
        label = f"{origin} {name}"
        values[field_name] = (attempt(partial(read_value, settings.by_name(field_name), value, label)), origin)
    notices += [Notice("warning", f"{origin}: {note}") for note in translated.notes]
    by_spelling = spelled()
    for name, text in names.items():
        known = by_spelling.get(name.replace("-", "_"))
        if name in gunicorn.KNOWN:
            continue
        if known is None or command not in options.of(known).commands:
            notices.append(Notice("warning", f"{origin}: {name} has no effect: there is no such option."))
        else:
            values[known.name] = (attempt(partial(read_value, known, text, f"{origin} {name}")), origin)
    # Its app is what the file is for.
    values.pop("app", None)
    values.pop("paste", None)
    return Layer(values)


def gunicorn_variable(environ: Mapping[str, str], notices: list[Notice]) -> Layer:
    """What GUNICORN_CMD_ARGS says, in gunicorn's spelling."""
    try:
        words = shlex.split(environ.get(GUNICORN_VARIABLE, ""))
    except ValueError as exc:
        raise ConfigError(f"{GUNICORN_VARIABLE}: {str(exc).lower()}.") from None
    return gunicorn_options(gunicorn_flags.read(words, GUNICORN_VARIABLE), GUNICORN_VARIABLE, notices)


def gunicorn_options(given: Mapping[str, Any], origin: str, notices: list[Notice]) -> Layer:
    """What gunicorn's settings say that were typed."""
    translated = gunicorn.translate({name: value for name, value in given.items() if name != "config"})
    where = "" if origin == COMMAND_LINE else f"{origin}: "
    notices += [Notice("warning", f"{where}{note}") for note in translated.notes]
    values: dict[str, tuple[Any, str]] = {
        field_name: (attempt(partial(read_value, settings.by_name(field_name), value, f"{where}{name}")), origin)
        for field_name, (name, value) in translated.values.items()
    }
    if "config" in given:
        # gunicorn takes both.
        values["config_file"] = (str(given["config"]), origin)
    return Layer(values)
