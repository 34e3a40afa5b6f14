"""Commands, their help and shell completion, by typer; ``dev run`` alone is read elsewhere (``arguments.py``).

typer's own error reports are replaced, because a mistyped word deserves one sentence and not a box.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from devserver.cli.arguments import no_such, spelled
from devserver.cli.main import EXIT_INTERRUPTED, version_line
from devserver.cli.options import takes_options
from devserver.errors import EXIT_OK, EXIT_USAGE, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

# The base of all that typer says about a command line: click's class in older versions of typer, its own in newer.
_BadCommandLine: Any = typer.BadParameter.__base__


def dispatch(arguments: Sequence[str]) -> int:
    """Runs a command other than ``dev run``, or prints help; returns the exit code.

    :raises DevserverError: the command line is wrong, or the command failed.
    """
    everything = "--help-all" in arguments
    words = ["--help" if word == "--help-all" else word for word in arguments]
    command = typer.main.get_command(build(everything=everything))
    try:
        code = command.main(words, prog_name="dev", standalone_mode=False)
    except _BadCommandLine as exc:
        raise _usage(exc) from exc
    except typer.Abort:
        return EXIT_INTERRUPTED
    return code if isinstance(code, int) else EXIT_OK


def build(*, everything: bool = False) -> typer.Typer:
    """The commands.

    :param everything: whether ``dev run --help`` shows every option.
    """
    dev = typer.Typer(
        name="dev",
        help="A development and production server for FastAPI.",
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["--help", "-h"]},
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

    more = "" if everything else "Limits, timeouts, logs, proxies, TLS and more: dev run --help-all"

    @dev.command(epilog=more)
    @takes_options("run", everything=everything)
    def run(**values: Any) -> int:
        """Serve an app, and its new code after every save."""
        raise AssertionError(f"arguments.py reads the command line of dev run, typer only shows its help: {values}")

    @dev.command(epilog=more.replace("dev run", "dev prod"))
    @takes_options("prod", everything=everything)
    def prod(**values: Any) -> int:
        """Serve an app with several processes that are replaced without losing a request."""
        raise AssertionError(f"arguments.py reads the command line of dev prod, typer only shows its help: {values}")

    @dev.command()
    def new(
        name: Annotated[
            str | None,
            typer.Argument(metavar="[NAME]", help="Folder to make; its name is the project's.", show_default=False),
        ] = None,
        template: Annotated[
            str | None,
            typer.Option("--template", "-t", metavar="NAME", help="What to start from; --list shows what there is."),
        ] = None,
        features: Annotated[
            list[str] | None, typer.Option("--with", metavar="FEATURE", help="What it is to have besides.")
        ] = None,
        docker: Annotated[bool, typer.Option("--docker", help="With a Dockerfile.")] = False,
        ci: Annotated[str | None, typer.Option(metavar="github", help="With a workflow that tests it.")] = None,
        k8s: Annotated[bool, typer.Option("--k8s", help="With manifests for Kubernetes.")] = False,
        systemd: Annotated[bool, typer.Option("--systemd", help="With a unit for systemd.")] = False,
        compose: Annotated[bool, typer.Option("--compose", help="With a compose file.")] = False,
        yes: Annotated[
            bool, typer.Option("--yes", "-y", help="Ask nothing; what is not given is the default.")
        ] = False,
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the files, and make none.")] = False,
        json: Annotated[bool, typer.Option("--json", help="Print JSON; ask nothing.")] = False,
        force: Annotated[bool, typer.Option("--force", help="Add to a folder that is not empty.")] = False,
        install: Annotated[bool, typer.Option("--install/--no-install", help="Install what it needs.")] = True,
        git: Annotated[bool, typer.Option("--git/--no-git", help="Make a repository and the first commit.")] = True,
        show_list: Annotated[bool, typer.Option("--list", help="Show templates and features.")] = False,
        update: Annotated[
            bool, typer.Option("--update", help="Bring NAME, or this folder, to the newer template.")
        ] = False,
    ) -> int:
        """Make a project that runs, is tested and deploys."""
        if update:
            from devserver.cli.new_update import update as updated

            return updated(name, dry_run=dry_run, as_json=json, say=typer.echo, warn=_warn)
        from devserver.cli import new as made

        if show_list:
            return made.show_list(as_json=json, say=typer.echo)
        if ci not in {None, "github"}:
            raise UsageError(f"There is no workflow for {ci}.", hint="Write --ci github.")
        chosen = {"docker": docker, "ci": ci, "k8s": k8s, "systemd": systemd, "compose": compose}
        order = made.Order(
            name=name,
            template=template,
            features=(*(features or ()), *(feature for feature, wanted in chosen.items() if wanted)),
            yes=yes,
            dry_run=dry_run,
            json=json,
            force=force,
            install=install,
            git=git,
        )
        return made.new(order, say=typer.echo, warn=_warn)

    @dev.command()
    def add(
        kind: Annotated[
            str,
            typer.Argument(
                metavar="router|model|test|docker|compose|ci|k8s|systemd", help="What the project is to get."
            ),
        ],
        name: Annotated[
            str | None, typer.Argument(metavar="[NAME]", help="Of a router, a model or a test: orders.")
        ] = None,
        crud: Annotated[bool, typer.Option("--crud", help="A router with everything: store, models, tests.")] = False,
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")] = False,
        json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
        chdir: Annotated[str | None, typer.Option(metavar="DIR", help="Folder of the project.")] = None,
    ) -> int:
        """Add a router, a model, or what deploys it, to a project."""
        from devserver.cli.add import add as added

        return added(kind, name, crud=crud, dry_run=dry_run, as_json=json, chdir=chdir, say=typer.echo, warn=_warn)

    @dev.command()
    def ctl(
        action: Annotated[str, typer.Argument(metavar="status|workers|reload|scale|stop|top", help="What to do.")],
        number: Annotated[int | None, typer.Argument(metavar="[N]", help="Workers, for scale.")] = None,
        control: Annotated[str | None, typer.Option(metavar="PATH", help="The master's socket.")] = None,
        json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    ) -> int:
        """Ask a running dev prod how it is, and tell it what to do."""
        from devserver.cli.ctl import ctl as done

        return done(action, number, control=control, as_json=json, write=typer.echo)

    @dev.command()
    def config(
        command: Annotated[str, typer.Argument(metavar="[run|prod|api]", help="Whose settings to show.")] = "run",
        json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
        chdir: Annotated[str | None, typer.Option(metavar="DIR", help="Folder to look at.")] = None,
        file: Annotated[
            str | None,
            typer.Option("--from", metavar="FILE", help="Print gunicorn's settings file as tables of pyproject.toml."),
        ] = None,
    ) -> int:
        """Show every setting and where its value comes from."""
        from devserver.cli import config as shown

        if file is not None:
            typer.echo(shown.translated(file))
            return EXIT_OK
        typer.echo(shown.config(command, as_json=json, chdir=chdir))
        return EXIT_OK

    @dev.command()
    def routes(
        app: Annotated[str | None, typer.Argument(metavar="[APP]", help="As for dev run.", show_default=False)] = None,
        json: Annotated[bool, typer.Option("--json", help="Print one JSON array.")] = False,
        chdir: Annotated[str | None, typer.Option(metavar="DIR", help="Folder to look at.")] = None,
        app_dir: Annotated[str | None, typer.Option(metavar="DIR", help="Folder to import the app from.")] = None,
        env_file: Annotated[list[str] | None, typer.Option(metavar="FILE", help="Variables for the app.")] = None,
        mode: Annotated[str | None, typer.Option(metavar="NAME", help="Whose .env.NAME files to read.")] = None,
        factory: Annotated[bool, typer.Option("--factory", help="APP is a function that makes the app.")] = False,
    ) -> int:
        """Show the routes of an app, where they are written, and which of them are never reached."""
        from devserver.cli.routes import routes as shown

        given = {"app": app, "chdir": chdir, "app_dir": app_dir, "env_file": env_file, "mode": mode, "factory": factory}
        return shown({name: value for name, value in given.items() if value}, as_json=json, write=typer.echo)

    @dev.command()
    def doctor(
        app: Annotated[str | None, typer.Argument(metavar="[APP]", help="As for dev run.", show_default=False)] = None,
        json: Annotated[bool, typer.Option("--json", help="Print one JSON array.")] = False,
        chdir: Annotated[str | None, typer.Option(metavar="DIR", help="Folder to look at.")] = None,
    ) -> int:
        """Say what is wrong or slow here, and what to do about it."""
        from devserver.cli.doctor import doctor as examined

        given = {name: value for name, value in {"app": app, "chdir": chdir}.items() if value}
        return examined(given, as_json=json, write=typer.echo)

    @dev.command()
    def env(
        action: Annotated[str | None, typer.Argument(metavar="[why KEY|check]", help="What to show.")] = None,
        key: Annotated[str | None, typer.Argument(metavar="[KEY]", hidden=True)] = None,
        prod: Annotated[bool, typer.Option("--prod", help="What dev prod would read.")] = False,
        mode: Annotated[str | None, typer.Option(metavar="NAME", help="Whose .env.NAME files to read.")] = None,
        env_file: Annotated[list[str] | None, typer.Option(metavar="FILE", help="A further file.")] = None,
        chdir: Annotated[str | None, typer.Option(metavar="DIR", help="Folder to look at.")] = None,
        example: Annotated[
            str | None, typer.Option(metavar="FILE", help="For check, in place of .env.example.")
        ] = None,
        json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    ) -> int:
        """Show the variables of env files and where each comes from; check them against .env.example."""
        from devserver.cli.env import env as shown

        given = {name: each for name, each in {"mode": mode, "env_file": env_file, "chdir": chdir}.items() if each}
        return shown(action, key, given, prod=prod, example=example, as_json=json, write=typer.echo, warn=_warn)

    @dev.command(name="exec", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
    def execute(
        command: Annotated[list[str], typer.Argument(metavar="[--] COMMAND [ARGS]", help="pytest, alembic, …")],
        mode: Annotated[str | None, typer.Option(metavar="NAME", help="Whose .env.NAME files to read.")] = None,
        env_file: Annotated[list[str] | None, typer.Option(metavar="FILE", help="A further file.")] = None,
        chdir: Annotated[str | None, typer.Option(metavar="DIR", help="Folder to run it in.")] = None,
        strict_env: Annotated[bool, typer.Option("--strict-env", help="Anything wrong in a file is an error.")] = False,
    ) -> int:
        """Run another command with the variables that dev run would give the app."""
        words = f"{command} {mode} {env_file} {chdir} {strict_env}"
        raise AssertionError(f"exec.py reads the command line of dev exec, typer only shows its help: {words}")

    @dev.command(
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": ["--help"]}
    )
    def test(
        arguments: Annotated[
            list[str] | None,
            typer.Argument(
                metavar="[--] [PYTEST ARGS]", help="As for pytest; -h shows its own help.", show_default=False
            ),
        ] = None,
        watch: Annotated[
            bool, typer.Option("--watch", help="Run again, after each save, what it may concern.")
        ] = False,
        mode: Annotated[str | None, typer.Option(metavar="NAME", help="Whose .env.NAME files to read.")] = None,
        env_file: Annotated[list[str] | None, typer.Option(metavar="FILE", help="A further file.")] = None,
        chdir: Annotated[str | None, typer.Option(metavar="DIR", help="Folder to run it in.")] = None,
        strict_env: Annotated[bool, typer.Option("--strict-env", help="Anything wrong in a file is an error.")] = False,
    ) -> int:
        """Run pytest with the variables that dev run would give the app, forked from a dev run if there is one."""
        words = f"{arguments} {watch} {mode} {env_file} {chdir} {strict_env}"
        raise AssertionError(f"test.py reads the command line of dev test, typer only shows its help: {words}")

    return dev


def _warn(text: str) -> None:
    typer.echo(text, err=True)


def _usage(exc: Any) -> UsageError:
    """What is wrong with the command line, in one sentence and with what was probably meant."""
    context = getattr(exc, "ctx", None)
    path = context.command_path if context is not None else "dev"
    name = getattr(exc, "option_name", None)
    if name is None or not hasattr(exc, "possibilities"):
        return UsageError(_sentence(exc.format_message()), hint=_command_hint(exc, path))
    name = name if name.startswith("-") else f"--{name}"
    if path == "dev" and name in spelled("run"):
        return UsageError(f"{name} is an option of dev run.", hint=f"Write it after the command: dev run {name} …")
    parameters = context.command.params if context is not None else []
    return no_such(name, [spelling for parameter in parameters for spelling in parameter.opts])


_COMMANDS = "new, add, run, test, prod, ctl, config, routes, doctor, env and exec"


_OTHERS_COMMANDS = {
    "dev": "dev run",
    "serve": "dev run",
    "server": "dev run",
    "start": "dev run",
    "runserver": "dev run",
}
"""Names that other tools give to our commands."""


def _command_hint(exc: Any, path: str) -> str:
    """``dev main:app`` is what uvicorn's users type."""
    message = exc.format_message()
    if path == "dev" and "No such command" in message:
        name = message.partition("'")[2].partition("'")[0]
        if ":" in name or name.endswith(".py") or os.path.isdir(name):
            return f"To serve it: dev run {name}"
        if name in _OTHERS_COMMANDS:
            return f"The command is called {_OTHERS_COMMANDS[name]} here."
        return "" if "Did you mean" in message else f"The commands are {_COMMANDS}."
    return ""


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    return text if text.endswith((".", "?")) else f"{text}."
