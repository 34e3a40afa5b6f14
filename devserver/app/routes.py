"""The routes of an app, as plain data.

FastAPI and Starlette keep routes as a tree of routers and mounts; here it becomes a list, in the order in which a
request asks them. Objects are read and never called, so that looking costs little and changes nothing: neither the
OpenAPI schema is built nor what FastAPI prepares for its first request. Whatever an object turns out to be, there is an
answer and no exception. What is in whose way is decided in ``shadowing``.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from types import CodeType
from typing import Any

from devserver.app.introspect import kind, listed, unwrap
from devserver.app.shadowing import ALL_BELOW, Claim, shadowed

_DEPTH_MAX = 32
"""Of mounts and routers in each other, and of wrappers round an endpoint."""
_ROUTES_MAX = 20_000
"""No app has as many; one that seems to makes its routes while it is being asked for them."""
_HTTP, _WEBSOCKET = frozenset({"http"}), frozenset({"websocket"})
_FRAMEWORKS = ("fastapi", "starlette")
_METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")


@dataclass(frozen=True, slots=True)
class Route:
    """One route of an app.

    :ivar path: as the app wrote it, with the prefixes of its routers and mounts: ``/shop/items/{id:int}``.
    :ivar kind: ``http``, ``websocket``, ``static`` (a folder of files) or ``mount`` (another app).
    :ivar methods: in alphabetical order; empty for all methods, and for what is no ``http`` route.
    :ivar name: what ``url_for`` calls it; may be empty.
    :ivar endpoint: qualified name of the function or class; the folder of a ``static`` one.
    :ivar file: absolute path of the endpoint's source; empty when there is none.
    :ivar line: where the endpoint begins there, its decorators included; 0 when that is unknown.
    :ivar tags: those of its routers first.
    :ivar router: prefixes of the routers that it was included by.
    :ivar mount: path of the mounts that it lies in.
    :ivar host: of ``Host`` routes, the one it lies in; empty for any.
    :ivar hidden: not part of the OpenAPI schema.
    :ivar builtin: the framework's own, such as ``/docs``.
    :ivar shadowed_by: name of the earlier route that leaves nothing for this one; empty when it can be reached.
    :ivar shadowed_by_path: path of that route.
    """

    path: str
    kind: str = "http"
    methods: tuple[str, ...] = ()
    name: str = ""
    endpoint: str = ""
    file: str = ""
    line: int = 0
    tags: tuple[str, ...] = ()
    router: str = ""
    mount: str = ""
    host: str = ""
    hidden: bool = False
    builtin: bool = False
    shadowed_by: str = ""
    shadowed_by_path: str = ""


def routes(app: object) -> tuple[Route, ...]:
    """The routes of the app inside ``app``, in the order in which they are asked; none of an app without.

    Cheap, without side effects, and never raises.

    :param app: any object.
    """
    asked: list[_Asked] = []
    # What has been read of an object that is not what its class says is right all the same.
    with contextlib.suppress(Exception):
        asked.extend(itertools.islice(_walk(_router(app), _Place()), _ROUTES_MAX))
    behind = shadowed([each.claim for each in asked])
    found: list[Route] = []
    for index, each in enumerate(asked):
        route = each.route
        if index in behind:
            first = asked[behind[index]].route
            route = replace(route, shadowed_by=first.name or first.endpoint or first.kind, shadowed_by_path=first.path)
        if each.shown:
            found.append(route)
    return tuple(found)


def has_routes(app: object) -> bool:
    """Whether ``app`` is one that :func:`routes` can look into; what it finds may still be nothing."""
    return _router(app) is not None


# Walking the tree


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a router asks.

    :ivar claim: None when it matches by a rule of the app's own.
    :ivar shown: whether it is a route to people; a mount is not, when the routes in it are.
    """

    claim: Claim | None
    route: Route
    shown: bool = True


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in the tree we are.

    :ivar prefix: of all routers and mounts down to here.
    :ivar inside: the routers above, which must not come again below themselves.
    """

    prefix: str = ""
    mount: str = ""
    router: str = ""
    host: str = ""
    tags: tuple[str, ...] = ()
    hidden: bool = False
    inside: tuple[int, ...] = ()

    def below(self, router: object) -> _Place | None:
        """The place of what ``router`` holds; None when it holds itself, or lies too deep."""
        if id(router) in self.inside or len(self.inside) >= _DEPTH_MAX:
            return None
        return replace(self, inside=(*self.inside, id(router)))

    def included(self, context: Any) -> _Place:
        """The place of a router that is included here."""
        prefix = _text(context, "prefix")
        return replace(
            self,
            prefix=self.prefix + prefix,
            router=self.router + prefix,
            tags=(*self.tags, *_tags(context)),
            hidden=self.hidden or not getattr(context, "include_in_schema", True),
        )


def _walk(router: Any, place: _Place) -> Iterator[_Asked]:
    """An app's routes, then what is asked when none of them matches."""
    yield from _routes_of(router, place)
    yield from _front_ends(router, place)


