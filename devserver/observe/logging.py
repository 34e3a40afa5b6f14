"""How devserver logs: its formatters, its handler, the set-up from a Config, and the events that become log lines.

Nothing left of here calls :mod:`logging`: stages announce events, and :class:`LogObserver` words them. The words are
uvicorn's with our name, because people search logs for them.
"""

from __future__ import annotations

import io
import json
import logging
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TextIO

from devserver.config.logging_config import ACCESS_FORMAT
from devserver.events import (
    AppFailed,
    AppRaised,
    Emitter,
    EnvironmentChanged,
    Failure,
    FilesChanged,
    LifespanChanged,
    Notice,
    Reloaded,
    RequestRefused,
    ServerReady,
    ServerStarting,
    ServerStopped,
    ServerStopping,
    WorkerDied,
)
from devserver.observe import foreign_loggers, log_config
from devserver.observe.access_format import RESET, status_text
from devserver.observe.escaping import escape_text, printable
from devserver.observe.writer import EXIT_WAIT_S, Outlet, Pump

if TYPE_CHECKING:
    from devserver.config.settings import Config

TRACE = 5
"""Level below DEBUG, as uvicorn has it."""

LEVELS = {
    "critical": logging.CRITICAL,
    "error": logging.ERROR,
    "warning": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
    "trace": TRACE,
}

REFUSALS_PER_SECOND_MAX = 10
"""A flood of broken requests must not fill the disk; what is beyond is counted."""

_JSON_CLASSES = {
    "devserver.observe.logging.DefaultFormatter": "devserver.observe.logging.JsonFormatter",
    "devserver.observe.logging.AccessFormatter": "devserver.observe.logging.JsonFormatter",
}


def configure(config: Config) -> None:
    """Sets up the loggers ``devserver``, ``devserver.error`` and ``devserver.access`` as ``config`` says.

    With ``log_config=None`` no handler and no formatter is touched, only the levels, when one is given, as in uvicorn.
    ``log_format`` and ``use_colors`` change the formatters that are ours, in dictionaries; INI files stay as written.

    :raises ConfigError: the log config cannot be read, parsed or applied.
    """
    logging.addLevelName(TRACE, "TRACE")
    if config.log_config is not None:
        settings = log_config.read(config.log_config)
        if isinstance(settings, dict):
            _adjust(settings, config)
        log_config.apply(settings, log_config.describe(config.log_config))
        _give_colors()
    if config.log_level is not None:
        level = LEVELS[config.log_level.lower()] if isinstance(config.log_level, str) else config.log_level
        for name in ("devserver", "devserver.error", "devserver.access"):
            logging.getLogger(name).setLevel(level)
    access = logging.getLogger("devserver.access")
    if not config.access_log:
        access.handlers = []
        access.propagate = False
    elif config.access_log_file != "-" and config.log_config is not None:
        # The file takes the place of our own handler; handlers of the user's keep theirs.
        access.handlers = [handler for handler in access.handlers if not is_our_access_handler(handler)]
    foreign_loggers.offer(handlers=config.log_config is not None)


def _adjust(settings: dict[str, Any], config: Config) -> None:
    """Applies ``--use-colors`` and ``--log-format`` to the formatters that are ours."""
    formatters = settings.get("formatters")
    for formatter in formatters.values() if isinstance(formatters, dict) else ():
        if not isinstance(formatter, dict) or formatter.get("()") not in _JSON_CLASSES:
            continue
        if config.log_format == "json":
            formatter["()"] = _JSON_CLASSES[formatter["()"]]
            formatter.pop("use_colors", None)
        elif config.use_colors is not None:
            formatter["use_colors"] = config.use_colors


