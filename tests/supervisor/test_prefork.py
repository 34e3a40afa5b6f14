"""``dev prod`` with real processes, real clients and real signals."""

from __future__ import annotations

import contextlib
import errno
import functools
import http.client
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from devserver.errors import UsageError
from devserver.server.durations import SAME_SIGNAL_S
from devserver.supervisor.control import ask
from tests.support.certificates import make_certificate, make_signed_certificate
from tests.support.ports import free_port
from tests.support.prod import Running, connect_times, load, prod
from tests.support.reload import CHECKOUT, PATIENCE_S, alive, until

COMMAND = (sys.executable, "-m", "devserver", "prod", "main:app")

APP = """
import asyncio, ctypes, os, pathlib, time

number = 1

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    path, body = scope["path"], str(number)
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": str(os.getpid())})
        while (await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": str(number)})
        return
    if path == "/pid":
        body = str(os.getpid())
    elif path == "/slow":
        await asyncio.sleep(0.5)
    elif path == "/slower":
        await asyncio.sleep(2)
    elif path == "/forever":
        await asyncio.sleep(600)
    elif path == "/blocks":
        time.sleep(600)
    elif path == "/blocks-in-c":
        mutex = ctypes.create_string_buffer(64)
        # Locked twice by the same thread, which holds the interpreter as well, and is not woken by a signal.
        ctypes.PyDLL(None).pthread_mutex_lock(mutex)
        ctypes.PyDLL(None).pthread_mutex_lock(mutex)
    elif path == "/blocks-in-c-alone":
        mutex = ctypes.create_string_buffer(64)
        ctypes.CDLL(None).pthread_mutex_lock(mutex)
        ctypes.CDLL(None).pthread_mutex_lock(mutex)
    elif path == "/stands-still-for-a-while":
        (log,) = pathlib.Path("..").glob("log-*")
        while "has stood still" not in log.read_text():
            pass
    elif path == "/dies":
        os._exit(7)
    elif path == "/fills":
        app.memory = bytearray(os.urandom(1) * (100 << 20))
    elif path.startswith("/events"):
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for event in range(6 if path == "/events" else 6000):
            await send({"type": "http.response.body", "body": b"data: %d\\n\\n" % event, "more_body": True})
            await asyncio.sleep(0.2)
        await send({"type": "http.response.body", "body": b"data: end\\n\\n"})
        return
    elif path == "/environment":
        body = os.environ.get("COLOUR", "")
    elif path == "/ids":
        body = f"{os.getuid()} {os.getgid()} {os.getgroups()}"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body.encode()})
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an app."""
    path = tmp_path / "project"
    path.mkdir()
    (path / "main.py").write_text(APP)
    (path / "pyproject.toml").write_text("")
    return path


def pids(running: Running, count: int, path: str = "/pid") -> set[int]:
    """The workers that answer, of so many requests."""
    return {int(running.get(path).body) for _ in range(count)}


