"""The template of services as it lies there, with every feature: its own checks, on both databases, and served."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from devserver.scaffold.catalog import template_paths, templates_folder
from tests.support.browser import Page, page
from tests.support.clients import tool
from tests.support.ports import free_port, listens
from tests.support.postgres import Postgres, postgres
from tests.support.reload import until
from tests.support.typing_cache import mypy_cache

pytestmark = [pytest.mark.slow, pytest.mark.once]

TEMPLATE = templates_folder() / "service"
SECRET_KEY = "a key of tests that is long enough for HMAC"
ACCOUNT = {"email": "ada@example.com", "password": "correct horse battery"}
PATIENCE_S = 120.0

# Of what schemathesis knows. Not that Allow names every method of a path: a route of Starlette knows its own alone.
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
)
# A stream does not end, and signing out would leave the rest of the run without an account.
EXCLUDED = ("/api/live/events", "/api/auth/logout")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy, so that no cache gets into the template."""
    folder = tmp_path_factory.mktemp("service")
    for path in template_paths(TEMPLATE):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(TEMPLATE / path, folder / path)
    return folder


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def new_database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """A function that makes an empty database of some name, and returns its URL."""
    if request.param == "sqlite":
        return lambda name: f"sqlite:///{tmp_path_factory.mktemp('databases') / name}.db"
    running: Postgres = request.getfixturevalue("server")
    return running.url


def environ(project: Path, **added: str) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "DEVSERVER", "COV"))}
    return {**ours, "PYTHONPATH": str(project / "src"), "PYTHONDONTWRITEBYTECODE": "1", **added}


def run(project: Path, *words: str, **added: str) -> None:
    """Runs a tool of the project in the environment of these tests, which has all that it depends on."""
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=project,
        env=environ(project, **added),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout[-6000:]}"


@pytest.mark.timeout(300)
def test_template_is_formatted_linted_and_typed(project: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    run(project, "ruff", "format", "--check", ".")
    run(project, "ruff", "check", ".")
    with mypy_cache(tmp_path_factory) as cache:
        run(project, "mypy", "--cache-dir", str(cache))


def test_template_passes_its_tests(project: Path, new_database: Callable[[str], str]) -> None:
    run(project, "pytest", "-q", "-p", "no:cacheprovider", TEST_DATABASE_URL=new_database("tests"))


@dataclass(frozen=True)
class Service:
    """One that runs, and an account that is signed in."""

    process: subprocess.Popen[bytes]
    port: int
    token: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


@contextmanager
def service(project: Path, database_url: str, *options: str, attempts_max: int = 1_000_000) -> Iterator[Service]:
    """``dev prod`` with the project, on a database that its migrations have made.

    :param attempts_max: how often somebody may try to sign in; most tests are about other things.
    """
    settings = {
        "DATABASE_URL": database_url,
        "SECRET_KEY": SECRET_KEY,
        "LOGIN_ATTEMPTS_MAX": str(attempts_max),
        # No hash here protects anything.
        "ARGON2_MEMORY_KIB": "8",
        "ARGON2_PASSES": "1",
    }
    run(project, "alembic", "upgrade", "head", **settings)
    port = free_port()
    log = project / f"log-{port}"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "devserver", "prod", "--port", str(port), *options],
            cwd=project,
            env=environ(project, **settings),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        until(lambda: "running on" in log.read_text() or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        yield Service(process, port, signed_in(f"http://127.0.0.1:{port}"))
        assert "Traceback" not in log.read_text()
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(PATIENCE_S)
    assert not listens(port)


def signed_in(url: str) -> str:
    """The access token of a new account."""
    account = urllib.request.Request(
        f"{url}/api/users", json.dumps(ACCOUNT).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(account) as response:
        assert response.status == 201
    form = urllib.parse.urlencode({"username": ACCOUNT["email"], "password": ACCOUNT["password"]})
    with urllib.request.urlopen(f"{url}/api/auth/token", form.encode()) as response:
        token: str = json.load(response)["access_token"]
    return token


def test_whatever_the_description_allows_or_forbids_is_answered_as_it_says(
    project: Path, new_database: Callable[[str], str], tmp_path: Path
) -> None:
    with service(project, new_database("described"), "-w", "2") as running:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "run", f"{running.url}/openapi.json"),
                *("--header", f"Authorization: {running.authorization['Authorization']}"),
                *("--checks", ",".join(CHECKS)),
                *(word for path in EXCLUDED for word in ("--exclude-path", path)),
                *("--max-examples", "10", "--seed", "1", "--generation-database", "none", "--no-color"),
            ],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    assert done.returncode == 0, done.stdout[-6000:]


