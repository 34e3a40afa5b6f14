"""Every form in which people start a server, as they type it: a real process, and requests that show its effect."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import select
import shutil
import signal
import socket
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support import mirror
from tests.support.clients import curl
from tests.support.ports import free_port, listens
from tests.support.projects import write_files
from tests.support.proxies import nginx
from tests.support.server import HELLO, PATIENCE_S, Program, program, spawned, until

FACTORY = """
from myapp import app as served

def create_app():
    async def app(scope, receive, send):
        await served({**scope, "root_path": "/made", "path": "/made" + scope["path"]}, receive, send)
    return app
"""

LOGGING = """
version: 1
disable_existing_loggers: false
formatters:
  short:
    (): uvicorn.logging.AccessFormatter
    fmt: "form %(request_line)s gave %(status_code)s"
handlers:
  own:
    class: logging.FileHandler
    filename: requests.log
    formatter: short
loggers:
  uvicorn.access:
    handlers: [own]
    level: INFO
    propagate: false
"""

OWN_HANDLER = """
version: 1
disable_existing_loggers: false
handlers:
  own:
    class: handlers.OwnFile
    filename: own.log
loggers:
  devserver.access:
    handlers: [own]
    level: INFO
    propagate: false
"""

HANDLERS = """
import logging


class OwnFile(logging.FileHandler):
    def format(self, record):
        return record.getMessage().split('"')[1]
"""

FASTAPI = """
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI(title="Tea")

class Cup(BaseModel):
    size: int

@app.post("/cups/{kind}")
async def brew(kind: str, cup: Cup, hot: bool = True) -> dict[str, object]:
    return {"kind": kind, "size": cup.size, "hot": hot}
"""

COUNTING = """
import asyncio, os

running = 0

async def app(scope, receive, send):
    global running
    if scope["type"] != "http":
        raise NotImplementedError
    running += 1
    with open("running", "w") as file:
        file.write(str(running))
    while not os.path.exists("release"):
        await asyncio.sleep(0.01)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})
"""

FILES = {
    "app_factory.py": FACTORY,
    "counting.py": COUNTING,
    "tea.py": FASTAPI,
    "logging.yaml": LOGGING,
    "own.yaml": OWN_HANDLER,
    "handlers.py": HANDLERS,
    ".env": "GREETING=from .env\n",
    "settings.env": "GREETING=from settings.env\n",
    "watched/notes.py": "text = 1\n",
}


@dataclass
class Started:
    """A form that was started."""

    child: Program
    folder: Path
    port: int
    """What ``{port}`` in the form became."""
    inherited: int
    """The port of the socket that it was given as descriptor 3."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.child.port}"

    def get(self, path: str = "/", **rest: Any) -> httpx.Response:
        """One request on a connection of its own."""
        return httpx.get(f"{self.url}{path}", trust_env=False, timeout=PATIENCE_S, **rest)

    def seen(self, path: str = "/", **rest: Any) -> dict[str, Any]:
        """What the mirror saw of a request."""
        told: dict[str, Any] = self.get(path, **rest).json()
        return told

    def stop(self) -> str:
        """Stops it, and gives all that it has written."""
        if self.child.process.poll() is None:
            self.child.process.send_signal(signal.SIGTERM)
        assert self.child.wait() == 0
        return self.child.whole_text()


# What shows the effect of a form


def listens_there_and_only_there(started: Started) -> None:
    started.child.wait_text("➜ Local")
    with contextlib.closing(http.client.HTTPConnection("127.0.0.2", started.port, timeout=PATIENCE_S)) as client:
        client.request("GET", "/")
        assert json.loads(client.getresponse().read())["server"] == ["127.0.0.2", started.port]
    assert not listens(started.port, "127.0.0.1")


def a_free_port_is_taken_and_told(started: Started) -> None:
    assert started.child.port > 0
    assert started.seen()["server"] == ["127.0.0.1", started.child.port]


def new_code_answers_after_a_save(started: Started) -> None:
    until(lambda: started.get().json()["method"] == "GET")
    (started.folder / "myapp.py").write_text(HELLO)
    until(lambda: started.get().text == "hello")


def a_save_below_the_folder_reloads(started: Started) -> None:
    pid = started.seen()["pid"]
    (started.folder / "watched" / "notes.py").write_text("text = 2\n")
    until(lambda: started.seen()["pid"] != pid)


def the_same_process_answers_after_a_save(started: Started) -> None:
    assert started.seen()["pid"] == started.child.process.pid
    (started.folder / "myapp.py").write_text(HELLO)
    assert started.seen()["pid"] == started.child.process.pid


