"""Which of pytest's arguments need a process that has imported nothing yet, and why.

Coverage has to see imports, workers of xdist are processes of their own, debuggers want the terminal for themselves,
and what decides about plugins and configuration files decides before a warm process could know of it. The arguments
count as pytest puts them together: ``addopts`` of the configuration file, ``PYTEST_ADDOPTS``, and the command line.

Reading the configuration file is the one thing done here besides deciding.
"""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

CONFIG_FILES = ("pytest.toml", ".pytest.toml", "pytest.ini", ".pytest.ini", "pyproject.toml", "tox.ini", "setup.cfg")
"""In pytest's order; the first that has something for it counts."""

_COVERAGE = "measures coverage"
_WORKERS = "runs tests in processes of its own"
_DEBUGGER = "starts a debugger"
_PLUGINS = "decides which plugins are loaded"
_PLACE = "names the configuration"
_LONG = {
    "--pdb": _DEBUGGER,
    "--pdbcls": _DEBUGGER,
    "--trace": _DEBUGGER,
    "--usepdb": _DEBUGGER,
    "--disable-plugin-autoload": _PLUGINS,
    "--rootdir": _PLACE,
    "--config-file": _PLACE,
    "--tx": _WORKERS,
    "--px": _WORKERS,
    "--forked": _WORKERS,
    "--looponfail": _WORKERS,
    "--boxed": _WORKERS,
}
_SHORT = {"p": _PLUGINS, "c": _PLACE}
_WITH_VALUE = frozenset("kmrcpWon")
"""Short options of pytest and xdist whose value may be the next word."""


def why_plain(arguments: Sequence[str]) -> str:
    """Why a run with these must be a fresh process: ``--cov measures coverage``; empty when it need not be."""
    found: dict[str, str] = {}
    words = list(arguments)[::-1]
    while words:
        word = words.pop()
        if word == "--":
            break
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            if name in {"--numprocesses", "--dist", "--override-ini"} and not equals and words:
                value = words.pop()
            _long(name, value, found)
        elif word.startswith("@"):
            found[word] = "reads arguments from a file"
        elif word.startswith("-") and word != "-":
            _short(word[1:], words, found)
    return next((f"{option} {why}" for option, why in found.items()), "")


def added(environ: Mapping[str, str], directory: Path, arguments: Sequence[str]) -> tuple[list[str], str]:
    """What pytest reads before the command line.

    :param arguments: those of the command line; existing paths among them tell where a file is looked for.
    :returns: the words, and why they cannot be told when they cannot.
    """
    try:
        words = [*_configured(directory, arguments), *shlex.split(environ.get("PYTEST_ADDOPTS", ""))]
    except (ValueError, OSError):
        # pytest says itself what is wrong.
        return [], "the configuration cannot be read"
    return words, ""


def _long(name: str, value: str, found: dict[str, str]) -> None:
    if name == "--no-cov":
        for known in [known for known in found if known.startswith("--cov")]:
            del found[known]
    elif name == "--cov" or name.startswith("--cov-"):
        found[name] = _COVERAGE
    elif name in {"--numprocesses", "--dist"}:
        # The last one counts: -n0 turns a -n auto of the configuration off.
        _workers(name, value, found)
    elif name == "--override-ini":
        if value.startswith("addopts"):
            found[name] = _PLACE
    elif name in _LONG:
        found[name] = _LONG[name]


def _short(letters: str, words: list[str], found: dict[str, str]) -> None:
    """``-xvn4``: flags, and at last perhaps one with a value."""
    for index, letter in enumerate(letters):
        if letter in _WITH_VALUE:
            value = letters[index + 1 :] or (words.pop() if words else "")
            if letter == "n":
                _workers("-n", value.removeprefix("="), found)
            elif letter == "o" and value.startswith("addopts"):
                found["-o addopts"] = _PLACE
            elif letter in _SHORT:
                found[f"-{letter} {value}".strip()] = _SHORT[letter]
            return
        if letter in "df":
            found[f"-{letter}"] = _WORKERS


def _workers(name: str, value: str, found: dict[str, str]) -> None:
    if value in {"0", "no"}:
        for known in [known for known in found if known.startswith(("-n", "--numprocesses", "--dist"))]:
            del found[known]
    elif name != "--dist" or value:
        found[f"{name} {value}".strip()] = _WORKERS


def _configured(directory: Path, arguments: Sequence[str]) -> list[str]:
    start = _ancestor(directory, arguments)
    for folder in (start, *start.parents):
        for name in CONFIG_FILES:
            path = folder / name
            if path.is_file():
                options = _section(path)
                if options is not None:
                    value = options.get("addopts", [])
                    return shlex.split(value) if isinstance(value, str) else [str(word) for word in value]
    return []


def _ancestor(directory: Path, arguments: Sequence[str]) -> Path:
    paths = [
        os.path.abspath(directory / word.partition("::")[0]) for word in arguments if word and not word.startswith("-")
    ]
    folders = [path if os.path.isdir(path) else os.path.dirname(path) for path in paths if os.path.exists(path)]
    with contextlib.suppress(ValueError):
        return Path(os.path.commonpath(folders))
    return directory


def _section(path: Path) -> dict[str, Any] | None:
    """What the file has for pytest; None when it has nothing."""
    if path.suffix == ".toml":
        # Here, because most projects need one of the two only.
        import tomllib

        table: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        if path.name != "pyproject.toml":
            return dict(table.get("pytest", {}))
        found = table.get("tool", {}).get("pytest")
        return None if found is None else {**found, **found.get("ini_options", {})}
    import configparser

    parser = configparser.ConfigParser(interpolation=None, strict=False, allow_no_value=True)
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
    except configparser.Error as exc:
        raise ValueError(str(exc)) from exc
    name = "tool:pytest" if path.name == "setup.cfg" else "pytest"
    if parser.has_section(name):
        return dict(parser[name])
    return {} if path.suffix == ".ini" and "pytest" in path.name else None
