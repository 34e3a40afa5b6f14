"""``dev env``: the variables that env files give an app, where each comes from, and what is wrong with them.

Reads what ``dev run`` would read, or with ``--prod`` what ``dev prod`` would, and starts nothing. Values are shown
through the redactor, in which each of them is known.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from devserver.app.redact import Redactor
from devserver.cli.run import working_directory
from devserver.config.env_files import read
from devserver.config.env_layers import ENVIRONMENT, Variables, home, names_of_mode
from devserver.config.option import nearest
from devserver.config.sources import Resolved, resolve
from devserver.errors import EXIT_OK, ConfigError, UsageError

EXIT_WRONG = 1
"""What is asked for is not set, or what is checked is not right."""
EXAMPLE = ".env.example"
# What people write where somebody else is to put a value.
_PLACEHOLDER = re.compile(
    r"change[-_ ]?(it|me|this)|replace[-_ ]?(it|me|this|with\b.*)|(put|insert|enter)[-_ ]your\b.*|your[-_ ].*"
    r"|.*[-_ ]here|<.*>|x{3,}|\*{3,}|\.{3}|…|\?+|todo|tbd|fixme|dummy|placeholder|secret|password",
    re.IGNORECASE,
)

_VALUE_CHARS_MAX = 48

_Write = Callable[[str], object]


@dataclass(frozen=True)
class Shown:
    """One variable.

    :ivar source: ``file:line``, or what else has set it.
    :ivar shadows: the weaker definitions, the strongest first.
    """

    name: str
    value: str
    source: str
    shadows: tuple[str, ...]


def env(
    action: str | None,
    key: str | None,
    given: Mapping[str, object],
    *,
    prod: bool,
    example: str | None,
    as_json: bool,
    write: _Write,
    warn: _Write,
) -> int:
    """Does what ``dev env`` was asked for.

    :param given: the options that decide which files are read.
    :param warn: tells what is wrong in the files; ``write`` is for what was asked for.
    :returns: the exit code.
    :raises UsageError: the words make no command, or a file that was named cannot be read.
    """
    # Anything wrong is to be shown here, so that it must not be an error.
    options = {**given, "strict_env": False}
    if action not in {None, "why", "check"}:
        raise UsageError(f"dev env {action} is no command.", hint="Write dev env, dev env why KEY, or dev env check.")
    if (key is None) == (action == "why"):
        raise UsageError("dev env why takes the name of a variable, and only it does.", hint="Write dev env why KEY.")
    resolved = resolve("prod" if prod else "run", options, environ=os.environ, directory=working_directory())
    if resolved.variables is None:
        raise AssertionError("resolve() reads the files of every command")
    variables = resolved.variables
    if action == "check":
        return _check(resolved, example or EXAMPLE, as_json, write)
    code = EXIT_OK
    if key is not None:
        code = _why(key, variables, resolved, as_json, write)
    elif as_json:
        write(_json(variables, resolved))
    else:
        write(_table(variables, resolved, "prod" if prod else "run"))
    if not as_json:
        for finding in variables.findings:
            if key is None or key in finding.names:
                warn(f"{finding.level}: {finding}")
    return code


def _redactor(variables: Variables) -> Redactor:
    """One that knows what a stronger layer hides as well."""
    known = Redactor.of(variables.environ)
    for index in range(max(map(len, variables.values.values()), default=0)):
        known = known.also({name: found[index] for name, found in variables.values.items() if index < len(found)})
    return known


def _rows(variables: Variables, resolved: Resolved) -> list[Shown]:
    redactor = _redactor(variables)
    rows = []
    for name, found in variables.definitions.items():
        value, source, shadows = variables.values[name][0], found[0].place, found[1:]
        if name in variables.environ:
            value, source, shadows = variables.environ[name], ENVIRONMENT, found
        rows.append(
            Shown(name, redactor.variable(name, value), source, tuple(definition.place for definition in shadows))
        )
    for name, value in resolved.environment.items():
        if name not in variables.definitions:
            rows.append(Shown(name, value, "dev run", ()))
    return sorted(rows, key=lambda row: row.name)


def _table(variables: Variables, resolved: Resolved, command: str) -> str:
    rows = _rows(variables, resolved)
    cells = [(row.name, _short(row.value), row.source, ", ".join(row.shadows)) for row in rows]
    lines = []
    if cells:
        table = [("variable", "value", "from", "shadows"), *cells]
        widths = [max(len(line[column]) for line in table) for column in range(4)]
        lines = [
            "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip() for line in table
        ]
    if not variables.files:
        names = ", ".join(names_of_mode(resolved.config.mode)) or "those alone that --env-file or --mode names"
        lines += [*([""] if lines else []), f"There is no env file; dev {command} reads {names}."]
    return "\n".join(lines)


def _short(value: str) -> str:
    # One long value must not push every source out of sight.
    return value if len(value) <= _VALUE_CHARS_MAX else f"{value[: _VALUE_CHARS_MAX - 1]}…"


def _json(variables: Variables, resolved: Resolved) -> str:
    content = {
        "files": list(variables.files),
        "variables": {
            row.name: {"value": row.value, "source": row.source, "shadows": list(row.shadows)}
            for row in _rows(variables, resolved)
        },
        "findings": [
            {"file": each.file, "line": each.line, "level": each.level, "text": each.text}
            for each in variables.findings
        ],
    }
    return json.dumps(content, indent=2)


def _why(key: str, variables: Variables, resolved: Resolved, as_json: bool, write: _Write) -> int:
    redactor = _redactor(variables)
    layers: list[tuple[str, str]] = []
    if key in variables.environ:
        layers.append((ENVIRONMENT, redactor.variable(key, variables.environ[key])))
    for definition, value in zip(variables.definitions.get(key, ()), variables.values.get(key, ()), strict=True):
        layers.append((definition.place, redactor.variable(key, value)))
    if key in resolved.environment and key not in variables.definitions:
        layers.append(("dev run", resolved.environment[key]))
    reasons = [_reason(index, layers, names_of_mode(resolved.config.mode)) for index in range(len(layers))]
    if as_json:
        found = [
            {"source": source, "value": value, "wins": not index, "reason": reason}
            for index, ((source, value), reason) in enumerate(zip(layers, reasons, strict=True))
        ]
        write(json.dumps({"name": key, "layers": found}, indent=2))
    elif layers:
        widths = [max(len(_short(layer[column])) for layer in layers) for column in (0, 1)]
        rows = [
            f"  {source:<{widths[0]}}  {_short(value):<{widths[1]}}  {reason}"
            for (source, value), reason in zip(layers, reasons, strict=True)
        ]
        write("\n".join([f"{key} comes from {layers[0][0]}.", "", *rows]))
    else:
        near = nearest(key, [*variables.definitions, *variables.environ], cutoff=0.8)
        read_files = ", ".join(variables.files) or "no env file, as there is none"
        meant = f" Did you mean {near}?" if near else ""
        write(f"{key} is not set. Looked at: {ENVIRONMENT}, {read_files}.{meant}")
    return EXIT_OK if layers else EXIT_WRONG


def _reason(index: int, layers: list[tuple[str, str]], of_mode: Sequence[str]) -> str:
    source = layers[index][0]
    if index:
        return f"shadowed by {layers[0][0]}"
    if source == ENVIRONMENT:
        return "wins: the environment is stronger than every file"
    if len(layers) == 1:
        return "wins: nothing else sets it"
    file, other = source.rpartition(":")[0], layers[1][0].rpartition(":")[0]
    if file == other:
        return "wins: the last line of a file does"
    if file not in of_mode:
        return "wins: a file that is named with --env-file is stronger than those of the mode"
    return f"wins: {file} is stronger than {other}"


def _check(resolved: Resolved, shown: str, as_json: bool, write: _Write) -> int:
    """What is wrong with the variables when ``.env.example`` says which there must be."""
    variables, path = resolved.variables, resolved.directory / shown
    if variables is None:
        raise AssertionError("resolve() reads the files of every command")
    put_in = home(resolved.config.mode, resolved.config.env_file)
    try:
        example = read(path, shown)
    except ConfigError as exc:
        hint = exc.hint if path.exists() else f"Write one, with the names that the app needs. {exc.hint}"
        raise UsageError(exc.message, hint=hint) from exc
    places = {definition.name: definition.place for definition in example.definitions}
    # A name without an equals sign asks for a variable as well.
    places.update((finding.names[0], f"{finding.file}:{finding.line}") for finding in example.findings if finding.names)
    effective = {**{name: values[0] for name, values in variables.values.items()}, **variables.environ}
    problems: list[dict[str, Any]] = []

    def found(problem: str, name: str, place: str, text: str) -> None:
        problems.append({"problem": problem, "name": name, "place": place, "text": text})

    for name, place in places.items():
        if name not in effective:
            found("missing", name, place, f"{name} is missing; put it in {put_in}.")
        elif not effective[name]:
            found("empty", name, _source(name, variables), f"{name} is empty; give it a value.")
        elif _PLACEHOLDER.fullmatch(effective[name].strip()):
            found("placeholder", name, _source(name, variables), f"the value of {name} is a placeholder; replace it.")
    for name, definitions in variables.definitions.items():
        if name not in places:
            found("extra", name, definitions[0].place, f"{name} is not in {shown}; add it there, or delete it here.")
    problems += [
        {"problem": "wrong", "name": "", "place": f"{finding.file}:{finding.line}", "text": finding.text}
        for finding in variables.warnings
    ]
    if as_json:
        write(json.dumps(problems, indent=2))
    else:
        lines = [f"{each['place']}: {each['text']}" for each in problems]
        write("\n".join(lines) or f"All {len(places)} variables of {shown} are set.")
    return EXIT_WRONG if problems else EXIT_OK


def _source(name: str, variables: Variables) -> str:
    return ENVIRONMENT if name in variables.environ else variables.definitions[name][0].place
