"""``dev new``: makes a project. Only wires: decisions are ``scaffold``'s, words ``ui``'s."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import devserver
from devserver.cli.new_questions import Questions, templates
from devserver.cli.run import working_directory
from devserver.errors import EXIT_INTERNAL, EXIT_OK, UsageError
from devserver.scaffold import catalog as catalogs
from devserver.scaffold import git, record, remembered
from devserver.scaffold.install import Installation, install, installation
from devserver.scaffold.names import names_of
from devserver.scaffold.plan import Answers, PlannedFile, plan
from devserver.scaffold.provenance import of_this
from devserver.scaffold.write import Written, check, write
from devserver.ui.choice import choose
from devserver.ui.project import box, tree

if TYPE_CHECKING:
    from devserver.scaffold.catalog import Catalog

_Write = Callable[[str], object]

EXIT_NOT_INSTALLED = EXIT_INTERNAL
"""The project is there, and what it needs is not."""


@dataclass(frozen=True)
class Order:
    """The command line of ``dev new``.

    :ivar name: of the project, or a path whose last part that is.
    :ivar template: None leaves the choice to a question, or to the default.
    :ivar features: what was asked for with options; each may hold several, with commas between.
    """

    name: str | None = None
    template: str | None = None
    features: tuple[str, ...] = ()
    yes: bool = False
    dry_run: bool = False
    json: bool = False
    force: bool = False
    install: bool = True
    git: bool = True


def new(order: Order, *, say: _Write, warn: _Write, ask: Callable[[str], str] = input) -> int:
    """Makes a project; the exit code.

    :param say: shows what was asked for; ``warn`` what else is worth knowing.
    :param ask: shows a prompt and reads a line.
    :raises DevserverError: it cannot be made; nothing is left behind then.
    """
    catalog = catalogs.load()
    target, answers = _answers(order, catalog, say, ask)
    check(target, force=order.force)
    provenance = of_this()
    files = plan(answers, catalog, provenance)
    files.append(record.Record.of(provenance.version, answers, files).to_file())
    if order.dry_run:
        return _show(order, target, answers, files, say)
    written = write(target, files, force=order.force)
    notes = [f"{path} was there and differed: it is {aside} now." for path, aside in written.kept.items()]
    how = installation(target)
    started, failure = time.monotonic(), ""
    if order.install:
        failure = install(target, how.commands)
        if failure:
            notes.append(f"What it needs could not be installed ({failure}). The project is complete; go on as below.")
    took_s = time.monotonic() - started
    committed = False
    if order.git:
        committed, note = _commit(target, answers, written)
        notes += [note] if note else []
    installed = order.install and not failure
    known = catalog.features(catalog.preset(answers.template)[0])
    first = [step for name in answers.features for step in known[name].steps]
    steps = _next_steps(target, how, first, installed=installed)
    if order.json:
        say(
            _json(
                order,
                target,
                answers,
                files,
                kept=written.kept,
                installed=installed,
                committed=committed,
                notes=notes,
                next=steps,
            )
        )
    else:
        say(_summary(target, answers, written, f"{how.tool}, {took_s:.1f} s" if installed else "", committed=committed))
        for note in notes:
            warn(f"note: {note}")
        say("\n" + box("Next", steps, ascii_only=_ascii()))
    return EXIT_NOT_INSTALLED if failure else EXIT_OK


def show_list(*, as_json: bool, say: _Write) -> int:
    """What there is to choose from; the exit code."""
    catalog = catalogs.load()
    features = {
        name: each for template in reversed(catalog.templates) for name, each in catalog.features(template).items()
    }
    if as_json:
        presets = {
            name: {"summary": template.summary, "features": list(catalog.closure(template, own))}
            for name, (template, own) in catalog.presets().items()
        }
        known = {
            name: {"summary": each.summary, "needs": list(each.needs), "python": not each.deploys}
            for name, each in features.items()
        }
        say(json.dumps({"templates": presets, "features": known}, indent=2))
        return EXIT_OK
    width = max(map(len, features))
    lacking = {
        name: [each for each, (template, _) in catalog.presets().items() if name not in catalog.features(template)]
        for name in features
    }
    lines = [
        f"  {name:<{width}}  {each.summary}" + (f" (not with {', '.join(lacking[name])})" if lacking[name] else "")
        for name, each in features.items()
    ]
    say("\n".join(["Templates", *(f"  {line}" for line in templates(catalog)), "", "Features", *lines]))
    return EXIT_OK


def _answers(order: Order, catalog: Catalog, say: _Write, ask: Callable[[str], str]) -> tuple[Path, Answers]:
    """Where the project goes, and what it is to be; asks for what is missing, if somebody is there."""
    asks = not order.yes and not order.json and sys.stdin.isatty() and sys.stdout.isatty()
    questions = Questions(catalog, ask, say, remembered.recall(os.environ))
    name = order.name
    if name is None:
        if not asks:
            raise UsageError("dev new needs a name.", hint="Write dev new shop-api, or see dev new --list.")
        name = questions.name()
    target = Path(os.path.abspath(working_directory() / name))
    wanted = [each for words in order.features for each in words.replace(",", " ").split()]
    template = order.template
    # Who names the template knows what there is.
    asks = asks and template is None and not wanted
    if template is None:
        template = questions.template() if asks else catalogs.DEFAULT
    project, own = catalog.preset(template)
    # Before the next question: a name that will not do is the first thing to hear of.
    names = names_of(target.name, dependencies=project.dependencies())
    if asks:
        wanted += questions.features(template)
        remembered.remember(os.environ, template, wanted)
    return target, Answers(names, template, catalog.closure(project, [*own, *wanted]))


def _commit(target: Path, answers: Answers, written: Written) -> tuple[bool, str]:
    if written.added:
        # Whether what was there before is to be committed is not for us to say.
        return False, "The folder was not empty, so that nothing is committed."
    return git.start(target, answers.names.project)


def _show(order: Order, target: Path, answers: Answers, files: Sequence[PlannedFile], say: _Write) -> int:
    if order.json:
        say(_json(order, target, answers, files))
    else:
        say(tree(answers.names.project, (each.path for each in files), ascii_only=_ascii()))
    return EXIT_OK


def _summary(target: Path, answers: Answers, written: Written, installed: str, *, committed: bool) -> str:
    features = f" with {', '.join(answers.features)}" if answers.features else ""
    lines = [f"Made {target}: {answers.template}{features}, {len(written.new) + len(written.kept)} files."]
    lines += [f"Installed what it needs ({installed})."] if installed else []
    lines += ["Committed it to a new git repository."] if committed else []
    return "\n".join(lines)


def _next_steps(target: Path, how: Installation, first: Sequence[str], *, installed: bool) -> list[str]:
    here = os.path.relpath(target, working_directory())
    scripts = "Scripts" if os.name == "nt" else "bin"
    run = "uv run " if how.by_name else os.path.join(".venv", scripts, "")
    return [
        *([f"cd {here}"] if here != os.curdir else []),
        *([] if installed else how.by_hand),
        *(f"{run}{step}" for step in first),
        f"{run}dev run",
        f"{run}pytest",
    ]


def _json(order: Order, target: Path, answers: Answers, files: Iterable[PlannedFile], **more: Any) -> str:
    content = {
        "folder": str(target),
        "project": answers.names.project,
        "package": answers.names.package,
        "template": answers.template,
        "features": list(answers.features),
        "devserver": devserver.__version__,
        "dry_run": order.dry_run,
        "files": [each.path for each in files],
        **more,
    }
    return json.dumps(content, indent=2)


def _ascii() -> bool:
    return choose("plain", terminal=False, encoding=sys.stdout.encoding, environ={}, use_colors=False).ascii
