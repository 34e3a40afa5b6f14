"""Config: what it takes, what it refuses, and that it takes what uvicorn takes."""

from __future__ import annotations

import dataclasses
import inspect
import pickle
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from devserver.config import LOGGING_CONFIG, Config
from devserver.config import option as options
from devserver.config.settings import GROUPS, LOCAL_PEERS, by_name, fields
from devserver.errors import EXIT_USAGE, ConfigError

UVICORN = list(inspect.signature(uvicorn.Config).parameters.values())


def refusal(**given: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        Config("main:app", **given)
    return caught.value.message


def notices(**given: Any) -> list[str]:
    return [notice.text for notice in Config("main:app", **given).notices]


def test_every_parameter_of_uvicorn_is_taken_in_the_same_place() -> None:
    ours = list(inspect.signature(Config).parameters.values())
    positional = [each.name for each in ours if each.kind is not inspect.Parameter.KEYWORD_ONLY]
    assert positional == [each.name for each in UVICORN]


@pytest.mark.parametrize("theirs", UVICORN, ids=lambda each: str(each.name))
def test_every_default_of_uvicorn_is_ours(theirs: inspect.Parameter) -> None:
    if theirs.name in {"app", "log_config"}:
        # No app: it is looked for. The logging configuration has uvicorn's shape under our names.
        return
    ours = options.default(by_name(theirs.name), "api")
    if ours == ():
        # uvicorn's None stands for an empty list.
        ours = None
    assert ours == theirs.default
    assert type(ours) is type(theirs.default) or isinstance(theirs.default, int)


def test_logging_configuration_of_the_library_is_the_default() -> None:
    assert Config("main:app").log_config is LOGGING_CONFIG
    assert set(LOGGING_CONFIG) == set(uvicorn.config.LOGGING_CONFIG)


def test_every_option_is_declared_with_help_and_a_group() -> None:
    for known in fields():
        declared = options.of(known)
        assert declared.help.strip(), known.name
        assert declared.help.endswith("."), known.name
        assert declared.group in GROUPS, known.name
        assert declared.commands, known.name


@pytest.mark.parametrize("command", options.COMMANDS)
def test_every_default_passes_its_own_check(command: str) -> None:
    for known in fields():
        value = options.default(known, command)
        assert options.check(known, value) == value, known.name


def test_defaults_of_the_commands_differ_where_the_table_says() -> None:
    def three(name: str) -> tuple[Any, Any, Any]:
        known = by_name(name)
        return options.default(known, "api"), options.default(known, "run"), options.default(known, "prod")

    assert three("timeout_keep_alive") == (5, 5, 75)
    assert three("timeout_graceful_shutdown") == (None, 2, 30)
    assert three("timeout_startup") == (None, 60, 60)
    assert three("timeout_shutdown") == (None, 2, 10)
    assert three("mode") == (None, "development", None)
    assert three("reload")[:2] == (False, True)
    assert three("strict_port")[:2] == (True, False)


def test_config_is_frozen_and_crosses_a_pipe() -> None:
    config = Config("main:app", headers=[("x-a", "1")])
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.port = 1  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(config)) == config
    assert dataclasses.replace(config, port=1).headers == (("x-a", "1"),)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"port": 70000}, "port: 70000 is not between 0 and 65535."),
        ({"port": -1}, "port: -1 is not between 0 and 65535."),
        ({"port": "80a"}, "port: '80a' is not a whole number."),
        ({"port": True}, "port: True is not a whole number."),
        ({"port": None}, "port: a value is needed; None is not one."),
        ({"host": 1}, "host: 1 is not text."),
        ({"host": "a\0b"}, "host: 'a\\x00b' contains a NUL character."),
        ({"reload": 1}, "reload: 1 is neither true nor false."),
        ({"lifespan": "maybe"}, "lifespan: 'maybe' is not one of auto, on, off."),
        ({"log_level": "inf"}, "log_level: 'inf' is not one of critical, error, warning, info, debug, trace."),
        ({"log_level": 1.5}, "log_level: 1.5 is not one of critical, error, warning, info, debug, trace."),
        ({"limit_concurrency": 0}, "limit_concurrency: 0 is less than 1."),
        ({"limit_concurrency": 10**8}, "limit_concurrency: 100000000 is more than 10000000."),
        ({"timeout_keep_alive": float("nan")}, "timeout_keep_alive: nan is not a number of seconds."),
        ({"timeout_write": "60"}, "timeout_write: '60' is not a number of seconds."),
        ({"timeout_write": 0}, "timeout_write: 0 is less than 0.001."),
        ({"uds_permissions": 660}, "uds_permissions: 0o1224 is not between 0 and 0o777."),
        ({"uds_permissions": -1}, "uds_permissions: -1 is not between 0 and 0o777."),
        ({"http": "httptool"}, "http: 'httptool' is neither one of auto, httptools, h11 nor an import string"),
        ({"headers": ["x"]}, "headers: ('x',) is not a pair of a name and a value."),
        ({"headers": [("a b", "c")]}, "headers: 'a b' is not a header name."),
        ({"headers": [("a", "b\r\nc: d")]}, "headers: the value of a has characters that a header cannot carry."),
        ({"headers": [("a", "€")]}, "headers: the value of a has characters that a header cannot carry."),
        ({"reload_dirs": 3}, "reload_dirs: 3 is not a list."),
        ({"env_file": b"x"}, "env_file: b'x' is not a list."),
        ({"mode": "../x"}, "mode: '../x' is not a name of letters, digits, - and _."),
        ({"uds": "a", "fd": 3}, "uds and fd each say where to listen."),
        ({"bind": ":1", "uds": "a", "fd": 3}, "bind and uds and fd each say where to listen."),
        ({"worker_max_rss": 200}, "worker_max_rss: no worker fits into less than 16 MiB."),
        ({"forwarded_headers": "forwarded,x-forwarded-for"}, "forwarded_headers: forwarded and x-forwarded-* cannot"),
        ({"forwarded_headers": "x-real-ip"}, "forwarded_headers: 'x-real-ip' is not one of x-forwarded-for,"),
        ({"ssl_keyfile": "key.pem"}, "ssl_keyfile is given without ssl_certfile."),
        ({"entrypoint": "a:b"}, "The app and entrypoint both say what to serve."),
    ],
    ids=lambda each: str(next(iter(each))) if isinstance(each, dict) else "",
)
def test_bad_value_is_refused_in_one_sentence(given: dict[str, Any], sentence: str) -> None:
    assert refusal(**given).startswith(sentence)


