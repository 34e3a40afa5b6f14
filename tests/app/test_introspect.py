"""What an app tells about itself."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware

from devserver.app.introspect import build_routes, docs_path, is_starlette


@pytest.mark.parametrize(
    ("app", "path"),
    [
        (FastAPI(), "/docs"),
        (FastAPI(docs_url="/api/docs"), "/api/docs"),
        (FastAPI(docs_url=None), "/redoc"),
        (FastAPI(docs_url=None, redoc_url=None), None),
        (FastAPI(openapi_url=None), None),
        (GZipMiddleware(GZipMiddleware(FastAPI())), "/docs"),
        (Starlette(), None),
        (object(), None),
        (None, None),
    ],
)
def test_docs_path_is_that_of_the_fastapi_app_inside(app: Any, path: str | None) -> None:
    assert docs_path(app) == path


def test_starlette_is_found_inside_middleware() -> None:
    assert is_starlette(FastAPI())
    assert is_starlette(GZipMiddleware(Starlette()))
    assert not is_starlette(lambda: None)


def test_cycle_of_wrappers_ends() -> None:
    class Loop:
        def __init__(self) -> None:
            self.app = self

    assert docs_path(Loop()) is None


def test_frameworks_are_not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(__import__("sys").modules, "fastapi")
    assert docs_path(FastAPI()) is None


def test_routes_are_built_once_and_serve_as_before() -> None:
    built: list[str] = []

    class Watched(APIRoute):
        def get_route_handler(self) -> Any:
            built.append(self.path)
            return super().get_route_handler()

    inner = FastAPI()
    app = FastAPI()
    for owner in (app, inner):
        router = APIRouter(route_class=Watched)

        @router.get("/items/{number}")
        def get_item(number: int) -> int:
            return number

        owner.include_router(router, prefix="/shop")
    app.mount("/inner", inner)
    built.clear()
    build_routes(GZipMiddleware(app))
    first = len(built)
    client = TestClient(app)
    assert client.get("/shop/items/5").json() == 5
    assert client.get("/inner/shop/items/6").json() == 6
    assert len(built) == first


@pytest.mark.parametrize("app", [None, object(), Starlette(), FastAPI()])
def test_apps_without_anything_to_build_are_left_alone(app: Any) -> None:
    build_routes(app)
