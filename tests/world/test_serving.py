"""An application under one server: it answers, and ends with everything it has started."""

from __future__ import annotations

import http.client
import sys
from pathlib import Path

import pytest

from tests.world.applications.serving import MODES, Program, StartError, free_port, serving, traceback_count

SOURCE = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
async def app(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": str(child.pid).encode()})
"""


def program(folder: Path, source: str) -> Program:
    path = folder / "source.py"
    path.write_text(source)
    return Program(Path(sys.executable), {"main.py": path})


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="other systems do not show environments")
def test_children_in_sessions_of_their_own_end_with_the_server(tmp_path: Path) -> None:
    with serving(program(tmp_path, SOURCE), MODES["uvicorn"], tmp_path / "site", free_port()) as running:
        connection = http.client.HTTPConnection("127.0.0.1", running.port)
        connection.request("GET", "/")
        child = connection.getresponse().read().decode()
        connection.close()
        assert Path("/proc", child).exists()
    assert running.left == 1
    assert not Path("/proc", child, "exe").exists()


def test_program_that_does_not_start_says_why(tmp_path: Path) -> None:
    broken = program(tmp_path, "import no_such_module")
    with (
        pytest.raises(StartError, match="no_such_module"),
        serving(broken, MODES["uvicorn"], tmp_path / "site", free_port()),
    ):
        pass


def test_tracebacks_are_counted() -> None:
    assert traceback_count("Traceback (most recent call last):\n  x\nTraceback (most recent call last):\n") == 2
