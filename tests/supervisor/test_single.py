"""``dev run --no-reload``: one process, and how it ends. Real processes and real signals."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from devserver.supervisor import ending
from tests.support.reload import state
from tests.support.server import CHECKOUT, HELLO, PATIENCE_S, Program, command, read_all, spawned, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ANSWERING = """
import asyncio, os, sys, threading, time

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        {startup}
        await send({{"type": "lifespan.startup.complete"}})
        await receive()
        {shutdown}
        print("app is down", flush=True)
        await send({{"type": "lifespan.shutdown.complete"}})
        return
    {request}
    await send({{"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]}})
    await send({{"type": "http.response.body", "body": b"hello"}})
"""


def app(*, startup: str = "pass", request: str = "pass", shutdown: str = "pass", first: str = "") -> str:
    """The source of an app."""
    return f"{first}\n" + ANSWERING.format(startup=startup, request=request, shutdown=shutdown)


@contextlib.contextmanager
def dev_run(folder: Path, source: str = HELLO, *arguments: str, listen: bool = True) -> Iterator[Program]:
    """``dev run --no-reload`` with ``source`` as its main.py."""
    (folder / "main.py").write_text(source)
    where = ("--port", "0") if listen else ()
    with command(folder, "run", "--no-reload", "--ui", "plain", *where, *arguments) as child:
        yield child


def knock(child: Program) -> socket.socket:
    """Sends a request and leaves it waiting for its answer."""
    client = socket.create_connection(("127.0.0.1", child.port), timeout=PATIENCE_S)
    client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    return client


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_exit_code_zero(tmp_path: Path, number: int) -> None:
    with dev_run(tmp_path) as child:
        assert child.get().body == b"hello"
        child.process.send_signal(number)
        assert child.wait() == 0
        child.wait_text("app is down")
        assert "Traceback" not in child.text
        assert "GET / HTTP/1.1" in child.text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_interrupts_an_import_that_hangs(tmp_path: Path, number: int) -> None:
    with dev_run(tmp_path, app(first="import time; print('importing', flush=True); time.sleep(60)")) as child:
        child.wait_text("importing")
        child.process.send_signal(number)
        assert child.wait() == 0
        assert "Traceback" not in child.text


def test_a_signal_interrupts_a_startup_that_hangs(tmp_path: Path) -> None:
    startup = "print('starting', flush=True); await asyncio.sleep(60)"
    with dev_run(tmp_path, app(startup=startup)) as child:
        child.wait_text("starting")
        child.process.send_signal(signal.SIGINT)
        assert child.wait() == 0
        assert "Traceback" not in child.text


@pytest.mark.parametrize("where", ["startup", "request"])
def test_a_second_signal_ends_it_even_when_the_loop_is_blocked(tmp_path: Path, where: str) -> None:
    blocking = "print('blocked', flush=True); time.sleep(60)"
    source = app(startup=blocking) if where == "startup" else app(request=blocking)
    with dev_run(tmp_path, source) as child, contextlib.ExitStack() as clients:
        if where == "request":
            clients.enter_context(knock(child))
        child.wait_text("blocked")
        begun = time.monotonic()
        child.process.send_signal(signal.SIGINT)
        # Signals that arrive together count once: the handler has run when the process has slept again.
        until(lambda: state(child.process.pid) == "S")
        while child.process.poll() is None and time.monotonic() - begun < PATIENCE_S:
            child.process.send_signal(signal.SIGINT)
            with contextlib.suppress(Exception):
                child.process.wait(0.2)
        assert child.wait() == 0
        assert time.monotonic() - begun < 20
        assert "Traceback" not in child.text


def test_a_thread_that_hangs_does_not_hold_the_end(tmp_path: Path) -> None:
    request = "print('hanging', flush=True); await asyncio.to_thread(time.sleep, 60)"
    with dev_run(tmp_path, app(request=request), "--timeout-graceful-shutdown", "0") as child, knock(child):
        child.wait_text("hanging")
        begun = time.monotonic()
        child.process.send_signal(signal.SIGTERM)
        assert child.wait() == 0
        assert time.monotonic() - begun < 15
        child.wait_text("app is down")
        assert "CancelledError" not in child.text


def test_a_shutdown_that_hangs_is_cut_off(tmp_path: Path) -> None:
    with dev_run(tmp_path, app(shutdown="await asyncio.sleep(60)"), "--timeout-shutdown", "0.05") as child:
        child.get()
        child.process.send_signal(signal.SIGTERM)
        assert child.wait() == 0


def test_a_running_request_is_finished(tmp_path: Path) -> None:
    request = "print('running', flush=True); await asyncio.sleep(0.5)"
    with dev_run(tmp_path, app(request=request)) as child, knock(child) as client:
        child.wait_text("running")
        child.process.send_signal(signal.SIGTERM)
        assert read_all(client).endswith(b"hello")
        assert child.wait() == 0


def test_an_exit_in_a_request_is_an_error_of_that_request(tmp_path: Path) -> None:
    with dev_run(tmp_path, app(request="sys.exit(7)")) as child:
        for _ in range(2):
            assert child.get().status == 500
        child.wait_text("SystemExit: 7")
        assert child.process.poll() is None


def test_the_request_limit_ends_it_with_exit_code_zero(tmp_path: Path) -> None:
    with dev_run(tmp_path, HELLO, "--limit-max-requests", "1") as child:
        assert child.get().status == 200
        assert child.wait() == 0


@pytest.mark.parametrize(
    ("source", "code", "sentence"),
    [
        ("import nonsense_that_is_missing\n" + HELLO, 3, "nonsense_that_is_missing"),
        (app(startup="raise RuntimeError('no database')"), 3, "startup failed: RuntimeError: no database"),
        ("app = 1", 3, "No app found in "),
    ],
)
def test_an_app_that_does_not_start_is_told_in_a_sentence(
    tmp_path: Path, source: str, code: int, sentence: str
) -> None:
    with dev_run(tmp_path, source) as child:
        assert child.wait() == code
        child.wait_text(sentence)
        assert "devserver/" not in child.text.replace(str(CHECKOUT), "checkout")


def test_a_taken_port_is_told_in_a_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with dev_run(tmp_path, HELLO, "--port", str(port), listen=False) as child:
            assert child.wait() == 2
            child.wait_text(f"Port {port} is taken by PID {os.getpid()}")
            assert "Traceback" not in child.text


def test_a_second_dev_run_of_a_project_is_told_by_name(tmp_path: Path) -> None:
    with dev_run(tmp_path) as first:
        port = first.port
        with dev_run(tmp_path, HELLO, "--port", str(port), listen=False) as second:
            assert second.wait() == 2
            second.wait_text(rf"another dev run of this project \(PID {first.process.pid}\)")


def test_a_unix_socket_is_removed_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    with dev_run(tmp_path, HELLO, "--uds", str(path), "--uds-permissions", "600", listen=False) as child:
        child.wait_text("a.sock")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert read_all(client).endswith(b"hello")
        child.process.send_signal(signal.SIGTERM)
        assert child.wait() == 0
    assert not path.exists()


def test_an_inherited_descriptor_is_served(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(HELLO)
    with socket.create_server(("127.0.0.1", 0)) as inherited:
        arguments = ["run", "--no-reload", "--ui", "plain", "--fd", str(inherited.fileno())]
        with command(tmp_path, *arguments, pass_fds=(inherited.fileno(),)) as child:
            assert child.port == inherited.getsockname()[1]
            assert child.get().body == b"hello"


def test_a_socket_from_systemd_is_served_and_its_variables_are_not_passed_on(tmp_path: Path) -> None:
    first = "import os; print('variables:', [name for name in os.environ if name.startswith('LISTEN_')], flush=True)"
    (tmp_path / "main.py").write_text(app(first=first))
    line = f"LISTEN_FDS=1 LISTEN_PID=$$ exec {sys.executable} -m devserver run --no-reload --ui plain 3<&0"
    with socket.create_server(("127.0.0.1", 0)) as inherited:
        with spawned(["sh", "-c", line], tmp_path, stdin=inherited) as child:
            child.wait_text(r"variables: \[\]")
            assert child.port == inherited.getsockname()[1]
            assert child.get().body == b"hello"


def test_a_failing_request_shows_its_error(tmp_path: Path) -> None:
    with dev_run(tmp_path, app(request="raise RuntimeError('out of tea')")) as child:
        answer = child.get()
        assert answer.status == 500
        assert b"out of tea" in answer.body


# How a process ends


def test_threads_that_end_in_time_let_the_process_end_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "end_process", lambda _: pytest.fail("ended"))
    # They would end the executors of the process that runs the tests.
    monkeypatch.setattr(ending, "_call_threading_hooks", lambda: None)
    release = threading.Event()
    thread = threading.Thread(target=release.wait)
    thread.start()
    threading.Timer(0.01, release.set).start()
    ending.end_threads(0)
    assert not thread.is_alive()


def test_a_thread_that_does_not_end_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    codes: list[int] = []
    monkeypatch.setattr(ending, "end_process", codes.append)
    # These are about the process that runs the tests.
    monkeypatch.setattr(ending, "_call_threading_hooks", lambda: None)
    monkeypatch.setattr(ending, "limit", lambda _: None)
    monkeypatch.setattr(ending, "_call_exit_functions", lambda: None)
    monkeypatch.setattr(ending, "THREADS_S", 0.01)
    release = threading.Event()
    thread = threading.Thread(target=release.wait)
    thread.start()
    try:
        ending.end_threads(4)
    finally:
        release.set()
        thread.join()
    assert codes == [4]
