"""Clients that leave in the middle of a download of a WSGI app, many times over: the app goes on answering."""

from __future__ import annotations

import gc
import itertools
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from a2wsgi import WSGIMiddleware
from starlette.applications import Starlette
from starlette.routing import Mount

import devserver
from devserver.events import AppRaised
from tests.support.server import serving, until
from tests.support.wsgi import TEXT, Environ, client_of, request

if TYPE_CHECKING:
    from tests.support.server import Running

DEPARTURES = 30
"""Three times the threads that a2wsgi has."""


@pytest.fixture(autouse=True)
def threads_end() -> Iterator[None]:
    """Threads of a mounted app, whose lifespan nobody runs, end with the app."""
    before = {*threading.enumerate()}
    yield
    until(lambda: gc.collect() >= 0 and not [each for each in left(before) if each.name.startswith("wsgi-")])


def left(before: set[threading.Thread]) -> set[threading.Thread]:
    """The threads that have come since."""
    return {*threading.enumerate()} - before


class Downloads:
    """A WSGI app; each download is counted until its generator is closed."""

    def __init__(self, pieces: int | None) -> None:
        self.pieces = pieces
        self.begun: list[int] = []
        self.ended: list[int] = []

    @property
    def running(self) -> int:
        """Those whose generator has not been closed."""
        return len(self.begun) - len(self.ended)

    def __call__(self, environ: Environ, start_response: Any) -> Any:
        start_response("200 OK", [TEXT])
        return [b"short"] if environ["PATH_INFO"].endswith("/short") else self.download()

    def download(self) -> Iterator[bytes]:
        """Never ends when it has no number of pieces."""
        self.begun.append(1)
        try:
            yield from itertools.repeat(bytes(1 << 16), *([] if self.pieces is None else [self.pieces]))
        finally:
            self.ended.append(1)


def starlettes_own(app: Any) -> Any:
    """Starlette's middleware, which warns when it is imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from starlette.middleware.wsgi import WSGIMiddleware as StarletteMiddleware
    return StarletteMiddleware(app)


def depart(running: Running, path: str) -> None:
    """Begins downloads and leaves each."""
    for _ in range(DEPARTURES):
        with client_of(running) as client:
            client.send(request(path))
            client.read(1000)
            client.reset()


def mounted(kind: Callable[[Any], Any], app: Any) -> Starlette:
    """An ASGI app with a WSGI app beside it."""
    return Starlette(routes=[Mount("/old", kind(app))])


@pytest.mark.parametrize("kind", [WSGIMiddleware, starlettes_own])
def test_foreign_middleware_goes_on_when_send_keeps_quiet(kind: Callable[[Any], Any]) -> None:
    """a2wsgi loses a thread for good with each error of ``send``."""
    app = Downloads(pieces=200)
    with serving(mounted(kind, app), send_after_disconnect="ignore") as running:
        depart(running, "/old/long")
        assert running.get("/old/short").body == b"short"
        until(lambda: app.running == 0)
        assert running.get("/old/short").body == b"short"
        assert running.of(AppRaised) == []


@pytest.mark.parametrize("mode", ["raise", "ignore"])
@pytest.mark.parametrize("stream_input", [False, True])
@pytest.mark.parametrize("path", ["/old/long", "/long"])
def test_endless_download_ends_with_its_client(path: str, stream_input: bool, mode: str) -> None:
    app: Any = Downloads(pieces=None)
    downloads = app
    options: dict[str, Any] = {"send_after_disconnect": mode}
    if path.startswith("/old"):
        app = mounted(lambda each: devserver.WSGIMiddleware(each, threads=2, stream_input=stream_input), app)
    else:
        options |= {"interface": "wsgi", "threads": 2, "wsgi_stream_input": stream_input}
    with serving(app, **options) as running:
        depart(running, path)
        assert running.get(path.replace("long", "short")).body == b"short"
        until(lambda: downloads.running == 0)
        assert running.of(AppRaised) == []
