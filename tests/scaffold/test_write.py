"""A project on disk: whole, or not at all."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from devserver.errors import UsageError
from devserver.scaffold.plan import PlannedFile
from devserver.scaffold.write import write
from tests.support.clients import tool
from tests.support.projects import REPOSITORY, write_files

pytestmark = pytest.mark.once

FILES = [
    PlannedFile("README.md", b"new\n"),
    PlannedFile("bin/run", b"#!/bin/sh\n", executable=True),
    PlannedFile("src/shop/main.py", b"app = 1\n"),
]
POWERLESS = [tool("setpriv"), "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []


def tree(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


NEW = {each.path: each.content.decode() for each in FILES}


def test_project_is_written_whole_and_nothing_else(tmp_path: Path) -> None:
    written = write(tmp_path / "shop", FILES)
    assert tree(tmp_path / "shop") == NEW
    assert (written.new, written.added) == (list(NEW), False)
    assert os.listdir(tmp_path) == ["shop"]
    assert stat.S_IMODE((tmp_path / "shop").stat().st_mode) == 0o777 & ~_umask()
    assert os.access(tmp_path / "shop/bin/run", os.X_OK)
    assert not os.access(tmp_path / "shop/README.md", os.X_OK)


def test_folders_above_are_made(tmp_path: Path) -> None:
    write(tmp_path / "a/b/shop", FILES)
    assert tree(tmp_path / "a/b/shop") == NEW


def test_empty_folder_is_filled_and_stays_the_same_folder(tmp_path: Path) -> None:
    before = tmp_path.stat().st_ino
    written = write(tmp_path, FILES)
    assert (tree(tmp_path), written.added) == (NEW, False)
    assert tmp_path.stat().st_ino == before
    assert sorted(os.listdir(tmp_path)) == ["README.md", "bin", "src"]


def test_folder_that_is_not_empty_is_refused_and_stays_as_it_is(tmp_path: Path) -> None:
    write_files(tmp_path, {"shop/.git/config": "mine"})
    with pytest.raises(UsageError, match="exists and is not empty") as caught:
        write(tmp_path / "shop", FILES)
    assert "--force" in caught.value.hint
    assert tree(tmp_path) == {"shop/.git/config": "mine"}


@pytest.mark.parametrize("kind", ["file", "dangling link"])
def test_what_is_no_folder_is_refused_even_with_force(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "shop"
    if kind == "file":
        target.write_text("mine")
    else:
        target.symlink_to("nowhere")
    with pytest.raises(UsageError, match="exists and is no folder"):
        write(target, FILES, force=True)
    assert os.listdir(tmp_path) == ["shop"]


def test_folder_whose_name_differs_in_case_alone_is_refused(tmp_path: Path) -> None:
    (tmp_path / "Shop").mkdir()
    with pytest.raises(UsageError, match="whose name differs in case alone"):
        write(tmp_path / "shop", FILES)


def test_force_keeps_what_differs_and_says_so(tmp_path: Path) -> None:
    write_files(tmp_path, {"README.md": "mine\n", "src/shop/main.py": "app = 1\n", "other.txt": "mine"})
    written = write(tmp_path, FILES, force=True)
    assert written.added
    assert written.kept == {"README.md": "README.md.before"}
    assert written.same == ["src/shop/main.py"]
    assert written.new == ["bin/run"]
    assert tree(tmp_path) == {**NEW, "README.md.before": "mine\n", "other.txt": "mine"}


def test_force_twice_keeps_both_versions(tmp_path: Path) -> None:
    write_files(tmp_path, {"README.md": "second\n", "README.md.before": "first\n"})
    assert write(tmp_path, FILES, force=True).kept == {"README.md": "README.md.before2"}
    assert (tmp_path / "README.md.before").read_text() == "first\n"


def test_file_where_a_folder_must_be_leaves_everything_as_it_was(tmp_path: Path) -> None:
    before = {"README.md": "mine\n", "src": "a file\n"}
    write_files(tmp_path, before)
    with pytest.raises(UsageError, match="cannot be written"):
        write(tmp_path, FILES, force=True)
    assert tree(tmp_path) == before
    assert sorted(os.listdir(tmp_path)) == ["README.md", "src"]


PROGRAM = """
import resource, sys
from pathlib import Path
from devserver.errors import UsageError
from devserver.scaffold.plan import PlannedFile
from devserver.scaffold.write import write

if len(sys.argv) > 2:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
files = [PlannedFile("first", b"x" * 900), PlannedFile("deep/second", b"x" * 1100), PlannedFile("third", b"")]
try:
    write(Path(sys.argv[1]), files)
except UsageError as exc:
    print(exc.message)
"""


def test_disk_that_is_full_half_way_leaves_nothing_behind(tmp_path: Path) -> None:
    # A limit on the size of files stands for the disk: the second write fails, as on a full one.
    target = tmp_path / "a/b/shop"
    said = _run([sys.executable, "-c", PROGRAM, str(target), "limited"])
    assert said == f"{target} cannot be written: file too large. Nothing was left behind.\n"
    assert os.listdir(tmp_path) == []


def test_folder_without_permission_is_one_sentence(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    try:
        for target in (tmp_path / "shop", tmp_path / "a" / "shop"):
            said = _run([*POWERLESS, sys.executable, "-c", PROGRAM, str(target)])
            assert said.endswith("cannot be written: permission denied. Nothing was left behind.\n")
        assert os.listdir(tmp_path) == []
    finally:
        tmp_path.chmod(0o755)


def _run(command: list[str]) -> str:
    done = subprocess.run(
        command,
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
