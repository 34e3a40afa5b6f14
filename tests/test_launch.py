"""Programs written for uvicorn.run, uvicorn.Config and uvicorn.Server, with the import changed. Real processes."""

from __future__ import annotations

import signal
import socket
import sys
from typing import TYPE_CHECKING

import pytest

import devserver
from devserver import launch
from tests.support.server import HELLO, Program, program, spawned, until

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an app in ``myapp.py``."""
    (tmp_path / "myapp.py").write_text(HELLO)
    return tmp_path


def stop(child: Program, number: int = signal.SIGINT) -> int:
    """Sends a signal; the exit code."""
    child.process.send_signal(number)
    return child.wait()


FORMS = {
    "import string": 'import devserver\ndevserver.run("myapp:app", port=0)',
    "object": "import devserver\nfrom myapp import app\ndevserver.run(app, port=0)",
    "config and server": (
        "import devserver\n"
        'config = devserver.Config("myapp:app", port=0)\n'
        "server = devserver.Server(config)\n"
        "server.run()"
    ),
    "running loop": (
        "import asyncio, devserver\n"
        "async def main():\n"
        '    config = devserver.Config("myapp:app", port=0, log_level="info")\n'
        "    server = devserver.Server(config)\n"
        "    await server.serve()\n"
        'if __name__ == "__main__":\n'
        "    asyncio.run(main())"
    ),
    "factory": 'import devserver\ndevserver.run("myfactory:create", factory=True, port=0)',
    "not guarded": HELLO + '\nimport devserver\ndevserver.run("program:app", port=0)',
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_serves_and_logs(folder: Path, form: str) -> None:
    (folder / "myfactory.py").write_text("def create():\n    from myapp import app\n    return app")
    with program(folder, FORMS[form]) as child:
        assert child.get().body == b"hello"
        code = stop(child)
        child.wait_text("Finished server process")
        # Server.run and serve leave the KeyboardInterrupt to the program, as uvicorn's do; run swallows it.
        assert code in ((0,) if "devserver.run" in FORMS[form] else (130, -signal.SIGINT))
        for line in (
            "Started server process",
            "Devserver running on http://127.0.0.1:",
            "Shutting down",
            "app is down",
        ):
            assert line in child.text
        assert '"GET / HTTP/1.1" 200' in child.text


@pytest.mark.parametrize("guard", ['if __name__ == "__main__":\n    ', ""])
def test_an_object_is_reloaded_by_the_name_that_the_script_gives_it(folder: Path, guard: str) -> None:
    source = HELLO.replace("hello", "first") + f"\nimport devserver\n{guard}devserver.run(app, port=0, reload=True)\n"
    with program(folder, source) as child:
        until(lambda: child.get().body == b"first")
        (folder / "program.py").write_text(source.replace("first", "again"))
        until(lambda: child.get().body == b"again")
        assert stop(child) == 0
        assert child.text.count("Devserver running on") >= 1


def test_an_object_that_no_global_variable_holds_cannot_be_reloaded(folder: Path) -> None:
    source = (
        "import devserver\nfrom myapp import app as x\napp = [x]\ndel x\ndevserver.run(app[0], reload=True, port=0)"
    )
    with program(folder, source) as child:
        assert child.wait() == 3
        child.wait_text("no global variable of .*program.py holds it")
        child.wait_text('import string such as "main:app"')
        assert "Traceback" not in child.text


def test_a_module_started_with_m_is_reloaded_by_its_module_name(folder: Path) -> None:
    package = folder / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "other.py").write_text(HELLO)
    (package / "main.py").write_text(
        "from .other import app\n"
        "import devserver\n"
        "if __name__ == '__main__':\n"
        "    devserver.run(app, port=0, reload=True)\n"
    )
    with spawned([sys.executable, "-m", "package.main"], folder) as child:
        until(lambda: child.get().body == b"hello")
        assert stop(child) == 0


def test_sigterm_ends_a_program_as_it_would_without_us(folder: Path) -> None:
    with program(folder, FORMS["import string"]) as child:
        child.get()
        assert stop(child, signal.SIGTERM) == -signal.SIGTERM
        child.wait_text("app is down")


def test_the_script_s_own_folder_comes_before_the_working_directory(folder: Path) -> None:
    (folder / "program.py").write_text(FORMS["import string"])
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "myapp.py").write_text("raise RuntimeError('the wrong one')")
    with spawned([sys.executable, str(folder / "program.py")], elsewhere) as child:
        assert child.get().body == b"hello"


@pytest.mark.parametrize(
    ("call", "code", "sentence"),
    [
        ('devserver.run("myap:app", port=0)', 3, 'did you mean "myapp:app"'),
        ('devserver.run("myapp:ap", port=0)', 3, 'did you mean "myapp:app"|"app"'),
        ('devserver.run("myapp:app", port=-1)', 2, "port: -1 is not between 0 and 65535"),
        ('devserver.run("myapp:app", uds="/no/such/folder/a.sock")', 2, "there is no folder /no/such/folder"),
        ('devserver.run("failing:app", port=0)', 3, "no database"),
        ('devserver.run("myapp:app", port=0, reload=True, env_file="missing.env")', 2, "missing.env does not exist"),
        ('devserver.run("myapp:app", port=0, ssl_certfile="missing.pem")', 2, "cannot read missing.pem"),
        ('devserver.run("myapp:app", port=0, reload=True, ssl_certfile="missing.pem")', 2, "cannot read missing.pem"),
    ],
)
def test_a_mistake_is_logged_in_a_sentence_and_gives_the_exit_code(
    folder: Path, call: str, code: int, sentence: str
) -> None:
    failing = HELLO.replace("await receive()", 'raise RuntimeError("no database")', 1)
    (folder / "failing.py").write_text(failing.replace('if scope["type"]', 'await receive()\n    if scope["type"]', 1))
    with program(folder, f"import devserver\n{call}") as child:
        assert child.wait() == code
        child.wait_text(sentence)
        assert "devserver/server" not in child.text


def test_a_taken_port_ends_run_with_exit_code_two(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with program(folder, f"import devserver\ndevserver.run('myapp:app', port={port})") as child:
            assert child.wait() == 2
            child.wait_text(f"Port {port} is taken by PID")
            assert "Traceback" not in child.text


def test_a_server_in_a_thread_is_polled_and_stopped(folder: Path) -> None:
    source = """
