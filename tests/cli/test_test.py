"""``dev test``, really run: beside a ``dev run``, without one, and where a fork cannot stand in for a fresh process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devserver.cli.test import split
from devserver.errors import UsageError
from devserver.supervisor.rendezvous import socket_path
from tests.support.dev_run import DevRun, dev_run
from tests.support.dev_test import (
    dev_test,
    environment,
    make_project,
    plain,
    run,
    same,
    wait_notice,
    warm_run,
)
from tests.support.reload import PATIENCE_S, Project, alive, answering, state, until
from tests.support.terminal import on_terminal

pytestmark = pytest.mark.once

LOOKING = """
    import json, os, sys
    from pathlib import Path

    def test_look():
        parent = Path(f"/proc/{os.getppid()}/cmdline").read_bytes().split(b"\\0")
        streams = [
            (s.name, s.mode, s.encoding, s.errors, s.line_buffering, s.write_through, s.fileno(), s.closed)
            for s in (sys.__stdin__, sys.__stdout__, sys.__stderr__)
        ]
        Path("seen.json").write_text(json.dumps({
            "pid": os.getpid(),
            "parent": os.getppid(),
            "forked": any(b"devserver.supervisor.zygote" in word for word in parent),
            "environment": dict(os.environ),
            "argv": sys.argv,
            "path": sys.path,
            "directory": os.getcwd(),
            "main": sys.modules["__main__"].__spec__.name,
            "streams": streams,
            "umask": os.umask(0o22),
            "threads": len(os.listdir("/proc/self/task")),
            "handlers": [str(__import__("signal").getsignal(number)) for number in (1, 2, 13, 15, 17)],
        }))
"""
TWO = """
    import shop

    def test_one():
        assert shop.price() == 1

    def test_two():
        print("two speaks")
        assert shop.price() == 2

    class TestMore:
        def test_three(self, tmp_path):
            (tmp_path / "file").write_text("x")
"""

WAITING = """
import os, subprocess, time, pathlib

def test_wait():
    helper = subprocess.Popen(["sleep", "60"])
    pathlib.Path("helper").write_text(str(helper.pid))
    pathlib.Path("began").write_text(str(os.getpid()))
    time.sleep(60)
"""


def project_at(root: Path) -> Path:
    return make_project(
        root,
        {
            "shop.py": "def price():\n    return 1\n",
            "tests/test_shop.py": TWO,
            "tests/test_look.py": LOOKING,
            "tests/conftest.py": "",
        },
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return project_at(tmp_path / "project")


@pytest.fixture
def running(project: Path) -> Iterator[DevRun]:
    with warm_run(project) as running:
        yield running


def look(folder: Path) -> dict[str, Any]:
    """What the last run of test_look.py saw."""
    seen: dict[str, Any] = json.loads((folder / "seen.json").read_text())
    return seen


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    """``dev test`` in a group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "devserver", "test", *words],
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def until_text(path: Path) -> str:
    """What a file says, as soon as it says something."""
    until(lambda: path.exists() and path.read_text())
    return path.read_text()


# The command line


def test_own_options_may_stand_anywhere_and_all_else_is_pytests() -> None:
    words = ["-k", "a", "--mode", "test", "tests", "--env-file=x.env", "-h"]
    assert split(words) == ({"mode": "test", "env_file": ["x.env"]}, ["-k", "a", "tests", "-h"], False)
    assert split(["-x", "--watch"]) == ({}, ["-x"], True)
    assert split(["--", "-x", "--watch", "--help"]) == ({}, ["-x", "--watch", "--help"], False)
    assert split(["-q", "--help"])[0] == {"help": True}
    with pytest.raises(UsageError, match="--mode needs a value"):
        split(["--mode"])


def test_help_explains_itself(tmp_path: Path) -> None:
    done = run(tmp_path, "-m", "devserver", "test", "--help")
    assert done.returncode == 0
    assert "--watch" in done.stdout
    assert "PYTEST ARGS" in done.stdout
    assert dev_test(tmp_path, "-h").stdout.startswith("usage: python -m pytest ")


