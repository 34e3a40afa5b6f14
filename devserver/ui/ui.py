"""The UI as the command sees it: it listens to the events, and nobody ever waits for it.

Listening only appends to a bounded backlog. A thread of its own redacts, puts into words and writes, through an outlet
that does not block either: a terminal that is stopped, or a pipe that nobody reads, costs lines and never the server.
Lines that are lost are counted and the count is told as soon as there is room again.

People read on stderr, because stdout belongs to the app's own output and to what a command returns. ``--ui json`` is
for programs and goes to stdout.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import IO, TYPE_CHECKING, Any, NamedTuple, Protocol

from devserver.errors import DevserverError
from devserver.events import AppFailed, AppRaised, Emitter, EnvironmentChanged, Notice, RequestsSeen
from devserver.observe.writer import Outlet, Pump
from devserver.ui import json
from devserver.ui.addresses import own_addresses
from devserver.ui.choice import ASCII, Choice, choose
from devserver.ui.console import Console
from devserver.ui.folding import Folding
from devserver.ui.footer import Footer
from devserver.ui.keys import PASTE_OFF, PASTE_ON, Keys
from devserver.ui.narrator import Line, Narrator
from devserver.ui.plain import PlainText
from devserver.ui.rich import RichText

if TYPE_CHECKING:
    from devserver.app.redact import Redactor
    from devserver.commands import Command
    from devserver.config.settings import Config

_LINE_BYTES_MAX = 4_096
_APP_CHUNKS_MAX = 100
"""Of the app's output, before the app has to wait."""
# A person reads some lines a second, so whoever is this far behind has stopped reading.
_BACKLOG_EVENTS_MAX = 1_000
_CLOSE_WAIT_S = 1.0


_CLEAR = b"\x1b[H\x1b[2J"
_LEND_WAIT_S = 0.2


class _Lines(NamedTuple):
    """Lines that no event stands behind."""

    lines: list[Line]


class _Typed(NamedTuple):
    """What came from the keyboard."""

    data: bytes


class _Control(NamedTuple):
    """What the terminal is told, and nobody sees."""

    data: bytes


class Renderer(Protocol):
    """Gives lines their look."""

    def render(self, lines: Iterable[Line]) -> str:
        """The lines as one text."""


def make_ui(
    config: Config,
    *,
    stdout: IO[str],
    stderr: IO[str],
    name: str = "devserver",
    env_files: Sequence[str] = (),
    own: Mapping[str, str] | None = None,
) -> UI:
    """The UI that ``--ui`` and the environment ask for.

    :param name: name and version, for the banner.
    :param env_files: those that were read, for the banner.
    :param own: the environment as it was before any env file; ours when left out.
    """
    environ = dict(os.environ)
    choice = choose(
        config.ui,
        terminal=_is_terminal(stderr),
        encoding=getattr(stderr, "encoding", None) or "utf-8",
        environ=environ,
        use_colors=config.use_colors,
    )
    narrator = Narrator(
        name,
        directory=os.getcwd(),
        env_files=env_files,
        slow_s=config.slow_ms / 1000 or float("inf"),
        level=_level(config.log_level),
        addresses=own_addresses,
    )
    stream = stdout if choice.kind == "json" else stderr
    listing = (_listing(config), environ if own is None else own)
    return UI(choice, narrator, stream, environ=environ, listing=listing, prepare=config.should_reload)


def _listing(config: Config) -> list[str]:
    """The command that shows the environment of the app."""
    command = [sys.executable, "-m", "devserver", "env"]
    if config.mode is not None:
        command += ["--mode", config.mode]
    if isinstance(config.env_file, tuple):
        command += [part for path in config.env_file for part in ("--env-file", os.fspath(path))]
    return command


