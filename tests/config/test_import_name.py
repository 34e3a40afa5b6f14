"""The module name of a file whose folder has the name of a library, or a name that no import can spell.

``fastapi`` stands for any installed library, ``email`` for any module of the standard library.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from devserver.config.app_source import AppSource
from devserver.config.import_name import import_name, installed_module
from devserver.errors import AppLoadError
from tests.support.projects import write_files

FASTAPI = "from fastapi import FastAPI\napp = FastAPI()\n"


def name_of(folder: Path, file: str, files: dict[str, str]) -> tuple[str, str]:
    write_files(folder, files)
    module, base = import_name(AppSource.read(folder / file))
    return module, str(base.relative_to(folder))


@pytest.mark.parametrize("library", ["fastapi", "email", "code", "test", "polars", "starlette"])
@pytest.mark.parametrize("init", [{}, {"__init__.py": ""}, {"__init__.py": "# nothing of that name\n"}])
def test_folder_with_the_name_of_a_library_is_no_package(tmp_path: Path, library: str, init: dict[str, str]) -> None:
    files = {"main.py": f"from {library} import Thing\nimport db\n", "db.py": "", **init}
    written = {f"{library}/{file}": text for file, text in files.items()}
    assert name_of(tmp_path, f"{library}/main.py", written) == ("main", library)


@pytest.mark.parametrize(
    "text", ["import fastapi", "import fastapi\nimport fastapi.security", "from fastapi import FastAPI"]
)
def test_however_the_library_is_imported(tmp_path: Path, text: str) -> None:
    files = {"fastapi/main.py": text, "fastapi/__init__.py": ""}
    assert name_of(tmp_path, "fastapi/main.py", files) == ("main", "fastapi")


def test_submodule_of_both_is_the_librarys_without_init_file(tmp_path: Path) -> None:
    files = {"fastapi/main.py": "from fastapi.routing import APIRoute", "fastapi/routing.py": ""}
    assert name_of(tmp_path, "fastapi/main.py", files) == ("main", "fastapi")


def test_inner_package_of_such_a_folder_stays_one(tmp_path: Path) -> None:
    files = {
        "fastapi/app/main.py": f"from app import db\n{FASTAPI}",
        "fastapi/app/db.py": "",
        "fastapi/__init__.py": "",
    }
    assert name_of(tmp_path, "fastapi/app/main.py", files) == ("app.main", "fastapi")
    files["fastapi/app/__init__.py"] = ""
    assert name_of(tmp_path, "fastapi/app/main.py", files) == ("app.main", "fastapi")


@pytest.mark.parametrize("init", [{}, {"fastapi/__init__.py": ""}])
def test_relative_imports_in_such_a_folder_are_refused_plainly(tmp_path: Path, init: dict[str, str]) -> None:
    files = {"fastapi/main.py": f"from .db import x\n{FASTAPI}", "fastapi/db.py": "x = 1", **init}
    with pytest.raises(AppLoadError) as caught:
        name_of(tmp_path, "fastapi/main.py", files)
    message = f'{tmp_path}/fastapi/main.py cannot be imported: its folder must be the package "fastapi", and that is '
    assert str(caught.value).startswith(f"{message}the name of a library (")
    assert caught.value.hint == f"Rename the folder {tmp_path}/fastapi, or replace the relative imports in main.py."


def test_package_file_itself_is_refused_plainly(tmp_path: Path) -> None:
    with pytest.raises(AppLoadError, match="the name of a library"):
        name_of(tmp_path, "fastapi/__init__.py", {"fastapi/__init__.py": "import fastapi.routing"})


def test_own_package_hides_a_library_that_is_neither_loaded_nor_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "hypercorn", raising=False)
    own = {"hypercorn/main.py": "from hypercorn.db import x\nfrom hypercorn import version", "hypercorn/db.py": ""}
    own["hypercorn/__init__.py"] = "version = 1"
    assert name_of(tmp_path, "hypercorn/main.py", own) == ("hypercorn.main", ".")


@pytest.mark.parametrize(
    ("file", "files", "expected"),
    [
        ("my-app/main.py", {}, ("main", "my-app")),
        ("my-app/main.py", {"my-app/__init__.py": ""}, ("my-app.main", ".")),
        ("2024/main.py", {}, ("main", "2024")),
        ("my.app/main.py", {}, ("main", "my.app")),
        ("my.app/main.py", {"my.app/__init__.py": ""}, ("main", "my.app")),
        ("my app/main.py", {}, ("main", "my app")),
    ],
)
def test_folder_whose_name_is_no_identifier(
    tmp_path: Path, file: str, files: dict[str, str], expected: tuple[str, str]
) -> None:
    assert name_of(tmp_path, file, {file: FASTAPI, **files}) == expected


def test_folder_that_cannot_be_spelled_and_must_be_a_package_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AppLoadError, match=r"a dot in 'my\.app\.main' stands where no package ends"):
        name_of(tmp_path, "my.app/main.py", {"my.app/main.py": "from . import db", "my.app/db.py": ""})


def test_symbolic_link_to_such_a_folder_is_named_by_the_link(tmp_path: Path) -> None:
    write_files(tmp_path, {"fastapi/main.py": f"from .db import x\n{FASTAPI}", "fastapi/db.py": ""})
    (tmp_path / "shop").symlink_to(tmp_path / "fastapi")
    assert name_of(tmp_path, "shop/main.py", {}) == ("shop.main", ".")


def test_installed_module_is_not_one_of_the_users_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files(tmp_path, {"shop_i/__init__.py": "", "fastapi/__init__.py": ""})
    monkeypatch.setattr(sys, "path", [str(tmp_path), "", *sys.path])
    assert installed_module("shop_i", outside=tmp_path / "shop_i") is None
    found = installed_module("fastapi", outside=tmp_path / "fastapi")
    assert found is not None
    assert "site-packages" in found.parts
    assert installed_module("sys", outside=tmp_path) == Path("built-in")
    assert installed_module("no_such_module_i", outside=tmp_path) is None
