"""The routes of an app, as data."""

from __future__ import annotations

import functools
import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import APIRouter, FastAPI, WebSocket
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import Response
from starlette.routing import BaseRoute, Host, Match, Mount, Router, WebSocketRoute
from starlette.routing import Route as StarletteRoute
from starlette.staticfiles import StaticFiles

from devserver.app.routes import Route, has_routes, routes

if TYPE_CHECKING:
    from starlette.requests import Request


async def answer(request: Request) -> Response:
    return Response()


async def live(websocket: WebSocket) -> None: ...


async def raw(scope: Any, receive: Any, send: Any) -> None: ...


def lines(app: object) -> list[tuple[str, str, str]]:
    """Methods or kind, path and name, without what FastAPI adds."""
    return [
        (",".join(route.methods) or route.kind, route.path, route.name) for route in routes(app) if not route.builtin
    ]


def only(app: object) -> Route:
    (found,) = (route for route in routes(app) if not route.builtin)
    return found


def test_fastapi_route_is_described() -> None:
    app = FastAPI()

    @app.get("/items/{number:int}", tags=["items"], include_in_schema=False)
    async def read(number: int) -> int:
        return number

    assert only(app) == Route(
        "/items/{number:int}",
        methods=("GET",),
        name="read",
        endpoint="read",
        file=__file__,
        line=read.__code__.co_firstlineno,
        tags=("items",),
        hidden=True,
    )


def test_included_routers_hand_down_prefix_tags_and_hiding() -> None:
    class Tag(Enum):
        INNER = "inner"

    inner = APIRouter(prefix="/inner", tags=[Tag.INNER])
    outer = APIRouter(prefix="/outer", tags=["outer"])
    app = FastAPI()

    @inner.get("/{id}")
    def read(id: str) -> str:  # noqa: A002 - as people write it
        return id

    @outer.post("/")
    def make() -> None: ...

    inner.add_api_websocket_route("/live", live)
    outer.include_router(inner, prefix="/in", include_in_schema=False)
    app.include_router(outer, prefix="/api", tags=["api"])
    assert sorted(lines(app)) == [
        ("GET", "/api/outer/in/inner/{id}", "read"),
        ("POST", "/api/outer/", "make"),
        ("websocket", "/api/outer/in/inner/live", "live"),
    ]
    found = {route.name: route for route in routes(app)}
    assert found["make"].tags == ("api", "outer")
    assert found["read"].tags == ("api", "outer", "inner")
    assert found["read"].hidden
    assert not found["make"].hidden


def test_router_that_is_included_twice_is_listed_twice() -> None:
    router = APIRouter()
    router.add_api_route("/x", lambda: None, name="x")
    app = FastAPI()
    app.include_router(router, prefix="/a")
    app.include_router(router, prefix="/b")
    assert lines(app) == [("GET", "/a/x", "x"), ("GET", "/b/x", "x")]


def test_what_fastapi_lists_itself_is_what_is_found() -> None:
    listed = getattr(sys.modules["fastapi.routing"], "iter_route_contexts", None)
    if listed is None:
        pytest.skip("this FastAPI copies the routes of routers")
    app, outer, inner = FastAPI(), APIRouter(prefix="/o"), APIRouter(tags=["t"])
    inner.add_api_route("/{a}/x", lambda a: a, methods=["PUT", "GET"], name="x")
    inner.add_route("/plain", answer)
    inner.add_api_websocket_route("/live", live, name="live")
    outer.include_router(inner, prefix="/i")
    app.include_router(outer)
    app.include_router(inner, prefix="/again")
    expected = [(each.path, each.name, set(each.methods or ())) for each in listed(app.routes)]
    assert [(route.path, route.name, set(route.methods)) for route in routes(app)] == expected


def test_looking_prepares_nothing() -> None:
    app, router = FastAPI(), APIRouter()
    router.add_api_route("/x", lambda: None)
    app.include_router(router)
    routes(app)
    assert app.openapi_schema is None
    assert app.middleware_stack is None
    assert not any(getattr(route, "_effective_candidates", None) for route in app.routes)


def test_mounts_are_walked_with_their_prefix(tmp_path: Path) -> None:
    sub = FastAPI(openapi_url=None)
    sub.add_api_route("/users", lambda: None, name="users")
    app = Starlette(
        routes=[
            Mount("/v1", routes=[StarletteRoute("/x", answer), Mount("/deep", routes=[StarletteRoute("/y", answer)])]),
            Mount("/api", GZipMiddleware(sub)),
            Mount("/static", StaticFiles(directory=tmp_path), name="static"),
            Mount("/legacy", raw),
            Host("{sub}.example.org", Router([StarletteRoute("/z", answer)])),
            Host("other.org", raw),
        ]
    )
    found = routes(app)
    assert [(route.kind, route.path, route.mount, route.host) for route in found] == [
        ("http", "/v1/x", "/v1", ""),
        ("http", "/v1/deep/y", "/v1/deep", ""),
        ("http", "/api/users", "/api", ""),
        ("static", "/static", "", ""),
        ("mount", "/legacy", "", ""),
        ("http", "/z", "", "{sub}.example.org"),
        ("mount", "/", "", "other.org"),
    ]
    assert found[3].endpoint == str(tmp_path)
    assert (found[4].endpoint, found[4].file) == ("raw", __file__)
    assert not any(route.shadowed_by for route in found)


