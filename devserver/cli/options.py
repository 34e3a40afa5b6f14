"""The command line's face of the options for help and completion: typer's parameters, made from ``Config``'s fields.

``dev run`` itself is read by ``arguments.py``; a test holds the two against each other.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Annotated, Any

import typer

from devserver.cli.arguments import is_flag, metavar
from devserver.config import option as options
from devserver.config import settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from dataclasses import Field


COMMON = frozenset(
    {
        "access_log",
        "app",
        "bind",
        "chdir",
        "config_file",
        "control",
        "entrypoint",
        "env_file",
        "factory",
        "health_path",
        "host",
        "limit_max_requests",
        "log_config",
        "log_level",
        "metrics",
        "on_error",
        "pid",
        "port",
        "preload",
        "reload",
        "reload_dirs",
        "reload_excludes",
        "reload_includes",
        "root_path",
        "share_errors",
        "strict_port",
        "ui",
        "timeout_graceful_shutdown",
        "timeout_worker",
        "uds",
        "user",
        "workers",
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


def spellings(known: Field[Any]) -> tuple[str, ...]:
    """How typer is told of the option: ``--port``, ``--reload/--no-reload``, or ``--workers`` and ``-w``."""
    flag = options.flag(known)
    return (f"{flag}/--no-{flag[2:]}",) if is_flag(known) else options.of(known).cli or (flag,)


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
        info = typer.Option(
            *spellings(known),
            help=text,
            metavar=" " if is_flag(known) else metavar(known),
            hidden=not visible,
            show_default=False,
            rich_help_panel=declared.group,
        )
        annotation = bool | None if is_flag(known) else list[str] | None if declared.many else str | None
    return inspect.Parameter(
        known.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[annotation, info]
    )
