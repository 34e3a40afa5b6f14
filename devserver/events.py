"""Every fact that the core announces, and the Emitter that carries it to whoever asked.

Stages call only the stage to their right; what is worth showing, logging or counting comes back as one of the
small immutable values below. A listener names the types it wants when it is added, so that a stage can ask once
(:meth:`Emitter.wants`) and never build an event that nobody reads.

All fields are plain data (str, int, float, bool, None, tuples and other events of this file), so that
an event can cross a pipe as JSON: see :func:`to_json` and :func:`from_json`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

FAILURE_PATH = "/__dev__/failure"
"""Where ``dev run`` serves the last failure as one text."""


class RequestFinished(NamedTuple):
    """One HTTP response is complete, or its connection is gone. A tuple because one is made per request."""

    client: tuple[str, int] | None
    """Address of the client after proxy headers were applied."""
    scheme: str
    method: str
    target: bytes
    """The request target as it was received, query string included."""
    http_version: str
    status: int
    """0 when the connection was lost before a response began."""
    request_headers: list[tuple[bytes, bytes]]
    response_headers: Sequence[tuple[bytes, bytes]]
    body_bytes: int
    """Bytes of the response body, without framing."""
    duration_s: float
    """From the moment the head was complete to the last byte handed to the transport."""
    finished_at: float
    """Seconds since the epoch."""
    complete: bool
    """False when the peer left, or the app failed, before the response ended."""


class RequestRefused(NamedTuple):
    """The peer broke a rule of HTTP or a limit; it was answered with an error and the connection was closed."""

    peer: str
    """``host:port``, or ``unix`` for a Unix socket."""
    status: int
    reason: str


class WebSocketClosed(NamedTuple):
    """A WebSocket that was open has ended; its opening was announced as a request that finished with 101."""

    client: tuple[str, int] | None
    scheme: str
    """``ws`` or ``wss``."""
    target: bytes
    """As it stood in the request line."""
    request_headers: list[tuple[bytes, bytes]]
    """Of the handshake."""
    code: int
    """RFC 6455 §7.4; 1005 when the peer closed without one, 1006 when it did not close."""
    reason: str
    messages_received: int
    messages_sent: int
    bytes_received: int
    """Of messages, as the app took them."""
    bytes_sent: int
    """Of frames."""
    duration_s: float
    """From the handshake request."""
    finished_at: float
    """Unix time."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a folded traceback."""

    path: str
    line: int
    function: str
    source: str
    """The line of source text, stripped; empty when it cannot be read."""
    first_party: bool
    context: tuple[tuple[int, str], ...] = ()
    """(line number, text) of the lines around it; only for first-party frames."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An exception of the app's, folded once where it was raised; ``ui`` and ``devtools`` only render it."""

    kind: str
    """Qualified class name, such as ``ZeroDivisionError`` or ``pydantic.ValidationError``."""
    message: str
    frames: tuple[Frame, ...]
    """Outermost first; devserver's own frames are left out."""
    cause: Failure | None = None
    """The exception it was raised from, or while handling which it was raised."""
    during: str = ""
    """What was being done: ``import``, ``startup``, ``shutdown``, or a request line."""
    traceback: str = ""
    """The whole traceback as Python prints it."""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something a person should read once: an ignored value, an implementation that stands in for another, a limit."""

    level: str
    """``debug``, ``info``, ``warning`` or ``error``."""
    text: str


@dataclass(frozen=True, slots=True)
class ServerStarting:
    """A process is about to load the app."""

    pid: int


@dataclass(frozen=True, slots=True)
class LifespanChanged:
    """The app's lifespan moved on."""

    phase: str
    """``startup``, ``started``, ``unsupported``, ``shutdown`` or ``stopped``."""


