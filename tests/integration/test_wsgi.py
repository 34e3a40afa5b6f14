"""WSGI under ``dev run`` and ``dev prod``: clients of other makers, a proxy, slow clients and very large bodies."""

from __future__ import annotations

import contextlib
import hashlib
import json
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.support.clients import curl
from tests.support.dev_run import dev_run
from tests.support.prod import prod
from tests.support.proxies import nginx
from tests.support.server import PATIENCE_S, Program, command, until
from tests.support.wsgi import TEXT, Environ, client_of, request, serving_wsgi

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.server import Running

GIB = 1 << 30
FLAT_BYTES = 64 << 20
"""So much more memory than before may be used for a body of a GiB."""

APP = """
import hashlib, json, os, time

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/download":
        file = open("sparse", "rb")
        start_response("200 OK", [("Content-Type", "application/octet-stream")])
        return environ["wsgi.file_wrapper"](file)
    if path == "/generated":
        start_response("200 OK", [("Content-Type", "application/octet-stream")])
        return generated()
    if path == "/fail":
        raise ValueError("failed on purpose")
    digest, size = hashlib.sha256(), 0
    while data := environ["wsgi.input"].read(1 << 16):
        digest.update(data)
        size += len(data)
    told = {
        "bytes": size, "sha256": digest.hexdigest(), "pid": os.getpid(),
        "environ": {key: value for key, value in environ.items() if isinstance(value, (str, bool))},
    }
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(told).encode()]

def generated():
    piece = bytes(1 << 16)
    for _ in range(1 << 14):
        yield piece
"""
BODY = bytes(range(256)) * 8000
SUM = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project."""
    (tmp_path / "main.py").write_text(APP)
    return tmp_path


@contextlib.contextmanager
def run(folder: Path, *words: str) -> Iterator[Program]:
    """``dev run`` without reload; it must end well."""
    with command(folder, "run", "--no-reload", "--ui", "plain", "--port", "0", *words) as child:
        yield child
        child.process.send_signal(signal.SIGTERM)
        assert child.wait() == 0


# Clients


def test_curl_downloads_and_uploads(folder: Path) -> None:
    (folder / "sparse").write_bytes(BODY)
    (folder / "upload").write_bytes(BODY)
    with run(folder) as child:
        url = f"http://127.0.0.1:{child.port}"
        told = json.loads(curl("--upload-file", str(folder / "upload"), f"{url}/put"))
        assert (told["bytes"], told["sha256"]) == (len(BODY), SUM)
        assert told["environ"]["REQUEST_METHOD"] == "PUT"
        chunked = ["--header", "Transfer-Encoding: chunked", "--header", "Expect: 100-continue"]
        told = json.loads(curl(*chunked, "--data-binary", "@-", f"{url}/", data=BODY))
        assert (told["bytes"], told["environ"]["CONTENT_LENGTH"]) == (len(BODY), str(len(BODY)))
        curl("--output", str(folder / "got"), f"{url}/download")
        assert (folder / "got").read_bytes() == BODY
        assert "content-length: 2048000" in curl("--head", f"{url}/download")
        assert "Traceback" not in child.text


def test_httpx_keeps_its_connection_through_everything(folder: Path) -> None:
    (folder / "sparse").write_bytes(BODY)
    with run(folder) as child, httpx.Client(base_url=f"http://127.0.0.1:{child.port}") as client:
        ports = set()
        for _ in range(3):
            told = client.post("/form", data={"name": "é"}, params={"q": "1 2"}).json()
            ports.add(told["environ"]["REMOTE_PORT"])
            assert told["environ"]["CONTENT_TYPE"] == "application/x-www-form-urlencoded"
            assert told["environ"]["QUERY_STRING"] in {"q=1+2", "q=1%202"}
            assert client.get("/download").content == BODY
            assert client.head("/download").headers["content-length"] == str(len(BODY))
            assert (
                client.post("/", content=(BODY[at : at + 99_999] for at in range(0, len(BODY), 99_999))).json()[
                    "sha256"
                ]
                == SUM
            )
            assert client.get("/fail").status_code == 500
        assert len(ports) == 1


def test_nginx_in_front(folder: Path) -> None:
    (folder / "sparse").write_bytes(BODY)
    with run(folder) as child, nginx(folder, f"127.0.0.1:{child.port}") as port:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            # Less than nginx takes unless it is told otherwise.
            body = BODY[:1_000_000]
            told = client.post("/a%20b/%C3%A9?x=1", content=body, headers={"Proxy": "evil"}).json()
            environ = told["environ"]
            assert told["sha256"] == hashlib.sha256(body).hexdigest()
            assert environ["PATH_INFO"].encode("latin-1").decode() == "/a b/é"
            assert environ["REMOTE_ADDR"] == "127.0.0.1"
            assert environ["wsgi.url_scheme"] == "http"
            assert "HTTP_PROXY" not in environ
            assert client.get("/download").content == BODY


# Commands


def test_dev_run_serves_the_new_code_and_shows_requests_and_errors(folder: Path) -> None:
    with dev_run("main.py", directory=folder) as running:
        assert httpx.get(running.url).status_code == 200
        (folder / "main.py").write_text(APP.replace('"pid": os.getpid()', '"pid": "new"'))
        assert httpx.get(running.url).json()["pid"] == "new"
        running.wait_for("Reloaded")
        page = httpx.get(f"{running.url}/fail", headers={"accept": "text/html"})
        assert page.status_code == 500
        assert "failed on purpose" in page.text
        assert "main.py" in page.text
        raised = running.wait_for("AppRaised")
        assert raised["failure"]["frames"][-1]["path"].endswith("main.py")
        (folder / "main.py").write_text("def app(environ, start_response):\n    1 +\n")
        running.wait_for("AppFailed")
        assert httpx.get(running.url).status_code == 500
        assert running.stop() == 0


def test_dev_run_shows_requests(folder: Path) -> None:
    with command(folder, "run", "--ui", "json", "--port", "0") as child:
        assert child.get("/shop").status == 200
        child.wait_text(r'"RequestsSeen".*"/shop"')
        child.process.terminate()
        assert child.wait() == 0


def test_dev_run_counts_the_queries_that_threads_make(tmp_path: Path) -> None:
    source = """
