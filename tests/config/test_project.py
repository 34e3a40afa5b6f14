"""Where a project ends, and which environment is its own."""

from __future__ import annotations

import os
import pickle
import sys
import sysconfig
from pathlib import Path

import pytest

import devserver
from devserver.config.project import FirstParty, editable_installs, project_interpreter, project_root, workspace_members
from devserver.config.target import Target
from tests.support.projects import write_files


def test_root_is_the_nearest_pyproject_above_the_file(tmp_path: Path) -> None:
    write_files(tmp_path, {"pyproject.toml": "", "shop/src/a/main.py": "", "shop/pyproject.toml": ""})
    target = Target(module="a.main", path=tmp_path / "shop" / "src" / "a" / "main.py")
    assert project_root(target, tmp_path) == tmp_path / "shop"


def test_root_without_pyproject_is_where_imports_start(tmp_path: Path) -> None:
    write_files(tmp_path, {"app/main.py": ""})
    target = Target(module="app.main", search_path=str(tmp_path), path=tmp_path / "app" / "main.py")
    assert project_root(target, tmp_path / "elsewhere") == tmp_path


def test_root_of_a_file_outside_the_search_path_is_its_folder(tmp_path: Path) -> None:
    write_files(tmp_path, {"x/main.py": "", "y/z.py": ""})
    target = Target(module="main", search_path=str(tmp_path / "y"), path=tmp_path / "x" / "main.py")
    assert project_root(target, tmp_path) == tmp_path / "x"


def test_root_of_an_installed_app_or_an_object_is_the_working_directory(tmp_path: Path) -> None:
    installed = Path(sysconfig.get_path("purelib")) / "shop" / "main.py"
    assert project_root(Target(module="shop.main", path=installed), tmp_path) == tmp_path
    assert project_root(Target(app=object()), tmp_path) == tmp_path


def test_files_under_the_root_are_first_party(tmp_path: Path) -> None:
    own = FirstParty(tmp_path)
    assert str(tmp_path / "main.py") in own
    assert str(tmp_path / "a" / "b" / "c.py") in own
    assert str(tmp_path / "lib.zip" / "x.py") in own
    assert str(tmp_path / "lib.zip") not in own


@pytest.mark.parametrize("path", ["", "<string>", "<frozen importlib._bootstrap>", None, 3])
def test_what_is_no_path_is_not_first_party(tmp_path: Path, path: object) -> None:
    assert path not in FirstParty(tmp_path)


def test_files_beside_the_root_are_not_first_party(tmp_path: Path) -> None:
    assert str(tmp_path / "project-2" / "x.py") not in FirstParty(tmp_path / "project")
    assert os.__file__ not in FirstParty(tmp_path)
    assert pytest.__file__ not in FirstParty(tmp_path)


def test_extra_folders_count(tmp_path: Path) -> None:
    own = FirstParty(tmp_path / "a", [tmp_path / "b"])
    assert str(tmp_path / "b" / "x.py") in own


def test_environments_inside_the_project_are_not_first_party(tmp_path: Path) -> None:
    write_files(tmp_path, {".venv/pyvenv.cfg": "", "node/site-packages/x.py": "", "deep/env/pyvenv.cfg": ""})
    own = FirstParty(tmp_path)
    assert str(tmp_path / ".venv" / "lib" / "x.py") not in own
    assert str(tmp_path / "node" / "site-packages" / "x.py") not in own
    assert str(tmp_path / "deep" / "env" / "x.py") not in own
    assert str(tmp_path / "deep" / "x.py") in own


def test_this_package_is_never_first_party() -> None:
    package = Path(devserver.__file__).parent
    own = FirstParty(package.parent)
    assert str(package / "errors.py") not in own
    assert __file__ in own


def test_standard_library_is_not_first_party_of_a_project_above_it() -> None:
    assert os.__file__ not in FirstParty("/")
    assert pytest.__file__ not in FirstParty("/")


def test_project_below_the_prefix_is_first_party(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # /usr/src/app with the system's Python, or python -m venv in the project's own folder.
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path))
    write_files(tmp_path, {"pyvenv.cfg": "", "src/app/main.py": "", "main.py": ""})
    assert str(tmp_path / "src" / "app" / "main.py") in FirstParty(tmp_path / "src" / "app")
    assert str(tmp_path / "main.py") in FirstParty(tmp_path)


def test_symbolic_links_count_on_both_sides(tmp_path: Path) -> None:
    write_files(tmp_path, {"real/main.py": "", "outside/lib.py": ""})
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "shared").symlink_to(tmp_path / "outside")
    assert str(tmp_path / "link" / "main.py") in FirstParty(tmp_path / "real")
    assert str(tmp_path / "real" / "main.py") in FirstParty(tmp_path / "link")
    assert str(tmp_path / "real" / "shared" / "lib.py") in FirstParty(tmp_path / "real")


