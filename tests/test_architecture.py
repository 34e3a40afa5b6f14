"""The rules of docs/architecture.md, read off the source.

First the rules themselves, as tables, each held against the package; then a made-up tree that breaks each of them, so
that a checker that never fails is noticed. Where a rule proves wrong, change it here and in docs/architecture.md, with
the reason.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.architecture import (
    Module,
    empty_rooms,
    exits,
    forbidden_imports,
    homeless_imports,
    read_package,
    strangers_in_siblings,
    unranked_parts,
    wrong_directions,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

CHECKOUT = Path(__file__).parents[1]
PACKAGE = CHECKOUT / "devserver"

# A part imports only what stands below it here; parts of one line do not know each other, save launch and __init__,
# which are one: __init__ is launch's face.
RANKS = (
    {"__main__"},
    {"cli", "gunicorn", "paste"},
    {"ui", "scaffold", "launch", "__init__"},
    {"supervisor"},
    {"devtools", "observe", "server"},
    {"protocol"},
    {"app"},
    {"config"},
    {"events", "commands"},
    {"errors"},
)

# The version is a constant of a module that every import of the package loads anyway.
FREE_NAMES = {"__version__"}

# Type-only imports count like any other, with one exception: events and commands are plain data without behaviour, and
# an error may carry one (errors.AppError holds an events.Failure).
PLAIN_DATA = {"events", "commands"}

SIBLINGS = ("protocol/http1", "protocol/http2", "protocol/websocket")

# One home for every outside thing, so that replacing it means reading one place.
HOMES = {
    "dotenv": ["config/env_files.py"],
    "fastapi": ["app/introspect.py", "devtools/"],
    "gunicorn": ["gunicorn.py"],
    "h11": ["protocol/http1/"],
    "httptools": ["protocol/http1/"],
    "_pytest": ["supervisor/testing/"],
    "paste": ["app/paste.py"],
    "pytest": ["supervisor/testing/"],
    "rich": ["ui/"],
    "setproctitle": ["supervisor/process_name.py"],
    "starlette": ["app/introspect.py", "devtools/"],
    "typer": ["cli/"],
    "uvloop": ["server/loop.py"],
    "watchfiles": ["supervisor/watch.py"],
    "websockets": ["protocol/websocket/frames.py"],
    "yaml": ["observe/log_config.py"],
}

# What we replace must not be underneath. gunicorn has a home, since it may be what starts our worker.
REPLACED = ("daphne", "fastapi_cli", "granian", "hypercorn", "uvicorn")

NO_IO_FILES = (
    "app/wsgi_environ.py",
    "app/wsgi_headers.py",
    "app/wsgi_wire.py",
    "protocol/http1/chunked.py",
    "protocol/websocket/deflate.py",
    "protocol/websocket/frames.py",
    "protocol/websocket/handshake.py",
    "protocol/websocket/session.py",
    "protocol/http1/response.py",
    "protocol/http1/target.py",
    "protocol/proxy.py",
)
IO_MODULES = ("asyncio", "logging", "os", "selectors", "socket", "ssl", "subprocess", "threading", "time")

# Whoever ends the process must know that nobody above it wants to clean up: the commands; launch.run, which promises
# what uvicorn.run does (exit code 3 when the app does not start); and workers, whose main function is their process.
MAY_EXIT = (
    "__main__.py",
    "cli/",
    "gunicorn.py",
    "launch.py:run",
    "paste.py",
    "supervisor/testing/run.py",
    "supervisor/worker.py",
)

RUNTIME_DEPENDENCIES = {
    "fastapi",
    "httptools",
    "python-dotenv",
    "rich",
    "starlette",
    "typer",
    "uvloop",
    "watchfiles",
}


@pytest.fixture(scope="module")
def modules() -> list[Module]:
    return read_package(PACKAGE)


def test_parts_on_disk_are_those_of_the_map(modules: list[Module]) -> None:
    assert unranked_parts(modules, RANKS) == []


def test_no_folder_is_empty(modules: list[Module]) -> None:
    assert empty_rooms(modules) == []


def test_imports_go_to_the_right(modules: list[Module]) -> None:
    assert wrong_directions(modules, RANKS, free_names=FREE_NAMES, plain_data=PLAIN_DATA) == []


def test_protocols_do_not_know_each_other(modules: list[Module]) -> None:
    assert strangers_in_siblings(modules, SIBLINGS) == []


def test_every_outside_thing_has_one_home(modules: list[Module]) -> None:
    assert homeless_imports(modules, HOMES) == []


def test_replaced_servers_are_not_imported(modules: list[Module]) -> None:
    assert forbidden_imports(modules, REPLACED) == []


def test_pure_files_do_no_io(modules: list[Module]) -> None:
    assert {module.path for module in modules} >= set(NO_IO_FILES)
    assert forbidden_imports(modules, IO_MODULES, files=NO_IO_FILES) == []


def test_core_never_imports_devtools(modules: list[Module]) -> None:
    names = ["devserver.devtools"]
    assert forbidden_imports(modules, names, files=["server/", "protocol/", "app/", "config/", "observe/"]) == []


def test_only_commands_and_run_end_the_process(modules: list[Module]) -> None:
    assert exits(modules, MAY_EXIT) == []


def test_runtime_dependencies_are_the_named_ones() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    names = {requirement.partition(">")[0].strip() for requirement in project["dependencies"]}
    assert names == RUNTIME_DEPENDENCIES


def test_supervisor_of_dev_run_loads_no_framework() -> None:
    # single.py and worker.py run in the process that serves the app.
    supervisors = [
        f"devserver.supervisor.{file.stem}"
        for file in sorted((PACKAGE / "supervisor").glob("*.py"))
        if file.stem not in {"__init__", "single", "worker"}
    ]
    assert "devserver.supervisor.reload" in supervisors
    loaded = _loaded_by(*supervisors)
    assert loaded >= set(supervisors)
    assert loaded.isdisjoint({"fastapi", "starlette", "pydantic"})


def test_server_core_loads_no_terminal_and_no_devtools() -> None:
    loaded = _loaded_by("devserver.server.server")
    assert loaded.isdisjoint(
        {"devserver.devtools", "devserver.ui", "devserver.cli", "fastapi", "rich", "typer", "watchfiles"}
    )


def test_importing_the_package_costs_nothing() -> None:
    assert {name for name in _loaded_by("devserver") if name.startswith("devserver.")} == set()


def _loaded_by(*names: str) -> set[str]:
    """Names of all modules that a fresh interpreter holds after importing ``names``."""
    program = (
        "import importlib, json, sys\n"
        "for name in sys.argv[1:]:\n    importlib.import_module(name)\n"
        "print(json.dumps(list(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, *names], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    return set(json.loads(result.stdout))


# The checkers on a tree that breaks every rule.


def _tree(folder: Path, files: Mapping[str, str]) -> list[Module]:
    package = folder / "toy"
    for path, source in files.items():
        (package / path).parent.mkdir(parents=True, exist_ok=True)
        (package / path).write_text(source)
    return read_package(package)


TOY_RANKS = ({"top"}, {"left", "right"}, {"bottom"})


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("import toy.top", "left imports top"),
        ("import toy.top.deep", "left imports top"),
        ("from toy import top", "left imports top"),
        ("from toy.top import name", "left imports top"),
        ("from ..top import name", "left imports top"),
        ("from .. import right", "left imports right"),
        ("def late():\n    from toy.right import name", "left imports right"),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from toy.top import Name", "left imports top"),
        ("import typing\nif typing.TYPE_CHECKING:\n    pass\nelse:\n    import toy.top", "left imports top"),
        ("import importlib\nimportlib.import_module('toy.top')", "left imports top"),
        ("try:\n    import toy.top\nexcept ImportError:\n    pass", "left imports top"),
        ("from toy import anything", "left imports __init__"),
    ],
)
def test_import_to_the_left_is_found(tmp_path: Path, source: str, parts: str) -> None:
    modules = _tree(tmp_path, {"left/file.py": source})
    ranks = ({"top", "__init__"}, {"left", "right"}, {"bottom"})
    (found,) = wrong_directions(modules, ranks)
    assert found.startswith("left/file.py:")
    assert found.endswith(parts)


@pytest.mark.parametrize(
    "source",
    [
        "import toy.bottom",
        "from ..bottom import name",
        "from . import sibling",
        "from toy.left.sibling import name",
        "from toy import __version__",
        "import toylike.top",
        "text = 'import toy.top'",
    ],
)
def test_import_to_the_right_is_no_violation(tmp_path: Path, source: str) -> None:
    modules = _tree(tmp_path, {"left/file.py": source})
    ranks = ({"top", "__init__"}, {"left", "right"}, {"bottom"})
    assert wrong_directions(modules, ranks, free_names={"__version__"}) == []


def test_only_type_only_imports_of_plain_data_go_left(tmp_path: Path) -> None:
    guarded = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from toy.left import Fact"
    modules = _tree(tmp_path, {"bottom.py": guarded, "bottom2.py": "from toy.left import Fact"})
    ranks = ({"left"}, {"bottom", "bottom2"})
    assert wrong_directions(modules, ranks, plain_data={"left"}) == ["bottom2.py:1: bottom2 imports left"]
    assert len(wrong_directions(modules, ranks)) == 2


def test_part_without_rank_and_rank_without_part_are_found(tmp_path: Path) -> None:
    modules = _tree(tmp_path, {"top.py": "", "left/a.py": "", "right.py": "", "attic/a.py": ""})
    assert unranked_parts(modules, TOY_RANKS) == ["attic has no rank", "bottom has a rank but does not exist"]


def test_empty_folder_is_found(tmp_path: Path) -> None:
    modules = _tree(
        tmp_path,
        {"left/__init__.py": "", "right/__init__.py": "", "right/deep/__init__.py": "", "right/deep/file.py": ""},
    )
    assert empty_rooms(modules) == ["left/ is empty"]


def test_sibling_that_knows_its_sibling_is_found(tmp_path: Path) -> None:
    modules = _tree(
        tmp_path, {"p/one/a.py": "from toy.p.two.b import X\nimport toy.p.one.c", "p/a.py": "import toy.p.one"}
    )
    assert strangers_in_siblings(modules, ["p/one", "p/two"]) == ["p/one/a.py:1: p/one imports p/two"]


def test_outside_thing_away_from_home_is_found(tmp_path: Path) -> None:
    modules = _tree(
        tmp_path,
        {
            "a/home.py": "import rich.table, json",
            "b.py": "def f():\n    from rich import box",
            "c/d.py": "import click",
            "e.py": "from toy import a",
        },
    )
    assert homeless_imports(modules, {"rich": ["a/"]}) == ["b.py:2: rich belongs in a/", "c/d.py:1: click has no home"]


def test_forbidden_import_is_found(tmp_path: Path) -> None:
    modules = _tree(tmp_path, {"a.py": "from os.path import join", "b.py": "import os", "c.py": "import ossaudio"})
    assert forbidden_imports(modules, ["os"], files=["a.py", "c.py"]) == ["a.py:1: imports os.path.join"]
    assert len(forbidden_imports(modules, ["os"])) == 2


@pytest.mark.parametrize(
    "source",
    ["import sys\nsys.exit(1)", "\nraise SystemExit", "def f():\n    raise SystemExit(3)", "def f():\n    quit()"],
)
def test_end_of_process_is_found(tmp_path: Path, source: str) -> None:
    assert exits(_tree(tmp_path, {"a.py": source}), ["b.py", "c/"]) == ["a.py:2: ends the process"]


def test_end_of_process_where_it_is_allowed_is_no_violation(tmp_path: Path) -> None:
    source = "import sys\ndef run():\n    sys.exit(1)\ndef other():\n    sys.exit(1)\ntry: run()\nexcept Exception: 0"
    modules = _tree(tmp_path, {"a.py": source, "c/d.py": source})
    assert exits(modules, ["a.py:run", "c/"]) == ["a.py:5: ends the process"]