import threading, time, urllib.request, devserver
server = devserver.Server(devserver.Config("myapp:app", port=0, log_level="warning"))
thread = threading.Thread(target=server.run)
thread.start()
while not server.started:
    time.sleep(0.01)
host, port = server.servers[0].sockets[0].getsockname()
print(urllib.request.urlopen(f"http://{host}:{port}/").read(), flush=True)
begun = time.monotonic()
server.should_exit = True
thread.join()
print("quick" if time.monotonic() - begun < 1 else "slow", flush=True)
"""
    with program(folder, source) as child:
        assert child.wait() == 0
        child.wait_text("b'hello'")
        child.wait_text("quick")
        assert "Started server process" not in child.text


def test_env_files_are_read_when_the_server_is_made(folder: Path) -> None:
    (folder / "some.env").write_text("FROM_FILE=yes\nPATH_LIKE=no\n")
    source = """
import os, devserver
server = devserver.Server(devserver.Config("myapp:app", env_file="some.env"))
print(os.environ["FROM_FILE"], os.environ["PATH_LIKE"], flush=True)
"""
    with program(folder, source, env={"PATH_LIKE": "mine"}) as child:
        assert child.wait() == 0
        child.wait_text("yes mine")


def test_a_unix_socket_is_removed_when_run_returns(folder: Path) -> None:
    with program(folder, "import devserver\ndevserver.run('myapp:app', uds='a.sock')") as child:
        child.wait_text("running on unix socket a.sock")
        assert stop(child) == 0
    assert not (folder / "a.sock").exists()


HANDLERS = """
import logging
class Handler(logging.Handler):
    def emit(self, record):
        print("MINE", record.name, record.getMessage(), flush=True)
logging.getLogger("uvicorn.access").handlers = [Handler()]
logging.getLogger("uvicorn.error").info("through %d handler", len(logging.getLogger("uvicorn").handlers))
logging.getLogger("uvicorn.access").addFilter(lambda record: "/healthz" not in record.getMessage())
"""


@pytest.mark.parametrize("options", ["", "workers=2, ", "workers=2, preload=True, ", "reload=True, "])
def test_what_an_app_does_to_uvicorns_loggers_counts(folder: Path, options: str) -> None:
    (folder / "myapp.py").write_text(HANDLERS + HELLO)
    source = f"import devserver\nif __name__ == '__main__':\n    devserver.run('myapp:app', {options}port=0)"
    with program(folder, source) as child:
        for path in ("/healthz", "/shown"):
            assert child.get(path).status == 200
        child.wait_text(r"MINE uvicorn.access 127.0.0.1:\d+ - \"GET /shown HTTP/1.1\" 200")
        child.wait_text("INFO:     through 1 handler")
        assert stop(child) == 0
        assert "healthz" not in child.text
        assert child.text.count("/shown") == 1


def test_making_a_config_imports_no_server() -> None:
    assert launch.Server is devserver.Server
    with pytest.raises(AttributeError):
        launch.nonsense  # noqa: B018
