"""Saves that use a warm process: what it may hold, when it is made anew, and that its workers are ordinary ones.

What an app takes from others is made up here: modules in a folder named ``site-packages`` on the path.
"""

from __future__ import annotations

import functools
import json
import operator
import os
import signal
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from devserver.supervisor.warm_set import WarmSet
from tests.support.reload import CHECKOUT, Project, Session, alive, answering, serve, until


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project that is forked, with packages of others beside it."""
    return make_project(tmp_path, "fork")


@pytest.fixture(params=["fork", pytest.param("standby", marks=pytest.mark.once)])
def warm(tmp_path: Path, request: pytest.FixtureRequest) -> Project:
    """The same in each of the warm modes."""
    return make_project(tmp_path, request.param)


def make_project(tmp_path: Path, mode: str) -> Project:
    """A project whose main.py answers with 1."""
    project = Project(tmp_path / "project", mode=mode)
    project.write("pyproject.toml", "")
    project.write("main.py", answering("'1'"))
    packages(project).mkdir()
    return project


def packages(project: Project) -> Path:
    """Where packages of others lie."""
    return project.root.parent / "site-packages"


def install(project: Project, name: str, text: str) -> None:
    """Writes a module of somebody else's."""
    path = packages(project) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def with_packages(project: Project) -> dict[str, Any]:
    """Options for serve() with those packages on the path."""
    return {"environment": {"PYTHONPATH": f"{CHECKOUT}{os.pathsep}{packages(project)}"}}


def reload(session: Session, project: Project, source: str) -> dict[str, Any]:
    """Saves main.py and waits for it."""
    count = len(session.named("Reloaded"))
    project.replace("main.py", source)
    return session.wait("Reloaded", count + 1)


def notices(session: Session) -> list[str]:
    """What was said, debug lines left out."""
    return [event["text"] for event in session.named("Notice") if event["level"] != "debug"]


# What is warm


def test_what_others_made_is_imported_once_and_what_is_the_projects_every_time(project: Project) -> None:
    install(project, "theirs.py", "import os\npid = os.getpid()\n")
    project.write("ours.py", "import os\npid = os.getpid()\n")
    source = answering("f'{theirs.pid == os.getpid()} {ours.pid == os.getpid()}'", before="import os, ours, theirs")
    project.write("main.py", source)
    with serve(project, **with_packages(project)) as session:
        assert session.get().body == "True True"
        assert reload(session, project, source + "# 1")["mode"] == "fork"
        assert session.get().body == "False True"


def test_what_is_imported_by_a_request_is_warm_after_it(project: Project) -> None:
    install(project, "lazily.py", "import os\npid = os.getpid()\n")
    source = answering("__import__('lazily').pid == os.getpid()", before="import os")
    project.write("main.py", source)
    with serve(project, **with_packages(project)) as session:
        assert session.get().body == "True"
        until(lambda: len([e for e in session.named("Notice") if e["text"].startswith("Saves fork")]) == 2)
        reload(session, project, source + "# 1")
        assert session.get().body == "False"


def test_second_start_forks_from_the_beginning(project: Project) -> None:
    install(project, "theirs.py", "import os\npid = os.getpid()\n")
    project.write("main.py", answering("theirs.pid == os.getpid()", before="import os, theirs"))
    for body in ("True", "False"):
        with serve(project, **with_packages(project)) as session:
            assert session.get().body == body
    assert (project.root / ".devserver" / ".gitignore").read_text() == "*\n"


def test_what_the_project_imports_no_longer_leaves_the_warm_process(warm: Project) -> None:
    install(warm, "theirs/__init__.py", "import theirs.part, brought")
    install(warm, "theirs/part.py", "")
    install(warm, "brought.py", "")
    install(warm, "other.py", "")
    shown = "[name for name in ('theirs', 'theirs.part', 'brought', 'other') if name in sys.modules]"
    both = answering(shown, before="import other, sys\nimport theirs")
    one = answering(shown, before="import other, sys")
    warm.write("main.py", both)
    with serve(warm, **with_packages(warm)) as session:
        assert reload(session, warm, both + "#")["mode"] == warm.mode
        assert session.get().body == "['theirs', 'theirs.part', 'brought', 'other']"
        reload(session, warm, one)

        def fresh() -> bool:
            reload(session, warm, one + f"# {len(session.named('Reloaded'))}")
            return session.get().body == "['other']"

        until(fresh)
        # It comes back as it went.
        reload(session, warm, both)
        assert session.get().body == "['theirs', 'theirs.part', 'brought', 'other']"
        kept = warm.root / ".devserver" / "warm.json"
        until(lambda: {"brought", "other", "theirs", "theirs.part"} <= {*json.loads(kept.read_text())["modules"]})


