"""What dev new does, as the process that people start."""

from __future__ import annotations

import hashlib
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from devserver.scaffold import install as installing
from devserver.scaffold.install import find_uv
from tests.support.projects import REPOSITORY, write_files
from tests.support.reload import Project
from tests.support.server import spawned
from tests.support.terminal import OnTerminal, on_terminal

pytestmark = pytest.mark.once

MINIMAL = [
    ".dev-new.json",
    ".env.example",
    ".gitignore",
    "README.md",
    "main.py",
    "pyproject.toml",
    "settings.py",
    "tests/test_main.py",
]
_QUIET = ("PYTHON", "DEVSERVER", "FASTAPI", "COVERAGE", "VIRTUAL_ENV", "GIT")


def environment(home: Path, **more: str) -> dict[str, str]:
    """Of somebody without any configuration of git or of ours."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(_QUIET)}
    uv = find_uv()
    assert uv is not None
    return {
        **variables,
        "PATH": f"{Path(uv).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "GIT_CONFIG_GLOBAL": str(home / ".gitconfig"),
        "GIT_CONFIG_SYSTEM": os.devnull,
        # A folder of tests may lie in a repository.
        "GIT_CEILING_DIRECTORIES": str(home.parent),
        **more,
    }


def new(folder: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "devserver", "new", *words],
        cwd=folder,
        env=environment(folder, **environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def made(folder: Path, *words: str, **environ: str) -> dict[str, Any]:
    """The JSON of a project that is made without being installed."""
    done = new(folder, *words, "--no-install", "--json", **environ)
    assert (done.returncode, done.stderr) == (0, "")
    content: dict[str, Any] = json.loads(done.stdout)
    return content


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def files(folder: Path) -> list[str]:
    """Paths of all files, but those of git and the wheel."""
    paths = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in paths if not path.startswith((".git/", "vendor/")))


def error(message: str, hint: str) -> str:
    return f"error: {message}\n\nhint: {hint}\n"


# A project


def test_project_is_made_and_committed(tmp_path: Path) -> None:
    done = new(tmp_path, "shop-api", "--template", "minimal", "--yes", "--no-install")
    project = tmp_path / "shop-api"
    assert done.returncode == 0
    assert files(project) == MINIMAL
    assert git(project, "status", "--porcelain") == ""
    assert git(project, "log", "--format=%an <%ae>: %s (%D)") == (
        "dev new <dev-new@localhost>: Start shop-api with dev new (HEAD -> main)"
    )
    assert done.stderr == (
        "note: git knows no user.email; to put your name to the first commit: git commit --amend --reset-author\n"
    )
    assert done.stdout == (
        f"Made {project}: minimal, 9 files.\n"
        "Committed it to a new git repository.\n"
        "\n"
        "┌─ Next ─────────┐\n"
        "│ cd shop-api    │\n"
        "│ uv sync        │\n"
        "│ uv run dev run │\n"
        "│ uv run pytest  │\n"
        "└────────────────┘\n"
    )


def test_no_sentinel_and_no_mark_is_left(tmp_path: Path) -> None:
    made(tmp_path, "my-cafe", "--template", "minimal")
    for path in files(tmp_path / "my-cafe"):
        text = (tmp_path / "my-cafe" / path).read_text()
        assert not any(word in text.lower() for word in ("acme", "feature:", "# end")), path
    assert (tmp_path / "my-cafe/.env.example").read_text().splitlines()[-1] == 'MY_CAFE_GREETING="Hello from My Cafe"'


def test_json_says_what_was_made(tmp_path: Path) -> None:
    content = made(tmp_path, "deep/shop", "--template", "minimal", "--no-git")
    content["files"] = [path for path in content["files"] if not path.startswith("vendor/")]
    assert content == {
        "folder": str(tmp_path / "deep/shop"),
        "project": "shop",
        "package": "shop",
        "template": "minimal",
        "features": [],
        "devserver": content["devserver"],
        "dry_run": False,
        "files": [*MINIMAL[1:], MINIMAL[0]],
        "kept": {},
        "installed": False,
        "committed": False,
        "notes": [],
        "next": ["cd deep/shop", "uv sync", "uv run dev run", "uv run pytest"],
    }
    assert not (tmp_path / "deep/shop/.git").exists()


def test_what_has_to_be_run_first_is_among_the_next_steps(tmp_path: Path) -> None:
    done = new(tmp_path, "shop", "--template", "auth", "--yes", "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    done = new(tmp_path, "shop", "--template", "auth", "--yes", "--no-install", "--no-git", "--json")
    steps = json.loads(done.stdout)["next"]
    assert steps == ["cd shop", "uv sync", "uv run alembic upgrade head", "uv run dev run", "uv run pytest"]


def test_dry_run_shows_the_tree_and_makes_nothing(tmp_path: Path) -> None:
    done = new(tmp_path, "shop", "--template", "minimal", "--dry-run")
    assert done.stdout.splitlines()[:3] == ["shop/", "├── tests/", "│   └── test_main.py"]
    assert done.stdout.splitlines()[-1] == "└── settings.py"
    plain = new(tmp_path, "shop", "--template", "minimal", "--dry-run", PYTHONIOENCODING="ascii")
    assert plain.stdout.splitlines()[1:3] == ["|-- tests/", "|   `-- test_main.py"]
    assert json.loads(new(tmp_path, "shop", "-t", "minimal", "--dry-run", "--json").stdout)["dry_run"] is True
    assert os.listdir(tmp_path) == []


def test_list_names_templates_and_features(tmp_path: Path) -> None:
    done = new(tmp_path, "--list")
    assert done.stdout.startswith("Templates\n  minimal ")
    assert "\n\nFeatures\n" in done.stdout
    content = json.loads(new(tmp_path, "--list", "--json").stdout)
    assert content["templates"]["auth"]["features"] == ["db", "auth"]
    assert content["features"]["auth"]["needs"] == ["db"]
    assert {name for name, each in content["features"].items() if not each["python"]} == {
        "docker",
        "ci",
        "k8s",
        "systemd",
        "compose",
    }


def test_current_folder_gives_its_name(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    done = new(tmp_path / "shop", ".", "--template", "minimal", "--no-install", "--json")
    content = json.loads(done.stdout)
    assert (content["project"], content["next"][0]) == ("shop", "uv sync")
    assert files(tmp_path / "shop") == MINIMAL


@pytest.mark.serial
def test_project_is_made_within_half_a_second(tmp_path: Path) -> None:
    took_s = []
    for name in ("a", "b", "c"):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert new(tmp_path, f"shop-{name}", "--yes", "--no-install").returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        took_s.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    # Of the processor, with git's part: 0.4 s on a quiet machine, up to twice as much on one that is busy.
    assert min(took_s) < 1.0


# What is refused


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], error("dev new needs a name.", "Write dev new shop-api, or see dev new --list.")),
        (
            ["json"],
            error(
                "json cannot be the name of a project: json is a module of Python's standard library, which it would "
                "hide.",
                "It might be json-api.",
            ),
        ),
        (["alembic"], error("alembic cannot be the name of a project: alembic is a package that it needs, and would "
                            "hide.", "It might be alembic-api.")),
        (["shop", "--template", "mini"], error("There is no template mini.", "Did you mean minimal?")),
        (
            ["shop", "--template", "minimal", "--with", "db"],
            error("The template minimal has no feature db.", "Take another one: --template api."),
        ),
        (["shop", "--ci", "gitlab"], error("There is no workflow for gitlab.", "Write --ci github.")),
    ],
)  # fmt: skip
def test_what_cannot_be_made_is_refused_in_one_sentence(tmp_path: Path, words: list[str], said: str) -> None:
    done = new(tmp_path, *words)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)
    assert os.listdir(tmp_path) == []


def test_folder_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    write_files(tmp_path, {"shop/mine.txt": "mine"})
    done = new(tmp_path, "shop", "--template", "minimal")
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {tmp_path / 'shop'} exists and is not empty.\n\nhint: ")
    assert os.listdir(tmp_path / "shop") == ["mine.txt"]


def test_force_says_what_it_keeps_and_commits_nothing(tmp_path: Path) -> None:
    write_files(tmp_path, {"shop/README.md": "mine"})
    done = new(tmp_path, "shop", "--template", "minimal", "--no-install", "--force")
    assert done.stderr == (
        "note: README.md was there and differed: it is README.md.before now.\n"
        "note: The folder was not empty, so that nothing is committed.\n"
    )
    assert files(tmp_path / "shop") == sorted([*MINIMAL, "README.md.before"])
    assert not (tmp_path / "shop/.git").exists()


# git


def test_git_without_a_name_on_record_takes_ones_own_when_there_is_one(tmp_path: Path) -> None:
    config = (
        "[user]\n\tname = Ada\n\temail = ada@example.org\n[init]\n\tdefaultBranch = trunk\n[commit]\n\tgpgsign = true\n"
    )
    (tmp_path / ".gitconfig").write_text(config)
    assert made(tmp_path, "shop", "-t", "minimal")["notes"] == []
    assert git(tmp_path / "shop", "log", "--format=%an (%D)") == "Ada (HEAD -> trunk)"


def test_project_inside_a_repository_is_not_committed(tmp_path: Path) -> None:
    outer = tmp_path / "mono"
    outer.mkdir()
    git(outer, "init", "--quiet")
    content = json.loads(new(outer, "apps/shop", "-t", "minimal", "--no-install", "--json").stdout)
    assert content["committed"] is False
    assert content["notes"] == ["This is inside a git repository already; the files are not committed."]
    assert not (outer / "apps/shop/.git").exists()


def test_project_is_made_without_git(tmp_path: Path) -> None:
    content = made(tmp_path, "shop", "-t", "minimal", PATH=programs(tmp_path / "bin"))
    assert content["notes"] == ["git is not installed, so that there is no repository."]
    assert files(tmp_path / "shop") == MINIMAL


def test_git_that_fails_is_told_and_the_project_stays(tmp_path: Path) -> None:
    path = programs(tmp_path / "bin", git='echo "fatal: no room" >&2; exit 128')
    content = made(tmp_path, "shop", "-t", "minimal", PATH=path)
    assert (content["committed"], content["notes"]) == (False, ["git made no commit: fatal: no room"])
    assert files(tmp_path / "shop") == MINIMAL


def programs(folder: Path, **scripts: str) -> str:
    """A PATH with these programs and none else."""
    folder.mkdir()
    for name, script in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    return str(folder)


# The installation


@pytest.mark.slow
@pytest.mark.serial
def test_installed_project_answers_and_its_tests_pass(tmp_path: Path) -> None:
    started = time.monotonic()
    done = new(tmp_path, "shop", "--template", "minimal", "--docker", "--yes")
    assert done.returncode == 0, done.stderr
    project = tmp_path / "shop"
    assert "Installed what it needs (uv, " in done.stdout
    assert {"uv.lock", ".dev-new.json"} <= set(git(project, "ls-files").splitlines())
    assert git(project, "status", "--porcelain") == ""
    environ = {"PYTHONPATH": "", "VIRTUAL_ENV": ""}
    with spawned([str(project / ".venv/bin/dev"), "run", "--port", "0"], project, env=environ) as served:
        assert json.loads(served.get().body) == {"message": "Hello from Shop"}
    # 15 s are promised from a warm cache, which this one need not be.
    assert time.monotonic() - started < 60
    for command in (["pytest", "-q"], ["ruff", "check"], ["mypy", "--version"]):
        checked = in_project(project, command)
        assert checked.returncode == 0, checked.stdout + checked.stderr
    image = tmp_path / "image"
    build(project, image)
    version = in_project(image, ["dev", "--version"])
    assert version.stdout.startswith("devserver ")
    # Nothing that is for developers alone.
    assert not (image / ".venv/bin/pytest").exists()


def build(project: Path, image: Path) -> None:
    """What the Dockerfile does: each of its two installations, with the files that are there by then."""
    early, late = re.findall(r"^RUN .*(uv sync .*)$", (project / "Dockerfile").read_text(), re.MULTILINE)
    shutil.copytree(project / "vendor", image / "vendor")
    for name in ("pyproject.toml", "uv.lock"):
        shutil.copy(project / name, image / name)
    variables = {name: value for name, value in environment(project).items() if name != "PYTHONPATH"} | {
        "UV_NO_DEV": "1"
    }
    for command in (early, late):
        done = subprocess.run(command.split(), cwd=image, env=variables, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        ignored = shutil.ignore_patterns(".git", ".venv", "tests", "vendor")
        shutil.copytree(project, image, ignore=ignored, dirs_exist_ok=True)


def in_project(project: Path, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    variables = {name: value for name, value in environment(project).items() if name != "PYTHONPATH"}
    program = str(project / ".venv/bin" / command[0])
    return subprocess.run(
        [program, *command[1:]], cwd=project, env=variables, capture_output=True, text=True, timeout=100, check=False
    )


def test_installation_that_fails_leaves_a_whole_project(tmp_path: Path) -> None:
    path = programs(tmp_path / "bin", uv='echo "no network" >&2; exit 7')
    done = new(tmp_path, "shop", "--template", "minimal", PATH=f"{path}:{os.environ['PATH']}")
    assert done.returncode == 1
    assert files(tmp_path / "shop") == MINIMAL
    said = done.stderr.splitlines()
    assert said[0] == "no network"
    assert said[1] == (
        "note: What it needs could not be installed (uv ended with 7). The project is complete; go on as below."
    )
    assert "│ uv sync        │" in done.stdout
    assert git(tmp_path / "shop", "log", "--format=%s") == "Start shop with dev new"


def test_what_an_installer_says_stays_out_of_json(tmp_path: Path) -> None:
    path = programs(tmp_path / "bin", uv="echo hello; pwd; echo $VIRTUAL_ENV; echo $*")
    done = new(tmp_path, "shop", "-t", "minimal", "--json", PATH=f"{path}:{os.environ['PATH']}", VIRTUAL_ENV="/other")
    assert json.loads(done.stdout)["installed"] is True
    assert done.stderr.splitlines()[:3] == ["hello", str(tmp_path / "shop"), ""]
    assert done.stderr.splitlines()[3].startswith("sync --python ")


def test_without_uv_pip_installs_what_the_project_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(tmp_path, "shop", "-t", "minimal")
    monkeypatch.setattr(installing, "find_uv", lambda: None)
    how = installing.installation(tmp_path / "shop")
    make, fill = how.commands
    assert (how.tool, make[1:]) == ("pip", ("-m", "venv", ".venv"))
    assert fill[:7] == (
        ".venv/bin/python",
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "--find-links",
        "vendor",
    )
    assert fill[7].startswith("devserver>=")
    assert {"fastapi>=0.115", "pytest>=8.3"} <= set(fill[7:])
    assert "'fastapi>=0.115'" in how.by_hand[1]


def test_without_uv_a_package_is_installed_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = """
        [build-system]
        requires = ["hatchling"]
        [project]
        name = "shop"
        [dependency-groups]
        test = ["pytest"]
        dev = ["ruff", { include-group = "test" }]
        """
    write_files(tmp_path, {"pyproject.toml": text})
    assert installing.wanted(tmp_path) == ["--editable", ".", "ruff", "pytest"]


# Questions


def asked(project: Project, words: str) -> Any:
    command = ["sh", "-c", f'exec "$0" -m devserver new {words} --no-install --no-git', sys.executable]
    return on_terminal(project, command=command)


def answered(terminal: OnTerminal, answers: Mapping[str, str]) -> None:
    for question, answer in answers.items():
        terminal.wait(question)
        terminal.type(f"{answer}\n")
    assert terminal.process.wait(30) == 0


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path


def test_terminal_is_asked_and_the_answers_are_remembered(home: Path) -> None:
    project = Project(home, "cold")
    with asked(project, "") as terminal:
        terminal.wait("Name of the project:")
        terminal.type("json\n")
        terminal.wait("It might be json-api.")
        terminal.type("shop\n")
        terminal.wait("Template [api]:")
        terminal.type("none\n")
        terminal.wait("There is no template none.")
        answered(terminal, {"Template [api]: none": "minimal", "or none [none]:": "docker, systemd"})
        assert "Made " in terminal.text
    assert json.loads((home / "config/devserver/new.json").read_text()) == {
        "template": "minimal",
        "features": ["docker", "systemd"],
    }
    with asked(project, "again") as terminal:
        answered(terminal, {"Template [minimal]:": "", "or none [docker systemd]:": ""})
    record = json.loads((home / "again/.dev-new.json").read_text())
    assert (record["template"], record["features"]) == ("minimal", ["docker", "systemd"])


@pytest.mark.parametrize("words", ["shop --yes", "shop --template minimal"])
def test_terminal_is_not_asked_when_all_is_said(home: Path, words: str) -> None:
    with asked(Project(home, "cold"), words) as terminal:
        assert terminal.process.wait(30) == 0
        assert "?" not in terminal.text
    assert (home / "shop/pyproject.toml").is_file()
    assert not (home / "config").exists()


def test_control_c_at_a_question_leaves_nothing(home: Path) -> None:
    with asked(Project(home, "cold"), "shop") as terminal:
        terminal.wait("Template [")
        terminal.type("\x03")
        assert terminal.process.wait(30) == 130
    assert os.listdir(home) == []


# The newer template


def test_update_replaces_what_nobody_changed_and_puts_the_rest_beside(tmp_path: Path) -> None:
    made(tmp_path, "shop", "-t", "minimal", "--docker")
    project = tmp_path / "shop"
    older = {"README.md": "as an older template had it\n", "main.py": "as an older template had it\n"}
    record = json.loads((project / ".dev-new.json").read_text())
    wanted = {name: (project / name).read_text() for name in older}
    record["files"] |= {name: hashlib.sha256(text.encode()).hexdigest() for name, text in older.items()}
    write_files(project, {**older, "main.py": "mine\n", ".dev-new.json": json.dumps(record)})
    (project / "Dockerfile").unlink()
    shown = new(project, "--update", "--dry-run")
    assert shown.stdout == "deleted by you  Dockerfile\nupdated         README.md\nconflict        main.py\n"
    assert (project / "README.md").read_text() == older["README.md"]
    done = new(tmp_path, "shop", "--update")
    assert done.stdout == (
        "deleted by you  Dockerfile\nupdated         README.md\nconflict        main.py (the newer one: main.py.new)\n"
    )
    assert done.stderr.startswith("note: Where you and the template have changed a file")
    assert (project / "README.md").read_text() == wanted["README.md"]
    assert (project / "main.py").read_text() == "mine\n"
    assert (project / "main.py.new").read_text() == wanted["main.py"]
    again = json.loads(new(project, "--update", "--json").stdout)
    assert again["changes"] == [{"path": "Dockerfile", "action": "deleted by you", "beside": None}]


def test_update_of_a_fresh_project_changes_nothing(tmp_path: Path) -> None:
    made(tmp_path, "shop", "-t", "auth", "--k8s", "--no-git")
    before = {path: (tmp_path / "shop" / path).read_bytes() for path in files(tmp_path / "shop")}
    done = new(tmp_path / "shop", "--update")
    assert (done.stdout, done.stderr) == (f"{tmp_path / 'shop'} is what its template says.\n", "")
    assert {path: (tmp_path / "shop" / path).read_bytes() for path in files(tmp_path / "shop")} == before


def test_update_of_something_else_is_refused(tmp_path: Path) -> None:
    done = new(tmp_path, "--update")
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {tmp_path} was not made by dev new: it has no .dev-new.json.\n\nhint: ")
    assert os.listdir(tmp_path) == []