from sqlalchemy import create_engine, text

engine = create_engine("sqlite://")

def app(environ, start_response):
    with engine.connect() as connection:
        for number in range(20):
            connection.execute(text("select :number"), {"number": number})
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"done"]
"""
    (tmp_path / "main.py").write_text(source)
    with command(tmp_path, "run", "--ui", "json", "--port", "0") as child:
        assert child.get("/").body == b"done"
        child.wait_text(r'"20 queries \(20 alike: main\.py:9\)"')
        child.process.terminate()
        assert child.wait() == 0


@pytest.mark.parametrize("words", [(), ("--preload",)])
def test_dev_prod_serves_with_several_workers(folder: Path, words: tuple[str, ...]) -> None:
    with prod(folder, "-w", "2", "--threads", "3", "--root-path", "/api", *words) as running:
        told = [json.loads(running.get("/shop").body) for _ in range(20)]
        assert all(each["environ"]["wsgi.multiprocess"] for each in told)
        assert told[0]["environ"]["SCRIPT_NAME"] == "/api"
        assert running.process.pid not in {each["pid"] for each in told}
        assert running.get("/fail").status == 500
        running.wait("ValueError: failed on purpose")
        running.wait('"GET /shop HTTP/1.1" 200', 20)
        (folder / "main.py").write_text(APP.replace('"pid": os.getpid()', '"pid": "new"'))
        running.send(signal.SIGHUP)
        until(lambda: json.loads(running.get("/").body)["pid"] == "new")
        running.send(signal.SIGTERM)
        assert running.process.wait(PATIENCE_S) == 0


@pytest.mark.parametrize("words", [("run", "--no-reload"), ("run",), ("prod", "-w", "2")])
def test_app_that_hangs_does_not_hold_the_process(tmp_path: Path, words: tuple[str, ...]) -> None:
    hanging = """
import threading
def app(environ, start_response):
    print("hangs", flush=True)
    threading.Event().wait()
