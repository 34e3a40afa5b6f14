"""What the tests of supervisors share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.reload import Project, answering

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(params=["fork", *(pytest.param(mode, marks=pytest.mark.once) for mode in ("cold", "standby"))])
def project(tmp_path: Path, request: pytest.FixtureRequest) -> Project:
    """A project whose ``main.py`` answers with 1, reloaded in each of the modes."""
    project = Project(tmp_path / "project", mode=request.param)
    project.write("pyproject.toml", "")
    project.write("main.py", answering("'1'"))
    return project
