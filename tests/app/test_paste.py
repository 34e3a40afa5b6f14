"""Apps from Paste files, loaded as ``dev prod --paste`` loads them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from devserver.app.load import load_app
from devserver.app.wsgi import Wsgi
from devserver.config.discovery import find_target
from devserver.config.settings import Config
from devserver.errors import AppLoadError

FILE = """
[app:main]
paste.app_factory = shop_of_paste:make
greeting = hello

[app:broken]
paste.app_factory = shop_of_paste:fail

[composite:both]
use = egg:Paste#urlmap
"""
MODULE = """
def make(global_conf, greeting):
    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [greeting.encode()]
    return app

def fail(global_conf):
    raise ValueError("no shop today")
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a Paste file."""
    (tmp_path / "shop.ini").write_text(FILE)
    (tmp_path / "shop_of_paste.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "shop_of_paste", raising=False)
    return tmp_path


def load(folder: Path, paste: str) -> Any:
    """The app that ``--paste`` names."""
    return load_app(find_target(Config(paste=paste), folder))


def test_app_of_the_file_is_a_wsgi_app(folder: Path) -> None:
    app = load(folder, "shop.ini")
    assert isinstance(app, Wsgi)
    assert list(app.app({}, lambda *_: None)) == [b"hello"]


def test_factory_that_raises_is_told_with_its_line(folder: Path) -> None:
    with pytest.raises(AppLoadError, match="raised ValueError: no shop today") as caught:
        load(folder, "shop.ini#broken")
    assert caught.value.failure is not None
    assert caught.value.failure.frames[-1].path.endswith("shop_of_paste.py")


def test_section_that_is_not_there_is_told(folder: Path) -> None:
    with pytest.raises(AppLoadError, match="No section 'nowhere'"):
        load(folder, "shop.ini#nowhere")


def test_file_that_is_not_there_is_told(folder: Path) -> None:
    with pytest.raises(AppLoadError, match=r"^--paste: the file .*none\.ini does not exist\.$"):
        load(folder, "none.ini")


def test_missing_package_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "paste.deploy", None)
    with pytest.raises(AppLoadError, match="needs PasteDeploy, which is not installed") as caught:
        load(folder, "shop.ini")
    assert "pip install PasteDeploy" in caught.value.hint
