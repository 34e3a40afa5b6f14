"""``dev new --update``: a project becomes what its template says now."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from devserver.cli.run import working_directory
from devserver.errors import EXIT_OK, UsageError
from devserver.scaffold import catalog as catalogs
from devserver.scaffold import record
from devserver.scaffold.plan import Answers, plan
from devserver.scaffold.provenance import FOLDER, of_this
from devserver.scaffold.update import Action, Change, apply, changes, put

BESIDE_NOTE = "Where you and the template have changed a file, the newer one lies beside yours; take what you want."

_Write = Callable[[str], object]


def update(name: str | None, *, dry_run: bool, as_json: bool, say: _Write, warn: _Write) -> int:
    """Updates the project in a folder; the exit code.

    :param name: the folder; the current one by default.
    :raises DevserverError: it was not made by dev new, or cannot be written.
    """
    folder = working_directory() / (name or ".")
    known = record.read(folder)
    if known is None:
        raise UsageError(
            f"{folder} was not made by dev new: it has no {record.FILE}.", hint="Go to a project that was, or name it."
        )
    catalog = catalogs.load()
    template, own = catalog.preset(known.answers.template)
    features = catalog.closure(template, [*own, *known.answers.features])
    answers = Answers(known.answers.names, known.answers.template, features)
    provenance = of_this()
    files = plan(answers, catalog, provenance)
    decided = changes(folder, known.hashes, files)
    beside: dict[str, str] = {}
    if not dry_run:
        beside = apply(folder, decided)
        # Last: until everything is done, a second try must find what the first did.
        put(folder / record.FILE, record.Record.of(provenance.version, answers, files).to_file().content)
    if as_json:
        rows = [{"path": each.path, "action": each.action, "beside": beside.get(each.path)} for each in decided]
        say(json.dumps({"folder": str(folder), "dry_run": dry_run, "changes": rows}, indent=2))
        return EXIT_OK
    say(report(decided, beside) or f"{folder} is what its template says.")
    if not dry_run:
        _remind(decided, beside, warn)
    return EXIT_OK


def report(decided: Sequence[Change], beside: dict[str, str]) -> str:
    """A line for each file."""
    width = max((len(each.action) for each in decided), default=0)
    return "\n".join(
        f"{each.action:<{width}}  {each.path}"
        + (f" (the newer one: {beside[each.path]})" if each.path in beside else "")
        for each in decided
    )


def _remind(decided: Sequence[Change], beside: dict[str, str], warn: _Write) -> None:
    if beside:
        warn(f"note: {BESIDE_NOTE}")
    touched = {each.path for each in decided if each.action in {Action.ADD, Action.REPLACE, Action.REMOVE}}
    if any(path == "pyproject.toml" or Path(path).parts[0] == FOLDER for path in touched):
        warn("note: What it needs has changed: uv lock --upgrade-package devserver && uv sync")
