"""Threads that an import leaves behind, and processes that are forked or not for that reason.

Libraries are made up: each starts a thread that Python knows nothing of, and that has the name of its process.
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.prod import Running, prod
from tests.support.reload import CHECKOUT, PATIENCE_S, Project, Session, answering, serve, until

LIBRARY = """
import ctypes, os
pid = os.getpid()
libc = ctypes.CDLL(None)
def start(name=None):
    thread = ctypes.c_ulong()
    assert libc.pthread_create(ctypes.byref(thread), None, ctypes.cast(libc.pause, ctypes.c_void_p), None) == 0
    if name is not None:
        libc.pthread_setname_np(thread, name)
"""
STARTING = LIBRARY + "start()\n"
HARMLESS = "polars"
"""A name on the list."""
REFUSED = r"--preload has no effect: {module} starts a thread while it is imported \({name}\)\."


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty project."""
    path = tmp_path / "project"
    path.mkdir()
    (path / "pyproject.toml").write_text("")
    return path


def write(folder: Path, before: str, expression: str = "os.getpid()") -> None:
    """Writes an app that executes ``before`` while it is imported."""
    (folder / "main.py").write_text(answering(expression, before=f"import os\nimporter = os.getpid()\n{before}"))


def answers(running: Running, count: int = 40) -> set[str]:
    """The different bodies of so many answers."""
    return {running.get().body for _ in range(count)}


# With --preload


def test_thread_of_a_library_that_is_known_to_be_harmless_lets_workers_be_forked(folder: Path) -> None:
    (folder / f"{HARMLESS}.py").write_text(STARTING)
    write(folder, f"import {HARMLESS}", "importer")
    with prod(folder, "-w", "2", "--preload") as running:
        assert answers(running) == {str(running.workers[0])}
        assert "no effect" not in running.text


@pytest.mark.parametrize(
    ("files", "before", "module"),
    [
        ({"library.py": STARTING}, "import library", "library"),
        ({"library.py": STARTING}, f"import {HARMLESS}, library", "library"),
        ({f"{HARMLESS}.py": LIBRARY + "import library\n", "library.py": STARTING}, f"import {HARMLESS}", "library"),
        ({}, f"import {HARMLESS}\n{HARMLESS}.start()", "main"),
        ({}, f"import {HARMLESS}\n{HARMLESS}.start()\nimport {HARMLESS}.more", "main"),
        ({f"{HARMLESS}2.py": STARTING}, f"import {HARMLESS}2", f"{HARMLESS}2"),
        ({"package/__init__.py": "", "package/part.py": STARTING}, "import package.part", r"package\.part"),
    ],
    ids=["alone", "beside", "inside", "used", "used, then a part of it", "longer name", "part"],
)
def test_thread_of_anything_else_is_named_and_each_worker_imports_the_app(
    folder: Path, files: dict[str, str], before: str, module: str
) -> None:
    for name, text in {f"{HARMLESS}/__init__.py": STARTING, f"{HARMLESS}/more.py": "", **files}.items():
        path = folder / name
        if name == f"{HARMLESS}/__init__.py" and f"{HARMLESS}.py" in files:
            continue
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    write(folder, before, "importer == os.getpid()")
    with prod(folder, "-w", "2", "--preload") as running:
        running.wait(REFUSED.format(module=module, name=r"\S+"))
        assert answers(running) == {"True"}
        assert running.end() == 0


def test_thread_of_a_function_that_makes_the_app_is_the_apps(folder: Path) -> None:
    (folder / "library.py").write_text(LIBRARY)
    write(folder, "import library\n")
    with (folder / "main.py").open("a") as file:
        file.write("def make():\n    library.start()\n    return app\n")
    with prod(folder, "-w", "2", "--preload", "--factory", target="main:make") as running:
        running.wait(REFUSED.format(module="the app", name=r"\S+"))


