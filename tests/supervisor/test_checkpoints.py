"""Saves that go on with an import from a checkpoint: what is run again, when there is none, that nothing is stale."""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.reload import CHECKOUT, Project, Session, alive, answering, serve, until

MODULES = ("a", "b", "c")
SLOW = "import time\nbegan = time.process_time()\nwhile time.process_time() - began < 0.015:\n    pass\n"
"""At the end of a module: what follows is worth a checkpoint."""
SHOWN = "' '.join(f'{m.VALUE}:{m.RUN}' for m in (a, b, c))"
"""Of each module its value, and a number of its own for each time that it was run."""

numbers = itertools.count(100)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Three modules that are imported one after the other."""
    project = Project(tmp_path, mode="fork")
    project.write("pyproject.toml", "")
    for name in MODULES:
        project.write(f"{name}.py", module("1"))
    project.write("main.py", answering(SHOWN, before="import os, a, b, c"))
    return project


def module(value: str, *, before: str = "") -> str:
    """The source of a module with that value."""
    return f"import os\n{before}\nVALUE = {value!r}\nRUN = os.urandom(8).hex()\nPID = os.getpid()\n{SLOW}"


def save(session: Session, project: Project, name: str, text: str) -> str:
    """Saves a module; the name of the module that the import of the new worker went on from, if it did."""
    count = len(session.named("Reloaded"))
    project.replace(f"{name}.py", text)
    resumed: str = session.wait("Reloaded", count + 1)["resumed"]
    return Path(resumed).stem


def save_anything(session: Session, project: Project, name: str, **more: str) -> str:
    """Saves a module with a value that there has not been."""
    return save(session, project, name, module(str(next(numbers)), **more))


def prepare(session: Session, project: Project, name: str) -> None:
    """Saves a module until there is a checkpoint before it."""
    # What is known of the app's imports settles with the first saves, and with that the process that is forked.
    until(lambda: save_anything(session, project, name) == name)


def seen(session: Session) -> list[list[str]]:
    """Value and run of each module."""
    answer = session.get()
    assert answer.status == 200, answer.body
    return [shown.split(":") for shown in answer.body.split()]


def values(session: Session) -> list[str]:
    """Values of the modules."""
    return [value for value, _ in seen(session)]


def run_again(session: Session, before: list[list[str]]) -> list[str]:
    """Which modules were run since ``before`` was seen."""
    return [name for name, now, then in zip(MODULES, seen(session), before, strict=True) if now[1] != then[1]]


def texts(session: Session) -> list[str]:
    """Everything that was said."""
    return [event["text"] for event in session.named("Notice")]


def family(pid: int) -> list[int]:
    """Pids of a process's parents, up to the tests' own."""
    found = []
    while pid > 1 and pid != os.getpid():
        found.append(pid)
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return found


# What is run again


def test_same_file_again_runs_that_file_and_what_follows_it(project: Project) -> None:
    with serve(project) as session:
        prepare(session, project, "b")
        before = seen(session)
        assert save(session, project, "b", module("new")) == "b"
        assert run_again(session, before) == ["b", "c"]
        assert values(session) == ["1", "new", "1"]


def test_seed_that_the_app_has_set_is_kept_and_one_that_was_chosen_is_not(project: Project) -> None:
    before = "import random\nOWN = random.Random()\nFIXED = random.Random(7)\nrandom.seed(7)"
    project.write("a.py", module("1", before=before))
    drawn = "drawn = a.OWN.random(), a.FIXED.random(), random.random()"
    project.write("main.py", answering("drawn", before=f"import os, random, a, b, c\n{drawn}"))
    dice = random.Random(7)
    fixed = str(dice.random())
    with serve(project) as session:
        prepare(session, project, "c")
        chosen = set()
        for _ in range(3):
            assert save_anything(session, project, "c") == "c"
            own, *rest = session.get().body.strip("()").split(", ")
            assert rest == [fixed, fixed]
            chosen.add(own)
        assert len(chosen) == 3


def test_each_of_the_files_that_were_saved_last_has_one(project: Project) -> None:
    with serve(project) as session:
        for name in MODULES[1:]:
            prepare(session, project, name)
        before = seen(session)
        assert save(session, project, "c", module("x")) == "c"
        assert run_again(session, before) == ["c"]
        before = seen(session)
        assert save(session, project, "b", module("y")) == "b"
        assert run_again(session, before) == ["b", "c"]
        before = seen(session)
        # The last one had the old b in it; there is a new one.
        assert save(session, project, "c", module("z")) == "c"
        assert run_again(session, before) == ["c"]
        assert values(session) == ["1", "y", "z"]


def test_what_another_file_was_before_is_never_gone_on_with(project: Project) -> None:
    with serve(project) as session:
        prepare(session, project, "c")
        assert save(session, project, "a", module("new")) == ""
        assert save(session, project, "c", module("newer")) == "c"
        assert values(session) == ["new", "1", "newer"]
        # Both at once, and the one that comes first is saved last.
        project.replace("c.py", module("last"))
        project.replace("a.py", module("first"))
        assert values(session) == ["first", "1", "last"]


def test_broken_file_is_gone_on_with_when_it_is_mended(project: Project) -> None:
    with serve(project) as session:
        prepare(session, project, "b")
        before = seen(session)
        project.replace("b.py", "def broken(:\n")
        session.wait("AppFailed")
        assert session.get().status == 500
        assert save(session, project, "b", module("mended")) == "b"
        assert values(session) == ["1", "mended", "1"]
        assert run_again(session, before) == ["b", "c"]


def test_import_that_needs_no_time_leaves_none(tmp_path: Path) -> None:
    project = Project(tmp_path, mode="fork")
    project.write("pyproject.toml", "")
    project.write("main.py", answering("1"))
    with serve(project) as session:
        for number in range(5):
            assert save(session, project, "main", answering(str(number))) == ""


def test_there_are_none_when_nobody_wants_them(project: Project) -> None:
    with serve(project, reload_checkpoints=0) as session:
        for _ in range(4):
            assert save_anything(session, project, "b") == ""


def test_there_are_no_more_than_wanted(project: Project) -> None:
    with serve(project, reload_checkpoints=1) as session:
        for name in ("a", "b", "c", "b", "c", "a", "b"):
            save_anything(session, project, name)
            save_anything(session, project, name)
            # The supervisor, the zygote, one checkpoint.
            assert len(family(session.worker)) <= 4
        prepare(session, project, "c")
        assert len(family(session.worker)) == 4


# When there is none

OBSTACLES = {
    "a thread": ("import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()", "a thread"),
    "a socket": ("import socket\nkept = socket.socket()", "leaves socket:"),
    "a file": ("kept = open(__file__)", "a.py open"),
    "a written file": ("open('written.txt', 'w').close()", "writes"),
    "a database": ("import sqlite3\nsqlite3.connect('data.db').close()", "a database"),
    "a process": ("import subprocess\nsubprocess.run(['true'], check=True)", "starts a process"),
    "a folder": ("os.makedirs(f'made/{os.getpid()}')", "makes a folder"),
    "a connection": (
        "import socket\ns = socket.socket(socket.AF_UNIX)\ntry: s.connect('/nowhere')\nexcept OSError: pass\ns.close()",
        "connects",
    ),
}


@pytest.mark.parametrize(("before", "said"), OBSTACLES.values(), ids=OBSTACLES)
def test_import_that_does_what_would_not_be_done_again_is_done_as_a_whole(
    project: Project, before: str, said: str
) -> None:
    project.write("a.py", module("1", before=before))
    with serve(project) as session:
        for _ in range(4):
            earlier = seen(session)
            assert save_anything(session, project, "b") == ""
            assert run_again(session, earlier) == ["a", "b", "c"]
        begin = "No checkpoint before b.py: the app's import "
        assert any(text.startswith(begin) and said in text for text in texts(session))


def test_what_does_not_last_is_no_obstacle(project: Project) -> None:
    quiet = (
        "import logging, sqlite3, threading\n"
        "logging.basicConfig(level='INFO'); logging.warning('hello')\n"
        "t = threading.Thread(target=print); t.start(); t.join()\n"
        "sqlite3.connect(':memory:').close()\nopen(__file__).close()\nopen('/dev/null', 'w').close()"
    )
    project.write("a.py", module("1", before=quiet))
    with serve(project) as session:
        prepare(session, project, "b")


def test_file_that_was_read_counts(project: Project) -> None:
    project.write("a.py", module("1", before="SETTING = open('setting.txt').read()"))
    project.write("setting.txt", "one")
    project.write("main.py", answering("a.SETTING", before="import a, b, c"))
    with serve(project) as session:
        prepare(session, project, "b")
        count = len(session.named("Reloaded"))
        project.replace("setting.txt", "two")
        assert session.wait("Reloaded", count + 1)["resumed"] == ""
        assert session.get().body == "two"


def test_file_that_was_missing_counts(project: Project) -> None:
    optional = "try:\n    SETTING = open('setting.txt').read()\nexcept OSError:\n    SETTING = 'none'\n"
    project.write("a.py", module("1", before=optional))
    project.write("main.py", answering("a.SETTING", before="import a, b, c"))
    with serve(project) as session:
        prepare(session, project, "b")
        project.write("setting.txt", "there")
        save_anything(session, project, "b")
        assert session.get().body == "there"


@pytest.mark.parametrize(
    ("before", "made"),
    [
        ("try:\n    from extra import FOUND\nexcept ImportError:\n    FOUND = 'none'\n", "extra.py"),
        ("FOUND = 'there' if 'x.txt' in os.listdir('things') else 'none'", "things/x.txt"),
        (
            "fd = os.open('things', 0)\nFOUND = 'there' if 'x.txt' in os.listdir(fd) else 'none'\nos.close(fd)",
            "things/x.txt",
        ),
        (
            "from pathlib import Path\nFOUND = ''.join(p.stem for p in Path('things').glob('*.ini')) or 'none'",
            "things/there.ini",
        ),
    ],
    ids=["import", "listdir", "descriptor", "glob"],
)
def test_folder_that_was_looked_into_counts(project: Project, before: str, made: str) -> None:
    project.write("things/readme", "")
    project.write("a.py", module("1", before=before))
    project.write("main.py", answering("a.FOUND", before="import a, b, c"))
    with serve(project) as session:
        prepare(session, project, "b")
        assert session.get().body == "none"
        project.write(made, "FOUND = 'there'\n")
        save_anything(session, project, "b")
        assert session.get().body == "there"


def test_files_of_editors_do_not_count(project: Project) -> None:
    with serve(project) as session:
        prepare(session, project, "b")
        for name in (".b.py.swp", "b.py~", "4913", ".#b.py"):
            project.write(name, "")
        assert save_anything(session, project, "b") == "b"


def test_environment_counts(project: Project) -> None:
    project.write(".env", "WORD=one\n")
    project.write("a.py", module("1", before="WORD = os.environ.get('WORD')"))
    project.write("main.py", answering("a.WORD", before="import a, b, c"))
    with serve(project, env_file=(".env",)) as session:
        prepare(session, project, "b")
        assert session.get().body == "one"
        count = len(session.named("Reloaded"))
        project.replace(".env", "WORD=two\n")
        assert session.wait("Reloaded", count + 1)["resumed"] == ""
        assert session.get().body == "two"


def test_import_that_fails_only_when_it_is_gone_on_with_is_done_as_a_whole_from_then_on(project: Project) -> None:
    strict = "import a\nif a.PID != os.getpid():\n    raise RuntimeError('another process')"
    project.write("c.py", module("1", before=strict))
    with serve(project) as session:
        # The first save leaves a checkpoint before b, the next one goes on from there.
        save_anything(session, project, "b")
        save_anything(session, project, "b")
        assert session.get().status == 200
        (said,) = [text for text in texts(session) if "goes on from" in text]
        assert "b.py (RuntimeError)" in said
        for _ in range(3):
            assert save_anything(session, project, "b") == ""
        assert session.named("Reloaded")[-1]["mode"] == "fork"


# Processes


def test_worker_that_went_on_is_an_ordinary_process(project: Project) -> None:
    shown = "os.getpid() == os.getpgrp() == os.getsid(0)"
    project.write("main.py", answering(shown, before="import os, a, b, c"))
    with serve(project) as session:
        prepare(session, project, "b")
        assert session.get().body == "True"
        children = Path(f"/proc/{session.worker}/task/{session.worker}/children").read_text()
        assert children == ""


def test_exit_code_of_a_worker_that_went_on_is_told(project: Project) -> None:
    source = answering("os._exit(7) if scope['path'] == '/die' else 'alive'", before="import os, a, b, c")
    project.write("main.py", source)
    with serve(project) as session:
        prepare(session, project, "b")
        pid = session.worker
        with pytest.raises(OSError, match=r"reset|closed|peer"):
            session.get("/die")
        assert session.wait("WorkerDied") == {"event": "WorkerDied", "pid": pid, "exit_code": 7}
        assert save_anything(session, project, "b") == "b"
        assert session.get().body == "alive"


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_nothing_is_left_behind(project: Project, end: str) -> None:
    with serve(project) as session:
        for name in ("b", "c"):
            prepare(session, project, name)
        pids = family(session.worker)
        assert len(pids) >= 4
        if end == "stop":
            assert session.stop() == 0
        else:
            session.signal(signal.SIGKILL)
            session.process.wait()
        until(lambda: not any(map(alive, pids)))


def test_checkpoints_that_are_superseded_end(project: Project) -> None:
    with serve(project) as session:
        prepare(session, project, "c")
        old = family(session.worker)[:2]
        save_anything(session, project, "a")
        until(lambda: not any(map(alive, old)))


def test_checkpoint_that_is_killed_is_done_without(project: Project) -> None:
    with serve(project) as session:
        prepare(session, project, "b")
        worker, checkpoint = family(session.worker)[:2]
        os.kill(checkpoint, signal.SIGKILL)
        until(lambda: not alive(worker))
        assert save_anything(session, project, "b") == ""
        prepare(session, project, "b")


def test_newer_save_ends_an_import_that_went_on(project: Project) -> None:
    with serve(project) as session:
        prepare(session, project, "b")
        count = len(session.named("Reloaded"))
        project.replace("b.py", module("slow", before="import time; time.sleep(30)"))
        time.sleep(0.1)
        project.replace("b.py", module("quick"))
        assert Path(session.wait("Reloaded", count + 1)["resumed"]).stem == "b"
        assert values(session) == ["1", "quick", "1"]


def test_doctor_tells_what_memory_they_take(project: Project) -> None:
    command = [sys.executable, "-m", "devserver", "doctor", "main:app", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}

    def told() -> list[str]:
        found = subprocess.run(command, cwd=project.root, env=environment, capture_output=True, text=True, check=False)
        texts = [finding["what"] for finding in json.loads(found.stdout)]
        return [text for text in texts if "can go on" in text]

    assert told() == []
    with serve(project) as session:
        assert told() == []
        prepare(session, project, "b")
        (text,) = told()
        match = re.fullmatch(r"dev run \((\d+)\) can go on with an import before b\.py \((\d+\.\d) MiB\); .*", text)
        assert match is not None
        assert int(match[1]) == session.process.pid
        assert 0 < float(match[2]) < 30


# Nothing is stale


def cold(project: Project) -> str:
    """What a fresh process answers."""
    code = "import main; print(main.ANSWER)"
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=project.root, env=environment, capture_output=True, text=True, check=False
    )
    return found.stdout.strip()


@pytest.mark.slow
def test_random_edits_of_all_modules_are_never_stale(tmp_path: Path) -> None:
    project = Project(tmp_path, mode="fork")
    project.write("pyproject.toml", "")
    dice = random.Random(7)
    names = [f"m{number}" for number in range(12)]

    def source(index: int, value: int) -> str:
        # Each takes from some of those before it, so that whatever is old in one of them shows.
        used = [name for name in names[:index] if dice.random() < 0.4]
        total = " + ".join([str(value), *(f"{name}.V" for name in used)])
        imports = "".join(f"import {name}\n" for name in used)
        return f"{imports}{SLOW.replace('0.015', '0.004')}V = ({total}) % 1000003\n"

    for index, name in enumerate(names):
        project.write(f"{name}.py", source(index, index))
    total = "'-'.join(str(m.V) for m in (" + ", ".join(names) + "))"
    main = f"import {', '.join(names)}\nANSWER = {total}\n" + answering("ANSWER")
    project.write("main.py", main)
    resumed = 0
    with serve(project) as session:
        for number in range(100):
            # People save one file a few times before they go to the next.
            index = dice.randrange(12) if number % 3 == 0 else index
            count = len(session.named("Reloaded"))
            project.replace(f"{names[index]}.py", source(index, 1000 + number))
            # Asked at once: the answer is the new code's, whoever notices first that there is some.
            answer = session.get()
            assert (answer.status, answer.body) == (200, cold(project))
            resumed += session.wait("Reloaded", count + 1)["resumed"] != ""
    assert resumed > 40


def test_process_that_goes_on_is_forked_with_what_its_parents_saw(project: Project) -> None:
    # A module's state before the checkpoint is there, and each worker has its own.
    project.write("a.py", module("1", before="SEEN = []"))
    project.write("main.py", answering("(a.SEEN.append(1), len(a.SEEN))[1]", before="import a, b, c"))
    with serve(project) as session:
        for _ in range(4):
            save_anything(session, project, "b")
            assert session.get().body == "1"
            assert session.get().body == "2"
