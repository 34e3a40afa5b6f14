"""Whatever a project is called, what ``dev new`` writes is formatted, and its imports are in their order.

A name makes lines longer or shorter, and stands among other names where those are sorted.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from devserver.scaffold.catalog import load
from devserver.scaffold.names import NAME_CHARS_MAX, names_of
from devserver.scaffold.plan import Answers, plan
from devserver.scaffold.provenance import Provenance
from devserver.scaffold.write import write

pytestmark = pytest.mark.once

CATALOG = load()
LONG = "warehouse-inventory-service-of-the-north"
# Before all others in the alphabet, and after them; with digits; of many lengths, since lines are wrapped at some.
NAMES = [
    *("a", "zzz", "b2b", "my-cafe", "warehouse_inventory_service", LONG),
    *("a" * NAME_CHARS_MAX, "z" * NAME_CHARS_MAX, "m-" * (NAME_CHARS_MAX // 2 - 1) + "m"),
    *("n" * length for length in range(2, NAME_CHARS_MAX, 8)),
]


def projects() -> Iterator[tuple[str, tuple[str, ...]]]:
    """Every preset with every set of features that add Python."""
    for preset in ("minimal", "api"):
        template, _ = CATALOG.preset(preset)
        sets = itertools.chain.from_iterable(
            itertools.combinations(template.features, size) for size in range(len(template.features) + 1)
        )
        yield from dict.fromkeys((preset, CATALOG.closure(template, features)) for features in sets)


PROJECTS = list(projects())


@pytest.mark.parametrize("name", NAMES)
def test_code_is_laid_out_whatever_its_name(name: str, tmp_path: Path) -> None:
    for preset, features in PROJECTS:
        template, _ = CATALOG.preset(preset)
        names = names_of(name, dependencies=template.dependencies())
        files = plan(Answers(names, preset, features), CATALOG, Provenance("0.1.0"))
        write(tmp_path / "-".join([preset, *features]), files)

    # Each project has settings of its own, which ruff finds for each file.
    for words in (["format", "--check", "--diff"], ["check", "--output-format", "concise"]):
        command = [sys.executable, "-m", "ruff", *words, "--no-cache", "."]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr


def test_every_set_of_features_is_there() -> None:
    # Nothing, a database, or users with one; with or without live updates; with or without a front end. And minimal.
    assert len(PROJECTS) == 3 * 2 * 2 + 1
