"""Where a project begins.

Apart from ``project.py``, because a command that only asks a running one needs nothing else.
"""

from __future__ import annotations

from pathlib import Path


def nearest_project(folder: Path) -> Path | None:
    """The nearest folder with a pyproject.toml, at or above ``folder``, which is absolute."""
    return next((each for each in (folder, *folder.parents) if (each / "pyproject.toml").is_file()), None)
