"""Which test files a change may concern."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from devserver.supervisor.testing.closure import Closure
from tests.support.projects import write_files

FILES = {
    "app/__init__.py": "",
    "app/main.py": "from .routes import items\nfrom app import store\n",
    "app/store.py": "import json\n",
    "app/routes/__init__.py": "",
    "app/routes/items.py": "from ..models import Item\n",
    "app/models.py": "",
    "app/plugin.py": "",
    "tests/conftest.py": "import shared\n",
    "tests/shared.py": "",
    "tests/test_main.py": "import app.main as main\n",
    "tests/test_store.py": "def test_it():\n    from app.store import (  # later\n        a,\n    )\n",
    "tests/api/conftest.py": "",
    "tests/api/test_items.py": "from app.routes.items import thing\n",
}
PATTERNS = ("test_*.py", "*_test.py")


@pytest.fixture
def closure(tmp_path: Path) -> Closure:
    write_files(tmp_path, FILES)
    closure = Closure()
    names = {name: name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in FILES}
    names = {name: module.removeprefix("tests.") for name, module in names.items()}
    loaded = {str(tmp_path / name): module for name, module in names.items() if not name.endswith("conftest.py")}
    told(closure, tmp_path, loaded)
    return closure


def told(closure: Closure, root: Path, loaded: Mapping[str, str], *, everything: bool = True) -> None:
    tests = [path for path in loaded if Path(path).name.startswith("test_")]
    folders = [str(root), str(root / "tests")]
    closure.ran(tests, loaded, folders, PATTERNS, everything=everything)


def ask(closure: Closure, root: Path, *names: str, failed: tuple[str, ...] = ()) -> set[str] | None:
    """The test files that the changes concern together."""
    found = closure.concerned([str(root / name) for name in names], [str(root / name) for name in failed])
    files: set[str] = set()
    for tests in found.values():
        if tests is None:
            return None
        files |= tests
    return {str(Path(path).relative_to(root)) for path in files}


ALL = {"tests/test_main.py", "tests/test_store.py", "tests/api/test_items.py"}


@pytest.mark.parametrize(
    ("changed", "files"),
    [
        ("app/store.py", {"tests/test_main.py", "tests/test_store.py"}),
        ("app/main.py", {"tests/test_main.py"}),
        ("app/models.py", {"tests/test_main.py", "tests/api/test_items.py"}),
        ("app/routes/__init__.py", {"tests/test_main.py", "tests/api/test_items.py"}),
        ("app/__init__.py", ALL),
        ("tests/shared.py", ALL),
        ("tests/test_store.py", {"tests/test_store.py"}),
        ("tests/conftest.py", None),
        ("tests/api/conftest.py", None),
        ("pyproject.toml", None),
        ("pytest.ini", None),
        (".env", None),
        # Loaded, and imported by nobody in a way that can be read.
        ("app/plugin.py", None),
        # Neither loaded nor a test.
        ("scripts/seed.py", set()),
    ],
)
def test_change_concerns_what_hangs_on_it(
    closure: Closure, tmp_path: Path, changed: str, files: set[str] | None
) -> None:
    assert ask(closure, tmp_path, changed) == files


def test_several_changes_add_up(closure: Closure, tmp_path: Path) -> None:
    assert ask(closure, tmp_path, "app/main.py", "tests/test_store.py") == {"tests/test_main.py", "tests/test_store.py"}
    assert ask(closure, tmp_path, "app/main.py", "tests/conftest.py") is None


def test_new_test_file_is_run_and_new_module_is_for_what_failed(closure: Closure, tmp_path: Path) -> None:
    write_files(tmp_path, {"tests/test_new.py": "", "app/new.py": ""})
    assert ask(closure, tmp_path, "tests/test_new.py") == {"tests/test_new.py"}
    assert ask(closure, tmp_path, "app/new.py", failed=("tests/test_main.py",)) == {"tests/test_main.py"}


def test_file_that_is_gone_is_not_run(closure: Closure, tmp_path: Path) -> None:
    (tmp_path / "tests" / "test_store.py").unlink()
    assert ask(closure, tmp_path, "tests/test_store.py") == set()


def test_edited_imports_count_at_once(closure: Closure, tmp_path: Path) -> None:
    (tmp_path / "tests" / "test_store.py").write_text("import app.plugin\n")
    assert ask(closure, tmp_path, "app/plugin.py") == {"tests/test_store.py"}


def test_file_that_could_not_be_imported_is_known_by_its_place(tmp_path: Path) -> None:
    write_files(tmp_path, {"pkg/__init__.py": "", "pkg/broken.py": "(", "tests/test_a.py": "import pkg.broken\n"})
    closure = Closure()
    loaded = {"pkg/__init__.py": "", "pkg/broken.py": "", "tests/test_a.py": "test_a"}
    told(closure, tmp_path, {str(tmp_path / name): module for name, module in loaded.items()})
    assert ask(closure, tmp_path, "pkg/broken.py") == {"tests/test_a.py"}


def test_run_of_a_part_adds_and_a_run_of_all_replaces(closure: Closure, tmp_path: Path) -> None:
    told(closure, tmp_path, {str(tmp_path / "tests/test_main.py"): "test_main"}, everything=False)
    assert len(closure.tests) == 3
    told(closure, tmp_path, {str(tmp_path / "tests/test_main.py"): "test_main"})
    assert len(closure.tests) == 1
