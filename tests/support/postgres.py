"""A PostgreSQL of a test's own: Debian's programs, a folder of its own, and a Unix socket in it."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SUPERUSER = "tester"
UNPRIVILEGED = "postgres"
"""Whom Debian's package brings along; the server refuses to run as root."""
PATIENCE_S = 60.0


@dataclass(frozen=True)
class Postgres:
    """A server that runs.

    :ivar folder: where its socket is.
    """

    folder: Path

    def url(self, database: str) -> str:
        """The URL of a database, which is made anew."""
        psql = [program("psql"), "--host", str(self.folder), "--username", SUPERUSER, "--quiet", "--no-psqlrc"]
        _run(*psql, "--dbname", "postgres", "--command", f"CREATE DATABASE {database}")
        return f"postgresql://{SUPERUSER}@/{database}?host={self.folder}"


@contextlib.contextmanager
def postgres() -> Iterator[Postgres]:
    """A server that keeps nothing: what it writes is not flushed, and its folder is removed."""
    # Not pytest's folder: the user that the server runs as may not enter it, and a socket's path has 107 bytes at most.
    folder = Path(tempfile.mkdtemp(prefix="devserver-pg-", dir="/tmp"))
    if os.geteuid() == 0:
        user = pwd.getpwnam(UNPRIVILEGED)
        os.chown(folder, user.pw_uid, user.pw_gid)
    data = folder / "data"
    options = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off -c full_page_writes=off"
    server = [program("pg_ctl"), "--pgdata", str(data), "--wait", "--silent"]
    try:
        _run(
            *(program("initdb"), "--pgdata", str(data), "--username", SUPERUSER, "--auth", "trust"),
            *("--encoding", "UTF8", "--locale", "C", "--no-sync"),
        )
        _run(*server, "--log", str(folder / "log"), "--options", options, "start")
        try:
            yield Postgres(folder)
        finally:
            _run(*server, "--mode", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


def program(name: str) -> str:
    """The path of one of its programs, which Debian keeps apart by version; that of the newest.

    :raises AssertionError: it is not installed.
    """
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda each: int(each.parent.name), reverse=True)
    path = shutil.which(name, path=":".join([*map(str, folders), os.environ.get("PATH", "")]))
    assert path is not None, f"{name} is not installed; scripts/system-packages installs it"
    return path


def _run(*command: str) -> None:
    user = UNPRIVILEGED if os.geteuid() == 0 else None
    done = subprocess.run(
        command,
        user=user,
        group=user,
        extra_groups=[] if user else None,
        cwd="/",
        # Not pipes: a server that it starts would hold them open.
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)} ended with {done.returncode}"
