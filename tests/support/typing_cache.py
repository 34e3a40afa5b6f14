"""What mypy has learned of libraries, shared by all tests that have a project type-checked.

It takes twenty seconds to learn that and three to check a project. Processes that run tests side by side share the
folder, and take turns.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


@contextlib.contextmanager
def mypy_cache(factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder, which is nobody else's meanwhile."""
    folder = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        # That of the whole session, and not of this process.
        folder = folder.parent
    with (folder / "mypy.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder / "mypy"
