"""What the processes of ``dev prod`` and ``dev run`` inherit, and how they end. Real processes and real signals."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from devserver.config import Config
from devserver.supervisor.post import IGNORED
from devserver.supervisor.prefork_worker import PoolServer
from tests.support.certificates import make_certificate
from tests.support.ports import free_port
from tests.support.prod import Running, load, prod
from tests.support.reload import CHECKOUT, PATIENCE_S, alive, until
from tests.support.server import hello

if TYPE_CHECKING:
    from collections.abc import Iterator

APP = """
import asyncio, os
{before}

number = 1

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({{"type": "lifespan.startup.complete"}})
        await receive()
        print("app is down", flush=True)
        await send({{"type": "lifespan.shutdown.complete"}})
        return
    body, path = str(number), scope["path"]
    if path == "/pid":
        body = str(os.getpid())
    elif path == "/slow":
        print("slow begins", flush=True)
        await asyncio.sleep(1.5)
    elif path == "/forever":
        await asyncio.sleep(600)
    elif path == "/do":
        {do}
    headers = [(b"content-length", b"%d" % len(body))]
    await send({{"type": "http.response.start", "status": 200, "headers": headers}})
    await send({{"type": "http.response.body", "body": body.encode()}})
"""

ONCE = pytest.mark.parametrize("options", [("--no-preload",), ("--preload",)], ids=["each", "preload"])


def write(folder: Path, *, before: str = "", do: str = "pass") -> None:
    """Writes an app."""
    (folder / "main.py").write_text(APP.format(before=before, do=do))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an app."""
    path = tmp_path / "project"
    path.mkdir()
    write(path)
    (path / "pyproject.toml").write_text("")
    return path


def held(pid: int, kind: str) -> set[str]:
    """The sockets or pipes that a process has open, by inode."""
    found = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            name = str(entry.readlink())
            if name.startswith(f"{kind}:"):
                found.add(name.removeprefix(f"{kind}:"))
    return found


def listening(port: int, state: str = "0A") -> set[str]:
    """The inodes of the sockets that listen on a port; of its connections with the state ``01``."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {f"[{line[9]}]" for line in lines if line[3] == state and line[1].endswith(f":{port:04X}")}


def children(pid: int) -> list[int]:
    """The children of a process."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def workers(running: Running, count: int) -> list[int]:
    """The pids of so many workers, as they tell them."""
    found: set[int] = set()

    def ask() -> bool:
        found.add(int(running.get("/pid").body))
        return len(found) == count

    until(ask)
    return [*found]


