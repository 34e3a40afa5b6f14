"""The API: every router, below one prefix."""

from fastapi import APIRouter

from acme_shop.problems import RESPONSES

# feature: auth
from acme_shop.routers.auth import router as auth_router

# end
from acme_shop.routers.health import router as health_router
from acme_shop.routers.items import router as items_router

# feature: realtime
from acme_shop.routers.live import router as live_router

# end
# feature: auth
from acme_shop.routers.users import router as users_router

# end
router = APIRouter(prefix="/api", responses=RESPONSES)
router.include_router(health_router)
# feature: auth
router.include_router(auth_router)
router.include_router(users_router)
# end
router.include_router(items_router)
# feature: realtime
router.include_router(live_router)
# end
