"""What dev add does in projects that dev new has made. Only one test starts it as a process: that takes its time."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from devserver.cli.main import invoke
from devserver.scaffold import record
from devserver.scaffold.catalog import load
from devserver.scaffold.names import names_of
from devserver.scaffold.plan import Answers, plan
from devserver.scaffold.provenance import Provenance
from devserver.scaffold.write import write
from tests.support.projects import REPOSITORY, write_files

pytestmark = pytest.mark.once

CATALOG = load()
NOTHING = "There is nothing to add: it is there already.\n"


def make(folder: Path, preset: str, *features: str) -> Path:
    """A project as dev new makes it, but for the wheel."""
    template, own = CATALOG.preset(preset)
    answers = Answers(names_of("shop"), preset, CATALOG.closure(template, [*own, *features]))
    files = plan(answers, CATALOG, Provenance("0.1.0"))
    write(folder / "shop", [*files, record.Record.of("0.1.0", answers, files).to_file()])
    return folder / "shop"


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    variables = {
        name: value for name, value in os.environ.items() if not name.startswith(("DEVSERVER", "PYTEST", "COV"))
    }
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        [sys.executable, "-m", *words],
        cwd=folder,
        env={**variables, "PYTHONPATH": f"{folder / 'src'}:{REPOSITORY}", "PYTHONDONTWRITEBYTECODE": "1", "PATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@dataclass
class Done:
    """A command line that has been run in this process."""

    returncode: int
    stdout: str
    stderr: str


def add(folder: Path, *words: str) -> Done:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = invoke(["add", *words, "--chdir", str(folder)])
    return Done(code, out.getvalue(), err.getvalue())


def added(folder: Path, *words: str) -> str:
    """What it shows; a second time must change nothing."""
    done = add(folder, *words)
    assert done.returncode == 0, done.stderr
    before = contents(folder)
    assert add(folder, *words).stdout == NOTHING
    assert contents(folder) == before
    return done.stdout


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def check(folder: Path, *tests: str) -> None:
    """The project's own checks, which must pass still; of its tests those that are new."""
    for words in (
        ["ruff", "format", "--check", "--no-cache", "."],
        ["ruff", "check", "--no-cache", "."],
        ["pytest", "-q", "-p", "no:cacheprovider", *(f"tests/test_{name}.py" for name in tests)],
    ):
        done = run(folder, *words)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr


def test_router_of_one_file(tmp_path: Path) -> None:
    project = make(tmp_path, "minimal")
    shown = added(project, "router", "orders")
    assert "+from orders import router as orders_router\n" in shown
    assert "+++ b/tests/test_orders.py\n" in shown
    check(project, "orders", "main")


def test_router_of_a_package(tmp_path: Path) -> None:
    project = make(tmp_path, "api")
    shown = added(project, "router", "OrderLine")
    assert "+from shop.routers.order_lines import router as order_lines_router\n" in shown
    assert '+    response = client.get("/api/order-lines")\n' in shown
    check(project, "order_lines")


MADE_BY_HAND = """\
from fastapi import APIRouter

router = APIRouter(prefix="/weather")


@router.get("")
async def read_weather() -> str:
    return "fine"


@router.get("/rain", status_code=203)
async def read_rain() -> str:
    return "none"


@router.get("/{day}")
async def read_day(day: str) -> str:
    return day


@router.post("")
async def make_rain() -> None:
    pass
"""


def test_tests_of_a_router(tmp_path: Path) -> None:
    project = make(tmp_path, "api")
    added(project, "router", "weather")
    write_files(project, {"src/shop/routers/weathers.py": MADE_BY_HAND})
    (project / "tests/test_weathers.py").unlink()
    shown = added(project, "test", "weather")
    assert [line for line in shown.splitlines() if "status_code" in line] == [
        '+    assert client.get("/api/weather").status_code == 200',
        '+    assert client.get("/api/weather/rain").status_code == 203',
    ]
    check(project, "weathers")


def test_tests_of_a_router_in_one_file(tmp_path: Path) -> None:
    project = make(tmp_path, "minimal")
    added(project, "router", "orders")
    (project / "tests/test_orders.py").unlink()
    assert "+def test_list_orders_answers() -> None:\n" in added(project, "test", "orders")
    check(project, "orders")


@pytest.mark.slow
def test_resource_in_memory(tmp_path: Path) -> None:
    project = make(tmp_path, "api")
    assert '+            "categories": MemoryCategories(),\n' in added(project, "router", "category", "--crud")
    check(project, "categories", "items")


@pytest.mark.slow
def test_resource_and_model_in_the_database(tmp_path: Path) -> None:
    project = make(tmp_path, "auth")
    done = add(project, "router", "books", "--crud")
    assert done.stderr.startswith("note: The table is not there before it is migrated: alembic ")
    assert add(project, "router", "books", "--crud").stdout == NOTHING
    assert '+    "OrderLine",\n' in added(project, "model", "order_line")
    for words in (["upgrade", "head"], ["revision", "--autogenerate", "-m", "Add it"], ["upgrade", "head"]):
        migrated = run(project, "alembic", *words)
        assert migrated.returncode == 0, migrated.stderr
    check(project, "books", "migrations")


