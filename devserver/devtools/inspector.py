"""Looks at each request while it is served, for the lines that ``dev run`` shows of it.

An ASGI app in front of the user's. It remembers the status, the endpoint that the router has found, and the beginning
of error responses, which often say what was wrong. What it sees is gathered and told a few times a second: under a
flood most requests go past it and are only counted, so that being watched costs next to nothing.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
import os
import time
from collections.abc import Callable, Container, Sequence
from typing import TYPE_CHECKING, Any

from devserver.app.redact import is_secret_name
from devserver.devtools import queries, spans
from devserver.devtools.blocked_loop import BlockedLoop
from devserver.events import Notice, RequestSeen, RequestsSeen, WebSocketClosed

if TYPE_CHECKING:
    from devserver.app.types import ASGIApp, Message, Receive, Scope, Send
    from devserver.events import Emitter

SEEN_MAX = 20
"""Requests that are looked at in one moment; what else comes in that time is counted."""
MOMENT_S, BUSY_MOMENT_S = 0.1, 0.25
"""How long requests are gathered; the second when there are more than can be looked at. Telling of them takes most
of a millisecond from the app, which must stay rare."""
EXPLAINED = frozenset({400, 404, 405, 422})
"""Statuses whose responses are read."""
BODY_BYTES_MAX = 65_536
ERRORS_MAX = 5
"""Of a 422 response."""
INPUT_CHARS_MAX = 60
DETAIL_CHARS_MAX = 200
TARGET_CHARS_MAX = 500
ENDPOINTS_MAX = 1_024
_BODILESS = frozenset({"GET", "HEAD", "OPTIONS"})


class Inspector:
    """An ASGI app that tells of requests.

    :param app: the user's.
    :param emitter: gets the :class:`~devserver.events.RequestsSeen`, on the event loop's thread.
    :param directory: paths below it are told relative to it.
    :param slow_s: of a request that takes so long is told where the time went, if that is known.
    :param first_party: which files are the project's.
    :param hint: what to say about a path that no route matches; gets method and path.
    :param keep: gets what can be sent again: method, target, headers, and the body if it is not too large.
    """

    def __init__(
        self,
        app: ASGIApp,
        emitter: Emitter,
        *,
        directory: str,
        slow_s: float = 0.5,
        first_party: Container[str] = (),
        hint: Callable[[str, str], str] = lambda _, __: "",
        keep: Callable[[str, bytes, list[tuple[bytes, bytes]], bytes | None], object] = lambda *_: None,
    ) -> None:
        self.app = app
        """Public, so that what looks for the FastAPI app inside of others finds it."""
        self._emitter = emitter
        self._directory = directory.rstrip(os.sep) + os.sep
        self.slow_s = slow_s
        self._hint = hint
        self._blocked = BlockedLoop(first_party, directory, Inspector.__call__.__code__, self._tell_blocked)
        self.source = queries.Source(first_party, directory)
        self._keep = keep
        self._last: _Request | None = None
        """The last request, until it is handed on."""
        self._seen: list[RequestSeen] = []
        self._looked = self._more = 0
        """Requests of this moment that were looked at, and those that were not."""
        self._follows = self._is_busy = False
        """What is seen now comes closely behind something else."""
        self._hinted: tuple[str, str, str] | None = None
        """Method, path and hint, since the last time something was told: comparing routes takes time."""
        self._timer: asyncio.TimerHandle | None = None
        self._endpoints: dict[int, tuple[object, str, str]] = {}
        emitter.listen(self._on_closed, (WebSocketClosed,))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] == "http" and self._looked < SEEN_MAX:
            self._looked += 1
            self._open_moment()
            request = _Request(self, scope, send)
            queries.listen()
            queries.current.set(request.queries)
            spans.listen()
            spans.current.set(request.parts)
            self._blocked.serve(asyncio.get_running_loop())
            try:
                await self.app(scope, request.listen(receive), request.send)
            except BaseException:
                request.raised()
                raise
            finally:
                request.over()
                self._blocked.served()
            return
        if scope["type"] == "http":
            self._more += 1
            self._open_moment()
        await self.app(scope, receive, send)

    def add(self, seen: RequestSeen) -> None:
        """Tells of ``seen`` soon."""
        if len(self._seen) >= SEEN_MAX:
            self._more += 1
            return
        folded = self._seen[-1].fold(seen) if self._seen else None
        if folded is not None:
            self._seen[-1] = folded
        else:
            self._seen.append(seen)
        self._open_moment()
        if not self._follows:
            # The first one is shown at once; those that follow closely wait for each other.
            self._follows = True
            asyncio.get_running_loop().call_soon(self._tell)

    def _open_moment(self) -> None:
        if self._timer is None:
            moment_s = BUSY_MOMENT_S if self._is_busy else MOMENT_S
            self._timer = asyncio.get_running_loop().call_later(moment_s, self._end_moment)

    def _end_moment(self) -> None:
        # What comes right after a busy moment waits for the end of the next one.
        self._follows = bool(self._seen or self._more or self._looked)
        self._is_busy = self._more > 0
        self._tell()
        self._timer, self._looked, self._hinted = None, 0, None
        if self._follows:
            self._open_moment()

    def _tell(self) -> None:
        if not self._seen and not self._more:
            return
        told, self._seen, more, self._more = tuple(self._seen), [], self._more, 0
        self._emitter.emit(RequestsSeen(told, more))
        last, self._last = self._last, None
        if last is not None:
            self._keep(*last.kept())

    def _on_closed(self, event: WebSocketClosed) -> None:
        counts = f"{event.messages_received} in, {event.messages_sent} out"
        self.add(
            RequestSeen(
                event.finished_at,
                "WS",
                _target(event.target),
                event.code,
                event.duration_s,
                notes=(f"closed, {counts}",),
            )
        )

    def endpoint(self, scope: Scope) -> tuple[str, str]:
        """Name and place of the function that answers, as the router has found it."""
        function = scope.get("endpoint")
        if function is None:
            return "", ""
        known = self._endpoints.get(id(function))
        # Held, so that nothing else can get its id.
        if known is not None and known[0] is function:
            return known[1:]
        found = (function, *_place(function, self._directory))
        if len(self._endpoints) >= ENDPOINTS_MAX:
            self._endpoints.clear()
        self._endpoints[id(function)] = found
        return found[1:]

    def blocked(self, request: _Request) -> str:
        """What has kept the loop while it served ``request``."""
        return self._blocked.note(request)

    def _tell_blocked(self, text: str) -> None:
        self._emitter.emit(Notice("warning", f"{text}."))

    def last(self, request: _Request) -> None:
        """``request`` can be sent again."""
        self._last = request

    def notes(self, scope: Scope, status: int, headers: Sequence[Any], body: bytes) -> tuple[str, ...]:
        """What an error response says, and what else helps."""
        if status == 422:
            return explain_422(body)
        if status == 404 and scope.get("endpoint") is None:
            return self._hint_for(scope["method"], scope["path"])
        if status in {400, 404}:
            return _detail(body)
        if status == 405:
            allowed = [bytes(value) for name, value in headers if bytes(name).lower() == b"allow"]
            return (f"allowed here: {b', '.join(allowed).decode('latin-1')}",) if allowed else ()
        return ()

    def _hint_for(self, method: str, path: str) -> tuple[str, ...]:
        if self._hinted is None:
            self._hinted = method, path, self._hint(method, path)
        hint = self._hinted[2] if self._hinted[:2] == (method, path) else ""
        return (hint,) if hint else ()


class _Request:
    __slots__ = (
        "_asked",
        "_began",
        "_body",
        "_done",
        "_fields",
        "_headers",
        "_inspector",
        "_notes",
        "_receive",
        "_scope",
        "_send",
        "_status",
        "_target",
        "parts",
        "queries",
    )

    def __init__(self, inspector: Inspector, scope: Scope, send: Send) -> None:
        self._inspector = inspector
        self._scope = scope
        self._send = send
        self._began = time.perf_counter()
        self._status = 0
        self._headers: Sequence[Any] = ()
        self._body = b""
        self._done = False
        self._fields = scope["headers"]
        self._asked: bytearray | None = bytearray()
        """The request's body, as far as the app has read it; None when it is too large."""
        self._receive: Receive
        self._notes: tuple[str, ...] = ()
        self.queries = queries.Queries(inspector.source)
        self.parts: dict[str, float] = {}
        """See :data:`devserver.devtools.spans.current`."""
        # Mounted apps and middleware change the scope.
        path = scope.get("raw_path") or scope["path"].encode()
        query = scope.get("query_string") or b""
        self._target = path + b"?" + query if query else path

    def listen(self, receive: Receive) -> Receive:
        """What the app receives from; a body is remembered on the way."""
        if self._scope["method"] in _BODILESS:
            return receive
        self._receive = receive
        return self._listen

    async def _listen(self) -> Message:
        message = await self._receive()
        if self._asked is not None and message["type"] == "http.request":
            self._asked += message.get("body", b"")
            if len(self._asked) > BODY_BYTES_MAX:
                self._asked = None
        return message

    def kept(self) -> tuple[str, bytes, list[tuple[bytes, bytes]], bytes | None]:
        """What it takes to send it again."""
        body = None if self._asked is None else bytes(self._asked)
        return self._scope["method"], self._target, self._fields, body

    async def send(self, message: Message) -> None:
        """In the place of the server's."""
        kind = message["type"]
        if kind == "http.response.start":
            self._status = message["status"]
            self._headers = message.get("headers", ())
        elif kind == "http.response.body" and self._status in EXPLAINED and len(self._body) < BODY_BYTES_MAX:
            self._body += bytes(message.get("body", b""))
        await self._send(message)
        if kind == "http.response.body" and not message.get("more_body", False):
            self.over()

    def add_note(self, text: str) -> None:
        """Something to tell with it."""
        self._notes += (text,)

    def raised(self) -> None:
        """The app raised; when nothing was sent the server answers with 500."""
        if not self._status:
            self._status = 500

    def over(self) -> None:
        """The response is complete, or there will be none."""
        if self._done:
            return
        self._done = True
        self._inspector.last(self)
        inspector, scope = self._inspector, self._scope
        endpoint, where = inspector.endpoint(scope)
        notes = self._notes
        if self._status in EXPLAINED:
            notes += inspector.notes(scope, self._status, self._headers, self._body)
        duration_s = time.perf_counter() - self._began
        parts = spans.note(self.parts) if duration_s >= inspector.slow_s else ""
        notes += tuple(note for note in (parts, self.queries.note(), inspector.blocked(self)) if note)
        inspector.add(
            RequestSeen(
                time.time(), scope["method"], _target(self._target), self._status, duration_s, endpoint, where, notes
            )
        )


