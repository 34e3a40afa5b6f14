"""Exit codes, and what stands on stderr when something is wrong."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from devserver import __version__
from devserver.cli import main as cli
from devserver.cli import run as run_command
from devserver.errors import EXIT_APP, AppLoadError, ConfigError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "--prot", "1"], "error: No such option --prot; did you mean --port?\n"),
        (["run", "--port", "70000"], "error: --port: 70000 is not between 0 and 65535.\n"),
        (["run", "--port"], "error: --port needs a value.\n\nhint: Write --port N.\n"),
        (["run", "--preload"], "error: --preload is an option of dev prod, not of dev run.\n"),
        (
            ["--port", "1", "run"],
            "error: --port is an option of dev run.\n\nhint: Write it after the command: dev run --port …\n",
        ),
        (["rnu"], "error: No such command 'rnu'. Did you mean 'run'?\n"),
        (["main:app"], "error: No such command 'main:app'.\n\nhint: To serve it: dev run main:app\n"),
        (
            ["qqqq"],
            (
                "error: No such command 'qqqq'.\n\n"
                "hint: The commands are new, add, run, test, prod, ctl, config, routes, doctor, env and exec.\n"
            ),
        ),
        (["config", "--jsn"], "error: No such option --jsn; did you mean --json?\n"),
        (["config", "test"], "error: There are no settings of 'test'.\n\nhint: Ask for one of run, prod, api.\n"),
        (["config", "--chdir", "no"], "error: --chdir: the folder "),
    ],
)
def test_mistake_gets_a_sentence_and_exit_code_two(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.invoke(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(said)
    assert "─" not in err
    assert "Traceback" not in err


def test_error_of_the_app_has_its_own_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> int:
        raise AppLoadError("It is gone.", hint="Look for it.")

    monkeypatch.setattr(run_command, "run", fail)
    assert cli.invoke(["run"]) == EXIT_APP
    assert capsys.readouterr().err == "error: It is gone.\n\nhint: Look for it.\n"


def test_bug_of_ours_shows_its_traceback_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> int:
        raise RuntimeError("odd")

    monkeypatch.setattr(run_command, "run", fail)
    assert cli.invoke(["run"]) == 1
    said = capsys.readouterr().err
    assert "RuntimeError: odd" in said
    assert said.endswith("error: This is a bug in devserver, not in your app; the lines above tell where.\n")


def test_interrupt_ends_as_a_shell_expects(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(run_command, "run", interrupt)
    assert cli.invoke(["run"]) == 130


def test_exit_code_of_the_command_is_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_command, "run", lambda given, _: len(given))
    monkeypatch.setattr(sys, "argv", ["dev", "run", "--port", "1", "main:app", "--no-reload"])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 3


def test_version_names_python_and_system(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.invoke(["--version"]) == 0
    assert re.fullmatch(rf"devserver {re.escape(__version__)} with \w+ \d+\.\d+\.\S+ on \w+\n", capsys.readouterr().out)


def test_help_of_run_is_grouped_and_short(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.invoke(["run", "--help"]) == 0
    short = capsys.readouterr().out
    assert cli.invoke(["run", "main:app", "--help-all"]) == 0
    long = capsys.readouterr().out
    for group in ("App", "Where it listens", "Reload", "Terminal", "Logging"):
        assert f"─ {group} ─" in short
    assert "dev run --help-all" in short
    assert "--timeout-write" not in short
    assert "--timeout-write" in long
    assert "[::1]:8000" in short
    assert len(short.splitlines()) < 80


def test_no_command_shows_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.invoke([]) == 2
    assert "config" in capsys.readouterr().out


def test_hint_is_left_out_when_there_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    cli.report(ConfigError("Wrong."))
    assert capsys.readouterr().err == "error: Wrong.\n"


def test_module_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "devserver", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("devserver ")


def test_command_line_of_run_is_read_without_what_is_slow_to_import() -> None:
    code = (
        "import sys; from devserver.cli.main import invoke; code = invoke(['run', '--uds', 'a', '--fd', '3'])\n"
        "slow = {'typer', 'rich', 'pydantic', 'fastapi', 'asyncio', 'ssl', 'dotenv', 'http'} & set(sys.modules)\n"
        "print(code, sorted(slow))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "2 []\n"
