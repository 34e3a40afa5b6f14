"""What dev doctor does, as the process that people start."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.projects import REPOSITORY, write_files

pytestmark = pytest.mark.once

APP = "from fastapi import FastAPI\napp = FastAPI()\n"
_QUIET = ("PYTHON", "DEVSERVER", "FASTAPI", "COVERAGE", "WATCHFILES", "VIRTUAL_ENV", "PORT", "GIT")


def doctor(folder: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    variables = {name: value for name, value in os.environ.items() if not name.startswith(_QUIET)}
    return subprocess.run(
        [sys.executable, "-m", "devserver", "doctor", *words],
        cwd=folder,
        # A port of its own, as another test may have the usual one.
        env={**variables, "PYTHONPATH": str(REPOSITORY), "DEVSERVER_PORT": "0", **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def found(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    findings: list[dict[str, Any]] = json.loads(done.stdout)
    return findings


def test_healthy_project_gets_one_line(tmp_path: Path) -> None:
    write_files(tmp_path, {"main.py": APP})
    done = doctor(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    if sys.version_info >= (3, 12):
        assert done.stdout.startswith("All is well. Looked at settings, app, address, ")
        assert len(done.stdout.splitlines()) == 1
        assert found(doctor(tmp_path, "--json")) == []
    assert [path.name for path in tmp_path.iterdir()] == ["main.py"]


def test_error_has_a_remedy_and_exit_code_1(tmp_path: Path) -> None:
    done = doctor(tmp_path)
    assert done.returncode == 1
    assert done.stdout.startswith(f"error: No app found in {tmp_path}")
    assert "\n  hint: Say where it is: " in done.stdout
    assert "1 error" in done.stdout.splitlines()[-1]
    first = found(doctor(tmp_path, "--json"))[0]
    assert first["severity"] == "error"
    assert set(first) == {"severity", "what", "where", "remedy"}


def test_wrong_settings_do_not_end_the_examination(tmp_path: Path) -> None:
    write_files(tmp_path, {"pyproject.toml": "[tool.devserver]\nprot = 1\n", "app.py": "app = FastAPI(\n"})
    done = doctor(tmp_path, "--json")
    assert done.returncode == 1
    said = [finding["what"] for finding in found(done) if finding["severity"] == "error"]
    assert said == [
        "pyproject.toml [tool.devserver] prot: there is no such option.",
        "The app's file is not valid Python: '(' was never closed.",
    ]


def test_taken_port_is_told_with_who_has_it(tmp_path: Path) -> None:
    write_files(tmp_path, {"main.py": APP})
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = doctor(tmp_path, "--json", DEVSERVER_PORT=str(port))
    (error,) = [finding for finding in found(done) if finding["severity"] == "error"]
    assert done.returncode == 1
    assert error["what"].startswith(f"Port {port} is in use")
    if sys.platform == "linux":
        assert f"by PID {os.getpid()}" in error["what"]


def test_folder_and_app_can_be_given(tmp_path: Path) -> None:
    write_files(tmp_path / "inner", {"main.py": APP, "odd.py": "service = object()\n"})
    assert doctor(tmp_path, "inner/").returncode == 0
    assert doctor(tmp_path, "--chdir", "inner").returncode == 0
    assert doctor(tmp_path, "main:app", "--chdir", "inner").returncode == 0
    assert doctor(tmp_path, "nowhere.py", "--chdir", "inner").returncode == 1


def test_flags_and_notices_are_told(tmp_path: Path) -> None:
    write_files(tmp_path, {"main.py": APP})
    done = doctor(tmp_path, "--json", PYTHONOPTIMIZE="1", PYTHONDONTWRITEBYTECODE="1", DEVSERVER_PROT="1")
    said = [(finding["severity"], finding["where"] or finding["what"]) for finding in found(done)]
    assert said[:2] == [
        ("warning", "DEVSERVER_PROT is not an option; did you mean DEVSERVER_PORT?"),
        ("warning", "PYTHONOPTIMIZE"),
    ]
    assert ("note", "PYTHONDONTWRITEBYTECODE") in said
    assert done.returncode == 0
