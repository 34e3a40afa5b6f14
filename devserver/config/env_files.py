"""Reading env files: from paths and an environment to the variables that they add. The one home of dotenv.

Nothing is written to ``os.environ`` here. The parsing is python-dotenv's; putting values together is ours, because its
functions read ``os.environ`` and this must work on any environment.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from devserver.errors import ConfigError
from devserver.events import Notice

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dotenv.parser import Binding


def mode_files(mode: str | None, directory: Path) -> tuple[str, ...]:
    """The files of ``mode`` that exist in ``directory``, the weakest first; none when there is no mode.

    Those named ``local`` belong to one machine and therefore win over the shared ones; a team's test suite must not
    depend on one machine, so the mode ``test`` leaves ``.env.local`` out.
    """
    if mode is None:
        return ()
    names = [".env", f".env.{mode}", *([".env.local"] if mode != "test" else []), f".env.{mode}.local"]
    return tuple(name for name in names if (directory / name).is_file())


def read_env_files(
    paths: Iterable[str | os.PathLike[str]],
    environ: Mapping[str, str],
    *,
    directory: Path | None = None,
    notices: list[Notice] | None = None,
) -> dict[str, str]:
    """The variables that the files add to ``environ``: the last file wins, and ``environ`` wins over all.

    ``${NAME}`` and ``${NAME:-default}`` in a value take the name from ``environ``, else from what was read before it.

    :param directory: where relative paths start; the current folder by default.
    :param notices: gets a warning for every line that cannot be read (such lines are left out).
    :raises ConfigError: a file is missing, cannot be opened or is not UTF-8.
    """
    found: dict[str, str] = {}
    for path in paths:
        for binding in _bindings(Path(directory or ".") / path, os.fspath(path)):
            if binding.error:
                if notices is not None:
                    text = (
                        f"{os.fspath(path)}:{binding.original.line}: this cannot be read as NAME=VALUE and is left out."
                    )
                    notices.append(Notice("warning", text))
            elif binding.key is not None and binding.value is not None:
                found[binding.key] = _interpolated(binding.value, {**found, **environ})
    return {name: value for name, value in found.items() if name not in environ}


def _interpolated(value: str, known: Mapping[str, str]) -> str:
    from dotenv.variables import parse_variables

    return "".join(atom.resolve(known) for atom in parse_variables(value))


def _bindings(path: Path, shown: str) -> list[Binding]:
    # Not at the top: most runs have no env file, and should not wait for the parser.
    from dotenv.parser import parse_stream

    try:
        # A byte order mark, as some editors write one, is no part of the first name.
        with path.open(encoding="utf-8-sig") as stream:
            return list(parse_stream(stream))
    except FileNotFoundError:
        raise ConfigError(
            f"The env file {shown} does not exist.", hint=f"It was looked for as {path.absolute()}."
        ) from None
    except UnicodeDecodeError as exc:
        raise ConfigError(f"The env file {shown} is not UTF-8 text (byte {exc.start}).") from exc
    except OSError as exc:
        raise ConfigError(f"The env file {shown} cannot be read: {exc.strerror}.") from exc
