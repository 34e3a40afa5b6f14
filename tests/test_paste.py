"""``pserve`` with our server in the Paste file."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.ports import free_port
from tests.support.prod import Running
from tests.support.reload import CHECKOUT, PATIENCE_S, until

EXAMPLE = CHECKOUT / "examples" / "pyramid_app"


@contextlib.contextmanager
def pserve(folder: Path, server: str) -> Iterator[Running]:
    """``pserve development.ini`` of the Pyramid example.

    :param server: the section ``[server:main]``; ``PORT`` stands for a free one.
    """
    port = free_port()
    shutil.copytree(EXAMPLE, folder)
    text = (folder / "development.ini").read_text().partition("[server:main]")[0]
    (folder / "development.ini").write_text(f"{text}[server:main]\n{server.replace('PORT', str(port))}")
    log = folder.parent / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "pyramid.scripts.pserve", "development.ini"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": f"{CHECKOUT}:{folder}", "PYTHONWARNINGS": "ignore"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield Running(process, port, log, folder)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(PATIENCE_S)


def test_pserve_serves_with_the_settings_of_the_section(tmp_path: Path) -> None:
    section = "use = egg:devserver#main\nlisten = 127.0.0.1:PORT\nthreads = 3\nsurprise = 1\n"
    with pserve(tmp_path / "project", section) as running:
        running.wait("running on")
        assert running.get("/hello/Ada").body == '{"message": "Hello, Ada!"}'
        assert "surprise has no effect" in running.text
        assert running.end(signal.SIGINT) == 0


@pytest.mark.parametrize(
    ("setting", "said"),
    [("port = many", "is not a whole number"), ("workers = 2", "import string")],
)
def test_setting_that_cannot_be_used_ends_the_start_with_a_sentence(tmp_path: Path, setting: str, said: str) -> None:
    with pserve(tmp_path / "project", f"use = egg:devserver#main\n{setting}\n") as running:
        # The exit code is pserve's own: 0.
        until(lambda: running.process.poll() is not None)
        assert said in running.text
        assert "Traceback" not in running.text