def refused(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """What ``dev prod`` says when it ends by itself."""
    return subprocess.run(
        [*COMMAND, *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        check=False,
    )


# Start and end


def test_several_processes_serve_and_end_when_they_are_told_to(folder: Path) -> None:
    with prod(folder, "-w", "3") as running:
        workers = running.workers
        assert len(workers) == 3
        until(lambda: pids(running, 20) == set(workers))
        assert running.end() == 0
        assert not any(map(alive, workers))
        assert "Traceback" not in running.text


def test_number_of_workers_follows_the_processors(folder: Path) -> None:
    with prod(folder) as running:
        assert len(running.workers) == max(2, len(os.sched_getaffinity(0)))
    with prod(folder, environment={"WEB_CONCURRENCY": "1"}) as running:
        assert len(running.workers) == 1


def test_second_master_on_the_port_is_refused(folder: Path) -> None:
    with prod(folder, "-w", "2") as running:
        done = refused(folder, "--port", str(running.port))
        assert done.returncode == 2
        assert f"Port {running.port} is taken" in done.stderr
        assert f"PID {running.process.pid}" in done.stderr
        assert running.get().body == "1"


def test_app_that_does_not_load_ends_the_start(folder: Path) -> None:
    (folder / "main.py").write_text("import nowhere")
    with prod(folder, "-w", "2", ready=False) as running:
        assert running.process.wait(PATIENCE_S) == 3
        assert "No module named 'nowhere'" in running.text
        assert "No worker starts, so the master ends." in running.text


def test_app_that_fails_to_start_ends_the_start(folder: Path) -> None:
    source = 'async def app(scope, receive, send):\n    await receive()\n    raise OSError("no database")\n'
    (folder / "main.py").write_text(source)
    with prod(folder, "-w", "2", ready=False) as running:
        assert running.process.wait(PATIENCE_S) == 3
        assert "no database" in running.text


def test_app_that_takes_too_long_to_load_ends_the_start(folder: Path) -> None:
    (folder / "main.py").write_text("import time\ntime.sleep(600)")
    with prod(folder, "-w", "1", "--timeout-worker-startup", "0.5", ready=False) as running:
        assert running.process.wait(PATIENCE_S) == 3
        assert "did not start within 0.5 s and is killed" in running.text


def test_term_lets_requests_finish_and_closes_what_is_idle(folder: Path) -> None:
    with prod(folder, "-w", "2") as running:
        idle, busy = running.connect(), running.connect()
        idle.request("GET", "/")
        idle.getresponse().read()
        busy.request("GET", "/slow")
        time.sleep(0.1)
        running.send(signal.SIGTERM)
        assert idle.sock is not None
        assert idle.sock.recv(1) == b""
        response = busy.getresponse()
        assert response.getheader("connection") == "close"
        assert response.read() == b"1"
        assert running.process.wait(PATIENCE_S) == 0
        idle.close()
        busy.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_quick_end_does_not_wait_for_requests(folder: Path, number: int) -> None:
    with prod(folder, "-w", "2") as running:
        busy = running.connect()
        busy.request("GET", "/forever")
        time.sleep(0.1)
        assert running.end(number) == 0
        busy.close()


def test_second_signal_ends_workers_that_do_not(folder: Path) -> None:
    with prod(folder, "-w", "2") as running:
        busy = running.connect()
        busy.request("GET", "/blocks")
        time.sleep(0.2)
        running.send(signal.SIGTERM)
        running.send(signal.SIGINT)
        began = time.monotonic()
        # Before that it would be the same signal.
        until(lambda: time.monotonic() > began + SAME_SIGNAL_S + 0.1)
        assert running.process.poll() is None
        running.send(signal.SIGINT)
        assert running.process.wait(PATIENCE_S) == 0
        # Not by the end of the time that it gets after the first one.
        assert time.monotonic() - began < 10
        busy.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_stream_of_events_that_ends_is_whole_however_its_worker_ends(folder: Path, number: int) -> None:
    with prod(folder, "-w", "2") as running:
        with contextlib.closing(running.connect()) as client:
            client.request("GET", "/events")
            events = client.getresponse()
            assert events.readline() == b"data: 0\n"
            running.send(number)
            rest = events.read()
        assert rest.endswith(b"data: 5\n\ndata: end\n\n")
        assert running.end() == 0


def test_stream_of_events_without_end_is_cut_when_the_graceful_time_is_over(folder: Path) -> None:
    with prod(folder, "-w", "1", "--timeout-graceful-shutdown", "1") as running:
        with contextlib.closing(running.connect()) as client:
            client.request("GET", "/events-for-ever")
            events = client.getresponse()
            assert events.readline() == b"data: 0\n"
            running.send(signal.SIGTERM)
            with pytest.raises(http.client.IncompleteRead) as caught:
                events.read()
        # It went on for most of the time.
        assert caught.value.partial.count(b"data: ") >= 3
        assert running.process.wait(PATIENCE_S) == 0


def test_workers_end_when_the_master_is_killed(folder: Path) -> None:
    with prod(folder, "-w", "2", "--timeout-graceful-shutdown", "1") as running:
        workers = running.workers
        running.send(signal.SIGKILL)
        until(lambda: not any(map(alive, workers)))


# Replacing workers


def test_reload_brings_new_code_and_loses_nothing(folder: Path) -> None:
    with prod(folder, "-w", "2") as running:
        old = set(running.workers)
        with load(running) as clients:
            for number in range(2, 6):
                (folder / "main.py").write_text(APP.replace("number = 1", f"number = {number}"))
                running.send(signal.SIGHUP)
                until(functools.partial(clients.answers.__getitem__, str(number)))
                running.wait("is ready", 2 * number)
                clients.more()
        assert clients.failed == []
        assert set(clients.answers) == {"1", "2", "3", "4", "5"}
        until(lambda: len(running.workers) == 2)
        assert not old & set(running.workers)
        assert running.end() == 0


def test_new_code_that_does_not_start_leaves_the_old_workers(folder: Path) -> None:
    with prod(folder, "-w", "2") as running:
        workers = running.workers
        with load(running) as clients:
            (folder / "main.py").write_text("import nowhere")
            running.send(signal.SIGHUP)
            running.wait("The new code does not start; the workers stay as they are")
            assert "No module named 'nowhere'" in running.text
            clients.more()
            assert running.workers == workers
            (folder / "main.py").write_text(APP.replace("number = 1", "number = 2"))
            running.send(signal.SIGHUP)
            until(lambda: clients.answers["2"] > 0)
        assert clients.failed == []
        assert set(clients.answers) == {"1", "2"}


def test_reload_reads_settings_and_env_files_again(folder: Path) -> None:
    env = folder / "colours.env"
    env.write_text("COLOUR=red")
    settings = folder / "pyproject.toml"
    with prod(folder, "--env-file", "colours.env", "-w", "1") as running:
        assert running.get("/environment").body == "red"
        env.write_text("COLOUR=green")
        settings.write_text("[tool.devserver.prod]\nserver-header = 3")
        running.send(signal.SIGHUP)
        running.wait("Nothing is reloaded: .*server-header")
        assert running.get("/environment").body == "red"
        settings.write_text("[tool.devserver]\nheader = ['x-new: yes']\nhost = '127.0.0.2'")
        running.send(signal.SIGHUP)
        running.wait("Where the server listens cannot change while it runs; restart it for that.")
        until(lambda: running.get("/environment").body == "green")

        def is_new() -> bool:
            connection = running.connect()
            with contextlib.closing(connection):
                connection.request("GET", "/")
                return connection.getresponse().getheader("x-new") == "yes"

        # The worker before may still take a connection.
        until(is_new)


def test_idle_connection_of_a_replaced_worker_gets_one_more_answer(folder: Path) -> None:
    with prod(folder, "-w", "1") as running:
        connection = running.connect()
        connection.request("GET", "/pid")
        old = int(connection.getresponse().read())
        running.send(signal.SIGHUP)
        running.wait("is ready", 2)
        time.sleep(0.3)
        connection.request("GET", "/pid")
        response = connection.getresponse()
        assert int(response.read()) == old
        assert response.getheader("connection") == "close"
        connection.close()
        until(lambda: not alive(old))


def test_reload_during_a_reload_starts_it_again(folder: Path) -> None:
    with prod(folder, "-w", "2") as running, load(running) as clients:
        for number in range(2, 8):
            (folder / "main.py").write_text(APP.replace("number = 1", f"number = {number}"))
            running.send(signal.SIGHUP)
            time.sleep(0.03 * (number % 3))
        until(lambda: clients.answers["7"] > 0)
        until(lambda: len(running.workers) == 2)
        before = dict(clients.answers)
        clients.more(200)
        assert {body for body, count in clients.answers.items() if count > before.get(body, 0)} == {"7"}
        assert clients.failed == []


def test_worker_that_is_killed_is_made_again(folder: Path) -> None:
    with prod(folder, "-w", "2") as running:
        first, other = running.workers
        os.kill(first, signal.SIGKILL)
        running.wait("is ready", 3)
        assert len(running.workers) == 2
        assert other in running.workers
        assert rf"[{first}] died (signal 9)" in running.text
        assert running.get().body == "1"


def test_worker_that_is_told_to_end_is_replaced_first(folder: Path) -> None:
    with prod(folder, "-w", "2") as running, load(running) as clients:
        os.kill(running.workers[0], signal.SIGTERM)
        running.wait("is replaced after SIGTERM")
        running.wait("is ready", 3)
        clients.more()
        assert clients.failed == []


def test_worker_is_replaced_after_so_many_requests(folder: Path) -> None:
    with prod(folder, "-w", "2", "--limit-max-requests", "100") as running:
        with load(running) as clients:
            until(lambda: running.text.count("is replaced after 100 requests") >= 6)
        assert clients.failed == []
        assert running.end() == 0


def test_worker_is_replaced_when_its_life_is_over(folder: Path) -> None:
    with prod(folder, "-w", "2", "--worker-lifetime", "1") as running:
        with load(running) as clients:
            running.wait("is replaced after 1 s of life", 4)
        assert clients.failed == []


def test_worker_that_holds_too_much_memory_is_replaced(folder: Path) -> None:
    with prod(folder, "-w", "1", "--worker-max-rss", str(100 << 20)) as running:
        old = running.workers[0]
        running.get("/fills")
        running.wait(r"is replaced after [\d,]+ MiB of memory")
        until(lambda: running.workers != [old] and len(running.workers) == 1)


def test_workers_that_die_again_and_again_are_made_ever_later(folder: Path) -> None:
    with prod(folder, "-w", "1") as running:
        for count in range(1, 4):
            with pytest.raises(OSError):  # noqa: PT011 - reset or closed
                running.get("/dies")
            running.wait(r"died \(exit code 7\)", count)
            running.wait("is ready", count + 1)
        began = time.monotonic()
        with pytest.raises(OSError):  # noqa: PT011
            running.get("/dies")
        running.wait("is ready", 5)
        assert time.monotonic() - began > 1.0


# The number of workers


def test_workers_come_and_go_without_a_lost_request(folder: Path) -> None:
    with prod(folder, "-w", "2") as running:
        with load(running, count=6) as clients:
            for _ in range(2):
                running.send(signal.SIGTTIN)
                until(lambda: len(running.workers) == 3)
                clients.more()
                running.send(signal.SIGTTOU)
                until(lambda: len(running.workers) == 2)
                clients.more()
            for _ in range(3):
                running.send(signal.SIGTTOU)
            until(lambda: len(running.workers) == 1)
            clients.more()
        assert clients.failed == []
        assert running.end() == 0


def test_window_change_stops_workers_and_keeps_the_master(folder: Path) -> None:
    with prod(folder, "-w", "2") as running:
        running.send(signal.SIGWINCH)
        until(lambda: running.workers == [])
        assert running.process.poll() is None
        running.send(signal.SIGHUP)
        until(lambda: len(running.workers) == 2)
        assert running.get().body == "1"


# WebSockets


@contextlib.contextmanager
def websockets(running: Running, count: int) -> Iterator[list[ClientConnection]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(connect(f"ws://127.0.0.1:{running.port}/")) for _ in range(count)]


def close_code(socket: ClientConnection) -> int | None:
    """What the server closes with; None when it does not close properly."""
    with pytest.raises(ConnectionClosed) as closed:
        socket.recv(PATIENCE_S)
    return None if closed.value.rcvd is None else closed.value.rcvd.code


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGTTOU, signal.SIGUSR2])
def test_open_websocket_sees_1012_when_its_worker_goes(folder: Path, number: signal.Signals) -> None:
    with prod(folder, "-w", "2") as running, websockets(running, 16) as sockets:
        served = [int(each.recv(PATIENCE_S)) for each in sockets]
        assert {*served} == {*running.workers}
        running.send(number)
        if number == signal.SIGUSR2:
            running.wait("is ready", 4)
            running.send(signal.SIGTERM)
        if number == signal.SIGTTOU:
            until(lambda: sum(map(alive, {*served})) == 1)
        else:
            until(lambda: not any(map(alive, {*served})))
        codes = {close_code(each) for each, pid in zip(sockets, served, strict=True) if not alive(pid)}
        assert codes == {1012}


