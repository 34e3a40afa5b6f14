"""What the terminal says of an app's routes: where each is, and which one was probably meant."""

from __future__ import annotations

import os
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from devserver.app.routes import Route

ROUTES_MAX = 2_000
COMPARED_MAX = 500
"""Routes that a path is compared with; it takes some microseconds each, on the event loop."""
_CUTOFF = 0.6
_PARAMETER = 0.9
"""How alike any part of a path is to a parameter in its place."""
_METHOD = 0.02
"""What the right method adds."""


def listed(routes: Sequence[Route], directory: str) -> tuple[tuple[str, str, str], ...]:
    """Methods, path and place of each route but the framework's own; see :class:`devserver.events.RoutesSeen`."""
    below = directory.rstrip(os.sep) + os.sep
    return tuple(
        (_methods(route), route.path, f"{_place(route, below)} {route.endpoint}".strip())
        for route in routes[:ROUTES_MAX]
        if not route.builtin
    )


def nearest(method: str, path: str, routes: Sequence[Route]) -> str:
    """The route that was probably meant, as a sentence; empty when none is like ``path``."""
    matcher = SequenceMatcher(autojunk=False)
    found, best = None, _CUTOFF
    for route in routes[:COMPARED_MAX]:
        if route.kind not in {"http", "websocket"} or route.builtin:
            continue
        alike = _likeness(matcher, path, route.path) + (_METHOD if method in route.methods else 0.0)
        if alike > best:
            found, best = route, alike
    return "" if found is None else f"no route; the nearest is {_methods(found)} {found.path}"


def _likeness(matcher: SequenceMatcher[str], path: str, pattern: str) -> float:
    """From 0 to 1. A path has as many parts as the pattern that it is meant for, most of the time."""
    parts, patterns = path.strip("/").split("/"), pattern.strip("/").split("/")
    if len(parts) == len(patterns):
        return sum(map(lambda part, other: _likeness_of_parts(matcher, part, other), parts, patterns)) / len(parts)
    return _ratio(matcher, path, pattern)


def _likeness_of_parts(matcher: SequenceMatcher[str], part: str, pattern: str) -> float:
    if part == pattern:
        return 1.0
    return _PARAMETER if "{" in pattern else _ratio(matcher, part, pattern)


def _ratio(matcher: SequenceMatcher[str], one: str, other: str) -> float:
    matcher.set_seqs(one, other)
    # The first two are quick, and never below the third.
    if matcher.real_quick_ratio() < _CUTOFF or matcher.quick_ratio() < _CUTOFF:
        return 0.0
    return matcher.ratio()


def _methods(route: Route) -> str:
    if route.kind == "http":
        return ",".join(method for method in route.methods if method != "HEAD") or "*"
    return {"websocket": "WS", "static": "files"}.get(route.kind, route.kind)


def _place(route: Route, below: str) -> str:
    return f"{route.file.removeprefix(below)}:{route.line}" if route.file else ""