@dataclass(frozen=True, slots=True)
class ServerReady:
    """The sockets are bound, the app is up and requests are served."""

    pid: int
    urls: tuple[str, ...]
    """One a listener: ``http://127.0.0.1:8000`` or ``unix:/path``."""
    app: str
    """The import string, or the type of the object that is served."""
    startup_s: float
    docs_path: str | None = None
    """Path of FastAPI's interactive documentation, when the app has one."""
    found: str = ""
    """How the app was found, when nobody named it."""
    mode: str = ""
    """How saves reach the app: ``fork``, ``standby`` or ``cold``; empty when nothing is reloaded."""


@dataclass(frozen=True, slots=True)
class ServerStopping:
    """No new connection is accepted; what is in flight is being finished."""

    pid: int
    connections: int
    requests: int


@dataclass(frozen=True, slots=True)
class ServerStopped:
    """Lifespan shutdown is over and the process is about to end."""

    pid: int


@dataclass(frozen=True, slots=True)
class AppFailed:
    """The app cannot be served: its import or its startup failed."""

    message: str
    hint: str
    failure: Failure | None


@dataclass(frozen=True, slots=True)
class AppRaised:
    """An exception left the app while it answered a request."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class RequestSeen:
    """A request as a person who develops the app wants to see it."""

    at: float
    """Seconds since the epoch, when it was over."""
    method: str
    """``WS`` for a WebSocket."""
    target: str
    """Path and query."""
    status: int
    """0 when the client left before the response began; the close code when a WebSocket was closed."""
    duration_s: float
    endpoint: str = ""
    """Name of the function that answered."""
    where: str = ""
    """Its ``path:line``."""
    notes: tuple[str, ...] = ()
    """What is worth knowing about it, a line each."""
    count: int = 1
    """So many that were alike came one after the other; the duration is the longest."""

    def fold(self, other: RequestSeen) -> RequestSeen | None:
        """Both as one when ``other``, which came next, is alike; else None."""
        alike = self.method == other.method and self.target == other.target and self.status == other.status
        if not alike or self.notes != other.notes:
            return None
        longest_s = max(self.duration_s, other.duration_s)
        return dataclasses.replace(self, at=other.at, duration_s=longest_s, count=self.count + other.count)


@dataclass(frozen=True, slots=True)
class RequestsSeen:
    """What was served during a moment."""

    requests: tuple[RequestSeen, ...]
    more: int = 0
    """So many others came in the same moment, of which nothing else is told."""


@dataclass(frozen=True, slots=True)
class RoutesSeen:
    """The routes of the app that serves now."""

    routes: tuple[tuple[str, str, str], ...]
    """Methods, path, and ``path:line`` with the name of the function."""
    added: tuple[str, ...] = ()
    """``GET /items``, of those that the app before it did not have."""
    removed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Repeated:
    """The last request was sent again after a reload."""

    method: str
    target: str
    before: int
    """Status of the response before the reload; 0 when there was none."""
    status: int
    """0 when there was no answer."""
    changes: tuple[str, ...] = ()
    """Lines of the body that are others now, beginning with ``-`` or ``+``."""


@dataclass(frozen=True, slots=True)
class FilesLoaded:
    """The files that the app executed or read while it was imported and started."""

    executed: tuple[tuple[str, str], ...]
    """(path, hash of the content that ran) of every first-party module file."""
    opened: tuple[str, ...]
    """Paths of other files that were opened meanwhile."""


@dataclass(frozen=True, slots=True)
class FilesChanged:
    """Files changed on disk."""

    paths: tuple[str, ...]
    reloading: bool
    reason: str = ""
    """Why nothing is reloaded, when nothing is."""


@dataclass(frozen=True, slots=True)
class EnvironmentChanged:
    """Env files were edited, and the next worker has other variables. Names only: a value may be a secret."""

    files: tuple[str, ...]
    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    shadowed: tuple[tuple[str, str], ...]
    """(name, what shadows it) of edits that change nothing: ``the environment``, or the line of a stronger file."""

    @property
    def summary(self) -> str:
        """``A, B added; C removed; D shadowed by the environment``, for all that tell it."""
        lists = (("added", self.added), ("changed", self.changed), ("removed", self.removed))
        parts = [f"{', '.join(names)} {done}" for done, names in lists if names]
        return "; ".join([*parts, *(f"{name} shadowed by {what}" for name, what in self.shadowed)]) or "same values"


@dataclass(frozen=True, slots=True)
class Reloaded:
    """New code answers, ``duration_s`` after the change was seen."""

    paths: tuple[str, ...]
    duration_s: float
    mode: str
    """``fork``, ``standby`` or ``cold``."""
    resumed: str = ""
    """The file that the import went on from; empty when all of the app was imported."""


@dataclass(frozen=True, slots=True)
class WorkerDied:
    """A worker ended without being asked to."""

    pid: int
    exit_code: int
    """Negative: the number of the signal that ended it."""


Event: TypeAlias = (
    RequestFinished
    | RequestRefused
    | WebSocketClosed
    | Notice
    | ServerStarting
    | LifespanChanged
    | ServerReady
    | ServerStopping
    | ServerStopped
    | AppFailed
    | AppRaised
    | RequestsSeen
    | RoutesSeen
    | Repeated
    | FilesLoaded
    | FilesChanged
    | EnvironmentChanged
    | Reloaded
    | WorkerDied
)

Listener: TypeAlias = Callable[[Any], None]


class Emitter:
    """Hands events to the listeners that asked for their type, in the order in which they were added.

    A listener is called on the thread that emits, which is the event loop's for most events, so it must not block.
    """

    __slots__ = ("_listeners",)

    def __init__(self) -> None:
        self._listeners: dict[type, list[Listener]] = {}

    def listen(self, listener: Listener, types: Iterable[type]) -> None:
        """Calls ``listener`` with every later event of these types."""
        for kind in types:
            self._listeners.setdefault(kind, []).append(listener)

    def wants(self, kind: type) -> bool:
        """Whether anybody listens to events of this type."""
        return kind in self._listeners

    def emit(self, event: Event) -> None:
        """Hands ``event`` to its listeners; free of cost when there are none."""
        for listener in self._listeners.get(type(event), ()):
            listener(event)


def to_json(event: Event) -> dict[str, Any]:
    """The event as a JSON object whose ``event`` member names its type.

    Only the dataclasses cross pipes; the two per-request tuples stay in the process that made them.
    """
    if not dataclasses.is_dataclass(event):
        raise AssertionError(f"{type(event).__name__} does not cross pipes")
    return {"event": type(event).__name__, **dataclasses.asdict(event)}


def from_json(data: dict[str, Any]) -> Event:
    """The inverse of :func:`to_json`.

    :raises ValueError: the object names no event, or its members do not fit.
    """
    members = dict(data)
    kind = _WIRE.get(members.pop("event", None))
    if kind is None:
        raise ValueError(f"not an event: {data!r:.200}")
    try:
        event: Event = kind(**{name: _revive(name, value) for name, value in members.items()})
    except TypeError as exc:
        raise ValueError(str(exc)) from exc
    return event


_WIRE: dict[str | None, Any] = {
    kind.__name__: kind
    for kind in (
        Notice,
        ServerStarting,
        LifespanChanged,
        ServerReady,
        ServerStopping,
        ServerStopped,
        AppFailed,
        AppRaised,
        RequestsSeen,
        RoutesSeen,
        Repeated,
        FilesLoaded,
        FilesChanged,
        EnvironmentChanged,
        Reloaded,
        WorkerDied,
    )
}


def _revive(name: str, value: Any) -> Any:
    if name in {"failure", "cause"} and value is not None:
        return Failure(**{key: _revive(key, item) for key, item in value.items()})
    if name == "requests" and isinstance(value, list):
        return tuple(RequestSeen(**{key: _revive("", item) for key, item in seen.items()}) for seen in value)
    if name == "frames":
        return tuple(Frame(**{key: _revive(key, item) for key, item in frame.items()}) for frame in value)
    if isinstance(value, list):
        return tuple(_revive("", item) for item in value)
    return value