def test_closed_websocket_comes_back_to_a_new_worker(folder: Path) -> None:
    with prod(folder, "-w", "2") as running, load(running) as clients, websockets(running, 8) as sockets:
        served = {int(each.recv(PATIENCE_S)) for each in sockets}
        running.send(signal.SIGHUP)
        assert {close_code(each) for each in sockets} == {1012}
        until(lambda: not any(map(alive, served)))
        with websockets(running, 1) as (again,):
            assert int(again.recv(PATIENCE_S)) not in served
        clients.more()
        assert clients.failed == []


# A loop that stands still


@pytest.mark.serial
@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/blocks", r"It is stuck in GET /blocks"),
        ("/blocks-in-c", r"is stuck here:\n(.*\n)*.*main\.py"),
        ("/blocks-in-c-alone", r"is stuck in GET /blocks-in-c-alone(.*\n)*.*is stuck here:\n(.*\n)*.*main\.py"),
    ],
)
def test_worker_that_stands_still_is_replaced_and_says_why(folder: Path, path: str, told: str) -> None:
    with prod(folder, "-w", "2", "--timeout-worker", "1.5") as running:
        old = running.workers
        busy = running.connect()
        busy.request("GET", path)
        began = time.monotonic()
        running.wait("has stood still for")
        running.wait(told)
        running.wait("is ready", 3)
        assert time.monotonic() - began < 1.5 + 2 + 1
        until(lambda: len(running.workers) == 2)
        assert len(set(old) & set(running.workers)) == 1
        assert "main.py" in running.text
        busy.close()
        assert running.end() == 0


def test_worker_that_goes_on_after_all_finishes_what_it_has(folder: Path) -> None:
    with prod(folder, "-w", "2", "--timeout-worker", "1.5") as running:
        old = running.workers
        assert running.get("/stands-still-for-a-while").body == "1"
        running.wait("is ready", 3)
        until(lambda: len(running.workers) == 2)
        assert len(set(old) & set(running.workers)) == 1
        assert "is killed" not in running.text
        assert running.end() == 0


@pytest.mark.serial
def test_few_wait_for_one_that_stands_still(folder: Path) -> None:
    with prod(folder, "-w", "4", "--timeout-worker", "60") as running:
        busy = running.connect()
        busy.request("GET", "/blocks")
        # As long as the master may take to see it.
        time.sleep(3)
        taken = connect_times(running, 400, timeout_s=10)
        assert sum(each > 3 for each in taken) <= 4
        busy.close()


# Files, ids and names