def the_unix_socket_answers(started: Started) -> None:
    started.child.wait_text("app.sock")
    told = json.loads(curl("--unix-socket", str(started.folder / "app.sock"), "http://localhost/a"))
    assert told["path"] == "/a"
    assert told["server"][1] is None
    started.stop()
    assert not (started.folder / "app.sock").exists()


def the_inherited_socket_answers(started: Started) -> None:
    assert started.child.port == started.inherited
    assert started.seen()["server"] == ["127.0.0.1", started.inherited]


def the_loop_is(module: str) -> Callable[[Started], None]:
    def prove(started: Started) -> None:
        assert started.seen()["loop"] == module

    return prove


def requests_are_parsed(started: Started) -> None:
    assert started.get("/", headers={"X-Some": "value"}).json()["http_version"] == "1.1"
    with socket.create_connection(("127.0.0.1", started.child.port), timeout=PATIENCE_S) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 400 ")


def debug_lines_are_shown(started: Started) -> None:
    assert started.get().status_code == 200
    assert "debug: The app is served without lifespan" in started.stop()


def requests_are_logged(started: Started) -> None:
    assert started.get("/cup").status_code == 200
    text = started.stop()
    assert re.search(r'127\.0\.0\.1:\d+ - "GET /cup HTTP/1\.1" 200', text)
    assert "debug:" not in text


def requests_are_not_logged(started: Started) -> None:
    assert started.get("/cup").status_code == 200
    assert "/cup" not in started.stop()


def the_server_is_named(started: Started) -> None:
    assert started.get().headers["server"] == "devserver"


def the_server_is_not_named(started: Started) -> None:
    answer = started.get()
    assert "server" not in answer.headers
    assert "date" in answer.headers


def the_root_path_is(root_path: str) -> Callable[[Started], None]:
    def prove(started: Started) -> None:
        told = started.seen("/a")
        assert told["root_path"] == root_path
        assert told["path"] == f"{root_path}/a"

    return prove


def the_hundred_and_first_is_refused(started: Started) -> None:
    with contextlib.ExitStack() as stack:
        waiting = [stack.enter_context(connection(started.child.port)) for _ in range(101)]
        for client in waiting[:100]:
            client.request("GET", "/")
        until(lambda: running(started.folder) == 100)
        waiting[100].request("GET", "/")
        refused = waiting[100].getresponse()
        assert refused.status == 503
        assert int(refused.headers["retry-after"]) > 0
        refused.read()
        assert running(started.folder) == 100
        (started.folder / "release").touch()
        assert [client.getresponse().status for client in waiting[:100]] == [200] * 100
    # There is room again.
    until(lambda: started.get().status_code == 200)


def of_a_hundred_and_one_at_once_one_is_refused(started: Started) -> None:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connection(started.child.port)) for _ in range(101)]
        for client in clients:
            client.connect()
        # The last one asks first: when it has an answer, or runs, all of them have been accepted.
        clients[100].request("GET", "/")
        until(lambda: running(started.folder) + answered(clients) == 1)
        for client in clients[:100]:
            client.request("GET", "/")
        until(lambda: running(started.folder) + answered(clients) == 101)
        (started.folder / "release").touch()
        statuses = [client.getresponse().status for client in clients]
    assert sorted(statuses) == [200] * 100 + [503]


def it_ends_after_the_five_hundredth(started: Started) -> None:
    with connection(started.child.port) as client:
        for number in range(500):
            assert started.child.process.poll() is None
            client.request("GET", "/")
            response = client.getresponse()
            assert json.loads(response.read())["number"] == number + 1
    assert started.child.wait() == 0
    assert not listens(started.child.port)


def the_environment_has(value: str) -> Callable[[Started], None]:
    def prove(started: Started) -> None:
        assert started.get("/environ/GREETING").text == value

    return prove


def requests_are_logged_as_configured(started: Started) -> None:
    assert started.get("/cup").status_code == 200
    assert "GET /cup" not in started.stop()
    assert (started.folder / "requests.log").read_text() == "form GET /cup HTTP/1.1 gave 200 OK\n"


def requests_go_to_the_projects_own_handler(started: Started) -> None:
    assert started.get("/cup").status_code == 200
    started.stop()
    assert (started.folder / "own.log").read_text() == "GET /cup HTTP/1.1\n"


