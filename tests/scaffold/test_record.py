"""What a project remembers of how it was made."""

from __future__ import annotations

from pathlib import Path

import pytest

from devserver.errors import ConfigError
from devserver.scaffold.names import names_of
from devserver.scaffold.plan import Answers, PlannedFile
from devserver.scaffold.record import FILE, Record, digest, read

pytestmark = pytest.mark.once

RECORD = Record.of("1.2.3", Answers(names_of("shop-api"), "db", ("db", "docker")), [PlannedFile("a", b"x")])


def test_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(RECORD.to_file().content)
    assert read(tmp_path) == RECORD
    assert RECORD.hashes == {"a": digest(b"x")}


def test_project_without_record_has_none(tmp_path: Path) -> None:
    assert read(tmp_path) is None
    assert read(tmp_path / "nowhere") is None


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"names": {}}', "null", '{"names": {"project": 1}, "files": []}'])
def test_record_that_cannot_be_understood_is_one_sentence(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE).write_text(content)
    with pytest.raises(ConfigError, match=r"\.dev-new\.json cannot be understood") as caught:
        read(tmp_path)
    assert caught.value.hint == "Take it back from git, or remove it."
