"""WSGI apps for tests, each held against PEP 3333 by the standard library's validator while it is served.

with serving_wsgi(app) as running:
    assert running.get("/").status == 200
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from wsgiref.validate import validator

from tests.support.server import serving
from tests.support.wire import WireClient

if TYPE_CHECKING:
    from tests.support.server import Running

Environ = dict[str, Any]
TEXT = ("Content-Type", "text/plain")


def hello(environ: Environ, start_response: Any) -> list[bytes]:
    """The smallest app."""
    start_response("200 OK", [TEXT])
    return [b"hello"]


@contextlib.contextmanager
def serving_wsgi(app: Any, *, checked: bool = True, **options: Any) -> Iterator[Running]:
    """A server on a free port in a thread.

    :param checked: whether the validator stands between server and app; not where the app breaks the rules.
    """
    with serving(validator(app) if checked else app, interface="wsgi", **options) as running:
        yield running


def client_of(running: Running) -> WireClient:
    """A new connection to the server."""
    return WireClient(("127.0.0.1", running.port))


def request(path: str = "/", *lines: str, method: str = "GET", body: bytes = b"") -> bytes:
    """The bytes of a request."""
    fields = [*lines, *([f"Content-Length: {len(body)}"] if body else [])]
    head = "".join(f"{line}\r\n" for line in (f"{method} {path} HTTP/1.1", "Host: a", *fields))
    return head.encode("latin-1") + b"\r\n" + body
