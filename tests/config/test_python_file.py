"""Settings and hooks that are written in Python."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from devserver.config import python_file
from devserver.config.sources import Resolved, resolve
from devserver.errors import ConfigError


def resolved(folder: Path, text: str, **given: object) -> Resolved:
    """What ``dev prod --config conf.py`` makes of it."""
    (folder / "conf.py").write_text(text)
    return resolve("prod", {"config_file": "conf.py", **given}, environ={}, directory=folder)


def test_names_are_options_and_functions_are_hooks(tmp_path: Path) -> None:
    text = """
import multiprocessing
workers = 2 + 1
bind = ["127.0.0.1:0", "unix:/tmp/x"]
limit_max_requests = 10
_private = "x"
colour = "red"
class Helper: ...
def when_ready(server): ...
def something_else(): ...
post_fork = lambda server, worker: None
"""
    found = resolved(tmp_path, text)
    assert (found.config.workers, found.config.limit_max_requests) == (3, 10)
    assert found.config.bind == ("127.0.0.1:0", "unix:/tmp/x")
    assert found.origins["workers"] == str(tmp_path / "conf.py")
    assert sorted(found.hooks) == ["post_fork", "when_ready"]
    assert found.notices == ()


def test_file_is_weaker_than_the_command_line_and_stronger_than_the_project(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.devserver.prod]\nworkers = 9\nbacklog = 7\n")
    found = resolved(tmp_path, "workers = 3\nbacklog = 5", workers="4")
    assert (found.config.workers, found.config.backlog) == (4, 5)


def test_file_that_the_project_names_is_found(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.devserver.prod]\nconfig = 'conf.py'\n")
    (tmp_path / "conf.py").write_text("workers = 3")
    found = resolve("prod", {}, environ=dict(os.environ), directory=tmp_path)
    assert found.config.workers == 3


def test_name_that_was_probably_meant_is_told(tmp_path: Path) -> None:
    (notice,) = resolved(tmp_path, "worker = 3").notices
    assert notice.text.endswith("conf.py: worker is not an option; did you mean workers?")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("workers = 'x'", r"conf\.py workers: 'x' is not a whole number\."),
        ("a = 1\nb = (", r"--config: .*conf\.py, line 2: '\(' was never closed\."),
        ("a = 1\n\nb = 1 / 0", r"--config: .*conf\.py, line 3: ZeroDivisionError: division by zero\."),
        ("def when_ready(): ...", r"--config: .*when_ready is called with one argument, which it does not take\."),
        ("def post_fork(a): ...", r"--config: .*post_fork is called with two arguments, which it does not take\."),
        ("on_exit = 3", r"--config: .*conf\.py: on_exit is not a function\."),
    ],
)
def test_mistake_is_told_in_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        resolved(tmp_path, text)


@pytest.mark.parametrize("text", ["file:conf.py", "python:conf", "python:inner.settings", "python:inner"])
def test_file_is_named_as_gunicorn_names_it(tmp_path: Path, text: str) -> None:
    (tmp_path / "inner").mkdir()
    for name in ("conf.py", "inner/settings.py", "inner/__init__.py"):
        (tmp_path / name).write_text("workers = 7")
    found = resolve("prod", {"config_file": text}, environ={}, directory=tmp_path)
    assert found.config.workers == 7
    found = resolve("prod", {}, environ={"GUNICORN_CMD_ARGS": f"-c {text}"}, directory=tmp_path)
    assert found.config.workers == 7


def test_module_that_is_installed_is_found_and_a_missing_one_is_told(tmp_path: Path) -> None:
    assert python_file.locate(tmp_path, "python:json.decoder").name == "decoder.py"
    for name in ("no_such_module_at_all", "no_such_module_at_all.inner", "sys", "..."):
        with pytest.raises(ConfigError, match="there is no module"):
            python_file.locate(tmp_path, f"python:{name}")


def test_file_that_gunicorn_would_read_is_pointed_out(tmp_path: Path) -> None:
    (tmp_path / "gunicorn.conf.py").write_text("workers = 7")
    (notice,) = resolve("prod", {}, environ={}, directory=tmp_path).notices
    assert notice.text == "gunicorn.conf.py is not read; give --config gunicorn.conf.py."
    assert resolve("run", {}, environ={}, directory=tmp_path).notices == ()
    assert resolve("prod", {"config_file": "gunicorn.conf.py"}, environ={}, directory=tmp_path).notices == ()


def test_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--config: cannot read .*none\.py \(No such file or directory\)\."):
        resolve("prod", {"config_file": "none.py"}, environ={}, directory=tmp_path)


def test_file_is_a_module_and_imports_those_of_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "shop_settings.py").write_text("count = 3\ndef ready(server): ...")
    text = """
from __future__ import annotations
from dataclasses import dataclass
import shop_settings
@dataclass
class Numbers:
    workers: int = shop_settings.count
workers = Numbers().workers
when_ready = "shop_settings.ready"
"""
    found = resolved(tmp_path, text)
    assert found.config.workers == 3
    assert found.hooks["when_ready"].__module__ == "shop_settings"
    # What has been edited counts when the file is read again.
    (tmp_path / "shop_settings.py").write_text("count = 40")
    importlib.invalidate_caches()
    with pytest.raises(ConfigError, match=r"when_ready: 'shop_settings\.ready' cannot be imported \(AttributeError"):
        resolved(tmp_path, text)
    assert sys.modules["shop_settings"].count == 40
    del sys.modules["shop_settings"]


def test_number_that_is_written_as_text_counts(tmp_path: Path) -> None:
    found = resolved(tmp_path, "workers = '2'\nforwarded_allow_ips = ['10.0.0.1']\nroot_path = '/shop'")
    assert (found.config.workers, found.config.forwarded_allow_ips) == (2, ("10.0.0.1",))
    assert resolved(tmp_path, "workers = None").config.workers is None


def test_hook_that_does_not_say_what_it_takes_is_called_all_the_same() -> None:
    names: dict[str, Any] = {"on_exit": dict.fromkeys}
    assert python_file.hooks(names, Path("x")) == names
