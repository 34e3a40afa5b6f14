"""What an app tells about itself."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware

from devserver.app.introspect import docs_path, is_starlette


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
