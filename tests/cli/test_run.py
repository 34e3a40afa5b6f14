"""What ``dev run`` hands to the rest."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from devserver import launch
from devserver.cli.run import run, working_directory
from devserver.config import Config
from devserver.errors import EXIT_APP, EXIT_USAGE, AppLoadError, BindError, UsageError


class Served:
    """Stands where the launcher does, and remembers what it was given."""

    def __init__(self, outcome: int | Exception = 0) -> None:
        self.outcome = outcome
        self.config = Config()
        self.keywords: dict[str, Any] = {}
        self.folder = Path()
        self.environment: dict[str, str] = {}

    def __call__(self, config: Config, **keywords: Any) -> int:
        self.config, self.keywords, self.folder, self.environment = config, keywords, Path.cwd(), dict(os.environ)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("PORT", "FASTAPI_ENV"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return tmp_path


def serving(monkeypatch: pytest.MonkeyPatch, outcome: int | Exception = 0) -> Served:
    served = Served(outcome)
    monkeypatch.setattr(launch, "serve", served)
    # What env files add must not outlive the test.
    monkeypatch.setattr(os, "environ", os.environ.copy())
    return served


def test_settings_folder_and_environment_reach_the_launcher(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "shop").mkdir()
    (folder / "shop" / ".env").write_text("FROM_FILE=1")
    served = serving(monkeypatch)
    assert run({"app": "shop", "port": "9000", "ui": "plain"}) == 0
    assert served.config.port == 9000
    assert served.folder == served.keywords["directory"] == folder / "shop"
    assert served.environment["FROM_FILE"] == "1"
    assert served.environment["FASTAPI_ENV"] == "development"
    assert served.keywords["added"] == {"FROM_FILE": "1", "FASTAPI_ENV": "development"}
    assert served.keywords["port_is_default"] is False


def test_port_that_nobody_asked_for_may_be_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    served = serving(monkeypatch)
    assert run({"ui": "plain"}) == 0
    assert served.keywords["port_is_default"] is True


@pytest.mark.parametrize(
    ("error", "code"),
    [(BindError("Taken.", hint="Free it."), EXIT_USAGE), (AppLoadError("Gone.", hint="Find it."), EXIT_APP)],
)
def test_error_is_shown_and_becomes_the_exit_code(
    error: Exception, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    serving(monkeypatch, error)
    assert run({"ui": "plain"}) == code
    said = capsys.readouterr().err
    assert str(error) in said
    assert "hint: " in said


def test_notices_are_shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    serving(monkeypatch)
    monkeypatch.setitem(os.environ, "DEVSERVER_PROT", "1")
    assert run({"ui": "plain"}) == 0
    out, err = capsys.readouterr()
    assert "DEVSERVER_PROT is not an option" in out + err


def test_folder_that_was_deleted_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(UsageError, match="no longer exists"):
        working_directory()
