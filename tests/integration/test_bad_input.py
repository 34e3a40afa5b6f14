"""What people get wrong, as real processes: a sentence or two on stderr, exit code 2 or 3, and nothing else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from devserver.errors import EXIT_APP, EXIT_USAGE
from tests.support.clients import tool
from tests.support.ports import free_port, listens
from tests.support.projects import write_files
from tests.support.server import CHECKOUT, HELLO, PATIENCE_S, command, spawned, until

FORBIDDEN_PORT = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) - 1
"""The last port that needs rights; -1 where none does, as in some containers."""

POWERLESS = [tool("setpriv"), "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
"""Put before a command, takes root's special rights away: file modes and low ports bind it as they bind others."""


@dataclass(frozen=True)
class Mistake:
    """A command line that cannot be served, and what is said about it."""

    words: str
    code: int
    said: str
    """A regular expression for what stands after ``error: ``."""
    hint: str | None = None
    """The same for what stands after ``hint: ``; None when there is no such line."""
    files: Mapping[str, str] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)


ANY = ".+"

MISTAKES = {
    "unknown option": Mistake("run --prot 1", EXIT_USAGE, r"No such option --prot; did you mean --port\?"),
    "value of another kind": Mistake("run --port http", EXIT_USAGE, r"--port: 'http' is not a whole number\."),
    "value that is no choice": Mistake("run --log-level loud", EXIT_USAGE, r"--log-level: 'loud' is not one of .+\."),
    "contradiction": Mistake("run --uds a --fd 3", EXIT_USAGE, r"uds and fd each say where to listen\.", ANY),
    "value in the environment": Mistake(
        "run", EXIT_USAGE, r"DEVSERVER_BACKLOG: 'many' is not a whole number\.", environ={"DEVSERVER_BACKLOG": "many"}
    ),
    "unknown key in pyproject.toml": Mistake(
        "run",
        EXIT_USAGE,
        r"pyproject\.toml \[tool\.devserver\] prot: there is no such option\.",
        r"Did you mean port\?",
        {"pyproject.toml": "[tool.devserver]\nprot = 1\n"},
    ),
    "wrong value in pyproject.toml": Mistake(
        "run",
        EXIT_USAGE,
        r"pyproject\.toml \[tool\.devserver\] port: 'http' is not a whole number\.",
        files={"pyproject.toml": '[tool.devserver]\nport = "http"\n'},
    ),
    "malformed pyproject.toml": Mistake(
        "run", EXIT_USAGE, r".*pyproject\.toml.*line 1.*", files={"pyproject.toml": "[tool.devserver\n"}
    ),
    "missing env file": Mistake("run --env-file no.env", EXIT_USAGE, r"The env file no\.env does not exist\.", ANY),
    "missing log config": Mistake(
        "run --log-config no.yaml", EXIT_USAGE, r"--log-config: the file no\.yaml does not exist\."
    ),
    "malformed log config": Mistake(
        "run --no-reload --port 0 --log-config bad.yaml",
        EXIT_USAGE,
        r'Log config "bad\.yaml".*',
        files={"bad.yaml": "a: [\n"},
    ),
    "malformed log config of a reloading server": Mistake(
        "run --reload --port 0 --log-config bad.yaml",
        EXIT_USAGE,
        r'Log config "bad\.yaml".*',
        files={"bad.yaml": "a: [\n"},
    ),
    "malformed access log format": Mistake(
        "run --reload --port 0 --access-log-format %(h", EXIT_USAGE, r".*access.log.format.*", ANY
    ),
    "missing file": Mistake("run no.py", EXIT_APP, r"There is no file .*/no\.py\."),
    "missing folder": Mistake("run no/such", EXIT_APP, r"There is no file .*/no/such\."),
    "missing module": Mistake(
        "run nothing:app --no-reload --port 0",
        EXIT_APP,
        r'Could not import "nothing:app": no module "nothing" in .*\.',
        ANY,
    ),
    "misspelled module": Mistake("run man:app --no-reload --port 0", EXIT_APP, r'.*; did you mean "main:app"\?'),
    "misspelled app": Mistake(
        "run main:ap --no-reload --port 0", EXIT_APP, r'.* no attribute "ap"; did you mean "main:app"\?'
    ),
    "missing certificate": Mistake(
        "run --no-reload --port 0 --ssl-certfile no.pem",
        EXIT_USAGE,
        r"ssl_certfile: cannot read no\.pem \(no such file.*\)\.",
    ),
    "missing certificate with reload": Mistake(
        "run --reload --port 0 --ssl-certfile no.pem",
        EXIT_USAGE,
        r"ssl_certfile: cannot read no\.pem \(no such file.*\)\.",
    ),
    "certificate that is none": Mistake(
        "run --no-reload --port 0 --ssl-certfile bad.pem", EXIT_USAGE, r".*bad\.pem.*", files={"bad.pem": "bad\n"}
    ),
    "missing folder of a socket": Mistake("run --uds no/a.sock", EXIT_USAGE, r".*there is no folder no\.", ANY),
    "closed descriptor": Mistake("run --fd 77", EXIT_USAGE, r"File descriptor 77 is not open\.", ANY),
    "address of another machine": Mistake(
        "run --host 192.0.2.1", EXIT_USAGE, r"Cannot listen on 192\.0\.2\.1: .*", ANY
    ),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project that could be served."""
    return write_files(tmp_path, {"main.py": HELLO})


def dev(
    folder: Path, words: Sequence[str], *, environ: Mapping[str, str] | None = None, before: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """Runs ``dev`` to its end, which must come by itself."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("DEVSERVER_")}
    return subprocess.run(
        [*before, sys.executable, "-m", "devserver", *words],
        cwd=folder,
        env={**inherited, "PYTHONPATH": str(CHECKOUT), "NO_COLOR": "1", **(environ or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def check(done: subprocess.CompletedProcess[str], code: int, said: str, hint: str | None) -> None:
    """Whether it has ended with one error, perhaps a hint, and not a line more."""
    lines = [line for line in done.stderr.splitlines() if line]
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert len(lines) == (1 if hint is None else 2), done.stderr
    assert re.fullmatch(f"error: {said}", lines[0]), done.stderr
    assert hint is None or re.fullmatch(f"hint: {hint}", lines[1]), done.stderr


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_is_told_in_a_sentence(folder: Path, name: str) -> None:
    mistake = MISTAKES[name]
    write_files(folder, mistake.files)
    done = dev(folder, mistake.words.split(), environ=mistake.environ)
    check(done, mistake.code, mistake.said, mistake.hint)


@pytest.mark.parametrize("reload", ["--reload", "--no-reload"])
def test_port_in_use_names_its_owner(folder: Path, reload: str) -> None:
    port = free_port()
    with spawned([sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"], folder) as owner:
        until(lambda: listens(port))
        done = dev(folder, ["run", reload, "--port", str(port)])
        said = rf"Port {port} is taken by PID {owner.process.pid} \(.*http\.server.*\)\."
        check(done, EXIT_USAGE, said, "Stop it, or choose another port with --port.")
        assert owner.process.poll() is None


def test_unix_socket_in_use_names_its_owner(folder: Path) -> None:
    with command(folder, "run", "--uds", "a.sock", "--ui", "plain") as owner:
        owner.wait_text("➜ Socket")
        done = dev(folder, ["run", "--uds", "a.sock"])
        said = rf"The Unix socket a\.sock is in use .*PID {owner.process.pid}.*"
        check(done, EXIT_USAGE, said, "Stop it, or choose another path.")


FORBIDDEN = {
    "file": Mistake("run secret.py --no-reload --port 0", EXIT_APP, r"Cannot read .*/secret\.py: Permission denied\."),
    "module": Mistake(
        "run secret:app --no-reload --port 0", EXIT_APP, r"Cannot read .*/secret\.py: Permission denied\."
    ),
    "certificate": Mistake(
        "run --no-reload --port 0 --ssl-certfile secret.py",
        EXIT_USAGE,
        r"ssl_certfile: cannot read secret\.py \(perm.*\)\.",
    ),
    "env file": Mistake("run --env-file secret.py", EXIT_USAGE, r"The env file secret\.py cannot be read: .*\.", ANY),
    "folder of a socket": Mistake("run --uds closed/a.sock", EXIT_USAGE, r".*: not allowed to write to closed\."),
    "folder of a log": Mistake(
        "run --no-reload --port 0 --access-log-file closed/a.log",
        EXIT_USAGE,
        r".*closed/a\.log.*[Pp]ermission denied.*",
        ANY,
    ),
    "folder of a reloading server's log": Mistake(
        "run --reload --port 0 --access-log-file closed/a.log",
        EXIT_USAGE,
        r".*closed/a\.log.*[Pp]ermission denied.*",
        ANY,
    ),
}
if FORBIDDEN_PORT > 0:
    FORBIDDEN["port"] = Mistake(
        f"run --port {FORBIDDEN_PORT}", EXIT_USAGE, rf"Not allowed to listen on port {FORBIDDEN_PORT}: .*\.", ANY
    )


@pytest.mark.parametrize("name", FORBIDDEN)
def test_what_is_not_allowed_is_told_in_a_sentence(folder: Path, name: str) -> None:
    (folder / "secret.py").write_text(HELLO)
    (folder / "secret.py").chmod(0)
    (folder / "closed").mkdir(mode=0o555)
    mistake = FORBIDDEN[name]
    done = dev(folder, mistake.words.split(), before=POWERLESS)
    check(done, mistake.code, mistake.said, mistake.hint)
