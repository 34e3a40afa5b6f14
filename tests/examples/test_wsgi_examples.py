"""The examples with WSGI frameworks, under ``dev run`` and, where it matters, ``dev prod``."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.support.dev_run import dev_run
from tests.support.server import PATIENCE_S, command

pytestmark = pytest.mark.once

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def test_plain_wsgi_greets_and_sends_a_file() -> None:
    with dev_run("main.py", directory=EXAMPLES / "wsgi") as running:
        assert httpx.get(running.url).text == "Hello, world!\n"
        assert httpx.get(running.url, params={"name": "Ada"}).text == "Hello, Ada!\n"
        assert httpx.get(f"{running.url}/source").content == (EXAMPLES / "wsgi" / "main.py").read_bytes()
        assert running.stop() == 0


def test_flask_answers_streams_and_takes_forms() -> None:
    with dev_run("main.py", directory=EXAMPLES / "flask_app") as running:
        assert httpx.get(running.url, params={"name": "Ada"}).json() == {"message": "Hello, Ada!"}
        counted = httpx.get(f"{running.url}/count", params={"to": 5})
        assert (counted.text, counted.headers["transfer-encoding"]) == ("1\n2\n3\n4\n5\n", "chunked")
        large = b"x" * 3_000_000
        sent = httpx.post(f"{running.url}/upload", files={"file": ("large.bin", large)})
        assert sent.json() == {"name": "large.bin", "bytes": len(large)}
        assert httpx.get(f"{running.url}/nowhere").status_code == 404
        assert running.stop() == 0


def test_fastapi_and_flask_share_a_process() -> None:
    with dev_run("main.py", directory=EXAMPLES / "mounted") as running:
        assert httpx.get(running.url).json() == {"message": "FastAPI"}
        assert httpx.get(f"{running.url}/old/").text == "Flask, mounted at /old"
        assert httpx.get(f"{running.url}/docs").status_code == 200
        assert running.stop() == 0


def test_pyramid_is_put_together_from_its_paste_file() -> None:
    # Pyramid's own imports warn of what setuptools will leave out one day.
    environ = {"PYTHONWARNINGS": "ignore"}
    with dev_run("main.py", directory=EXAMPLES / "pyramid_app", environ=environ) as running:
        assert httpx.get(f"{running.url}/hello/Ada").json() == {"message": "Hello, Ada!"}
        assert running.stop() == 0


def test_pyramid_is_served_from_its_paste_file_by_several_workers() -> None:
    words = ("prod", "--paste", "development.ini", "-w", "2", "--port", "0")
    with command(EXAMPLES / "pyramid_app", *words, env={"PYTHONWARNINGS": "ignore"}) as child:
        assert json.loads(child.get("/hello/Ada").body) == {"message": "Hello, Ada!"}
        # The file's own word; the command line was stronger about the rest.
        child.wait_text('"GET /hello/Ada" 200')
        child.process.send_signal(signal.SIGTERM)
        assert child.wait() == 0


@pytest.fixture
def library(tmp_path: Path) -> dict[str, str]:
    """The environment of the Django example with a database of its own, in which there is an administrator."""
    environ = {
        "LIBRARY_DATABASE": str(tmp_path / "library.db"),
        "DJANGO_SUPERUSER_USERNAME": "ada",
        "DJANGO_SUPERUSER_PASSWORD": "lovelace",
        "DJANGO_SUPERUSER_EMAIL": "ada@example.org",
    }
    for words in (["migrate", "--verbosity", "0"], ["createsuperuser", "--noinput", "--verbosity", "0"]):
        subprocess.run(
            [sys.executable, "manage.py", *words],
            cwd=EXAMPLES / "django_app",
            env={**os.environ, **environ},
            check=True,
            timeout=PATIENCE_S,
        )
    return environ


def use_admin(url: str) -> None:
    """What a person does in the admin: log in, add a book, look at it; with the style sheets that a browser gets."""
    with httpx.Client(base_url=url, follow_redirects=True, headers={"Referer": url}) as browser:
        page = browser.get("/admin/").text
        sheets = re.findall(r'href="(/static/[^"]+\.css)"', page)
        assert sheets
        for sheet in sheets:
            style = browser.get(sheet)
            assert (style.status_code, style.headers["content-type"].partition(";")[0]) == (200, "text/css")
            assert len(style.content) == int(style.headers["content-length"])
        login = {"username": "ada", "password": "lovelace", "csrfmiddlewaretoken": token(page)}
        page = browser.post("/admin/login/?next=/admin/", data=login).text
        assert "Site administration" in page
        page = browser.get("/admin/library/book/add/").text
        page = browser.post(
            "/admin/library/book/add/", data={"title": "Épopée", "csrfmiddlewaretoken": token(page)}
        ).text
        assert "was added successfully" in page
        assert browser.get("/").json() == {"books": ["Épopée"]}
        assert browser.get("/nowhere").status_code == 404


def token(page: str) -> str:
    """Django's guard against forged requests."""
    found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
    assert found is not None
    return found[1]


def test_django_serves_its_admin_under_dev_run(library: dict[str, str]) -> None:
    with dev_run("library.wsgi", directory=EXAMPLES / "django_app", environ={**library, "DEBUG": "1"}) as running:
        use_admin(running.url)
        assert running.stop() == 0


def test_django_serves_its_admin_under_dev_prod(library: dict[str, str]) -> None:
    words = ("prod", "library.wsgi", "-w", "2", "--port", "0")
    with command(EXAMPLES / "django_app", *words, env=library) as child:
        use_admin(f"http://127.0.0.1:{child.port}")
        assert json.loads(child.get("/").body) == {"books": ["Épopée"]}
        child.process.send_signal(signal.SIGTERM)
        assert child.wait() == 0
        assert "Traceback" not in child.text
