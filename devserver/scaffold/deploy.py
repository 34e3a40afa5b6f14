"""Decides what a project that is there needs to be deployed in one way more. It looks at no other files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devserver.scaffold.catalog import DEFAULT, Catalog
from devserver.scaffold.plan import Answers, PlannedFile, plan
from devserver.scaffold.project import Project, has_vendored_devserver
from devserver.scaffold.provenance import Provenance
from devserver.scaffold.record import Record, digest
from devserver.scaffold.update import Action, Change, changes

if TYPE_CHECKING:
    from collections.abc import Iterable


def deploying(project: Project, catalog: Catalog, feature: str) -> tuple[list[Change], Record | None]:
    """What changes, and what the project is to remember then, if it remembers anything.

    :param feature: one of those that add no Python.
    """
    known = project.known
    preset = known.answers.template if known else DEFAULT
    template, _ = catalog.preset(preset)
    has = [each for each in catalog.features(template) if each in project.features]
    wanted = catalog.closure(template, [feature])
    # What counts is what the project depends on, and not what runs here.
    provenance = Provenance("0.0", "kept" if has_vendored_devserver(project.folder) else "")

    def planned(features: Iterable[str]) -> list[PlannedFile]:
        return plan(Answers(project.names, preset, catalog.closure(template, features)), catalog, provenance)

    without = {each.path for each in planned(each for each in has if each not in catalog.laid_over.features)}
    others = {each.path for each in planned(each for each in has if each not in wanted)}
    files = [each for each in planned([*has, *wanted]) if each.path not in without]
    recorded = {each.path: known.hashes[each.path] for each in files if known and each.path in known.hashes}
    for each in files:
        # Deleted once, and asked for now.
        if each.path not in others and not (project.folder / each.path).exists():
            recorded.pop(each.path, None)
    decided = changes(project.folder, recorded, files)
    if known is None:
        # Nobody knows what the others were like; what is there is theirs.
        return [each for each in decided if each.action is not Action.PUT_BESIDE], None
    answers = Answers(project.names, preset, catalog.closure(template, [*has, *wanted]))
    hashes = {**known.hashes, **{each.path: digest(each.content) for each in files}}
    return decided, Record(known.version, answers, hashes)
