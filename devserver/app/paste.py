"""Makes the app that a Paste file describes (PasteDeploy): ``dev prod --paste development.ini``."""

from __future__ import annotations

import os
from typing import Any

from devserver.errors import AppLoadError


def load(path: str, name: str = "main") -> Any:
    """The app of ``[app:name]``, ``[composite:name]`` or ``[pipeline:name]``, with its filters.

    :param path: the file.
    :raises AppLoadError: PasteDeploy is not installed, or the file is not there.
    """
    try:
        from paste.deploy import loadapp
    except ImportError:
        raise AppLoadError(
            "--paste needs PasteDeploy, which is not installed in this environment.",
            hint="Install it: pip install PasteDeploy, or devserver[paste].",
        ) from None
    if not os.path.isfile(path):
        raise AppLoadError(f"--paste: the file {path} does not exist.")
    return loadapp(f"config:{path}", name=name)
