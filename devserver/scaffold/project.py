"""A project that is there already: what it is called, how it is laid out, what it has. Reads; runs none of its code."""

from __future__ import annotations

import ast
import tomllib
from dataclasses import dataclass
from pathlib import Path

from devserver.config.discovery import find_target
from devserver.config.settings import Config
from devserver.errors import ConfigError, DevserverError, UsageError
from devserver.scaffold import record
from devserver.scaffold.names import Names, names_of
from devserver.scaffold.provenance import FOLDER

# Where to look for what tells that a project has a feature, in a project that does not remember.
_SIGNS = {"db": "db.py", "auth": "auth/__init__.py", "realtime": "live/__init__.py", "frontend": "frontend.py"}


@dataclass(frozen=True)
class Project:
    """A project.

    :ivar package: the folder of its package, relative to the project; None when its modules lie in the project itself.
    :ivar app_file: the file that makes the app, relative to the project.
    :ivar app_name: the variable of the app in that file.
    :ivar features: what it has of what templates call features.
    :ivar known: what it remembers, if dev new made it.
    """

    folder: Path
    names: Names
    package: Path | None
    app_file: Path
    app_name: str
    features: frozenset[str]
    known: record.Record | None

    @property
    def module(self) -> str:
        """What its own imports begin with; empty when its modules lie in the project itself."""
        return "" if self.package is None else self.package.name


def find(folder: Path) -> Project:
    """The project in a folder.

    :raises UsageError: there is none, or it cannot be seen how it is laid out.
    """
    try:
        content = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
        name = str(content["project"]["name"])
    except (FileNotFoundError, NotADirectoryError, KeyError, TypeError) as exc:
        raise UsageError(
            f"{folder} has no pyproject.toml that names a project.",
            hint="Go to the project's folder, or name it with --chdir.",
        ) from exc
    except (OSError, ValueError) as exc:
        raise ConfigError(f"{folder / 'pyproject.toml'} cannot be read: {exc}.") from exc
    known = record.read(folder)
    names = known.answers.names if known else _names(name)
    app_file, app_name = _app(folder)
    package = _package(folder, app_file)
    if known:
        features = frozenset(known.answers.features)
    else:
        inside = folder / package if package is not None else folder
        features = frozenset(each for each, sign in _SIGNS.items() if (inside / sign).is_file())
        features |= {"db"} if (folder / "alembic.ini").is_file() else set()
        features |= {"docker"} if (folder / "Dockerfile").is_file() else set()
    return Project(folder, names, package, app_file, app_name, features, known)


def _names(name: str) -> Names:
    """The spellings of a name that is in use already, however unwise it was."""
    try:
        return names_of(name)
    except UsageError:
        words = name.lower().replace("-", " ").replace("_", " ").replace(".", " ").split()
        package = "_".join(words)
        return Names("-".join(words), package, " ".join(map(str.capitalize, words)), package.upper())


def _app(folder: Path) -> tuple[Path, str]:
    try:
        target = find_target(Config(), folder)
    except DevserverError as exc:
        raise UsageError(
            f"There is no app to be found in {folder}.",
            hint='Name it in pyproject.toml: [tool.fastapi] entrypoint = "module:app".',
        ) from exc
    path = target.path
    if path is None or not path.is_relative_to(folder):
        raise UsageError(f"The app of {folder} is not in it.", hint="Go to the folder of the project that has it.")
    return path.relative_to(folder), target.attribute or "app"


def _package(folder: Path, app_file: Path) -> Path | None:
    package = app_file.parent
    return package if (folder / package / "__init__.py").is_file() and package != Path() else None


def has_vendored_devserver(folder: Path) -> bool:
    """Whether the project keeps a wheel of devserver."""
    return any((folder / FOLDER).glob("devserver-*.whl"))


def parse(path: Path) -> tuple[str, ast.Module]:
    """The text of a source file, and its tree.

    :raises UsageError: it cannot be read, or is no Python.
    """
    try:
        text = path.read_text(encoding="utf-8")
        return text, ast.parse(text)
    except OSError as exc:
        raise UsageError(f"{path} cannot be read: {exc.strerror or exc}.", hint="Make it readable.") from exc
    except (SyntaxError, ValueError) as exc:
        raise UsageError(f"{path} is no Python that can be parsed: {exc}.", hint="Repair it first.") from exc
