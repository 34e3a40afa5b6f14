"""What pytest is told of installed packages."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

import pytest

from devserver.supervisor.testing.installed import tell_pytest, with_plugins
from tests.support.projects import write_files

ASK = "import importlib.metadata\nnames = sorted(d.metadata['Name'] for d in importlib.metadata.distributions())\n"


def made(folder: Path, name: str, points: str) -> None:
    write_files(
        folder / f"{name}-1.dist-info",
        {"METADATA": f"Name: {name}\nVersion: 1\n", "entry_points.txt": points, "RECORD": f"{name}.py,,\n"},
    )
    (folder / f"{name}.py").touch()


def ask(name: str) -> list[str]:
    """What code in a module of that name is told."""
    namespace: dict[str, list[str]] = {"__name__": name}  # type: ignore[dict-item]
    exec(ASK, namespace)
    return namespace["names"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    packages, local = tmp_path / "site-packages", tmp_path / "local"
    made(packages, "plugged", "[pytest11]\nplugged = plugged\n")
    made(packages, "other", "[console_scripts]\nother = other:main\n")
    made(local, "own", "[pytest11]\nown = own\n")
    monkeypatch.setattr(sys, "path", [str(local), str(packages)])
    monkeypatch.setattr(importlib.metadata, "distributions", importlib.metadata.distributions)
    return packages


def test_pytest_is_told_of_what_has_plugins_and_others_of_all(folder: Path) -> None:
    known = with_plugins(sys.path)
    assert {place: [each.metadata["Name"] for each in found] for place, found in known.items()} == {
        str(folder): ["plugged"]
    }
    tell_pytest(known)
    assert ask("_pytest.config") == ask("pluggy._manager") == ["own", "plugged"]
    assert ask("anybody") == ["other", "own", "plugged"]


def test_what_is_known_is_not_read_again(folder: Path) -> None:
    tell_pytest(with_plugins(sys.path))
    (folder / "plugged-1.dist-info" / "entry_points.txt").unlink()
    assert "plugged" in ask("_pytest.config")
    # Whatever else is asked of it is the distribution's to say.
    (found,) = with_plugins([str(folder)])[str(folder)] or (None,)
    assert found is None