def test_missing_pytest_is_told_with_the_remedy(tmp_path: Path) -> None:
    code = (
        "import importlib.util, sys\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *rest: None if name == 'pytest' else find(name, *rest)\n"
        "from devserver.cli.main import invoke\n"
        "sys.exit(invoke(['test']))"
    )
    done = run(tmp_path, "-c", code)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: pytest is not installed in {sys.prefix}.\n\nhint: Add it: ")
    assert done.stderr.rstrip().endswith("pytest")


# Beside a dev run


def test_run_is_like_pytests_own(project: Path, running: DevRun) -> None:
    for words in (
        [],
        ["-q"],
        ["--lf", "-q"],
        ["--ff", "-v"],
        ["-k", "one"],
        ["-x", "-rA"],
        ["-s", "-q"],
        ["tests/test_shop.py::test_one"],
        ["--collect-only"],
        ["--fixtures", "-q"],
        ["-h"],
        ["--version"],
        ["-k", "nothing"],
        ["tests/none.py"],
        ["--no-such-option"],
        ["--maxfail=1", "--tb=short"],
        ["--import-mode=importlib"],
        ["--assert=plain"],
    ):
        expected, found = plain(project, *words), dev_test(project, *words)
        assert (found.returncode, same(found.stdout), same(found.stderr)) == (
            expected.returncode,
            same(expected.stdout),
            same(expected.stderr),
        )
    assert dev_test(project, "-q", "tests/test_look.py").returncode == 0
    assert look(project)["forked"]


def test_report_for_machines_is_like_pytests_own(project: Path, running: DevRun) -> None:
    found = []
    for make, name in ((plain, "plain.xml"), (dev_test, "forked.xml")):
        assert make(project, f"--junitxml={name}").returncode == 1
        suite = ET.parse(project / name).getroot()
        found.append(
            [
                (case.get("classname"), case.get("name"), [child.tag for child in case])
                for case in suite.iter("testcase")
            ]
        )
    assert found[0] == found[1]


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_run_is_a_process_like_a_fresh_one(project: Path, unbuffered: str) -> None:
    (project / ".env").write_text("FROM_FILE=1\n")
    environ = environment(GIVEN="2", PYTHONUNBUFFERED=unbuffered)
    with warm_run(project, environ=environ):
        seen = []
        for make in (plain, dev_test):
            assert make(project, "-q", "tests/test_look.py", environ={**environ, "COLUMNS": "77"}).returncode == 0
            seen.append(look(project))
    fresh, forked = seen
    assert (fresh.pop("forked"), forked.pop("forked")) == (False, True)
    for each in seen:
        del each["pid"], each["parent"]
    assert forked == fresh
    assert forked["environment"]["FROM_FILE"] == "1"
    assert forked["environment"]["COLUMNS"] == "77"


def test_runs_are_forked_from_one_host(project: Path, running: DevRun) -> None:
    seen: list[dict[str, Any]] = []
    # What the first has taken from others is imported by a new host, behind everybody's back.
    while len(seen) < 3 or seen[-1]["parent"] != seen[-2]["parent"]:
        assert dev_test(project, "-q", "tests/test_look.py").returncode == 0
        seen.append(look(project))
        assert len(seen) < 10
    assert all(each["forked"] for each in seen)
    assert len({each["pid"] for each in seen}) == len(seen)


def test_edits_between_runs_are_seen_also_two_of_one_size_within_a_second(project: Path, running: DevRun) -> None:
    (project / "tests" / "test_shop.py").write_text("import shop\n\ndef test_one():\n    assert shop.price() == 1\n")
    moment = time.time()
    for number in (2, 1, 3, 1):
        (project / "shop.py").write_text(f"def price():\n    return {number}\n")
        os.utime(project / "shop.py", (moment, moment))
        assert dev_test(project, "-q", "tests/test_shop.py").returncode == (0 if number == 1 else 1)
    for number in (2, 1, 3, 1):
        (project / "tests" / "test_shop.py").write_text(
            f"import shop\n\ndef test_one():\n    assert shop.price() == {number}\n"
        )
        os.utime(project / "tests" / "test_shop.py", (moment, moment))
        assert dev_test(project, "-q", "tests/test_shop.py").returncode == (0 if number == 1 else 1)


