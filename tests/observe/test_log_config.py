"""devserver/observe/log_config.py."""

from __future__ import annotations

import configparser
import io
import json
import logging
import sys
from pathlib import Path

import pytest
import yaml

from devserver.config.settings import Config
from devserver.errors import ConfigError
from devserver.observe import log_config
from devserver.observe.logging import AccessFormatter, DefaultFormatter, StreamHandler, configure

# What people write for uvicorn.
UVICORN = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "default": {"()": "uvicorn.logging.DefaultFormatter", "fmt": "%(asctime)s %(levelprefix)s %(message)s"},
        "access": {
            "()": "uvicorn.logging.AccessFormatter",
            "fmt": '%(asctime)s %(client_addr)s "%(request_line)s" %(status_code)s',
            "use_colors": None,
        },
    },
    "handlers": {
        "default": {"class": "logging.StreamHandler", "formatter": "default", "stream": "ext://sys.stderr"},
        "access": {"class": "logging.StreamHandler", "formatter": "access", "stream": "ext://sys.stdout"},
    },
    "loggers": {
        "uvicorn": {"handlers": ["default"], "level": "DEBUG", "propagate": False},
        "uvicorn.error": {"level": "INFO"},
        "uvicorn.access": {"handlers": ["access"], "level": "INFO", "propagate": False},
        "uvicornish": {"level": "ERROR"},
    },
}

INI = """\
[loggers]
keys = root, uvicorn, access
[handlers]
keys = console, out
[formatters]
keys = default, access
[logger_root]
level = WARNING
handlers =
[logger_uvicorn]
qualname = uvicorn
level = DEBUG
handlers = console
propagate = 0
[logger_access]
qualname = uvicorn.access
level = INFO
handlers = out
propagate = 0
[handler_console]
class = StreamHandler
formatter = default
args = (sys.stderr,)
[handler_out]
class = logging.StreamHandler
formatter = access
args = (sys.stdout,)
[formatter_default]
class = uvicorn.logging.DefaultFormatter
format = %(levelprefix)s %(message)s
[formatter_access]
class = uvicorn.logging.AccessFormatter
format = %(client_addr)s %(status_code)s
"""


def assert_applied() -> None:
    """uvicorn's loggers, formatters and handlers have become ours."""
    logger, access = logging.getLogger("devserver"), logging.getLogger("devserver.access")
    assert logger.level == logging.DEBUG
    assert [type(handler) for handler in (*logger.handlers, *access.handlers)] == [StreamHandler, StreamHandler]
    assert type(logger.handlers[0].formatter) is DefaultFormatter
    assert type(access.handlers[0].formatter) is AccessFormatter
    assert not logger.propagate
    assert logging.getLogger("uvicorn").handlers == logger.handlers


def read_error(source: object) -> str:
    with pytest.raises(ConfigError) as caught:
        log_config.read(source)
    assert "\n" not in caught.value.message
    return caught.value.message