def is_free(port: int) -> bool:
    """Whether somebody could listen on a port."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def gone(running: Running) -> None:
    """Returns when no process is left, and the port is free."""
    try:
        until(lambda: not running.workers_left())
    except AssertionError:
        left = [Path(f"/proc/{pid}/cmdline").read_text() for pid in running.workers_left()]
        raise AssertionError(f"{left} are left; the log is:\n{running.text[-4000:]}") from None
    until(lambda: is_free(running.port))


# What a process holds


@ONCE
def test_process_holds_nothing_of_another_one(folder: Path, options: tuple[str, ...]) -> None:
    metrics = free_port()
    with prod(folder, "-w", "3", "--metrics", str(metrics), "--control", "control", *options) as running:
        master, serving = running.process.pid, workers(running, 3)
        until(lambda: all(len(held(pid, "socket") & listening(running.port)) == 1 for pid in serving))
        others = {*children(master)} - {*serving}
        # The monitor, and with --preload the mold.
        assert len(others) == (2 if "--preload" in options else 1)
        shown = listening(metrics)
        assert len(shown) == 1
        ends = [held(pid, "socket") - listening(running.port) - shown for pid in (master, *serving, *others)]
        for index, first in enumerate(ends):
            for second in ends[index + 1 :]:
                assert not first & second
        taken = [held(pid, "socket") & listening(running.port) for pid in serving]
        assert len(set.union(*taken)) == 3
        assert sorted(len(held(pid, "socket") & shown) for pid in others) == [0, 1][-len(others) :]
        assert not any(held(pid, "socket") & listening(running.port) for pid in others)
        assert not any(held(pid, "socket") & shown for pid in serving)
        pipes = [held(pid, "pipe") for pid in serving]
        assert not pipes[0] & pipes[1]
        assert not pipes[1] & pipes[2]
        assert running.end() == 0
        gone(running)


@ONCE
def test_descriptors_of_hooks_and_of_the_app_stay(folder: Path, options: tuple[str, ...]) -> None:
    (folder / "hooks.py").write_text(
        "import socket\n"
        "kept = [socket.socketpair()]\n"
        "def on_starting(server):\n"
        "    kept.append(socket.socketpair())\n"
        "    open('numbers', 'w').write(' '.join(str(end.fileno()) for pair in kept for end in pair))\n"
    )
    do = "body = ' '.join(str(os.readlink(f'/proc/self/fd/{fd}').startswith('socket:')) for fd in numbers())"
    before = (
        "import socket\nown = socket.socketpair()\n"
        "numbers = lambda: [*map(int, open('numbers').read().split()), own[0].fileno(), own[1].fileno()]\n"
    )
    write(folder, before=before, do=do)
    with prod(folder, "-w", "2", "--config", "hooks.py", *options) as running:
        assert {running.get("/do").body for _ in range(10)} == {" ".join(["True"] * 6)}


# A master that is killed


@ONCE
@pytest.mark.parametrize("when", ["idle", "busy", "after HUP", "after a worker", "after the mold"])
def test_nothing_outlives_a_killed_master(folder: Path, options: tuple[str, ...], when: str) -> None:
    with prod(folder, "-w", "3", "--timeout-graceful-shutdown", "1", *options) as running:
        with load(running) if when == "busy" else contextlib.nullcontext():
            if when == "after HUP":
                running.send(signal.SIGHUP)
                running.wait("is ready", 6)
            elif when == "after a worker":
                os.kill(workers(running, 3)[0], signal.SIGKILL)
                running.wait("is ready", 4)
            elif when == "after the mold":
                for pid in {*children(running.process.pid)} - {*workers(running, 3)}:
                    os.kill(pid, signal.SIGKILL)
            running.send(signal.SIGKILL)
            gone(running)


@ONCE
def test_nothing_outlives_two_killed_masters(folder: Path, options: tuple[str, ...]) -> None:
    with prod(folder, "-w", "2", "--timeout-graceful-shutdown", "1", *options) as running:
        old = workers(running, 2)
        running.send(signal.SIGUSR2)
        running.wait("running on", 2)
        newer = int(re.findall(r"Master (\d+) has been started", running.text)[0])
        running.send(signal.SIGKILL)
        until(lambda: not any(map(alive, old)))
        running.wait(f"Master {newer} goes on alone")
        assert not {*workers(running, 2)} & {*old}
        os.kill(newer, signal.SIGKILL)
        gone(running)


def test_request_in_flight_is_answered_when_the_master_is_killed(folder: Path) -> None:
    with prod(folder, "-w", "1", "--preload") as running:
        with contextlib.closing(running.connect()) as client:
            client.request("GET", "/slow")
            running.wait("slow begins")
            running.send(signal.SIGKILL)
            assert client.getresponse().read() == b"1"
        gone(running)
        assert "app is down" in running.text


def test_import_that_hangs_ends_with_the_master(folder: Path) -> None:
    write(folder, before="import time; print('importing', flush=True); time.sleep(600)")
    with prod(folder, "-w", "2", "--preload", ready=False) as running:
        running.wait("importing")
        running.send(signal.SIGKILL)
        gone(running)


@pytest.mark.parametrize("is_orphan", [True, False])
def test_term_to_a_worker_stops_it_only_without_a_master(is_orphan: bool) -> None:
    told: list[object] = []
    row: Any = None
    server = PoolServer(
        Config("main:app"), app=hello, row=row, tell=told.append, reopen=None, is_orphan=lambda: is_orphan
    )
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGQUIT, signal.SIGUSR1)}
    server.install_signal_handlers()
    try:
        signal.raise_signal(signal.SIGTERM)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert server.should_exit == is_orphan
    assert len(told) == (0 if is_orphan else 1)


# The end of a process

ENDING = """
import atexit, concurrent.futures, multiprocessing, pathlib, tempfile, time, weakref

class Kept: pass

context = multiprocessing.get_context("fork")
order, kept, made = [], Kept(), []

def begin():
    if made: return
    folder = tempfile.TemporaryDirectory()
    made.append(folder)
    note = lambda name: open(f"ended-{os.getpid()}", "a").write(name + " ")
    atexit.register(note, "atexit")
    made.append(weakref.finalize(kept, note, "finalize"))
    made.append(pathlib.Path(folder.name))
    pathlib.Path(f"folder-{os.getpid()}").write_text(folder.name)
    POOL
