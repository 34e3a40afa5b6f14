"""What apps written for uvicorn and gunicorn do to the loggers of those: it has the same effect here."""

from __future__ import annotations

import copy
import logging
import logging.config
from collections.abc import Callable
from typing import Any

import pytest

from devserver.config.logging_config import LOGGING_CONFIG
from devserver.config.settings import Config
from devserver.events import Emitter, Notice, RequestFinished, ServerReady
from devserver.observe import foreign_loggers
from devserver.observe.access_log import AccessLog
from devserver.observe.logging import LogObserver, configure
from tests.support.observing import finished

READY = ServerReady(pid=1, urls=("http://127.0.0.1:8000",), app="main:app", startup_s=0.1, docs_path=None, found="")
ACCESS_LINE = '127.0.0.1:52344 - "GET /path?q=1 HTTP/1.1" 200'


class Collecting(logging.Handler):
    """Keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append((record.name, record.getMessage()))


class Served:
    """The observers of a server, and what they wrote to the streams."""

    def __init__(self, capfd: pytest.CaptureFixture[str], *, shown: bool = False, **options: Any) -> None:
        self._capfd = capfd
        config = Config("main:app", **options)
        configure(config)
        self.emitter = Emitter()
        self._access_log = AccessLog(config, shown=shown)
        self._access_log.attach(self.emitter)
        LogObserver(config).attach(self.emitter)

    def run(self, *targets: bytes) -> tuple[list[str], list[str]]:
        """Becomes ready, logs an error and serves requests; the lines on standard output and on standard error."""
        self.emitter.emit(READY)
        self.emitter.emit(Notice("error", "it broke"))
        for target in targets or (b"/path?q=1",):
            self.emitter.emit(finished(target=target))
        assert self._access_log.close(10.0)
        out, err = self._capfd.readouterr()
        return out.splitlines(), [line for line in err.splitlines() if "running on" not in line]


@pytest.fixture
def handler() -> Collecting:
    return Collecting()


def logger(name: str) -> logging.Logger:
    return logging.getLogger(name)


def test_untouched_loggers_change_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    out, err = Served(capfd).run()
    assert [line.split(" 1.2ms")[0] for line in out] == [f"INFO:     {ACCESS_LINE} OK"]
    assert err == ["ERROR:    it broke"]


@pytest.mark.parametrize("name", ["uvicorn.access", "gunicorn.access"])
def test_replaced_handlers_get_the_lines_instead(
    capfd: pytest.CaptureFixture[str], handler: Collecting, name: str
) -> None:
    served = Served(capfd)
    logger(name).handlers = [handler]
    assert served.run() == ([], ["ERROR:    it broke"])
    assert handler.lines == [(name, ACCESS_LINE)]


@pytest.mark.parametrize("name", ["uvicorn", "uvicorn.error", "gunicorn.error"])
def test_replaced_handlers_get_the_errors_instead(
    capfd: pytest.CaptureFixture[str], handler: Collecting, name: str
) -> None:
    served = Served(capfd)
    logger(name).handlers = [handler]
    logger(name).propagate = False
    out, err = served.run()
    assert (len(out), err) == (1, [])
    assert [text for _, text in handler.lines][-1] == "it broke"
    assert handler.lines[-1][0] in {name, "uvicorn.error"}


def test_handlers_of_every_name_at_once_give_no_line_twice(
    capfd: pytest.CaptureFixture[str], handler: Collecting
) -> None:
    served = Served(capfd)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "gunicorn.error", "gunicorn.access"):
        logger(name).handlers = [handler]
        logger(name).propagate = False
    assert served.run() == ([], [])
    assert handler.lines[1:] == [("uvicorn.error", "it broke"), ("uvicorn.access", ACCESS_LINE)]


def test_root_gets_everything_when_the_handlers_are_cleared(
    capfd: pytest.CaptureFixture[str], handler: Collecting
) -> None:
    served = Served(capfd)
    logging.root.handlers = [handler]
    for name in list(logging.root.manager.loggerDict):
        if name.startswith("uvicorn"):
            logger(name).handlers.clear()
            logger(name).propagate = True
    assert served.run() == ([], [])
    assert handler.lines[1:] == [("uvicorn.error", "it broke"), ("uvicorn.access", ACCESS_LINE)]


def test_added_handler_gets_the_lines_too(capfd: pytest.CaptureFixture[str], handler: Collecting) -> None:
    served = Served(capfd)
    logger("uvicorn.access").addHandler(handler)
    assert len(served.run()[0]) == 1
    assert handler.lines == [("uvicorn.access", ACCESS_LINE)]


def test_formatter_of_the_handler_that_is_there_is_used(capfd: pytest.CaptureFixture[str]) -> None:
    served = Served(capfd)
    logger("uvicorn.access").handlers[0].setFormatter(logging.Formatter("%(name)s mine %(message)s"))
    logger("uvicorn").handlers[0].setFormatter(logging.Formatter("mine %(message)s"))
    assert served.run() == ([f"devserver.access mine {ACCESS_LINE}"], ["mine it broke"])


@pytest.mark.parametrize("name", ["uvicorn.access", "gunicorn.access"])
def test_filter_decides_about_lines(capfd: pytest.CaptureFixture[str], name: str) -> None:
    served = Served(capfd)
    logger(name).addFilter(lambda record: "/healthz" not in record.getMessage())
    out, _ = served.run(b"/a", b"/healthz", b"/b")
    assert [line.split()[4] for line in out] == ["/a", "/b"]


@pytest.mark.parametrize(
    "silence",
    [
        lambda: setattr(logger("uvicorn.access"), "disabled", True),
        lambda: logger("uvicorn.access").setLevel(logging.WARNING),
        lambda: logger("uvicorn.access").handlers.clear(),
        lambda: setattr(logger("gunicorn.access"), "disabled", True),
    ],
)
def test_silenced_access_log_is_silent(capfd: pytest.CaptureFixture[str], silence: Callable[[], None]) -> None:
    served = Served(capfd)
    silence()
    assert served.run()[0] == []


def test_level_of_the_error_log_counts(capfd: pytest.CaptureFixture[str]) -> None:
    served = Served(capfd)
    logger("uvicorn.error").setLevel(logging.CRITICAL)
    assert served.run()[1] == []


def test_configuration_that_names_uvicorns_loggers_counts_and_disables_ours(
    capfd: pytest.CaptureFixture[str],
) -> None:
    served = Served(capfd)
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": True,
            "formatters": {"mine": {"format": "mine %(name)s %(message)s"}},
            "handlers": {"mine": {"class": "logging.StreamHandler", "formatter": "mine"}},
            "loggers": {"uvicorn": {"handlers": ["mine"], "level": "INFO"}, "uvicorn.access": {"propagate": True}},
        }
    )
    assert served.run() == ([], ["mine uvicorn.error it broke", f"mine uvicorn.access {ACCESS_LINE}"])


def test_what_an_app_logs_under_their_names_comes_out_once(capfd: pytest.CaptureFixture[str]) -> None:
    Served(capfd)
    logger("uvicorn.error").info("one")
    logger("gunicorn.error").info("two")
    assert capfd.readouterr().err.splitlines() == ["INFO:     one", "INFO:     two"]


def test_handlers_and_level_of_gunicorn_can_be_taken_for_an_apps_own_logger(
    capfd: pytest.CaptureFixture[str],
) -> None:
    Served(capfd)
    own = logger("app.of.a.recipe")
    own.handlers, own.propagate = logger("gunicorn.error").handlers, False
    own.setLevel(logger("gunicorn.error").level)
    own.info("hello")
    assert capfd.readouterr().err.splitlines() == ["INFO:     hello"]


def test_handler_that_is_added_before_the_server_is_ready_is_served_without_a_log_config(
    capfd: pytest.CaptureFixture[str], handler: Collecting
) -> None:
    served = Served(capfd, log_config=None)
    assert not served.emitter.wants(RequestFinished)
    logger("uvicorn.access").addHandler(handler)
    logger("uvicorn.access").setLevel(logging.INFO)
    served.run()
    assert handler.lines == [("uvicorn.access", ACCESS_LINE)]


def test_handlers_from_before_stay_without_a_log_config(capfd: pytest.CaptureFixture[str], handler: Collecting) -> None:
    logger("uvicorn.access").handlers = [handler]
    Served(capfd, log_config=None, log_level="info").run()
    assert handler.lines == [("uvicorn.access", ACCESS_LINE)]


def test_filter_from_before_counts_and_leaves_the_handlers_ours(capfd: pytest.CaptureFixture[str]) -> None:
    logger("uvicorn.access").addFilter(lambda record: "/healthz" not in record.getMessage())
    out, _ = Served(capfd).run(b"/a", b"/healthz")
    assert [line.split(" 1.2ms")[0] for line in out] == ['INFO:     127.0.0.1:52344 - "GET /a HTTP/1.1" 200 OK']


def test_level_from_before_counts(capfd: pytest.CaptureFixture[str]) -> None:
    logger("uvicorn.access").setLevel(logging.WARNING)
    assert Served(capfd).run() == ([], ["ERROR:    it broke"])


def test_second_configuration_keeps_what_the_app_has_changed(
    capfd: pytest.CaptureFixture[str], handler: Collecting
) -> None:
    # A worker that is forked from a process which has imported the app.
    configure(Config("main:app"))
    logger("uvicorn.access").handlers = [handler]
    assert Served(capfd).run()[0] == []
    assert handler.lines == [("uvicorn.access", ACCESS_LINE)]


def test_loggers_that_uvicorn_has_set_up_stay_its_own(capfd: pytest.CaptureFixture[str]) -> None:
    import uvicorn

    uvicorn.Config("main:app")
    theirs = [*logger("uvicorn.access").handlers]
    assert len(Served(capfd).run()[0]) == 1
    assert logger("uvicorn.access").handlers == theirs


def test_ui_that_shows_requests_leaves_handlers_of_the_app_their_lines(
    capfd: pytest.CaptureFixture[str], handler: Collecting
) -> None:
    served = Served(capfd, shown=True)
    assert not served.emitter.wants(RequestFinished)
    logger("uvicorn.access").addHandler(handler)
    assert served.run()[0] == []
    assert handler.lines == [("uvicorn.access", ACCESS_LINE)]


def test_changed_configuration_of_uvicorn_is_used(capfd: pytest.CaptureFixture[str]) -> None:
    from uvicorn.config import LOGGING_CONFIG as THEIRS

    settings = copy.deepcopy(THEIRS)
    settings["formatters"]["access"]["fmt"] = "%(asctime)s %(levelprefix)s %(client_addr)s %(status_code)s"
    settings["formatters"]["access"]["datefmt"] = "then"
    settings["loggers"]["uvicorn"]["level"] = "CRITICAL"
    settings["loggers"]["uvicorn.error"]["level"] = "CRITICAL"
    assert settings != LOGGING_CONFIG
    assert Served(capfd, log_config=settings).run() == (["then INFO:     127.0.0.1:52344 200 OK"], [])


def test_nothing_stands_in_before_logging_is_set_up(handler: Collecting) -> None:
    ours = logger("devserver.access")
    logger("uvicorn.access").handlers = [handler]
    assert foreign_loggers.stand_in(ours, foreign_loggers.ACCESS) is ours