def _routes_of(router: Any, place: _Place) -> Iterator[_Asked]:
    inner = place.below(router)
    if inner is None:
        return
    for route in _list(router, "routes"):
        # One that fails when it is looked at takes no other along.
        with contextlib.suppress(Exception):
            yield from _route(route, inner)


def _route(route: Any, place: _Place) -> Iterator[_Asked]:
    if _is_included(route):
        yield from _routes_of(route.original_router, place.included(route.include_context))
    elif _is(route, "starlette.routing", "Mount"):
        yield from _mount(route, place)
    elif _is(route, "starlette.routing", "Host"):
        yield from _host(route, place)
    elif isinstance(getattr(route, "path", None), str):
        yield _leaf(route, place)
    else:
        for context in listed(route):
            if isinstance(context.path, str):
                yield _leaf(context, place)


def _is_included(route: object) -> bool:
    """FastAPI from 0.137 on keeps an included router as it is; older versions copy its routes into the app's."""
    return hasattr(route, "original_router") and hasattr(route, "include_context")


def _leaf(route: Any, place: _Place) -> _Asked:
    path = place.prefix + route.path
    original = getattr(route, "original_route", None) or route
    websocket = _is(original, "starlette.routing", "WebSocketRoute")
    target = getattr(route, "endpoint", None)
    methods = frozenset(map(str, getattr(route, "methods", None) or ()))
    endpoint, file, line = _source(target)
    shown = Route(
        path,
        kind="websocket" if websocket else "http",
        methods=tuple(sorted(methods or _handled(target))),
        name=_text(route, "name"),
        endpoint=endpoint,
        file=file,
        line=line,
        tags=tuple(dict.fromkeys((*place.tags, *_tags(route)))),
        router=place.router,
        mount=place.mount,
        host=place.host,
        hidden=not websocket and (place.hidden or not getattr(route, "include_in_schema", True)),
        builtin=_is_framework(target),
    )
    kinds = _WEBSOCKET if websocket else _HTTP
    return _Asked(_checked(original, Claim(path, kinds, methods or None, place.host)), shown)


def _mount(route: Any, place: _Place) -> Iterator[_Asked]:
    path = place.prefix + _text(route, "path")
    claim = _checked(route, Claim(path + ALL_BELOW, _HTTP | _WEBSOCKET, host=place.host))
    app = getattr(route, "_base_app", None) or getattr(route, "app", None)
    shown = replace(_below(app, path or "/", place), name=_text(route, "name"))
    router = _router(app)
    if router is not None:
        # A sub-application has a schema of its own, so that nothing of this one hides its routes.
        yield from _walk(router, replace(place, prefix=path, mount=path, router="", tags=(), hidden=False))
    yield _Asked(claim, shown, shown=router is None)


def _host(route: Any, place: _Place) -> Iterator[_Asked]:
    app = getattr(route, "app", None)
    inner = replace(place, host=_text(route, "host"))
    claim = _checked(route, Claim(place.prefix + ALL_BELOW, _HTTP | _WEBSOCKET, host=inner.host))
    shown = replace(_below(app, place.prefix or "/", inner), name=_text(route, "name"))
    router = _router(app)
    if router is not None:
        yield from _walk(router, inner)
    yield _Asked(claim, shown, shown=router is None)


