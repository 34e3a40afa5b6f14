"""Lays generated Python out as the project's own formatter does, since names differ in length."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

_TIMEOUT_S = 20.0
_BIN = "Scripts" if os.name == "nt" else "bin"


def formatted(text: str, path: Path, folder: Path) -> str:
    """The source as ruff formats it with the settings of the project; as it is when ruff is not to be had.

    :param path: what the source will be, relative to the project; it need not be there.
    """
    ruff = find_ruff(folder)
    if ruff is None or path.suffix != ".py":
        return text
    try:
        done = subprocess.run(
            [ruff, "format", "--quiet", "--no-cache", "--stdin-filename", str(path), "-"],
            cwd=folder,
            input=text,
            capture_output=True,
            encoding="utf-8",
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return text
    return done.stdout if done.returncode == 0 and done.stdout else text


def find_ruff(folder: Path) -> str | None:
    """ruff in the project's environment, else in ours, else on PATH."""
    for place in (str(folder / ".venv" / _BIN), os.path.dirname(sys.executable)):
        found = shutil.which("ruff", path=place)
        if found:
            return found
    return shutil.which("ruff")
