"""What projects are deployed with: judged by the validators of each format, and held against dev prod."""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from configparser import RawConfigParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from devserver.cli.arguments import read
from devserver.config.sources import resolve
from devserver.scaffold.catalog import load
from devserver.scaffold.names import names_of
from devserver.scaffold.plan import Answers, plan
from devserver.scaffold.provenance import Provenance
from tests.support.clients import tool
from tests.support.server import command

if TYPE_CHECKING:
    from devserver.config.settings import Config

pytestmark = pytest.mark.once

CATALOG = load()
DEPLOYS = tuple(CATALOG.laid_over.features)
PROVENANCE = Provenance("1.2.3", "devserver-1.2.3-py3-none-any.whl", b"")
PRESETS = list(CATALOG.presets())
BASE = "k8s/base"


def files(preset: str, *features: str, provenance: Provenance = PROVENANCE) -> dict[str, bytes]:
    template, own = CATALOG.preset(preset)
    answers = Answers(names_of("my-shop"), preset, CATALOG.closure(template, [*own, *features]))
    return {each.path: each.content for each in plan(answers, CATALOG, provenance)}


# Nothing but a database, users and a front end makes a difference to what deploys a project.
@pytest.fixture(params=["minimal", "api", "db", "auth", "fullstack"])
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A project with everything that deploys it."""
    return write(tmp_path, files(request.param, *DEPLOYS))


def write(folder: Path, contents: Mapping[str, bytes]) -> Path:
    for path, content in contents.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


def passes(*words: str, folder: Path) -> None:
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr


def installed(name: str) -> str:
    return str(Path(sys.executable).parent / name)


# Each format's own validator


def test_dockerfile_passes_hadolint(project: Path) -> None:
    passes(installed("hadolint"), "--strict-labels", "Dockerfile", folder=project)


def test_manifests_pass_the_schemas_of_kubernetes(project: Path) -> None:
    manifests = [path.name for path in sorted((project / BASE).iterdir()) if path.name != "kustomization.yaml"]
    assert manifests == ["autoscaler.yaml", "deployment.yaml", "disruption.yaml", "service.yaml"]
    done = subprocess.run(
        [installed("kubernetes-validate"), "--strict", *manifests],
        cwd=project / BASE,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("schema", "file"),
    [("vendor.github-workflows", ".github/workflows/ci.yml"), ("vendor.compose-spec", "compose.yaml")],
)
def test_workflow_and_compose_file_pass_their_schemas(project: Path, schema: str, file: str) -> None:
    passes(installed("check-jsonschema"), "--builtin-schema", schema, file, folder=project)


def test_unit_passes_systemd(project: Path) -> None:
    # The programs that it names must be there to be found.
    home = project / "home"
    for program in ("dev", "alembic"):
        path = home / ".venv/bin" / program
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    unit = project / "deploy/my-shop.service"
    unit.write_text(unit.read_text().replace("/srv/my-shop", str(home)))
    passes(tool("systemd-analyze"), "verify", "--man=no", str(unit), folder=project)


# They deploy what is there


@pytest.mark.parametrize("preset", PRESETS)
def test_no_python_file_is_added_or_changed(preset: str) -> None:
    without, having = files(preset), files(preset, *DEPLOYS)
    assert len(having) > len(without)
    assert {path: having[path] for path in without} == without
    assert not [path for path in having.keys() - without.keys() if path.endswith((".py", ".toml"))]


@pytest.mark.parametrize("feature", DEPLOYS)
def test_each_feature_adds_files_of_its_own(feature: str) -> None:
    added = files("minimal", feature).keys() - files("minimal").keys()
    assert added
    assert not any("acme" in path for path in added)


def test_image_copies_the_wheel_only_when_the_project_keeps_one() -> None:
    assert b"COPY vendor vendor" in files("minimal", "docker")["Dockerfile"]
    assert b"vendor" not in files("minimal", "docker", provenance=Provenance("1.2.3"))["Dockerfile"]


def test_database_is_migrated_before_the_app_and_only_where_there_is_one() -> None:
    for preset, there in (("db", True), ("api", False), ("minimal", False)):
        having = files(preset, *DEPLOYS)
        deploying = [f"{BASE}/deployment.yaml", "compose.yaml", "deploy/my-shop.service"]
        assert [b"alembic" in having[path] for path in deploying] == [there] * 3
        assert (b"postgres" in having["compose.yaml"]) is there
        secret = yaml.safe_load(having[f"{BASE}/deployment.yaml"])["spec"]["template"]["spec"]["containers"][0][
            "envFrom"
        ][1]
        assert secret["secretRef"].get("optional", False) is not there


def test_front_end_is_built_by_the_workflow_and_in_the_image_where_there_is_one() -> None:
    for preset, there in (("fullstack", True), ("api", False), ("minimal", False)):
        having = files(preset, *DEPLOYS)
        jobs = yaml.safe_load(having[".github/workflows/ci.yml"])["jobs"]
        assert ("frontend" in jobs) is there
        assert (b"npm" in having["Dockerfile"]) is there
        if there:
            steps = [(step.get("run"), step.get("working-directory")) for step in jobs["frontend"]["steps"]]
            assert steps.index(("npm ci", "frontend")) < steps.index(("npm run build", "frontend"))
            # An old build would stay beside the new one.
            assert "src/my_shop/dist" in having[".dockerignore"].decode().splitlines()
            assert "frontend" not in having[".dockerignore"].decode().splitlines()


# They fit dev prod


def commands(project: Path) -> Iterator[tuple[str, list[str]]]:
    """Where dev prod is started, and with which words."""
    found = re.search(r"^CMD (\[.*\])$", (project / "Dockerfile").read_text(), re.MULTILINE)
    assert found
    yield "Dockerfile", ast.literal_eval(found[1])
    yield "deployment", app_container(project)["command"]
    yield "unit", shlex.split(unit(project)["ExecStart"])


def app_container(project: Path) -> dict[str, Any]:
    (container,) = pod(project)["containers"]
    assert isinstance(container, dict)
    return container


def pod(project: Path) -> dict[str, Any]:
    spec: dict[str, Any] = yaml.safe_load((project / BASE / "deployment.yaml").read_text())["spec"]["template"]["spec"]
    return spec


def unit(project: Path) -> dict[str, str]:
    parser = RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(project / "deploy/my-shop.service")
    return dict(parser["Service"])


def config(words: list[str]) -> Config:
    assert words[0].rpartition("/")[2] == "dev"
    assert words[1] == "prod"
    return resolve("prod", {**read(words[2:], "prod"), "app": "main:app"}, environ={}, directory=Path("/")).config


def test_dev_prod_takes_every_option(project: Path) -> None:
    for place, words in commands(project):
        settings = config(words)
        assert settings.health_path == "/health", place
        assert settings.bind, place


def test_kubernetes_waits_longer_than_stopping_takes(project: Path) -> None:
    container, settings = app_container(project), config(app_container(project)["command"])
    assert settings.timeout_graceful_shutdown is not None
    assert settings.timeout_shutdown is not None
    took_s = (
        container["lifecycle"]["preStop"]["sleep"]["seconds"]
        + settings.shutdown_delay
        + settings.timeout_graceful_shutdown
        + settings.timeout_shutdown
    )
    assert took_s + 5 <= pod(project)["terminationGracePeriodSeconds"]


def test_systemd_waits_longer_than_stopping_takes(project: Path) -> None:
    service = unit(project)
    settings = config(shlex.split(service["ExecStart"]))
    assert settings.timeout_graceful_shutdown is not None
    assert settings.timeout_shutdown is not None
    assert settings.timeout_graceful_shutdown + settings.timeout_shutdown + 5 <= int(service["TimeoutStopSec"])
    assert service["Type"] == "notify"


def test_probes_ask_the_server_and_liveness_is_not_readiness(project: Path) -> None:
    container = app_container(project)
    paths = {name: container[name]["httpGet"]["path"] for name in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert paths == {
        "startupProbe": "/health/ready",
        "readinessProbe": "/health/ready",
        "livenessProbe": "/health/live",
    }
    assert {container[name]["httpGet"]["port"] for name in paths} == {container["ports"][0]["name"]}


def test_server_in_a_pod_answers_the_probes_and_the_health_check_of_the_image(tmp_path: Path) -> None:
    project = write(tmp_path, files("minimal", *DEPLOYS))
    found = re.search(r"HEALTHCHECK .*?CMD (\[.*?\])$", (project / "Dockerfile").read_text(), re.MULTILINE | re.DOTALL)
    assert found
    _, flag, program = json.loads(found[1])
    options = [word for word in app_container(project)["command"][2:] if not word.startswith("--bind")]
    (project / "probed.py").write_text("async def app(scope, receive, send): raise AssertionError('not asked')\n")
    with command(project, "prod", "probed:app", "--bind=127.0.0.1:0", "--lifespan=off", *options) as served:
        served.wait_text("is ready")
        assert [served.get(path).status for path in ("/health/live", "/health/ready")] == [200, 200]
        asking = [sys.executable, flag, program.replace(":8000/", f":{served.port}/")]
        assert subprocess.run(asking, capture_output=True, check=False).returncode == 0
    # A traceback is what the health check of a container wants: an exit code that is not 0.
    assert subprocess.run(asking, capture_output=True, check=False).returncode != 0


# They are safe


def test_nothing_runs_as_root_or_writes_into_the_image(project: Path) -> None:
    (user,) = re.findall(r"^USER (\d+):\d+$", (project / "Dockerfile").read_text(), re.MULTILINE)
    context = pod(project)["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] == int(user) > 0
    for container in [*pod(project)["containers"], *pod(project).get("initContainers", ())]:
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert {"requests", "limits"} <= container["resources"].keys()
    assert yaml.safe_load((project / "compose.yaml").read_text())["services"]["app"]["read_only"] is True


def test_every_image_has_a_version(project: Path) -> None:
    text = (project / "Dockerfile").read_text()
    images = re.findall(r"(?:^FROM|--from=)\s*(\S*[:/]\S*)", text, re.MULTILINE)
    images += re.findall(r"image: *(\S+)", (project / ".github/workflows/ci.yml").read_text())
    images += re.findall(r"image: *(\S+)", (project / "compose.yaml").read_text())
    assert len(images) >= 3
    for image in images:
        assert re.fullmatch(r"[\w./-]+:[\w.-]*[\w]", image), image
        assert not image.endswith(":latest")
    for overlay in ("dev", "prod"):
        (given,) = kustomization(project, f"k8s/overlays/{overlay}")["images"]
        assert given["name"] == "my-shop" == app_container(project)["image"]
        assert given["newTag"] != "latest"


def test_no_secret_is_written_down(project: Path) -> None:
    for path in (project / "k8s").rglob("*.yaml"):
        content = yaml.safe_load(path.read_text())
        assert content["kind"] != "Secret"
        assert "secretGenerator" not in content
    compose = (project / "compose.yaml").read_text()
    for line in compose.splitlines():
        if re.search(r"(PASSWORD|SECRET_KEY): ", line):
            assert "${" in line
    ignored = (project / ".dockerignore").read_text().splitlines()
    assert {".env", ".env.*", ".git", ".venv", "tests"} <= set(ignored)
    # Needed to build the project.
    assert not {"README.md", "pyproject.toml", "uv.lock", "vendor"} & set(ignored)


# kustomize finds what it is told of


def kustomization(project: Path, folder: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((project / folder / "kustomization.yaml").read_text())
    return content


def test_kustomizations_name_what_is_there(project: Path) -> None:
    base = kustomization(project, BASE)
    present = {path.name for path in (project / BASE).iterdir()} - {"kustomization.yaml"}
    assert set(base["resources"]) == present
    resources = [yaml.safe_load((project / BASE / name).read_text()) for name in base["resources"]]
    named = {(each["kind"], each["metadata"]["name"]) for each in resources}
    assert {name for _, name in named} == {"my-shop"}
    for overlay in ("dev", "prod"):
        content = kustomization(project, f"k8s/overlays/{overlay}")
        assert [(project / "k8s/overlays" / overlay / each).resolve() for each in content["resources"]] == [
            (project / BASE).resolve()
        ]
        for patch in content["patches"]:
            kind, name = patch["target"]["kind"], patch["target"]["name"]
            assert (kind, name) in named
            (resource,) = (each for each in resources if each["kind"] == kind)
            for step in yaml.safe_load(patch["patch"]):
                assert step["op"] == "replace"
                assert step["path"].removeprefix("/spec/") in resource["spec"]


def test_selectors_find_the_pods(project: Path) -> None:
    resources = {path.stem: yaml.safe_load(path.read_text()) for path in (project / BASE).iterdir()}
    labels = resources["deployment"]["spec"]["template"]["metadata"]["labels"].items()
    assert resources["deployment"]["spec"]["selector"]["matchLabels"].items() <= labels
    assert resources["service"]["spec"]["selector"].items() <= labels
    assert resources["disruption"]["spec"]["selector"]["matchLabels"].items() <= labels
    target = resources["autoscaler"]["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", resources["deployment"]["metadata"]["name"])
    assert resources["service"]["spec"]["ports"][0]["targetPort"] == app_container(project)["ports"][0]["name"]
