"""The checks of dev doctor, each on a real case of what it looks for."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devserver.config import Config
from devserver.config.target import Target
from devserver.errors import AppLoadError, ConfigError
from devserver.events import Notice
from devserver.supervisor.doctor import machine, project, python
from devserver.supervisor.doctor.case import ERROR, NOTE, WARNING, Case, Check, Finding
from devserver.supervisor.doctor.examination import CHECKS, examine, is_serious
from tests.support.ports import free_port
from tests.support.projects import run_python, write_files

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture
def case(tmp_path: Path) -> Case:
    """A project in which nothing is wrong."""
    write_files(tmp_path, {"main.py": "app = object()\n"})
    target = Target("main", "app", search_path=str(tmp_path), path=tmp_path / "main.py")
    config = Config(reload=True, port=0)
    return Case(config, tmp_path, {}, target=target, root=tmp_path)


def with_config(case: Case, **options: Any) -> Case:
    return dataclasses.replace(case, config=dataclasses.replace(case.config, **options))


def said(check: Check, case: Case) -> list[tuple[str, str]]:
    return [(finding.severity, finding.what) for finding in check(case)]


def remedies(check: Check, case: Case) -> list[str]:
    return [finding.remedy for finding in check(case)]


def git(folder: Path, *words: str) -> None:
    subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True)


# The examination


def test_check_that_fails_is_a_finding() -> None:
    def failing(case: Case) -> Iterator[Finding]:
        yield Finding(NOTE, "Before.")
        raise OSError("no\nsuch thing")

    found = examine(
        Case(Config(), Path.cwd(), {}), [("the moon", failing), ("app", lambda _: [Finding(ERROR, "Bad.")])]
    )
    assert [finding.what for finding in found] == [
        "Bad.",
        "Before.",
        "The moon could not be checked (OSError: no such thing).",
    ]
    assert is_serious(found)
    assert not is_serious(found[1:])


def test_every_check_has_a_name_of_its_own() -> None:
    assert len({name for name, _ in CHECKS}) == len(CHECKS)


# Python


def test_this_interpreter_is_as_it_should_be(case: Case) -> None:
    found = said(python.version, case)
    if sys.version_info >= (3, 12):
        assert found == []
    else:
        assert found == [(NOTE, "Python 3.11 has no eager tasks: every request takes one more turn of the event loop.")]


def test_variables_that_slow_python_down_are_named(case: Case) -> None:
    environ = {"PYTHONASYNCIODEBUG": "1", "PYTHONMALLOC": "default", "PYTHONDEVMODE": ""}
    names = [finding.where for finding in python.flags(dataclasses.replace(case, environ=environ))]
    assert "PYTHONASYNCIODEBUG" in names
    assert not {"PYTHONMALLOC", "PYTHONDEVMODE"}.intersection(names)


def installed(site: Path, name: str, version: str, *needs: str) -> None:
    metadata = [
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}",
        *(f"Requires-Dist: {need}" for need in needs),
    ]
    write_files(site, {f"{name}-{version}.dist-info/METADATA": "\n".join(metadata) + "\n"})


def test_missing_and_old_packages_are_named(case: Case, tmp_path: Path) -> None:
    site = tmp_path / "site"
    needs = ["fastapi>=0.115", "starlette>=0.40", "uvloop>=0.21; sys_platform != 'win32'", "httptools>=0.6.4"]
    installed(site, "devserver", "1.0", *needs, "h11>=9; extra == 'h11'")
    installed(site, "fastapi", "0.99.1")
    installed(site, "starlette", "1.0.0rc1")
    program = f"""
        import sys
        from pathlib import Path
        from devserver.config import Config
        from devserver.supervisor.doctor import python
        from devserver.supervisor.doctor.case import Case
        # Only what lies there is installed now.
        sys.path[:] = [{str(site)!r}, *(place for place in sys.path if "site-packages" not in place)]
        for finding in python.packages(Case(Config(), Path(), {{}})):
            print(finding.severity, finding.what, finding.remedy, sep=" | ")
    """
    done = run_python(program, cwd=tmp_path)
    assert done.stderr == ""
    assert [line.split(" | ") for line in done.stdout.splitlines()] == [
        [
            "warning",
            "fastapi 0.99.1 is older than what is supported, 0.115.",
            "Update it: pip install -U 'fastapi>=0.115'.",
        ],
        [
            "warning",
            "uvloop is not installed: asyncio's own event loop is slower.",
            "Install it: pip install 'uvloop>=0.21'.",
        ],
        [
            "error",
            "Requests cannot be read: httptools is not installed.",
            "Install it: pip install 'httptools>=0.6.4'.",
        ],
    ]


def test_installed_packages_suffice(case: Case) -> None:
    try:
        importlib.metadata.version("devserver")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("this checkout is not installed")
    assert said(python.packages, case) == []


def test_other_environment_of_the_project_is_told(case: Case, tmp_path: Path) -> None:
    write_files(tmp_path / ".venv", {"pyvenv.cfg": "", "bin/python": ""})
    (finding,) = python.environment(case)
    assert finding.severity == WARNING
    assert finding.where == str(tmp_path / ".venv")
    assert finding.remedy == f"Run it from there: {tmp_path}/.venv/bin/python -m devserver run."


@linux
def test_reason_against_forking_is_told(case: Case) -> None:
    measured = dataclasses.replace(case, environ={"COVERAGE_PROCESS_START": "x"})
    assert (NOTE, "Saves take longer than they could: coverage is measured.") in said(python.reload_mode, measured)
    assert said(python.reload_mode, with_config(measured, reload_mode="cold")) == []
    assert said(python.reload_mode, with_config(measured, reload=False)) == []
    assert [severity for severity, _ in said(python.reload_mode, with_config(measured, reload_mode="fork"))] == [
        WARNING
    ]


def test_process_name_needs_setproctitle(case: Case, tmp_path: Path) -> None:
    assert said(python.process_name, case) == []
    program = """
        import sys
        from pathlib import Path
        from devserver.config import Config
        from devserver.supervisor.doctor import python
        from devserver.supervisor.doctor.case import Case
        sys.path.clear()
        print(*(finding.remedy for finding in python.process_name(Case(Config(), Path(), {}, process_name="shop"))))
    """
    assert run_python(program, cwd=tmp_path).stdout == "Install it: pip install 'devserver[names]'.\n"


# The project


def test_troubles_are_told_by_who_must_act(case: Case) -> None:
    case = dataclasses.replace(
        case,
        target=None,
        troubles=(ConfigError("Wrong.", hint="Right it."), AppLoadError("Not found.", hint="Name it.")),
        notices=(Notice("warning", "Odd."), Notice("info", "By the way.")),
    )
    assert list(project.settings(case)) == [Finding(ERROR, "Wrong.", remedy="Right it."), Finding(WARNING, "Odd.")]
    assert list(project.app(case)) == [Finding(ERROR, "Not found.", str(case.directory), "Name it.")]


def test_app_that_is_not_python_is_told(case: Case) -> None:
    assert said(project.app, case) == []
    (case.directory / "main.py").write_text("app = 1\ndef\n")
    (finding,) = project.app(case)
    assert (finding.severity, finding.where) == (ERROR, "main.py:2")


def test_package_that_the_app_cannot_find_is_told(case: Case) -> None:
    source = """
        import os.path
        import shop.models
        from . import sibling
        from nowhere_to_be_found.deep import thing

        try:
            import perhaps_not_there
        except ImportError:
            pass
    """
    write_files(case.directory, {"main.py": source, "shop/models.py": "1 / 0\n"})
    (finding,) = project.app(case)
    assert finding.severity == ERROR
    assert finding.what.startswith("The app imports nowhere_to_be_found, which is not installed in ")
    assert finding.where == "main.py:5"
    write_files(case.directory, {"main.py": "import sys\nsys.path.append('lib')\nimport nowhere_to_be_found\n"})
    assert said(project.app, case) == []


def test_chosen_event_loop_is_found_in_code_and_not_in_comments(case: Case) -> None:
    write_files(case.directory, {"main.py": "# uvloop.install()\n", ".venv/pyvenv.cfg": "", "node_modules/x.py": ""})
    assert said(project.loop_policy, case) == []
    write_files(case.directory, {"shop/run.py": "import uvloop\nuvloop.install()\n"})
    (finding,) = project.loop_policy(case)
    assert (finding.severity, finding.where) == (NOTE, "shop/run.py:2")


def test_file_from_the_future_is_told(case: Case) -> None:
    assert said(project.clock, case) == []
    path = case.directory / "main.py"
    ahead = path.stat().st_mtime + 3600
    os.utime(path, (ahead, ahead))
    (finding,) = project.clock(case)
    assert (finding.severity, finding.where) == (WARNING, "main.py")


def env_file(case: Case, name: str, text: str, mode: int = 0o600) -> Path:
    path = case.directory / name
    path.write_text(text)
    path.chmod(mode)
    return path


def test_env_file_that_everybody_can_read_is_told(case: Case) -> None:
    env_file(case, ".env", "API_KEY=1\n")
    env_file(case, ".envrc", "API_KEY=1\n", 0o644)
    assert said(project.env_files, case) == []
    env_file(case, ".env", "export API_KEY=1\nDEBUG=1\n", 0o644)
    env_file(case, ".env.local", "DEBUG=1\n", 0o644)
    assert said(project.env_files, case) == [
        (WARNING, "Every user of this machine can read .env, and holds what looks like secrets (API_KEY)."),
        (NOTE, "Every user of this machine can read .env.local."),
    ]
    assert remedies(project.env_files, case) == ["chmod 600 .env", "chmod 600 .env.local"]


def test_env_files_in_git_are_told(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    git(case.directory, "init")
    for name in (".env", ".env.local", ".env.test", ".env.example"):
        env_file(case, name, "DB_PASSWORD=1\n" if name == ".env" else "DEBUG=1\n")
    (case.directory / ".gitignore").write_text(".env.local\n")
    git(case.directory, "add", ".env")
    assert said(project.env_files, case) == [
        (WARNING, "git tracks .env, and holds what looks like secrets (DB_PASSWORD)."),
        (WARNING, "The next git add may take .env.test along."),
    ]


def test_env_file_of_the_settings_is_looked_at(case: Case) -> None:
    env_file(case, "secrets.txt", "TOKEN=1\n", 0o604)
    ((severity, _),) = said(project.env_files, with_config(case, env_file=("secrets.txt",)))
    assert severity == WARNING


def test_example_and_env_files_are_compared(case: Case) -> None:
    assert said(project.env_example, case) == []
    env_file(case, ".env.example", "# comment\nA=\nexport B =\nC=\n")
    env_file(case, ".env", "A=1\n")
    case = dataclasses.replace(case, environ={"C": "1"})
    assert said(project.env_example, case) == [
        (WARNING, ".env.example names B, which no env file and no environment sets.")
    ]
    env_file(case, ".env", "A=1\nB=1\nMORE=1\n")
    assert said(project.env_example, case) == [
        (NOTE, ".env.example does not name MORE, so that others do not know that it is needed.")
    ]


@contextlib.contextmanager
def ordinary_user() -> Iterator[None]:
    """As whom access(2) judges: root may write everywhere."""
    before = os.getuid()
    if before == 0:
        os.setreuid(65_534, 0)
    try:
        yield
    finally:
        if before == 0:
            os.setreuid(0, 0)


def test_cache_that_cannot_be_written_is_told(case: Case) -> None:
    folder = case.directory / ".devserver"
    folder.mkdir(mode=0o500)
    with ordinary_user():
        (finding,) = project.cache(case)
    assert (finding.severity, finding.where) == (WARNING, ".devserver")


def test_cache_that_can_be_written_is_fine(case: Case) -> None:
    assert said(project.cache, case) == []
    (case.directory / ".devserver" / "code").mkdir(parents=True)
    assert said(project.cache, case) == []


# The machine

MOUNTS = """
    22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
    30 22 0:40 / /mnt/c rw,noatime shared:1 - 9p C:\\134 rw,aname=drvfs
    31 22 0:41 / {folder} rw - {kind} server:/x rw