def test_damaged_warm_set_is_learned_again(project: Project) -> None:
    for damage in ("{", "[]", '{"version": 1}', '{"version": 2, "packages": 1, "modules": 3}'):
        project.write(".devserver/warm.json", damage)
        with serve(project) as session:
            assert reload(session, project, answering("'2'", before=f"# {damage}"))["mode"] == "fork"


def test_warm_set_holds_no_values_of_variables(warm: Project) -> None:
    install(warm, "theirs.py", "import os\nseen = os.environ.get('TOKEN_FOR_TEST')\n")
    warm.write(
        "main.py", answering("theirs.seen", before="import os\nos.environ['TOKEN_FOR_TEST'] = 'hush'\nimport theirs")
    )
    for _ in range(2):
        with serve(warm, **with_packages(warm)) as session:
            until((warm.root / ".devserver" / "warm.json").exists)
            kept = (warm.root / ".devserver" / "warm.json").read_text()
            assert "TOKEN_FOR_TEST" in kept
            assert "hush" not in kept
            # What the project's own code sets before an import is there when that is imported ahead of it.
            reload(session, warm, (warm.root / "main.py").read_text() + "# 1")
            assert session.get().body == "hush"


# What must not be warm


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import threading, time\nthreading.Thread(target=time.sleep, args=(600,), daemon=True).start()", "a thread"),
        ("import socket\nkept = socket.socket()", "socket:"),
        ("kept = open(__file__)", "odd.py"),
    ],
)
def test_module_that_does_what_a_fork_does_not_survive_is_left_out(project: Project, text: str, reason: str) -> None:
    install(project, "odd.py", f"import os\npid = os.getpid()\n{text}\n")
    install(project, "fine.py", "import os\npid = os.getpid()\n")
    install(project, "user_of_odd.py", "import odd\n")
    source = answering(
        "f'{odd.pid == os.getpid()} {fine.pid == os.getpid()}'", before="import os, fine, user_of_odd, odd"
    )
    project.write("main.py", source)
    with serve(project, **with_packages(project)) as session:
        assert reload(session, project, source + "# 1")["mode"] == "fork"
        assert session.get().body == "True False"
        said = [text for text in notices(session) if "odd" in text]
        assert len(said) == 1
        assert said[0].startswith("odd ")
        assert reason in said[0]
    with serve(project, **with_packages(project)) as session:
        # It is known by now, and not said again.
        assert session.get().body == "True False"
        assert notices(session) == []


def test_package_that_brings_the_project_along_is_left_out(warm: Project) -> None:
    warm.write("plugin.py", "import os\npid = os.getpid()\n")
    install(warm, "host.py", "import plugin\nplugin\n")
    source = answering("plugin.pid == os.getpid()", before="import os, host, plugin")
    warm.write("main.py", source)
    options = with_packages(warm)
    options["environment"]["PYTHONPATH"] += f"{os.pathsep}{warm.root}"
    with serve(warm, **options) as session:
        # A process that stands by finds it out when it is needed.
        reload(session, warm, source + "# 1")
        assert session.get().body == "True"
        assert reload(session, warm, source + "# 2")["mode"] == warm.mode
        assert session.get().body == "True"
        warm.write("plugin.py", "pid = 0\n")
        session.wait("Reloaded", 3)
        assert session.get().body == "False"


def test_module_of_the_project_that_hides_one_of_others_is_found(warm: Project) -> None:
    install(warm, "name.py", "whose = 'theirs'\n")
    source = answering("name.whose", before="import name")
    warm.write("main.py", source)
    with serve(warm, **with_packages(warm)) as session:
        assert session.get().body == "theirs"
        warm.write("name.py", "whose = 'ours'\n")
        reload(session, warm, source + "# 1")
        assert session.get().body == "ours"


