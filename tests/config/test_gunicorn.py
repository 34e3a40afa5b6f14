"""gunicorn's settings in the file of ``--config``: held against the installed gunicorn, setting by setting."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

# Only its settings are looked at; nothing is served with it.
from gunicorn.config import KNOWN_SETTINGS
from gunicorn.config import Config as GunicornConfig
from gunicorn.errors import ConfigError as GunicornError

from devserver.config import gunicorn, gunicorn_values, python_file, settings
from devserver.config.python_file import HOOKS
from devserver.config.sources import Resolved, resolve
from devserver.errors import ConfigError


def resolved(folder: Path, text: str, **given: object) -> Resolved:
    """What ``dev prod --config gunicorn.conf.py`` makes of it."""
    (folder / "gunicorn.conf.py").write_text(text)
    return resolve("prod", {"config_file": "gunicorn.conf.py", **given}, environ={}, directory=folder)


def test_every_setting_of_the_installed_gunicorn_is_known() -> None:
    assert {setting.name for setting in KNOWN_SETTINGS} == gunicorn.KNOWN


def test_defaults_of_the_installed_gunicorn_are_passed_over_in_silence() -> None:
    usual = {
        setting.name: setting.default
        for setting in KNOWN_SETTINGS
        # Where it lies and what it is depends on who asks.
        if setting.name not in {"chdir", "config", "control_socket"} and not callable(setting.default)
    }
    assert gunicorn.translate(usual).notes == ()


def test_each_setting_is_known_once_and_leads_to_an_option() -> None:
    tables: list[set[str]] = [set(gunicorn.OPTIONS), set(gunicorn.OTHERS), set(gunicorn.OTHER_HOOKS), set(HOOKS)]
    assert sum(map(len, tables)) == len(set.union(*tables))
    for name, convert in gunicorn.OPTIONS.items():
        fields = convert("1").keys() | convert(None).keys()
        assert fields, name
        assert fields <= {known.name for known in settings.fields()}, name


def test_other_settings_are_answered_with_what_to_use(tmp_path: Path) -> None:
    text = "daemon = True\nspew = True\nerrorlog = 'x.log'\nhttp_protocols = 'h2,h1'\nreload = False\nsyslog = False"
    notices = [notice.text.partition("gunicorn.conf.py: ")[2] for notice in resolved(tmp_path, text).notices]
    assert notices == [
        "daemon has no effect: let systemd or a container start dev prod, which stays in the foreground.",
        "spew has no effect: use a debugger, or sys.settrace in the app.",
        "errorlog has no effect: redirect standard error, or give log_config.",
        "http_protocols has no effect: HTTP/2 is not served; let the proxy in front speak it.",
    ]


def test_hooks_that_do_not_exist_are_answered_and_others_are_called(tmp_path: Path) -> None:
    text = "def pre_request(worker, req): ...\ndef when_ready(server): ..."
    found = resolved(tmp_path, text)
    assert [notice.text.partition("conf.py: ")[2] for notice in found.notices] == [
        "pre_request is never called: use middleware of the app."
    ]
    assert list(found.hooks) == ["when_ready"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("workers = 3", {"workers": 3}),
        ("threads = 4", {"threads": 4}),
        ("bind = ':8000'", {"bind": (":8000",)}),
        ("bind = ['127.0.0.1:1', 'unix:/x']", {"bind": ("127.0.0.1:1", "unix:/x")}),
        ("max_requests = 100\nmax_requests_jitter = 5", {"limit_max_requests": 100, "limit_max_requests_jitter": 5}),
        ("max_requests = 0", {"limit_max_requests": None}),
        (
            "logconfig_dict = {'loggers': {'gunicorn.access': {'level': 'ERROR'}}}",
            {
                "log_config": {
                    **gunicorn._LOG_DEFAULTS,
                    "loggers": {"gunicorn.access": {"level": "ERROR"}},
                }
            },
        ),
        ("timeout = 60\ngraceful_timeout = 10\nkeepalive = 3", {"timeout_worker": 60, "timeout_keep_alive": 3}),
        ("accesslog = None", {"access_log": False}),
        ("accesslog = 'a.log'", {"access_log": True, "access_log_file": "a.log"}),
        ("limit_request_line = 0", {"limit_request_line": 8190}),
        ("user = 1000\ngroup = 'www'", {"user": "1000", "group": "www"}),
        ("umask = 0o027", {"umask": 0o027}),
        ("preload_app = True", {"preload": True}),
        ("proxy_protocol = True", {"proxy_protocol": "auto"}),
        ("proxy_protocol = 'v1'", {"proxy_protocol": "v1"}),
        ("forwarded_allow_ips = '*'", {"forwarded_allow_ips": ("*",)}),
        ("header_map = 'refuse'", {"underscore_headers": "refuse"}),
        ("header_map = 'dangerous'", {"underscore_headers": "deliver"}),
        ("wsgi_app = 'shop.wsgi'", {"app": "shop.wsgi"}),
        ("raw_env = ['A=1']", {"env": ("A=1",)}),
        ("import ssl\ncert_reqs = ssl.CERT_REQUIRED", {"ssl_cert_reqs": 2}),
        ("loglevel = 'debug'", {"log_level": "debug"}),
        ("worker_connections = 500", {"limit_connections": 500}),
        ("worker_class = 'sync'", {"threads": 1}),
        ("worker_class = 'gthread'\nthreads = 6", {"threads": 6}),
        ("worker_class = 'sync'\nthreads = 6", {"threads": 6}),
        ("worker_class = 'uvicorn.workers.UvicornWorker'", {"threads": 8, "http": "auto"}),
        ("worker_class = 'uvicorn.workers.UvicornH11Worker'", {"http": "h11"}),
        # Names of ours are the file's own.
        ("timeout = 60\ntimeout_worker = 5", {"timeout_worker": 60}),
        ("host = '127.0.0.1'\nport = '8000'\nbind = f'{host}:{port}'", {"bind": ("127.0.0.1:8000",)}),
        ("env = 1\nheaders = 2\nhttp = 3\nmetrics = 4\ncontrol = 5\nloop = 6", {"http": "auto", "metrics": None}),
        ("workers = '2'\ntimeout = '0x1e'\nthreads = True", {"workers": 2, "timeout_worker": 30, "threads": 1}),
        ("preload_app = 'true'\ncontrol_socket = ' ctl '", {"preload": True, "control": "ctl"}),
        ("class Mine: ...\nworker_class = Mine\nMine.__module__ = 'uvicorn.workers'", {"threads": 8}),
    ],
)
def test_setting_becomes_an_option(tmp_path: Path, text: str, expected: dict[str, Any]) -> None:
    found = resolved(tmp_path, text)
    assert {name: getattr(found.config, name) for name in expected} == expected
    assert [notice for notice in found.notices if "no effect" in notice.text] == []


@pytest.mark.parametrize("kind", ["gevent", "tornado", "some.other.Worker"])
def test_worker_class_that_we_do_not_have_is_answered(tmp_path: Path, kind: str) -> None:
    (notice,) = resolved(tmp_path, f"worker_class = {kind!r}").notices
    assert f"worker_class = {kind!r} has no effect:" in notice.text


PROBES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    3,
    -1,
    20_000,
    2**31,
    1.5,
    b"x",
    "",
    "0",
    "1",
    "3",
    "-1",
    "0x10",
    "0o17",
    "017",
    "1_0",
    " 20000 ",
    "true",
    " False ",
    "TRUE",
    "yes",
    "none",
    "off",
    "Auto",
    "v1",
    "h1, h2",
    "h1,h1",
    "upgrade",
    "drop",
    "asyncio",
    "fast",
    " a , b,, ",
    "*",
    "10.0.0.0/8, ::1",
    "10.0.0.1/8",
    [],
    ["a", " b "],
    ("a",),
    ["a", 1],
    [None],
    {},
    {"a": 1},
)
"""Values of every type that a file could give."""
ELSEWHERE = {"reload_engine", "ssl_version", "reload_extra_files", "chdir", "statsd_host", "logger_class"}
"""Settings whose conversion looks at files, loads classes or makes an address: done elsewhere, or not at all."""


def converted_by(read: Callable[[Any], Any], value: Any) -> tuple[bool, Any]:
    """Returns whether ``read`` accepts the value, and what it makes of it."""
    try:
        return True, read(value)
    except (ValueError, TypeError, AttributeError, GunicornError):
        return False, None


def test_values_are_converted_as_by_the_installed_gunicorn() -> None:
    for setting in KNOWN_SETTINGS:
        if setting.section.endswith("Hooks") or setting.name in ELSEWHERE:
            continue
        for value in PROBES:
            theirs = converted_by(setting.validator, value)
            ours = converted_by(partial(gunicorn_values.convert, setting.name), value)
            if setting.name in {"user", "group"} and (value is None or not isinstance(value, (int, bytes))):
                # Names are looked up when they are taken on.
                continue
            assert (ours, type(ours[1])) == (theirs, type(theirs[1])), (setting.name, value)


FILE = """
import multiprocessing
import os
from dataclasses import dataclass