"""


def kernel(tmp_path: Path, *, kind: str = "ext4", watches: int = 500_000, instances: int = 128) -> Path:
    """A /proc that tells of another machine."""
    return write_files(
        tmp_path / "proc",
        {
            "self/mountinfo": MOUNTS.format(folder=str(tmp_path).replace(" ", "\\040"), kind=kind),
            "sys/fs/inotify/max_user_watches": f"{watches}\n",
            "sys/fs/inotify/max_user_instances": f"{instances}\n",
        },
    )


@pytest.mark.parametrize(
    ("kind", "poll", "severity"),
    [
        ("ext4", None, None),
        ("ext4", True, NOTE),
        ("nfs4", None, WARNING),
        ("fuse.sshfs", None, WARNING),
        ("9p", None, WARNING),
        ("9p", True, NOTE),
        ("fakeowner", None, WARNING),
    ],
)
def test_file_system_decides_how_changes_are_noticed(
    kind: str, poll: bool | None, severity: str | None, case: Case, tmp_path: Path
) -> None:
    case = dataclasses.replace(with_config(case, poll=poll), proc=kernel(tmp_path, kind=kind))
    assert [found for found, _ in said(machine.polling, case)] == ([severity] if severity else [])


def test_variable_of_watchfiles_is_told_to_have_no_effect(case: Case, tmp_path: Path) -> None:
    case = dataclasses.replace(case, proc=kernel(tmp_path), environ={"WATCHFILES_FORCE_POLLING": "1"})
    assert [finding.where for finding in machine.polling(case)] == ["WATCHFILES_FORCE_POLLING"]
    assert said(machine.polling, with_config(case, reload=False)) == []


def test_file_system_is_that_of_the_innermost_mount(tmp_path: Path) -> None:
    proc = kernel(tmp_path, kind="nfs")
    assert machine.file_system(tmp_path / "x", proc) == "nfs"
    assert machine.file_system(Path("/mnt/c/Users"), proc) == "9p"
    assert machine.file_system(Path("/mnt/cd"), proc) == "ext4"
    assert machine.file_system(tmp_path, tmp_path / "nowhere") == ""


def test_limits_of_notification_are_told(case: Case, tmp_path: Path) -> None:
    good = dataclasses.replace(case, proc=kernel(tmp_path))
    assert said(machine.watched_folders, good) == []
    few = dataclasses.replace(case, proc=kernel(tmp_path, watches=100, instances=8))
    assert remedies(machine.watched_folders, few) == [
        "sudo sysctl fs.inotify.max_user_watches=524288",
        "sudo sysctl fs.inotify.max_user_instances=512",
    ]
    assert said(machine.watched_folders, dataclasses.replace(case, proc=tmp_path / "nowhere")) == []


def test_huge_tree_is_told_with_its_biggest_folder(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "FOLDERS_MANY", 20)
    for number in range(20):
        (tmp_path / "data" / str(number)).mkdir(parents=True)
        (tmp_path / "node_modules" / str(number)).mkdir(parents=True)
    case = dataclasses.replace(with_config(case, reload_dirs=(str(tmp_path),)), proc=tmp_path / "nowhere")
    (finding,) = machine.watched_folders(case)
    assert finding.what == "22 folders are watched, 21 of them in data."
    assert finding.remedy == "Name fewer, or leave some out: --reload-exclude 'data'."


def test_reload_dir_of_packages_is_told(case: Case, tmp_path: Path) -> None:
    write_files(tmp_path / "env", {"pyvenv.cfg": ""})
    (tmp_path / "web" / "node_modules").mkdir(parents=True)
    case = dataclasses.replace(with_config(case, reload_dirs=("env", "web/node_modules")), proc=tmp_path / "nowhere")
    assert said(machine.watched_folders, case) == [
        (WARNING, "env holds packages and no source of yours."),
        (WARNING, "web/node_modules holds packages and no source of yours."),
    ]


@linux
def test_taken_port_is_told_with_its_holder(case: Case) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        port = taken.getsockname()[1]
        case = with_config(case, host="127.0.0.1", port=port, strict_port=False)
        ((severity, what),) = said(machine.address, case)
        assert severity == NOTE
        assert what.startswith(f"Port {port} is in use by PID {os.getpid()} (")
        assert what.endswith("; the next free one will be taken.")
        ((severity, _),) = said(machine.address, dataclasses.replace(case, port_is_default=False))
        assert severity == ERROR
    assert said(machine.address, case) == []


@linux
def test_taken_socket_is_told(case: Case, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    case = with_config(case, uds=path)
    assert said(machine.address, case) == []
    with socket.socket(socket.AF_UNIX) as taken:
        taken.bind(path)
        ((severity, what),) = said(machine.address, case)
    assert severity == ERROR
    assert what.startswith(f"The Unix socket {path} is in use by PID {os.getpid()}")


def test_address_that_cannot_be_read_is_told(case: Case) -> None:
    ((severity, _),) = said(machine.address, with_config(case, bind=("localhost:x",)))
    assert severity == ERROR


def test_few_open_files_are_told(case: Case) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    try:
        assert said(machine.limits, case) == [(WARNING, "A process may have only 512 files and connections open.")]
        assert remedies(machine.limits, case)[0].startswith("ulimit -n ")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@linux
def test_kernel_that_tells_nothing_is_told(case: Case, tmp_path: Path) -> None:
    assert said(machine.proc, case) == []
    ((severity, _),) = said(machine.proc, dataclasses.replace(case, proc=tmp_path / "nowhere"))
    assert severity == WARNING
