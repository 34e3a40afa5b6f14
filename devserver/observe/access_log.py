"""The access log: finished requests in, lines out, and the event loop only appends to a list.

The loop's share is one bounded append. A writer thread (:class:`~devserver.observe.writer.Pump`) takes what has
gathered, formats it and hands the bytes to an :class:`~devserver.observe.writer.Outlet`, which never waits for a
reader. Where the lines go is decided for each batch, because an app may change the logger ``devserver.access`` at any
time, or one of those that stand in for it (:mod:`devserver.observe.foreign_loggers`):

- straight to the file of ``--access-log-file``, or to the stream of the handler of our own configuration;
- as a :class:`logging.LogRecord` to every other handler, from the writer thread and never on the loop. Records are made
  for filters, too.

What does not fit is dropped and counted; one line says how many were.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from devserver.errors import ConfigError
from devserver.events import Emitter, RequestFinished, ServerReady, WebSocketClosed
from devserver.observe import foreign_loggers
from devserver.observe.access_format import (
    Finished,
    Renderer,
    atoms_format,
    describe,
    is_json,
    json_format,
    text_format,
    uvicorn_args,
)
from devserver.observe.logging import AccessFormatter, JsonFormatter, StreamHandler, is_our_access_handler
from devserver.observe.writer import Outlet, Pump

if TYPE_CHECKING:
    from devserver.config.settings import Config

EVENTS_MAX = 10_000
"""Requests that may wait for the writer thread, which takes them every 20 ms unless it starves."""

SLICE = 256
"""Lines formatted at a stretch; the write after them gives the interpreter back, so the loop waits less than 1 ms."""


class AccessLog:
    """Writes one line for every finished request, and for every WebSocket that was closed.

    :param config: ``access_log``, ``access_log_format``, ``access_log_file`` and ``log_format`` are read. Call
        :func:`devserver.observe.logging.configure` before.
    :param shown: a UI shows requests, so that lines go to the file and to handlers of the app's alone.
    :raises ConfigError: the file cannot be opened, or the format is malformed.
    """

    def __init__(self, config: Config, *, shown: bool = False) -> None:
        self._logger = logging.getLogger("devserver.access")
        self._shown = shown
        self._given = tuple(self._logger.handlers) if shown else ()
        """Handlers that a UI stands in for."""
        self._path = "" if config.access_log_file == "-" else config.access_log_file
        self._custom: Renderer | None = atoms_format(config.access_log_format) if config.access_log_format else None
        self._json = config.log_format == "json"
        self._json_lines = is_json(config.access_log_format) if config.access_log_format else self._json
        self._wanted = config.access_log
        self._renderers: dict[str, Renderer] = {}
        self._events: list[Finished] = []
        self._dropped = 0
        self._drop_lock = threading.Lock()
        self._reopen = False
        self._attached_late = False
        self._complained = False
        self._file: Outlet | None = self._open() if self._path and self._wanted else None
        self._pump = Pump(self._step, name="devserver-access-log", forget=self._forget)

    @property
    def enabled(self) -> bool:
        """Whether lines go anywhere: asked for, not silenced by a level, and with a place to go."""
        logger = self._stand_in()
        if not self._wanted or not self._level_allows(logger):
            return False
        return self._file is not None or any(handler not in self._given for handler in _handlers(logger))

    def attach(self, emitter: Emitter) -> None:
        """Listens to finished requests, unless nobody would see the lines: then no event is ever built.

        The app may add a handler while it is imported or starts up, so this is decided again when the server is ready.
        """
        if self.enabled:
            emitter.listen(self._collector(), (RequestFinished, WebSocketClosed))
        elif self._wanted:
            emitter.listen(lambda _: self._attach_late(emitter), (ServerReady,))

    def _attach_late(self, emitter: Emitter) -> None:
        if self.enabled and not self._attached_late:
            self._attached_late = True
            emitter.listen(self._collector(), (RequestFinished, WebSocketClosed))

    def reopen(self) -> None:
        """Opens the file again under its name, after it was rotated. Safe in a signal handler."""
        if self._file is not None:
            self._reopen = True
            self._pump.wake()

    def close(self, timeout_s: float) -> bool:
        """Writes what is left and ends the thread; False when ``timeout_s`` was not enough and lines were given up."""
        finished = self._pump.close(timeout_s)
        if not finished:
            self._events.clear()
            route = self._route()
            if route is not None and route.outlet is not None:
                # The end of the process would wait for it once more.
                route.outlet.discard()
        if self._file is not None:
            self._file.close()
        return finished

    def _collector(self) -> Callable[[Finished], None]:
        # This runs on the loop for every request; a closure over locals costs half of what a method does.
        events, append, wake, drop = self._events, self._events.append, self._pump.wake, self._count_dropped

        def collect(event: Finished) -> None:
            waiting = len(events)
            if waiting >= EVENTS_MAX:
                drop(1)
                return
            append(event)
            if not waiting:
                wake()

        return collect

    # The rest runs on the writer thread.

    def _step(self) -> bool:
        """Takes what has gathered and passes it on; True while there may be more to do."""
        if self._reopen:
            self._reopen_file()
        waiting = len(self._events)
        route = self._route()
        for start in range(0, waiting, SLICE):
            # Appending goes on meanwhile, at the end of the list; both operations are atomic.
            batch = self._events[: min(SLICE, waiting - start)]
            del self._events[: len(batch)]
            if route is not None:
                self._pass_on(batch, route)
        outlet = None if route is None else route.outlet
        if outlet is None:
            return bool(waiting)
        outlet.push()
        if outlet.error is not None and not self._complained:
            self._complained = True
            logging.getLogger("devserver.error").error("Access lines were lost: %s", outlet.error)
        if self._dropped and not outlet.full:
            self._tell_dropped(outlet)
        return bool(waiting) or outlet.waiting

    def _pass_on(self, batch: list[Finished], route: Route) -> None:
        if route.records:
            batch = self._log(batch, route)
        outlet = route.outlet
        if outlet is None or not batch:
            return
        if outlet.full and not outlet.push() and outlet.full:
            # Nobody reads: formatting would be wasted, and keeping the requests would keep their headers.
            self._count_dropped(len(batch))
            return
        if self._dropped:
            self._tell_dropped(outlet)
        outlet.put("".join(route.render(batch)).encode("utf-8", "backslashreplace"))

    def _log(self, batch: list[Finished], route: Route) -> list[Finished]:
        """Makes records, gives them to the handlers, and returns the requests that the filters let through."""
        logger = route.logger
        filterers = dict.fromkeys((self._logger, logger))
        lines = self._custom(batch) if self._custom is not None else None
        passed = []
        for index, event in enumerate(batch):
            record = AccessRecord(event, None if lines is None else lines[index][:-1], name=logger.name)
            try:
                if all(filterer.filter(record) for filterer in filterers):
                    passed.append(event)
                    if route.handlers and self._given:
                        self._call_handlers(logger, record)
                    elif route.handlers:
                        logger.callHandlers(record)
            except Exception:
                # Somebody's filter or handler failed; its author reads it once, and the other lines are written.
                if not self._complained:
                    self._complained = True
                    logging.getLogger("devserver.error").exception("A filter or handler of the access log failed")
        return passed

    def _call_handlers(self, logger: logging.Logger, record: logging.LogRecord) -> None:
        """Calls the handlers that no UI stands in for."""
        for handler in _handlers(logger):
            if handler not in self._given and record.levelno >= handler.level:
                handler.handle(record)

    def _tell_dropped(self, outlet: Outlet) -> None:
        with self._drop_lock:
            count, self._dropped = self._dropped, 0
        message = f"… {count} access lines dropped"
        if self._json_lines:
            record = logging.LogRecord(self._logger.name, logging.WARNING, __file__, 0, message, None, None)
            line = JsonFormatter().format(record)
        else:
            line = f"WARNING:  {message}"
        outlet.put(f"{line}\n".encode())

    def _count_dropped(self, count: int) -> None:
        with self._drop_lock:
            self._dropped += count

    def _route(self) -> Route | None:
        """Where the next batch goes; None when a level says that nobody wants it."""
        logger = self._stand_in()
        if not self._level_allows(logger):
            return None
        filtered = bool(logger.filters or self._logger.filters)
        if self._file is not None:
            handlers = logger.hasHandlers()
            render = self._renderer("json" if self._json else "text")
            return Route(logger, handlers or filtered, handlers, self._file, render)
        parents = logger.propagate and logger.parent is not None and logger.parent.hasHandlers()
        if len(logger.handlers) == 1 and not parents and not self._given:
            handler = logger.handlers[0]
            if isinstance(handler, StreamHandler) and is_our_access_handler(handler):
                outlet = handler.outlet()
                if outlet is not None:
                    return Route(logger, filtered, False, outlet, self._renderer(_kind(handler.formatter)))
        return Route(logger, True, True, None, _no_lines)

    def _stand_in(self) -> logging.Logger:
        return foreign_loggers.stand_in(self._logger, foreign_loggers.ACCESS)

    def _renderer(self, kind: str) -> Renderer:
        if self._custom is not None:
            return self._custom
        render = self._renderers.get(kind)
        if render is None:
            render = json_format() if kind == "json" else text_format(colors=kind == "colors")
            self._renderers[kind] = render
        return render

    def _level_allows(self, logger: logging.Logger) -> bool:
        if logger.disabled or logging.root.manager.disable >= logging.INFO:
            return False
        # A file that was asked for does not depend on the level of a root logger that nobody configured.
        return (logger.level if self._path else logger.getEffectiveLevel()) <= logging.INFO

    def _open(self) -> Outlet:
        try:
            fd = _open_append(self._path)
        except OSError as exc:
            raise ConfigError(
                f'--access-log-file "{self._path}" cannot be opened: {exc.strerror or exc}.',
                hint="Name a file in a folder that exists and may be written, or - for standard output.",
            ) from exc
        try:
            return Outlet(fd)
        finally:
            os.close(fd)

    def _reopen_file(self) -> None:
        self._reopen = False
        if self._file is None:
            return
        try:
            fd = _open_append(self._path)
        except OSError as exc:
            logging.getLogger("devserver.error").error("Access log not reopened, the old file stays in use: %s", exc)
            return
        self._file.replace(fd)

    def _forget(self) -> None:
        self._events.clear()
        self._dropped = 0
        self._drop_lock = threading.Lock()


class AccessRecord(logging.LogRecord):
    """A record as uvicorn makes it, with the members of the JSON form as ``record.access`` and the duration in ms.

    :param event: the request; the record carries its time, not the moment of writing.
    :param line: the whole line when a format was given; it is then the record's message.
    :param name: of the logger that it goes through.
    """

    def __init__(self, event: Finished, line: str | None, *, name: str = "devserver.access") -> None:
        super().__init__(
            name,
            logging.INFO,
            __file__,
            0,
            '%s - "%s %s HTTP/%s" %d',
            uvicorn_args(event),
            None,
        )
        self.created = event.finished_at
        self.msecs = event.finished_at % 1 * 1000
        self.access = describe(event)
        self.duration_ms = event.duration_s * 1000
        self.line = line

    def getMessage(self) -> str:  # noqa: N802 - the name is logging's
        """The given format's line, else uvicorn's message."""
        # Handlers that queue records replace message and arguments by the finished text.
        return self.line if self.line is not None and self.args else super().getMessage()


class Route(NamedTuple):
    """Where a batch of lines goes."""

    logger: logging.Logger
    """Ours, or the one that stands in for it."""
    records: bool
    """Log records are made, for filters or handlers."""
    handlers: bool
    """The records go to the logger's handlers."""
    outlet: Outlet | None
    """Where lines go that are formatted here."""
    render: Renderer


def _handlers(logger: logging.Logger) -> Iterator[logging.Handler]:
    """The handlers that a record of ``logger`` reaches."""
    current: logging.Logger | None = logger
    while current is not None:
        yield from current.handlers
        current = current.parent if current.propagate else None


def _kind(formatter: logging.Formatter | None) -> str:
    if isinstance(formatter, AccessFormatter):
        return "colors" if formatter.use_colors else "text"
    return "json"


def _no_lines(_: Sequence[Finished]) -> list[str]:
    return []


def _open_append(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