@dataclass
class Limits:
    requests: "int" = 1000

host = os.environ.get("HOST", "127.0.0.1")
port = os.environ.get("PORT", "8000")
use_loglevel = "info"
timeout_str = "120"
bind = f"{host}:{port}"
workers = "2"
threads = "4"
timeout = timeout_str
graceful_timeout = "10"
keepalive = "5"
max_requests = str(Limits().requests)
loglevel = use_loglevel
accesslog = "-"
forwarded_allow_ips = " 127.0.0.1 , ::1 "
proxy_protocol = False
umask = "0o022"
env = {"A": "1"}
raw_env = [f"{name}={value}" for name, value in env.items()]
proc_name = " shop "
limit_request_fields = "50"
"""


def test_file_comes_to_the_same_as_in_the_installed_gunicorn(tmp_path: Path) -> None:
    path = tmp_path / "gunicorn.conf.py"
    path.write_text(FILE)
    names = python_file.run(path, tmp_path)
    ours, theirs = gunicorn.convert(names), GunicornConfig()
    for name, value in names.items():
        if name in theirs.settings:
            theirs.set(name, value)
            assert ours.names[name] == theirs.settings[name].get(), name
    assert ours.wrong == {}
    assert set(ours.names) == names.keys() & theirs.settings.keys()


@pytest.mark.parametrize(
    ("name", "text", "level"),
    [
        ("gunicorn.conf.py", "port = '8000'", "info"),
        ("gunicorn_conf.py", "port = '8000'", "info"),
        # A setting that only gunicorn has, and an address that was put together.
        ("conf.py", "port = '8000'\ntimeout = 5", "warning"),
        ("conf.py", "port = '8000'\nbind = f'127.0.0.1:{port}'", "warning"),
    ],
)
def test_option_of_ours_that_does_not_count_in_a_gunicorn_file_is_told(
    tmp_path: Path, name: str, text: str, level: str
) -> None:
    (tmp_path / name).write_text(text)
    found = resolve("prod", {"config_file": name}, environ={}, directory=tmp_path)
    assert found.config.port == 8000
    assert [(notice.level, notice.text.partition("only ")[2]) for notice in found.notices if "only" in notice.text] == [
        (level, "gunicorn's settings count in a gunicorn file; port means nothing there.")
    ]


def test_setting_that_was_probably_meant_is_told_unless_it_is_given_too(tmp_path: Path) -> None:
    (notice,) = resolved(tmp_path, "max_request = 3").notices
    assert notice.text.endswith("gunicorn has no setting max_request; did you mean max_requests?")
    assert resolved(tmp_path, "max_request = 3\nmax_requests = max_request").notices == ()


def test_value_that_is_none_is_blamed_on_its_name_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gunicorn\.conf\.py max_requests: 'x' is not a whole number\."):
        resolved(tmp_path, "max_requests = 'x'")


# --env


def test_variables_are_given_to_the_app(tmp_path: Path) -> None:
    (tmp_path / ".env.extra").write_text("A=file\nB=file\n")
    given = {"env": ["A=1", "C=x=y"], "env_file": [".env.extra"]}
    found = resolve("prod", given, environ={"A": "shell"}, directory=tmp_path)
    assert found.environment == {"A": "1", "B": "file", "C": "x=y"}


@pytest.mark.parametrize("pair", ["A", "=1", ""])
def test_variable_without_a_value_is_refused(tmp_path: Path, pair: str) -> None:
    with pytest.raises(ConfigError, match="is not of the form NAME=VALUE"):
        resolve("prod", {"env": [pair]}, environ={}, directory=tmp_path)
