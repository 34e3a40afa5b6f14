"""Projects of every shape: what is edited takes effect, and nothing of it is in a warm process."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

from tests.support.reload import CHECKOUT, Project, Session, answering, serve, until

pytestmark = pytest.mark.once

MEMBER = """
[project]
name = "{name}"
version = "1"
requires-python = ">=3.11"
dependencies = [{dependencies}]

[tool.uv.sources]
lib = {{ workspace = true }}

[build-system]
requires = ["uv_build"]
build-backend = "uv_build"
"""
ANSWER = "f'{value} {imported_by == os.getpid()}'"
VALUE = "import os\nvalue = {}\nimported_by = os.getpid()\n"


def fresh_each_time(session: Session, project: Project, file: str) -> None:
    """Saves a file of the project often enough for every process that was made ahead to be used."""
    assert session.get().body == "1 True"
    for number in (2, 3, 4):
        project.write(file, VALUE.format(number))
        reloaded = session.wait("Reloaded", number - 1)
        assert session.get().body == f"{number} True"
    assert reloaded["mode"] == session.mode


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace of two packages as uv makes it, with its environment inside."""
    root = tmp_path_factory.mktemp("workspace")
    files = {
        "pyproject.toml": '[tool.uv.workspace]\nmembers = ["packages/*"]\n',
        "packages/app/pyproject.toml": MEMBER.format(name="app", dependencies='"lib"'),
        "packages/app/src/app/__init__.py": "",
        "packages/app/src/app/main.py": answering(ANSWER, before="import os\nfrom lib import imported_by, value"),
        "packages/lib/pyproject.toml": MEMBER.format(name="lib", dependencies=""),
        "packages/lib/src/lib/__init__.py": VALUE.format(1),
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    uv = Path(sys.executable).with_name("uv")
    subprocess.run(
        [uv, "sync", "--offline", "--all-packages", "--python", sys.executable, "--no-config"],
        cwd=root,
        env={name: value for name, value in os.environ.items() if not name.startswith(("UV_", "VIRTUAL_ENV"))},
        check=True,
        capture_output=True,
    )
    assert (root / ".venv" / "pyvenv.cfg").is_file()
    return root


@pytest.mark.parametrize("place", [".", "packages/app"])
def test_workspace_member_is_the_projects_own(project: Project, workspace: Path, place: str) -> None:
    here = Project(workspace / place, mode=project.mode)
    lib = Project(workspace / "packages" / "lib")
    lib.write("src/lib/__init__.py", VALUE.format(1))
    python = str(workspace / ".venv" / "bin" / "python")
    # What devserver needs is in our environment, not in the workspace's.
    path = os.pathsep.join([str(CHECKOUT), sysconfig.get_path("purelib")])
    with serve(here, "app.main:app", python=python, environment={"PYTHONPATH": path}) as session:
        fresh_each_time(session, lib, "src/lib/__init__.py")


def test_namespace_package_is_the_projects_own(project: Project) -> None:
    project.write("shop/parts/prices.py", VALUE.format(1))
    project.write("main.py", answering(ANSWER, before="import os\nfrom shop.parts.prices import imported_by, value"))
    with serve(project) as session:
        fresh_each_time(session, project, "shop/parts/prices.py")


def test_package_in_src_is_the_projects_own(project: Project) -> None:
    (project.root / "main.py").unlink()
    project.write("src/shop/__init__.py", "")
    project.write("src/shop/prices.py", VALUE.format(1))
    project.write("src/shop/main.py", answering(ANSWER, before="import os\nfrom .prices import imported_by, value"))
    with serve(project, None) as session:
        fresh_each_time(session, project, "src/shop/prices.py")


def test_our_own_checkout_is_not_the_projects(project: Project) -> None:
    # Such as one that is worked on beside it, in the same folder.
    (project.root / "devserver").symlink_to(CHECKOUT / "devserver")
    project.write("main.py", answering("'devserver.errors' in sys.modules", before="import sys, devserver.errors"))
    with serve(project, environment={"PYTHONPATH": f"{project.root}{os.pathsep}{CHECKOUT}"}) as session:
        assert session.get().body == "True"
        loaded = [path for path, _ in session.wait("FilesLoaded")["executed"]]
        assert loaded == [str(project.root / "main.py")]


def git(root: Path, *arguments: str) -> None:
    """Runs git there, as somebody."""
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *who, *arguments], cwd=root, check=True, capture_output=True)


def test_checkout_of_many_files_ends_with_the_other_branch(project: Project) -> None:
    count = 1_500
    values: dict[str, Any] = {}
    for branch, number in (("main", 1), ("other", 2)):
        for index in range(count):
            project.write(f"parts/part{index}.py", f"value = {number}\n")
        imports = "\n".join(f"from parts.part{index} import value as v{index}" for index in range(0, count, 50))
        total = " + ".join(f"v{index}" for index in range(0, count, 50))
        project.write("main.py", answering(f"{total}", before=imports))
        if branch == "main":
            project.write(".gitignore", ".devserver\n__pycache__\n")
            git(project.root, "init")
        else:
            git(project.root, "checkout", "-b", branch)
        git(project.root, "add", "-A")
        git(project.root, "commit", "-m", branch)
        values[branch] = str(number * count // 50)
    with serve(project) as session:
        assert session.get().body == values["other"]
        for number, branch in enumerate(("main", "other", "main"), start=1):
            git(project.root, "checkout", branch)
            # The very next request.
            assert session.get().body == values[branch]
            session.wait("Reloaded", number)
        until(lambda: len(session.named("Reloaded")) >= 3)
        assert session.named("AppFailed") == []
        assert session.named("WorkerDied") == []
        assert len(session.named("Reloaded")) <= 6
