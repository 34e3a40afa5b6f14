"""``dev prod`` when things change around it: folders behind links, env files that can be read once."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from devserver.server.open_files import RAISED_MAX
from tests.support.certificates import make_certificate
from tests.support.dev_run import dev_run
from tests.support.prod import Running, prod
from tests.support.reload import CHECKOUT, until

APP = """
import json, os, sys, time

# A worker that has been replaced may answer once more when its folder has gone.
FOLDER = os.getcwd()

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["path"] == "/kill":
        os._exit(7)
    body = json.dumps({
        "release": RELEASE, "folder": FOLDER, "secret": os.environ.get("SECRET"),
        "zone": time.tzname[0], "hour": time.localtime(0).tm_hour, "extra": EXTRA, "pid": os.getpid(),
    }).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})

try:
    import extra_module
except ImportError:
    EXTRA = None
else:
    EXTRA = extra_module.NAME
"""


def release(folder: Path, number: int) -> Path:
    """Makes a release."""
    path = folder / "releases" / str(number)
    path.mkdir(parents=True)
    (path / "main.py").write_text(f"RELEASE = {number}\n{APP}")
    return path


def point(link: Path, target: Path) -> None:
    """Lets a link lead there, at one go."""
    link.with_name("next").symlink_to(target)
    link.with_name("next").replace(link)


@pytest.fixture
def current(tmp_path: Path) -> Path:
    """A link to the first release."""
    link = tmp_path / "current"
    point(link, release(tmp_path, 1))
    return link


def answer(running: Running, **expected: object) -> bool:
    """Says whether an answer has these values."""
    found = json.loads(running.get().body)
    return {name: found[name] for name in expected} == expected


@pytest.mark.parametrize("preload", ["--preload", "--no-preload"])
def test_reload_serves_the_release_that_a_link_leads_to_now(current: Path, preload: str) -> None:
    with prod(current, "-w", "2", preload, environment={"PWD": str(current)}) as running:
        assert answer(running, release=1, folder=str(current.resolve()))
        old = current.resolve()
        point(current, release(current.parent, 2))
        running.send(signal.SIGHUP)
        running.wait("is ready", 4)
        shutil.rmtree(old)
        until(lambda: answer(running, release=2, folder=str(current.resolve())))
        # A worker that is killed when the release that the master began in has gone.
        os.kill(json.loads(running.get().body)["pid"], signal.SIGKILL)
        running.wait("is ready", 5)
        assert answer(running, release=2, folder=str(current.resolve()))
        # So is another master.
        with newer_master(running):
            pass


@contextlib.contextmanager
def newer_master(running: Running) -> Iterator[None]:
    """Has a newer master begin beside the one that runs, and ends it afterwards: it is nobody's child."""
    running.send(signal.SIGUSR2)
    try:
        running.wait("running on", 2)
        yield
    finally:
        for found in {*map(int, re.findall(r"Master (\d+) runs", running.text))} - {running.process.pid}:
            os.kill(found, signal.SIGTERM)
            until(functools.partial(_is_gone, found))


def _is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}/cmdline").exists() or not Path(f"/proc/{pid}/cmdline").read_bytes()


def test_workers_are_made_again_when_their_folder_cannot_be_entered(current: Path) -> None:
    elsewhere = release(current.parent, 7)
    environment = {"PWD": str(current), "PYTHONPATH": f"{elsewhere}{os.pathsep}{CHECKOUT}"}
    (current / "main.py").unlink()
    with prod(current, "-w", "1", environment=environment) as running:
        assert answer(running, release=7)
        shutil.rmtree(current.resolve())
        os.kill(json.loads(running.get().body)["pid"], signal.SIGKILL)
        running.wait("is ready", 2)
        assert f"The folder {current} cannot be entered (No such file or directory); worker" in running.text
        assert answer(running, release=7, folder="/")
        running.send(signal.SIGHUP)
        running.wait(f"Nothing is reloaded: The folder {current} cannot be entered")
        point(current, release(current.parent, 2))
        running.send(signal.SIGHUP)
        running.wait("is ready", 3)
        until(lambda: answer(running, release=2))


