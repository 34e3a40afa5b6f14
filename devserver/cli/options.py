"""The command line's face of the options: typer's parameters, made from the fields of ``Config``.

Every value arrives as text (a flag as a bool, a repeatable option as a list) and None when it was not given; reading
and checking it is the business of ``config``, so that a wrong value gets one sentence wherever it was written.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Annotated, Any

import typer

from devserver.config import option as options
from devserver.config import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from dataclasses import Field

METAVARS = {"int": "N", "size": "BYTES", "seconds": "SECONDS", "bool": "BOOL", "level": "LEVEL", "name": "NAME"}


COMMON = frozenset(
    {
        "access_log",
        "app",
        "bind",
        "chdir",
        "entrypoint",
        "env_file",
        "factory",
        "host",
        "log_config",
        "log_level",
        "on_error",
        "port",
        "reload",
        "reload_dirs",
        "reload_excludes",
        "reload_includes",
        "root_path",
        "share_errors",
        "strict_port",
        "ui",
        "uds",
    }
)
"""The options that ``--help`` shows: those of every day. ``--help-all`` shows the rest too."""


def takes_options(command: str, *, everything: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorates a function of ``**given`` with a parameter for every option of ``command``.

    :param everything: whether help shows every option, or only those of every day.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        kept = [
            parameter
            for parameter in inspect.signature(function, eval_str=True).parameters.values()
            if parameter.kind is not inspect.Parameter.VAR_KEYWORD
        ]
        made = [_parameter(known, command, everything or known.name in COMMON) for known in in_order(command)]
        function.__signature__ = inspect.Signature([*made, *kept])  # type: ignore[attr-defined]
        # typer asks for both, and would look up names of this file in the other one.
        function.__annotations__ = {parameter.name: parameter.annotation for parameter in [*made, *kept]}
        return function

    return decorate


def in_order(command: str) -> list[Field[Any]]:
    """The options of ``command``, group by group."""
    known = [each for each in settings.fields() if command in options.of(each).commands]
    return sorted(known, key=lambda each: settings.GROUPS.index(options.of(each).group))


def given(values: Mapping[str, Any]) -> dict[str, object]:
    """Only what stood on the command line."""
    return {name: value for name, value in values.items() if value is not None and value != []}


def spellings(known: Field[Any]) -> tuple[str, ...]:
    """How the option is written: ``--port``, or ``--reload/--no-reload``, or ``--workers`` and ``-w``."""
    flag = options.flag(known)
    declared = options.of(known)
    if declared.kind == "bool" and not declared.takes_bool:
        return (f"{flag}/--no-{flag[2:]}",)
    return declared.cli or (flag,)


def metavar(known: Field[Any]) -> str:
    """The word that stands for the value in help."""
    declared = options.of(known)
    if declared.metavar or declared.kind == "bool":
        return declared.metavar or METAVARS["bool"]
    if declared.kind == "choice":
        return "|".join(declared.choices)
    return METAVARS.get(declared.kind, options.key(known).rpartition("-")[2].upper())


def shown(value: Any) -> str:
    """A value as it would be written."""
    match value:
        case None:
            return "none"
        case bool():
            return "on" if value else "off"
        case dict():
            return "built in"
        case tuple() | list():
            return ",".join(":".join(item) if isinstance(item, tuple) else str(item) for item in value)
        case _:
            return str(value)


def _parameter(known: Field[Any], command: str, visible: bool) -> inspect.Parameter:
    declared = options.of(known)
    text = declared.help.replace("[", r"\[")
    if known.name == "app":
        info: Any = typer.Argument(help=text, metavar="APP", show_default=False)
        annotation: Any = str | None
    else:
        usual = options.default(known, command)
        if usual is not None and usual != () and usual != "" and not isinstance(usual, dict):
            text = rf"{text} \[{shown(usual)}]"
        flagged = declared.kind == "bool" and not declared.takes_bool
        info = typer.Option(
            *spellings(known),
            help=text,
            metavar=" " if flagged else metavar(known),
            hidden=not visible,
            show_default=False,
            rich_help_panel=declared.group,
        )
        annotation = bool | None if flagged else list[str] | None if declared.many else str | None
    return inspect.Parameter(
        known.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[annotation, info]
    )
