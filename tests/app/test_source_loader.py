"""What runs is what lies on disk, and nothing is written beside it."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import inspect
import linecache
import os
import sys
import traceback
import zipfile
from pathlib import Path

import pytest

from devserver.app import source_loader
from devserver.app.code_cache import CodeCache
from devserver.app.failure import fold, short_path
from devserver.app.import_error import explain
from devserver.app.source_loader import FirstPartyLoader, SourceLoader, content_hash
from devserver.config.project import FirstParty
from tests.support.projects import run_python, write_files


@pytest.fixture
def loader(project: Path) -> SourceLoader:
    """Installed for the project folder, which is on ``sys.path``; uninstalled with ``sys.meta_path``."""
    sys.path.insert(0, str(project))
    return source_loader.install(FirstParty(project), project / ".devserver" / "code")


def test_first_party_modules_are_loaded_and_reported(project: Path, loader: SourceLoader) -> None:
    write_files(project, {"one_l.py": "import two_l\n", "two_l.py": "x = 2\n"})
    module = importlib.import_module("one_l")
    assert type(module.__loader__) is FirstPartyLoader
    assert loader.executed == {
        str(project / "one_l.py"): content_hash(b"import two_l\n"),
        str(project / "two_l.py"): content_hash(b"x = 2\n"),
    }
    assert not list(project.rglob("__pycache__"))


def test_packages_and_relative_imports_work(project: Path, loader: SourceLoader) -> None:
    write_files(project, {"pack_l/__init__.py": "from .inner import x", "pack_l/other.py": "x = 1"})
    write_files(project, {"pack_l/inner/__init__.py": "from ..other import x"})
    assert importlib.import_module("pack_l").x == 1
    assert len(loader.executed) == 3


def test_namespace_packages_work(project: Path, loader: SourceLoader) -> None:
    write_files(project, {"space_l/deep/mod.py": "from . import side\nx = side.x", "space_l/deep/side.py": "x = 3"})
    assert importlib.import_module("space_l.deep.mod").x == 3
    assert len(loader.executed) == 2


def test_modules_of_others_keep_their_loader(project: Path, loader: SourceLoader) -> None:
    sys.modules.pop("this", None)
    sys.modules.pop("colorsys", None)
    module = importlib.import_module("colorsys")
    assert type(module.__loader__) is not FirstPartyLoader
    assert loader.executed == {}
    assert importlib.util.find_spec("no_such_module_at_all") is None


def test_modules_in_a_zip_file_keep_their_loader(project: Path, loader: SourceLoader) -> None:
    with zipfile.ZipFile(project / "lib.zip", "w") as archive:
        archive.writestr("zipped_l.py", "x = 5")
    sys.path.insert(0, str(project / "lib.zip"))
    try:
        assert importlib.import_module("zipped_l").x == 5
    finally:
        sys.modules.pop("zipped_l", None)
    assert loader.executed == {}


def test_loaders_of_tools_are_left_alone(project: Path, loader: SourceLoader) -> None:
    class Tool(importlib.machinery.SourceFileLoader):
        pass

    class Finder:
        @staticmethod
        def find_spec(name: str, *_rest: object) -> object:
            if name != "tooled_l":
                return None
            tool = Tool(name, "tooled_l.py")
            return importlib.util.spec_from_file_location(name, project / "tooled_l.py", loader=tool)

    write_files(project, {"tooled_l.py": "x = 1"})
    sys.meta_path.append(Finder)  # type: ignore[arg-type]
    sys.meta_path[:] = [finder for finder in sys.meta_path if finder is not importlib.machinery.PathFinder]
    assert type(importlib.util.find_spec("tooled_l").loader) is Tool  # type: ignore[union-attr]


def test_reload_runs_what_lies_on_disk_now(project: Path, loader: SourceLoader) -> None:
    write_files(project, {"again_l.py": "x = 1\n"})
    module = importlib.import_module("again_l")
    for number in range(2, 5):
        # Same size, same second: what a modification time cannot tell.
        (project / "again_l.py").write_text(f"x = {number}\n")
        assert importlib.reload(module).x == number
        assert loader.executed[str(project / "again_l.py")] == content_hash(f"x = {number}\n".encode())


def test_source_and_tracebacks_are_found(project: Path, loader: SourceLoader) -> None:
    write_files(project, {"source_l.py": "def fail():\n    raise ValueError('here')\n"})
    module = importlib.import_module("source_l")
    assert inspect.getsource(module.fail) == "def fail():\n    raise ValueError('here')\n"
    linecache.clearcache()
    with pytest.raises(ValueError, match="here") as caught:
        module.fail()
    assert "raise ValueError('here')" in "".join(traceback.format_tb(caught.value.__traceback__))


def test_module_that_does_not_compile_is_reported_as_executed(project: Path, loader: SourceLoader) -> None:
    write_files(project, {"broken_l.py": "def f(:\n"})
    with pytest.raises(SyntaxError):
        importlib.import_module("broken_l")
    assert str(project / "broken_l.py") in loader.executed


def test_null_byte_is_reported_with_its_file(project: Path, loader: SourceLoader) -> None:
    write_files(project, {"null_l.py": "a = 1\0\n"})
    with pytest.raises(SyntaxError) as caught:
        importlib.import_module("null_l")
    message, _ = explain(caught.value, fold(caught.value, FirstParty(project)), '"null_l:app"')
    where = short_path(str(project / "null_l.py"))
    assert message == f'Could not import "null_l:app": source code string cannot contain null bytes in {where}'


def test_uninstalled_loader_is_out_of_the_way(project: Path, loader: SourceLoader) -> None:
    loader.invalidate_caches()
    loader.uninstall()
    loader.uninstall()
    write_files(project, {"later_l.py": ""})
    assert type(importlib.import_module("later_l").__loader__) is not FirstPartyLoader


def test_loader_works_without_a_cache(project: Path) -> None:
    sys.path.insert(0, str(project))
    write_files(project, {"bare_l.py": "x = 1"})
    source_loader.install(FirstParty(project), None)
    assert importlib.import_module("bare_l").x == 1
    assert [path.name for path in project.iterdir()] == ["bare_l.py"]


PROGRAM = """
import sys
sys.path.insert(0, ".")
from devserver.app.source_loader import FirstPartyLoader, install
from devserver.config.project import FirstParty
install(FirstParty("."), ".devserver/code")
compiled = []
compile_source = FirstPartyLoader.source_to_code
def count(loader, data, path, **options):
    compiled.append(path)
    return compile_source(loader, data, path, **options)
