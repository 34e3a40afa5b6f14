"""The ``dev`` command: argv in, exit code out. The only place that ends the process.

Commands raise errors and return exit codes; here an error becomes sentences on stderr. typer's own reports are
replaced, because a mistyped option deserves one sentence and not a box. What a command needs is imported when it runs:
``dev --help`` must not wait for a server.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from devserver import __version__
from devserver.errors import EXIT_INTERNAL, EXIT_OK, EXIT_USAGE, DevserverError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

EXIT_INTERRUPTED = 130
"""What a shell expects of a program that Ctrl+C ended: 128 + SIGINT."""

# The base of all that typer says about a command line: click's class in older versions of typer, its own in newer.
_BadCommandLine: Any = typer.BadParameter.__base__


def main() -> NoReturn:
    """Entry point of the console scripts."""
    sys.exit(invoke(sys.argv[1:]))


def invoke(arguments: Sequence[str]) -> int:
    """Runs one command line and returns its exit code; every error has been reported."""
    try:
        return _dispatch(list(arguments))
    except DevserverError as exc:
        report(exc)
        return exc.exit_code
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except Exception:
        import traceback

        traceback.print_exc()
        _say("error: This is a bug in devserver, not in your app; the lines above tell where.")
        return EXIT_INTERNAL


def report(error: DevserverError) -> None:
    """The sentence, a blank line, the hint: on stderr."""
    _say(f"error: {error.message}")
    if error.hint:
        _say(f"\nhint: {error.hint}")


def build(*, everything: bool = False) -> typer.Typer:
    """The commands.

    :param everything: whether ``dev run --help`` shows every option.
    """
    from devserver.cli.options import given, takes_options

    dev = typer.Typer(
        name="dev",
        help="A development and production server for FastAPI.",
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["--help", "-h"], "max_content_width": 120},
    )

    @dev.callback(invoke_without_command=True)
    def _top(
        context: typer.Context,
        version: Annotated[bool, typer.Option("--version", "-V", help="Show the version and exit.")] = False,
    ) -> int:
        if version:
            typer.echo(version_line())
            raise typer.Exit(EXIT_OK)
        if context.invoked_subcommand is None:
            typer.echo(context.get_help())
            raise typer.Exit(EXIT_USAGE)
        return EXIT_OK

    @dev.command(epilog="" if everything else "Limits, timeouts, logs, proxies, TLS and more: dev run --help-all")
    @takes_options("run", everything=everything)
    def run(**values: Any) -> int:
        """Serve an app, and its new code after every save."""
        from devserver.cli import run as command

        return command.run(given(values))

    @dev.command()
    def config(
        command: Annotated[str, typer.Argument(metavar="[run|api]", help="Whose settings to show.")] = "run",
        json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
        chdir: Annotated[str | None, typer.Option(metavar="DIR", help="Folder to look at.")] = None,
    ) -> int:
        """Show every setting and where its value comes from."""
        from devserver.cli import config as shown

        return shown.config(command, as_json=json, chdir=chdir)

    return dev


def version_line() -> str:
    """``devserver 1.0 with CPython 3.13.0 on Linux``."""
    import platform

    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"devserver {__version__} with {python} on {platform.system()}"


def _dispatch(arguments: list[str]) -> int:
    everything = "--help-all" in arguments
    if everything:
        arguments = ["--help" if argument == "--help-all" else argument for argument in arguments]
    _refuse_both_ways(arguments)
    command = typer.main.get_command(build(everything=everything))
    try:
        code = command.main(arguments, prog_name="dev", standalone_mode=False)
    except _BadCommandLine as exc:
        raise _usage(exc) from exc
    except typer.Abort:
        return EXIT_INTERRUPTED
    return code if isinstance(code, int) else EXIT_OK


def _refuse_both_ways(arguments: list[str]) -> None:
    """``--reload --no-reload`` would otherwise quietly mean the latter."""
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    for argument in own:
        if argument.startswith("--no-") and f"--{argument[5:]}" in own:
            raise UsageError(f"--{argument[5:]} and {argument} contradict each other.", hint="Give one of them.")


def _usage(exc: Any) -> UsageError:
    """What is wrong with the command line, in one sentence and with what was probably meant."""
    from devserver.cli.options import in_order, metavar, spellings
    from devserver.config import option as options
    from devserver.config.sources import OTHER_COMMANDS

    context = getattr(exc, "ctx", None)
    path = context.command_path if context is not None else "dev"
    name = getattr(exc, "option_name", None)
    if name is None:
        return UsageError(_sentence(exc.format_message()), hint=_command_hint(exc, path))
    name = name if name.startswith("-") else f"--{name}"
    if hasattr(exc, "possibilities"):
        flags = {options.flag(known) for known in in_order("run")}
        if path == "dev":
            if name in flags:
                return UsageError(
                    f"{name} is an option of dev run.", hint=f"Write it after the command: dev run {name} …"
                )
            return UsageError(_no_such(name, ["--version", "--help", *flags]))
        for other, names in OTHER_COMMANDS.items():
            if name.removeprefix("--") in names:
                return UsageError(f"{name} is an option of dev {other}, not of {path}.")
        parameters = context.command.params if context is not None else []
        names_here = {flag for parameter in parameters for flag in (*parameter.opts, *parameter.secondary_opts)}
        return UsageError(_no_such(name, [*names_here, "--help", "--help-all"]))
    if "requires an argument" in exc.message:
        word = next((metavar(known) for known in in_order("run") if name in spellings(known)), "VALUE")
        return UsageError(f"{name} needs a value.", hint=f"Write {name} {word}.")
    if "does not take a value" in exc.message:
        return UsageError(f"{name} takes no value.", hint=f"Write {name} or --no-{name[2:]}.")
    return UsageError(_sentence(exc.format_message()))


def _no_such(name: str, known: Sequence[str]) -> str:
    from devserver.config.option import nearest

    guess = nearest(name, [flag for flag in known if flag.startswith("--")])
    return f"No such option {name}; did you mean {guess}?" if guess else f"No such option {name}."


def _command_hint(exc: Any, path: str) -> str:
    """``dev main:app`` is what uvicorn's users type."""
    message = exc.format_message()
    if path == "dev" and "No such command" in message:
        name = message.partition("'")[2].partition("'")[0]
        if ":" in name or name.endswith(".py") or os.path.isdir(name):
            return f"To serve it: dev run {name}"
        return "The commands are run and config." if "Did you mean" not in message else ""
    return ""


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    return text if text.endswith((".", "?")) else f"{text}."


def _say(text: str) -> None:
    typer.echo(text, err=True)
