"""The observers of one process that serves, made and closed together."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Literal, TypeAlias

from devserver.config.logging_config import LOGGING_CONFIG
from devserver.observe import logging, writer
from devserver.observe.access_log import AccessLog

if TYPE_CHECKING:
    from devserver.config.settings import Config
    from devserver.events import Emitter

Teller: TypeAlias = Literal["nobody", "ui", "supervisor", "master"]
"""Who tells what happens to the server, besides our log: a UI, the log of the supervising process, or that of a master,
which tells what becomes of its workers and leaves the app's errors to them."""

_LEVELS = {"critical": 50, "error": 40, "warning": 30, "info": 20, "debug": 10, "trace": 5}

CLOSE_S = 1.0
"""How long the last lines may take to be written: a reader that has stopped must not hold the process."""


def shows_requests(config: Config) -> bool:
    """Whether a UI may show requests in its own way: they are logged, and in no form that somebody has asked for."""
    if not config.access_log or config.access_log_format or _has_own_form(config):
        return False
    level = config.log_level
    return level is None or (level if isinstance(level, int) else _LEVELS.get(level.lower(), 0)) <= _LEVELS["info"]


class Observers:
    """Sets up logging and listens to ``emitter``; leave it, or :meth:`close` it, when the server has stopped.

    :param config: the settings of logging and of the access log.
    :param told_by: where a UI tells what happens to the server, only requests become log lines, unless the person
        asked for logs of a form of their own; where the supervisor's log does, never anything else.
    :param shown: a UI shows requests, so that they become no log lines, save those that go to a file or to handlers of
        the app's own.
    :raises ConfigError: the log config, the access log's file or its format is not usable.
    """

    def __init__(self, config: Config, emitter: Emitter, *, told_by: Teller, shown: bool = False) -> None:
        logging.configure(config)
        self._access_log = AccessLog(config, shown=shown)
        self._access_log.attach(emitter)
        told_elsewhere = told_by == "supervisor" or (told_by == "ui" and not _has_own_form(config))
        logging.LogObserver(config).attach(emitter, told_elsewhere=told_elsewhere, worker=told_by == "master")

    def __enter__(self) -> Observers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def reopen(self) -> None:
        """Opens log files again under their names, after they were rotated."""
        self._access_log.reopen()
        logging.reopen_files()

    def close(self) -> None:
        """Writes the last lines."""
        self._access_log.close(CLOSE_S)
        writer.flush(CLOSE_S)


def _has_own_form(config: Config) -> bool:
    return config.log_format != "text" or config.log_config not in (None, LOGGING_CONFIG)
