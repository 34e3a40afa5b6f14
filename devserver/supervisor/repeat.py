"""Sends the last request again, as the client sent it, and says what is different now.

The supervisor keeps what the worker has recorded, because the worker that answered is gone after a reload. A request is
sent from a thread of its own over one of the listeners, like any other client's; the answer comes back through the
supervisor's queue.
"""

from __future__ import annotations

import dataclasses
import difflib
import http.client
import json
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from devserver.events import Repeated

if TYPE_CHECKING:
    from devserver.server.listeners import Listener

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing (RFC 9110 §9.2.1)."""
TIMEOUT_S = 30.0
BODY_BYTES_MAX = 1 << 20
"""Of a response; what is more is not compared."""
LINES_MAX = 2_000
CHANGES_MAX = 12
_FRAMING = frozenset({"connection", "content-length", "expect", "keep-alive", "te", "transfer-encoding", "upgrade"})
"""Fields that belong to the connection that the request came on (RFC 9110 §7.6.1)."""


@dataclass(frozen=True)
class Request:
    """What a client has sent.

    :ivar headers: as they were received.
    :ivar body: None when it was too large to be kept.
    """

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes | None


@dataclass(frozen=True)
class Answer:
    """What came back: status 0 when nothing did."""

    status: int
    body: bytes = b""


class Repeater:
    """Remembers the last request, and sends it again when it is asked to.

    :param listeners: where the app is served.
    :param done: gets what there is to tell, on another thread.
    """

    def __init__(self, listeners: Sequence[Listener], done: Callable[[Repeated], object]) -> None:
        self._listeners = listeners
        self._done = done
        self._last: Request | None = None
        self._safe: Request | None = None
        """The last that changes nothing."""
        self._answer: Answer | None = None
        """The latest to that one."""
        self._running = False
        self.replays = False
        """Whether it is sent after each reload."""

    def saw(self, request: Request) -> None:
        """A client has sent this."""
        # Our own repetition comes on another connection, and is the same request.
        own = tuple((name, value) for name, value in request.headers if name.lower() not in _FRAMING)
        request = dataclasses.replace(request, headers=own)
        self._last = request
        if request.method in SAFE and request != self._safe:
            self._safe, self._answer = request, None
            if self.replays:
                # So that there is something to compare with.
                self._start(request, tell=False)

    def repeat(self) -> str:
        """Sends the last request again; a sentence when that is impossible."""
        if self._last is None:
            return "No request has come yet."
        if self._last.body is None:
            return f"The body of {self._last.method} {self._last.target} was too large to be kept."
        self._start(self._last, tell=False)
        return ""

    def turn(self, *, on: bool) -> None:
        """Whether the last safe request is sent after each reload."""
        self.replays = on
        if on and self._safe is not None:
            self._start(self._safe, tell=False)

    def reloaded(self) -> None:
        """New code serves."""
        if self.replays and self._safe is not None:
            self._start(self._safe, tell=True)

    def _start(self, request: Request, *, tell: bool) -> None:
        # One at a time: while an app hangs, saves must not gather clients.
        if not self._running:
            self._running = True
            threading.Thread(target=self._run, args=(request, tell), name="devserver-repeat", daemon=True).start()

    def _run(self, request: Request, tell: bool) -> None:
        try:
            answer = send(request, self._listeners[0])
        finally:
            self._running = False
        if request is not self._safe:
            return
        before, self._answer = self._answer, answer
        if tell:
            changes = () if before is None else compare(before.body, answer.body)
            status = before.status if before is not None else 0
            self._done(Repeated(request.method, request.target, status, answer.status, changes))


def send(request: Request, listener: Listener) -> Answer:
    """Sends ``request`` to ``listener`` and reads the answer; status 0 when there is none."""
    connection = http.client.HTTPConnection("127.0.0.1", timeout=TIMEOUT_S)
    try:
        connection.sock = _connect(listener)
        connection.putrequest(request.method, request.target, skip_host=True, skip_accept_encoding=True)
        for name, value in request.headers:
            connection.putheader(name, value)
        if request.body:
            connection.putheader("content-length", str(len(request.body)))
        connection.putheader("connection", "close")
        connection.endheaders(request.body or None)
        response = connection.getresponse()
        return Answer(response.status, response.read(BODY_BYTES_MAX))
    except (OSError, http.client.HTTPException, ValueError):
        return Answer(0)
    finally:
        connection.close()


def _connect(listener: Listener) -> socket.socket:
    name = listener.socket.getsockname()
    family = listener.socket.family
    client = socket.socket(family, socket.SOCK_STREAM)
    try:
        client.settimeout(TIMEOUT_S)
        if family in (socket.AF_INET, socket.AF_INET6):
            host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(name[0], name[0])
            client.connect((host, *name[1:]))
        else:
            client.connect(name)
        if not listener.url.startswith("https"):
            return client
        # It is ourselves: the certificate is for the browser's eyes.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context.wrap_socket(client)
    except BaseException:
        client.close()
        raise


def compare(before: bytes, after: bytes) -> tuple[str, ...]:
    """The lines that are different, JSON one member a line."""
    if before == after:
        return ()
    old, new = _lines(before), _lines(after)
    changed = [
        line
        for line in difflib.unified_diff(old[:LINES_MAX], new[:LINES_MAX], n=0, lineterm="")
        if not line.startswith(("---", "+++", "@@"))
    ]
    more = len(changed) - CHANGES_MAX
    return (*changed[:CHANGES_MAX], *([f"… {more} more lines"] if more > 0 else []))


def _lines(body: bytes) -> list[str]:
    try:
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False).splitlines()
    except (ValueError, RecursionError):
        return body.decode("utf-8", "backslashreplace").splitlines()
