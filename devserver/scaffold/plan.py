"""Decides what a project consists of. Pure: answers and templates in, files out."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from devserver.errors import DevserverError
from devserver.scaffold.catalog import Catalog, Feature, Template, TemplateFile, specificity
from devserver.scaffold.imports import modules, spaced
from devserver.scaffold.regions import MalformedRegion, conditions, cut

if TYPE_CHECKING:
    from devserver.scaffold.names import Names
    from devserver.scaffold.provenance import Provenance

VENDORED = "vendored"
"""True in the conditions of templates when the project keeps a wheel of devserver."""

_DEPENDENCY = re.compile(r'^(?P<before>\s*")devserver(?P<after>(?:\[[\w,-]+\])?",?\s*)$', re.MULTILINE)
_SOURCES = "[tool.uv.sources]\n"


@dataclass(frozen=True)
class Answers:
    """What somebody wants to have.

    :ivar template: what ``--template`` names.
    :ivar features: all features, with those that others need.
    """

    names: Names
    template: str
    features: tuple[str, ...] = ()


@dataclass(frozen=True)
class PlannedFile:
    """A file of a project; ``path`` is relative to the project, with slashes."""

    path: str
    content: bytes
    executable: bool = False


def plan(answers: Answers, catalog: Catalog, provenance: Provenance) -> list[PlannedFile]:
    """The files of a project, in the order of their paths.

    :raises DevserverError: a template is not well-formed.
    """
    template, _ = catalog.preset(answers.template)
    features = {*answers.features, *([VENDORED] if provenance.wheel_name else [])}
    files = {
        each.path: each
        for source in (template, catalog.laid_over)
        for each in _rendered(source, answers.names, features)
    }
    project = files.get("pyproject.toml")
    if project is None:
        raise DevserverError(f"The template {template.name} has no pyproject.toml.", hint="Install devserver again.")
    files[project.path] = replace(project, content=_with_devserver(project.content, provenance))
    if provenance.wheel_name:
        files[provenance.wheel_path] = PlannedFile(provenance.wheel_path, provenance.wheel)
    return [files[path] for path in sorted(files)]


def unknown_conditions(template: Template, known: Collection[str]) -> list[str]:
    """The names in a template's marks that are no feature: ``path: name``."""
    return [
        f"{file.path}: {name}"
        for file in template.files()
        if (text := _text(file.content)) is not None
        for name in sorted(conditions(text) - set(known))
    ]


def _rendered(template: Template, names: Names, features: Collection[str]) -> Iterable[PlannedFile]:
    renamed = _Renaming(template.sentinels, names)
    first_party = modules(renamed(file.path) for file in template.files())
    for file in template.files():
        if _is_wanted(file, template.features.values(), features):
            text = _text(file.content)
            content = file.content
            if text is not None:
                try:
                    text = renamed(cut(text, features))
                    content = (spaced(text, first_party) if file.path.endswith(".py") else text).encode()
                except MalformedRegion as exc:
                    raise DevserverError(
                        f"The template {template.name} is malformed: {file.path}, {exc}.",
                        hint="Install devserver again.",
                    ) from exc
            yield PlannedFile(renamed(file.path), content, file.executable)


def _is_wanted(file: TemplateFile, known: Iterable[Feature], features: Collection[str]) -> bool:
    """Whether no feature claims the file, or one does that is there; the closest claim counts, and equals share."""
    claims = {feature.name: specificity(file.path, feature.files) for feature in known}
    closest = max(claims.values(), default=0)
    return not closest or any(claims[name] == closest for name in features if name in claims)


class _Renaming:
    """Replaces sentinel names, all in one go, so that nothing is replaced twice."""

    def __init__(self, sentinels: Mapping[str, str], names: Names) -> None:
        self._spellings = {sentinel: str(getattr(names, spelling)) for sentinel, spelling in sentinels.items()}
        longest_first = sorted(map(re.escape, self._spellings), key=len, reverse=True)
        self._expression = re.compile("|".join(longest_first) or r"(?!)")

    def __call__(self, text: str) -> str:
        return self._expression.sub(lambda found: self._spellings[found[0]], text)


def _text(content: bytes) -> str | None:
    """The text of a file; None when it is none."""
    if b"\0" in content:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None


def _with_devserver(content: bytes, provenance: Provenance) -> bytes:
    """A pyproject.toml that asks for the devserver that makes the project, and says where it is kept."""
    text, found = _DEPENDENCY.subn(rf"\g<before>{provenance.requirement}\g<after>", content.decode())
    if not found:
        raise DevserverError(
            "The template's pyproject.toml does not depend on devserver.", hint="Install devserver again."
        )
    # Extras stand before the version: devserver[h11]>=1.
    text = re.sub(r'"(devserver)([^"\[]+)(\[[\w,-]+\])"', r'"\1\3\2"', text)
    if provenance.wheel_name:
        source = f'devserver = {{ path = "{provenance.wheel_path}" }}\n'
        if _SOURCES in text:
            text = text.replace(_SOURCES, _SOURCES + source)
        else:
            text = f"{text.rstrip()}\n\n{_SOURCES}{source}"
    return text.encode()