def test_thread_of_python_is_not_harmless_whoever_starts_it(folder: Path) -> None:
    started = "import threading\nthreading.Thread(target=threading.Event().wait, name='theirs', daemon=True).start()\n"
    (folder / f"{HARMLESS}.py").write_text(started)
    write(folder, f"import {HARMLESS}", "importer == os.getpid()")
    with prod(folder, "-w", "2", "--preload") as running:
        running.wait(REFUSED.format(module=HARMLESS, name="theirs"))
        assert answers(running) == {"True"}


def test_thread_that_ends_with_the_import_does_no_harm(folder: Path) -> None:
    (folder / "library.py").write_text(
        "import threading\nthread = threading.Thread(target=list)\nthread.start()\nthread.join()\n"
    )
    write(folder, "import library", "importer")
    with prod(folder, "-w", "2", "--preload") as running:
        assert answers(running) == {str(running.workers[0])}


def test_thread_that_appears_after_the_import_ends_forking(folder: Path) -> None:
    (folder / "library.py").write_text(LIBRARY)
    late = "import library, signal\nsignal.signal(signal.SIGALRM, lambda *_: library.start())\n"
    write(folder, late)
    with prod(folder, "-w", "1", "--preload") as running:
        (mold,) = running.workers
        worker = int(running.get().body)
        os.kill(mold, signal.SIGALRM)
        until(lambda: len(os.listdir(f"/proc/{mold}/task")) == 2)
        os.kill(worker, signal.SIGKILL)
        running.wait(r"--preload has no effect: a thread has been started in it after the import \(\S+\)\.")
        until(lambda: "is ready" in running.text.rpartition("no effect")[2])
        assert running.get().body != str(worker)


def test_workers_of_one_import_draw_different_numbers_unless_the_app_has_set_a_seed(folder: Path) -> None:
    (folder / "library.py").write_text("import random\nown = random.Random()\nfixed = random.Random(7)\n")
    drawn = "drawn.setdefault(0, (os.getpid(), library.own.random(), library.fixed.random(), random.random()))"
    write(folder, "import library, random\nrandom.seed(7)\ndrawn = {}\n", drawn)
    with prod(folder, "-w", "3", "--preload") as running:
        seen: set[str] = set()

        def all_have_answered() -> bool:
            seen.add(running.get().body)
            return len(seen) == 3

        until(all_have_answered)
        pids, own, fixed, common = zip(*(text.strip("()").split(", ") for text in seen), strict=True)
    assert len({*pids}) == len({*own}) == 3
    assert {*fixed, *common} == {str(random.Random(7).random())}


# With dev run


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project that is forked, with a folder for packages of others beside it."""
    project = Project(tmp_path / "project", mode="fork")
    project.write("pyproject.toml", "")
    (tmp_path / "site-packages").mkdir()
    return project


def install(project: Project, name: str, text: str) -> None:
    """Writes a module of somebody else's."""
    (project.root.parent / "site-packages" / name).write_text(text)


def with_packages(project: Project) -> dict[str, Any]:
    """Options for serve() with those packages on the path."""
    path = f"{CHECKOUT}{os.pathsep}{project.root.parent / 'site-packages'}"
    return {"environment": {"PYTHONPATH": path}}


def save(session: Session, project: Project, source: str) -> str:
    """Saves main.py; the mode that its reload had."""
    count = len(session.named("Reloaded"))
    project.replace("main.py", source)
    return str(session.wait("Reloaded", count + 1)["mode"])


def test_saves_fork_a_process_with_the_threads_of_harmless_libraries_only(project: Project) -> None:
    install(project, f"{HARMLESS}.py", STARTING)
    install(project, "library.py", STARTING)
    shown = f"f'{{{HARMLESS}.pid == os.getpid()}} {{library.pid == os.getpid()}}'"
    source = answering(shown, before=f"import os, {HARMLESS}, library")
    project.write("main.py", source)
    with serve(project, **with_packages(project)) as session:
        for number in range(3):
            assert save(session, project, f"{source}# {number}") == "fork"
            assert session.get().body == "False True"
        said = [event["text"] for event in session.named("Notice") if event["level"] != "debug"]
        assert len(said) == 1
        assert re.fullmatch(r"library starts a thread \(\S+\), so every save imports it anew\.", said[0])


