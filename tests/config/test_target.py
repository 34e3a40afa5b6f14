"""The forms of the APP argument."""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path

import pytest

from devserver.config.target import Target, find_module_file
from devserver.errors import AppLoadError, ConfigError
from tests.support.projects import write_files


def parse(text: str, directory: Path, *, app_dir: str | None = None, factory: bool = False) -> Target:
    return Target.parse(text, directory=directory, app_dir=app_dir, factory=factory)


def test_module_and_attribute_are_split_at_the_colon(tmp_path: Path) -> None:
    target = parse("package.main:app", tmp_path)
    assert (target.module, target.attribute, target.call, target.factory) == ("package.main", "app", None, False)
    assert target.search_path == str(tmp_path)
    assert target.import_string == "package.main:app"


def test_module_alone_leaves_the_attribute_open(tmp_path: Path) -> None:
    target = parse("main", tmp_path)
    assert (target.module, target.attribute, target.import_string) == ("main", "", "main")


def test_attribute_may_be_dotted(tmp_path: Path) -> None:
    assert parse("main:container.web.app", tmp_path).attribute == "container.web.app"


def test_call_carries_literal_arguments(tmp_path: Path) -> None:
    target = parse('main:make.app(1, -2.5, [None, True], k="v:w", d={"a": (1,)})', tmp_path)
    assert (target.module, target.attribute) == ("main", "make.app")
    assert target.call == ((1, -2.5, [None, True]), {"k": "v:w", "d": {"a": (1,)}})
    assert target.import_string == "main:make.app(1, -2.5, [None, True], k='v:w', d={'a': (1,)})"


def test_call_beside_factory_means_the_call(tmp_path: Path) -> None:
    target = parse("main:create_app()", tmp_path, factory=True)
    assert (target.call, target.factory) == (((), {}), False)


def test_factory_without_call_is_kept(tmp_path: Path) -> None:
    assert parse("main:create_app", tmp_path, factory=True).factory is True


@pytest.mark.parametrize(
    "text",
    [
        "main:create_app(settings)",
        "main:create_app(*[1])",
        "main:create_app(**{'a': 1})",
        "main:create_app(f'{1}')",
        "main:create_app(a=open('x'))",
    ],
)
def test_arguments_that_are_not_literals_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="must be literals"):
        parse(text, tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "main:",
        "main:1",
        "main:app[0]",
        "main:app;x",
        "main:a b",
        "main:create_app(",
        "main:create_app()()",
    ],
)
def test_expressions_that_are_not_names_or_calls_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="is not a name or a call"):
        parse(text, tmp_path)


@pytest.mark.parametrize("text", ["", " ", ".main:app", "a..b:app", "my main:app", ":app"])
def test_texts_without_a_module_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError):
        parse(text, tmp_path)


def test_call_without_a_module_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a call needs a module"):
        parse("create_app()", tmp_path)


def test_file_is_named_by_its_stem_in_its_folder(tmp_path: Path) -> None:
    write_files(tmp_path, {"sub/main.py": "app = 1"})
    target = parse("sub/main.py:app", tmp_path)
    assert (target.module, target.attribute, target.search_path) == ("main", "app", str(tmp_path / "sub"))
    assert target.path == tmp_path / "sub" / "main.py"


def test_file_in_a_package_is_named_from_above_it(tmp_path: Path) -> None:
    write_files(tmp_path, {"a/b/__init__.py": "", "a/__init__.py": "", "a/b/main.py": ""})
    target = parse("a/b/main.py", tmp_path)
    assert (target.module, target.search_path) == ("a.b.main", str(tmp_path))


def test_init_file_is_named_as_its_package(tmp_path: Path) -> None:
    write_files(tmp_path, {"a/__init__.py": ""})
    target = parse("a/__init__.py:app", tmp_path)
    assert (target.module, target.search_path) == ("a", str(tmp_path))


@pytest.mark.parametrize(
    ("statement", "module", "folder"),
    [
        ("from . import db", "app.main", "."),
        ("from .db import x", "app.main", "."),
        ("from ..core import y", "back.app.main", ".."),
        ("from app.db import x", "app.main", "."),
        ("from app import db", "app.main", "."),
        ("import app.db", "app.main", "."),
        ("import db", "main", "app"),
        ("import app_settings", "main", "app"),
        ("import fastapi", "main", "app"),
    ],
)
def test_file_is_named_as_its_own_imports_need_it(tmp_path: Path, statement: str, module: str, folder: str) -> None:
    back = tmp_path / "back"
    write_files(back, {"app/main.py": f"{statement}\n", "app/db.py": "", "core.py": ""})
    target = parse("app/main.py", back)
    assert (target.module, target.search_path) == (module, os.path.normpath(back / folder))