def test_app_that_serves_knows_nothing_of_pytest(tmp_path: Path) -> None:
    project = make_project(
        tmp_path,
        {
            "main.py": answering(
                "[name for name in ('pytest', '_pytest') if name in sys.modules]", before="import sys"
            ),
            "test_it.py": "def test_it():\n    pass\n",
        },
    )
    with warm_run(project) as running:
        assert dev_test(project, "-q").returncode == 0
        (project / "main.py").write_text((project / "main.py").read_text() + "# 1\n")
        running.wait_for("Reloaded")
        with urllib.request.urlopen(running.url, timeout=PATIENCE_S) as response:
            assert response.read() == b"[]"


@pytest.mark.slow
def test_plugins_of_others_are_warm_and_give_no_warning(project: Path) -> None:
    environ = environment()
    del environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"]
    # Imported by the app, so that pytest cannot rewrite its assertions any more, which it warns of.
    (project / "main.py").write_text("import anyio\n" + (project / "main.py").read_text())
    (project / "tests" / "test_plugins.py").write_text(
        "import sys\n\ndef test_plugins(pytestconfig):\n"
        "    names = [str(name) for name, _ in pytestconfig.pluginmanager.list_name_plugin()]\n"
        "    print(sorted(name for name in names if not name.isdigit()))\n"
        "    assert 'anyio' in names\n"
    )
    with warm_run(project, environ=environ) as running:
        for count in (1, 2):
            expected, found = plain(project, "-rP", environ=environ), dev_test(project, "-rP", environ=environ)
            assert same(found.stdout) == same(expected.stdout)
            assert (found.returncode, found.stderr) == (expected.returncode, "")
            wait_notice(running, "Test runs fork a process", count)
        assert look(project)["forked"]


def test_module_that_warns_when_it_is_imported_warns_in_each_run(project: Path, tmp_path: Path) -> None:
    packages = tmp_path / "site-packages"
    packages.mkdir()
    (packages / "old.py").write_text("import warnings\nwarnings.warn('it is old', DeprecationWarning)\n")
    (project / "tests" / "test_old.py").write_text("import old\n\ndef test_it():\n    pass\n")
    environ = environment()
    environ["PYTHONPATH"] += f"{os.pathsep}{packages}"
    words = ("tests/test_old.py", "tests/test_look.py")
    expected = plain(project, *words, environ=environ)
    assert "it is old" in expected.stdout
    with warm_run(project, environ=environ) as running:
        for _ in range(2):
            found = dev_test(project, *words, environ=environ)
            assert (found.stderr, same(found.stdout)) == ("", same(expected.stdout))
            assert look(project)["forked"]
            wait_notice(running, "old gives a warning when it is imported (it is old)")
            wait_notice(running, "Test runs fork a process", 2)


def test_plugin_that_a_conftest_names_is_warm_with_its_assertions_rewritten(project: Path, tmp_path: Path) -> None:
    packages = tmp_path / "site-packages"
    packages.mkdir()
    (packages / "named.py").write_text(
        "import os, pytest\npid = os.getpid()\n\ndef check(a, b):\n    assert a == b\n\n"
        "@pytest.fixture\ndef checked():\n    return check\n"
    )
    (project / "tests" / "conftest.py").write_text("pytest_plugins = ['named']\n")
    (project / "tests" / "test_named.py").write_text(
        "import named, os\nfrom pathlib import Path\n\ndef test_named(checked):\n"
        "    Path('own').write_text(str(named.pid == os.getpid()))\n    checked([1], [2])\n"
    )
    environ = environment()
    environ["PYTHONPATH"] += f"{os.pathsep}{packages}"
    expected = plain(project, "tests/test_named.py", environ=environ)
    assert "At index 0 diff: 1 != 2" in expected.stdout
    with warm_run(project, environ=environ) as running:
        for own in ("True", "False"):
            found = dev_test(project, "tests/test_named.py", environ=environ)
            assert (found.stderr, same(found.stdout)) == ("", same(expected.stdout))
            assert (project / "own").read_text() == own
            wait_notice(running, "Test runs fork a process", 2)


def test_ctrl_c_ends_a_run_as_pytest_ends(project: Path, running: DevRun) -> None:
    (project / "tests" / "test_wait.py").write_text(WAITING)
    process = start(project, "-q", "tests/test_wait.py")
    until_text(project / "began")
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2
    assert "KeyboardInterrupt" in output


