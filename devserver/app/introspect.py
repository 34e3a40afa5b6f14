"""What the loaded app tells about itself, when it is a FastAPI or Starlette app.

Never imports either: an app made with them has brought them into ``sys.modules``.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable
from typing import Any

# Middleware wraps an app in its ``app`` attribute; deeper onions than this are cycles.
_WRAPPERS_MAX = 32


def docs_path(app: object) -> str | None:
    """Path of the interactive documentation of the FastAPI app inside ``app``, or None.

    :param app: the app, possibly wrapped in middleware.
    """
    found = unwrap(app, ("fastapi", "FastAPI"))
    if found is None or not getattr(found, "openapi_url", None):
        return None
    path = getattr(found, "docs_url", None) or getattr(found, "redoc_url", None)
    return path if isinstance(path, str) else None


def is_starlette(app: object) -> bool:
    """Whether there is a Starlette app, hence also a FastAPI one, inside ``app``: it takes part in lifespan."""
    return unwrap(app, ("starlette.applications", "Starlette")) is not None


def build_routes(app: object) -> None:
    """Has FastAPI make now what it otherwise makes for the first request.

    Routers that were included become routes with all their dependencies only when a request asks (since FastAPI 0.137);
    with 200 routes that takes 140 ms. Nothing is called that a request would not call, and what goes wrong is left for
    the request to show.
    """
    found = unwrap(app, ("fastapi", "FastAPI"))
    for route in getattr(found, "routes", ()):
        with contextlib.suppress(Exception):
            for context in listed(route):
                build_routes(getattr(getattr(context, "original_route", None), "app", None))


def unwrap(app: object, *kinds: tuple[str, str]) -> Any:
    """The first object of one of the kinds inside ``app``, or None.

    :param kinds: module and name of a class; one whose module nobody has imported has no objects.
    """
    wanted = tuple(found for found in (kind(*each) for each in kinds) if found is not None)
    if not wanted:
        return None
    for _ in range(_WRAPPERS_MAX):
        if isinstance(app, wanted):
            return app
        # Read past __getattr__: a proxy object must not be woken for this.
        app = getattr(app, "__dict__", {}).get("app")
        if app is None:
            return None
    return None


def kind(module: str, name: str) -> type | None:
    """The class of a framework, if the app has imported it."""
    found = getattr(sys.modules.get(module), name, None)
    return found if isinstance(found, type) else None


def listed(route: object) -> Iterable[Any]:
    """What FastAPI itself lists for a route that holds others (``iter_route_contexts``, since 0.137)."""
    iter_route_contexts = getattr(sys.modules.get("fastapi.routing"), "iter_route_contexts", None)
    return iter_route_contexts([route]) if iter_route_contexts is not None else ()