def test_error_that_only_a_forked_process_has_ends_forking(project: Project) -> None:
    install(project, "picky.py", "import os\npid = os.getpid()\n")
    source = answering("'{}'", before="import os, picky\nif picky.pid != os.getpid(): raise RuntimeError('forked')")
    project.write("main.py", source)
    with serve(project, **with_packages(project)) as session:
        assert reload(session, project, source + "# 1")["mode"] == "cold"
        (said,) = notices(session)
        assert said.startswith("Saves use a process that stands by from now on: ")
        assert "RuntimeError" in said
        assert session.named("AppFailed") == []
        # In a process of its own nothing is wrong with it.
        assert reload(session, project, source + "# 2")["mode"] == "standby"
        assert len(notices(session)) == 1


def test_error_that_every_process_has_is_shown_and_forking_goes_on(project: Project) -> None:
    with serve(project) as session:
        project.replace("main.py", "import nothing_of_that_name")
        session.wait("AppFailed")
        assert session.get().status == 500
        assert reload(session, project, answering("'2'"))["mode"] == "fork"
        assert len(session.named("AppFailed")) == 1


def test_thread_does_no_harm_to_a_process_that_stands_by(tmp_path: Path) -> None:
    project = make_project(tmp_path, "standby")
    install(
        project,
        "odd.py",
        "import threading, time\nthreading.Thread(target=time.sleep, args=(600,), daemon=True).start()",
    )
    source = answering("threading.active_count() > 2", before="import threading, odd")
    project.write("main.py", source)
    with serve(project, **with_packages(project)) as session:
        for number in (1, 2):
            reload(session, project, source + f"# {number}")
            assert session.get().body == "True"
        assert session.wait("Reloaded", 2)["mode"] == "standby"
        assert notices(session) == []


# When it is made anew


def test_module_of_others_that_is_edited_is_imported_again(warm: Project) -> None:
    install(warm, "theirs.py", "value = 1\n")
    source = answering("theirs.value", before="import theirs")
    warm.write("main.py", source)
    with serve(warm, **with_packages(warm)) as session:
        install(warm, "theirs.py", "value = 20\n")
        reload(session, warm, source + "# 1")
        assert session.get().body == "20"


def test_package_that_is_installed_is_seen(warm: Project) -> None:
    install(warm, "asks.py", "try:\n    import extra\nexcept ImportError:\n    extra = None\n")
    source = answering("asks.extra is not None", before="import asks")
    warm.write("main.py", source)
    with serve(warm, **with_packages(warm)) as session:
        assert session.get().body == "False"
        install(warm, "extra/__init__.py", "")
        reload(session, warm, source + "# 1")
        assert session.get().body == "True"


def test_variable_of_an_env_file_is_seen_by_what_others_made(warm: Project) -> None:
    install(warm, "theirs.py", "import os\nseen = os.environ.get('FROM_FILE')\n")
    warm.write("main.py", answering("theirs.seen", before="import theirs"))
    warm.write("settings.env", "FROM_FILE=1\n")
    with serve(warm, env_file="settings.env", **with_packages(warm)) as session:
        for number, value in enumerate(("2", "3"), start=1):
            warm.write("settings.env", f"FROM_FILE={value}\n")
            session.wait("Reloaded", number)
            assert session.get().body == value


def test_warm_process_that_is_killed_is_made_again(project: Project) -> None:
    with serve(project) as session:
        victim = zygote_of(session)
        os.kill(victim, signal.SIGKILL)
        until(lambda: not alive(victim))
        reload(session, project, answering("'2'"))
        assert session.get().body == "2"
        until(lambda: len([e for e in session.named("Notice") if e["text"].startswith("Saves fork")]) >= 2)
        assert reload(session, project, answering("'3'"))["mode"] == "fork"
        assert session.get().body == "3"


