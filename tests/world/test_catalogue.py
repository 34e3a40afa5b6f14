"""The catalogue of applications agrees with the programs beside it."""

from __future__ import annotations

import re

import pytest

from tests.world.applications.catalogue import APPLICATIONS, Application
from tests.world.applications.interactions import PROGRAMS


@pytest.mark.parametrize("application", APPLICATIONS.values(), ids=APPLICATIONS)
def test_application_is_pinned_and_its_programs_exist(application: Application) -> None:
    assert re.fullmatch(r"[\w.\[\]-]+==[\d.]+", application.requirements[0])
    assert all((PROGRAMS / source).is_file() for source in application.files.values())
    assert "main.py" in application.files or not application.target.startswith("main:")


def test_bounded_run_has_applications_of_several_kinds() -> None:
    assert len({application.kind for application in APPLICATIONS.values() if application.bounded}) >= 3
