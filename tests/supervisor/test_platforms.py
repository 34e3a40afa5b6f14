"""Reload where there is less than on Linux: what other systems do not have is hidden, in every process."""

from __future__ import annotations

import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import devserver
from tests.support.reload import CHECKOUT, Project, answering, serve

HIDE = """
import os, sys

for name in ("fork", "pidfd_open", "waitid", "forkpty", "sched_getaffinity"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("fcntl", "termios", "pty", "pwd", "grp", "resource", "uvloop"):
    sys.modules[name] = None


def hide(function):
    def hiding(path=".", *rest, **named):
        if isinstance(path, (str, bytes)) and str(path).startswith("/proc"):
            raise FileNotFoundError(path)
        return function(path, *rest, **named)
    return hiding


os.listdir, os.readlink, os.stat = map(hide, (os.listdir, os.readlink, os.stat))
"""


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """The environment of processes that have less."""
    folder = tmp_path / "bare"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(HIDE)
    return {"PYTHONPATH": f"{folder}{os.pathsep}{CHECKOUT}"}


@pytest.mark.parametrize("mode", ["auto", "standby", "cold"])
def test_saves_are_served(tmp_path: Path, bare: dict[str, str], mode: str) -> None:
    project = Project(tmp_path / "project", mode=mode)
    project.write("main.py", answering("'1'"))
    with serve(project, environment=bare) as session:
        for number in (2, 3, 4):
            project.replace("main.py", answering(f"'{number}'"))
            reloaded = session.wait("Reloaded", number - 1)
            assert session.get().body == str(number)
        assert reloaded["mode"] == {"auto": "standby"}.get(mode, mode)
        said = [event["text"] for event in session.named("Notice") if event["level"] == "info"]
        expected = ["Saves use a process that stands by: forking a warm process needs Linux."]
        assert said == (expected if mode == "auto" else [])
        assert session.stop() == 0


def test_every_module_can_be_imported(bare: dict[str, str]) -> None:
    names = [
        module.name
        for module in pkgutil.walk_packages(devserver.__path__, "devserver.")
        # Running the package as a program is what one is for; the other is there for gunicorn, which needs Unix.
        if module.name not in {"devserver.__main__", "devserver.gunicorn"}
    ]
    assert len(names) > 80
    code = f"import importlib\nfor name in {names!r}: importlib.import_module(name)"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **bare}, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
