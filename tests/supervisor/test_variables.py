"""Env files under a running reload supervisor: real files, real processes, real answers."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from devserver.config import Config
from devserver.events import EnvironmentChanged, Event, Notice
from devserver.supervisor.variables import WorkerVariables
from tests.support.reload import Project, Session, answering, serve, until

pytestmark = pytest.mark.once

APP = answering("'|'.join(f'{name}={os.environ.get(name)}' for name in ('A', 'B', 'REAL'))", before="import os")


def changes(session: Session, count: int = 1) -> dict[str, object]:
    return {key: value for key, value in session.wait("EnvironmentChanged", count).items() if value and key != "event"}


def test_edited_value_is_in_the_next_answer_and_a_removed_name_is_gone(project: Project) -> None:
    project.write("main.py", APP)
    project.write(".env", "A=1\nB=1\nREAL=file\n")
    with serve(project, mode="development", environment={"REAL": "real"}) as session:
        assert session.get().body == "A=1|B=1|REAL=real"
        project.write(".env", "A=2\nB=1\nREAL=file\n")
        # Nobody has waited for the reload: the request does.
        assert session.get().body == "A=2|B=1|REAL=real"
        assert changes(session) == {"files": [".env"], "changed": ["A"]}
        project.write(".env", "A=2\nREAL=edited\nC=1\n")
        assert session.get().body == "A=2|B=None|REAL=real"
        assert changes(session, 2) == {
            "files": [".env"],
            "added": ["C"],
            "removed": ["B"],
            "shadowed": [["REAL", "the environment"]],
        }
        assert session.wait("Reloaded", 2)["paths"] == [str(project.root / ".env")]


def test_file_that_appears_and_disappears_restarts(project: Project) -> None:
    project.write("main.py", APP)
    project.write(".env", "A=1\n")
    with serve(project, mode="development") as session:
        project.write(".env.local", "A=local\nB=2\n")
        assert session.get().body == "A=local|B=2|REAL=None"
        assert changes(session) == {"files": [".env.local"], "added": ["B"], "changed": ["A"]}
        session.wait("Reloaded")
        (project.root / ".env.local").unlink()
        session.wait("Reloaded", 2)
        assert session.get().body == "A=1|B=None|REAL=None"
        assert changes(session, 2) == {"files": [".env.local"], "removed": ["B"], "changed": ["A"]}


def test_mode_test_does_not_restart_for_the_local_file(project: Project) -> None:
    project.write("main.py", APP)
    with serve(project, mode="test") as session:
        project.write(".env.local", "A=local\n")
        project.write(".env.test", "B=2\n")
        assert session.get().body == "A=None|B=2|REAL=None"
        assert changes(session) == {"files": [".env.test"], "added": ["B"]}


def test_import_of_others_sees_the_new_value(project: Project) -> None:
    """What a module of others has read while it was imported must be read anew: the warm process is another one."""
    site = project.root.parent / "site-packages"
    Project(site).write("library.py", "import os\nvalue = os.environ.get('A')\n")
    path = f"import sys\nsys.path.append({str(site)!r})\nimport library"
    project.write("main.py", answering("library.value", before=path))
    project.write(".env", "A=1\n")
    with serve(project, mode="development") as session:
        for number in (2, 3):
            project.write(".env", f"A={number}\n")
            assert session.get().body == str(number)
            session.wait("Reloaded", number - 1)


def test_what_is_wrong_is_told_once_and_when_it_is_new(project: Project) -> None:
    project.write("main.py", APP)
    project.write(".env", "A=1\nOLD\n")
    with serve(project, mode="development") as session:
        project.write(".env", '# moved\nA=1\nOLD\nB="open\n')
        session.wait("Reloaded")
        project.write("main.py", APP + "# again")
        session.wait("Reloaded", 2)
        said = [event["text"] for event in session.named("Notice") if event["text"].startswith(".env")]
        assert said == [
            ".env:4: the quote that begins the value of B is never closed, and B is left out; close it.",
        ]
        assert session.get().body == "A=1|B=None|REAL=None"


def test_values_from_before_are_used_while_a_named_file_cannot_be_read(project: Project) -> None:
    project.write("main.py", APP)
    project.write("x.env", "A=1\n")
    with serve(project, env_file=["x.env"]) as session:
        project.write("x.env", "A=2\n")
        assert session.get().body == "A=2|B=None|REAL=None"
        (project.root / "x.env").write_bytes("A=3\n".encode("utf-16"))
        session.wait_notice("The env file x.env:1 is not UTF-8 text")
        session.wait("Reloaded", 2)
        assert session.get().body == "A=2|B=None|REAL=None"


def test_strict_supervisor_keeps_the_values_of_before(project: Project) -> None:
    project.write("main.py", APP)
    project.write(".env", "A=1\n")
    with serve(project, mode="development", strict_env=True) as session:
        project.write(".env", "A=2\nB\n")
        session.wait_notice(".env:2: B has no value")
        assert session.get().body == "A=1|B=None|REAL=None"
        project.write(".env", "A=2\nB=2\n")
        session.wait_body("A=2|B=2|REAL=None")


def test_default_is_below_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The values are mirrored there, which must not outlive the test.
    monkeypatch.setattr(os, "environ", {name: each for name, each in os.environ.items() if name != "FASTAPI_ENV"})
    project = Project(tmp_path)
    said: list[Event] = []
    default = {"FASTAPI_ENV": "development"}
    config = dataclasses.replace(Config("main:app"), mode="development")
    own = WorkerVariables(config, project.root, added=default, defaults=default, say=said.append)
    assert own.read()["FASTAPI_ENV"] == "development"
    project.write(".env", "FASTAPI_ENV=staging\nNAME\n")
    assert own.read()["FASTAPI_ENV"] == "staging"
    (project.root / ".env").unlink()
    assert own.read()["FASTAPI_ENV"] == "development"
    assert [type(event) for event in said] == [EnvironmentChanged, Notice, EnvironmentChanged]


def test_only_what_has_changed_is_worth_a_word(project: Project) -> None:
    project.write("main.py", APP)
    project.write(".env", "A=1\n")
    with serve(project, mode="development") as session:
        project.write(".env", "# a comment\nA=1\n")
        session.wait("Reloaded")
        assert session.named("EnvironmentChanged") == []
        until(lambda: session.get().body.startswith("A=1"))
