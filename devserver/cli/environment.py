"""Whose Python runs the app: that of the project, when ``dev`` itself was installed for the whole machine.

A ``dev`` from ``uv tool``, pipx or the system's Python does not see what the project has installed. It hands over to
the ``devserver`` in the project's environment, or says how to put one there. A ``dev`` that lives in an ordinary
virtual environment was chosen by its path, ``python -m devserver`` by its interpreter; both stay.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from devserver.config import env_once
from devserver.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

ENTERED = "DEVSERVER_ENTERED"
"""Set while handing over, so that an environment whose scripts lead back to us cannot make a circle."""

# What the installers of tools leave in the environments that they make.
_TOOL_MARKS = ("uv-receipt.toml", "pipx_metadata.json")
_BIN = "Scripts" if os.name == "nt" else "bin"


def enter(directory: Path) -> None:
    """Replaces this process by the project's own ``devserver`` when that is not us; else returns.

    :param directory: the folder that is served.
    :raises UsageError: the project has an environment, and no devserver in it.
    """
    entered = os.environ.pop(ENTERED, None)
    if entered or os.path.basename(sys.argv[0]) == "__main__.py":
        return
    if not is_global(Path(sys.prefix), Path(sys.base_prefix)):
        return
    own = project_environment(directory, os.environ)
    if own is None or _same(own, Path(sys.prefix)):
        return
    script = own / _BIN / "devserver"
    if not script.is_file():
        raise UsageError(
            f"This project has an environment of its own, {own}, and devserver is not installed in it.",
            hint=f"Add it: {command_that_adds(own, directory)}",
        )
    os.environ[ENTERED] = str(own)
    variable, fds = env_once.hand_over()
    os.environ.update(variable)
    for fd in fds:
        os.set_inheritable(fd, True)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(script, [str(script), *sys.argv[1:]])


def is_global(prefix: Path, base_prefix: Path) -> bool:
    """Whether the environment at ``prefix`` serves no project: a tool's, or no virtual one at all."""
    return prefix == base_prefix or any((prefix / mark).is_file() for mark in _TOOL_MARKS)


def project_environment(directory: Path, environ: Mapping[str, str]) -> Path | None:
    """The activated environment, else the ``.venv`` of ``directory`` or of the project around it."""
    active = environ.get("VIRTUAL_ENV")
    if active and _works(Path(active)):
        return Path(active)
    above = [directory, *directory.parents]
    root = next((folder for folder in above if (folder / "pyproject.toml").is_file()), directory)
    folders = above[: above.index(root) + 1]
    return next((folder / ".venv" for folder in folders if _works(folder / ".venv")), None)


def command_that_adds(environment: Path, directory: Path, package: str = "devserver") -> str:
    """How a package gets into ``environment``."""
    if any((folder / "uv.lock").is_file() for folder in (directory, *directory.parents)):
        return f"uv add --dev {package}"
    if (environment / _BIN / "pip").is_file():
        return f"{environment / _BIN / 'pip'} install {package}"
    return f"uv pip install --python {environment} {package}"


def _works(environment: Path) -> bool:
    # A copied environment often has an interpreter that leads nowhere.
    return (environment / "pyvenv.cfg").is_file() and os.access(environment / _BIN / "python", os.X_OK)


def _same(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)