def test_refusal_is_an_error_of_usage_and_names_what_was_meant() -> None:
    with pytest.raises(ConfigError) as caught:
        Config("main:app", log_level="debgu")
    assert caught.value.exit_code == EXIT_USAGE
    assert caught.value.hint == "Did you mean debug?"


def test_values_take_one_form() -> None:
    config = Config(
        "main:app",
        uds=Path("a.sock"),
        log_level="INFO",
        env_file=Path(".env"),
        reload_dirs="a,b",
        reload_includes=["*.html"],
        forwarded_allow_ips="10.0.0.1, 10.1.0.0/16",
        headers=[("x-a", "1"), ("x-b", "2")],
    )
    assert config.uds == "a.sock"
    assert config.log_level == "info"
    assert config.env_file == (".env",)
    assert config.reload_dirs == ("a,b",)
    assert config.reload_includes == ("*.html",)
    assert config.forwarded_allow_ips == ("10.0.0.1", "10.1.0.0/16")
    assert Config("main:app", bind=":8000").bind == (":8000",)
    assert config.headers == (("x-a", "1"), ("x-b", "2"))


def test_what_uvicorn_leaves_open_may_be_none() -> None:
    config = Config("main:app", log_config=None, reload_dirs=None, headers=None, env_file=None, workers=None)
    assert (config.log_config, config.reload_dirs, config.headers, config.env_file) == (None, (), (), ())


def test_host_and_port_take_what_programs_give() -> None:
    config = Config("main:app", host=None, port="8001")  # type: ignore[arg-type]
    assert (config.host, config.port) == ("", 8001)
    with pytest.raises(ConfigError, match=r"^port: '80a' is not a whole number\.$"):
        Config("main:app", port="80a")  # type: ignore[arg-type]


def test_log_level_may_be_a_number() -> None:
    assert Config("main:app", log_level=15).log_level == 15


def test_peers_to_trust_default_to_the_machine_itself() -> None:
    assert Config("main:app").trusted_proxies == LOCAL_PEERS
    assert Config("main:app", forwarded_allow_ips="*").trusted_proxies == ("*",)
    assert Config("main:app", forwarded_allow_ips=[]).trusted_proxies == ()


@pytest.mark.parametrize(
    ("name", "given", "ours"),
    [
        ("http", "zttp", "auto"),
        ("http", "uvicorn.protocols.http.h11_impl:H11Protocol", "auto"),
        ("loop", "zuvloop", "uvloop"),
        ("loop", "none", "asyncio"),
    ],
)
def test_names_of_others_implementations_select_ours(name: str, given: str, ours: str) -> None:
    config = Config("main:app", **{name: given})  # type: ignore[arg-type]
    assert getattr(config, name) == ours
    assert len(config.notices) == (given != "none")


def test_own_implementations_are_kept() -> None:
    config = Config("main:app", http=dict, loop="my.loops:new")
    assert (config.http, config.loop) == (dict, "my.loops:new")
    assert config.notices == ()


def test_only_what_is_not_ours_is_noticed() -> None:
    assert notices() == []
    assert notices(ws="none") == []
    assert notices(ws_max_size=1, ws_ping_interval=None) == []
    assert notices(ws="wsproto") == ["--ws wsproto: devserver's own implementation serves instead."]
    assert notices(http2=True) == ["--http2: HTTP/2 is not served in this version; HTTP/1.1 is."]


def test_host_beside_a_unix_socket_is_told_to_have_no_effect() -> None:
    assert notices(uds="a.sock", port=9000) == ["host and port have no effect beside uds."]
    assert notices(uds="a.sock") == []


def test_reload_needs_an_app_that_can_be_imported_again() -> None:
    assert Config("main:app", reload=True).should_reload
    assert Config(None, reload=True).should_reload
    assert not Config(object(), reload=True).should_reload
    assert not Config("main:app").should_reload


def test_certificate_or_factory_turns_tls_on() -> None:
    assert not Config("main:app").is_ssl
    assert Config("main:app", ssl_certfile="cert.pem").is_ssl
    assert Config("main:app", ssl_context_factory=lambda _, default: default()).is_ssl
