"""The working folder by the name under which the user knows it.

A deployment may be a link, ``current -> releases/7``. The kernel only knows the folder that the link led to when it was
entered; the shell's PWD has the link, and following that again leads to the next release.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def logical(directory: Path, environ: Mapping[str, str]) -> Path:
    """Returns PWD when it is the same folder as ``directory``, else ``directory``."""
    named = environ.get("PWD", "")
    try:
        if os.path.isabs(named) and os.path.samefile(named, directory):
            return Path(named)
    except OSError:
        # It names a folder of another time.
        pass
    return directory
