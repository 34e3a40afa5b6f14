"""Fixtures for tests that import made-up modules into this process."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty project folder as working directory; what is imported from it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)
    yield tmp_path
    made = [name for name in set(sys.modules) - before if _lies_below(sys.modules[name], tmp_path)]
    for name in made:
        del sys.modules[name]


def _lies_below(module: ModuleType, folder: Path) -> bool:
    # By vars(): a made-up module may have a __getattr__ that fails.
    namespace = vars(module)
    places = [namespace.get("__file__"), *(namespace.get("__path__") or ())]
    return any(str(place).startswith(str(folder)) for place in places)