@pytest.mark.parametrize("kind", list(CATALOG.laid_over.features))
def test_what_deploys_is_what_dev_new_would_have_made(tmp_path: Path, kind: str) -> None:
    one, other = make(tmp_path / "one", "api"), make(tmp_path / "other", "api", kind)
    added(one, kind)
    assert contents(one) == contents(other)


def test_what_deploys_follows_what_came_later(tmp_path: Path) -> None:
    one, other = make(tmp_path / "one", "db", "ci"), make(tmp_path / "other", "db", "ci", "docker")
    assert "+  image:\n" in added(one, "docker")
    assert contents(one) == contents(other)


def test_deleted_file_comes_back_when_it_is_asked_for_and_not_otherwise(tmp_path: Path) -> None:
    project = make(tmp_path, "api", "docker", "systemd")
    before = contents(project)
    (project / "Dockerfile").unlink()
    (project / "deploy/shop.service").unlink()
    added(project, "docker")
    assert before.keys() - contents(project).keys() == {"deploy/shop.service"}


def test_changed_file_stays_and_the_newer_one_is_put_beside(tmp_path: Path) -> None:
    project = make(tmp_path, "api", "ci")
    workflow = project / ".github/workflows/ci.yml"
    workflow.write_text("mine\n")
    done = add(project, "docker")
    assert done.stdout.endswith(
        ".github/workflows/ci.yml differs: the one of the template is .github/workflows/ci.yml.new\n"
    )
    assert workflow.read_text() == "mine\n"
    assert "image:" in workflow.with_name("ci.yml.new").read_text()


def test_project_that_dev_new_has_not_made(tmp_path: Path) -> None:
    main = "from fastapi import FastAPI\n\napp = FastAPI()\n"
    write_files(tmp_path, {"pyproject.toml": '[project]\nname = "json"\n', "main.py": main, "Dockerfile": "mine\n"})
    assert "+app.include_router(orders_router)\n" in added(tmp_path, "router", "orders")
    added(tmp_path, "k8s")
    assert "name: json\n" in (tmp_path / "k8s/base/deployment.yaml").read_text()
    assert (tmp_path / "Dockerfile").read_text() == "mine\n"
    assert not (tmp_path / ".dev-new.json").exists()
    tested = run(tmp_path, "pytest", "-q", "-p", "no:cacheprovider")
    assert tested.returncode == 0, tested.stdout


def test_dry_run_shows_and_changes_nothing(tmp_path: Path) -> None:
    project = make(tmp_path, "api")
    before = contents(project)
    for words in (["router", "orders", "--crud"], ["docker"]):
        assert "+++ b/" in add(project, *words, "--dry-run").stdout
        assert json.loads(add(project, *words, "--dry-run", "--json").stdout)["dry_run"] is True
    assert contents(project) == before


def test_json_names_what_changed(tmp_path: Path) -> None:
    project = make(tmp_path, "minimal")
    done = run(tmp_path, "devserver", "add", "router", "orders", "--json", "--chdir", str(project))
    assert json.loads(done.stdout) == {
        "dry_run": False,
        "changes": [
            {"path": "main.py", "new": False},
            {"path": "orders.py", "new": True},
            {"path": "tests/test_orders.py", "new": True},
        ],
        "beside": {},
        "notes": [],
    }


@pytest.mark.parametrize(
    ("preset", "words", "said"),
    [
        ("minimal", "cheese", "dev add cannot add cheese."),
        ("minimal", "router", "dev add router needs a name."),
        ("minimal", "docker x", "dev add docker takes no name."),
        ("minimal", "model orders --crud", "--crud goes with dev add router."),
        ("minimal", "router class", "'class' cannot be a name in Python."),
        ("minimal", "router orders --crud", "--crud needs a project of the template api, or of one that builds on it."),
        ("api", "test orders", "There is no router orders: src/shop/routers/orders.py does not exist."),
        ("minimal", "test main", "main.py has no route that can be asked without knowing more."),
        ("api", "model orders", "This project has no database."),
    ],
)
def test_what_cannot_be_added_is_refused(tmp_path: Path, preset: str, words: str, said: str) -> None:
    project = make(tmp_path, preset)
    before = contents(project)
    done = add(project, *words.split())
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {said}\n\nhint: ")
    assert contents(project) == before


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "has no pyproject.toml that names a project"),
        ({"pyproject.toml": "[tool.x]\n"}, "has no pyproject.toml that names a project"),
        ({"pyproject.toml": "[project]\nname = 'x'\n"}, "There is no app to be found in"),
        (
            {
                "pyproject.toml": "[project]\nname = 'x'\n",
                "main.py": "from fastapi import FastAPI\n\n\nif True:\n    app = FastAPI()\n",
            },
            "main.py is laid out otherwise than it was made: no app is made at the top of it.",
        ),
    ],
)
def test_project_that_is_laid_out_otherwise_is_refused(tmp_path: Path, files: dict[str, str], said: str) -> None:
    write_files(tmp_path, files)
    before = contents(tmp_path)
    done = add(tmp_path, "router", "orders")
    assert done.returncode == 2
    assert said in done.stderr
    assert "hint: " in done.stderr
    assert contents(tmp_path) == before
