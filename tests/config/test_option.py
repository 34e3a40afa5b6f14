"""Reading values from text."""

from __future__ import annotations

from typing import Any

import pytest

from devserver.config import option as options
from devserver.config.settings import by_name
from devserver.errors import ConfigError


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("port", " 8000 ", 8000),
        ("limit_concurrency", "none", None),
        ("limit_concurrency", "5", 5),
        ("timeout_keep_alive", "5", 5),
        ("timeout_keep_alive", "0.5", 0.5),
        ("uds_permissions", "660", 0o660),
        ("uds_permissions", "0o660", 0o660),
        ("use_colors", "yes", True),
        ("use_colors", "None", None),
        ("access_log", "off", False),
        ("log_level", "15", 15),
        ("log_level", "debug", "debug"),
        ("headers", "X-A: b: c", (("X-A", "b: c"),)),
        ("reload_includes", "{a,b}.py", ("{a,b}.py",)),
        ("forwarded_allow_ips", "a, b,", ("a", "b")),
        ("root_path", " /api", " /api"),
        ("ws", "none", "none"),
        ("loop", "none", "none"),
        ("uds", "none", None),
    ],
)
def test_text_becomes_a_value(name: str, text: str, value: Any) -> None:
    assert options.parse(by_name(name), text) == value


def test_list_in_the_environment_is_split() -> None:
    assert options.parse(by_name("reload_includes"), "a, b", split=True) == ("a", "b")


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("port", "abc", "--port: 'abc' is not a whole number."),
        ("port", "8_000", "--port: '8_000' is not a whole number."),
        ("port", "٨", "--port: '٨' is not a whole number."),
        ("port", "9" * 5000, f"--port: '{'9' * 40}' is not a whole number."),
        ("uds_permissions", "999", "--uds-permissions: '999' is not an octal number."),
        ("timeout_write", "1m", "--timeout-write: '1m' is not a number of seconds."),
        ("timeout_write", "nan", "--timeout-write: 'nan' is not a number of seconds."),
        ("timeout_write", "inf", "--timeout-write: 'inf' is not a number of seconds."),
        ("access_log", "maybe", "--access-log: 'maybe' is neither true nor false."),
        ("headers", "X-A", "--header: 'X-A' has no colon."),
    ],
)
def test_text_of_another_kind_is_refused(name: str, text: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        options.parse(by_name(name), text)
    assert caught.value.message == sentence


def test_spellings_follow_from_the_name() -> None:
    assert options.flag(by_name("limit_concurrency")) == "--limit-concurrency"
    assert options.flag(by_name("reload_dirs")) == "--reload-dir"
    assert options.flag(by_name("bind")) == "--bind"
    assert options.key(by_name("reload_dirs")) == "reload-dir"
    assert options.key(by_name("app")) == "app"


def test_nearest_name_is_offered_only_when_it_is_near() -> None:
    assert options.nearest("prot", ["port", "host"]) == "port"
    assert options.nearest("zzz", ["port", "host"]) == ""