def _below(app: Any, path: str, place: _Place) -> Route:
    """An app that takes all below ``path``."""
    shown = Route(path, "mount", mount=place.mount, host=place.host, router=place.router)
    files = unwrap(app, ("starlette.staticfiles", "StaticFiles"))
    if files is not None:
        return replace(shown, kind="static", endpoint=str(getattr(files, "directory", None) or ""))
    endpoint, file, line = _source(app)
    return replace(shown, endpoint=endpoint, file=file, line=line)


def _front_ends(router: Any, place: _Place) -> Iterator[_Asked]:
    """Folders given to FastAPI's ``frontend()``, which are looked into when no route matches."""
    inner = place.below(router)
    if inner is None:
        return
    for group in _list(router, "_low_priority_routes"):
        for route in _list(group, "routes"):
            path = inner.prefix + _text(route, "path").rstrip("/")
            shown = _below(getattr(route, "app", None), path or "/", inner)
            methods = frozenset(map(str, getattr(route, "methods", None) or ()))
            yield _Asked(Claim(path + ALL_BELOW, _HTTP, methods, inner.host, last=True), shown)
    for route in _list(router, "routes"):
        if _is_included(route):
            yield from _front_ends(route.original_router, inner.included(route.include_context))


def _checked(route: Any, claim: Claim) -> Claim | None:
    """None for a route that matches by a rule of the app's own."""
    return claim if _is_framework(getattr(type(route), "matches", None)) else None


# Reading objects


def _router(app: object) -> Any:
    """What holds the routes of the app inside ``app``, or None."""
    found = unwrap(app, ("starlette.applications", "Starlette"), ("starlette.routing", "Router"))
    if found is None or _is(found, "starlette.routing", "Router"):
        return found
    return getattr(found, "router", None)


def _is(value: object, module: str, name: str) -> bool:
    found = kind(module, name)
    return found is not None and isinstance(value, found)


def _is_framework(value: object) -> bool:
    return _module(value).partition(".")[0] in _FRAMEWORKS


def _list(value: object, name: str) -> list[Any]:
    found = getattr(value, name, None)
    return list(found) if isinstance(found, (list, tuple)) else []


def _text(value: object, name: str) -> str:
    found = getattr(value, name, None)
    return found if isinstance(found, str) else ""


def _tags(value: object) -> tuple[str, ...]:
    return tuple(str(tag.value if isinstance(tag, Enum) else tag) for tag in _list(value, "tags"))


def _module(value: object) -> str:
    found = getattr(value, "__module__", None)
    return found if isinstance(found, str) else ""


def _handled(endpoint: object) -> tuple[str, ...]:
    """The methods of a class like Starlette's HTTPEndpoint, whose route lets all of them through."""
    base = kind("starlette.endpoints", "HTTPEndpoint")
    if base is None or not isinstance(endpoint, type) or not issubclass(endpoint, base):
        return ()
    return tuple(name for name in _METHODS if callable(getattr(endpoint, name.lower(), None)))


def _source(endpoint: Any) -> tuple[str, str, int]:
    """Name, file and first line of a function, a class, or an object of one."""
    for _ in range(_DEPTH_MAX):
        inner = endpoint.func if isinstance(endpoint, functools.partial) else getattr(endpoint, "__wrapped__", None)
        if inner is None:
            break
        endpoint = inner
    if endpoint is None:
        return "", "", 0
    code = getattr(endpoint, "__code__", None)
    if isinstance(code, CodeType):
        name = getattr(endpoint, "__qualname__", code.co_name)
        return _short(name), os.path.abspath(code.co_filename), code.co_firstlineno
    made_by = endpoint if isinstance(endpoint, type) else type(endpoint)
    file = getattr(sys.modules.get(_module(made_by)), "__file__", None)
    return _short(made_by.__qualname__), file if isinstance(file, str) else "", _first_line(made_by)


def _short(name: str) -> str:
    return name.rpartition("<locals>.")[2]


def _first_line(made_by: type) -> int:
    """Of a class; before Python 3.13, which notes it, that of its first function."""
    noted = vars(made_by).get("__firstlineno__")
    if isinstance(noted, int):
        return noted
    codes = (getattr(value, "__code__", None) for value in vars(made_by).values())
    return min((code.co_firstlineno for code in codes if isinstance(code, CodeType)), default=0)