def test_mount_takes_what_comes_after_it() -> None:
    app = Starlette(
        routes=[
            StarletteRoute("/v1/early", answer, name="early"),
            Mount("/v1", routes=[StarletteRoute("/x", answer)], name="one"),
            StarletteRoute("/v1/late", answer, name="late"),
            WebSocketRoute("/v1/live", answer, name="live"),
        ]
    )
    lost = {route.name: (route.shadowed_by, route.shadowed_by_path) for route in routes(app) if route.shadowed_by}
    assert lost == {"late": ("one", "/v1"), "live": ("one", "/v1")}


def test_route_behind_one_that_takes_everything_is_marked() -> None:
    app = FastAPI()
    app.add_api_route("/items/{id}", lambda id: id, name="read")  # noqa: A006 - as people write it
    app.add_api_route("/items/me", lambda: None, name="me")
    app.add_api_route("/items/me", lambda: None, methods=["DELETE"], name="leave")
    lost = {route.name: (route.shadowed_by, route.shadowed_by_path) for route in routes(app) if route.shadowed_by}
    assert lost == {"me": ("read", "/items/{id}")}


def test_route_with_rules_of_its_own_hides_nothing() -> None:
    class Sometimes(StarletteRoute):
        def matches(self, scope: Any) -> tuple[Match, Any]:
            return Match.NONE, {}

    app = Starlette(routes=[Sometimes("/x", answer, name="a"), StarletteRoute("/x", answer, name="b")])
    assert [route.shadowed_by for route in routes(app)] == ["", ""]


def test_classes_and_wrapped_functions_have_a_source() -> None:
    class Users(HTTPEndpoint):
        async def get(self, request: Request) -> Response:
            return Response()

        async def post(self, request: Request) -> Response:
            return Response()

    @functools.wraps(answer)
    async def wrapper(request: Request) -> Response:
        return await answer(request)

    app = Starlette(
        routes=[
            StarletteRoute("/users", Users),
            StarletteRoute("/wrapped", wrapper),
            StarletteRoute("/partial", functools.partial(answer)),
        ]
    )
    users, wrapped, partial = routes(app)
    assert users.methods == ("GET", "POST")
    assert users.endpoint == "Users"
    first = Users.get.__code__.co_firstlineno
    assert users.line == (first - 1 if sys.version_info >= (3, 13) else first)
    for route in (wrapped, partial):
        assert (route.endpoint, route.file, route.line) == ("answer", __file__, answer.__code__.co_firstlineno)


def test_frameworks_own_routes_are_told_apart() -> None:
    found = routes(FastAPI())
    assert [route.path for route in found] == ["/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc"]
    assert all(route.builtin and route.hidden for route in found)


def test_front_end_comes_last_and_yields_to_everything(tmp_path: Path) -> None:
    app = FastAPI(openapi_url=None)
    if not hasattr(app, "frontend"):
        pytest.skip("this FastAPI has no front ends")
    (tmp_path / "index.html").touch()
    app.frontend("/", directory=str(tmp_path))
    router = APIRouter()
    router.frontend("/", directory=str(tmp_path))
    app.include_router(router, prefix="/admin")
    app.add_api_route("/api", lambda: None, name="api")
    found = routes(app)
    assert [(route.kind, route.path) for route in found] == [("http", "/api"), ("static", "/"), ("static", "/admin")]
    assert not any(route.shadowed_by for route in found)
    app.add_api_route("/{rest:path}", lambda rest: rest, methods=["POST"], name="all")
    assert [route.shadowed_by for route in routes(app) if route.kind == "static"] == ["all", "all"]


class Strange:
    """Fails however it is looked at."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


class Odd(BaseRoute):
    """No route that we know."""


class Raising(StarletteRoute):
    """Loses its path."""

    @property
    def path(self) -> str:
        raise RuntimeError("no path")

    @path.setter
    def path(self, path: str) -> None: ...


@pytest.mark.parametrize(
    "app",
    [None, 7, object(), raw, Strange(), Strange, Starlette(routes=[Odd()]), GZipMiddleware(raw)],
    ids=["none", "number", "object", "function", "strange", "class", "odd", "wrapped"],
)
def test_any_object_has_an_answer(app: Any) -> None:
    assert routes(app) == ()


def test_route_that_fails_takes_no_other_along() -> None:
    app = Starlette(routes=[StarletteRoute("/a", answer), Raising("/b", answer), StarletteRoute("/c", answer)])
    assert [route.path for route in routes(app)] == ["/a", "/c"]


def test_app_that_holds_itself_ends() -> None:
    app = Starlette()
    app.mount("/again", app)
    app.add_route("/x", answer)
    assert "/x" in {route.path for route in routes(app)}
    assert len(routes(app)) < 40


def test_apps_with_routes_are_told_from_others() -> None:
    assert has_routes(FastAPI())
    assert has_routes(GZipMiddleware(Starlette()))
    assert has_routes(Router())
    assert not has_routes(raw)


def test_many_routes_are_looked_through_quickly() -> None:
    app = Starlette(routes=[StarletteRoute(f"/r/{number}/{{a}}/{{b}}", answer) for number in range(2000)])
    app.router.routes.append(StarletteRoute("/r/{a}/{b}/{c}", answer))
    found = routes(app)
    assert len(found) == 2001
    assert not any(route.shadowed_by for route in found)
