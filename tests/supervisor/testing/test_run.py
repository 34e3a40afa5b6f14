"""What a test run makes of compiled test files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from devserver.supervisor.testing.run import is_doubtful


@pytest.mark.parametrize(
    ("saved", "compiled", "doubtful"),
    [(100.9, 100.1, True), (100.1, 100.9, True), (100.9, 101.0, False), (102.0, 101.0, True)],
)
def test_compiled_file_of_the_second_of_a_save_is_not_trusted(
    tmp_path: Path, saved: float, compiled: float, doubtful: bool
) -> None:
    source, made = tmp_path / "test_a.py", tmp_path / "test_a.pyc"
    for path, moment in ((source, saved), (made, compiled)):
        path.touch()
        os.utime(path, (moment, moment))
    assert is_doubtful(source, made) is doubtful


def test_file_that_is_not_there_is_for_pytest_to_judge(tmp_path: Path) -> None:
    assert not is_doubtful(tmp_path / "test_a.py", tmp_path / "test_a.pyc")