def test_folder_that_pwd_does_not_name_is_the_real_one(current: Path) -> None:
    with prod(current, "-w", "1", environment={"PWD": str(current.parent)}) as running:
        point(current, release(current.parent, 2))
        running.send(signal.SIGHUP)
        running.wait("is ready", 2)
        assert answer(running, release=1)


# Env files that can be read once


def write_later(path: Path, text: str) -> threading.Thread:
    """Writes into a named pipe, as soon as somebody reads from it."""
    thread = threading.Thread(target=path.write_text, args=(text,), daemon=True)
    thread.start()
    return thread


def test_values_of_a_pipe_stay_through_reloads_and_masters(current: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"SECRET=swordfish")
    os.close(writing)
    try:
        with prod(current, "-w", "1", "--env-file", f"/dev/fd/{reading}", pass_fds=(reading,)) as running:
            assert answer(running, secret="swordfish")
            running.send(signal.SIGHUP)
            running.wait("is ready", 2)
            until(lambda: answer(running, secret="swordfish"))
            with newer_master(running):
                running.send(signal.SIGWINCH)
                running.wait("0 workers from now on")
                until(lambda: answer(running, secret="swordfish"))
            assert "Nothing is reloaded" not in running.text
    finally:
        os.close(reading)


def test_named_pipe_is_waited_for_with_a_word_and_read_again_when_it_has_a_writer(current: Path) -> None:
    pipe = current / "secrets"
    os.mkfifo(pipe)
    with prod(current, "-w", "1", "--env-file", "secrets", ready=False) as running:
        running.wait("Waiting for the env file secrets, which nobody has written to.")
        write_later(pipe, "SECRET=first").join()
        running.wait("running on")
        assert answer(running, secret="first")
        running.send(signal.SIGHUP)
        running.wait("is ready", 2)
        until(lambda: answer(running, secret="first"))
        writer = write_later(pipe, "SECRET=second")
        running.send(signal.SIGHUP)
        running.wait("is ready", 3)
        writer.join()
        until(lambda: answer(running, secret="second"))


@pytest.mark.parametrize("mode", ["fork", "standby", "cold"])
def test_values_of_a_pipe_stay_through_saves(current: Path, mode: str) -> None:
    pipe = current / "secrets"
    os.mkfifo(pipe)
    writer = write_later(pipe, "SECRET=first")
    with dev_run("main:app", "--env-file", "secrets", "--reload-mode", mode, directory=current) as running:
        writer.join()
        assert ask(running.url)["secret"] == "first"
        (current / "main.py").write_text(f"RELEASE = 2\n{APP}")
        until(lambda: ask(running.url)["release"] == 2)
        assert ask(running.url)["secret"] == "first"


def ask(url: str) -> dict[str, Any]:
    """Returns the answer under ``url``."""
    with urllib.request.urlopen(url) as response:
        found: dict[str, Any] = json.load(response)
    return found


# Variables that are otherwise read only when an interpreter starts


def test_time_zone_and_path_of_an_env_file_count_at_the_start_and_after_a_reload(current: Path) -> None:
    for name in ("one", "two"):
        (current / name).mkdir()
        (current / name / "extra_module.py").write_text(f"NAME = {name!r}")
    env = current / "app.env"
    env.write_text("TZ=XYZ-5\nPYTHONPATH=one")
    # The checkout is installed where the tests run.
    environment = {"TZ": None, "PYTHONPATH": None}
    with prod(current, "-w", "1", "--env-file", "app.env", environment=environment) as running:
        assert answer(running, zone="XYZ", hour=5, extra="one")
        env.write_text("TZ=ABC-7\nPYTHONPATH=two")
        running.send(signal.SIGHUP)
        running.wait("is ready", 2)
        until(lambda: answer(running, zone="ABC", hour=7, extra="two"))