def zygote_of(session: Session) -> int:
    """The pid of the warm process."""
    listing = subprocess.run(
        ["ps", "--ppid", str(session.process.pid), "-o", "pid=,args=", "-ww"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    (line,) = [line for line in listing.splitlines() if "supervisor.zygote" in line]
    return int(line.split()[0])


# A forked worker is an ordinary process


def test_warm_worker_can_use_multiprocessing(warm: Project) -> None:
    warm.write("jobs.py", "def double(number):\n    return number * 2\n")
    source = answering(
        "run()",
        before="""
import concurrent.futures, multiprocessing
import jobs
def run():
    found = []
    for method in ("spawn", "forkserver"):
        context = multiprocessing.get_context(method)
        with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
            found.append(pool.submit(jobs.double, 21).result())
    return found
""",
    )
    warm.write("main.py", source)
    with serve(warm) as session:
        reload(session, warm, source + "# 1")
        assert session.get().body == "[42, 42]"


def test_warm_worker_looks_like_a_fresh_one(warm: Project) -> None:
    source = answering(
        "look()",
        before="""
import json, os, random, signal, sys, threading
def look():
    return json.dumps({
        "argv": sys.argv, "path": sys.path, "main": sys.modules["__main__"].__name__,
        "signals": [str(signal.getsignal(number)) for number in (signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE)],
        "mask": [int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, ())],
        "leads": os.getpgrp() == os.getpid(), "main_thread": threading.main_thread().name,
        "environment": dict(os.environ), "stdin": os.readlink("/proc/self/fd/0"), "folder": os.getcwd(),
        "gc": __import__("gc").isenabled(),
    })
""",
    )
    warm.write("main.py", source)
    with serve(warm, environment={"FOR_ALL": "1"}) as session:
        cold = json.loads(session.get().body)
        reload(session, warm, source + "# 1")
        assert json.loads(session.get().body) == cold


def test_forked_workers_do_not_share_random_numbers(project: Project) -> None:
    install(project, "rolls.py", "import random\nrandom.random()\n")
    source = answering("random.random()", before="import random, rolls")
    project.write("main.py", source)
    with serve(project, **with_packages(project)) as session:
        seen = {session.get().body}
        for number in (1, 2):
            reload(session, project, source + f"# {number}")
            seen.add(session.get().body)
        assert len(seen) == 3


def test_warm_worker_runs_its_exit_functions(warm: Project) -> None:
    source = answering(
        "'{0}'", before="import atexit, pathlib\natexit.register(lambda: pathlib.Path('ended').write_text('{0}'))"
    )
    with serve(warm) as session:
        reload(session, warm, source.replace("{0}", "2"))
        reload(session, warm, answering("'3'"))
        until(lambda: (warm.root / "ended").exists())
        assert (warm.root / "ended").read_text() == "2"


def test_nothing_outlives_a_supervisor_that_is_killed(project: Project) -> None:
    with serve(project) as session:
        reload(session, project, answering("'2'"))
        zygote, worker = zygote_of(session), session.worker
        session.signal(signal.SIGKILL)
        until(lambda: not alive(zygote) and not alive(worker))


def test_descriptors_processes_and_memory_do_not_grow(project: Project) -> None:
    imports = "import asyncio, email.message, http.server, logging.config, ssl"
    with serve(project) as session:
        sizes: list[int] = []
        counts: list[int] = []
        for number in range(1, 51):
            reload(session, project, answering(f"'{number}'", before=imports))
            if number in (10, 50):
                until(lambda: len(children(session.process.pid)) == 1)
                pids = session.process.pid, zygote_of(session)
                until(functools.partial(has_one_child, pids[1]))
                if not counts:
                    counts = descriptors(pids)
                # What has just ended may be closed a moment later.
                until(lambda: all(map(operator.le, descriptors(pids), counts)))  # noqa: B023 - asked at once
                sizes.append(sum(map(proportional_kib, pids)))
        assert sizes[1] < 1.05 * sizes[0]


def descriptors(pids: Iterable[int]) -> list[int]:
    """How many each of the processes has open."""
    return [len(os.listdir(f"/proc/{pid}/fd")) for pid in pids]


def proportional_kib(pid: int) -> int:
    """Memory of a process; what it shares with others counts in part (PSS in proc_pid_smaps(5)).

    That of files is left out: it changes with what unrelated processes have mapped.
    """
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss_Anon:"))


def has_one_child(pid: int) -> bool:
    """Whether only one process of ``pid``'s making is left."""
    return len(children(pid)) == 1


def children(pid: int) -> list[str]:
    """The processes that ``pid`` has made and not buried."""
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def test_mode_that_is_impossible_is_replaced_and_said(project: Project) -> None:
    with serve(project, ready=False, environment={"COVERAGE_PROCESS_START": "x"}) as session:
        ready = session.wait("ServerReady")
        assert ready["mode"] == "cold"
        assert notices(session) == ["Every save starts a fresh process: coverage is measured."]


def test_warm_set_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    # Not to be replaced by a file, so that only the last step fails.
    (tmp_path / ".devserver" / "warm.json").mkdir(parents=True)
    WarmSet(tmp_path).learn(["json"], {})
    assert sorted(path.name for path in (tmp_path / ".devserver").iterdir()) == [".gitignore", "warm.json"]