def _give_colors() -> None:
    """Decides for each stream whether the formatter that writes to it may use colours: stdout may be a file while
    stderr is a terminal."""
    for name in (None, "devserver", "devserver.error", "devserver.access"):
        for handler in logging.getLogger(name).handlers:
            formatter = handler.formatter
            if isinstance(formatter, ColourizedFormatter) and formatter.use_colors is None:
                stream = getattr(handler, "stream", None)
                handler.setFormatter(formatter.with_colors(stream is not None and wants_colors(stream, os.environ)))


def reopen_files() -> None:
    """Lets the handlers of all loggers open their files again under their names, after they were rotated."""
    loggers = [logging.root, *logging.root.manager.loggerDict.values()]
    handlers = {handler for logger in loggers if isinstance(logger, logging.Logger) for handler in logger.handlers}
    for handler in handlers:
        if isinstance(handler, logging.FileHandler) and handler.stream is not None:
            handler.acquire()
            try:
                handler.stream.close()
                # The next record opens it.
                handler.stream = None
            finally:
                handler.release()


def wants_colors(stream: object, environ: Mapping[str, str]) -> bool:
    """Whether to colour what goes to ``stream``: NO_COLOR and FORCE_COLOR (no-color.org, force-color.org) decide before
    the terminal does, in the order that Python itself uses."""
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR"):
        return True
    if environ.get("TERM") == "dumb":
        return False
    try:
        return bool(stream.isatty())  # type: ignore[attr-defined]
    except (AttributeError, ValueError, OSError):
        return False


