"""Which env files are read, which definition wins, and what an edit changes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from devserver.config.env_layers import ENVIRONMENT, Variables, candidates, difference, home, names_of_mode, read_layers
from devserver.errors import ConfigError


def project(folder: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def read(
    folder: Path, mode: str | None = "development", *given: str, environ: Mapping[str, str] | None = None
) -> Variables:
    return read_layers(mode, given, environ or {}, directory=folder)


ALL = (".env", ".env.development", ".env.local", ".env.development.local", "one.env", "two.env")


@pytest.mark.parametrize("strongest", range(len(ALL)))
def test_stronger_file_wins(tmp_path: Path, strongest: int) -> None:
    project(tmp_path, {name: f"A={name}" for name in ALL[: strongest + 1]})
    given = [name for name in ("one.env", "two.env") if (tmp_path / name).exists()]
    found = read(tmp_path, "development", *given)
    assert found.added == {"A": ALL[strongest]}
    assert [definition.file for definition in found.definitions["A"]] == list(ALL[strongest::-1])
    assert read(tmp_path, "development", *given, environ={"A": ""}).added == {}


def test_mode_test_leaves_the_local_file_out(tmp_path: Path) -> None:
    project(tmp_path, dict.fromkeys((".env", ".env.test", ".env.local", ".env.test.local"), "A=1"))
    assert read(tmp_path, "test").files == (".env", ".env.test", ".env.test.local")
    assert ".env.local" not in names_of_mode("test")


def test_without_a_mode_only_named_files_are_read(tmp_path: Path) -> None:
    project(tmp_path, {".env": "A=1", "x.env": "B=1"})
    assert read(tmp_path, None).added == {}
    assert read(tmp_path, None, "x.env").added == {"B": "1"}


def test_file_named_twice_counts_where_it_is_strongest(tmp_path: Path) -> None:
    project(tmp_path, {".env": "A=1", ".env.local": "A=2", "x.env": "A=3"})
    found = read(tmp_path, "development", ".env", "x.env", str(tmp_path / ".env"))
    assert found.added == {"A": "1"}
    assert found.files == (".env.local", "x.env", str(tmp_path / ".env"))


def test_nothing_is_written_to_the_environment(tmp_path: Path) -> None:
    before = dict(os.environ)
    assert read(project(tmp_path, {".env": "DEVSERVER_TEST_A=1"}), environ=os.environ).added == {
        "DEVSERVER_TEST_A": "1"
    }
    assert dict(os.environ) == before


def test_what_is_added_does_not_change_with_the_environment(tmp_path: Path) -> None:
    environ: dict[str, str] = {}
    found = read(project(tmp_path, {".env": "A=1"}), environ=environ)
    environ["A"] = "1"
    assert found.added == {"A": "1"}


def test_broken_file_of_the_mode_is_a_finding_and_a_named_one_an_error(tmp_path: Path) -> None:
    project(tmp_path, {".env.local": "A=1"})
    (tmp_path / ".env").mkdir()
    found = read(tmp_path)
    assert found.added == {"A": "1"}
    assert [finding.file for finding in found.warnings] == [".env"]
    with pytest.raises(ConfigError, match="is a folder"):
        read(tmp_path, "development", ".env")
    with pytest.raises(ConfigError, match="does not exist"):
        read(tmp_path, None, "no.env")


def test_link_that_leads_nowhere_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / ".env").symlink_to("elsewhere")
    assert "does not exist" in str(read(tmp_path).findings[0])


def test_candidates_are_those_that_may_come(tmp_path: Path) -> None:
    names = (".env", ".env.test", ".env.test.local", "x.env")
    assert candidates("test", ["x.env"], tmp_path) == tuple(str(tmp_path / name) for name in names)


def test_home_of_a_missing_variable() -> None:
    assert home("development", ("x.env",)) == ".env"
    assert home(None, ("x.env", "y.env")) == "y.env"
    assert home(None, ()) == ENVIRONMENT


def test_difference_names_what_the_app_sees_of_an_edit(tmp_path: Path) -> None:
    environ = {"REAL": "1"}
    project(tmp_path, {".env": "KEPT=1\nEDITED=1\nGONE=1\nREAL=0\nLOCAL=1\nURL=${EDITED}", ".env.local": "LOCAL=9"})
    before = read(tmp_path, environ=environ)
    project(tmp_path, {".env": "# moved\nKEPT=1\nEDITED=2\nNEW=1\nREAL=2\nLOCAL=2\nURL=${EDITED}"})
    found = difference(before, read(tmp_path, environ=environ))
    assert found.files == (".env",)
    assert found.added == ("NEW",)
    assert found.changed == ("EDITED", "URL")
    assert found.removed == ("GONE",)
    assert found.shadowed == (("LOCAL", ".env.local:1"), ("REAL", ENVIRONMENT))


def test_comment_is_no_difference(tmp_path: Path) -> None:
    before = read(project(tmp_path, {".env": "A=1"}))
    found = difference(before, read(project(tmp_path, {".env": "# comment\nA=1"})))
    assert found.files == ()


def test_file_that_appears_is_a_difference(tmp_path: Path) -> None:
    before = read(project(tmp_path, {".env": "A=1\nB=1"}))
    after = read(project(tmp_path, {".env.development": "A=2\nB=1"}))
    assert difference(before, after).changed == ("A",)
    assert difference(before, after).files == (".env.development",)