class UI:
    """Tells a person, or a program, what happens. Made by :func:`make_ui`.

    :param choice: how to speak.
    :param narrator: what to say.
    :param stream: where to.
    :param environ: says which colours the terminal knows and which values are secret.
    :param listing: the command that shows the environment of the app, and the variables that it is started with.
    :param prepare: import what the first line needs as soon as there are events to come. Worth it in a supervisor,
        which has nothing to do while its child starts; a process that loads the app itself would be slowed down.
    """

    def __init__(
        self,
        choice: Choice,
        narrator: Narrator,
        stream: IO[str],
        *,
        environ: Mapping[str, str],
        listing: tuple[Sequence[str], Mapping[str, str]] = ((), {}),
        prepare: bool = False,
    ) -> None:
        self._choice = choice
        self._hurried = prepare
        self._narrator = narrator
        self._stream = stream
        self._environ = environ
        self._listing = listing
        self._encoding = getattr(stream, "encoding", None) or "utf-8"
        self._renderer: Renderer
        if choice.kind == "rich":
            self._renderer = RichText(environ, colour=choice.colour, ascii=choice.ascii)
        else:
            self._renderer = PlainText(ascii=choice.ascii)
        self._outlet = _outlet(stream)
        self._backlog: deque[Any] = deque()
        self._lost = 0
        self._begun = b""
        """What the app has written of a line that has no end yet."""
        self._keys = Keys()
        self._console: Console | None = None
        self._footer = Footer(self._columns)
        self._folding = Folding()
        self._pump = Pump(self._step, name="devserver-ui", forget=self._backlog.clear)

    @property
    def kind(self) -> str:
        """``rich``, ``plain`` or ``json``."""
        return self._choice.kind

    def attach(self, emitter: Emitter) -> None:
        """Listens to the events that it tells of."""
        if self._hurried and isinstance(self._renderer, RichText):
            self._listen(self._renderer.prepare)
        told = json.WRITTEN if self._choice.kind == "json" else self._narrator.told
        if self._choice.kind == "plain":
            # Where nobody watches, the access log's lines are what programs know how to read.
            told = tuple(kind for kind in told if kind is not RequestsSeen)
        emitter.listen(self._listen, told)

    def put(self, data: bytes) -> None:
        """Shows what the app has written, between our own lines."""
        self._backlog.append(data)
        self._pump.wake()

    # The keyboard, on the supervisor's thread

    def begin(self, post: Callable[[Command], None]) -> bool:
        """There is a keyboard; whether keys are wanted, and a footer drawn.

        :param post: takes the commands that keys mean.
        """
        if self._choice.kind != "rich" or self._outlet is None or not _is_terminal(self._stream):
            return False
        self._console = Console(self._say, self._refresh, lambda: self._control(_CLEAR), post, listing=self._listing)
        self._control(PASTE_ON)
        return True

    def press(self, data: bytes) -> None:
        """Takes what was typed."""
        # In its turn: what a key shows may be on its way.
        self._backlog.append(_Typed(data))
        self._pump.wake()

    def lend(self, *, lent: bool) -> None:
        """Somebody else draws on the screen, or no longer; returns when nothing of ours is below what was written."""
        if self._console is not None:
            self._footer.hidden = lent
            self._control(PASTE_OFF if lent else PASTE_ON)
            if lent:
                self._pump.drain(_LEND_WAIT_S)

    def resized(self) -> None:
        """The terminal has another size."""
        self._refresh()

    @property
    def full(self) -> bool:
        """Whether the app should wait before it writes more."""
        if self._outlet is None or self._outlet.broken:
            return False
        return len(self._backlog) >= _APP_CHUNKS_MAX or self._outlet.waiting

    def error(self, error: DevserverError) -> None:
        """Tells of the error that ends the command, and waits a moment until it is written."""
        self._listen(error)
        self._pump.drain(_CLOSE_WAIT_S)

    def close(self) -> None:
        """Writes what is left, waiting a second at most, and lets go of the stream."""
        if self._console is not None:
            self._footer.hidden = True
            self._control(PASTE_OFF)
        self._pump.close(_CLOSE_WAIT_S)
        if self._outlet is not None:
            self._outlet.close()

    def _listen(self, event: object) -> None:
        if len(self._backlog) >= _BACKLOG_EVENTS_MAX:
            self._lost += 1
            return
        self._backlog.append(event)
        self._pump.wake()

    def _step(self) -> bool:
        if self._outlet is not None and not self._outlet.push() and not self._outlet.broken:
            return True
        if self._lost:
            lost, self._lost = self._lost, 0
            self._write(self._text(Notice("warning", f"{lost:,} messages were left out: nobody read them in time")))
        while self._backlog:
            if self._outlet is not None and self._outlet.full:
                return True
            event = self._backlog.popleft()
            if callable(event):
                event()
            elif isinstance(event, _Typed):
                if self._console is not None:
                    for key in self._keys.press(event.data):
                        self._console.press(key)
            elif isinstance(event, _Control):
                self._folding.forget()
                self._write_bytes(event.data)
            elif isinstance(event, _Lines):
                self._write(self._renderer.render(event.lines))
            elif isinstance(event, RequestsSeen) and self._console is not None and not self._begun:
                self._write_requests(event)
            elif isinstance(event, bytes):
                self._folding.forget()
                self._begun = (self._begun + event).rpartition(b"\n")[2][-_LINE_BYTES_MAX:]
                self._write_bytes(event)
            else:
                self._write(self._text(event))
        return self._outlet is not None and self._outlet.waiting

    def _text(self, event: Any) -> str:
        event = self._redacted(event)
        if self._choice.kind == "json":
            return json.line(event)
        if self._console is not None:
            self._console.see(event)
        return self._renderer.render(self._narrator.tell(event))

    def _write_requests(self, event: RequestsSeen) -> None:
        """On a terminal, where the line before can still be changed."""
        event, back = self._folding.fold(self._redacted(event))
        if self._console is not None:
            self._console.see(event)
        lines = self._narrator.tell(event)
        self._write(back + self._renderer.render(lines))
        self._folding.shown(event, lines, self._columns())

    @cached_property
    def _redactor(self) -> Redactor:
        # Its patterns take milliseconds to compile: on the first text, on our own thread, not at the start.
        from devserver.app.redact import Redactor

        return Redactor.of(self._environ)

    def _redacted(self, event: Any) -> Any:
        if isinstance(event, AppFailed):
            return self._redactor.app_failed(event)
        if isinstance(event, AppRaised):
            return self._redactor.app_raised(event)
        if isinstance(event, RequestsSeen):
            return self._redactor.requests_seen(event)
        if isinstance(event, EnvironmentChanged):
            self._redactor = self._redactor.also(dict(os.environ))
        if isinstance(event, Notice):
            return Notice(event.level, self._redactor.text(event.text))
        if isinstance(event, DevserverError):
            shown = copy.copy(event)
            shown.message, shown.hint = self._redactor.text(event.message), self._redactor.text(event.hint)
            if (failure := getattr(event, "failure", None)) is not None:
                shown.failure = self._redactor.failure(failure)  # type: ignore[attr-defined]
            return shown
        return event

    def _write(self, text: str) -> None:
        if not text:
            return
        self._folding.forget()
        data = text.encode(self._encoding, "backslashreplace")
        if self._begun:
            # The app's line, such as a prompt, goes on below.
            data = b"\n" + data + self._begun
        self._write_bytes(data)

    def _say(self, lines: list[Line]) -> None:
        self._backlog.append(_Lines(lines))
        self._pump.wake()

    def _control(self, data: bytes) -> None:
        self._backlog.append(_Control(data))
        self._pump.wake()

    def _refresh(self) -> None:
        self._control(b"")

    def _columns(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).columns
        except (OSError, ValueError):
            return 80

    def _write_bytes(self, data: bytes) -> None:
        if self._console is not None:
            text = self._console.footer
            self._footer.text = text.translate(ASCII) if self._choice.ascii else text
            data = self._footer.around(data, at_start_of_line=not self._begun)
        if self._outlet is not None:
            self._outlet.put(data)
            return
        # A stream without a descriptor is memory, in a test or a notebook.
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(data.decode(self._encoding))
            self._stream.flush()


def _outlet(stream: IO[str]) -> Outlet | None:
    try:
        return Outlet(stream.fileno())
    except (OSError, AttributeError, ValueError):
        return None


def _is_terminal(stream: IO[str]) -> bool:
    try:
        return stream.isatty()
    except (AttributeError, ValueError):
        return False


def _level(level: str | int | None) -> int:
    if isinstance(level, int):
        return level
    return logging.getLevelNamesMapping().get((level or "info").upper(), logging.DEBUG)