def lines_are_json(started: Started) -> None:
    assert started.get("/cup").status_code == 200
    lines = [json.loads(line) for line in started.stop().splitlines() if line.startswith("{")]
    assert [line["path"] for line in lines if "path" in line] == ["/cup"]
    assert [line["message"] for line in lines].count("Waiting for application startup.") == 1


def a_broken_log_config_shows_until_it_is_mended(started: Started) -> None:
    config = started.folder / "own.yaml"
    good = config.read_text()
    config.write_text(good.replace("OwnFile", "NoFile"))
    until(lambda: started.get("/cup").status_code == 500)
    assert "handlers.NoFile" in started.get("/cup", headers={"accept": "application/json"}).text
    config.write_text(good)
    until(lambda: started.get("/cup").status_code == 200)


def the_client_behind_nginx_is(address: str) -> Callable[[Started], None]:
    def prove(started: Started) -> None:
        with nginx(started.folder, f"127.0.0.1:{started.child.port}", scheme="https") as port:
            told = json.loads(curl("--interface", "127.0.0.2", f"http://127.0.0.1:{port}/"))
            assert told["client"][0] == address
            assert told["scheme"] == ("https" if address == "127.0.0.2" else "http")

    return prove


def fastapi_and_its_docs_are_told(started: Started) -> None:
    started.child.wait_text(r"➜ Docs +http://127\.0\.0\.1:\d+/docs")
    fastapi_is_served(started)


def fastapi_is_served(started: Started) -> None:
    assert "/openapi.json" in started.get("/docs").text
    schema = started.get("/openapi.json").json()
    assert schema["info"]["title"] == "Tea"
    assert list(schema["paths"]) == ["/cups/{kind}"]
    made = httpx.post(f"{started.url}/cups/green?hot=no", json={"size": 3}, trust_env=False)
    assert made.json() == {"kind": "green", "size": 3, "hot": False}
    assert httpx.post(f"{started.url}/cups/green", json={}, trust_env=False).status_code == 422


def the_openapi_names_the_root_path(started: Started) -> None:
    assert started.get("/openapi.json").json()["servers"] == [{"url": "/api"}]
    assert "/api/openapi.json" in started.get("/docs").text


@contextlib.contextmanager
def connection(port: int) -> Iterator[http.client.HTTPConnection]:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    with contextlib.closing(client):
        yield client


def running(folder: Path) -> int:
    """How many requests ``counting.py`` has begun."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        return int((folder / "running").read_text())
    return 0


def answered(clients: list[http.client.HTTPConnection]) -> int:
    """How many of them have something to read."""
    return len(select.select([client.sock for client in clients], [], [], 0)[0])


# Commands

FORMS: dict[str, tuple[str, Callable[[Started], None]]] = {
    "host and port": ("run myapp:app --host 127.0.0.2 --port {port}", listens_there_and_only_there),
    "free port": ("run myapp:app --port 0", a_free_port_is_taken_and_told),
    "reload": ("run myapp:app --port 0 --reload", new_code_answers_after_a_save),
    "no reload": ("run myapp:app --port 0 --no-reload", the_same_process_answers_after_a_save),
    "reload dir": ("run myapp:app --port 0 --reload --reload-dir watched", a_save_below_the_folder_reloads),
    "uds": ("run myapp:app --uds app.sock", the_unix_socket_answers),
    "fd": ("run myapp:app --fd 3", the_inherited_socket_answers),
    "uvloop": ("run myapp:app --port 0 --loop uvloop", the_loop_is("uvloop")),
    "asyncio": ("run myapp:app --port 0 --loop asyncio", the_loop_is("asyncio.unix_events")),
    "httptools": ("run myapp:app --port 0 --http httptools", requests_are_parsed),
    "h11": ("run myapp:app --port 0 --http h11", requests_are_parsed),
    "log level": ("run myapp:app --port 0 --log-level debug", debug_lines_are_shown),
    "access log": ("run myapp:app --port 0", requests_are_logged),
    "no access log": ("run myapp:app --port 0 --no-access-log", requests_are_not_logged),
    "server header": ("run myapp:app --port 0", the_server_is_named),
    "no server header": ("run myapp:app --port 0 --no-server-header", the_server_is_not_named),
    "root path": ("run myapp:app --port 0 --root-path /api", the_root_path_is("/api")),
    "root path of FastAPI": ("run tea:app --port 0 --root-path /api", the_openapi_names_the_root_path),
    "limit concurrency": ("run counting:app --port 0 --limit-concurrency 100", the_hundred_and_first_is_refused),
    "limit concurrency at once": (
        "run counting:app --port 0 --limit-concurrency 100",
        of_a_hundred_and_one_at_once_one_is_refused,
    ),
    "limit max requests": ("run myapp:app --port 0 --limit-max-requests 500", it_ends_after_the_five_hundredth),
    "env file": ("run myapp:app --port 0 --env-file .env", the_environment_has("from .env")),
    "other env file": ("run myapp:app --port 0 --env-file settings.env", the_environment_has("from settings.env")),
    "log config": ("run myapp:app --port 0 --log-config logging.yaml", requests_are_logged_as_configured),
    "log config with a handler of the project": (
        "run myapp:app --port 0 --log-config own.yaml",
        requests_go_to_the_projects_own_handler,
    ),
    "log config with a handler of the project, no reload": (
        "run myapp:app --port 0 --no-reload --log-config own.yaml",
        requests_go_to_the_projects_own_handler,
    ),
    "log config that is edited": (
        "run myapp:app --port 0 --log-config own.yaml",
        a_broken_log_config_shows_until_it_is_mended,
    ),
    "JSON log": ("run myapp:app --port 0 --log-format json", lines_are_json),
    "factory": ("run app_factory:create_app --factory --port 0", the_root_path_is("/made")),
    "call": ("run 'app_factory:create_app()' --port 0", the_root_path_is("/made")),
    "call and factory": ("run 'app_factory:create_app()' --factory --port 0", the_root_path_is("/made")),
    "proxy headers": ("run myapp:app --port 0 --proxy-headers", the_client_behind_nginx_is("127.0.0.2")),
    "no proxy headers": ("run myapp:app --port 0 --no-proxy-headers", the_client_behind_nginx_is("127.0.0.1")),
    "FastAPI": ("run tea:app --port 0", fastapi_and_its_docs_are_told),
    "FastAPI in a file": ("run tea.py --port 0", fastapi_and_its_docs_are_told),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project."""
    shutil.copy(mirror.__file__, tmp_path / "myapp.py")
    return write_files(tmp_path, FILES)