def test_first_party_crosses_a_process_boundary(tmp_path: Path) -> None:
    own = pickle.loads(pickle.dumps(FirstParty(tmp_path, [tmp_path.parent / "b"])))
    assert (own.root, own.extra_dirs) == (str(tmp_path), (str(tmp_path.parent / "b"),))
    assert repr(own) == f"FirstParty({str(tmp_path)!r}, {(str(tmp_path.parent / 'b'),)!r})"


def test_verdicts_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("devserver.config.project._VERDICTS_MAX", 3)
    own = FirstParty(tmp_path)
    assert all(str(tmp_path / str(number) / "x.py") in own for number in range(10))
    assert len(own._verdicts) <= 3


def test_workspace_members_are_first_party(tmp_path: Path) -> None:
    write_files(
        tmp_path,
        {
            "pyproject.toml": '[tool.uv.workspace]\nmembers = ["packages/*"]',
            "packages/a/pyproject.toml": "",
            "packages/b/pyproject.toml": "",
            "packages/c/README": "",
            "apart/pyproject.toml": "",
        },
    )
    a, b = str(tmp_path / "packages" / "a"), str(tmp_path / "packages" / "b")
    assert workspace_members(tmp_path) == [a, b]
    assert workspace_members(tmp_path / "packages" / "a") == [str(tmp_path), b]
    assert workspace_members(tmp_path / "apart") == []
    assert str(tmp_path / "packages" / "b" / "x.py") in FirstParty.of(tmp_path / "packages" / "a")


@pytest.mark.parametrize(
    "text", ["[tool", "[tool.uv.workspace]", '[tool.uv]\nworkspace = "x"', "[tool.uv.workspace]\nmembers = ['/a']"]
)
def test_workspaces_that_make_no_sense_have_no_members(tmp_path: Path, text: str) -> None:
    write_files(tmp_path, {"pyproject.toml": text})
    assert workspace_members(tmp_path) == []


def test_editable_installs_are_found(tmp_path: Path) -> None:
    url = '{"url": "file:///home/me/my%20lib", "dir_info": {"editable": true}}'
    packages = tmp_path / "site-packages"
    write_files(
        packages,
        {
            "mine-1.dist-info/direct_url.json": url,
            "wheel-1.dist-info/direct_url.json": '{"url": "file:///x.whl", "archive_info": {}}',
            "plain-1.dist-info/METADATA": "",
            "broken-1.dist-info/direct_url.json": "{",
            "list-1.dist-info/direct_url.json": "[]",
        },
    )
    assert editable_installs([str(packages), str(tmp_path), str(tmp_path / "no" / "site-packages")]) == [
        "/home/me/my lib"
    ]


def make_environment(folder: Path) -> Path:
    write_files(folder, {"pyvenv.cfg": "", "bin/python": ""})
    return folder / "bin" / "python"


def test_active_environment_decides(tmp_path: Path) -> None:
    python = make_environment(tmp_path / "env")
    make_environment(tmp_path / ".venv")
    assert project_interpreter(tmp_path, {"VIRTUAL_ENV": str(tmp_path / "env")}) == python


def test_running_environment_needs_no_other(tmp_path: Path) -> None:
    make_environment(tmp_path / ".venv")
    if (Path(sys.prefix) / "pyvenv.cfg").is_file():
        assert project_interpreter(tmp_path, {"VIRTUAL_ENV": sys.prefix}) is None
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / ".venv").symlink_to(sys.prefix)
    assert project_interpreter(tmp_path / "linked", {}) is None


def test_environment_in_the_project_is_found_from_below(tmp_path: Path) -> None:
    python = make_environment(tmp_path / ".venv")
    write_files(tmp_path, {"pyproject.toml": "", "src/x.py": ""})
    assert project_interpreter(tmp_path / "src", {"VIRTUAL_ENV": str(tmp_path / "gone")}) == python


def test_environment_above_the_project_is_not_its_own(tmp_path: Path) -> None:
    make_environment(tmp_path / ".venv")
    write_files(tmp_path, {"shop/pyproject.toml": ""})
    assert project_interpreter(tmp_path / "shop", {}) is None


def test_folder_without_interpreter_is_no_environment(tmp_path: Path) -> None:
    write_files(tmp_path, {".venv/pyvenv.cfg": "", "pyproject.toml": "", "b/.venv/x": "", "b/pyproject.toml": ""})
    assert project_interpreter(tmp_path, {}) is None
    assert project_interpreter(tmp_path / "b", {}) is None


def test_windows_layout_is_known(tmp_path: Path) -> None:
    write_files(tmp_path, {".venv/pyvenv.cfg": "", ".venv/Scripts/python.exe": ""})
    assert project_interpreter(tmp_path, {}) == tmp_path / ".venv" / "Scripts" / "python.exe"


def test_sources_of_compiled_libraries_are_not_first_party(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop.pyx").touch()
    own = FirstParty(tmp_path)
    assert "uvloop/loop.pyx" not in own
    assert "shop.pyx" in own