def test_attempts_are_counted_over_all_workers(project: Path, new_database: Callable[[str], str]) -> None:
    """Also of those that come at one moment none may slip through."""
    with service(project, new_database("attempts"), "-w", "2", attempts_max=10) as running:

        def attempt(password: str) -> int:
            # A connection each, so that both workers get some.
            connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=PATIENCE_S)
            body = json.dumps(ACCOUNT | {"password": password})
            connection.request("POST", "/api/auth/session", body, {"Content-Type": "application/json"})
            with contextlib.closing(connection), connection.getresponse() as response:
                return response.status

        with ThreadPoolExecutor(8) as pool:
            at_once = list(pool.map(attempt, ["a guess"] * 24))
        after = [attempt("a guess") for _ in range(11)]
        right = attempt(ACCOUNT["password"])

    assert {*at_once, *after} == {401, 429}
    # Signing in, when the service began, has proven who it was, and has been forgotten.
    assert (at_once + after).count(401) == 10
    assert right == 429


def test_service_that_stops_tells_those_who_listen(project: Path, tmp_path: Path) -> None:
    with service(project, f"sqlite:///{tmp_path}/live.db", "-w", "1", "--timeout-graceful-shutdown", "1") as running:
        stream = http.client.HTTPConnection("127.0.0.1", running.port, timeout=PATIENCE_S)
        stream.request("GET", "/api/live/events", headers=running.authorization)
        events = stream.getresponse()
        assert events.readline() == b": listening\n"

        url = f"ws://127.0.0.1:{running.port}/api/live/socket"
        with connect(url, additional_headers=running.authorization) as socket:
            socket.send("hello")
            assert json.loads(socket.recv())["text"] == "hello"
            while not (line := events.readline()).startswith(b"data: "):
                assert line
            assert json.loads(line.removeprefix(b"data: "))["text"] == "hello"

            running.process.send_signal(signal.SIGTERM)

            with pytest.raises(ConnectionClosed):
                socket.recv(timeout=PATIENCE_S)
            assert socket.close_code == 1012
        assert running.process.wait(PATIENCE_S) == 0
        stream.close()


def test_pages_sign_in_show_and_change_things(project: Path, tmp_path: Path) -> None:
    with service(project, f"sqlite:///{tmp_path}/pages.db", "-w", "1") as running:
        with page(tmp_path, f"{running.url}/") as shown:
            # The API says that nobody is signed in, so the front end asks who it is.
            shown.wait("document.querySelector('[name=password]') !== null")
            fill(shown, "email", ACCOUNT["email"])
            fill(shown, "password", ACCOUNT["password"])
            shown.press_enter()
            shown.wait("document.querySelector('h1')?.textContent == 'Items (0)'")
            # The second change is made after the page was loaded anew, with the cookie alone.
            for number, name in enumerate(("Tea", "<b>Milk</b>")):
                fill(shown, "name", name)
                fill(shown, "price", "4.50")
                shown.press_enter()
                shown.wait(f"document.querySelector('h1')?.textContent == 'Items ({number + 1})'")
                shown.open(f"{running.url}/")
                shown.wait("document.querySelector('li a') !== null")
            shown.click("li a")
            shown.wait("document.querySelector('h1')?.textContent == '<b>Milk</b>'")
            shown.open(shown.evaluate("location.href"))
            shown.wait("document.querySelector('h1')?.textContent == '<b>Milk</b>'")

            shown.open(f"{running.url}/live")
            shown.wait("document.querySelector('#state').value == 'Connected.'")
            fill(shown, "text", "hello")
            shown.press_enter()
            for by in ("socket", "events"):
                shown.wait(f"document.querySelector('#by-{by}').textContent.includes('hello')")


def fill(shown: Page, name: str, text: str) -> None:
    """Types into a field."""
    shown.wait(f"document.querySelector('[name={name}]') !== null")
    shown.click(f"[name={name}]")
    shown.type(text)


def test_front_end_that_is_committed_is_the_build_of_its_source(project: Path) -> None:
    """Of the same source, and with the versions of the lock file, Vite always makes the same files."""
    dist = project / "src" / "acme_shop" / "dist"
    committed = {path: (dist / path).read_bytes() for path in template_paths(dist)}

    for words in (["ci", "--no-audit", "--no-fund"], ["run", "build"]):
        done = subprocess.run(
            [tool("npm"), *words],
            cwd=project / "frontend",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-4000:]

    assert {path: (dist / path).read_bytes() for path in template_paths(dist)} == committed


def test_lock_file_of_the_front_end_names_no_registry() -> None:
    """Whoever builds it takes the packages from where his npm takes them; what they are is told by their hashes."""
    lock = json.loads((TEMPLATE / "frontend" / "package-lock.json").read_text(encoding="utf-8"))

    packages = [package for path, package in lock["packages"].items() if path]
    assert packages
    assert all("resolved" not in package and "integrity" in package for package in packages)