@pytest.mark.parametrize("name", FORMS)
def test_form_takes_effect(folder: Path, name: str) -> None:
    words, prove = FORMS[name]
    port = free_port("127.0.0.2")
    with socket.create_server(("127.0.0.1", 0)) as inherited:
        # A shell, because it is what people type the words into; descriptor 3 as they would pass it.
        socket_3 = "3<&0" if "--fd" in words else ""
        line = f"exec {sys.executable} -m devserver {words.format(port=port)} --ui plain {socket_3}"
        with spawned(["sh", "-c", line], folder, stdin=inherited) as child:
            started = Started(child, folder, port, inherited.getsockname()[1])
            if "--uds" not in words:
                assert child.port
            prove(started)
            assert "Traceback" not in started.stop()


# Programs

PROGRAMS: dict[str, tuple[str, Callable[[Started], None]]] = {
    "run with an import string": (
        """
        import devserver

        if __name__ == "__main__":
            devserver.run("myapp:app", host="127.0.0.1", port=0, root_path="/made", log_level="info")
        """,
        the_root_path_is("/made"),
    ),
    "run with an object": (
        """
        import devserver
        from tea import app

        if __name__ == "__main__":
            devserver.run(app, host="127.0.0.1", port=0)
        """,
        fastapi_is_served,
    ),
    "run with an object and reload": (
        """
        import devserver
        from myapp import app

        if __name__ == "__main__":
            devserver.run(app, port=0, reload=True)
        """,
        new_code_answers_after_a_save,
    ),
    "Config and Server": (
        """
        import devserver

        if __name__ == "__main__":
            config = devserver.Config("app_factory:create_app", factory=True, port=0, server_header=False)
            server = devserver.Server(config)
            server.run()
        """,
        the_server_is_not_named,
    ),
    "await serve": (
        """
        import asyncio
        import devserver

        async def main():
            config = devserver.Config("myapp:app", port=0, loop="asyncio", log_level="info")
            server = devserver.Server(config)
            await server.serve()

        if __name__ == "__main__":
            asyncio.run(main())
        """,
        the_loop_is("asyncio.unix_events"),
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_program_takes_effect(folder: Path, name: str) -> None:
    source, prove = PROGRAMS[name]
    with program(folder, textwrap.dedent(source)) as child:
        started = Started(child, folder, 0, 0)
        prove(started)
        # run with reload ends as the command does; the others raise the signal again, as uvicorn's programs expect.
        child.process.send_signal(signal.SIGTERM)
        assert child.wait() == (0 if "reload" in name else -signal.SIGTERM)
        assert "Traceback" not in child.whole_text()
