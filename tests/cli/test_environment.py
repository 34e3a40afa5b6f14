"""Which environment's devserver runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from devserver.cli import environment
from devserver.cli.environment import command_that_adds, enter, is_global, project_environment
from devserver.errors import UsageError


def virtual(folder: Path, *scripts: str) -> Path:
    (folder / "bin").mkdir(parents=True)
    (folder / "pyvenv.cfg").touch()
    for name in ("python", *scripts):
        (folder / "bin" / name).touch()
        (folder / "bin" / name).chmod(0o755)
    return folder


class Replaced(Exception):
    """Stands for the end of this process."""


@pytest.fixture
def handed(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The command lines that this process was replaced by; ours is a tool's for the whole machine."""
    seen: list[list[str]] = []

    def replace(path: object, words: list[str]) -> None:
        seen.append([str(path), *words])
        raise Replaced

    monkeypatch.setattr(os, "execv", replace)
    monkeypatch.setattr(os, "environ", {})
    monkeypatch.setattr(environment, "is_global", lambda *_: True)
    monkeypatch.setattr(sys, "argv", ["dev", "run", "main:app"])
    return seen


def test_tool_hands_over_to_the_devserver_of_the_project(tmp_path: Path, handed: list[list[str]]) -> None:
    script = str(virtual(tmp_path / ".venv", "devserver") / "bin" / "devserver")
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "src").mkdir()
    with pytest.raises(Replaced):
        enter(tmp_path / "src")
    assert handed == [[script, script, "run", "main:app"]]
    # Whoever was handed over to stays, wherever its script led.
    enter(tmp_path)
    assert len(handed) == 1
    assert environment.ENTERED not in os.environ


def test_environment_without_devserver_is_told(tmp_path: Path, handed: list[list[str]]) -> None:
    virtual(tmp_path / ".venv", "pip")
    with pytest.raises(UsageError) as caught:
        enter(tmp_path)
    assert caught.value.message.endswith("and devserver is not installed in it.")
    assert caught.value.hint == f"Add it: {tmp_path}/.venv/bin/pip install devserver"
    assert handed == []


def test_project_without_environment_is_served_by_the_tool(tmp_path: Path, handed: list[list[str]]) -> None:
    (tmp_path / "pyproject.toml").touch()
    enter(tmp_path)
    assert handed == []


def test_ordinary_environment_stays(tmp_path: Path, handed: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    virtual(tmp_path / ".venv", "devserver")
    monkeypatch.setattr(environment, "is_global", lambda *_: False)
    enter(tmp_path)
    assert handed == []


def test_own_environment_stays(tmp_path: Path, handed: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", str(virtual(tmp_path / ".venv", "devserver")))
    enter(tmp_path)
    assert handed == []


def test_environments_of_tools_and_the_system_are_global(tmp_path: Path) -> None:
    ordinary = virtual(tmp_path / "ordinary")
    tool = virtual(tmp_path / "tool")
    (tool / "uv-receipt.toml").touch()
    assert is_global(Path("/usr"), Path("/usr"))
    assert is_global(tool, Path("/usr"))
    assert not is_global(ordinary, Path("/usr"))


def test_interpreter_that_was_chosen_stays(
    tmp_path: Path, handed: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    virtual(tmp_path / ".venv", "devserver")
    monkeypatch.setattr(sys, "argv", ["/lib/devserver/__main__.py", "run"])
    enter(tmp_path)
    assert handed == []


def test_activated_environment_comes_before_the_folders(tmp_path: Path) -> None:
    active, own = virtual(tmp_path / "active"), virtual(tmp_path / ".venv")
    assert project_environment(tmp_path, {"VIRTUAL_ENV": str(active)}) == active
    assert project_environment(tmp_path, {"VIRTUAL_ENV": str(tmp_path / "gone")}) == own


def test_folders_are_searched_up_to_the_project_and_no_further(tmp_path: Path) -> None:
    own = virtual(tmp_path / ".venv")
    inner = tmp_path / "project"
    inner.mkdir()
    assert project_environment(inner, {}) is None
    (tmp_path / "pyproject.toml").touch()
    assert project_environment(inner, {}) == own
    (inner / "pyproject.toml").touch()
    assert project_environment(inner, {}) is None


def test_broken_environment_is_none(tmp_path: Path) -> None:
    (virtual(tmp_path / ".venv") / "bin" / "python").unlink()
    assert project_environment(tmp_path, {}) is None


def test_command_that_adds_devserver_is_that_of_the_project(tmp_path: Path) -> None:
    own = tmp_path / ".venv"
    assert command_that_adds(own, tmp_path) == f"uv pip install --python {own} devserver"
    (tmp_path / "uv.lock").touch()
    assert command_that_adds(own, tmp_path / "src") == "uv add --dev devserver"
