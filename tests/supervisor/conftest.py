"""What the tests of supervisors share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.reload import Project, answering

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project whose ``main.py`` answers with 1."""
    project = Project(tmp_path / "project")
    project.write("pyproject.toml", "")
    project.write("main.py", answering("'1'"))
    return project
