"""``dev add``: gives a project that is there a router, a model, or what deploys it. Only wires."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from devserver.cli.new_update import BESIDE_NOTE
from devserver.cli.run import working_directory
from devserver.errors import EXIT_OK, UsageError
from devserver.scaffold import catalog as catalogs
from devserver.scaffold import record
from devserver.scaffold.deploy import deploying
from devserver.scaffold.formatting import formatted
from devserver.scaffold.generate import Edit, crud, model, router, tests
from devserver.scaffold.project import Project, find
from devserver.scaffold.resource import resource_of
from devserver.scaffold.update import Action, Change, apply, put

if TYPE_CHECKING:
    from devserver.scaffold.catalog import Catalog

_Write = Callable[[str], object]

NAMED = ("router", "model", "test")
"""What is added under a name."""


def add(
    kind: str,
    name: str | None,
    *,
    crud: bool,
    dry_run: bool,
    as_json: bool,
    chdir: str | None,
    say: _Write,
    warn: _Write,
) -> int:
    """Adds to the project; the exit code.

    :raises DevserverError: it cannot be added; nothing was changed.
    """
    folder = working_directory() / (chdir or "")
    catalog = catalogs.load()
    deploys = tuple(catalog.laid_over.features)
    if kind not in {*NAMED, *deploys}:
        kinds = ", ".join([*NAMED, *deploys[:-1]])
        raise UsageError(f"dev add cannot add {kind}.", hint=f"It adds {kinds} and {deploys[-1]}.")
    if crud and kind != "router":
        raise UsageError("--crud goes with dev add router.", hint="Write dev add router orders --crud.")
    if (name is None) == (kind in NAMED):
        if name is None:
            raise UsageError(f"dev add {kind} needs a name.", hint=f"Write dev add {kind} orders.")
        raise UsageError(f"dev add {kind} takes no name.", hint=f"Write dev add {kind}.")
    project = find(folder)
    if name is None:
        decided, remembered = deploying(project, catalog, kind)
        edits = [_as_edit(each) for each in decided if each.action in {Action.ADD, Action.REPLACE}]
    else:
        decided, remembered = [], None
        edits = _generated(project, catalog, kind, name, everything=crud)
    beside: dict[str, str] = {}
    if not dry_run:
        if name is None:
            beside = apply(folder, decided)
        else:
            _write(folder, edits)
        if remembered is not None and decided:
            put(folder / record.FILE, remembered.to_file().content)
    notes = [BESIDE_NOTE] if any(each.action is Action.PUT_BESIDE for each in decided) else []
    notes += _advice(kind, project, edits, everything=crud)
    if as_json:
        rows = [{"path": each.path, "new": each.before is None} for each in edits]
        say(json.dumps({"dry_run": dry_run, "changes": rows, "beside": beside, "notes": notes}, indent=2))
        return EXIT_OK
    if not edits and not beside:
        say("There is nothing to add: it is there already.")
        return EXIT_OK
    for text in (
        *map(_diff, edits),
        *(f"{path} differs: the one of the template is {new}" for path, new in beside.items()),
    ):
        say(text)
    for note in notes:
        warn(f"note: {note}")
    return EXIT_OK


def _generated(project: Project, catalog: Catalog, kind: str, name: str, *, everything: bool) -> list[Edit]:
    resource = resource_of(name)
    if kind == "test":
        edits = tests(project, name)
    elif kind == "model":
        edits = model(project, catalog, resource)
    else:
        edits = crud(project, catalog, resource) if everything else router(project, resource)
    # Only what is new: how the rest is laid out is for those who wrote it.
    return [
        replace(each, after=formatted(each.after, Path(each.path), project.folder)) if each.before is None else each
        for each in edits
    ]


def _as_edit(change: Change) -> Edit:
    before = None if change.action is Action.ADD else change.before.decode(errors="replace")
    return Edit(change.path, before, change.content.decode(errors="replace"))


def _write(folder: Path, edits: Sequence[Edit]) -> None:
    for edit in edits:
        path = folder / edit.path
        try:
            put(path, edit.after.encode())
        except OSError as exc:
            raise UsageError(
                f"{path} cannot be written: {exc.strerror or exc}.", hint="Make it writable, and run this again."
            ) from exc


def _diff(edit: Edit) -> str:
    """As git shows it."""
    before = (edit.before or "").splitlines(keepends=True)
    old = "/dev/null" if edit.before is None else f"a/{edit.path}"
    return "".join(difflib.unified_diff(before, edit.after.splitlines(keepends=True), old, f"b/{edit.path}")).rstrip()


def _advice(kind: str, project: Project, edits: Sequence[Edit], *, everything: bool) -> list[str]:
    """What is left to do."""
    if edits and "db" in project.features and (kind == "model" or everything):
        made = 'alembic upgrade head && alembic revision --autogenerate -m "Add it" && alembic upgrade head'
        return [f"The table is not there before it is migrated: {made}"]
    return []
