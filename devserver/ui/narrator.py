"""What to say: events and errors become lines of styled text.

It decides on words and order, and remembers what was said (the banner comes once, the same traceback is not told
twice). It writes nothing and knows neither colours nor encodings: a style is a name that ``rich`` gives a look and
``plain`` ignores, so everything must be understandable without it.

The texts it is given have been through the redactor. It never reads them as anything but text.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from textwrap import dedent
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from devserver.errors import DevserverError
from devserver.events import (
    AppFailed,
    AppRaised,
    EnvironmentChanged,
    Failure,
    FilesChanged,
    Frame,
    Notice,
    Reloaded,
    Repeated,
    RequestSeen,
    RequestsSeen,
    RoutesSeen,
    ServerReady,
    ServerStopping,
    WorkerDied,
)

Span: TypeAlias = tuple[str, str]
"""(style, text); the styles are ``text``, ``strong``, ``dim``, ``good``, ``warn``, ``bad``, ``link`` and ``source``."""
Line: TypeAlias = tuple[Span, ...]

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_LABELS: dict[str, Span] = {
    "debug": ("dim", "debug: "),
    "info": ("dim", "note: "),
    "warning": ("warn", "warning: "),
    "error": ("bad", "error: "),
}
_MODES = {
    "fork": "each save forks a warm process",
    "standby": "each save uses a process that stands by",
    "cold": "each save starts a fresh process",
}
# Without a frame of the user's own, the innermost of the framework's say at least which function was unhappy.
_FRAMES_WITHOUT_USER = 3
_BLANK: Line = ()
_TARGET_WIDTH = 24
_ROUTES_SHOWN = 3


class Narrator:
    """Tells what happened, in lines.

    :param name: name and version, for the banner.
    :param directory: paths below it are told relative to it, so that terminals can open them.
    :param env_files: those that were read, for the banner.
    :param slow_s: a request that takes so long is marked.
    :param level: notices below this level (a number as in ``logging``) are left out.
    :param addresses: gives this machine's own addresses, for servers that listen on all of them; may do I/O.
    """

    def __init__(
        self,
        name: str,
        *,
        directory: str = "",
        env_files: Sequence[str] = (),
        slow_s: float = 0.5,
        level: int = 20,
        addresses: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self._name = name
        self._directory = directory
        self._env_files = env_files
        self._slow_s = slow_s
        self._level = level
        self._addresses = addresses
        self._ready = False
        self._told: object = None
        self._blank = False
        self._tellers: dict[type, Callable[[Any], list[Line]]] = {
            ServerReady: self._banner,
            Notice: self._notice,
            FilesChanged: self._changed,
            EnvironmentChanged: self._environment,
            Reloaded: self._reloaded,
            ServerStopping: self._stopping,
            WorkerDied: self._died,
            AppFailed: self._failed,
            AppRaised: self._raised,
            RequestsSeen: self._requests,
            Repeated: self._repeated,
            RoutesSeen: self._routes,
        }

    @property
    def told(self) -> tuple[type, ...]:
        """The types of the events that it tells of."""
        return tuple(self._tellers)

    def tell(self, event: object) -> list[Line]:
        """The lines that tell of this event or error; none when there is nothing to tell."""
        if isinstance(event, DevserverError):
            lines = self._error(event)
        else:
            teller = self._tellers.get(type(event))
            lines = [] if teller is None else teller(event)
        # Each block asks for room before and after it; between two of them one empty line is enough.
        told: list[Line] = []
        for line in lines:
            if line or not self._blank:
                told.append(line)
            self._blank = not line
        return told

    def _banner(self, event: ServerReady) -> list[Line]:
        self._told = None
        if self._ready:
            return []
        self._ready = True
        title: Line = (("strong", self._name), ("dim", f"  ready in {duration(event.startup_s)}"))
        rows = [(label, ("link", url)) for label, url in self._urls(event)]
        app: Line = (("text", event.app), ("dim", f"  {event.found}" if event.found else ""))
        reload: Line = (("text", "off"),)
        if event.mode:
            reload = (("text", event.mode), ("dim", f"  {_MODES.get(event.mode, '')}".rstrip()))
        lines: list[Line] = [_BLANK, (("text", "  "), *title), _BLANK]
        lines += [(("good", "  ➜ "), ("strong", f"{label:<9}"), span) for label, span in rows]
        lines += [(("text", "    "), ("strong", f"{'App':<9}"), *app)]
        if self._env_files:
            lines += [(("text", "    "), ("strong", f"{'Env':<9}"), ("text", ", ".join(self._env_files)))]
        lines += [(("text", "    "), ("strong", f"{'Reload':<9}"), *reload)]
        return [*lines, _BLANK]

    def _urls(self, event: ServerReady) -> list[tuple[str, str]]:
        rows: list[tuple[str, str]] = []
        for url in event.urls:
            if url.startswith("unix:"):
                rows.append(("Socket", url))
                continue
            parts = urlsplit(url)
            port = f":{parts.port}" if parts.port else ""
            if parts.hostname == "0.0.0.0":
                hosts = ["127.0.0.1", *(host for host in self._addresses() if ":" not in host)]
            elif parts.hostname == "::":
                hosts = ["[::1]", *(f"[{host}]" for host in self._addresses() if ":" in host)]
            else:
                rows.append(("Local" if _is_loopback(parts.hostname or "") else "Network", url))
                continue
            rows += [
                ("Network" if index else "Local", f"{parts.scheme}://{host}{port}") for index, host in enumerate(hosts)
            ]
        base = next((url for label, url in rows if label != "Socket"), "")
        if event.docs_path and base:
            rows.append(("Docs", base.rstrip("/") + event.docs_path))
        return rows

    def _notice(self, event: Notice) -> list[Line]:
        if _LEVELS.get(event.level, 20) < self._level:
            return []
        return _paragraph(_LABELS.get(event.level, _LABELS["info"]), event.text)

    def _changed(self, event: FilesChanged) -> list[Line]:
        if event.reloading:
            return []
        reason = f" · {event.reason}" if event.reason else ""
        return [(("dim", f"· {self._paths(event.paths)}{reason}"),)]

    def _environment(self, event: EnvironmentChanged) -> list[Line]:
        return [(("dim", "· "), ("text", ", ".join(event.files)), ("dim", f" · {event.summary}"))]

    def _reloaded(self, event: Reloaded) -> list[Line]:
        self._told = None
        paths = self._paths(event.paths) or "reloaded"
        told = duration(event.duration_s)
        if event.resumed:
            where = "there" if event.paths == (event.resumed,) else self._paths((event.resumed,))
            told += f" · from {where} on"
        return [(("good", "↻ "), ("text", paths), ("dim", f" · {told}"))]

    def _requests(self, event: RequestsSeen) -> list[Line]:
        lines = [line for seen in event.requests for line in self._request(seen)]
        if event.more:
            lines.append((("dim", f"{'':9}… {event.more:,} more"),))
        return lines

    def _request(self, seen: RequestSeen) -> list[Line]:
        status, style = str(seen.status or "gone"), "dim"
        if seen.method == "WS":
            style = "good" if seen.status in {1000, 1001, 1005, 1012} else "warn"
        elif seen.status:
            style = "bad" if seen.status >= 500 else "warn" if seen.status >= 400 else "good"
        slow = seen.duration_s >= self._slow_s and seen.method != "WS"
        line: Line = (
            ("dim", time.strftime("%H:%M:%S ", time.localtime(seen.at))),
            ("strong", f"{seen.method:<7}"),
            ("text", f"{seen.target:<{_TARGET_WIDTH}} "),
            (style, f"{status:<4} "),
            ("warn" if slow else "dim", f"{duration(seen.duration_s):>7}"),
        )
        if slow:
            line += (("warn", " slow"),)
        if seen.where or seen.endpoint:
            line += (("dim", f"  {f'{seen.where} {seen.endpoint}'.strip()}"),)
        if seen.count > 1:
            line += (("strong", f"  ×{seen.count:,}"),)
        return [line, *((("dim", f"{'':9}{note}"),) for note in seen.notes)]

    def _routes(self, event: RoutesSeen) -> list[Line]:
        parts = [
            f"{sign}{count(len(names), 'route')}  {', '.join(names[:_ROUTES_SHOWN])}"
            + (" …" if len(names) > _ROUTES_SHOWN else "")
            for sign, names in (("+", event.added), ("-", event.removed))
            if names
        ]
        return [(("dim", f"  {part}"),) for part in parts]

    def _repeated(self, event: Repeated) -> list[Line]:
        status = str(event.status or "no answer")
        if event.before and event.before != event.status:
            status = f"{event.before} → {status}"
        style = "bad" if event.status >= 500 or not event.status else "warn" if event.status >= 400 else "good"
        same = "" if event.changes or event.before != event.status else "  as before"
        line: Line = (("good", "↺ "), ("text", f"{event.method} {event.target} "), (style, status), ("dim", same))
        styles = {"-": "bad", "+": "good"}
        return [line, *((("dim", "    "), (styles.get(text[0], "dim"), text)) for text in event.changes)]

    def _stopping(self, event: ServerStopping) -> list[Line]:
        if not event.requests:
            return []
        return [(("dim", f"finishing {count(event.requests, 'request')} …"),)]

    def _died(self, event: WorkerDied) -> list[Line]:
        if event.exit_code < 0:
            end = f"was killed by {_signal_name(-event.exit_code)}"
        else:
            end = f"ended with exit code {event.exit_code}"
        return [*_paragraph(_LABELS["error"], f"the app's process ({event.pid}) {end}"), _BLANK]

    def _failed(self, event: AppFailed) -> list[Line]:
        if self._told == (event.message, event.failure):
            return []
        self._told = (event.message, event.failure)
        lines: list[Line] = [_BLANK, *_paragraph(_LABELS["error"], event.message)]
        if event.failure is not None:
            lines += [_BLANK, *self._failure(event.failure, headline=True)]
        if event.hint:
            lines += [_BLANK, *_paragraph(("strong", "hint: "), event.hint)]
        return [*lines, _BLANK]

    def _raised(self, event: AppRaised) -> list[Line]:
        failure = event.failure
        sentence = f"{failure.during or 'the app'} raised {_headline(failure)}"
        same = (failure.kind, failure.message, failure.frames)
        if self._told == same:
            return _paragraph(_LABELS["error"], f"{sentence.splitlines()[0]} (as above)")
        self._told = same
        lines: list[Line] = [_BLANK, *_paragraph(_LABELS["error"], sentence)]
        return [*lines, _BLANK, *self._failure(failure, headline=failure.cause is not None), _BLANK]

    def _error(self, error: DevserverError) -> list[Line]:
        return self._failed(AppFailed(message=error.message, hint=error.hint, failure=getattr(error, "failure", None)))

    def _failure(self, failure: Failure, *, headline: bool) -> list[Line]:
        lines: list[Line] = []
        if failure.cause is not None:
            lines += [*self._failure(failure.cause, headline=True), _BLANK, (("dim", "  ↓ which led to"),), _BLANK]
        if headline:
            lines += [(("text", "  "), ("bad", text)) for text in _headline(failure).splitlines()]
        return lines + self._frames(failure.frames)

    def _frames(self, frames: Sequence[Frame]) -> list[Line]:
        shown = {index for index, frame in enumerate(frames) if frame.first_party}
        last = max(shown, default=-1)
        if not shown:
            shown = set(range(len(frames))[-_FRAMES_WITHOUT_USER:])
        lines: list[Line] = []
        hidden = 0
        for index, frame in enumerate(frames):
            if index not in shown:
                hidden += 1
                continue
            lines += _hidden(hidden)
            hidden = 0
            lines += self._frame(frame, last=index == last)
        return lines + _hidden(hidden)

    def _frame(self, frame: Frame, *, last: bool) -> list[Line]:
        where = f"{self._path(frame.path)}:{frame.line}"
        lines: list[Line] = [(("text", "  "), ("link", where), ("dim", " in "), ("text", frame.function))]
        if not (last and frame.context):
            return lines + ([(("source", f"      {frame.source}"),)] if frame.source else [])
        width = max(len(str(number)) for number, _ in frame.context)
        texts = dedent("\n".join(text.expandtabs(4).rstrip() for _, text in frame.context)).split("\n")
        for (number, _), text in zip(frame.context, texts, strict=True):
            here = number == frame.line
            # Number 0 is no line of the file but a mark below the line before it: where a SyntaxError was seen.
            gutter = f"    {'>' if here else ' '} {number or '':>{width}} │ "
            lines.append((("bad" if here else "dim", gutter), ("source" if here else "dim", text)))
        return lines

    def _paths(self, paths: Sequence[str]) -> str:
        more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
        return f"{self._path(paths[0])}{more}" if paths else ""

    def _path(self, path: str) -> str:
        below = self._directory.rstrip(os.sep) + os.sep
        return path.removeprefix(below) if self._directory else path


def duration(seconds: float) -> str:
    """``8.3 ms``, ``212 ms``, ``1.4 s``."""
    if seconds < 0.00995:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s"


def count(number: int, noun: str) -> str:
    """``1 frame``, ``27 frames``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _headline(failure: Failure) -> str:
    return f"{failure.kind}: {failure.message}" if failure.message else failure.kind


def _hidden(frames: int) -> list[Line]:
    return [(("dim", f"  … {count(frames, 'framework frame')} hidden"),)] if frames else []


def _paragraph(label: Span, text: str) -> list[Line]:
    first, *rest = text.splitlines() or [""]
    return [(label, ("text", first)), *((("text", f"  {line}"),) for line in rest)]


def _is_loopback(host: str) -> bool:
    return host in {"localhost", "::1"} or host.startswith("127.")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