"""
POOLS = {
    "threads": "pool = concurrent.futures.ThreadPoolExecutor(); made.append(pool); pool.submit(int).result()",
    "processes": (
        "pool = concurrent.futures.ProcessPoolExecutor(2, mp_context=context); made.append(pool);"
        " pool.submit(int).result()"
    ),
    "busy processes": (
        "pool = concurrent.futures.ProcessPoolExecutor(2, mp_context=context); made.append(pool);"
        " pool.submit(int).result(); pool.submit(time.sleep, 600)"
    ),
    "pool": "pool = context.Pool(2); made.append(pool); pool.apply(int)",
}


def write_ending(folder: Path, pool: str) -> None:
    """Writes an app that leaves something to be done at the end of its process."""
    write(folder, before=ENDING.replace("POOL", POOLS[pool]), do="begin(); body = str(os.getpid())")


def assert_ended_properly(folder: Path, pid: int) -> None:
    """Asserts that a process has done all that its app had left to be done at its end."""
    until(lambda: not alive(pid))
    assert {*(folder / f"ended-{pid}").read_text().split()} == {"atexit", "finalize"}
    assert not Path((folder / f"folder-{pid}").read_text()).exists()


@ONCE
@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_worker_with_an_idle_pool_ends_as_python_does(
    folder: Path, options: tuple[str, ...], pool: str, number: signal.Signals
) -> None:
    write_ending(folder, pool)
    with prod(folder, "-w", "1", *options) as running:
        with contextlib.closing(running.connect()) as client:
            client.request("GET", "/do")
            pid = int(client.getresponse().read())
            helpers = children(pid)
            assert bool(helpers) == (pool != "threads")
            for sockets in (listening(running.port), listening(running.port, "01")):
                assert sockets & held(pid, "socket")
                until(lambda: not any(sockets & held(helper, "socket") for helper in helpers))  # noqa: B023
        running.send(number)
        assert_ended_properly(folder, pid)
        until(lambda: not any(map(alive, helpers)))
        assert "did not end in time" not in running.text
        if number == signal.SIGHUP:
            running.wait("is ready", 2)
            assert running.end() == 0
        gone(running)


@pytest.mark.parametrize("how", ["--no-reload", "cold", "standby", "fork", "program"])
@pytest.mark.parametrize("pool", POOLS)
def test_pool_ends_however_its_app_is_served(folder: Path, how: str, pool: str) -> None:
    write_ending(folder, pool)
    with served(folder, how) as running:
        pid = int(running.get("/do").body)
        helpers = children(pid)
        port = listening(running.port)
        assert port & held(pid, "socket")
        # A process that has been forked just now has not closed them yet.
        until(lambda: not any(port & held(helper, "socket") for helper in helpers))
        assert running.end() == 0
        assert_ended_properly(folder, pid)
        gone(running)


@contextlib.contextmanager
def served(folder: Path, how: str) -> Iterator[Running]:
    """The app, served by ``dev run`` in one of its ways, or by a program."""
    if how != "program":
        options = (how,) if how.startswith("--") else ("--reload-mode", how)
        with prod(folder, "--ui", "plain", *options, command="run", ready=False) as running:
            until(functools.partial(answers, running))
            yield running
        return
    port = free_port()
    (folder / "program.py").write_text(
        f"import devserver\nif __name__ == '__main__':\n    devserver.run('main:app', port={port}, workers=2)\n"
    )
    log = folder.parent / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "program.py"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
            stdout=file,
            stderr=file,
        )
    running = Running(process, port, log, folder)
    try:
        running.wait("running on")
        yield running
    finally:
        for pid in [process.pid, *running.workers_left()]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


def answers(running: Running) -> bool:
    """Whether the app answers."""
    try:
        return running.get().status == 200
    except OSError:
        return False


def test_thread_that_hangs_does_not_keep_exit_functions_from_being_called(folder: Path) -> None:
    write(
        folder,
        before="import atexit, threading, time\natexit.register(open, 'ended', 'w')\n",
        do="threading.Thread(target=time.sleep, args=(600,)).start()",
    )
    for how in ("prod", "run"):
        options = ("-w", "1") if how == "prod" else ("--no-reload", "--ui", "plain")
        with prod(folder, *options, command=how, ready=False) as running:
            until(functools.partial(answers, running))
            running.get("/do")
            assert running.end() == 0
            assert (folder / "ended").exists()
            (folder / "ended").unlink()


def test_exit_function_that_hangs_has_a_limit(folder: Path) -> None:
    write(folder, before="import atexit, time\natexit.register(time.sleep, 600)\n")
    for how in ("prod", "run"):
        options = ("-w", "1") if how == "prod" else ("--no-reload", "--ui", "plain")
        with prod(folder, *options, command=how, ready=False) as running:
            until(functools.partial(answers, running))
            assert running.end() == 0
            gone(running)


@pytest.mark.parametrize("how", ["TERM", "KILL", "master"])
def test_process_that_the_app_has_left_ends_with_its_worker(folder: Path, how: str) -> None:
    do = "body = str(subprocess.Popen(['sleep', '600']).pid)"
    write(folder, before="import subprocess", do=do)
    with prod(folder, "-w", "1", "--timeout-graceful-shutdown", "1") as running:
        left = int(running.get("/do").body)
        (worker,) = workers(running, 1)
        if how == "master":
            running.send(signal.SIGKILL)
        else:
            os.kill(worker, getattr(signal, f"SIG{how}"))
            running.wait("is ready", 2)
        until(lambda: not alive(worker))
        until(lambda: not alive(left))


# What the app's children inherit


@ONCE
def test_child_of_a_worker_is_ordinary(folder: Path, options: tuple[str, ...]) -> None:
    before = (
        "import multiprocessing, subprocess, time\n"
        "def start():\n"
        "    program = subprocess.Popen(['sleep', '600'], restore_signals=False)\n"
        "    forked = multiprocessing.get_context('fork').Process(target=time.sleep, args=(600,))\n"
        "    forked.start()\n"
        "    return f'{program.pid} {forked.pid}'\n"
    )
    write(folder, before=before, do="body = start()")
    with prod(folder, "-w", "1", *options) as running:
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
            program, forked = map(int, running.get("/do").body.split())
            status = Path(f"/proc/{program}/status").read_text()
            ignored = int(re.findall(r"SigIgn:\s+(\w+)", status)[0], 16)
            assert [name for name in IGNORED if ignored >> (getattr(signal, name) - 1) & 1] == []
            for pid in (program, forked):
                until(functools.partial(sent, pid, number))
        assert running.end() == 0


def sent(pid: int, number: int) -> bool:
    """Sends a signal, and says whether the process has gone; it may just have been forked."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
    return not alive(pid)


