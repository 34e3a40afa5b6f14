#!/usr/bin/env python
"""Writes docs/options.md from the fields of Config. With --check it only says whether the page is what it would write.

A generated page is committed, so that it can be read without building the documentation; a test runs the check.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import Field

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "options.md"
# The page is written by this checkout, whatever is installed.
sys.path.insert(0, str(ROOT))

from devserver.cli.arguments import is_flag, metavar  # noqa: E402
from devserver.cli.options import shown  # noqa: E402
from devserver.config import option as options  # noqa: E402
from devserver.config.settings import API_ONLY, GROUPS, fields  # noqa: E402
from devserver.config.sources import FALLBACKS, variable  # noqa: E402

INTRODUCTION = """# Options

<!-- Written by scripts/options_page.py; change the fields of devserver/config/settings.py instead. -->

An option has one name everywhere: `--reload-dir` on the command line of `dev run`, `DEVSERVER_RELOAD_DIR` in the
environment, `reload-dir` in `pyproject.toml`. A program gives it to `devserver.run` or `devserver.Config` under the
name in the last column. `dev config` prints the value of each and where it came from.

## Which value wins

From the strongest to the weakest:

1. the command line
2. `DEVSERVER_<NAME>` in the environment; a list is separated by commas
3. `DEVSERVER_<NAME>` in an env file
4. the variables of other tools: `PORT`, `FORWARDED_ALLOW_IPS`, `FASTAPI_ENV` for the mode of `dev run`, and
   `WEB_CONCURRENCY` for the workers of `dev prod`
5. `[tool.devserver.run]` in the nearest `pyproject.toml`
6. `[tool.devserver]` there
7. the default

Options that exclude each other (`--bind`, `--uds`, `--fd`, and `--host` with `--port`; the app and `--entrypoint`)
replace one another: `--port 9000` on the command line takes the place of a `uds` in `pyproject.toml`.

An unknown variable that begins with `DEVSERVER_` is a warning; an unknown key in `pyproject.toml` is an error, and so
are values that contradict each other. A wrong value is an error only when it counts: if a stronger source gives the
option, it is a warning. Relative paths start at the folder that is served, after `--chdir`; those in `pyproject.toml`
start at its folder.

An empty variable counts as absent. `FORWARDED_ALLOW_IPS` is the exception: empty, it trusts no proxy, as in uvicorn.
Service links of Kubernetes are not options: `PORT=tcp://10.43.0.9:80`, and for a service called `devserver`
`DEVSERVER_PORT=tcp://10.43.0.9:8000`, `DEVSERVER_SERVICE_HOST` and their like are ignored.

Programs read neither `DEVSERVER_<NAME>` nor `pyproject.toml`: what they pass is what they get, with
`FORWARDED_ALLOW_IPS` as the one exception, as in uvicorn.

## Env files

`--env-file` and `--mode` say which files add variables to the environment of the app, `--strict-env` refuses files with
anything wrong in them: see [Env files](env.md).

## Two columns of defaults

A program that was written for uvicorn must not behave differently under devserver, so `devserver.run` and
`devserver.Config` have uvicorn's defaults. `dev run` has its own where development asks for them. `none` means no limit
or not set, a dash nothing at all.
"""


def page() -> str:
    """The whole page."""
    parts = [INTRODUCTION]
    for group in GROUPS:
        rows = [_row(known) for known in fields() if options.of(known).group == group]
        head = "| option | meaning | `dev run` | program | keyword |\n|---|---|---|---|---|"
        parts.append("\n".join([f"## {group}\n", head, *rows]) + "\n")
    return "\n".join(parts)


def _row(known: Field[Any]) -> str:
    declared = options.of(known)
    in_run = declared.commands != API_ONLY
    cells = (
        _spelling(known) if in_run else "only in programs",
        _meaning(known),
        _value(known, "run") if in_run else "–",
        _value(known, "api"),
        f"`{known.name}`",
    )
    # A bar would end the cell, even in code.
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _spelling(known: Field[Any]) -> str:
    flag = options.flag(known)
    if known.name == "app":
        return "`APP`"
    if is_flag(known):
        return f"`{flag}`, `--no-{flag[2:]}`"
    short = [f"`{spelling}`" for spelling in options.of(known).cli if not spelling.startswith("--")]
    return ", ".join([*short, f"`{flag} {metavar(known)}`"])


def _meaning(known: Field[Any]) -> str:
    declared = options.of(known)
    text = [declared.help]
    if declared.many:
        text.append("May be repeated.")
    if declared.kind != "octal" and declared.minimum is not None:
        if declared.maximum is not None and declared.maximum < options.TOLD_MAX:
            text.append(f"From {declared.minimum:g} to {declared.maximum:g}.")
        elif declared.minimum:
            text.append(f"At least {declared.minimum:g}.")
    if known.name in FALLBACKS:
        text.append(f"Also `{FALLBACKS[known.name]}`.")
    if variable(known) != f"DEVSERVER_{options.flag(known)[2:].replace('-', '_').upper()}":
        text.append(f"`{variable(known)}`.")
    return " ".join(text).replace("<", "&lt;").replace("*", "\\*")


def _value(known: Field[Any], command: str) -> str:
    value = shown(options.check(known, options.default(known, command)))
    return f"`{value}`" if value else "–"


def main() -> int:
    """Writes the page, or compares; returns the exit code."""
    text = page()
    if "--check" in sys.argv[1:]:
        if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text:
            return 0
        sys.stderr.write("error: docs/options.md is stale.\n\nhint: scripts/options_page.py writes it.\n")
        return 1
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