def test_imports_inside_functions_count(tmp_path: Path) -> None:
    write_files(tmp_path, {"app/main.py": "def f():\n    from .db import x\n"})
    assert parse("app/main.py", tmp_path).module == "app.main"


def test_sibling_module_with_the_name_of_the_folder_is_no_reason_for_a_package(tmp_path: Path) -> None:
    write_files(tmp_path, {"app/main.py": "from app import app", "app/app.py": ""})
    assert parse("app/main.py", tmp_path).module == "main"


def test_folder_two_above_may_be_the_package(tmp_path: Path) -> None:
    write_files(tmp_path, {"shop/api/main.py": "from shop.core.db import x", "shop/core/db.py": ""})
    target = parse("shop/api/main.py", tmp_path)
    assert (target.module, target.search_path) == ("shop.api.main", str(tmp_path))


def test_folder_above_the_project_is_never_the_package(tmp_path: Path) -> None:
    write_files(tmp_path, {"shop/pyproject.toml": "", "shop/api/main.py": "import shop.core", "shop/../shop/x.py": ""})
    write_files(
        tmp_path, {"outer/shop/pyproject.toml": "", "outer/shop/api/main.py": "import outer.x", "outer/x.py": ""}
    )
    assert parse("outer/shop/api/main.py", tmp_path).module == "main"


def test_app_dir_decides_the_name_of_a_file_below_it(tmp_path: Path) -> None:
    write_files(tmp_path, {"src/shop/main.py": ""})
    target = parse("src/shop/main.py", tmp_path, app_dir="src")
    assert (target.module, target.search_path) == ("shop.main", str(tmp_path / "src"))


def test_app_dir_is_searched_for_modules(tmp_path: Path) -> None:
    write_files(tmp_path, {"src/shop.py": ""})
    target = parse("shop:app", tmp_path, app_dir="src")
    assert (target.search_path, target.path) == (str(tmp_path / "src"), tmp_path / "src" / "shop.py")


def test_src_layout_is_found_when_it_is_not_installed(tmp_path: Path) -> None:
    write_files(tmp_path, {"src/bookshop_x/main.py": ""})
    target = parse("bookshop_x.main:app", tmp_path)
    assert target.search_path == str(tmp_path / "src")


def test_missing_file_is_an_error_of_the_app(tmp_path: Path) -> None:
    with pytest.raises(AppLoadError) as caught:
        parse("nope/main.py:app", tmp_path)
    assert str(caught.value) == f"There is no file {tmp_path / 'nope' / 'main.py'}."


def test_path_without_suffix_suggests_the_file(tmp_path: Path) -> None:
    write_files(tmp_path, {"web/main.py": ""})
    with pytest.raises(AppLoadError) as caught:
        parse("web/main", tmp_path)
    assert caught.value.hint == 'Did you mean "web/main.py"?'


def test_file_that_is_not_python_is_refused(tmp_path: Path) -> None:
    write_files(tmp_path, {"web/main.txt": ""})
    with pytest.raises(ConfigError, match="is not a Python file"):
        parse("web/main.txt", tmp_path)


def test_file_name_with_a_dot_cannot_be_imported(tmp_path: Path) -> None:
    write_files(tmp_path, {"my.app.py": ""})
    with pytest.raises(AppLoadError, match="cannot be imported"):
        parse("my.app.py:app", tmp_path)


def test_file_name_with_a_dash_can_be_imported(tmp_path: Path) -> None:
    write_files(tmp_path, {"my-app.py": ""})
    assert parse("my-app.py:app", tmp_path).module == "my-app"


def test_target_without_an_object_can_be_pickled(tmp_path: Path) -> None:
    write_files(tmp_path, {"main.py": ""})
    target = parse('main.py:create_app(1, k="v")', tmp_path)
    assert pickle.loads(pickle.dumps(target)) == target


def test_import_string_of_an_object_is_its_type() -> None:
    async def app() -> None: ...

    assert Target(app=Path("x")).import_string == f"{type(Path()).__module__}.{type(Path()).__qualname__}"
    assert Target(app=app).import_string.endswith("<locals>.app")


def test_module_files_are_found_without_importing(tmp_path: Path) -> None:
    write_files(tmp_path, {"pack_q/__init__.py": "raise RuntimeError", "pack_q/inner/deep.py": "", "one_q.py": ""})
    search = [str(tmp_path)]
    assert find_module_file("pack_q.inner.deep", search) == tmp_path / "pack_q" / "inner" / "deep.py"
    assert find_module_file("pack_q", search) == tmp_path / "pack_q" / "__init__.py"
    assert find_module_file("one_q.sub", search) is None
    assert find_module_file("pack_q.inner", search) is None
    assert find_module_file("pack_q.nothing", search) is None
    assert "pack_q" not in sys.modules
