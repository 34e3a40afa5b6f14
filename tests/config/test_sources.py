"""Precedence, origins, and what is said of unknown names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import uvicorn
from uvicorn.middleware.proxy_headers import _TrustedHosts

from devserver.config import Config, complete, resolve
from devserver.config.settings import LOCAL_PEERS
from devserver.errors import ConfigError
from devserver.protocol.proxy import TrustedPeers
from tests.support.server import hello

if TYPE_CHECKING:
    from devserver.config.sources import Resolved


def resolved(
    directory: Path,
    cli: dict[str, object] | None = None,
    environ: dict[str, str] | None = None,
    *,
    command: str = "run",
) -> Resolved:
    return resolve(command, cli or {}, environ=environ or {}, directory=directory)


def refused(
    directory: Path, cli: dict[str, object] | None = None, environ: dict[str, str] | None = None
) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        resolved(directory, cli, environ)
    return caught.value


def project(directory: Path, text: str) -> Path:
    (directory / "pyproject.toml").write_text(text, encoding="utf-8")
    return directory


def origin(found: Resolved, name: str) -> tuple[object, str]:
    return getattr(found.config, name), found.origins[name]


ALL = "[tool.devserver]\nport = 5\n[tool.devserver.run]\nport = 4\n"


@pytest.mark.parametrize(
    ("cli", "environ", "text", "expected"),
    [
        ({"port": "1"}, {"DEVSERVER_PORT": "2", "PORT": "3"}, ALL, (1, "command line")),
        ({}, {"DEVSERVER_PORT": "2", "PORT": "3"}, ALL, (2, "DEVSERVER_PORT")),
        ({}, {"PORT": "3"}, ALL, (3, "PORT")),
        ({}, {}, ALL, (4, "pyproject.toml [tool.devserver.run]")),
        ({}, {}, "[tool.devserver]\nport = 5", (5, "pyproject.toml [tool.devserver]")),
        ({}, {}, "", (8000, "default")),
    ],
)
def test_stronger_source_wins_and_is_named(
    tmp_path: Path, cli: dict[str, object], environ: dict[str, str], text: str, expected: tuple[int, str]
) -> None:
    assert origin(resolved(project(tmp_path, text), cli, environ), "port") == expected


def test_every_option_has_an_origin(tmp_path: Path) -> None:
    found = resolved(tmp_path)
    assert set(found.origins.values()) == {"default"}
    assert found.config == Config(
        reload=True,
        reload_delay=0.005,
        mode="development",
        strict_port=False,
        timeout_graceful_shutdown=2,
        timeout_startup=60,
        timeout_shutdown=2,
    )


def test_program_is_not_changed_by_variables_and_files(tmp_path: Path) -> None:
    environ = {"DEVSERVER_PORT": "1", "PORT": "2", "FORWARDED_ALLOW_IPS": "*"}
    found = resolved(project(tmp_path, "[tool.devserver]\nport = 3"), environ=environ, command="api")
    assert origin(found, "port") == (8000, "default")
    assert origin(found, "forwarded_allow_ips") == (("*",), "FORWARDED_ALLOW_IPS")
    assert found.environment == {}


def test_port_that_was_asked_for_is_the_only_one_tried(tmp_path: Path) -> None:
    assert resolved(tmp_path, {"port": "8000"}).config.strict_port
    assert origin(resolved(tmp_path, environ={"PORT": "1"}), "strict_port") == (True, "a port was asked for (PORT)")
    assert not resolved(tmp_path, {"port": "8000", "strict_port": False}).config.strict_port
    assert not resolved(tmp_path).config.strict_port


def test_port_that_kubernetes_injects_is_ignored(tmp_path: Path) -> None:
    assert origin(resolved(tmp_path, environ={"PORT": "tcp://10.0.0.1:80"}), "port") == (8000, "default")
    assert refused(tmp_path, environ={"PORT": "http"}).message == "PORT: 'http' is not a whole number."


def test_empty_variable_counts_as_absent(tmp_path: Path) -> None:
    environ = {"DEVSERVER_PORT": "", "PORT": "", "DEVSERVER_WORKERS": ""}
    assert origin(resolved(tmp_path, environ=environ), "port") == (8000, "default")


@pytest.mark.parametrize(
    ("cli", "environ", "text", "expected"),
    [
        ({}, {}, "", LOCAL_PEERS),
        ({"forwarded_allow_ips": ""}, {}, "", ()),
        ({"forwarded_allow_ips": "none"}, {}, "", LOCAL_PEERS),
        ({}, {"FORWARDED_ALLOW_IPS": ""}, "", ()),
        ({}, {"DEVSERVER_FORWARDED_ALLOW_IPS": "", "FORWARDED_ALLOW_IPS": "*"}, "", ()),
        ({}, {"FORWARDED_ALLOW_IPS": "*"}, "", ("*",)),
        ({}, {}, "[tool.devserver]\nforwarded-allow-ips = []", ()),
        ({}, {}, '[tool.devserver]\nforwarded-allow-ips = ""', ()),
    ],
)
def test_empty_list_of_proxies_trusts_nobody_as_in_uvicorn(
    tmp_path: Path, cli: dict[str, object], environ: dict[str, str], text: str, expected: tuple[str, ...]
) -> None:
    found = resolved(project(tmp_path, text), cli, environ).config
    assert found.trusted_proxies == expected


@pytest.mark.parametrize("given", [None, "", [], ["10.0.0.1"], "10.0.0.1, 10.0.0.2", "*", ["*"]])
@pytest.mark.parametrize("variable", [None, "", "*", "10.9.9.9"])
def test_program_trusts_the_proxies_that_uvicorn_would_trust(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: list[str] | str | None, variable: str | None
) -> None:
    environ = {} if variable is None else {"FORWARDED_ALLOW_IPS": variable}
    monkeypatch.delenv("FORWARDED_ALLOW_IPS", raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    theirs = _TrustedHosts(uvicorn.Config(hello, forwarded_allow_ips=given, log_config=None).forwarded_allow_ips)
    config = complete(Config("main:app", forwarded_allow_ips=given), environ=environ, directory=tmp_path).config
    ours = TrustedPeers(config.trusted_proxies)
    for host in ("127.0.0.1", "::1", "10.0.0.1", "10.0.0.2", "10.9.9.9", "192.0.2.1"):
        assert ours.trusts(host) == (host in theirs), host


# Of a service that is called "devserver", of its named port, and of one that is called "devserver-metrics".
SERVICE_LINKS = {
    "DEVSERVER_SERVICE_HOST": "10.43.0.9",
    "DEVSERVER_SERVICE_PORT": "8000",
    "DEVSERVER_SERVICE_PORT_HTTP": "8000",
    "DEVSERVER_PORT": "tcp://10.43.0.9:8000",
    "DEVSERVER_PORT_8000_TCP": "tcp://10.43.0.9:8000",
    "DEVSERVER_PORT_8000_TCP_PROTO": "tcp",
    "DEVSERVER_PORT_8000_TCP_PORT": "8000",
    "DEVSERVER_PORT_8000_TCP_ADDR": "10.43.0.9",
    "DEVSERVER_METRICS_SERVICE_HOST": "10.43.0.10",
    "DEVSERVER_METRICS_PORT": "udp://10.43.0.10:9",
    "DEVSERVER_METRICS_PORT_9_UDP": "udp://10.43.0.10:9",
}


@pytest.mark.parametrize("command", ["run", "prod"])
def test_service_links_of_kubernetes_are_no_options(tmp_path: Path, command: str) -> None:
    found = resolved(tmp_path, environ=SERVICE_LINKS, command=command)
    assert origin(found, "port") == (8000, "default")
    assert found.notices == ()
    assert resolved(tmp_path, {"port": "1"}, SERVICE_LINKS, command=command).config.port == 1


@pytest.mark.parametrize(
    ("cli", "environ", "text", "sentence"),
    [
        ({"port": "1"}, {"DEVSERVER_PORT": "http"}, "", "DEVSERVER_PORT: 'http' is not a whole number."),
        ({"port": "1"}, {"PORT": "x"}, "", "PORT: 'x' is not a whole number."),
        ({}, {"DEVSERVER_PORT": "1", "PORT": "x"}, "", "PORT: 'x' is not a whole number."),
        ({"uds": "a.sock"}, {"DEVSERVER_PORT": "x"}, "", "DEVSERVER_PORT: 'x' is not a whole number."),
        (
            {"port": "1"},
            {},
            "[tool.devserver]\nport = 99999",
            "pyproject.toml [tool.devserver] port: 99999 is not between 0 and 65535.",
        ),
        (
            {},
            {},
            "[tool.devserver]\nport = 99999\n[tool.devserver.run]\nport = 1",
            "pyproject.toml [tool.devserver] port: 99999 is not between 0 and 65535.",
        ),
    ],
)
def test_value_that_loses_is_a_warning_and_no_error(
    tmp_path: Path, cli: dict[str, object], environ: dict[str, str], text: str, sentence: str
) -> None:
    found = resolved(project(tmp_path, text), cli, environ)
    assert [notice.text for notice in found.notices if notice.level == "warning"] == [
        f"{sentence} A stronger setting is used instead."
    ]


def test_contradiction_that_loses_is_no_error(tmp_path: Path) -> None:
    environ = {"DEVSERVER_RELOAD": "off", "DEVSERVER_RELOAD_DELAY": "1"}
    assert refused(tmp_path, environ=environ).message.startswith("--reload-delay has no effect with --no-reload")
    assert resolved(tmp_path, {"reload": True}, environ).config.reload
    assert resolved(tmp_path, {"reload_delay": "2"}, environ).config.reload_delay == 2


def test_variables_of_uvicorn_are_named_with_ours(tmp_path: Path) -> None:
    environ = {"UVICORN_PORT": "1", "UVICORN_HOST": "0.0.0.0", "UVICORN_OTHER": "x", "UVICORN_RELOAD": "1"}
    found = resolved(tmp_path, environ={**environ, "DEVSERVER_HOST": "127.0.0.1"})
    assert [notice.text for notice in found.notices] == [
        "UVICORN_PORT, UVICORN_RELOAD are not read here; write DEVSERVER_PORT, DEVSERVER_RELOAD."
    ]


def test_variables_of_every_kind_are_read(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    found = resolved(
        tmp_path,
        environ={
            "DEVSERVER_RELOAD": "off",
            "DEVSERVER_LIMIT_CONCURRENCY": "none",
            "DEVSERVER_APP_DIR": "a",
            "DEVSERVER_BIND": ":1, :2",
            "DEVSERVER_HEADERS": "Cache-Control: no-cache, no-store, X-A: 1",
            "DEVSERVER_APP": "main:app",
        },
    )
    assert found.config.reload is False
    assert found.config.bind == (":1", ":2")
    assert found.config.headers == (("Cache-Control", "no-cache, no-store"), ("X-A", "1"))
    assert origin(found, "app") == ("main:app", "DEVSERVER_APP")


def test_both_spellings_of_a_variable_are_known(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name in ("DEVSERVER_RELOAD_DIR", "DEVSERVER_RELOAD_DIRS"):
        assert origin(resolved(tmp_path, environ={name: "a"}), "reload_dirs") == (("a",), name)


def test_unknown_variable_is_told_with_the_nearest_name(tmp_path: Path) -> None:
    found = resolved(tmp_path, environ={"DEVSERVER_PROT": "1", "DEVSERVER_PRELOAD": "1", "DEVSERVER_QQQQQ": "1"})
    assert [notice.text for notice in found.notices] == [
        "DEVSERVER_PROT is not an option; did you mean DEVSERVER_PORT?",
        "DEVSERVER_QQQQQ is not an option.",
    ]


@pytest.mark.parametrize(
    ("cli", "environ", "sentence"),
    [
        ({"port": "70000"}, {}, "--port: 70000 is not between 0 and 65535."),
        ({"log_level": "loud"}, {}, "--log-level: 'loud' is not one of critical, error, warning, info, debug, trace."),
        ({"headers": ["x"]}, {}, "--header: 'x' has no colon."),
        ({}, {"DEVSERVER_PORT": "x"}, "DEVSERVER_PORT: 'x' is not a whole number."),
        ({}, {"DEVSERVER_RELOAD": "si"}, "DEVSERVER_RELOAD: 'si' is neither true nor false."),
        ({"uds": "a", "fd": "3"}, {}, "uds and fd each say where to listen."),
        ({"reload": False, "reload_dirs": ["."]}, {}, "--reload-dir has no effect with --no-reload."),
        ({"reload_dirs": ["missing"]}, {}, "--reload-dir: the folder "),
        ({"log_config": "missing.yaml"}, {}, "--log-config: the file missing.yaml does not exist."),
        ({"chdir": "missing"}, {}, "--chdir: the folder "),
        ({}, {"DEVSERVER_CHDIR": "missing"}, "DEVSERVER_CHDIR: the folder "),
        ({"env_file": ["missing"]}, {}, "The env file missing does not exist."),
        ({"app": "a:b", "entrypoint": "c:d"}, {}, "The app and entrypoint both say what to serve."),
    ],
)
def test_bad_value_is_blamed_on_where_it_was_written(
    tmp_path: Path, cli: dict[str, object], environ: dict[str, str], sentence: str
) -> None:
    assert refused(tmp_path, cli, environ).message.startswith(sentence)


@pytest.mark.parametrize(
    ("text", "sentence", "hint"),
    [
        ("[tool.devserver]\nprot = 1", "pyproject.toml [tool.devserver] prot: there is no such option.", "port"),
        ("[tool.devserver.run]\nreloads = 1", "pyproject.toml [tool.devserver.run] reloads: there is", "reload"),
        ("[tool.devserver]\nport = '1'", "pyproject.toml [tool.devserver] port: '1' is not a whole number.", ""),
        ("[tool.devserver]\nreload = 1", "pyproject.toml [tool.devserver] reload: 1 is neither true nor false.", ""),
        ("[tool.devserver]\nlog-config = 1", "pyproject.toml [tool.devserver] log-config: 1 is neither a file", ""),
        ("[tool.devserver]\nreload-dir = []\nreload_dirs = []", "pyproject.toml [tool.devserver] reload_dirs: the", ""),
        ("[tool.devserver.run]\npreload = true", "pyproject.toml [tool.devserver.run] preload: this option", "prod"),
        ("[tool.devserver.run]\napp = 'a:b'", "pyproject.toml [tool.devserver.run] app: the app is named", ""),
        ("[tool.devserver]\ncallback-notify = 1", "pyproject.toml [tool.devserver] callback-notify: there is no", ""),
        ("[tool]\ndevserver = 1", "pyproject.toml: tool.devserver is not a table.", ""),
        ("[tool.devserver]\nrun = 1", "pyproject.toml: [tool.devserver.run] is not a table.", ""),
    ],
)
def test_bad_key_is_named_with_its_file(tmp_path: Path, text: str, sentence: str, hint: str) -> None:
    error = refused(project(tmp_path, text))
    assert error.message.startswith(sentence)
    assert hint in error.hint


def test_file_that_is_not_toml_is_refused(tmp_path: Path) -> None:
    assert "pyproject.toml" in refused(project(tmp_path, "[tool")).message


def test_tables_of_other_commands_and_shared_keys_of_theirs_are_left_alone(tmp_path: Path) -> None:
    text = "[tool.devserver]\npreload = true\napp = 'main:app'\n[tool.devserver.prod]\nanything = 1"
    found = resolved(project(tmp_path, text))
    assert origin(found, "preload") == (False, "default")
    # The search for the app reads it: [tool.fastapi] entrypoint is stronger.
    assert origin(found, "app") == (None, "default")


def test_file_takes_what_toml_can_say(tmp_path: Path) -> None:
    text = """
        [tool.devserver]
        uds-permissions = "660"
        timeout-startup = "none"
        forwarded-allow-ips = ["10.0.0.1", "unix"]
        headers = { X-A = "1" }
        log-config = { version = 1 }
        limit_concurrency = 5
    """
    config = resolved(project(tmp_path, text)).config
    assert config.uds_permissions == 0o660
    assert config.timeout_startup is None
    assert config.forwarded_allow_ips == ("10.0.0.1", "unix")
    assert config.headers == (("X-A", "1"),)
    assert config.log_config == {"version": 1}
    assert config.limit_concurrency == 5


def test_paths_in_a_file_start_at_its_folder(tmp_path: Path) -> None:
    inner = tmp_path / "src" / "app"
    inner.mkdir(parents=True)
    (tmp_path / "log.ini").touch()
    project(tmp_path, "[tool.devserver]\nreload-dir = ['src']\nlog-config = 'log.ini'\naccess-log-file = '-'")
    found = resolved(inner)
    assert found.config.reload_dirs == (str(tmp_path / "src"),)
    assert found.config.log_config == str(tmp_path / "log.ini")
    assert found.config.access_log_file == "-"
    assert found.origins["reload_dirs"] == "../../pyproject.toml [tool.devserver]"
    assert resolved(tmp_path).config.reload_dirs == ("src",)


def test_place_named_by_a_stronger_source_replaces_a_weaker_one(tmp_path: Path) -> None:
    project(tmp_path, "[tool.devserver]\nuds = 'a.sock'\nhost = '0.0.0.0'")
    assert resolved(tmp_path, environ={"PORT": "9"}).config.uds == "a.sock"
    by_port = resolved(tmp_path, {"port": "9"}).config
    assert (by_port.uds, by_port.port, by_port.host) == (None, 9, "0.0.0.0")
    by_fd = resolved(tmp_path, {"fd": "3"}).config
    assert (by_fd.uds, by_fd.fd, by_fd.host) == (None, 3, "127.0.0.1")
    assert by_fd.notices == ()


def test_app_of_a_stronger_source_replaces_the_entrypoint_of_a_weaker_one(tmp_path: Path) -> None:
    environ = {"DEVSERVER_ENTRYPOINT": "c:d"}
    config = resolved(tmp_path, {"app": "a:b"}, environ).config
    assert (config.app, config.entrypoint) == ("a:b", None)
    config = resolved(tmp_path, {"entrypoint": "a:b"}, {"DEVSERVER_APP": "c:d"}).config
    assert (config.app, config.entrypoint) == (None, "a:b")


def test_app_that_is_a_folder_is_where_everything_happens(tmp_path: Path) -> None:
    inner = tmp_path / "shop"
    inner.mkdir()
    project(inner, "[tool.devserver]\nport = 9")
    (inner / ".env").write_text("A=1")
    for text in ("shop", "shop/", "./shop"):
        found = resolved(tmp_path, {"app": text})
        assert found.directory == inner
        assert origin(found, "chdir") == ("shop", "command line (APP is a folder)")
        assert (found.config.app, found.config.port, found.environment["A"]) == (None, 9, "1")


def test_bare_name_of_a_package_is_the_package(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").touch()
    assert resolved(tmp_path, {"app": "shop"}).config.app == "shop"
    assert resolved(tmp_path, {"app": "shop/"}).directory == tmp_path / "shop"


def test_chdir_is_entered_before_files_are_looked_for(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    project(inner, "[tool.devserver]\nport = 9")
    (inner / "x.env").write_text("A=1")
    found = resolved(tmp_path, {"chdir": "inner", "env_file": ["x.env"]})
    assert (found.directory, found.config.port, found.environment["A"]) == (inner, 9, "1")
    assert resolved(tmp_path, environ={"DEVSERVER_CHDIR": "inner"}).directory == inner


def test_chdir_in_the_project_file_starts_at_its_folder(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    assert resolved(project(tmp_path, "[tool.devserver]\nchdir = 'inner'")).directory == tmp_path / "inner"


def test_env_files_add_variables_and_options_and_the_real_environment_wins(tmp_path: Path) -> None:
    (tmp_path / "x.env").write_text(
        "A=1\nB=2\nFORWARDED_ALLOW_IPS=10.0.0.1\nDEVSERVER_PORT=9\nDEVSERVER_HOST=h\nDEVSERVER_CHDIR=/"
    )
    found = resolved(tmp_path, {"env_file": ["x.env"]}, {"B": "real", "DEVSERVER_HOST": "real"})
    assert found.environment["A"] == "1"
    assert "B" not in found.environment
    assert origin(found, "forwarded_allow_ips") == (("10.0.0.1",), "FORWARDED_ALLOW_IPS")
    assert origin(found, "port") == (9, "DEVSERVER_PORT")
    assert found.config.host == "real"
    assert found.directory == tmp_path


def test_files_of_the_mode_are_weaker_than_those_that_are_named(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=1\nB=1")
    (tmp_path / ".env.staging").write_text("A=2\nB=2")
    (tmp_path / "x.env").write_text("A=3")
    found = resolved(tmp_path, {"mode": "staging", "env_file": ["x.env"]})
    assert (found.environment["A"], found.environment["B"]) == ("3", "2")
    assert "B" not in resolved(tmp_path, {"mode": "none"}).environment


def test_fastapi_is_told_of_development_unless_somebody_says_otherwise(tmp_path: Path) -> None:
    assert resolved(tmp_path).environment == {"FASTAPI_ENV": "development"}
    found = resolved(tmp_path, environ={"FASTAPI_ENV": "production"})
    assert found.environment == {}
    assert origin(found, "mode") == ("production", "FASTAPI_ENV")
    (tmp_path / ".env").write_text("FASTAPI_ENV=staging")
    assert resolved(tmp_path).environment == {"FASTAPI_ENV": "staging"}


def test_program_gets_its_env_files_and_trusted_proxies(tmp_path: Path) -> None:
    (tmp_path / "x.env").write_text("A=1\nFORWARDED_ALLOW_IPS=10.0.0.1")
    config = Config("main:app", env_file="x.env", http="zttp")
    found = complete(config, environ={}, directory=tmp_path)
    assert found.environment == {"A": "1", "FORWARDED_ALLOW_IPS": "10.0.0.1"}
    assert found.config.trusted_proxies == ("10.0.0.1",)
    assert (found.origins["env_file"], found.origins["port"]) == ("the program", "default")
    assert len(found.notices) == 1
    assert complete(config, environ={"FORWARDED_ALLOW_IPS": "*"}, directory=tmp_path).config.trusted_proxies == ("*",)


def test_program_that_names_its_proxies_is_believed(tmp_path: Path) -> None:
    config = Config("main:app", forwarded_allow_ips=["10.0.0.1"], chdir=".")
    found = complete(config, environ={"FORWARDED_ALLOW_IPS": "*"}, directory=tmp_path)
    assert found.config is config
    assert found.directory == tmp_path


def test_production_reads_only_what_it_is_told(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=1")
    (tmp_path / "x.env").write_text("A=2")
    found = resolved(tmp_path, environ={"FASTAPI_ENV": "production"}, command="prod")
    assert (found.environment, found.config.mode) == ({}, None)
    assert [notice.text for notice in found.notices] == [
        ".env is not read, as dev prod reads only what it is told to; give --env-file .env, or --mode production."
    ]
    found = resolved(tmp_path, {"mode": "production"}, command="prod")
    assert found.environment == {"A": "1"}
    assert [notice.text for notice in found.notices] == ["Env files: .env."]
    assert resolved(tmp_path, {"env_file": ["x.env"]}, command="prod").environment == {"A": "2"}
    assert resolved(tmp_path, environ={"DEVSERVER_MODE": "production"}, command="prod").environment == {"A": "1"}
    folder = project(tmp_path, "[tool.devserver.prod]\nmode = 'production'")
    assert resolved(folder, command="prod").environment == {"A": "1"}


def test_mode_in_an_env_file_comes_too_late(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("FASTAPI_ENV=staging\nDEVSERVER_MODE=staging")
    assert resolved(tmp_path).config.mode == "development"


def test_strict_env_refuses_what_is_otherwise_told(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A\nB\nC=1")
    told = [notice.text for notice in resolved(tmp_path).notices]
    assert [text.partition(": ")[0] for text in told] == [".env:1", ".env:2"]
    error = refused(tmp_path, {"strict_env": True})
    assert error.message == told[0]
    assert error.hint == "--strict-env makes it an error. There are 1 more. dev env shows them all."
    assert "(DEVSERVER_STRICT_ENV)" in refused(tmp_path, environ={"DEVSERVER_STRICT_ENV": "1"}).hint
    with pytest.raises(ConfigError, match=r"\.env:1"):
        complete(Config("main:app", mode="x", strict_env=True), environ={}, directory=tmp_path)
    (tmp_path / ".env").write_text('C=1\nD={"a": "${C}"}')
    assert resolved(tmp_path, {"strict_env": True}).environment["D"] == '{"a": "1"}'
