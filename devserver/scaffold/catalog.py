"""The templates that there are: finds them, and reads their manifests and files.

A manifest, ``template.toml``, tells which sentinel names stand for which spelling of the project's name, which features
there are and which files belong to them. What a project becomes is decided elsewhere (``plan.py``).
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devserver.config.option import nearest
from devserver.errors import DevserverError, UsageError

MANIFEST = "template.toml"
DEFAULT = "api"
"""The template of somebody who does not choose."""
LAID_OVER = "deploy"
"""The template whose files are laid over those of any other."""

# What tools leave behind in a template that somebody works on; none of it is part of it.
_LEFT_BEHIND = frozenset(
    """
    .devserver .env .git .hypothesis .mypy_cache .pytest_cache .ruff_cache .venv __pycache__ node_modules
    uv.lock
    """.split()
)
_ENDINGS_LEFT_BEHIND = (".pyc", ".db", ".egg-info")


@dataclass(frozen=True)
class Feature:
    """What a project may have or not.

    :ivar needs: features that it brings along.
    :ivar files: patterns of the files that are there for it alone.
    :ivar deploys: whether it adds no Python.
    :ivar steps: what has to be run in the project before its server, the first time.
    """

    name: str
    summary: str
    needs: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    deploys: bool = False
    steps: tuple[str, ...] = ()


@dataclass(frozen=True)
class TemplateFile:
    """A file as it lies in a template; ``path`` is relative, with slashes."""

    path: str
    content: bytes
    executable: bool = False


@dataclass(frozen=True)
class Template:
    """A folder with a manifest.

    :ivar sentinels: a name that stands in the files → which spelling of the project's replaces it.
    :ivar presets: what ``--template`` may name → the features that this is.
    """

    name: str
    folder: Path
    summary: str
    sentinels: Mapping[str, str]
    features: Mapping[str, Feature]
    presets: Mapping[str, tuple[str, ...]]

    def files(self) -> list[TemplateFile]:
        """All files but the manifest, in the order of their paths."""
        return [
            TemplateFile(path, (self.folder / path).read_bytes(), os.access(self.folder / path, os.X_OK))
            for path in template_paths(self.folder)
            if path != MANIFEST
        ]

    def dependencies(self) -> list[str]:
        """Names of the distributions that a project of this template may depend on."""
        try:
            project = tomllib.loads((self.folder / "pyproject.toml").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return []
        wanted: list[Any] = list(project.get("project", {}).get("dependencies", ()))
        for group in project.get("dependency-groups", {}).values():
            wanted += group
        return [re.split(r"[^\w.-]", each, maxsplit=1)[0] for each in wanted if isinstance(each, str)]


@dataclass(frozen=True)
class Catalog:
    """Every template, and what is laid over them."""

    templates: tuple[Template, ...]
    laid_over: Template

    def presets(self) -> dict[str, tuple[Template, tuple[str, ...]]]:
        """What ``--template`` may name → the template and the features that this is, smallest first."""
        return {name: (each, features) for each in self.templates for name, features in each.presets.items()}

    def preset(self, name: str) -> tuple[Template, tuple[str, ...]]:
        """The template and the features of one preset.

        :raises UsageError: there is none of that name.
        """
        presets = self.presets()
        if name not in presets:
            near = nearest(name, presets)
            hint = f"Did you mean {near}?" if near else f"There are {_listed(presets)}."
            raise UsageError(f"There is no template {name}.", hint=hint)
        return presets[name]

    def features(self, template: Template) -> dict[str, Feature]:
        """What projects of a template may have."""
        return {**template.features, **self.laid_over.features}

    def closure(self, template: Template, wanted: Iterable[str]) -> tuple[str, ...]:
        """The features with those that they need, in the order of the manifests.

        :raises UsageError: the template has no such feature.
        """
        known, found = self.features(template), set[str]()
        left = list(wanted)
        while left:
            name = left.pop()
            if name not in known:
                raise self._no_feature(name, template)
            if name not in found:
                found.add(name)
                left += known[name].needs
        return tuple(name for name in known if name in found)

    def _no_feature(self, name: str, template: Template) -> UsageError:
        having = [preset for preset, (each, _) in self.presets().items() if name in each.features]
        if having:
            hint = f"Take another one: --template {having[0]}."
        else:
            near = nearest(name, self.features(template))
            hint = f"Did you mean {near}?" if near else f"There are {_listed(self.features(template))}."
        return UsageError(f"The template {template.name} has no feature {name}.", hint=hint)


def load(folder: Path | None = None) -> Catalog:
    """Reads the manifests.

    :param folder: where templates lie; by default those of this installation or checkout.
    :raises DevserverError: there are none, or a manifest cannot be read.
    """
    folder = folder or templates_folder()
    try:
        found = [_read(each.parent) for each in sorted(folder.glob(f"*/{MANIFEST}"))]
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise DevserverError(
            f"The templates in {folder} cannot be read: {exc}.", hint="Install devserver again."
        ) from exc
    laid_over = next((each for each in found if each.name == LAID_OVER), None)
    templates = sorted((each for each in found if each.name != LAID_OVER), key=lambda each: len(each.features))
    if laid_over is None or not templates:
        raise DevserverError(f"There are no templates in {folder}.", hint="Install devserver again.")
    return Catalog(tuple(templates), laid_over)


def templates_folder() -> Path:
    """Where the templates of this installation, or of the checkout that runs, lie."""
    package = Path(__file__).parents[1]
    installed = package / "_templates"
    return installed if installed.is_dir() else package.parent / "templates"


def template_paths(folder: Path) -> list[str]:
    """Paths of the files that make a template: relative, with slashes, sorted."""
    return sorted(_walk(folder, ""))


def _walk(folder: Path, prefix: str) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name in _LEFT_BEHIND or entry.name.endswith(_ENDINGS_LEFT_BEHIND):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(folder / entry.name, f"{prefix}{entry.name}/")
            else:
                yield prefix + entry.name


def _read(folder: Path) -> Template:
    manifest = tomllib.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    deploys = folder.name == LAID_OVER
    features = {
        name: Feature(
            name,
            each["summary"],
            tuple(each.get("needs", ())),
            tuple(each.get("files", ())),
            deploys,
            tuple(each.get("steps", ())),
        )
        for name, each in manifest.get("features", {}).items()
    }
    presets = {name: tuple(each) for name, each in manifest.get("presets", {}).items()}
    return Template(folder.name, folder, manifest["summary"], manifest.get("names", {}), features, presets)


def _listed(names: Iterable[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def specificity(path: str, patterns: Sequence[str]) -> int:
    """How closely these patterns are about a path; 0 when none of them matches.

    ``*`` and ``?`` stay within a folder, ``**`` does not. What is written out before the first of them counts, so that
    ``models/users.py`` is closer than ``models/**``.
    """
    return max((1 + _literal(pattern) for pattern in patterns if _expression(pattern).fullmatch(path)), default=0)


def _literal(pattern: str) -> int:
    literal = re.split(r"[*?]", pattern, maxsplit=1)[0]
    return len(literal) + (literal == pattern)


def _expression(pattern: str) -> re.Pattern[str]:
    text = ""
    for piece in re.split(r"(\*\*/|\*\*|\*|\?)", pattern):
        text += {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}.get(piece, re.escape(piece))
    return re.compile(text)