@pytest.mark.parametrize("arguments", [("prod", "-w", "2"), ("run", "--no-reload"), ("run", "--reload-mode", "cold")])
def test_closed_standard_streams_are_no_sockets(folder: Path, arguments: tuple[str, ...]) -> None:
    write(folder, do="body = ' '.join(os.readlink(f'/proc/self/fd/{fd}') for fd in (0, 1, 2))")
    port = free_port()
    command = [sys.executable, "-m", "devserver", *arguments, "main:app", "--port", str(port)]
    process = subprocess.Popen(
        ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
    )
    running = Running(process, port, folder / "log", folder)
    try:
        until(functools.partial(answers, running))
        assert running.get("/do").body == "/dev/null /dev/null /dev/null"
        for fd in (0, 1, 2):
            assert os.readlink(f"/proc/{process.pid}/fd/{fd}") == "/dev/null"
        assert running.end() == 0
    finally:
        process.kill()
        process.wait()


# Signals that come twice


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    "arguments",
    [("prod", "-w", "1"), ("run", "--no-reload", "--ui", "plain"), ("run", "--reload-mode", "cold", "--ui", "plain")],
    ids=["prod", "no-reload", "cold"],
)
def test_doubled_signal_is_one(folder: Path, arguments: tuple[str, ...], number: signal.Signals) -> None:
    command, *options = arguments
    with prod(folder, *options, "--timeout-graceful-shutdown", "30", command=command, ready=False) as running:
        until(functools.partial(answers, running))
        with contextlib.closing(running.connect()) as client:
            client.request("GET", "/slow")
            running.wait("slow begins")
            running.send(number)
            # Not before the first one has been seen: the kernel makes one of two that wait.
            until(lambda: not signal_waits(running.process.pid, number))
            running.send(number)
            if (command, number) != ("prod", signal.SIGINT):
                # There SIGINT does not wait for requests.
                assert client.getresponse().read() == b"1"
            assert running.process.wait(PATIENCE_S) == 0
        assert "app is down" in running.text