def test_thread_that_is_there_before_any_import_is_told_without_a_module(project: Project) -> None:
    install(
        project,
        "sitecustomize.py",
        "import sys, threading\n"
        "if any('zygote' in argument for argument in sys.orig_argv):\n"
        "    threading.Thread(target=threading.Event().wait, name='early', daemon=True).start()\n",
    )
    source = answering("'1'")
    project.write("main.py", source)
    with serve(project, ready=False, **with_packages(project)) as session:
        session.wait_notice("Saves use")
        save(session, project, source + "# 1")
        said = [event["text"] for event in session.named("Notice") if event["level"] != "debug"]
        assert len(said) == 1
        assert "a thread runs that no imported module has started (early)" in said[0]
        assert "?" not in said[0]


def test_file_that_is_open_during_another_import_only_is_not_left_open(project: Project) -> None:
    install(project, "outer.py", "import os\npid = os.getpid()\nwith open(__file__):\n    import inner\n")
    # Modules are told in the order in which their imports end, so this one would be there already.
    install(project, "inner.py", "import sys\nassert 'outer' in sys.modules\n")
    source = answering("outer.pid == os.getpid()", before="import os, outer")
    project.write("main.py", source)
    with serve(project, **with_packages(project)) as session:
        assert save(session, project, source + "# 1") == "fork"
        assert session.get().body == "False"


def test_saves_draw_different_numbers_from_a_librarys_generator_unless_it_has_a_seed(project: Project) -> None:
    install(project, "library.py", "import random\nown = random.Random()\nfixed = random.Random(7)\n")
    source = answering("f'{library.own.random()} {library.fixed.random()}'", before="import library")
    project.write("main.py", source)
    with serve(project, **with_packages(project)) as session:
        seen = [session.get().body.split()]
        for number in range(3):
            assert save(session, project, f"{source}# {number}") == "fork"
            seen.append(session.get().body.split())
    own, fixed = zip(*seen, strict=True)
    assert len({*own}) == 4
    assert {*fixed} == {str(random.Random(7).random())}


# In one process


def looked(text: str) -> list[str]:
    """The lines that a process writes that has the library, a made-up harmless one, and notes of its threads."""
    script = (
        "from devserver.supervisor import threads\nthreads.SETTLED_S = 0.05\n" + LIBRARY + "seen = threads.Threads()\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script + text],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_thread_that_a_harmless_one_starts_is_known_by_name_and_owner() -> None:
    text = """
start(b"jemalloc_bg_thd")
seen.look("main")
print([left.module for left in seen.loud()])
start()
seen.look("polars.part")
print(seen.loud())
"""
    assert looked(text) == ["['main']", "[]"]


def test_loud_thread_stays_loud() -> None:
    text = """
start()
seen.look("numpy.core")
start()
seen.look("main", ("first", "second"))
start()
seen.look("numpy.core")
for _ in range(2):
    print([(left.module, left.importers) for left in seen.loud()])
"""
    assert looked(text) == ["[('main', ('first', 'second'))]"] * 2


def test_threads_that_run_already_are_accepted_when_told_so() -> None:
    text = """
start()
print(len(threads.Threads().loud()), len(threads.Threads(accepted=True).loud()))
"""
    assert looked(text) == ["1 0"]


def test_python_thread_is_told_by_its_name() -> None:
    text = """
import threading
print(repr(threads.python_thread()))
event = threading.Event()
thread = threading.Thread(target=event.wait, name="mine")
thread.start()
seen.look("numpy")
print(threads.python_thread(), [(left.module, left.name) for left in seen.loud()])
event.set()
thread.join()
"""
    assert looked(text) == ["''", "mine [('numpy', 'mine')]"]
