"""Real gunicorn with our workers: its settings, signals, hooks and logs."""

from __future__ import annotations

import contextlib
import http.client
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.certificates import make_signed_certificate
from tests.support.ports import free_port
from tests.support.prod import Running
from tests.support.reload import CHECKOUT, PATIENCE_S, until

pytestmark = pytest.mark.once

APP = """
import asyncio, os, time
from contextlib import asynccontextmanager

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            print(message["type"], os.getpid(), flush=True)
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    if scope["path"] == "/slow":
        print("slow begun", flush=True)
        await asyncio.sleep(1)
    elif scope["path"] == "/never":
        print("never begun", flush=True)
        await asyncio.sleep(600)
    elif scope["path"] == "/blocks":
        time.sleep(600)
    elif scope["path"] == "/raises":
        raise ValueError("on purpose")
    body = f"{os.getpid()} {scope['client'][0]} {scope['scheme']} {scope['root_path']}".encode()
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": body})
"""


@contextlib.contextmanager
def gunicorn(folder: Path, *options: str, app: str = "main:app", ready: int = 1) -> Iterator[Running]:
    """gunicorn in a process of its own.

    :param ready: wait for so many workers.
    """
    port = free_port()
    log = folder.parent / f"log-{port}"
    if not (folder / "main.py").exists():
        folder.mkdir(exist_ok=True)
        (folder / "main.py").write_text(APP)
    command = [sys.executable, "-m", "gunicorn", app, "--bind", f"127.0.0.1:{port}", "--log-level", "debug"]
    if "--worker-class" not in options:
        command += ["--worker-class", "devserver.gunicorn.Worker"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--no-control-socket", *options],
            cwd=folder,
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(CHECKOUT), "HOME": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    running = Running(process, port, log, folder)
    try:
        if ready:
            running.wait("lifespan.startup", ready)
        yield running
    finally:
        for number in (signal.SIGQUIT, signal.SIGKILL):
            if process.poll() is None:
                process.send_signal(number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(PATIENCE_S)
        assert running.workers_left() == []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


def begin(running: Running, path: str) -> socket.socket:
    """A request whose answer is not read."""
    client = socket.create_connection(("127.0.0.1", running.port), timeout=PATIENCE_S)
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    return client


@pytest.mark.parametrize("kind", ["Worker", "H11Worker"])
def test_app_is_served_by_every_worker(folder: Path, kind: str) -> None:
    with gunicorn(folder, "--worker-class", f"devserver.gunicorn.{kind}", "-w", "2", ready=2) as running:
        answer = running.get()
        assert answer.status == 200
        assert answer.body.split()[1:3] == ["127.0.0.1", "http"]
        assert int(answer.body.split()[0]) in running.workers
        assert running.end() == 0
        assert running.text.count("lifespan.shutdown") == 2


def test_settings_of_gunicorn_are_those_of_the_server(folder: Path) -> None:
    (folder / "gunicorn.conf.py").write_text(
        "root_path = '/shop'\nforwarded_allow_ips = '*'\nkeepalive = 1\n"
        "limit_request_line = 200\nlimit_request_fields = 4\n"
    )
    with gunicorn(folder) as running:
        connection = running.connect()
        with contextlib.closing(connection):
            connection.request("GET", "/", headers={"X-Forwarded-For": "9.9.9.9", "X-Forwarded-Proto": "https"})
            assert connection.getresponse().read().decode().split()[1:] == ["9.9.9.9", "https", "/shop"]
        assert running.get("/" + "x" * 300).status == 414
        client = begin(running, "/")
        with client:
            received = b""
            # Closed by the server a second after the answer.
            while data := client.recv(4096):
                received += data
            assert received.startswith(b"HTTP/1.1 200")
        with socket.create_connection(("127.0.0.1", running.port), timeout=PATIENCE_S) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\na: 1\r\nb: 1\r\nc: 1\r\nd: 1\r\n\r\n")
            assert client.recv(4096).startswith(b"HTTP/1.1 431")


def test_limits_that_gunicorn_switches_off_are_as_large_as_they_get(folder: Path) -> None:
    (folder / "gunicorn.conf.py").write_text(
        "limit_request_fields = 0\nlimit_request_line = 0\nlimit_request_field_size = 0\nworker_connections = 0\n"
    )
    with gunicorn(folder) as running:
        assert running.get("/" + "x" * 20_000).status == 200


def test_term_lets_requests_finish(folder: Path) -> None:
    with gunicorn(folder) as running, begin(running, "/slow") as client:
        running.wait("slow begun")
        assert running.end() == 0
        assert client.recv(4096).startswith(b"HTTP/1.1 200")
        assert "lifespan.shutdown" in running.text
        assert "Worker exiting" in running.text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_int_and_quit_cancel_requests_and_run_what_is_left(folder: Path, number: int) -> None:
    (folder / "gunicorn.conf.py").write_text(
        "def worker_int(worker):\n    print('called: int', flush=True)\n"
        "def worker_exit(server, worker):\n    print('called: exit', flush=True)\n"
    )
    with gunicorn(folder) as running, begin(running, "/never"):
        running.wait("never begun")
        assert running.end(number) == 0
        for text in ("called: int", "called: exit", "lifespan.shutdown"):
            assert running.text.count(text) == 1, text
        assert "SIGKILL" not in running.text
        assert "out of memory" not in running.text


def test_heartbeat_goes_on_while_requests_finish_and_the_app_starts_and_stops(folder: Path) -> None:
    (folder / "main.py").write_text(
        APP.replace('print(message["type"]', 'await asyncio.sleep(3); print(message["type"]').replace(
            "sleep(1)", "sleep(3)"
        )
    )
    with gunicorn(folder, "--timeout", "2") as running, begin(running, "/slow") as client:
        running.wait("slow begun")
        assert running.end() == 0
        assert client.recv(4096).startswith(b"HTTP/1.1 200")
        assert "lifespan.shutdown" in running.text
        assert "WORKER TIMEOUT" not in running.text


def test_worker_whose_loop_stands_still_is_replaced_and_says_where(folder: Path) -> None:
    (folder / "gunicorn.conf.py").write_text("def worker_abort(worker):\n    print('called: abort', flush=True)\n")
    with gunicorn(folder, "--timeout", "1") as running, begin(running, "/blocks"):
        running.wait("WORKER TIMEOUT")
        running.wait(r"The event loop stands still, here:\n(.*\n)*.*main\.py.*\n.*time\.sleep\(600\)")
        running.wait("called: abort")
        running.wait("lifespan.startup", 2)
        assert running.get().status == 200


def test_worker_is_replaced_after_so_many_requests(folder: Path) -> None:
    with gunicorn(folder, "--max-requests", "3") as running:
        first = running.get().body.split()[0]
        until(lambda: running.get().body.split()[0] != first)
        running.wait("Maximum request limit of 3 exceeded")
        assert "exited with code" not in running.text


def test_hup_serves_new_code_with_new_workers(folder: Path) -> None:
    with gunicorn(folder) as running:
        (folder / "main.py").write_text(APP.replace("{scope['scheme']}", "new"))
        running.send(signal.SIGHUP)
        until(lambda: " new " in running.get().body)


def test_save_restarts_the_worker_with_reload_and_a_broken_app_says_why(folder: Path) -> None:
    def saved(text: str, condition: Callable[[str], bool]) -> bool:
        # gunicorn's reloader does not notice what is saved before it has first looked.
        (folder / "main.py").write_text(text)
        time.sleep(0.1)
        with contextlib.suppress(OSError, http.client.HTTPException):
            return condition(running.get().body)
        return False

    with gunicorn(folder, "--reload") as running:
        until(lambda: saved(APP.replace("{scope['scheme']}", "new"), lambda body: " new " in body))
        until(lambda: saved(APP + "\n(", lambda body: "SyntaxError" in body))
        until(lambda: saved(APP.replace("{scope['scheme']}", "mended"), lambda body: " mended " in body))


def test_access_log_has_the_form_that_was_asked_for(folder: Path) -> None:
    form = '%(h)s "%(r)s" %(s)s %(b)s %({host}i)s %({content-length}o)s %(q)s'
    with gunicorn(folder, "--access-logfile", "-", "--access-logformat", form) as running:
        size = len(running.get("/a?b=c").body)
        running.wait(rf'127\.0\.0\.1 "GET /a\?b=c HTTP/1\.1" 200 {size} 127\.0\.0\.1:{running.port} {size} b=c')


def test_request_hooks_are_called_and_errors_are_logged(folder: Path) -> None:
    (folder / "gunicorn.conf.py").write_text(
        "def pre_request(worker, req):\n    print('pre', req.method, req.path, req.query, flush=True)\n"
        "def post_request(worker, req, environ, resp):\n"
        "    print('post', req.path, environ['REMOTE_ADDR'], resp.status, flush=True)\n"
    )
    with gunicorn(folder) as running:
        assert running.get("/raises?x=1").status == 500
        running.wait("pre GET /raises x=1")
        running.wait("post /raises 127.0.0.1 500")
        running.wait("ValueError: on purpose")
        assert "[ERROR]" in running.text


def test_usr1_opens_log_files_again(folder: Path) -> None:
    access = folder / "access.log"
    with gunicorn(folder, "--access-logfile", str(access)) as running:
        running.get("/one")
        until(lambda: "/one" in access.read_text())
        moved = access.rename(folder / "access.log.1")
        running.send(signal.SIGUSR1)

        def written() -> bool:
            running.get("/two")
            return access.exists() and "/two" in access.read_text()

        until(written)
        assert "/one" in moved.read_text()


def test_wsgi_app_is_called_by_as_many_threads_as_gunicorn_says(folder: Path) -> None:
    (folder / "main.py").write_text(
        "import threading\n"
        "both = threading.Barrier(2, timeout=30)\n"
        "def app(environ, start_response):\n"
        "    both.wait()\n"
        "    start_response('200 OK', [('Content-Length', '4')])\n"
        "    return [b'both']\n"
    )
    with gunicorn(folder, "--threads", "2", ready=0) as running:
        running.wait("Booting worker")
        with begin(running, "/") as one, begin(running, "/") as other:
            assert one.recv(4096).endswith(b"both")
            assert other.recv(4096).endswith(b"both")


def test_app_that_does_not_start_ends_gunicorn(folder: Path) -> None:
    (folder / "main.py").write_text(
        "async def app(scope, receive, send):\n"
        "    await receive()\n"
        "    await send({'type': 'lifespan.startup.failed', 'message': 'no database'})\n"
    )
    with gunicorn(folder, ready=0) as running:
        assert running.process.wait(PATIENCE_S) == 3
        assert "no database" in running.text


def test_gunicorn_s_tls_settings_and_hook_count(folder: Path, tmp_path: Path) -> None:
    certificate, key, authority = make_signed_certificate(tmp_path)
    (folder / "gunicorn.conf.py").write_text(
        "def ssl_context(config, default):\n    print('called: tls', flush=True)\n    return default()\n"
    )
    options = ["--certfile", str(certificate), "--keyfile", str(key)]
    with gunicorn(folder, *options) as running:
        found = subprocess.run(
            ["curl", "-sS", "--cacert", str(authority), f"https://localhost:{running.port}/"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert re.fullmatch(r"\d+ 127\.0\.0\.1 https ", found)
        assert "called: tls" in running.text


@pytest.mark.parametrize("options", [(), ("--preload",)])
def test_what_an_app_does_to_uvicorns_loggers_counts(folder: Path, options: tuple[str, ...]) -> None:
    (folder / "main.py").write_text(
        "import logging\n"
        "access = logging.getLogger('uvicorn.access')\n"
        "access.addFilter(lambda record: '/health' not in record.getMessage())\n" + APP
    )
    with gunicorn(folder, "--access-logfile", "-", *options) as running:
        for path in ("/health", "/shown"):
            assert running.get(path).status == 200
        running.wait("GET /shown")
        assert "GET /health" not in running.text


def test_handlers_of_uvicorns_loggers_are_there_and_may_be_added_to(folder: Path) -> None:
    (folder / "main.py").write_text(
        "import logging, sys\n"
        "logging.getLogger('uvicorn.error').info('through %d', len(logging.getLogger('uvicorn').handlers))\n"
        "handler = logging.StreamHandler(sys.stdout)\n"
        "handler.setFormatter(logging.Formatter('mine %(name)s %(message)s'))\n"
        "logging.getLogger('uvicorn.access').addHandler(handler)\n" + APP
    )
    with gunicorn(folder) as running:
        running.wait("through 1")
        assert running.get("/shown").status == 200
        running.wait(r"mine uvicorn.access 127.0.0.1:\d+ - \"GET /shown HTTP/1.1\" 200")
