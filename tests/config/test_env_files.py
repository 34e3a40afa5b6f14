"""Env files: which are read, what they add, and what is said of bad ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from devserver.config.env_files import mode_files, read_env_files
from devserver.errors import ConfigError
from devserver.events import Notice


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_variables_are_returned_and_set_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("A", raising=False)
    file = written(tmp_path / ".env", "A=1\nexport B='two words'\n# C=3\nD\n")
    assert read_env_files([file], {}) == {"A": "1", "B": "two words"}


def test_real_environment_wins(tmp_path: Path) -> None:
    assert read_env_files([written(tmp_path / ".env", "A=1\nB=2")], {"A": "real"}) == {"B": "2"}


def test_last_file_wins(tmp_path: Path) -> None:
    files = [written(tmp_path / "a", "A=1\nB=1"), written(tmp_path / "b", "A=2")]
    assert read_env_files(files, {}) == {"A": "2", "B": "1"}


def test_reference_prefers_the_real_environment_then_what_was_read_before(tmp_path: Path) -> None:
    first = written(tmp_path / "a", "HOST=file\nDB=db")
    second = written(tmp_path / "b", "URL=${HOST}/${DB}/${NONE:-default}/${NONE}")
    assert read_env_files([first, second], {"HOST": "real"})["URL"] == "real/db/default/"


def test_relative_path_starts_at_the_folder(tmp_path: Path) -> None:
    written(tmp_path / "x.env", "A=1")
    assert read_env_files(["x.env"], {}, directory=tmp_path) == {"A": "1"}


def test_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"\xef\xbb\xbfA=1")
    assert read_env_files([tmp_path / ".env"], {}) == {"A": "1"}


def test_line_that_cannot_be_read_is_told_with_its_number(tmp_path: Path) -> None:
    written(tmp_path / ".env", 'A=1\nB="open\n')
    notices: list[Notice] = []
    assert read_env_files([".env"], {}, directory=tmp_path, notices=notices) == {"A": "1"}
    assert notices == [Notice("warning", ".env:2: this cannot be read as NAME=VALUE and is left out.")]


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_env_files(["no.env"], {}, directory=tmp_path)
    assert caught.value.message == "The env file no.env does not exist."
    assert str(tmp_path) in caught.value.hint


def test_folder_and_binary_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        read_env_files([tmp_path], {})
    (tmp_path / "b").write_bytes(b"A=\xff")
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        read_env_files([tmp_path / "b"], {})


def test_files_of_a_mode_are_those_that_exist_weakest_first(tmp_path: Path) -> None:
    for name in (".env", ".env.local", ".env.development", ".env.development.local", ".env.production"):
        written(tmp_path / name, "")
    assert mode_files("development", tmp_path) == (
        ".env",
        ".env.development",
        ".env.local",
        ".env.development.local",
    )
    assert mode_files("test", tmp_path) == (".env",)
    assert mode_files(None, tmp_path) == ()