@pytest.mark.parametrize("mode", ["fork", "standby", "cold", "none"])
def test_time_zone_and_path_of_an_env_file_count_while_developing(current: Path, mode: str) -> None:
    for name in ("one", "two"):
        (current / name).mkdir()
        (current / name / "extra_module.py").write_text(f"NAME = {name!r}")
    env = current / ".env"
    env.write_text("TZ=XYZ-5\nPYTHONPATH=one")
    options = ["--no-reload"] if mode == "none" else ["--reload-mode", mode]
    with dev_run("main:app", *options, directory=current, environ={"TZ": None, "PYTHONPATH": None}) as running:
        found = ask(running.url)
        assert (found["zone"], found["hour"], found["extra"]) == ("XYZ", 5, "one")
        if mode != "none":
            env.write_text("TZ=ABC-7\nPYTHONPATH=two")
            until(lambda: ask(running.url)["zone"] == "ABC")
            found = ask(running.url)
            assert (found["hour"], found["extra"]) == (7, "two")


# Descriptors


def limited(number: int) -> Callable[[], None]:
    """Makes a function that limits the open files of the process that calls it."""
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (number, number))


def test_limit_that_is_too_low_for_the_workers_is_refused(current: Path) -> None:
    command = [sys.executable, "-m", "devserver", "prod", "main:app", "--port", "0", "-w", "20"]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    ended = subprocess.run(
        command,
        cwd=current,
        env=environment,
        capture_output=True,
        text=True,
        preexec_fn=limited(80),
        check=False,
    )
    assert ended.returncode == 2
    assert "error: A process may open 80 files here, and 20 workers need 164." in ended.stderr
    assert "hint: Raise the hard limit" in ended.stderr


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_connections_that_cannot_be_accepted_are_told_once(current: Path, loop: str) -> None:
    with prod(current, "-w", "1", "--loop", loop, before=limited(90)) as running:
        clients = [socket.create_connection(("127.0.0.1", running.port)) for _ in range(120)]
        running.wait(r"This process \(90 files\) can open no more files")
        for client in clients:
            client.close()

        def serves_again() -> bool:
            with contextlib.suppress(OSError):
                return answer(running, release=1)
            return False

        until(serves_again)
        assert running.text.count("can open no more files") == 1
        assert "Traceback" not in running.text


def test_limit_is_raised_for_workers(current: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    (current / "main.py").write_text(f"import resource\nRELEASE = resource.getrlimit(resource.RLIMIT_NOFILE)[0]\n{APP}")

    def lower() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))

    assert min(soft, hard) > 256
    with prod(current, "-w", "1", before=lower) as running:
        assert answer(running, release=min(hard, RAISED_MAX))


def test_memory_of_aborted_tls_handshakes_is_given_back(current: Path) -> None:
    certificate, key = make_certificate(current)
    files = ("--ssl-certfile", str(certificate), "--ssl-keyfile", str(key))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing).do_handshake()
    hello = outgoing.read()
    with prod(current, "-w", "1", *files) as running:
        (worker,) = running.workers
        before = resident_kib(worker)
        clients = []
        for _ in range(1000):
            client = socket.create_connection(("127.0.0.1", running.port))
            client.sendall(hello)
            # The server has begun with its half of the handshake.
            assert client.recv(1)
            clients.append(client)
        most = resident_kib(worker)
        for client in clients:
            client.close()
        assert most - before > 30_000
        until(lambda: resident_kib(worker) - before < (most - before) / 3)


def resident_kib(pid: int) -> int:
    """The resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1])


# A master that has failed


def test_pid_file_of_a_newer_master_that_was_killed_is_removed(current: Path, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    with prod(current, "-w", "1", "--pid", str(pid_file)) as running:
        running.send(signal.SIGUSR2)
        running.wait("running on", 2)
        beside = Path(f"{pid_file}.2")
        newer = int(beside.read_text())
        os.kill(newer, signal.SIGKILL)
        running.wait(f"Master {newer} has ended; this one goes on")
        until(lambda: not beside.exists())
        assert int(pid_file.read_text()) == running.process.pid
