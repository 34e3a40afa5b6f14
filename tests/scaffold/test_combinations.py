"""Projects of every kind, as dev new makes them: formatted, linted, type-checked and tested by their own settings.

All run in the environment of these tests, which has what they depend on. By default every pair of choices occurs in
some project; with ``DEVSERVER_TEST_COMBINATIONS=all`` all of them are made.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from devserver.scaffold.catalog import load
from devserver.scaffold.names import names_of
from devserver.scaffold.plan import Answers, plan
from devserver.scaffold.provenance import Provenance
from devserver.scaffold.write import write
from tests.support.typing_cache import mypy_cache

pytestmark = pytest.mark.once

CATALOG = load()
PROVENANCE = Provenance("0.1.0")
STORAGE = ("", "db", "auth")
EXTRAS = ("realtime", "frontend")
# test_layout.py has the longest ones as well.
# The one that is a part of nearly every word is that of a project with everything.
NAMES = ("b2b", "shop", "northern-lights-zoo", "my-cafe", "inventory-and-prices", "a")


def every_combination() -> Iterator[tuple[str, ...]]:
    for storage, realtime, frontend in itertools.product(STORAGE, (False, True), (False, True)):
        yield tuple(filter(None, [storage, *itertools.compress(EXTRAS, (realtime, frontend))]))


PAIRWISE = [
    (),
    ("realtime", "frontend"),
    ("db", "frontend"),
    ("db", "realtime"),
    ("auth",),
    ("auth", "realtime", "frontend"),
]
CHOSEN = list(every_combination()) if os.environ.get("DEVSERVER_TEST_COMBINATIONS") == "all" else PAIRWISE


def check(folder: Path, *words: str, **environ: str) -> None:
    variables = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "DEVSERVER", "COV"))
    }
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=folder,
        env={**variables, "PYTHONPATH": str(folder / "src"), "PYTHONDONTWRITEBYTECODE": "1", **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(words)} in {folder}\n{done.stdout[-6000:]}"


def test_pairwise_has_every_pair() -> None:
    def choices(combination: tuple[str, ...]) -> list[str]:
        storage = next((each for each in ("auth", "db") if each in combination), "none")
        return [storage, *(f"{each}: {each in combination}" for each in EXTRAS)]

    def pairs(combinations: list[tuple[str, ...]]) -> set[tuple[str, str]]:
        return {pair for each in combinations for pair in itertools.combinations(choices(each), 2)}

    assert pairs(PAIRWISE) == pairs(list(every_combination()))


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("features", CHOSEN, ids=lambda features: "+".join(features) or "api")
def test_project_passes_its_own_checks(
    features: tuple[str, ...], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    template, _ = CATALOG.preset("api")
    name = NAMES[CHOSEN.index(features) % len(NAMES)]
    answers = Answers(names_of(name, dependencies=template.dependencies()), "api", CATALOG.closure(template, features))
    project = tmp_path / name
    files = plan(answers, CATALOG, PROVENANCE)
    write(project, files)
    for each in files:
        if b"\0" not in each.content:
            text = each.content.decode(errors="replace").lower()
            assert "acme" not in text, each.path
            assert "# feature:" not in text, each.path
            assert not [line for line in text.splitlines() if line != line.rstrip()], each.path
    check(project, "ruff", "format", "--check", "--diff", "--no-cache", ".")
    check(project, "ruff", "check", "--no-cache", ".")
    with mypy_cache(tmp_path_factory) as cache:
        check(project, "mypy", "--cache-dir", str(cache))
    check(project, "pytest", "-q", "-x", "-p", "no:cacheprovider")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_minimal_project_passes_its_own_checks(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    for name in NAMES:
        project = tmp_path / name
        write(project, plan(Answers(names_of(name), "minimal"), CATALOG, PROVENANCE))
        check(project, "ruff", "format", "--check", "--diff", "--no-cache", ".")
        check(project, "ruff", "check", "--no-cache", ".")
    with mypy_cache(tmp_path_factory) as cache:
        check(project, "mypy", "--cache-dir", str(cache))
    check(project, "pytest", "-q", "-x", "-p", "no:cacheprovider")