def explain_422(body: bytes) -> tuple[str, ...]:
    """What FastAPI's validation found wrong, a line for each error: where, what, and what came instead."""
    try:
        errors = json.loads(body)["detail"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ()
    if not isinstance(errors, list):
        return ()
    lines = [_explained(error) for error in errors[:ERRORS_MAX] if isinstance(error, dict)]
    if len(errors) > ERRORS_MAX:
        lines.append(f"and {len(errors) - ERRORS_MAX} more")
    return tuple(lines)


def _detail(body: bytes) -> tuple[str, ...]:
    """What an HTTPException says, unless it is only the name of its status."""
    try:
        detail = json.loads(body)["detail"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ()
    return (
        (detail[:DETAIL_CHARS_MAX],) if isinstance(detail, str) and detail not in {"Not Found", "Bad Request"} else ()
    )


def _explained(error: dict[str, Any]) -> str:
    place = error.get("loc")
    path = [str(part) for part in place] if isinstance(place, list) else []
    line = f"{' → '.join(path) or 'request'}: {error.get('msg', 'invalid')}"
    if "input" not in error or error.get("type") == "missing":
        return line
    value = error["input"]
    if any(map(is_secret_name, path)):
        size = f", {len(value)} characters" if isinstance(value, str) else ""
        return f"{line} (got {type(value).__name__}{size})"
    shown = json.dumps(value, ensure_ascii=False)
    return f"{line} (got {shown if len(shown) <= INPUT_CHARS_MAX else shown[:INPUT_CHARS_MAX] + '…'})"


def _target(raw: bytes) -> str:
    return raw[:TARGET_CHARS_MAX].decode("utf-8", "backslashreplace")


def _place(function: Any, directory: str) -> tuple[str, str]:
    """Name and ``path:line`` of a function, whatever it is wrapped in."""
    while isinstance(function, functools.partial):
        function = function.func
    try:
        function = inspect.unwrap(function)
    except ValueError:
        return "", ""
    name = getattr(function, "__name__", type(function).__name__)
    if not hasattr(function, "__code__"):
        # A class, or an object that is called.
        function = getattr(function, "__call__", None) if not inspect.isclass(function) else function  # noqa: B004
        function = getattr(function, "__func__", function)
    code = getattr(function, "__code__", None)
    if code is None:
        return str(name), ""
    return str(name), f"{code.co_filename.removeprefix(directory)}:{code.co_firstlineno}"
