"""``dev exec``: another program, really run, with the variables of the app."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from devserver.cli.exec import split
from devserver.cli.main import invoke
from devserver.errors import UsageError

SHOW = "import os, sys; print(*(os.environ.get(name) for name in sys.argv[1:]))"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / ".env").write_text("A=1\nB=1\nC=1")
    (tmp_path / ".env.local").write_text("B=2")
    (tmp_path / "x.env").write_text("C=3")
    return tmp_path


def run(folder: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in {"A", "B", "C", "FASTAPI_ENV"}}
    return subprocess.run(
        [sys.executable, "-m", "devserver", "exec", *words],
        cwd=folder,
        env={**environment, **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_program_gets_what_the_app_would_get(folder: Path) -> None:
    done = run(folder, "--env-file", "x.env", "--", sys.executable, "-c", SHOW, "A", "B", "C", "FASTAPI_ENV", A="real")
    assert (done.stdout, done.stderr, done.returncode) == ("real 2 3 development\n", "", 0)


def test_mode_decides_which_files_count(folder: Path) -> None:
    assert run(folder, "--mode", "test", sys.executable, "-c", SHOW, "A", "B").stdout == "1 1\n"
    assert run(folder, "--mode=none", sys.executable, "-c", SHOW, "A", "B").stdout == "None None\n"


def test_exit_code_is_that_of_the_program(folder: Path) -> None:
    assert run(folder, "sh", "-c", "exit 7").returncode == 7
    assert run(folder, "sh", "-c", "kill -TERM $$").returncode == -signal.SIGTERM


def test_signals_that_python_ignores_are_as_a_program_expects(folder: Path) -> None:
    # grep shows what it was given; a Python would set its own.
    done = run(folder, "sh", "-c", "grep SigIgn /proc/self/status")
    assert int(done.stdout.split()[1], 16) & (1 << (signal.SIGPIPE - 1)) == 0


def test_command_of_the_interpreters_folder_comes_first(folder: Path) -> None:
    done = run(folder, "python", "-c", "import sys; print(sys.prefix)", PATH="/usr/bin:/bin")
    assert done.stdout == f"{sys.prefix}\n"


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        ([], 2, "error: dev exec needs a command.\n\nhint: Write it behind two dashes: dev exec -- pytest -q\n"),
        (["no-such-command", "-x"], 127, "error: The command no-such-command was not found"),
        (["./no-such-file"], 127, "error: The command ./no-such-file was not found.\n"),
        (["./x.env"], 126, "error: ./x.env is not executable.\n\nhint: Run chmod +x ./x.env"),
        (["./empty"], 126, "error: ./empty cannot be executed: Exec format error.\n"),
        (["--port", "1", "true"], 2, "error: --port is an option of dev run, not of dev exec.\n"),
        (["--mdoe", "x", "true"], 2, "error: No such option --mdoe; did you mean --mode?\n"),
        (["--env-file", "no.env", "true"], 2, "error: The env file no.env does not exist.\n"),
    ],
)
def test_mistake_is_one_sentence(folder: Path, words: list[str], code: int, sentence: str) -> None:
    (folder / "empty").write_text("no program")
    (folder / "empty").chmod(0o755)
    done = run(folder, *words)
    assert done.stderr.startswith(sentence)
    assert done.returncode == code
    assert "Traceback" not in done.stderr


def test_what_is_wrong_is_told_and_refused_when_asked(folder: Path) -> None:
    (folder / ".env").write_text("A=1\nB\n")
    done = run(folder, sys.executable, "-c", SHOW, "A")
    assert done.stdout == "1\n"
    assert done.stderr.startswith("warning: .env:2: B has no value")
    done = run(folder, "--strict-env", "true")
    assert done.returncode == 2
    assert done.stderr.startswith("error: .env:2: B has no value")


def test_our_options_end_where_the_command_begins() -> None:
    assert split(["--mode", "test", "pytest", "--mode", "x"]) == ({"mode": "test"}, ["pytest", "--mode", "x"])
    assert split(["--", "--odd", "--"]) == ({}, ["--odd", "--"])
    assert split(["pytest", "--help"]) == ({}, ["pytest", "--help"])
    assert split(["--mode", "test", "-h"]) == ({"help": True}, [])
    with pytest.raises(UsageError, match="--mode needs a value"):
        split(["--mode"])


def test_help_is_ours_in_front_of_the_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert invoke(["exec", "--help"]) == 0
    assert "Run another command" in capsys.readouterr().out