class ColourizedFormatter(logging.Formatter):
    """Adds ``%(levelprefix)s``: the level and a colon, padded to nine characters, coloured where that is wanted.

    A record may bring its own coloured form of the message as ``extra={"color_message": …}``.

    :param use_colors: None leaves the decision to the stream of the handler.
    """

    _level_colors: ClassVar[dict[int, str]] = {
        TRACE: "\x1b[34m",
        logging.DEBUG: "\x1b[36m",
        logging.INFO: "\x1b[32m",
        logging.WARNING: "\x1b[33m",
        logging.ERROR: "\x1b[31m",
        logging.CRITICAL: "\x1b[91m",
    }

    def __init__(
        self,
        fmt: str | None = None,
        datefmt: str | None = None,
        style: Literal["%", "{", "$"] = "%",
        use_colors: bool | None = None,
        *,
        defaults: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(fmt, datefmt, style, defaults=defaults)
        self.use_colors = use_colors
        self.given_format = fmt

    def with_colors(self, use_colors: bool) -> ColourizedFormatter:
        """The same formatter for one stream; the original may serve another."""
        result = object.__new__(type(self))
        result.__dict__.update(self.__dict__, use_colors=use_colors)
        return result

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is logging's
        own = logging.makeLogRecord(record.__dict__)
        level = record.levelname
        padding = " " * (8 - len(level))
        if self.use_colors:
            color = self._level_colors.get(record.levelno)
            level = f"{color}{level}{RESET}" if color else level
            if "color_message" in own.__dict__:
                own.msg = own.__dict__["color_message"]
                own.message = own.getMessage()
        own.__dict__["levelprefix"] = f"{level}:{padding}"
        return super().formatMessage(own)


class DefaultFormatter(ColourizedFormatter):
    """Formats what is not an access line."""


class AccessFormatter(ColourizedFormatter):
    """Formats access records, whose ``args`` are uvicorn's ``(client_addr, method, full_path, http_version, status)``.

    It offers ``%(client_addr)s``, ``%(request_line)s``, ``%(status_code)s`` and ``%(duration)s``, which is ``" 1.2ms"``
    or empty, besides what every record has.
    """

    def __init__(
        self,
        fmt: str | None = ACCESS_FORMAT,
        datefmt: str | None = None,
        style: Literal["%", "{", "$"] = "%",
        use_colors: bool | None = None,
        *,
        defaults: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(fmt, datefmt, style, use_colors, defaults=defaults)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is logging's
        own = logging.makeLogRecord(record.__dict__)
        if isinstance(record.args, tuple) and len(record.args) == 5:
            client, method, path, version, status = record.args
            line = f"{method} {path} HTTP/{version}"
            code = status_text(status, colors=bool(self.use_colors)) if isinstance(status, int) else str(status)
        else:
            client, line, code = "-", record.getMessage(), "-"
        duration = record.__dict__.get("duration_ms")
        own.__dict__.update(
            client_addr=client,
            request_line=f"\x1b[1m{line}{RESET}" if self.use_colors else line,
            status_code=code,
            duration=f" {duration:.1f}ms" if isinstance(duration, (int, float)) else "",
        )
        return super().formatMessage(own)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ``timestamp`` (RFC 3339, UTC, ms), ``level``, ``logger``, ``message`` and ``exception``.

    Access records give the members of the access lines of ``--log-format json`` as well. What a program adds with
    ``extra={...}`` becomes members under the same names, unless one of the above has the name.
    """

    def __init__(self, *_: object, **__: object) -> None:
        super().__init__()

    def format(self, record: logging.LogRecord) -> str:
        """The object as one line without its line feed; all beyond ASCII is escaped."""
        second = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        members: dict[str, Any] = {
            "timestamp": f"{second}.{int(record.created % 1 * 1000):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        access = record.__dict__.get("access")
        if isinstance(access, dict):
            members.update(access)
        for name, value in record.__dict__.items():
            if name not in _NO_EXTRA:
                members.setdefault(str(name), value)
        text = record.exc_text or (self.formatException(record.exc_info) if record.exc_info else "")
        if text:
            members["exception"] = text
        if record.stack_info:
            members["stack"] = self.formatStack(record.stack_info)
        return _to_json(members)


_NO_EXTRA = frozenset(logging.makeLogRecord({}).__dict__) | {
    "access",
    "asctime",
    "color_message",
    "duration_ms",
    "line",
    "message",
    "taskName",
}
"""Attributes of a record that nobody has added with ``extra``."""


def _to_json(members: Mapping[str, Any]) -> str:
    """One JSON object; a member that JSON cannot hold (NaN, a cycle, a key that is no text) is shown by its repr."""
    try:
        return json.dumps(members, separators=(",", ":"), default=repr, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return json.dumps({name: _holdable(value) for name, value in members.items()}, separators=(",", ":"))


def _holdable(value: Any) -> Any:
    try:
        return json.loads(json.dumps(value, default=repr, allow_nan=False))
    except (TypeError, ValueError, RecursionError):
        return repr(value)


class StreamHandler(logging.StreamHandler[TextIO]):
    """A stream handler that does not wait for a reader: what cannot be written at once is written later, up to 1 MiB.

    As long as the stream takes it, a record is written before :meth:`emit` returns. Streams that are not simply a text
    layer over a descriptor (a notebook's, a StringIO) are written as the standard handler does.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__(stream)
        self._opened: TextIO | None = None
        self._outlet: Outlet | None = None
        self._dropped = 0
        self._pump = Pump(self._push, name="devserver-log", forget=self._forget)

    def emit(self, record: logging.LogRecord) -> None:
        """Formats ``record`` and writes it, or keeps it for later."""
        try:
            outlet = self.outlet()
            if outlet is None:
                super().emit(record)
                return
            text = self.format(record) + self.terminator
            if self._dropped and not outlet.full:
                text = f"… {self._dropped} log lines dropped, because nobody read them{self.terminator}{text}"
                self._dropped = 0
            if not outlet.put(text.encode(self.stream.encoding or "utf-8", "backslashreplace")):
                self._dropped += 1
            if outlet.waiting:
                self._pump.wake()
        except RecursionError:
            raise
        except Exception:
            self.handleError(record)

    def outlet(self) -> Outlet | None:
        """Where bytes for this handler's stream go; None when the stream must be written itself."""
        if self.stream is not self._opened:
            self.acquire()
            try:
                self._open()
            finally:
                self.release()
        return self._outlet

    def _open(self) -> None:
        if self._outlet is not None:
            self._outlet.close()
        self._opened = self.stream
        self._outlet = None
        if isinstance(self.stream, io.TextIOWrapper):
            # A detached or closed stream has no descriptor.
            with suppress(OSError, ValueError):
                self._outlet = Outlet(self.stream.fileno())

    def flush(self) -> None:
        """Waits a moment for what is kept; never for ever."""
        outlet = self.__dict__.get("_outlet")
        if outlet is None:
            super().flush()
        elif outlet.waiting:
            self._pump.drain(EXIT_WAIT_S)

    def close(self) -> None:
        """Gives up the descriptor and what is kept; :func:`logging.shutdown` calls :meth:`flush` before."""
        self._pump.close(0.0)
        if self._outlet is not None:
            self._outlet.close()
            self._outlet = self._opened = None
        super().close()

    def _push(self) -> bool:
        outlet = self._outlet
        return outlet is not None and not outlet.push()

    def _forget(self) -> None:
        self._dropped = 0


def is_our_access_handler(handler: logging.Handler) -> bool:
    """Whether lines may be written to the handler's stream directly, because it would write the very same."""
    if type(handler) is not StreamHandler or handler.filters or handler.level > logging.INFO:
        return False
    formatter = handler.formatter
    return type(formatter) is JsonFormatter or (
        type(formatter) is AccessFormatter and formatter.given_format == ACCESS_FORMAT
    )


class LogObserver:
    """Turns events into records of the logger ``devserver.error``, or of one that stands in for it
    (:mod:`devserver.observe.foreign_loggers`).

    :param config: decides nothing yet that the loggers' own settings do not.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._ours = logging.getLogger("devserver.error")
        self._refusals = 0
        self._refused_since = 0.0

    @property
    def _logger(self) -> logging.Logger:
        return foreign_loggers.stand_in(self._ours, foreign_loggers.ERROR)

    def attach(self, emitter: Emitter, *, told_elsewhere: bool = False, worker: bool = False) -> None:
        """Listens to everything that is worth a line.

        :param told_elsewhere: a UI tells all that it can; only what no UI shows becomes a line.
        :param worker: a master tells when this process comes and goes.
        """
        if not told_elsewhere:
            emitter.listen(self._on_event, (Notice, AppRaised) if worker else self._wordings)
        emitter.listen(self._on_refused, (RequestRefused,))

    def _on_event(self, event: object) -> None:
        self._wordings[type(event)](self, event)

    def _on_starting(self, event: ServerStarting) -> None:
        self._logger.info(
            "Started server process [%d]",
            event.pid,
            extra={"color_message": "Started server process [\x1b[36m%d\x1b[0m]"},
        )

    def _on_lifespan(self, event: LifespanChanged) -> None:
        message = {
            "startup": "Waiting for application startup.",
            "started": "Application startup complete.",
            "unsupported": "ASGI 'lifespan' protocol appears unsupported.",
            "shutdown": "Waiting for application shutdown.",
            "stopped": "Application shutdown complete.",
        }.get(event.phase)
        if message is not None:
            self._logger.info(message)

    def _on_ready(self, event: ServerReady) -> None:
        for url in event.urls:
            place = f"unix socket {url.removeprefix('unix:')}" if url.startswith("unix:") else url
            self._logger.info(
                "Devserver running on %s (Press CTRL+C to quit)",
                place,
                extra={"color_message": "Devserver running on \x1b[1m%s\x1b[0m (Press CTRL+C to quit)"},
            )

    def _on_stopping(self, event: ServerStopping) -> None:
        self._tell_refusals()
        self._logger.info("Shutting down")
        if event.connections:
            self._logger.info("Waiting for connections to close. (CTRL+C to force quit)")
        elif event.requests:
            self._logger.info("Waiting for background tasks to complete. (CTRL+C to force quit)")

    def _on_stopped(self, event: ServerStopped) -> None:
        self._logger.info(
            "Finished server process [%d]",
            event.pid,
            extra={"color_message": "Finished server process [\x1b[36m%d\x1b[0m]"},
        )

    def _on_notice(self, event: Notice) -> None:
        self._logger.log(LEVELS.get(event.level, logging.INFO), "%s", printable(event.text))

    def _on_changed(self, event: FilesChanged) -> None:
        names = ", ".join(f"'{printable(path)}'" for path in event.paths)
        if event.reloading:
            self._logger.warning("Detected changes in %s. Reloading...", names)
        else:
            self._logger.info("Detected changes in %s. Not reloading: %s", names, printable(event.reason))

    def _on_environment(self, event: EnvironmentChanged) -> None:
        self._logger.info("Variables of %s: %s", printable(", ".join(event.files)), printable(event.summary))

    def _on_reloaded(self, event: Reloaded) -> None:
        self._logger.info("Reloaded in %.0f ms", event.duration_s * 1000)

    def _on_died(self, event: WorkerDied) -> None:
        cause = f"signal {-event.exit_code}" if event.exit_code < 0 else f"exit code {event.exit_code}"
        self._logger.error("Server process [%d] died (%s)", event.pid, cause)

    def _on_app_raised(self, event: AppRaised) -> None:
        self._log_failure("Exception in ASGI application", event.failure)

    def _on_app_failed(self, event: AppFailed) -> None:
        message = f"{event.message}\n{event.hint}" if event.hint else event.message
        self._log_failure(message, event.failure)

    def _log_failure(self, message: str, failure: Failure | None) -> None:
        logger = self._logger
        if not logger.isEnabledFor(logging.ERROR):
            return
        if failure is not None and failure.during:
            message = f"{message} ({failure.during})"
        record = logger.makeRecord(logger.name, logging.ERROR, __file__, 0, "%s", (printable(message),), None)
        if failure is not None:
            # The exception may have been raised in another process; formatters print this text as they would its own.
            text = failure.traceback.rstrip() or f"{failure.kind}: {failure.message}"
            record.exc_text = printable(text)
        logger.handle(record)

    def _on_refused(self, event: RequestRefused) -> None:
        now = time.monotonic()
        if now - self._refused_since >= 1.0:
            self._tell_refusals()
            self._refused_since = now
        self._refusals += 1
        if self._refusals <= REFUSALS_PER_SECOND_MAX:
            # 408 and 503 are about time and load, not about what the peer wrote.
            what = "Request refused" if event.status in {408, 503} else "Invalid HTTP request received"
            self._logger.warning(
                "%s - %s: %s (%d)", escape_text(event.peer), what, escape_text(event.reason), event.status
            )
        elif self._refusals == REFUSALS_PER_SECOND_MAX + 1:
            import asyncio  # not at the top: a master has no loop, and should not have to load one

            try:
                asyncio.get_running_loop().call_later(1.0, self._tell_refusals)
            except RuntimeError:
                # Not on a loop: the count comes with the next refusal, or at the end.
                return

    def _tell_refusals(self) -> None:
        beyond = self._refusals - REFUSALS_PER_SECOND_MAX
        self._refusals = 0
        if beyond > 0:
            self._logger.warning("… %d more requests refused within a second", beyond)

    _wordings: ClassVar[dict[type, Any]] = {
        ServerStarting: _on_starting,
        LifespanChanged: _on_lifespan,
        ServerReady: _on_ready,
        ServerStopping: _on_stopping,
        ServerStopped: _on_stopped,
        Notice: _on_notice,
        FilesChanged: _on_changed,
        EnvironmentChanged: _on_environment,
        Reloaded: _on_reloaded,
        WorkerDied: _on_died,
        AppRaised: _on_app_raised,
        AppFailed: _on_app_failed,
    }
