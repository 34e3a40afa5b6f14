"""What dev routes does, as the process that people start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.projects import REPOSITORY, write_files

pytestmark = pytest.mark.once

MAIN = """
    import os

    from fastapi import FastAPI

    print("loading")
    app = FastAPI(openapi_url=None)


    @app.get("/items/{id}")
    def read(id: str) -> str:
        return id


    @app.get("/items/" + os.environ.get("LAST", "me"))
    def me() -> None:
        pass
"""


def dev(folder: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("FASTAPI", "DEVSERVER"))}
    return subprocess.run(
        [sys.executable, "-m", "devserver", *words],
        cwd=folder,
        env={**variables, "PYTHONPATH": str(REPOSITORY), **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_routes_are_shown_and_what_the_app_prints_is_not_among_them(tmp_path: Path) -> None:
    write_files(tmp_path, {"main.py": MAIN})
    done = dev(tmp_path, "routes")
    assert (done.returncode, done.stderr) == (0, "loading\n")
    assert done.stdout.splitlines() == [
        "main.py",
        "  GET  /items/{id}  read  main.py:10",
        "  GET  /items/me    me    main.py:15",
        "       ^ never reached: read (/items/{id}) comes first",
        "",
        "2 routes, 1 never reached",
    ]
    # Nothing is left behind by looking.
    assert not (tmp_path / ".devserver").exists()


def test_json_is_one_array(tmp_path: Path) -> None:
    write_files(tmp_path, {"main.py": MAIN})
    done = dev(tmp_path, "routes", "--json")
    first, second = json.loads(done.stdout)
    assert done.returncode == 0
    assert (first["path"], first["methods"], first["name"]) == ("/items/{id}", ["GET"], "read")
    assert (first["file"], first["line"]) == (str(tmp_path / "main.py"), 10)
    assert second["shadowed_by_path"] == "/items/{id}"


def test_env_files_and_settings_are_those_of_dev_run(tmp_path: Path) -> None:
    write_files(
        tmp_path / "project",
        {
            "shop/web.py": MAIN,
            ".env": "LAST=from_file",
            "pyproject.toml": '[tool.fastapi]\nentrypoint = "shop.web:app"\n',
        },
    )
    for words in (
        ["routes", "project/"],
        ["routes", "--chdir", "project"],
        ["routes", "shop.web:app", "--chdir", "project"],
    ):
        assert "/items/from_file" in dev(tmp_path, *words).stdout
    (tmp_path / "other.env").write_text("LAST=other")
    given = dev(tmp_path, "routes", "--chdir", "project", "--env-file", "../other.env")
    assert "/items/other" in given.stdout


@pytest.mark.parametrize(
    ("main", "said"),
    [
        ("import nowhere_to_be_found\napp = object()\n", "which is not installed"),
        ("from fastapi import FastAPI\napp = FastAPI(\n", "main.py:2"),
        ("from fastapi import FastAPI\napp = FastAPI()\n1 / 0\n", "ZeroDivisionError: division by zero"),
        (None, "No app found in"),
    ],
)
def test_error_of_the_app_is_shown_as_dev_run_shows_it(tmp_path: Path, main: str | None, said: str) -> None:
    if main is not None:
        (tmp_path / "main.py").write_text(main)
    done = dev(tmp_path, "routes")
    assert (done.returncode, done.stdout) == (3, "")
    assert "\nerror: " in done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_wrong_setting_is_an_error_of_usage(tmp_path: Path) -> None:
    done = dev(tmp_path, "routes", DEVSERVER_PORT="x")
    assert done.returncode == 2
    assert done.stderr.startswith("error: DEVSERVER_PORT")


@pytest.mark.parametrize(
    ("main", "said"),
    [
        ("async def app(scope, receive, send): ...\n", "neither a FastAPI nor a Starlette app"),
        ("from starlette.applications import Starlette\napp = Starlette()\n", "main:app has no routes yet."),
    ],
)
def test_app_without_routes_gets_one_sentence(tmp_path: Path, main: str, said: str) -> None:
    (tmp_path / "main.py").write_text(main)
    done = dev(tmp_path, "routes")
    assert (done.returncode, done.stderr) == (0, "")
    assert said in done.stdout
    assert len(done.stdout.splitlines()) == 1
    assert json.loads(dev(tmp_path, "routes", "--json").stdout) == []


def test_factory_is_called(tmp_path: Path) -> None:
    made = (
        "from fastapi import FastAPI\ndef build():\n    app = FastAPI()\n    app.get('/made')(build)\n    return app\n"
    )
    (tmp_path / "main.py").write_text(made)
    assert "/made" in dev(tmp_path, "routes", "main:build", "--factory").stdout


def test_thread_that_the_app_has_started_does_not_hold_the_command(tmp_path: Path) -> None:
    held = "import threading\nthreading.Thread(target=threading.Event().wait).start()\n"
    write_files(tmp_path, {"main.py": held})
    with (tmp_path / "main.py").open("a", encoding="utf-8") as file:
        file.write("from fastapi import FastAPI\napp = FastAPI()\n")
    done = dev(tmp_path, "routes")
    assert done.returncode == 0
    assert "/docs" in done.stdout