FirstPartyLoader.source_to_code = count
import fresh_l
print(fresh_l.x, len(compiled))
"""


def test_two_saves_of_one_size_within_a_second_both_run(tmp_path: Path) -> None:
    shown = []
    for number in (1, 2, 3, 4, 4, 1):
        (tmp_path / "fresh_l.py").write_text(f"x = {number}\n")
        done = run_python(PROGRAM, cwd=tmp_path)
        shown.append(done.stdout.split() or done.stderr)
    assert shown == [["1", "1"], ["2", "1"], ["3", "1"], ["4", "1"], ["4", "0"], ["1", "0"]]
    assert not list(tmp_path.rglob("__pycache__"))


def test_stale_bytecode_beside_the_source_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "fresh_l.py").write_text("x = 1\n")
    run_python("import sys; sys.path.insert(0, '.'); import fresh_l", cwd=tmp_path)
    assert list(tmp_path.rglob("__pycache__/fresh_l.*"))
    stat = (tmp_path / "fresh_l.py").stat()
    (tmp_path / "fresh_l.py").write_text("x = 2\n")
    os.utime(tmp_path / "fresh_l.py", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert run_python(PROGRAM, cwd=tmp_path).stdout.split()[0] == "2"


def test_processes_spawned_by_the_app_find_its_modules(tmp_path: Path) -> None:
    write_files(tmp_path, {"work_l.py": "def square(x): return x * x\n"})
    done = run_python(
        """
        import sys
        sys.path.insert(0, ".")
        from devserver.app.source_loader import install
        from devserver.config.project import FirstParty
        install(FirstParty("."), ".devserver/code")
        import multiprocessing
        import work_l
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            print(pool.map(work_l.square, [2, 3]))
        """,
        cwd=tmp_path,
    )
    assert (done.stdout, done.stderr) == ("[4, 9]\n", "")


def test_cached_code_keeps_its_path_when_a_file_is_copied(project: Path, loader: SourceLoader) -> None:
    text = "def where(): ...\n"
    write_files(project, {"copy_one_l.py": text, "copy_two_l.py": text})
    for name in ("copy_one_l", "copy_two_l"):
        assert importlib.import_module(name).where.__code__.co_filename == str(project / f"{name}.py")


def test_cache_is_used_through_its_interface(project: Path, loader: SourceLoader) -> None:
    write_files(project, {"cached_l.py": "x = 1"})
    importlib.import_module("cached_l")
    cache = CodeCache(project / ".devserver" / "code")
    assert cache.get(str(project / "cached_l.py"), content_hash(b"x = 1")) is not None
