"""gunicorn's settings in the file of ``--config``: held against the installed gunicorn, setting by setting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from devserver.config import gunicorn, settings
from devserver.config.python_file import HOOKS
from devserver.config.sources import Resolved, resolve
from devserver.errors import ConfigError


def resolved(folder: Path, text: str, **given: object) -> Resolved:
    """What ``dev prod --config gunicorn.conf.py`` makes of it."""
    (folder / "gunicorn.conf.py").write_text(text)
    return resolve("prod", {"config_file": "gunicorn.conf.py", **given}, environ={}, directory=folder)


def test_every_setting_of_the_installed_gunicorn_is_known() -> None:
    # Only its list of settings is looked at; nothing is served with it.
    from gunicorn.config import KNOWN_SETTINGS

    assert {setting.name for setting in KNOWN_SETTINGS} == gunicorn.KNOWN


def test_defaults_of_the_installed_gunicorn_are_passed_over_in_silence() -> None:
    from gunicorn.config import KNOWN_SETTINGS

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
        # Our own name wins.
        ("timeout = 60\ntimeout_worker = 5", {"timeout_worker": 5}),
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
