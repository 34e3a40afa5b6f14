"""The pages for people who come from another server name every option of the release that is installed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from gunicorn.config import KNOWN_SETTINGS

pytestmark = pytest.mark.once

PAGES = Path(__file__).parents[1] / "docs" / "from"
_OPTION = re.compile(r"(?:(?<=\s)|(?<=,)|(?<=/)|(?<=\[)|^)(--?[a-zA-Z][a-zA-Z0-9-]*)")


def named(page: str) -> set[str]:
    """What stands in the first column of the page's table."""
    rows = [line for line in (PAGES / f"{page}.md").read_text().splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row.split(" | ")[0])}


def offered(*command: str) -> set[str]:
    """The options that a command's help lists, at the start of its lines."""
    environment = {**os.environ, "COLUMNS": "400", "TERMINAL_WIDTH": "400", "NO_COLOR": "1", "TERM": "dumb"}
    done = subprocess.run(
        [sys.executable, "-m", *command, "--help"], capture_output=True, text=True, check=True, env=environment
    )
    found = set()
    for line in done.stdout.splitlines():
        text = line.strip(" │|*")
        if text.startswith("-"):
            # Options come first; two spaces or more end them.
            found |= set(_OPTION.findall(re.split(r"(?<=[A-Za-z\]]) {2,}(?![ -])", text)[0]))
    return found


@pytest.mark.parametrize(
    ("page", "commands"),
    [
        ("uvicorn", [("uvicorn",)]),
        ("fastapi-cli", [("fastapi", "dev"), ("fastapi", "run")]),
        ("hypercorn", [("hypercorn",)]),
        ("granian", [("granian",)]),
    ],
)
def test_every_option_is_on_the_page(page: str, commands: list[tuple[str, ...]]) -> None:
    known = set().union(*(offered(*command) for command in commands))
    assert len(known) > 5
    assert known - named(page) == set()
    assert {name for name in named(page) if name.startswith("--")} - known == set()


def test_every_setting_of_gunicorn_is_on_its_page() -> None:
    assert named("gunicorn") == {setting.name for setting in KNOWN_SETTINGS}


@pytest.mark.parametrize("page", [path.stem for path in PAGES.glob("*.md")])
def test_options_of_ours_exist(page: str) -> None:
    options = (PAGES.parent / "options.md").read_text()
    rows = [line for line in (PAGES / f"{page}.md").read_text().splitlines() if line.startswith("| `")]
    assert rows
    ours = {name for row in rows for name in re.findall(r"`(--[a-z0-9-]+)", row.split(" | ", 1)[1])}
    assert {name for name in ours if f"`{name}" not in options} - {"--help", "--version"} == set()
