"""The Paste file of ``--paste``: its app as the target, its server section as settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from devserver.config.discovery import find_target
from devserver.config.gunicorn_flags import typed
from devserver.config.paste_file import split
from devserver.config.sources import Resolved, resolve
from devserver.errors import ConfigError

APP = "[app:main]\nuse = egg:shop\n"


def resolved(folder: Path, server: str, **given: object) -> Resolved:
    """What ``dev prod --paste development.ini`` makes of a server section."""
    (folder / "development.ini").write_text(f"{APP}[server:main]\n{server}\n")
    return resolve("prod", {"paste": "development.ini", **given}, environ={}, directory=folder)


def test_app_is_made_from_the_file(tmp_path: Path) -> None:
    (tmp_path / "development.ini").write_text(APP)
    found = resolve("prod", {"paste": "development.ini#admin"}, environ={}, directory=tmp_path)
    target = find_target(found.config, tmp_path)
    assert (target.module, target.attribute) == ("devserver.app.paste", "load")
    assert target.call == ((str(tmp_path / "development.ini"), "admin"), {})
    assert target.found == "development.ini, admin"


def test_section_is_named_behind_a_hash() -> None:
    assert split("a/b.ini") == ("a/b.ini", "main")
    assert split("a/b.ini#x") == ("a/b.ini", "x")
    assert split("a/b.ini#") == ("a/b.ini", "main")


def test_server_section_has_the_settings_of_pserve(tmp_path: Path) -> None:
    found = resolved(tmp_path, "use = egg:waitress#main\nhost = 0.0.0.0\nport = 6543\nthreads = 4")
    assert (found.config.host, found.config.port, found.config.threads) == ("0.0.0.0", 6543, 4)
    assert found.notices == ()
    found = resolved(tmp_path, "use = egg:waitress#main\nlisten = 127.0.0.1:6543 [::1]:6543")
    assert found.config.bind == ("127.0.0.1:6543", "[::1]:6543")


def test_server_section_has_the_settings_of_gunicorn(tmp_path: Path) -> None:
    server = (
        "use = egg:gunicorn#main\nworkers = 3\nmax_requests = 0\npreload_app = true\numask = 027\nproxy_protocol = off"
    )
    found = resolved(tmp_path, f"{server}\ndaemon = true\nworker_class = sync")
    config = found.config
    assert (config.workers, config.limit_max_requests, config.preload) == (3, None, True)
    assert (config.umask, config.proxy_protocol, config.threads) == (0o027, "off", 1)
    (notice,) = found.notices
    assert notice.text.endswith(
        "[server:main]: daemon has no effect: let systemd or a container start dev prod, which stays in the foreground."
    )


def test_server_section_has_our_own_names(tmp_path: Path) -> None:
    found = resolved(tmp_path, "timeout-keep-alive = 3\nhealth_path = /health\ncolour = red")
    assert (found.config.timeout_keep_alive, found.config.health_path) == (3, "/health")
    assert [notice.text.partition(": ")[2] for notice in found.notices] == [
        "colour has no effect: there is no such option."
    ]


def test_server_section_is_the_weakest(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.devserver.prod]\nport = 2\n")
    found = resolved(tmp_path, "port = 1\nworkers = 3\nbacklog = 7", workers="4")
    assert (found.config.port, found.config.workers, found.config.backlog) == (2, 4, 7)
    assert found.origins["backlog"] == f"{tmp_path / 'development.ini'} [server:main]"


def test_place_of_the_file_can_be_written_in_it(tmp_path: Path) -> None:
    found = resolved(tmp_path, "accesslog = %(here)s/access.log")
    assert found.config.access_log_file == str(tmp_path / "access.log")


def test_defaults_of_the_file_are_no_settings_of_the_server(tmp_path: Path) -> None:
    (tmp_path / "development.ini").write_text(f"[DEFAULT]\nworkers = 9\n{APP}[server:main]\nport = 1\n")
    found = resolve("prod", {"paste": "development.ini"}, environ={}, directory=tmp_path)
    assert (found.config.port, found.config.workers) == (1, None)


def test_file_without_a_server_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "development.ini").write_text(APP)
    found = resolve("prod", {"paste": "development.ini"}, environ={}, directory=tmp_path)
    assert found.config.port == 8000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"^--paste: cannot read .*development\.ini \(No such file or directory\)\.$"),
        ("no section", r"^--paste: .*development\.ini is not a Paste file \(File contains no section headers\.\)\.$"),
        ("[server:main]\nport = x", r"development\.ini \[server:main\] port: 'x' is not a whole number\."),
        ("[server:main]\nport = %(nowhere)s", r"^--paste: .*development\.ini is not a Paste file"),
    ],
)
def test_mistake_is_told_in_a_sentence(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "development.ini").write_text(text)
    with pytest.raises(ConfigError, match=message):
        resolve("prod", {"paste": "development.ini"}, environ={}, directory=tmp_path)


def test_app_and_paste_file_contradict_each_other(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="The app and paste both say what to serve"):
        resolved(tmp_path, "", app="main:app")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [("workers", "3", 3), ("preload_app", "Yes", True), ("loglevel", "info", "info"), ("bind", "a b", ["a", "b"])],
)
def test_text_becomes_what_a_python_file_would_give(name: str, text: str, value: object) -> None:
    assert typed(name, text) == value
