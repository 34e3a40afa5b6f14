"""Installs what a project needs into its own ``.venv``: with uv when it is there, else with venv and pip."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from devserver.scaffold.provenance import FOLDER

_BIN = "Scripts" if os.name == "nt" else "bin"


@dataclass(frozen=True)
class Installation:
    """How a project is installed.

    :ivar tool: ``uv`` or ``pip``.
    :ivar commands: what is run, one after the other, in the project's folder.
    """

    tool: str
    commands: tuple[tuple[str, ...], ...]

    @property
    def by_name(self) -> bool:
        """Whether somebody who types ``uv`` gets it."""
        return self.tool == "uv" and shutil.which("uv") is not None

    @property
    def by_hand(self) -> tuple[str, ...]:
        """What to type to have it done, line by line."""
        if self.by_name:
            return ("uv sync",)
        return tuple(shlex.join(command) for command in self.commands)


def installation(folder: Path) -> Installation:
    """How this project is to be installed here."""
    uv = find_uv()
    interpreter = getattr(sys, "_base_executable", "") or sys.executable
    if uv:
        # With the Python that runs this: for it all was found that is needed here.
        return Installation("uv", ((uv, "sync", "--python", interpreter),))
    python = str(Path(".venv", _BIN, "python"))
    pip: tuple[str, ...] = (python, "-m", "pip", "install", "--disable-pip-version-check")
    pip = (*pip, "--find-links", FOLDER) if (folder / FOLDER).is_dir() else pip
    return Installation("pip", ((interpreter, "-m", "venv", ".venv"), (*pip, *wanted(folder))))


def wanted(folder: Path) -> list[str]:
    """What pip is to be given: the project itself, if it can be built, or what it depends on; and its group ``dev``.

    Groups are spelled out, since pip knows them from 25.1 on only, and Python brings along an older one.
    """
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    own = ["--editable", "."] if "build-system" in project else list(project["project"].get("dependencies", ()))
    return [*own, *_group(project.get("dependency-groups", {}), "dev")]


def _group(groups: dict[str, list[object]], name: str) -> list[str]:
    found: list[str] = []
    for each in groups.get(name, ()):
        if isinstance(each, dict):
            found += _group(groups, str(each["include-group"]))
        else:
            found.append(str(each))
    return found


def install(folder: Path, commands: Sequence[Sequence[str]]) -> str:
    """Runs the commands of an installation; what they say goes to stderr as it is, with their progress bars.

    :returns: what failed, or an empty string.
    """
    # A foreign environment that is active would only be warned of.
    environ = {
        name: value for name, value in os.environ.items() if name not in {"VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME"}
    }
    for command in commands:
        try:
            done = subprocess.run(
                command, cwd=folder, env=environ, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False
            )
        except OSError as exc:
            return f"{command[0]}: {exc.strerror or exc}"
        if done.returncode:
            return f"{Path(command[0]).name} ended with {done.returncode}"
    return ""


def find_uv() -> str | None:
    """uv on PATH, or beside the interpreter that runs."""
    beside = os.path.dirname(sys.executable)
    return shutil.which("uv") or shutil.which("uv", path=beside)
