"""Env files over an environment: which files, in which order, which definition wins, and what it comes to.

From the strongest to the weakest: the environment that the command was started with, ``--env-file`` (the last one
first), ``.env.{mode}.local``, ``.env.local``, ``.env.{mode}``, ``.env``. That is the order of Next.js and Rails.

All layers are merged before any value is put together, so that a value may refer to a name of any layer, and what it
refers to is what the app will see. Nothing is written to ``os.environ``, and nothing is remembered: whoever starts a
process asks anew, so that edits win and removed names vanish.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from devserver.config.env_files import Definition, EnvFile
    from devserver.config.env_findings import Finding

ENVIRONMENT = "the environment"


@dataclass(frozen=True)
class Variables:
    """What the files say over one environment; made by :func:`merge`.

    :ivar files: those that were read, the weakest first.
    :ivar environ: the environment below which they stand.
    :ivar definitions: name → all that define it in files, the strongest first.
    :ivar values: the same, with what each of them comes to.
    :ivar findings: in the order of files and lines.
    """

    files: tuple[str, ...]
    environ: Mapping[str, str]
    definitions: Mapping[str, tuple[Definition, ...]]
    values: Mapping[str, tuple[str, ...]]
    findings: tuple[Finding, ...]

    @property
    def added(self) -> dict[str, str]:
        """The variables that the files add to the environment."""
        return {name: values[0] for name, values in self.values.items() if name not in self.environ}

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """The findings that ``--strict-env`` makes errors."""
        return tuple(finding for finding in self.findings if finding.level == "warning")


@dataclass(frozen=True)
class Difference:
    """What an edit of env files has changed; names only.

    :ivar files: where.
    :ivar shadowed: (name, what shadows it) of edits that change nothing.
    """

    files: tuple[str, ...]
    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    shadowed: tuple[tuple[str, str], ...]


def names_of_mode(mode: str | None) -> tuple[str, ...]:
    """The files of ``mode``, whether they exist or not, the weakest first; none when there is no mode.

    Those named ``local`` belong to one machine and therefore win over the shared ones; a team's test suite must not
    depend on one machine, so the mode ``test`` leaves ``.env.local`` out.
    """
    if mode is None:
        return ()
    return (".env", f".env.{mode}", *([".env.local"] if mode != "test" else []), f".env.{mode}.local")


def candidates(mode: str | None, given: Iterable[str | os.PathLike[str]], directory: Path) -> tuple[str, ...]:
    """The absolute paths of all files that count, those that do not exist yet included."""
    return tuple(os.path.abspath(directory / name) for name in (*names_of_mode(mode), *given))


def home(mode: str | None, given: object) -> str:
    """Where a variable belongs that is missing: a file that is read, or the environment.

    :param given: the files of ``--env-file``, as the ``Config`` has them.
    """
    if mode is not None:
        return names_of_mode(mode)[0]
    return os.fspath(given[-1]) if isinstance(given, tuple) and given else ENVIRONMENT


def read_layers(
    mode: str | None,
    given: Iterable[str | os.PathLike[str]],
    environ: Mapping[str, str],
    *,
    directory: Path,
) -> Variables:
    """Reads the files of a mode that exist, and all that were named, and merges them.

    :param given: the files of ``--env-file``, in that order.
    :param environ: the environment as it was before any env file.
    :param directory: where relative paths start.
    :raises EnvFileError: a file that was named cannot be read. One of the mode becomes a finding.
    """
    here = [name for name in names_of_mode(mode) if os.path.lexists(directory / name)]
    given = tuple(given)
    if not here and not given:
        return Variables((), environ, {}, {}, ())
    # Not at the top: most runs have no env file, and should not wait for what reads them.
    from devserver.config.env_files import EnvFile, EnvFileError, read

    named = {os.path.abspath(directory / path): os.fspath(path) for path in _last_ones(given, directory)}
    files: list[EnvFile] = []
    for name in here:
        if os.path.abspath(directory / name) in named:
            continue
        try:
            files.append(read(directory / name, name))
        except EnvFileError as exc:
            files.append(EnvFile(name, (), (exc.finding,)))
    files += [read(Path(path), shown) for path, shown in named.items()]
    return merge(files, environ)


def merge(files: Iterable[EnvFile], environ: Mapping[str, str]) -> Variables:
    """Puts the values of ``files``, the weakest first, together over ``environ``. Pure."""
    from devserver.config.env_values import Merger

    # A copy: what is added now may be set in it later.
    files, environ = list(files), dict(environ)
    definitions: dict[str, tuple[Definition, ...]] = {}
    for file in files:
        for definition in file.definitions:
            definitions[definition.name] = (definition, *definitions.get(definition.name, ()))
    merger = Merger(definitions, environ)
    # Findings are told of what has an effect; the rest is put together for whoever asks what it would be.
    for name in definitions:
        if name not in environ:
            merger.value((name, 0))
    findings = [finding for file in files for finding in file.findings] + merger.findings
    values = {
        name: tuple(merger.value((name, index)) for index in range(len(found))) for name, found in definitions.items()
    }
    unfit = {name for name in definitions if (name, 0) in merger.unfit}
    order = {file.file: number for number, file in enumerate(files)}
    return Variables(
        tuple(file.file for file in files),
        environ,
        {name: found for name, found in definitions.items() if name not in unfit},
        {name: found for name, found in values.items() if name not in unfit},
        tuple(sorted(findings, key=lambda finding: (order[finding.file], finding.line))),
    )


def difference(before: Variables, after: Variables) -> Difference:
    """What the app sees of the edits between two readings, and which of them something stronger hides. Pure."""
    old, new = before.added, after.added
    files: set[str] = set()
    shadowed: list[tuple[str, str]] = []
    for name in sorted(before.definitions.keys() | after.definitions.keys()):
        edited = _edited(before.definitions.get(name, ()), after.definitions.get(name, ()))
        files |= edited
        if edited and name in after.environ:
            shadowed.append((name, ENVIRONMENT))
        elif edited and name in old and old[name] == new.get(name):
            strongest = after.definitions[name][0]
            if strongest.file not in edited:
                shadowed.append((name, strongest.place))
    return Difference(
        tuple(sorted(files)),
        tuple(sorted(new.keys() - old.keys())),
        tuple(sorted(name for name in new.keys() & old.keys() if new[name] != old[name])),
        tuple(sorted(old.keys() - new.keys())),
        tuple(shadowed),
    )


def _last_ones(given: Iterable[str | os.PathLike[str]], directory: Path) -> list[str | os.PathLike[str]]:
    """Without the earlier mentions of a file that is named twice."""
    last: dict[str, str | os.PathLike[str]] = {}
    for path in given:
        absolute = os.path.abspath(directory / path)
        last.pop(absolute, None)
        last[absolute] = path
    return [*last.values()]


def _edited(before: tuple[Definition, ...], after: tuple[Definition, ...]) -> set[str]:
    """The files that say something else about a name."""
    old, new = ({each.file: each.value for each in reversed(found)} for found in (before, after))
    return {file for file in old.keys() | new.keys() if old.get(file) != new.get(file)}
