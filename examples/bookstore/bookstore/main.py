"""The app, and what happens when it starts and stops."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from bookstore.routes import router
from bookstore.settings import Settings
from bookstore.store import Store


def create_app(settings: Settings | None = None) -> FastAPI:
    """Makes the app; the tests make it with settings of their own."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
        store = Store((settings or Settings()).database)
        try:
            yield {"store": store}
        finally:
            store.close()

    app = FastAPI(title="Bookstore", version="1.0.0", lifespan=lifespan)
    app.include_router(router)
    return app


app = create_app()