@pytest.mark.parametrize(
    "arguments", [("prod", "-w", "1"), ("run", "--no-reload", "--ui", "plain"), ("run", "--reload-mode", "cold")]
)
def test_signal_that_comes_again_later_is_another_one(folder: Path, arguments: tuple[str, ...]) -> None:
    write(folder, before="import time", do="print('blocks', flush=True); time.sleep(600)")
    command, *options = arguments
    limits = ("--timeout-graceful-shutdown", "600", "--timeout-shutdown", "600")
    with prod(folder, *options, *limits, command=command, ready=False) as running:
        until(functools.partial(answers, running))
        with contextlib.closing(running.connect()) as client:
            client.request("GET", "/do")
            running.wait("blocks")
            began = time.monotonic()
            running.send(signal.SIGINT)
            until(lambda: time.monotonic() > began + 0.6)
            running.send(signal.SIGINT)
            assert running.process.wait(PATIENCE_S) == 0


def signal_waits(pid: int, number: int) -> bool:
    """Whether a signal has been sent to a process that has not seen it yet."""
    status = Path(f"/proc/{pid}/status").read_text()
    pending = [int(found, 16) for found in re.findall(r"(?:SigPnd|ShdPnd):\s+(\w+)", status)]
    return any(each >> (number - 1) & 1 for each in pending)


# Failures of the system, and going back


@ONCE
def test_master_without_descriptors_serves_on_and_says_so_once(folder: Path, options: tuple[str, ...]) -> None:
    with prod(folder, "-w", "2", *options) as running:
        first, second = workers(running, 2)
        master = running.process.pid
        _, hard = resource.prlimit(master, resource.RLIMIT_NOFILE)
        # The highest number that is taken, so that nothing can be opened.
        lowest = max(int(entry.name) for entry in Path(f"/proc/{master}/fd").iterdir()) + 1
        free = lowest - len([*Path(f"/proc/{master}/fd").iterdir()])
        resource.prlimit(master, resource.RLIMIT_NOFILE, (lowest - max(0, free), hard))
        os.kill(first, signal.SIGKILL)
        running.wait("No worker can be started")
        for _ in range(20):
            assert int(running.get("/pid").body) == second
        resource.prlimit(master, resource.RLIMIT_NOFILE, (hard, hard))
        running.wait("Workers can be started again")
        assert len(workers(running, 2)) == 2
        assert running.text.count("No worker can be started") == 1
        assert running.end() == 0


@ONCE
def test_everything_goes_back_when_new_code_does_not_start(
    folder: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    settings = folder / "pyproject.toml"
    settings.write_text("[tool.devserver.prod]\nworkers = 3")
    certificate, key = make_certificate(tmp_path)
    with prod(folder, "--ssl-certfile", str(certificate), "--ssl-keyfile", str(key), *options) as running:
        before = served_certificate(running.port)
        good = (folder / "main.py").read_text()
        for number in (1, 5):
            settings.write_text(f"[tool.devserver.prod]\nworkers = {number}")
            renew(certificate, key, tmp_path)
            (folder / "main.py").write_text("import nowhere")
            failed = running.text.count("The new code does not start")
            running.send(signal.SIGHUP)
            running.wait("The new code does not start", failed + 1)
            assert "workers from now on" not in running.text
            assert served_certificate(running.port) == before
        # The certificate is not forgotten: it is used as soon as the code starts, without being asked.
        (folder / "main.py").write_text(good)
        until(lambda: served_certificate(running.port) != before)
        until(lambda: serving(running) == 3)
        assert running.end() == 0


def serving(running: Running) -> int:
    """How many processes besides the master listen on the port."""
    port = listening(running.port)
    with contextlib.suppress(FileNotFoundError):
        return len([pid for pid in running.workers_left() if pid != running.process.pid and port & held(pid, "socket")])
    # One has just ended.
    return 0


def served_certificate(port: int) -> str:
    """The certificate that is served."""
    import ssl

    return ssl.get_server_certificate(("127.0.0.1", port))


def renew(certificate: Path, key: Path, folder: Path) -> None:
    """Puts another certificate in the place of one."""
    other = folder / "other"
    other.mkdir(exist_ok=True)
    for made, path in zip(make_certificate(other), (certificate, key), strict=True):
        made.replace(path)