def test_terminating_ends_the_run_by_the_same_signal(project: Path, running: DevRun) -> None:
    (project / "tests" / "test_wait.py").write_text(WAITING)
    process = start(project, "-q", "tests/test_wait.py")
    pid = int(until_text(project / "began"))
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode == -signal.SIGTERM
    assert not alive(pid)


def test_suspended_command_suspends_its_run(project: Path, running: DevRun) -> None:
    (project / "tests" / "test_wait.py").write_text(WAITING)
    process = start(project, "-q", "tests/test_wait.py")
    pid = int(until_text(project / "began"))
    process.send_signal(signal.SIGTSTP)
    until(lambda: state(process.pid) == state(pid) == "T")
    process.send_signal(signal.SIGCONT)
    until(lambda: state(process.pid) != "T" and state(pid) != "T")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2


def test_breakpoint_in_a_test_has_the_terminal(project: Path, running: DevRun) -> None:
    (project / "tests" / "test_stop.py").write_text("def test_stop():\n    word = 'secret'\n    breakpoint()\n")
    code = "import sys; from devserver.cli.main import invoke; sys.exit(invoke(sys.argv[1:-1]))"
    command = [sys.executable, "-c", code, "test", "tests/test_stop.py"]
    variables = [f"{name}={value}" for name, value in environment(TERM="xterm").items()]
    with on_terminal(Project(project), command=["env", "-i", *variables, *command]) as terminal:
        terminal.wait("(Pdb)")
        terminal.type("word * 2\n")
        terminal.wait("'secretsecret'")
        terminal.type("c\n")
        terminal.wait("1 passed")
        assert terminal.process.wait(PATIENCE_S) == 0
    assert "plain pytest" not in terminal.text


def test_run_goes_with_whoever_asked_for_it(project: Path, running: DevRun) -> None:
    (project / "tests" / "test_wait.py").write_text(WAITING)
    process = start(project, "-q", "tests/test_wait.py")
    pid, helper = int(until_text(project / "began")), int(until_text(project / "helper"))
    process.kill()
    process.communicate(timeout=PATIENCE_S)
    until(lambda: not alive(pid) and not alive(helper))
    # Nobody else is hurt.
    assert dev_test(project, "-q", "tests/test_look.py").returncode == 0
    assert look(project)["forked"]


def test_killed_dev_run_takes_its_test_runs_along_and_that_is_told(project: Path) -> None:
    (project / "tests" / "test_wait.py").write_text(WAITING)
    with warm_run(project) as running:
        process = start(project, "-q", "tests/test_wait.py")
        pid = int(until_text(project / "began"))
        os.kill(running.process.pid, signal.SIGKILL)
        output, _ = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 1
        assert "error: dev run has ended, and the tests with it." in output
        until(lambda: not alive(pid))
    # What it has left is ignored, and removed.
    socket = socket_path(project, running.process.pid)
    assert socket.exists()
    assert dev_test(project, "-q", "tests/test_look.py").returncode == 0
    assert not look(project)["forked"]
    assert not socket.exists()


def test_dev_run_that_is_stopped_leaves_no_socket(project: Path) -> None:
    with warm_run(project) as running:
        socket = socket_path(project, running.process.pid)
        assert socket.exists()
        running.stop()
        assert not socket.exists()


# Without one, and where a fork cannot stand in


def test_without_dev_run_it_is_pytest(project: Path) -> None:
    expected, found = plain(project), dev_test(project)
    assert (found.returncode, same(found.stdout), found.stderr) == (expected.returncode, same(expected.stdout), "")
    assert not look(project)["forked"]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["-n", "2"], "-n 2 runs tests in processes of its own"),
        (["--pdb"], "--pdb starts a debugger"),
        (["-p", "no:cacheprovider"], "-p no:cacheprovider decides which plugins are loaded"),
        (["--rootdir", "."], "--rootdir names the configuration"),
        (["--cov"], "--cov measures coverage"),
    ],
)
def test_what_needs_a_fresh_process_gets_one_and_that_is_said_once(project: Path, words: list[str], why: str) -> None:
    with warm_run(project):
        done = dev_test(project, "-q", "tests/test_look.py", *words)
    assert done.stderr.count("A plain pytest runs the tests") == 1
    assert f"info: A plain pytest runs the tests: {why}.\n" in done.stderr
    if (project / "seen.json").exists():
        assert not look(project)["forked"]
    else:
        # Neither plugin is loaded here: pytest knows nothing of their options.
        assert done.returncode == 4


