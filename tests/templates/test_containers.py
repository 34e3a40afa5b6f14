"""What projects are deployed with, in real containers: built, run as the manifests ask for, and stopped.

``scripts/containers`` makes the images that stand for the official ones, and runs these tests. Podman 4.3 has no timer
for health checks and no conditions between services, so the tests ask for checks and keep the order themselves.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.clients import tool
from tests.support.ports import free_port, listens
from tests.support.reload import until

pytestmark = [pytest.mark.containers, pytest.mark.timeout(300)]

PATIENCE_S = 120.0
PASSWORD = "a password of tests"
# As the manifest asks for; the engine's own writable folders beside /tmp are not there in Kubernetes either.
HARDENED = (
    *("--read-only", "--read-only-tmpfs=false", "--tmpfs", "/tmp"),
    *("--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
)
USER = "10001"
SLOW = '''

@app.get("/slow")
async def slow() -> str:
    """Takes longer than the engine needs to ask for a stop."""
    await asyncio.sleep(3)
    return "done"
'''


@dataclass(frozen=True)
class Built:
    """A project, and the image of its Dockerfile."""

    folder: Path
    image: str


@dataclass(frozen=True)
class Database:
    """A PostgreSQL in a container of its own, which others reach by its address."""

    container: str
    address: str

    def url(self, name: str) -> str:
        """The URL of a database, which is made anew."""
        podman("exec", self.container, "createdb", "--username", "tester", name)
        return f"postgresql://tester:{PASSWORD.replace(' ', '%20')}@{self.address}:5432/{name}"


def podman(*words: str, stdin: str = "", check: bool = True) -> str:
    """What podman writes to stdout.

    :raises AssertionError: it failed.
    """
    return run(tool("podman"), *words, stdin=stdin, check=check)


def run(*words: str, folder: Path = Path("/"), stdin: str = "", check: bool = True) -> str:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "DEVSERVER"))}
    done = subprocess.run(
        words, cwd=folder, env=environ, input=stdin, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 0 or not check, f"{shlex.join(words)}\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
    return done.stdout.strip()


def made(folder: Path, *options: str) -> Path:
    """A new project called my-shop, with its lock file, as its Dockerfile wants it."""
    dev = (sys.executable, "-m", "devserver", "new", "my-shop", "--yes", "--no-git", "--no-install")
    run(*dev, *options, "--docker", "--k8s", "--compose", folder=folder)
    project = folder / "my-shop"
    run(str(Path(sys.executable).parent / "uv"), "lock", "--quiet", folder=project)
    return project


def built(project: Path, name: str) -> Built:
    image = f"localhost/{name}:dev"
    podman("build", *build_options(), "--tag", image, str(project))
    return Built(project, image)


def build_options() -> Sequence[str]:
    """How a build reaches a package index from this machine."""
    given = os.environ.get("CONTAINERS_BUILD_OPTIONS")
    assert given, "these tests are run by scripts/containers, which makes the images that they need"
    return shlex.split(given)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """One with a database and a front end, whose committed build is an old one."""
    project = made(tmp_path_factory.mktemp("service"), "--template", "db", "--with", "frontend")
    dist = project / "src" / "my_shop" / "dist"
    (dist / "index.html").write_text("an old build")
    (dist / "assets" / "index-old.js").write_text("an old build")
    return built(project, "my-shop")


@pytest.fixture(scope="module")
def minimal(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """One to which somebody has added a slow route."""
    project = made(tmp_path_factory.mktemp("minimal"), "--template", "minimal")
    main = project / "main.py"
    main.write_text("import asyncio\n" + main.read_text() + SLOW)
    return built(project, "minimal")


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    given = {"POSTGRES_USER": "tester", "POSTGRES_PASSWORD": PASSWORD, "POSTGRES_DB": "postgres"}
    with started(image_of_database(), *(f"--env={name}={value}" for name, value in given.items())) as name:
        address = podman("inspect", name, "--format", "{{.NetworkSettings.IPAddress}}")
        # Not by its socket, which is there for a moment while the database is being made.
        ready = ("exec", name, "pg_isready", "--host", address, "--username", "tester")
        until(lambda: "accepting" in podman(*ready, check=False), timeout_s=PATIENCE_S)
        yield Database(name, address)


def image_of_database() -> str:
    """The one that a generated compose file names."""
    templates = Path(__file__).parents[2] / "templates"
    compose = yaml.safe_load((templates / "deploy" / "compose.yaml").read_text(encoding="utf-8"))
    name: str = compose["services"]["db"]["image"]
    return f"docker.io/library/{name}"


@contextlib.contextmanager
def started(image: str, *options: str) -> Iterator[str]:
    """A container that runs in the background; its id."""
    name = podman("run", "--detach", *options, image)
    try:
        yield name
    finally:
        podman("rm", "--force", "--time", "0", name)


@contextlib.contextmanager
def served(image: str, *options: str) -> Iterator[tuple[str, int]]:
    """A hardened container that is ready, and where its port is published."""
    port = free_port()
    with started(image, *HARDENED, "--publish", f"127.0.0.1:{port}:8000", *options) as name:
        wait_ready(name, port)
        yield name, port


def wait_ready(name: str, port: int) -> None:
    def ready() -> bool:
        assert state(name)["Running"], logs(name)
        with contextlib.suppress(OSError, http.client.HTTPException):
            return get(port, "/health/ready") == (200, "ok\n")
        return False

    until(ready, timeout_s=PATIENCE_S)


def state(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(podman("inspect", name, "--format", "{{json .State}}"))
    return found


def logs(name: str) -> str:
    """What a container has written, on both of its outputs."""
    command = [tool("podman"), "logs", name]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False).stdout


def get(port: int, path: str) -> tuple[int, str]:
    return ask(port, "GET", path)


def ask(port: int, method: str, path: str, content: Any = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    body = None if content is None else json.dumps(content)
    connection.request(method, path, body, {} if body is None else {"Content-Type": "application/json"})
    with contextlib.closing(connection), connection.getresponse() as response:
        return response.status, response.read().decode()


def migrate(image: str, url: str) -> None:
    """What the init container does, as hardened as it is."""
    podman("run", "--rm", *HARDENED, "--env", f"DATABASE_URL={url}", image, "alembic", "upgrade", "head")


def is_confined(name: str, *writable: str) -> None:
    """That whoever broke into it has little to work with.

    :param writable: folders that the engine makes writable by itself.
    """
    assert podman("exec", name, "id", "-u") == USER
    # The master is the process of number 1, and gets the signals.
    status = dict(line.split(":\t", 1) for line in podman("exec", name, "cat", "/proc/1/status").splitlines())
    assert {*status["Uid"].split()} == {USER}
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    assert status["NoNewPrivs"] == "1"
    for path in ("/app/added.py", "/app/.venv/added.py", "/added", "/var/tmp/added", "/run/added"):
        if path.startswith(writable):
            continue
        assert podman("exec", name, "sh", "-c", f"touch {path} 2>/dev/null || echo refused") == "refused"
    podman("exec", name, "touch", "/tmp/added")


@contextlib.contextmanager
def stopping(name: str, port: int) -> Iterator[None]:
    """A container that is asked to stop meanwhile: entered when the server knows, and left when it has ended well."""
    # What is idle is closed first of all.
    idle = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    idle.request("GET", "/health/live")
    assert idle.getresponse().read() == b"ok\n"
    engine = subprocess.Popen([tool("podman"), "stop", "--time", "40", name], stdout=subprocess.DEVNULL)
    try:
        with contextlib.closing(idle):
            assert idle.sock.recv(1) == b""
        assert engine.poll() is None
        yield
    finally:
        assert engine.wait(PATIENCE_S) == 0
    assert (state(name)["Running"], state(name)["ExitCode"]) == (False, 0)
    assert '"message":"Master 1 ends."' in logs(name)


# The image


def test_service_answers_is_healthy_and_confined(service: Built, database: Database) -> None:
    url = database.url("answers")
    migrate(service.image, url)
    with served(service.image, "--env", f"DATABASE_URL={url}") as (name, port):
        assert get(port, "/health/live") == (200, "ok\n")
        assert ask(port, "POST", "/api/items", {"name": "Tea", "price_cents": 450})[0] == 201
        status, items = get(port, "/api/items")
        assert (status, json.loads(items)["total"]) == (200, 1)
        podman("healthcheck", "run", name)
        is_confined(name)


def test_pages_of_the_image_are_built_of_their_source(service: Built) -> None:
    with served(service.image) as (name, port):
        status, page = get(port, "/")
        files = podman("exec", name, "sh", "-c", "cd /app/src/my_shop/dist && ls assets").split()
        assert podman("exec", name, "ls", "/app").split().count("frontend") == 0
    assert status == 200
    assert '<main id="page">' in page
    assert len(files) >= 2
    assert "index-old.js" not in files


def test_service_that_is_asked_to_stop_takes_what_is_being_sent(service: Built, database: Database) -> None:
    url = database.url("stops")
    migrate(service.image, url)
    body = json.dumps({"name": "Tea", "price_cents": 450}).encode()
    with served(service.image, "--env", f"DATABASE_URL={url}") as (name, port):
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as client:
            head = f"POST /api/items HTTP/1.1\r\nHost: shop\r\nContent-Length: {len(body)}\r\n"
            client.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n" + body[:5])
            with stopping(name, port):
                client.sendall(body[5:])
                response = http.client.HTTPResponse(client)
                response.begin()
                assert (response.status, json.loads(response.read())["name"]) == (201, "Tea")


def test_minimal_project_answers_is_healthy_confined_and_finishes(minimal: Built) -> None:
    with served(minimal.image) as (name, port):
        assert get(port, "/") == (200, '{"message":"Hello from My Shop"}')
        podman("healthcheck", "run", name)
        is_confined(name)
        slow = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
        slow.request("GET", "/slow")
        with stopping(name, port), contextlib.closing(slow), slow.getresponse() as response:
            assert (response.status, response.read()) == (200, b'"done"')


def test_container_that_hangs_is_not_healthy(minimal: Built) -> None:
    with served(minimal.image) as (name, _):
        # What runs in it stands still, as if it were stuck.
        master = state(name)["Pid"]
        workers = Path(f"/proc/{master}/task/{master}/children").read_text().split()
        for pid in (master, *map(int, workers)):
            os.kill(pid, signal.SIGSTOP)
        done = subprocess.run([tool("podman"), "healthcheck", "run", name], capture_output=True, check=False)
        assert done.returncode != 0


# The Deployment


def test_deployment_of_the_service_migrates_and_serves(service: Built, database: Database, tmp_path: Path) -> None:
    with pod(service, tmp_path, {"DATABASE_URL": database.url("pod")}) as port:
        name = "my-shop-pod-0-app"
        wait_ready(name, port)
        # The tables are there: the init container has made them.
        assert ask(port, "POST", "/api/items", {"name": "Tea", "price_cents": 450})[0] == 201
        environ = podman("exec", name, "env").splitlines()
        assert {"FASTAPI_ENV=production", "LOG_LEVEL=INFO"} <= {*environ}
        is_confined_as_podman_reads_it(name)


def test_deployment_of_the_minimal_project_serves(minimal: Built, tmp_path: Path) -> None:
    with pod(minimal, tmp_path, {"MY_SHOP_GREETING": "Good morning"}) as port:
        wait_ready("my-shop-pod-0-app", port)
        assert get(port, "/") == (200, '{"message":"Good morning"}')
        is_confined_as_podman_reads_it("my-shop-pod-0-app")


def is_confined_as_podman_reads_it(name: str) -> None:
    assert podman("exec", name, "id", "-u") == USER
    assert podman("exec", name, "sh", "-c", "touch /app/added 2>/dev/null || echo refused") == "refused"
    podman("exec", name, "touch", "/tmp/added")
    given = json.loads(podman("inspect", name, "--format", "{{json .HostConfig}}"))
    assert given["Memory"] == 256 * 1024 * 1024


@contextlib.contextmanager
def pod(project: Built, tmp_path: Path, secret: dict[str, str]) -> Iterator[int]:
    """The project's Deployment, played; where its port is published."""
    port = free_port()
    base_folder = project.folder / "k8s" / "base"
    manifest = tmp_path / "pod.yaml"
    documents = [config_map(base_folder), playable(base_folder, project.image, port)]
    manifest.write_text(yaml.safe_dump_all(documents))
    # Podman keeps as JSON what it reads variables of.
    data = {name: base64.b64encode(value.encode()).decode() for name, value in secret.items()}
    podman("secret", "create", "my-shop", "-", stdin=json.dumps(data))
    try:
        podman("play", "kube", str(manifest))
        yield port
    finally:
        podman("play", "kube", "--down", str(manifest))
        podman("secret", "rm", "my-shop")
        podman("volume", "rm", "--force", "tmp")


