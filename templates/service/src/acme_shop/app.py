"""The app: put together from its settings, so that a test can make one of its own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from starlette.middleware.body_limit import RequestBodyLimitMiddleware

# feature: auth
from acme_shop.auth.passwords import Passwords

# end
# feature: db
from acme_shop.db import Database

# end
# feature: frontend
from acme_shop.frontend import router as frontend_router

# end
# feature: realtime
from acme_shop.live.hub import Hub
from acme_shop.live.page import router as live_page_router

# end
from acme_shop.problems import install_problems
from acme_shop.request_ids import RequestIds
from acme_shop.routers import router
from acme_shop.settings import Settings

# feature: not db
from acme_shop.stores.items import MemoryItems

# end

BODY_BYTES_MAX = 1024 * 1024
"""No route takes uploads. One that does says `max_body_size` itself."""


def create_app(settings: Settings) -> FastAPI:
    """An app for these settings. What it keeps open is opened by its lifespan."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
        # feature: db
        database = Database(settings.database_url.get_secret_value())
        # end
        # feature: realtime
        hub = Hub(listeners_max=settings.live_connections_max)
        # end
        yield {
            # feature: auth or realtime
            "settings": settings,
            # end
            # feature: not db
            "items": MemoryItems(),
            # end
            # feature: db
            "database": database,
            # end
            # feature: auth
            "passwords": Passwords(memory_kib=settings.argon2_memory_kib, passes=settings.argon2_passes),
            # end
            # feature: realtime
            "hub": hub,
            # end
        }
        # feature: realtime
        hub.close()
        # end
        # feature: db
        await database.close()
        # end

    # feature: auth
    settings.check_secret_key()
    # end
    app = FastAPI(
        title="Acme Shop",
        lifespan=lifespan,
        openapi_url="/openapi.json" if settings.docs else None,
    )
    # Not an argument of the app, which would refuse before the middleware below has its say.
    app.add_middleware(RequestBodyLimitMiddleware, max_body_size=BODY_BYTES_MAX)
    install_problems(app)
    if settings.allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.allowed_origins,
            allow_methods=["*"],
            allow_headers=["*"],
            # feature: auth
            allow_credentials=True,
            # end
        )
    app.add_middleware(RequestIds)
    app.include_router(router)
    # feature: realtime
    app.include_router(live_page_router)
    # end
    # feature: frontend
    app.include_router(frontend_router)
    # end
    return app
