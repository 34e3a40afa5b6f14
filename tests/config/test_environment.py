"""Variables that are put into effect."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from devserver.config import environment
from devserver.config.folder import logical


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = dict(os.environ)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    environment.replace(before)


def test_variables_are_added_exchanged_and_replaced() -> None:
    own = {"A": "own"}
    environment.replace(own)
    assert dict(os.environ) == own
    environment.add({"A": "1", "B": "2"})
    assert dict(os.environ) == {"A": "1", "B": "2"}
    environment.exchange({"A": "1", "B": "2"}, {"C": "3"}, own)
    assert dict(os.environ) == {"A": "own", "C": "3"}


def test_time_zone_counts_when_it_comes_and_when_it_goes() -> None:
    environment.replace({"TZ": "UTC"})
    assert time.tzname[0] == "UTC"
    environment.add({"TZ": "XYZ-5"})
    assert (time.tzname[0], time.localtime(0).tm_hour) == ("XYZ", 5)
    environment.replace({"TZ": "UTC"})
    assert time.localtime(0).tm_hour == 0


def test_import_path_counts_when_it_comes_and_when_it_goes(tmp_path: Path) -> None:
    before = [*sys.path]
    own = dict(os.environ)
    environment.add({"PYTHONPATH": os.pathsep.join(["below", str(tmp_path), ""])})
    assert sys.path == [os.path.abspath("below"), str(tmp_path), *before]
    environment.add({"PYTHONPATH": str(tmp_path)})
    assert sys.path == [str(tmp_path), *before]
    environment.replace(own)
    assert sys.path == before


def test_folder_has_the_name_of_pwd_when_that_is_the_same(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.mkdir()
    link.symlink_to(real)
    assert logical(real, {"PWD": str(link)}) == link
    for other in (str(tmp_path), str(tmp_path / "none"), "link", ""):
        assert logical(real, {"PWD": other}) == real
    assert logical(real, {}) == real
