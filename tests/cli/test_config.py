"""What ``dev config`` prints."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from devserver.cli.main import invoke
from devserver.config import option as options
from devserver.config.settings import fields
from devserver.config.sources import resolve


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("PORT", "FORWARDED_ALLOW_IPS", "FASTAPI_ENV"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def lines(out: str) -> dict[str, list[str]]:
    return {line.split()[0]: line.split(maxsplit=2)[1:] for line in out.splitlines() if line.split()[1:]}


def test_table_tells_value_and_origin(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "pyproject.toml").write_text("[tool.devserver]\nlog-level = 'debug'")
    monkeypatch.setenv("DEVSERVER_HOST", "0.0.0.0")
    monkeypatch.setenv("PORT", "9000")
    assert invoke(["config"]) == 0
    shown = lines(capsys.readouterr().out)
    assert shown["host"] == ["0.0.0.0", "DEVSERVER_HOST"]
    assert shown["port"] == ["9000", "PORT"]
    assert shown["log-level"] == ["debug", "pyproject.toml [tool.devserver]"]
    assert shown["reload"] == ["on", "default"]
    assert shown["log-config"] == ["built", "in default"] or shown["log-config"][0] == "built"


def test_columns_are_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["config", "run"]) == 0
    rows = capsys.readouterr().out.splitlines()[1:]
    assert {row.rindex("  default") for row in rows} == {rows[0].rindex("  default")}


def test_every_option_of_a_program_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["config", "api", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert len(shown) == len([known for known in fields() if "api" in options.of(known).commands])
    assert shown["reload"] == {"value": False, "origin": "default"}
    assert shown["timeout-graceful-shutdown"]["value"] is None


def test_password_is_not_shown(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "pyproject.toml").write_text("[tool.devserver]\nssl-keyfile-password = 'secret'\nuds-permissions = 0o660")
    for words in (["config"], ["config", "--json"]):
        assert invoke(words) == 0
        out = capsys.readouterr().out
        assert "secret" not in out
        assert "(hidden)" in out
        assert "660" in out


def test_notices_stand_below_the_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("DEVSERVER_PROT", "1")
    assert invoke(["config"]) == 0
    last = capsys.readouterr().out.splitlines()[-2:]
    assert last == ["", "warning: DEVSERVER_PROT is not an option; did you mean DEVSERVER_PORT?"]


def test_another_folder_can_be_looked_at(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "inner").mkdir()
    (folder / "inner" / "pyproject.toml").write_text("[tool.devserver]\nport = 9")
    assert invoke(["config", "--chdir", "inner"]) == 0
    assert lines(capsys.readouterr().out)["port"] == ["9", "pyproject.toml [tool.devserver]"]


def test_app_that_would_be_found_is_shown(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["config"]) == 0
    assert lines(capsys.readouterr().out)["app"] == ["none", "not found"]
    (folder / "main.py").write_text("from fastapi import FastAPI\napp = FastAPI()\n")
    assert invoke(["config"]) == 0
    assert lines(capsys.readouterr().out)["app"][0] == "main:app"


def test_settings_of_gunicorn_are_printed_as_tables_that_mean_the_same(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = """
bind = ["127.0.0.1:8001", "unix:/tmp/x"]
workers = 3
worker_class = "sync"
max_requests = 0
timeout = 60
umask = 0o027
accesslog = None
raw_env = ["A=1"]
wsgi_app = "shop.wsgi"
daemon = True
logconfig_dict = {"version": 1}
def when_ready(server): ...
"""
    (folder / "gunicorn.conf.py").write_text(text)
    assert invoke(["config", "--from", "gunicorn.conf.py"]) == 0
    printed = capsys.readouterr().out
    assert (
        printed
        == """[tool.devserver]
app = "shop.wsgi"

[tool.devserver.prod]
bind = ["127.0.0.1:8001", "unix:/tmp/x"]
workers = 3
limit-max-requests = "none"
timeout-worker = 60
umask = 0o27
access-log = false
env = ["A=1"]
threads = 1
# daemon has no effect: let systemd or a container start dev prod, which stays in the foreground.
# logconfig_dict: write it to a JSON file and name that with log-config.
# when_ready: hooks stay in gunicorn.conf.py; leave nothing else in it, and write config = "gunicorn.conf.py".
"""
    )
    (folder / "pyproject.toml").write_text(printed)
    from_table = resolve("prod", {}, environ={}, directory=folder)
    (folder / "pyproject.toml").unlink()
    (folder / "gunicorn.conf.py").write_text(text.replace("logconfig_dict", "# "))
    from_file = resolve("prod", {"config_file": "gunicorn.conf.py"}, environ={}, directory=folder)
    assert dataclasses.replace(from_file.config, app=None, config_file=None) == from_table.config


def test_settings_file_that_is_not_there_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["config", "--from", "none.py"]) == 2
    assert "cannot read" in capsys.readouterr().err