def test_options_of_the_configuration_count_as_well(project: Path, running: DevRun) -> None:
    (project / "pyproject.toml").write_text('[tool.pytest.ini_options]\naddopts = "-p no:doctest"\n')
    assert "-p no:doctest decides" in dev_test(project, "-q", "tests/test_look.py").stderr
    assert not look(project)["forked"]
    (project / "pyproject.toml").write_text("")
    done = dev_test(project, "tests/test_look.py", environ=environment(PYTEST_ADDOPTS="--trace-config --pdbcls=a:b"))
    assert "--pdbcls starts a debugger" in done.stderr


def test_other_variables_are_named_once_and_never_shown(project: Path, running: DevRun) -> None:
    done = dev_test(project, "-q", "tests/test_look.py", environ=environment(TOKEN="hush", TERM_PROGRAM="x"))
    said = "info: A plain pytest runs the tests: other variables than dev run has: TOKEN.\n"
    assert (done.returncode, done.stderr) == (0, said)
    assert not look(project)["forked"]
    assert look(project)["environment"]["TOKEN"] == "hush"


def test_dev_run_that_forks_nothing_says_so(project: Path) -> None:
    with dev_run("main:app", "--reload-mode", "cold", directory=project, environ=environment()):
        done = dev_test(project, "-q", "tests/test_look.py")
    assert done.returncode == 0
    assert done.stderr == "info: A plain pytest runs the tests: dev run forks nothing (--reload-mode cold).\n"


def test_what_is_wrong_in_an_env_file_is_said_as_dev_exec_says_it(project: Path) -> None:
    (project / ".env").write_text("A=1\nnonsense\n")
    with warm_run(project):
        expected = plain(project, "-q", "tests/test_look.py")
        found = dev_test(project, "-q", "tests/test_look.py")
        assert found.stderr == expected.stderr
        assert "nonsense" in found.stderr
        assert look(project)["forked"]
        (project / ".env").write_text("A=1\nPYTHONHASHSEED=0\n")
        said = "info: A plain pytest runs the tests: PYTHONHASHSEED of an env file is read when Python starts.\n"
        assert dev_test(project, "-q", "tests/test_look.py").stderr == said


def test_own_options_are_read_beside_a_dev_run_as_well(project: Path, running: DevRun) -> None:
    (project / "x.env").write_text("EXTRA=1\n")
    done = dev_test(project, "--env-file", "x.env", "-q", "tests/test_look.py")
    assert done.stderr == "info: A plain pytest runs the tests: other variables than dev run has: EXTRA.\n"
    assert look(project)["environment"]["EXTRA"] == "1"
    inner = project / "tests"
    assert dev_test(project, "--chdir", str(inner), "-q", "test_look.py").returncode == 0
    assert look(inner)["directory"] == str(inner)
    assert look(inner)["forked"]


def test_installed_packages_that_change_make_a_new_host(project: Path, tmp_path: Path) -> None:
    packages = tmp_path / "site-packages"
    packages.mkdir()
    (packages / "theirs.py").write_text("value = 1\n")
    (project / "tests" / "test_theirs.py").write_text("import theirs\n\ndef test_it():\n    assert theirs.value == 1\n")
    environ = environment()
    environ["PYTHONPATH"] += f"{os.pathsep}{packages}"
    # So that no __pycache__ comes into the folder later.
    assert plain(project, "-q", "tests/test_theirs.py", environ=environ).returncode == 0
    with warm_run(project, environ=environ) as running:
        assert dev_test(project, "-q", "tests/test_theirs.py", environ=environ).returncode == 0
        wait_notice(running, "Test runs fork a process", 2)
        (packages / "theirs.py").write_text("value = 22\n")
        assert "assert 22 == 1" in dev_test(project, "-q", "tests/test_theirs.py", environ=environ).stdout
        wait_notice(running, "The process with pytest in it is made anew: ")
        (packages / "theirs.py").write_text("value = 1\n")
        assert dev_test(project, "-q", "tests/test_theirs.py", environ=environ).returncode == 0
        until(lambda: dev_test(project, "-q", "tests/test_look.py", environ=environ).stderr == "")
        assert look(project)["forked"]
