"""gunicorn's options as they are typed, on the command line and in GUNICORN_CMD_ARGS."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from devserver.cli.arguments import read as read_arguments
from devserver.config import gunicorn, gunicorn_flags
from devserver.config.settings import by_name
from devserver.config.sources import Resolved, resolve
from devserver.errors import ConfigError, UsageError


def typed(folder: Path, line: str, **environ: str) -> Resolved:
    """What ``dev prod`` makes of a command line."""
    return resolve("prod", read_arguments(line.split(), "prod"), environ=environ, directory=folder)


def test_every_option_of_the_installed_gunicorn_is_known_for_what_it_is() -> None:
    from gunicorn.config import KNOWN_SETTINGS

    theirs: dict[str, tuple[str, Any]] = {}
    for setting in KNOWN_SETTINGS:
        kind = {"store_true": True, "store_const": setting.const, "append": "list"}.get(setting.action, "value")
        theirs |= dict.fromkeys(setting.cli or (), (setting.name, kind))
    ours: dict[str, tuple[str, Any]] = {
        **{flag: (name, "value") for flag, name in gunicorn_flags.VALUES.items()},
        **{flag: (name, "list") for flag, name in gunicorn_flags.LISTS.items()},
        **gunicorn_flags.SWITCHES,
    }
    assert ours == theirs
    assert {name for name, _ in ours.values()} <= gunicorn.KNOWN


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("-w 2 test:app", {"workers": 2, "app": "test:app"}),
        ("shop.wsgi -b :8000 -t 60 --keep-alive 2.5", {"timeout_worker": 60, "timeout_keep_alive": 2.5}),
        ("-t60 --graceful-timeout=5", {"timeout_worker": 60, "timeout_graceful_shutdown": 5}),
        ("--max-requests 100 --max-requests-jitter 10", {"limit_max_requests": 100, "limit_max_requests_jitter": 10}),
        ("--max-requests 0", {"limit_max_requests": None}),
        ("-k uvicorn.workers.UvicornWorker", {"http": "auto", "threads": 8}),
        ("-k gthread --threads 4", {"threads": 4}),
        ("-k sync", {"threads": 1}),
        ("--access-logfile - --access-logformat %(m)s", {"access_log_file": "-", "access_log_format": "%(m)s"}),
        ("-u 1000 -g www -m 027", {"user": "1000", "group": "www", "umask": 0o027}),
        ("--certfile c --keyfile k", {"ssl_certfile": "c", "ssl_keyfile": "k"}),
        ("--name shop --pid /run/shop", {"process_name": "shop", "pid": "/run/shop"}),
        ("--env A=1 -e B=2", {"env": ("A=1", "B=2")}),
        # Our own name wins.
        ("-t 60 --timeout-worker 5", {"timeout_worker": 5}),
    ],
)
def test_what_users_of_gunicorn_type_is_understood(tmp_path: Path, line: str, expected: dict[str, Any]) -> None:
    found = typed(tmp_path, line)
    assert {name: getattr(found.config, name) for name in expected} == expected
    assert found.notices == ()
    assert {found.origins[name] for name in expected if getattr(found.config, name) != by_name(name).default} <= {
        "command line",
        "default",
    }


def test_option_without_a_counterpart_is_answered(tmp_path: Path) -> None:
    found = typed(tmp_path, "-D --no-sendfile --worker-tmp-dir /dev/shm main:app")
    assert [notice.text for notice in found.notices] == [
        "daemon has no effect: let systemd or a container start dev prod, which stays in the foreground.",
        "sendfile has no effect: files are sent by the event loop, whatever the app returns them as.",
        "worker_tmp_dir has no effect: workers show that they live in shared memory, not in a file.",
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("-t", "-t needs a value."),
        ("--daemon=1", "--daemon takes no value."),
        ("--reload", "--reload is an option of dev run, not of dev prod."),
        ("--max-request 5", "No such option --max-request"),
    ],
)
def test_mistake_is_told_in_a_sentence(line: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_arguments(line.split(), "prod")
    assert str(caught.value).startswith(message)


def test_dev_run_does_not_take_them() -> None:
    with pytest.raises(UsageError, match=r"^--max-requests is an option of gunicorn: dev prod"):
        read_arguments(["--max-requests", "5"], "run")


def test_value_that_is_none_is_blamed_on_its_setting(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^timeout: 'x' is not a number of seconds"):
        typed(tmp_path, "-t x")


# GUNICORN_CMD_ARGS


def test_variable_stands_between_our_variables_and_the_file(tmp_path: Path) -> None:
    (tmp_path / "conf.py").write_text("workers = 1\nbacklog = 1\nthreads = 1\ntimeout = 1")
    words = "-c conf.py --workers=2 --backlog 2 --threads 2"
    found = typed(tmp_path, "-w 4", GUNICORN_CMD_ARGS=words, DEVSERVER_BACKLOG="3")
    config = found.config
    assert (config.workers, config.backlog, config.threads, config.timeout_worker) == (4, 3, 2, 1)
    assert found.origins["threads"] == "GUNICORN_CMD_ARGS"


def test_variable_is_read_by_dev_prod_alone(tmp_path: Path) -> None:
    found = resolve("run", {}, environ={"GUNICORN_CMD_ARGS": "--workers 2"}, directory=tmp_path)
    assert found.config.workers is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--bind", "--bind needs a value."),
        ("--colour red", "GUNICORN_CMD_ARGS: gunicorn has no option --colour."),
        ("shop:app", "GUNICORN_CMD_ARGS: gunicorn has no option shop:app."),
        ("'", "GUNICORN_CMD_ARGS: no closing quotation."),
        ("-t x", "GUNICORN_CMD_ARGS: timeout: 'x' is not a number of seconds."),
    ],
)
def test_mistake_in_the_variable_is_told(tmp_path: Path, words: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        typed(tmp_path, "", GUNICORN_CMD_ARGS=words)
    assert str(caught.value) == message