"""
    (tmp_path / "main.py").write_text(hanging)
    with command(tmp_path, *words, "--port", "0", "--timeout-graceful-shutdown", "0") as child:
        with socket.create_connection(("127.0.0.1", child.port)) as client:
            client.sendall(request())
            child.wait_text("hangs")
            child.process.terminate()
            assert child.wait() == 0


# Slow clients


@pytest.mark.slow
def test_slow_uploads_and_downloads_hold_no_thread(tmp_path: Path) -> None:
    """A hundred of each, and eight threads: others are answered while all of them are under way."""
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 26)
    upload = 300_000

    def app(environ: Environ, start_response: Any) -> Any:
        start_response("200 OK", [TEXT])
        if environ["PATH_INFO"] == "/download":
            return environ["wsgi.file_wrapper"]((tmp_path / "sparse").open("rb"))
        return [str(len(environ["wsgi.input"].read(1 << 30))).encode()]

    with serving_wsgi(app, checked=False, threads=8) as running, contextlib.ExitStack() as open_clients:
        uploads = [open_clients.enter_context(client_of(running)) for _ in range(100)]
        downloads = [open_clients.enter_context(client_of(running)) for _ in range(100)]
        head = request("/upload", f"Content-Length: {upload}", method="POST")
        for client in uploads:
            client.send(head + b"x" * (upload - 1))
        for client in downloads:
            client.send(request("/download"))
        for client in downloads:
            client.read(1000)
        until(lambda: under_way(running) == 200)
        for _ in range(20):
            assert running.get("/").body == b"0"
        assert under_way(running) == 200
        for client in uploads:
            client.send(b"x")
        assert [client.response().body for client in uploads] == [str(upload).encode()] * 100
        assert under_way(running) == 100
        # Some of it has been read along with the first bytes.
        left = (1 << 26) - 100_000
        while left > 0:
            left -= len(downloads[0].socket.recv(1 << 20))
        for client in downloads:
            client.reset()
        until(lambda: under_way(running) == 0)


def under_way(running: Running) -> int:
    """How many requests have not come to their end."""
    state = running.server.server_state
    assert state is not None
    return len(state.tasks)


# Large bodies


def peak_bytes(pid: int) -> int:
    """The most memory that a process has had resident since :func:`reset_peak`."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def reset_peak(pid: int) -> None:
    """Has the peak begin at what is resident now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


@contextlib.contextmanager
def flat(pid: int) -> Iterator[None]:
    """What happens meanwhile may use little more memory than there was in use."""
    reset_peak(pid)
    before = peak_bytes(pid)
    yield
    assert peak_bytes(pid) - before < FLAT_BYTES


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/download", "/generated"])
def test_download_of_a_gib_keeps_memory_flat(folder: Path, path: str) -> None:
    with (folder / "sparse").open("wb") as file:
        file.truncate(GIB)
    with run(folder) as child:
        child.get("/")
        with flat(child.process.pid), httpx.stream("GET", f"http://127.0.0.1:{child.port}{path}") as response:
            assert sum(map(len, response.iter_raw(1 << 20))) == GIB


@pytest.mark.slow
@pytest.mark.parametrize("words", [(), ("--wsgi-stream-input",)])
def test_upload_of_a_gib_keeps_memory_flat(folder: Path, words: tuple[str, ...]) -> None:
    spool = folder / "spool"
    spool.mkdir()
    piece = bytes(1 << 20)
    expected = hashlib.sha256()
    for _ in range(1 << 10):
        expected.update(piece)
    with command(
        folder, "run", "--no-reload", "--ui", "plain", "--port", "0", *words, env={"TMPDIR": str(spool)}
    ) as child:
        child.get("/")
        with flat(child.process.pid):
            response = httpx.post(
                f"http://127.0.0.1:{child.port}/",
                content=(piece for _ in range(1 << 10)),
                headers={"Content-Length": str(GIB)},
                timeout=PATIENCE_S * 2,
            )
        assert response.json()["bytes"] == GIB
        assert response.json()["sha256"] == expected.hexdigest()
        # What was written has no name, and its place is free again.
        assert list(spool.iterdir()) == []
        child.process.terminate()
        assert child.wait() == 0
