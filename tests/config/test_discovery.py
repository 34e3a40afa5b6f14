"""Where the app is looked for when nobody, or not everything, is said."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from devserver.config.discovery import app_folder, find_target
from devserver.config.settings import Config
from devserver.errors import AppLoadError, ConfigError
from tests.support.projects import write_files

if TYPE_CHECKING:
    from devserver.config.target import Target

APP = "from fastapi import FastAPI\napp = FastAPI()\n"
FACTORY = "from fastapi import FastAPI\ndef create_app() -> FastAPI: ...\n"


def find(folder: Path, files: Mapping[str, str], config: Config | None = None) -> Target:
    write_files(folder, files)
    return find_target(config or Config(None), folder)


def test_object_is_served_as_it_is(tmp_path: Path) -> None:
    app = object()
    target = find_target(Config(app, factory=True), tmp_path)
    assert (target.app, target.factory) == (app, True)


def test_nothing_said_finds_main_first(tmp_path: Path) -> None:
    target = find(tmp_path, {"main.py": APP, "app.py": APP})
    assert (target.import_string, target.found) == ("main:app", "found in main.py")
    assert (target.path, target.search_path) == (tmp_path / "main.py", str(tmp_path))


@pytest.mark.parametrize("name", ["app.py", "api.py", "asgi.py", "wsgi.py"])
def test_other_usual_names_are_found(tmp_path: Path, name: str) -> None:
    assert find(tmp_path, {name: APP}).path == tmp_path / name


def test_file_without_an_app_is_passed_over(tmp_path: Path) -> None:
    target = find(tmp_path, {"main.py": "print('hello')", "app/main.py": APP})
    assert target.path == tmp_path / "app" / "main.py"
    assert target.found == "found in app/main.py"


def test_package_in_src_is_found(tmp_path: Path) -> None:
    target = find(tmp_path, {"src/shop/__init__.py": "", "src/shop/api.py": APP})
    assert (target.import_string, target.search_path) == ("shop.api:app", str(tmp_path / "src"))


def test_several_packages_in_src_are_listed(tmp_path: Path) -> None:
    with pytest.raises(AppLoadError) as caught:
        find(tmp_path, {"src/a/main.py": APP, "src/b/app.py": APP, "src/b/main.py": ""})
    assert str(caught.value) == f"Several files in {tmp_path} hold an app: src/a/main.py, src/b/app.py."
    assert caught.value.hint == "Say which one: src/a/main.py"


def test_found_factory_is_called(tmp_path: Path) -> None:
    target = find(tmp_path, {"main.py": FACTORY})
    assert (target.attribute, target.factory) == ("create_app", True)


def test_found_file_imports_by_the_name_its_imports_need(tmp_path: Path) -> None:
    target = find(tmp_path, {"app/main.py": f"from .db import x\n{APP}", "app/db.py": "x = 1"})
    assert (target.import_string, target.search_path) == ("app.main:app", str(tmp_path))


def test_app_dir_names_a_found_file(tmp_path: Path) -> None:
    target = find(tmp_path, {"src/shop/main.py": APP}, Config(None, app_dir="src"))
    assert target.import_string == "shop.main:app"


def test_broken_main_is_chosen_so_that_its_error_is_shown(tmp_path: Path) -> None:
    target = find(tmp_path, {"main.py": f"{APP}def f(:\n", "api.py": APP})
    assert target.import_string == "main:app"


def test_nothing_found_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(AppLoadError) as caught:
        find(tmp_path, {"main.py": "x = 1"})
    assert str(caught.value) == f"No app found in {tmp_path}: looked in main.py."
    assert "entrypoint" in caught.value.hint


def test_empty_folder_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(AppLoadError) as caught:
        find(tmp_path, {})
    assert "there is no main.py, app.py, api.py, asgi.py or wsgi.py" in str(caught.value)
    assert caught.value.exit_code == 3


def test_entrypoint_of_fastapi_comes_before_files(tmp_path: Path) -> None:
    pyproject = '[tool.fastapi]\nentrypoint = "web:app"\n[tool.devserver]\napp = "other:app"'
    target = find(tmp_path, {"pyproject.toml": pyproject, "main.py": APP, "web.py": APP})
    assert (target.import_string, target.found) == ("web:app", "[tool.fastapi] entrypoint in pyproject.toml")


def test_app_of_devserver_is_read_too(tmp_path: Path) -> None:
    target = find(tmp_path, {"pyproject.toml": '[tool.devserver]\napp = "other"', "other.py": FACTORY})
    assert (target.import_string, target.factory) == ("other:create_app", True)


def test_entrypoint_above_is_used_when_nothing_is_here(tmp_path: Path) -> None:
    write_files(tmp_path, {"pyproject.toml": '[tool.fastapi]\nentrypoint = "web:app"', "web.py": APP})
    target = find(tmp_path / "docs", {"x.md": ""})
    assert (target.import_string, target.search_path) == ("web:app", str(tmp_path))


def test_option_comes_before_the_file(tmp_path: Path) -> None:
    files = {"pyproject.toml": '[tool.fastapi]\nentrypoint = "web:app"'}
    target = find(tmp_path, files, Config(None, entrypoint="mine:app"))
    assert (target.import_string, target.found) == ("mine:app", "--entrypoint")


@pytest.mark.parametrize("value", ["1", '""', "[]"])
def test_entrypoint_of_another_type_is_an_error(tmp_path: Path, value: str) -> None:
    with pytest.raises(ConfigError, match="must be a text"):
        find(tmp_path, {"pyproject.toml": f"[tool.fastapi]\nentrypoint = {value}"})


def test_pyproject_that_is_not_toml_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Cannot read .*pyproject\.toml: "):
        find(tmp_path, {"pyproject.toml": "[tool"})


@pytest.mark.parametrize("text", ['tool = "x"', "[tool]\nfastapi = 1", "[tool.fastapi]\nx = 1"])
def test_pyproject_without_an_entrypoint_is_passed_over(tmp_path: Path, text: str) -> None:
    assert find(tmp_path, {"pyproject.toml": text, "main.py": APP}).import_string == "main:app"


def test_module_without_attribute_gets_it_from_its_source(tmp_path: Path) -> None:
    assert find(tmp_path, {"web.py": FACTORY}, Config("web")).import_string == "web:create_app"
    assert find(tmp_path, {"web.py": FACTORY}, Config("web.py")).attribute == "create_app"


def test_package_without_an_app_is_searched_inside(tmp_path: Path) -> None:
    target = find(tmp_path, {"shop_p/__init__.py": "", "shop_p/main.py": APP}, Config("shop_p"))
    assert (target.import_string, target.path) == ("shop_p.main:app", tmp_path / "shop_p" / "main.py")


def test_module_without_an_app_is_an_error_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(AppLoadError, match="it binds none of app, application, api"):
        find(tmp_path, {"web.py": "x = 1"}, Config("web"))


def test_module_that_does_not_parse_is_left_to_its_import(tmp_path: Path) -> None:
    assert find(tmp_path, {"web.py": "def f(:"}, Config("web")).import_string == "web:app"


def test_module_that_is_nowhere_is_left_to_its_import(tmp_path: Path) -> None:
    target = find(tmp_path, {}, Config("nowhere_at_all"))
    assert (target.attribute, target.path) == ("", None)


def test_factory_that_nobody_announced_is_noticed(tmp_path: Path) -> None:
    assert find(tmp_path, {"web.py": FACTORY}, Config("web:create_app")).factory is True
    assert find(tmp_path, {"web.py": FACTORY}, Config("web:create_app()")).factory is False


def test_folder_is_searched_as_a_project(tmp_path: Path) -> None:
    files = {"shop/pyproject.toml": '[tool.fastapi]\nentrypoint = "web:app"', "shop/web.py": APP}
    target = find(tmp_path, files, Config("shop"))
    assert (target.import_string, target.search_path) == ("web:app", str(tmp_path / "shop"))


def test_folder_is_told_from_a_module(tmp_path: Path) -> None:
    write_files(tmp_path, {"plain/x.txt": "", "pack/__init__.py": "", "both/x.txt": "", "both.py": "", "file.py": ""})
    assert app_folder("plain", tmp_path) == tmp_path / "plain"
    assert app_folder("./pack", tmp_path) == tmp_path / "pack"
    assert app_folder("pack/", tmp_path) == tmp_path / "pack"
    assert app_folder(".", tmp_path) == tmp_path
    for other in ("pack", "both", "file.py", "nothing", "main:app", "", None, object(), "a\0b"):
        assert app_folder(other, tmp_path) is None


def test_nothing_of_the_project_is_imported(tmp_path: Path) -> None:
    write_files(tmp_path, {"shop_z/__init__.py": "raise RuntimeError", "shop_z/main.py": f"raise RuntimeError\n{APP}"})
    assert find_target(Config("shop_z.main:app"), tmp_path).path == tmp_path / "shop_z" / "main.py"
    assert find_target(Config("shop_z/main.py"), tmp_path).module == "shop_z.main"
    assert not [name for name in sys.modules if name.startswith("shop_z")]
