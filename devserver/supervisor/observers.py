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

CLOSE_S = 1.0
"""How long the last lines may take to be written: a reader that has stopped must not hold the process."""


class Observers:
    """Sets up logging and listens to ``emitter``; leave it, or :meth:`close` it, when the server has stopped.

    :param config: the settings of logging and of the access log.
    :param told_by: where a UI tells what happens to the server, only requests become log lines, unless the person
        asked for logs of a form of their own; where the supervisor's log does, never anything else.
    :raises ConfigError: the log config, the access log's file or its format is not usable.
    """

    def __init__(self, config: Config, emitter: Emitter, *, told_by: Teller) -> None:
        logging.configure(config)
        self._access_log = AccessLog(config)
        self._access_log.attach(emitter)
        own_form = config.log_format != "text" or config.log_config not in (None, LOGGING_CONFIG)
        told_elsewhere = told_by == "supervisor" or (told_by == "ui" and not own_form)
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