def test_pid_file_names_the_master_while_it_lives(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "pid"
    path.write_text("999999999\n")
    with prod(folder, "-w", "1", "--pid", str(path)) as running:
        assert path.read_text() == f"{running.process.pid}\n"
        done = refused(folder, "--port", "0", "--pid", str(path))
        assert done.returncode == 2
        assert f"belongs to process {running.process.pid}, which is running" in done.stderr
        assert running.end() == 0
    assert not path.exists()


def test_log_files_are_opened_again(folder: Path, tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    with prod(folder, "-w", "2", "--access-log-file", str(log)) as running:
        running.get("/")
        until(lambda: log.exists() and "GET /" in log.read_text())
        log.rename(tmp_path / "old.log")
        running.send(signal.SIGUSR1)
        until(lambda: running.get("/pid").body and log.exists() and "GET /pid" in log.read_text())


def test_umask_counts_for_unix_sockets(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with prod(folder, "-w", "2", "--umask", "027", "--uds", str(path)) as running:
        done = subprocess.run(
            ["curl", "-s", "--unix-socket", str(path), "http://a/"], capture_output=True, text=True, check=True
        )
        assert done.stdout == "1"
        assert path.stat().st_mode & 0o777 == 0o640
        assert running.end() == 0
    assert not path.exists()


@pytest.mark.parametrize("options", [["-w", "1"], ["-w", "3"], ["-w", "2", "--preload"]], ids=" ".join)
def test_nobody_is_let_in_while_requests_finish(folder: Path, options: list[str]) -> None:
    with prod(folder, *options) as running, contextlib.closing(running.connect()) as busy:
        busy.request("GET", "/slower")
        time.sleep(0.1)
        running.send(signal.SIGTERM)

        def refused() -> bool:
            # One that comes while the last ones are let in may be cut.
            with contextlib.suppress(ConnectionResetError), socket.socket() as sock:
                return sock.connect_ex(("127.0.0.1", running.port)) == errno.ECONNREFUSED
            return False

        until(refused)
        assert busy.sock is not None
        assert select.select([busy.sock], [], [], 0)[0] == []
        response = busy.getresponse()
        assert (response.status, response.read()) == (200, b"1")
        assert running.process.wait(PATIENCE_S) == 0


def test_processes_are_called_as_asked(folder: Path) -> None:
    with prod(folder, "-w", "1", "--process-name", "shop") as running:
        names = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in (running.process.pid, running.workers[0])]
        assert [name.split(b"\0")[0] for name in names] == [b"shop: master", b"shop: worker"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give its rights up")
def test_workers_run_as_another_user(folder: Path, tmp_path: Path) -> None:
    for path in (tmp_path, *tmp_path.parents[:3]):
        path.chmod(0o755)
    with prod(folder, "-w", "1", "--user", "nobody", "--group", "nogroup") as running:
        assert running.get("/ids").body == "65534 65534 [65534]"
        assert Path(f"/proc/{running.process.pid}").stat().st_uid == 0


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--user", "nobody-of-that-name"], "--user: there is no user 'nobody-of-that-name' on this machine."),
        (["--group", "none-of-that-name"], "--group: there is no group 'none-of-that-name' on this machine."),
        (["--pid", "/nowhere/pid"], "--pid: cannot write /nowhere/pid (No such file or directory)."),
        (["--workers", "5000"], "--workers: 5000 is not between 0 and 512."),
        (["--metrics", "a:b:c:"], '--metrics: "a:b:c:" names no port.'),
        (["--statsd", "unix:/x"], '--statsd: "unix:/x" is not HOST or HOST:PORT.'),
        (["--health-path", "health"], "health_path: 'health' does not begin with a slash."),
    ],
)
def test_mistake_is_told_in_a_sentence(folder: Path, options: list[str], sentence: str) -> None:
    done = refused(folder, "--port", "0", *options)
    assert done.returncode == 2
    assert f"error: {sentence}" in done.stderr
    assert "Traceback" not in done.stderr


# Importing once


def test_app_is_imported_once_for_all_workers(folder: Path) -> None:
    source = APP.replace("number = 1", "number = os.getpid()")
    (folder / "main.py").write_text(source)
    with prod(folder, "-w", "3", "--preload") as running:
        (mold,) = running.workers
        assert {running.get().body for _ in range(20)} == {str(mold)}
        workers = pids(running, 40)
        assert len(workers) == 3
        with load(running) as clients:
            running.send(signal.SIGHUP)
            running.wait("is ready", 6)
            clients.more()
        assert clients.failed == []
        # Dead and buried.
        until(lambda: mold not in running.workers)
        (new,) = running.workers
        assert {running.get().body for _ in range(20)} == {str(new)}
        assert not workers & pids(running, 40)
        assert running.end() == 0
        assert not alive(new)


def test_imported_once_new_code_that_does_not_start_changes_nothing(folder: Path) -> None:
    with prod(folder, "-w", "2", "--preload") as running, load(running) as clients:
        (mold,) = running.workers
        (folder / "main.py").write_text("import nowhere")
        running.send(signal.SIGHUP)
        running.wait("The new code does not start")
        assert "No module named 'nowhere'" in running.text
        until(lambda: running.workers == [mold])
        # What has been imported before still makes workers.
        os.kill(int(running.get("/pid").body), signal.SIGTERM)
        running.wait("is ready", 3)
        (folder / "main.py").write_text(APP.replace("number = 1", "number = 2"))
        running.send(signal.SIGHUP)
        until(lambda: clients.answers["2"] > 0)
        assert clients.failed == []


def test_imported_once_app_that_does_not_load_ends_the_start(folder: Path) -> None:
    (folder / "main.py").write_text("import nowhere")
    with prod(folder, "-w", "2", "--preload", ready=False) as running:
        assert running.process.wait(PATIENCE_S) == 3
        assert running.text.count("No module named 'nowhere'") == 1


def test_app_that_starts_a_thread_is_imported_by_each_worker(folder: Path) -> None:
    thread = (
        "import threading, time\nthreading.Thread(target=time.sleep, args=(600,), name='mine', daemon=True).start()\n"
    )
    (folder / "main.py").write_text(thread + APP)
    with prod(folder, "-w", "2", "--preload") as running:
        running.wait(r"--preload has no effect: main starts a thread while it is imported \(mine\)")
        until(lambda: len(pids(running, 20)) == 2)
        assert running.end() == 0


def test_workers_outlive_the_process_that_they_were_forked_from(folder: Path) -> None:
    with prod(folder, "-w", "2", "--preload") as running, load(running) as clients:
        (mold,) = running.workers
        workers = pids(running, 20)
        os.kill(mold, signal.SIGKILL)
        until(lambda: set(running.workers) == workers)
        clients.more()
        os.kill(min(workers), signal.SIGTERM)
        running.wait("is ready", 3)
        clients.more()
        assert clients.failed == []
        assert running.end() == 0


def test_import_that_hangs_ends_the_start(folder: Path) -> None:
    (folder / "main.py").write_text("import time\ntime.sleep(600)")
    with prod(folder, "-w", "2", "--preload", "--timeout-worker-startup", "0.5", ready=False) as running:
        assert running.process.wait(PATIENCE_S) == 3
        assert running.workers_left() == []


# A new master


def test_new_master_takes_over_without_a_lost_request(folder: Path, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    with prod(folder, "-w", "2", "--pid", str(pid_file)) as running:
        with load(running) as clients:
            (folder / "main.py").write_text(APP.replace("number = 1", "number = 2"))
            running.send(signal.SIGUSR2)
            until(lambda: clients.answers["2"] > 0)
            running.wait("running on", 2)
            newer = int(Path(f"{pid_file}.2").read_text())
            assert int(pid_file.read_text()) == running.process.pid
            running.send(signal.SIGTERM)
            assert running.process.wait(PATIENCE_S) == 0
            until(lambda: pid_file.exists() and int(pid_file.read_text()) == newer)
            running.wait(f"Master {newer} goes on alone")
            before = clients.answers["1"]
            clients.more(200)
            assert clients.answers["1"] == before
        assert clients.failed == []
        os.kill(newer, signal.SIGTERM)
        until(lambda: not alive(newer))
        assert not pid_file.exists()


def test_new_master_is_taken_back(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with prod(folder, "-w", "2", "--bind", f"unix:{path}", "--bind", "127.0.0.1:0", ready=False) as running:
        running.wait("running on", 2)
        running.port = int(re.findall(r"http://127.0.0.1:(\d+)", running.text)[0])
        with load(running) as clients:
            running.send(signal.SIGUSR2)
            running.wait("running on", 4)
            newer = int(re.findall(r"Master (\d+) has been started", running.text)[0])
            running.send(signal.SIGUSR2)
            running.wait("There are two masters already")
            os.kill(newer, signal.SIGTERM)
            running.wait(f"Master {newer} has ended; this one goes on")
            clients.more(200)
        assert clients.failed == []
        assert path.exists()
        assert running.end() == 0
        assert not path.exists()


def test_new_master_serves_on_a_socket_that_was_given(folder: Path) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        number = sock.fileno()
        with prod(folder, "-w", "2", "--fd", str(number), pass_fds=(number,)) as running:
            running.port = sock.getsockname()[1]
            with load(running) as clients:
                running.send(signal.SIGUSR2)
                running.wait("running on", 2)
                running.send(signal.SIGTERM)
                assert running.process.wait(PATIENCE_S) == 0
                clients.more(200)
            assert clients.failed == []
            newer = int(re.findall(r"Master (\d+) has been started", running.text)[0])
            os.kill(newer, signal.SIGTERM)
            until(lambda: not alive(newer))


def test_new_master_that_does_not_start_changes_nothing(folder: Path) -> None:
    with prod(folder, "-w", "2") as running, load(running) as clients:
        (folder / "main.py").write_text("import nowhere")
        running.send(signal.SIGUSR2)
        running.wait("has ended; this one goes on")
        clients.more(200)
        assert clients.failed == []
        assert set(clients.answers) == {"1"}


# Hooks

HOOKS = """
import os

def note(name, *rest):
    with open("hooks", "a") as file:
        print(name, os.getpid(), *rest, file=file)

def on_starting(server): note("on_starting", server.pid, server.num_workers)
def when_ready(server): note("when_ready")
def on_reload(server): note("on_reload")
def pre_fork(server, worker): note("pre_fork", worker.age)
def post_fork(server, worker): note("post_fork", worker.age, worker.pid)
def post_worker_init(worker): note("post_worker_init", worker.age)
def worker_exit(server, worker): note("worker_exit", worker.age)
def child_exit(server, worker): note("child_exit", worker.age, worker.pid)
def nworkers_changed(server, new, old): note("nworkers_changed", new, old); 1 / 0
def on_exit(server): note("on_exit")
workers = 1
"""


@pytest.mark.parametrize("preload", ["--preload", "--no-preload"])
def test_hooks_are_called_where_they_belong(folder: Path, preload: str) -> None:
    (folder / "conf.py").write_text(HOOKS)
    with prod(folder, "-c", "conf.py", preload) as running:
        master = str(running.process.pid)
        running.send(signal.SIGHUP)
        running.wait("is ready", 2)
        running.send(signal.SIGTTIN)
        running.wait("is ready", 3)
        assert running.end() == 0
        assert "The hook nworkers_changed raised ZeroDivisionError" in running.text
    called = [line.split() for line in (folder / "hooks").read_text().splitlines()]
    assert called[0] == ["nworkers_changed", master, "1", "None"]
    assert called[1] == ["on_starting", master, master, "1"]
    assert called[-1] == ["on_exit", master]
    names = [name for name, *_ in called]
    assert names.count("post_fork") == names.count("worker_exit") == names.count("child_exit") == 3
    for name, pid, *rest in called:
        if name in {"post_fork", "post_worker_init", "worker_exit"}:
            assert pid != master
        else:
            assert pid == master
        if name == "post_fork":
            assert rest[1] == pid
    assert [rest for name, _, *rest in called if name == "nworkers_changed"] == [["1", "None"], ["2", "1"]]
    assert names.count("when_ready") == names.count("on_reload") == 1


GUNICORN_HOOKS = """
import json, os

workers = "1"
timeout = "40"
raw_env = ["SHOP=1"]

def note(hook, *facts):
    with open("hooks", "a") as file:
        print(json.dumps([hook, *facts]), file=file)

def nworkers_changed(server, new, old):
    server.wanted = new

def on_starting(server):
    server.numbers = set(range(10))
    note("on_starting", server.wanted, server.address, [str(each) for each in server.LISTENERS])

def pre_fork(server, worker):
    # Numbers of its own for each worker, as many files for gunicorn give them.
    worker.seen = object()
    worker.number = min(server.numbers - {each.number for each in server.WORKERS.values() if each.alive})

def post_fork(server, worker):
    os.environ["NUMBER"] = str(getattr(worker, "number", None))
    note("post_fork", os.environ["NUMBER"], server.pid, worker.ppid, worker.pid, server.num_workers)
    worker.log.info("forked by %d", server.pid)

def when_ready(server):
    cfg = server.cfg
    note("when_ready", sorted(server.WORKERS), cfg.bind, cfg.workers, cfg.timeout, cfg.env, cfg.limit_queue)

def child_exit(server, worker):
    note("child_exit", worker.number, worker.pid, worker.pid in server.WORKERS)
"""


@pytest.mark.parametrize("preload", ["--preload", "--no-preload"])
def test_hooks_see_what_gunicorn_shows_them(folder: Path, preload: str) -> None:
    (folder / "gunicorn.conf.py").write_text(GUNICORN_HOOKS)
    with prod(folder, "-c", "gunicorn.conf.py", preload) as running:
        running.send(signal.SIGHUP)
        running.wait("is ready", 2)
        running.wait(f"forked by {running.process.pid}", 2)
        assert running.end() == 0
        master, port = running.process.pid, running.port
    called = [json.loads(line) for line in (folder / "hooks").read_text().splitlines()]
    facts = {name: [rest for each, *rest in called if each == name] for name, *_ in called}
    assert facts["on_starting"] == [[1, [["127.0.0.1", port]], [f"http://127.0.0.1:{port}"]]]
    assert [number for number, *_ in facts["post_fork"]] == ["0", "1"]
    pids = [pid for _, server, ppid, pid, count in facts["post_fork"] if server == ppid == master and count == 1]
    assert len(pids) == 2
    assert facts["when_ready"] == [
        [[pids[0]], [f"127.0.0.1:{port}"], 1, 40, {"SHOP": "1"}, 0],
    ]
    assert sorted(facts["child_exit"]) == [[0, pids[0], False], [1, pids[1], False]]


def test_hook_that_fails_at_the_start_ends_it(folder: Path) -> None:
    (folder / "conf.py").write_text("def on_starting(server): raise OSError('no licence')")
    with prod(folder, "-c", "conf.py", ready=False) as running:
        assert running.process.wait(PATIENCE_S) == 2
        assert "error: The hook on_starting raised OSError: no licence" in running.text


# dev ctl


def ctl(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Runs it."""
    return subprocess.run(
        [sys.executable, "-m", "devserver", "ctl", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_master_is_asked_and_told(folder: Path) -> None:
    (folder / "pyproject.toml").write_text("[tool.devserver.prod]\ncontrol = 'control'\n")
    with prod(folder, "-w", "2") as running:
        assert (folder / "control").stat().st_mode & 0o777 == 0o600
        until(lambda: json.loads(ctl(folder, "status", "--json").stdout)["ready"] == 2)
        shown = ctl(folder, "status").stdout
        assert f"master    {running.process.pid}, up " in shown
        assert "workers   2 of 2 ready, generation 1" in shown
        running.get("/")
        lines = ctl(folder, "workers").stdout.splitlines()
        assert lines[0].split()[:3] == ["slot", "pid", "state"]
        assert {int(line.split()[1]) for line in lines[1:]} == set(running.workers)
        assert ctl(folder, "scale", "3").stdout == "3 workers from now on.\n"
        running.wait("is ready", 3)
        assert ctl(folder, "reload").stdout == "The workers are replaced one by one.\n"
        running.wait("is ready", 6)
        for words, sentence in (
            (["scale"], "dev ctl scale needs a number of workers."),
            (["scale", "0"], "The number of workers is between 1 and 512."),
            (["status", "3"], "dev ctl status takes no number."),
            (["dance"], "There is nothing called 'dance' to do."),
            (["status", "--control", "nowhere"], "No master listens on nowhere."),
        ):
            done = ctl(folder, *words)
            assert done.returncode == 2
            assert done.stderr.startswith(f"error: {sentence}")
        with pytest.raises(UsageError, match="The number of workers is between 1 and 512"):
            ask(str(folder / "control"), {"do": "scale", "number": True})
        assert ctl(folder, "scale", "1").stdout == "1 worker from now on.\n"
        assert ctl(folder, "stop").stdout == "The master stops.\n"
        assert running.process.wait(PATIENCE_S) == 0
        assert not (folder / "control").exists()
        assert ctl(folder, "status").returncode == 2


def test_socket_of_a_dead_master_is_replaced_and_that_of_a_live_one_is_not(folder: Path) -> None:
    with prod(folder, "-w", "1", "--control", "control") as running:
        done = refused(folder, "--port", "0", "--control", "control")
        assert done.returncode == 2
        assert "--control: another master listens on" in done.stderr
        running.send(signal.SIGKILL)
        running.process.wait()
    with prod(folder, "-w", "1", "--control", "control"):
        assert json.loads(ctl(folder, "status", "--control", "control", "--json").stdout)["wanted"] == 1


def test_nonsense_on_the_control_socket_does_no_harm(folder: Path) -> None:
    with prod(folder, "-w", "1", "--control", "control") as running, contextlib.ExitStack() as stack:
        for data in (b"", b"{", b"[]\n", b'{"do": 3}\n', b"x" * 10_000, b'{"do": "scale", "number": "7"}\n'):
            sock = stack.enter_context(socket.socket(socket.AF_UNIX))
            sock.settimeout(PATIENCE_S)
            sock.connect(str(folder / "control"))
            sock.sendall(data)
            if data.endswith(b"\n"):
                assert b'"error"' in sock.recv(1000)
        assert json.loads(ctl(folder, "status", "--control", "control", "--json").stdout)["wanted"] == 1
        assert running.get().body == "1"


def test_workers_are_drawn_until_ctrl_c(folder: Path) -> None:
    with prod(folder, "-w", "1", "--control", "control") as running:
        ours, theirs = os.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "devserver", "ctl", "top", "--control", "control"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT), "TERM": "xterm", "COLUMNS": "120", "LINES": "30"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        shown = b""
        while str(running.workers[0]).encode() not in shown or b"in flight" not in shown:
            shown += os.read(ours, 65536)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 0
        os.close(ours)


# Figures


def figures(port: int) -> dict[str, float]:
    """What Prometheus would read."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    with contextlib.closing(connection):
        connection.request("GET", "/metrics")
        response = connection.getresponse()
        assert response.getheader("content-type") == "text/plain; version=0.0.4; charset=utf-8"
        lines = response.read().decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


def test_figures_are_shown_and_never_fall(folder: Path) -> None:
    port = free_port()
    with prod(folder, "-w", "2", "--metrics", str(port)) as running:
        until(lambda: figures(port)["devserver_workers"] == 2)
        for _ in range(10):
            running.get("/")
        running.get("/slow")
        until(lambda: figures(port)['devserver_requests_total{status="2xx"}'] == 11)
        shown = figures(port)
        assert shown["devserver_started_requests_total"] == 11
        assert shown["devserver_request_duration_seconds_count"] == 11
        assert shown['devserver_request_duration_seconds_bucket{le="0.25"}'] == 10
        assert shown["devserver_response_body_bytes_total"] == 11
        assert shown['devserver_worker_restarts_total{reason="died"}'] == 0
        memory = [value for name, value in shown.items() if "resident" in name]
        assert len(memory) == 2
        assert min(memory) > 10 << 20
        os.kill(pids(running, 1).pop(), signal.SIGKILL)
        running.wait("is ready", 3)
        # What the killed one had counted last is a second old at most; nothing is less than it was shown.
        until(lambda: figures(port)['devserver_worker_restarts_total{reason="died"}'] == 1)
        assert figures(port)['devserver_requests_total{status="2xx"}'] >= 11
        running.send(signal.SIGHUP)
        running.wait("is ready", 5)
        until(lambda: figures(port)['devserver_worker_restarts_total{reason="reload"}'] == 2)
        assert figures(port)['devserver_requests_total{status="2xx"}'] >= 11
        assert running.end() == 0


def test_process_that_shows_figures_is_started_again(folder: Path) -> None:
    port = free_port()
    with prod(folder, "-w", "1", "--metrics", f":{port}") as running:
        until(lambda: figures(port)["devserver_workers"] == 1)
        (shower,) = set(running.workers) - pids(running, 5)
        os.kill(shower, signal.SIGKILL)
        running.wait("it is started again")
        until(lambda: figures(port)["devserver_workers"] == 1)
        # A new master shows them as well.
        running.send(signal.SIGUSR2)
        running.wait("running on", 2)
        running.send(signal.SIGTERM)
        assert running.process.wait(PATIENCE_S) == 0
        until(lambda: figures(port)["devserver_workers"] == 1)
        newer = int(re.findall(r"Master (\d+) has been started", running.text)[0])
        os.kill(newer, signal.SIGTERM)
        until(lambda: not alive(newer))


def test_statsd_is_sent_what_happens(folder: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(PATIENCE_S)
        with prod(folder, "-w", "2", "--statsd", f"127.0.0.1:{sock.getsockname()[1]}") as running:
            for _ in range(5):
                running.get("/")
            heard: dict[str, float] = {}
            while heard.get("devserver.requests", 0) < 5 or heard.get("devserver.workers") != 2:
                for line in sock.recv(65536).decode().splitlines():
                    name, value, kind = re.fullmatch(r"([a-z0-9_.]+):([0-9.]+)\|(c|g|ms)", line).groups()  # type: ignore[union-attr]
                    heard[name] = float(value) + (heard.get(name, 0) if kind == "c" else 0)
            assert heard["devserver.request.status.2xx"] == 5


# TLS


def test_certificate_is_renewed_without_a_restart(folder: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for each in (first, second):
        each.mkdir()
        make_certificate(each)
    files = [folder / "cert.pem", folder / "key.pem"]
    for path in files:
        path.write_bytes((first / path.name).read_bytes())

    def serial(running: Running) -> str:
        shown = subprocess.run(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{running.port}"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        ).stdout
        return shown.partition("-----BEGIN CERTIFICATE-----")[2].partition("-----END")[0].strip()

    def kept(place: Path) -> str:
        return (place / "cert.pem").read_text().partition("-----\n")[2].partition("-----END")[0].strip()

    with prod(folder, "-w", "2", "--ssl-certfile", "cert.pem", "--ssl-keyfile", "key.pem") as running:
        assert serial(running) == kept(first)
        files[0].write_bytes((second / "cert.pem").read_bytes())
        running.wait("The new certificate is not used: .*does not belong to")
        assert serial(running) == kept(first)
        files[1].write_bytes((second / "key.pem").read_bytes())
        running.wait("The certificate has changed")
        running.wait("is ready", 4)
        assert serial(running) == kept(second)
        assert running.end() == 0


def test_session_is_resumed_by_another_worker(folder: Path, tmp_path: Path) -> None:
    make_certificate(folder)
    session = tmp_path / "session"
    with prod(folder, "-w", "4", "--ssl-certfile", "cert.pem", "--ssl-keyfile", "key.pem") as running:

        def connect(*options: str) -> str:
            return subprocess.run(
                ["openssl", "s_client", "-tls1_2", "-connect", f"127.0.0.1:{running.port}", *options],
                input="",
                capture_output=True,
                text=True,
                check=False,
            ).stdout

        connect("-sess_out", str(session))
        assert all("Reused, TLSv1.2" in connect("-sess_in", str(session)) for _ in range(12))


OPENSSL_CONF = """
openssl_conf = openssl_init

[openssl_init]
ssl_conf = ssl_module

[ssl_module]
system_default = tls

[tls]
Groups = X25519:P-256:P-384
"""


def test_documented_recipe_is_what_mozilla_calls_intermediate(folder: Path) -> None:
    make_signed_certificate(folder)
    (folder / "openssl.cnf").write_text(OPENSSL_CONF)
    tls = ("--ssl-certfile", "cert.pem", "--ssl-keyfile", "key.pem")
    with prod(folder, "-w", "1", *tls, environment={"OPENSSL_CONF": str(folder / "openssl.cnf")}) as running:
        done = subprocess.run(
            [
                *(Path(sys.executable).with_name("sslyze"), "--mozilla_config=intermediate", "--certinfo"),
                *("--certinfo_ca_file", folder / "ca.pem", f"localhost:{running.port}"),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert "OK - Compliant." in done.stdout, done.stdout[-3000:]
    recipe = (CHECKOUT / "docs" / "production.md").read_text()
    assert all(line in recipe for line in OPENSSL_CONF.splitlines())


def test_clients_without_a_certificate_are_refused_when_one_is_asked_for(folder: Path) -> None:
    make_signed_certificate(folder)
    tls = ("--ssl-certfile", "cert.pem", "--ssl-keyfile", "key.pem", "--ssl-ca-certs", "ca.pem", "--ssl-cert-reqs", "2")
    with prod(folder, "-w", "2", *tls) as running:

        def ask(*options: str) -> subprocess.CompletedProcess[str]:
            command = ["curl", "-s", "--cacert", "ca.pem", "--resolve", f"localhost:{running.port}:127.0.0.1"]
            address = f"https://localhost:{running.port}/"
            return subprocess.run(
                [*command, *options, address], cwd=folder, capture_output=True, text=True, check=False
            )

        assert ask("--cert", "cert.pem", "--key", "key.pem").stdout == "1"
        refused = ask()
        assert refused.returncode != 0
        assert refused.stdout == ""
        assert running.end() == 0


# Whoever looks after the service


def told(sock: socket.socket) -> list[str]:
    """What systemd has been told by now."""
    found = []
    sock.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            found += sock.recv(4096).decode().splitlines()
    return found


def test_systemd_is_told_what_happens(folder: Path, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "1000000"}
        with prod(folder, "-w", "2", environment=environment) as running:
            heard = told(sock)
            assert heard[heard.index("READY=1") + 1] == "STATUS=2 workers"
            until(lambda: heard.extend(told(sock)) or heard.count("WATCHDOG=1") >= 3)  # type: ignore[func-returns-value]
            running.send(signal.SIGHUP)
            until(lambda: heard.extend(told(sock)) or heard.count("READY=1") == 2)  # type: ignore[func-returns-value]
            assert [line.partition("=")[0] for line in heard if "RELOAD" in line or "MONO" in line] == [
                "RELOADING",
                "MONOTONIC_USEC",
            ]
            assert running.end() == 0
            heard += told(sock)
            assert "STOPPING=1" in heard
            assert any(line.startswith("EXTEND_TIMEOUT_USEC=") for line in heard)


def test_systemd_hears_nothing_while_no_worker_lives(folder: Path, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "500000"}
        with prod(folder, "-w", "1", "--timeout-worker", "0", environment=environment) as running:
            busy = running.connect()
            busy.request("GET", "/blocks")
            time.sleep(3.5)
            told(sock)
            time.sleep(1.5)
            assert told(sock) == []
            busy.close()


def test_variables_about_the_master_are_hidden_from_the_app(folder: Path, tmp_path: Path) -> None:
    (folder / "main.py").write_text(APP.replace('os.environ.get("COLOUR", "")', "' '.join(sorted(os.environ))"))
    environment = {"NOTIFY_SOCKET": str(tmp_path / "none"), "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1"}
    with prod(folder, "-w", "1", environment=environment) as running:
        names = running.get("/environment").body.split()
        assert "PATH" in names
        assert not {*environment, "LISTEN_FDS", "LISTEN_PID"} & {*names}


def test_sockets_of_systemd_are_served(folder: Path, tmp_path: Path) -> None:
    port = free_port()
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            ["systemd-socket-activate", "-l", f"127.0.0.1:{port}", "--", *COMMAND, "-w", "2"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
            stdout=log,
            stderr=log,
        )
    try:

        def asks() -> bool:
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as sock,
            ):
                sock.sendall(b"GET /pid HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                return b"200 OK" in sock.recv(1000)
            return False

        until(asks)
        process.terminate()
        assert process.wait(PATIENCE_S) == 0
    finally:
        process.kill()
        process.wait()


def test_health_is_answered_without_the_app(folder: Path) -> None:
    with prod(folder, "-w", "1", "--health-path", "/health", "--shutdown-delay", "1") as running:
        assert running.get("/health/live").body == "ok\n"
        assert running.get("/health/ready").status == 200
        assert running.get("/health").body == "1"
        connection = running.connect()
        connection.request("POST", "/health/live")
        assert connection.getresponse().status == 405
        connection.close()
        running.send(signal.SIGTERM)
        until(lambda: running.get("/health/ready").status == 503)
        assert running.get("/health/live").status == 200
        # It serves on for a second.
        assert running.get("/").body == "1"
        began = time.monotonic()
        assert running.process.wait(PATIENCE_S) == 0
        assert 0.3 < time.monotonic() - began < 10


def test_second_term_cuts_the_delay_short(folder: Path) -> None:
    with prod(folder, "-w", "1", "--shutdown-delay", "600") as running:
        running.send(signal.SIGTERM)
        running.wait("Requests are served for 600 s more")
        began = time.monotonic()
        # Before that it would be the same signal.
        until(lambda: time.monotonic() > began + SAME_SIGNAL_S)
        assert running.end() == 0


def test_orphans_in_a_container_are_buried(folder: Path) -> None:
    # As process 1 of a namespace of its own.
    with contextlib.ExitStack() as stack:
        port = free_port()
        log = stack.enter_context((folder.parent / "log").open("wb"))
        process = subprocess.Popen(
            ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", *COMMAND, "-w", "1", "--port", str(port)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
            stdout=log,
            stderr=log,
        )
        stack.callback(process.wait)
        stack.callback(process.kill)
        (folder / "main.py").write_text(
            APP.replace(
                'body = os.environ.get("COLOUR", "")',
                "subprocess.Popen(['sh', '-c', 'sleep 0.05 & exit']).wait(); time.sleep(0.3); body = subprocess.run("
                "['ps', '--no-headers', '-eo', 'stat'], capture_output=True, text=True).stdout",
            ).replace("import asyncio", "import asyncio, subprocess")
        )
        running = Running(process, port, folder.parent / "log", folder)
        running.wait("running on")
        assert "Z" not in running.get("/environment").body
        assert running.get("/pid").body != "1"


# Several workers without dev prod


def test_dev_run_with_workers_serves_with_them_and_does_not_reload(folder: Path) -> None:
    with prod(folder, "--workers", "2", command="run") as running:
        assert "Several workers do not reload: files are not watched." in running.text
        until(lambda: len(pids(running, 20)) == 2)
        running.send(signal.SIGHUP)
        running.wait("is ready", 4)
        assert running.end() == 0


def test_variable_for_production_leaves_dev_run_alone(folder: Path) -> None:
    with prod(folder, command="run", environment={"WEB_CONCURRENCY": "3"}, ready=False) as running:
        running.wait(r"Local +http")
        assert "workers" not in running.text


@pytest.mark.parametrize("how", ["workers=2", "workers=None"])
def test_program_runs_workers(folder: Path, how: str) -> None:
    port = free_port()
    script = f"import devserver\nif __name__ == '__main__':\n    devserver.run('main:app', port={port}, {how})\n"
    (folder / "program.py").write_text(script)
    log = folder.parent / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "program.py"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT), "WEB_CONCURRENCY": "2"},
            stdout=file,
            stderr=file,
        )
    running = Running(process, port, log, folder)
    try:
        running.wait("running on")
        until(lambda: len(pids(running, 20)) == 2)
        assert running.end() == 0
    finally:
        process.kill()
        process.wait()


def test_program_whose_app_has_no_name_is_told_so(folder: Path) -> None:
    script = "import devserver\nfrom main import app\ndevserver.run([app][0].__call__, workers=2)\n"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert "an app that can be imported again" in done.stderr


@pytest.mark.slow
def test_two_hundred_changes_of_number_reset_nothing(folder: Path) -> None:
    with prod(folder, "-w", "2", "--no-access-log") as running:
        with load(running, count=6) as clients:
            for _ in range(200):
                running.send(signal.SIGTTIN)
                time.sleep(0.05)
                running.send(signal.SIGTTOU)
                time.sleep(0.05)
            clients.more(500)
            until(lambda: len(running.workers) == 2)
        assert clients.failed == []
        assert running.end() == 0