def config_map(base_folder: Path) -> dict[str, Any]:
    """What kustomize makes of its generator."""
    (generator,) = yaml.safe_load((base_folder / "kustomization.yaml").read_text())["configMapGenerator"]
    data = dict(literal.split("=", 1) for literal in generator["literals"])
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": generator["name"]}, "data": data}


def playable(base_folder: Path, image: str, port: int) -> dict[str, Any]:
    """The Deployment as it was generated, with this image, and without what podman 4.3 takes for something else."""
    deployment: dict[str, Any] = yaml.safe_load((base_folder / "deployment.yaml").read_text())
    spec = deployment["spec"]["template"]["spec"]
    for container in [*spec["containers"], *spec.get("initContainers", ())]:
        container["image"] = image
    (app,) = spec["containers"]
    app["ports"][0]["hostPort"] = port
    # Podman makes a call of curl in the container of a probe, on port 0 when the port has a name.
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        del app[probe]
    # Podman starts init containers again once they have succeeded, unless it is told not to.
    spec["restartPolicy"] = "Never"
    return deployment


# The compose file


def test_services_of_the_compose_file_come_up_in_their_order(service: Built, tmp_path: Path) -> None:
    port = free_port()
    folder = tmp_path / "my-shop"
    shutil.copytree(service.folder, folder)
    compose = folder / "compose.yaml"
    # The port of the host is all that is changed: others may use that one here.
    text = compose.read_text()
    assert text.count("127.0.0.1:8000:") == 1
    compose.write_text(text.replace("127.0.0.1:8000:", f"127.0.0.1:{port}:"))
    (folder / ".env").write_text("POSTGRES_PASSWORD=secret-of-tests\n")
    program = (str(Path(sys.executable).parent / "podman-compose"), "--podman-path", tool("podman"))

    def compose_up(*words: str) -> None:
        run(*program, "up", "--detach", "--no-build", *words, folder=folder)

    podman("tag", service.image, "localhost/my-shop:dev")
    try:
        compose_up("--no-deps", "db")
        until(lambda: healthy("my-shop_db_1"), timeout_s=PATIENCE_S)
        compose_up("--no-deps", "migrate")
        podman("wait", "my-shop_migrate_1")
        assert state("my-shop_migrate_1")["ExitCode"] == 0, logs("my-shop_migrate_1")
        compose_up("--no-deps", "app")
        wait_ready("my-shop_app_1", port)
        assert ask(port, "POST", "/api/items", {"name": "Tea", "price_cents": 450})[0] == 201
        assert json.loads(get(port, "/api/items")[1])["total"] == 1
        podman("healthcheck", "run", "my-shop_app_1")
        # Beside /tmp, podman-compose leaves the folders to podman that it has for read_only.
        is_confined("my-shop_app_1", "/run", "/var/tmp")
    finally:
        run(*program, "down", "--volumes", "--timeout", "20", folder=folder)
    assert not listens(port)


def healthy(name: str) -> bool:
    command = [tool("podman"), "healthcheck", "run", name]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
