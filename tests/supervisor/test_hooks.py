"""What hooks see, held against the installed gunicorn."""

from __future__ import annotations

import os
import socket
from typing import Any

import pytest

# Only its settings are looked at; nothing is served with it.
from gunicorn.config import KNOWN_SETTINGS
from gunicorn.config import Config as GunicornConfig

from devserver.config import Config
from devserver.server.listeners import Listener
from devserver.supervisor.hook_config import IN_EFFECT, WITHOUT_EFFECT, HookConfig
from devserver.supervisor.hooks import HookServer

NAMES = [setting.name for setting in KNOWN_SETTINGS if not setting.section.endswith("Hooks")]


def test_every_setting_of_the_installed_gunicorn_is_there_in_its_type() -> None:
    ours, theirs = HookConfig(Config(), [("127.0.0.1", 8000)], 1), GunicornConfig()
    for name in NAMES:
        value, expected = getattr(ours, name), theirs.settings[name].get()
        if value is None or expected is None:
            continue
        same = isinstance(expected, (int, float)) and isinstance(value, (int, float))
        assert same or type(value) is type(expected), name
    for name in ("address", "env", "uid", "gid", "proc_name", "is_ssl", "worker_class_str"):
        assert hasattr(ours, name), name


def test_settings_without_effect_have_the_defaults_of_the_installed_gunicorn() -> None:
    theirs = GunicornConfig()
    assert {name: theirs.settings[name].get() for name in WITHOUT_EFFECT} == dict(WITHOUT_EFFECT)
    assert {*WITHOUT_EFFECT, "workers"} | IN_EFFECT.keys() >= {*NAMES}
    assert not WITHOUT_EFFECT.keys() & IN_EFFECT.keys()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"bind": ("127.0.0.1:1", "unix:/x")}, {"bind": ["127.0.0.1:1", "unix:/x"]}),
        ({"uds": "/x"}, {"bind": ["unix:/x"]}),
        ({"fd": 3}, {"bind": ["fd://3"]}),
        ({"host": "::1", "port": 1}, {"bind": ["::1:1"]}),
        ({"access_log": False}, {"accesslog": None}),
        ({"access_log_file": "a.log"}, {"accesslog": "a.log"}),
        ({"env": ("A=1", "B=x=y")}, {"env": {"A": "1", "B": "x=y"}, "raw_env": ["A=1", "B=x=y"]}),
        ({"timeout_worker": 5, "timeout_keep_alive": 7}, {"timeout": 5, "keepalive": 7, "timeout_keep_alive": 7}),
        ({"log_config": {"version": 1}}, {"logconfig_dict": {"version": 1}, "logconfig": None}),
        ({"log_config": "a.json"}, {"logconfig_json": "a.json", "logconfig": None, "logconfig_dict": {}}),
        ({"log_config": "a.ini"}, {"logconfig_json": None, "logconfig": "a.ini"}),
        ({"underscore_headers": "deliver"}, {"header_map": "dangerous"}),
        ({"user": "0", "group": "root"}, {"uid": 0, "user": 0, "gid": 0, "group": 0}),
        ({}, {"uid": os.geteuid(), "gid": os.getegid(), "workers": 4, "umask": 0, "max_requests": 0}),
    ],
)
def test_values_are_those_in_effect(options: dict[str, Any], expected: dict[str, Any]) -> None:
    cfg = HookConfig(Config(**options), [], 4)
    assert {name: getattr(cfg, name) for name in expected} == expected


def test_name_that_is_no_setting_is_refused() -> None:
    with pytest.raises(AttributeError, match="There is no setting colour"):
        HookConfig(Config(), [], 1).colour  # noqa: B018 - the access is what is tested


def test_workers_are_known_from_their_making_to_their_end() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        server = HookServer(Config(), 2, [Listener(sock, "http://x")])
    assert server.address == [("127.0.0.1", port)]
    assert [(str(each), each.getsockname()[1], each.fileno()) for each in server.LISTENERS] == [("http://x", port, -1)]
    first = server.hire(1, [])
    assert (server.WORKERS, server.worker_age, first.pid, first.alive) == ({}, 1, 0, True)
    server.refresh(Config(), 3, {1: 71})
    assert {71: first} == server.WORKERS
    assert (server.num_workers, server.cfg.workers, str(first)) == (3, 3, "<Worker 71>")
    # One that could not be made is forgotten when the next is made.
    server.hire(2, [1])
    third: Any = server.hire(3, [1])
    assert server.dismiss(1, 71) is first
    assert not first.alive
    assert server.WORKERS == {}
    third.number, third.seen = 5, object()
    assert server.marks(3) == {"number": 5}
    assert server.become(3, {"name": "x"}) is third
    assert vars(third)["name"] == "x"
    assert {os.getpid(): third} == server.WORKERS
    assert server.dismiss(9, 99).pid == 99


def test_log_has_the_loggers_of_gunicorns() -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        server = HookServer(Config(), 2, [Listener(sock, "unix:")])
    assert server.address == [""]
    assert (server.log.error_log.name, server.log.access_log.name) == ("devserver.error", "devserver.access")
    assert server.log.info == server.log.error_log.info
