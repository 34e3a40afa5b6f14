"""What the terminal says of an app's routes: where each is, and which one was probably meant."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from devserver.app.routes import Route

ROUTES_MAX = 2_000
_CUTOFF = 0.6


def listed(routes: Sequence[Route], directory: str) -> tuple[tuple[str, str, str], ...]:
    """Methods, path and place of each route but the framework's own; see :class:`devserver.events.RoutesSeen`."""
    below = directory.rstrip(os.sep) + os.sep
    return tuple(
        (_methods(route), route.path, f"{_place(route, below)} {route.endpoint}".strip())
        for route in routes[:ROUTES_MAX]
        if not route.builtin
    )


def nearest(path: str, routes: Sequence[Route]) -> str:
    """The route whose path is most like ``path``, as a sentence; empty when none is."""
    known = {route.path: route for route in routes[:ROUTES_MAX] if route.kind in {"http", "websocket"}}
    found = known.get(path.rstrip("/") or "/") or known.get(f"{path}/")
    if found is None:
        close = difflib.get_close_matches(path, known, n=1, cutoff=_CUTOFF)
        if not close:
            return ""
        found = known[close[0]]
    return f"no route; the nearest is {_methods(found)} {found.path}"


def _methods(route: Route) -> str:
    if route.kind == "http":
        return ",".join(method for method in route.methods if method != "HEAD") or "*"
    return {"websocket": "WS", "static": "files"}.get(route.kind, route.kind)


def _place(route: Route, below: str) -> str:
    return f"{route.file.removeprefix(below)}:{route.line}" if route.file else ""
