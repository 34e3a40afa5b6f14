"""The devserver that a project depends on, and the wheels that hold the templates."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from email.parser import BytesParser
from pathlib import Path

import pytest

import devserver
from devserver.scaffold.catalog import template_paths
from devserver.scaffold.install import find_uv
from devserver.scaffold.provenance import of_this
from tests.support.projects import REPOSITORY

pytestmark = pytest.mark.once


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as it is published: built from the source distribution."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--outdir", str(folder)], cwd=REPOSITORY, capture_output=True, check=True
    )
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that a project keeps."""
    provenance = of_this()
    wheel = tmp_path_factory.mktemp("vendor") / provenance.wheel_name
    wheel.write_bytes(provenance.wheel)
    return wheel


@pytest.mark.slow
def test_published_wheel_holds_the_templates_file_by_file(built: Path) -> None:
    inside = {
        name.removeprefix("devserver/_templates/"): content
        for name, content in contents(built).items()
        if name.startswith("devserver/_templates/")
    }
    templates = REPOSITORY / "templates"
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "."],
        cwd=templates,
        capture_output=True,
        text=True,
        check=True,
    )
    wanted = {name for name in tracked.stdout.split("\0") if name and (templates / name).is_file()}
    assert {"minimal/.gitignore", "minimal/.env.example"} <= wanted
    assert inside.keys() == wanted == set(template_paths(templates))
    assert {name: (templates / name).read_bytes() for name in wanted} == inside


@pytest.mark.slow
def test_wheel_that_a_project_keeps_is_the_published_one(built: Path, packed: Path) -> None:
    assert packed.name == built.name
    one, other = contents(built), contents(packed)
    assert one.keys() == other.keys()
    differing = {name for name in one if one[name] != other[name]}
    # Who made it, and in which order; METADATA is compared below, for its fields may come in another order.
    assert {name.partition("/")[2] for name in differing} <= {"RECORD", "WHEEL", "METADATA"}
    information = f"devserver-{devserver.__version__}.dist-info"
    for name in ("METADATA", "WHEEL"):
        fields, others = (
            sorted(BytesParser().parsebytes(each[f"{information}/{name}"]).items()) for each in (one, other)
        )
        ignored = {"Generator", "Metadata-Version"}
        assert [each for each in fields if each[0] not in ignored] == [
            each for each in others if each[0] not in ignored
        ]


def test_wheel_is_the_same_every_time() -> None:
    assert of_this().wheel == of_this().wheel


def test_wheel_is_installed_and_makes_projects(packed: Path, tmp_path: Path) -> None:
    uv = find_uv()
    assert uv is not None
    environment = tmp_path / "environment"
    quiet = {"cwd": tmp_path, "capture_output": True, "check": True}
    subprocess.run([uv, "venv", "--python", sys.executable, str(environment)], **quiet)  # type: ignore[call-overload]
    python = environment / "bin/python"
    # What it needs is there already: it is taken from the environment of the tests.
    subprocess.run([uv, "pip", "install", "--python", str(python), "--no-deps", str(packed)], **quiet)  # type: ignore[call-overload]
    packages = next(Path(path) for path in sys.path if path.endswith("site-packages"))
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL"))}
    done = subprocess.run(
        [str(environment / "bin/dev"), "new", "shop", "--template", "minimal", "--no-install", "--json"],
        cwd=tmp_path,
        env={**variables, "PYTHONPATH": str(packages)},
        capture_output=True,
        text=True,
        check=True,
    )
    # It came from a file, so that the project keeps a wheel again: the very same.
    kept = tmp_path / "shop/vendor" / packed.name
    assert json.loads(done.stdout)["devserver"] == devserver.__version__
    assert contents(kept) == contents(packed)
