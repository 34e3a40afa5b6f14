"""Every option has an effect: something outside its declaration reads it."""

from __future__ import annotations

import ast
from pathlib import Path

from devserver.config import settings

PACKAGE = Path(__file__).parents[2] / "devserver"

READ_OTHERWISE = {
    "config_file": "config/sources.py runs the file before there is a Config",
    "env": "config/sources.py puts the variables into the environment before there is a Config",
    "forwarded_allow_ips": "Config.trusted_proxies, which protocol/state.py reads, adds the default",
    "http2": "accepted so that uvicorn's programs start; a notice says that HTTP/2 is not served",
    "timeout_worker_healthcheck": "accepted so that uvicorn's programs start; a notice says what to use instead",
}
"""Options that no part reads as an attribute of a Config, and why."""


def test_every_option_is_read_outside_its_declaration() -> None:
    names = {known.name for known in settings.fields()}
    # What hooks may look at is no effect.
    files = {*PACKAGE.rglob("*.py")} - {PACKAGE / "supervisor" / "hook_config.py"}
    read = {name for file in files for name in attributes_of_configs(file)}
    assert names - read == set(READ_OTHERWISE)
    assert "trusted_proxies" in read


def test_option_without_effect_says_so_when_it_is_given() -> None:
    (notice,) = settings.Config("main:app", timeout_worker_healthcheck=10).notices
    assert notice.level == "warning"
    assert notice.text.startswith("--timeout-worker-healthcheck has no effect: --timeout-worker says")
    assert settings.Config("main:app", timeout_worker_healthcheck=5).notices == ()


def test_reader_of_attributes_sees_configs_alone(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text("self._config.port\nconfig.host = other.backlog\nserver.config.uds\n")
    assert attributes_of_configs(file) == {"port", "uds"}


def attributes_of_configs(file: Path) -> set[str]:
    """Names of the attributes that ``file`` reads of anything that is called a config."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    if file == PACKAGE / "config" / "settings.py":
        # Checks and notices of the declaration are no effect.
        tree.body = [node for node in tree.body if not isinstance(node, (ast.ClassDef, ast.FunctionDef))]
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load) and "config" in _name(node.value)
    }


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