@pytest.mark.parametrize("suffix", [".json", ".JSON", ".yaml", ".yml"])
def test_a_file_for_uvicorn_sets_up_our_loggers(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"logging{suffix}"
    path.write_text(json.dumps(UVICORN) if suffix.lower() == ".json" else yaml.safe_dump(UVICORN))
    configure(Config("main:app", log_config=str(path)))
    assert_applied()


@pytest.mark.parametrize("suffix", [".ini", ".conf", ""])
def test_an_ini_file_for_uvicorn_sets_up_our_loggers(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"logging{suffix}"
    path.write_text(INI)
    configure(Config("main:app", log_config=path))
    assert_applied()


def test_a_dictionary_a_file_object_and_a_parser_do_the_same() -> None:
    parser = configparser.RawConfigParser()
    parser.read_string(INI)
    for source in (UVICORN, io.StringIO(INI), parser):
        logging.getLogger("devserver").handlers = []
        configure(Config("main:app", log_config=source))
        assert_applied()
    assert parser.get("logger_uvicorn", "qualname") == "uvicorn"


def test_existing_loggers_stay_enabled_by_an_ini_file() -> None:
    mine = logging.getLogger("test_log_config.mine")
    configure(Config("main:app", log_config=io.StringIO(INI)))
    assert not mine.disabled


def test_only_the_names_of_uvicorn_are_replaced() -> None:
    result = log_config.translate(
        {
            "formatters": {
                "mine": {"()": "uvicorn.logging.Unknown"},
                "other": {"class": "uvicorn.logging.AccessFormatter"},
            },
            "handlers": {"mine": {"class": "logging.StreamHandler"}, "ours": {"class": "logging.FileHandler"}},
            "loggers": {
                "uvicorn.access": {"level": "INFO", "handlers": ["ours", "missing"]},
                "devserver.access": {"level": "ERROR", "handlers": None},
                "uvicornish": {"handlers": ["mine"]},
            },
        }
    )
    assert result["formatters"] == {
        "mine": {"()": "uvicorn.logging.Unknown"},
        "other": {"class": "devserver.observe.logging.AccessFormatter"},
    }
    assert result["handlers"] == {"mine": {"class": "logging.StreamHandler"}, "ours": {"class": "logging.FileHandler"}}
    assert result["loggers"] == {
        "devserver.access": {"level": "ERROR", "handlers": None},
        "uvicornish": {"handlers": ["mine"]},
    }


def test_the_loggers_of_gunicorn_are_replaced_unless_uvicorns_are_there() -> None:
    config = {
        "version": 1,
        "loggers": {
            "gunicorn.error": {"level": "ERROR"},
            "gunicorn.access": {"level": "DEBUG"},
            "uvicorn.access": {"level": "INFO"},
        },
    }
    assert log_config.translate(config)["loggers"] == {
        "devserver": {"level": "ERROR"},
        "devserver.access": {"level": "INFO"},
    }
    parser = configparser.RawConfigParser()
    parser.read_string("[loggers]\nkeys = error\n[logger_error]\nqualname = gunicorn.error\nhandlers =\n")
    translated = log_config.read(parser)
    assert isinstance(translated, configparser.RawConfigParser)
    assert translated.get("logger_error", "qualname") == "devserver"


def test_a_missing_file_is_an_error_with_its_name(tmp_path: Path) -> None:
    assert (
        read_error(tmp_path / "no.json")
        == f'Log config "{tmp_path}/no.json" cannot be read: No such file or directory.'
    )
    assert "cannot be read: Is a directory" in read_error(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", b'{"version": 1,\n  "x" 2}', "line 2: Expecting ':' delimiter."),
        ("a.json", b"[]", 'holds a list; expected a mapping with "version: 1".'),
        ("a.json", b"", "line 1: Expecting value."),
        ("a.json", b"[" * 100_000, "nested too deeply"),
        ("a.yaml", b"version: 1\n  x: [", "line 2: mapping values are not allowed here."),
        ("a.yaml", b"just text", "holds a str"),
        ("a.yaml", b"", "holds a NoneType"),
        ("a.yaml", b"x: !!python/object/apply:os.system [ls]", "line 1: could not determine a constructor"),
        ("a.yml", b"\xff\xfe", "is not UTF-8 text (byte 0)."),
        ("a.ini", b"[loggers]\nkeys=root\nnonsense", "line 3: neither a section, a key nor a comment."),
        ("a.ini", b"keys=root", "line 1: a key stands before the first section."),
        ("a.ini", b"[a]\n[a]", "line 2: [a] is given twice."),
        ("a.ini", b"[a]\nb=1\nb=2", "line 3: option b is given twice."),
        ("a.ini", b"[a]\nb=1", "has no section [loggers]."),
        ("a.conf", b"", "has no section [loggers]."),
    ],
)
def test_a_malformed_file_is_an_error_with_the_line(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    error = read_error(path)
    assert message in error
    assert str(path) in error


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"version": 2}, "Unsupported version: 2"),
        ({}, "dictionary doesn't specify a version"),
        ({"version": 1, "loggers": {"devserver": {"handlers": ["gone"]}}}, "'devserver'"),
        ({"version": 1, "handlers": {"h": {"class": "logging.FileHandler", "filename": "/no/where"}}}, "No such file"),
        ({"version": 1, "loggers": ["uvicorn"]}, "logging_config.json"),
        ({"version": 1, "loggers": {"uvicorn": "INFO"}}, "'devserver'"),
        ({"version": 1, "formatters": 7, "handlers": "x"}, "logging_config.json"),
    ],
)
def test_a_config_that_cannot_be_applied_is_an_error_with_the_reason(
    settings: dict[str, object], reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "logging_config.json"
    path.write_text(json.dumps(settings))
    with pytest.raises(ConfigError) as caught:
        configure(Config("main:app", log_config=str(path)))
    assert reason in caught.value.message
    assert str(path) in caught.value.message
    assert "\n" not in caught.value.message


def test_an_ini_file_without_a_named_section_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "logging.ini"
    path.write_text("[loggers]\nkeys = root\n[handlers]\nkeys =\n[formatters]\nkeys =\n")
    with pytest.raises(ConfigError, match=r"logger_root"):
        configure(Config("main:app", log_config=path))


def test_yaml_without_its_package_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "logging.yaml"
    path.write_text("version: 1")
    monkeypatch.setitem(sys.modules, "yaml", None)
    assert "devserver[yaml]" in read_error(path)


def test_a_file_object_that_cannot_be_read_is_an_error() -> None:
    class Broken(io.StringIO):
        name = "pipe"

        def read(self, size: int | None = -1, /) -> str:
            raise OSError("no")

    assert read_error(Broken()) == 'Log config "pipe" cannot be read: no.'


def test_another_kind_of_value_is_an_error() -> None:
    assert "log_config is a int" in read_error(7)
