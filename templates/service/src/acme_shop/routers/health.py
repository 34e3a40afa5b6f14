"""Is the service well? For monitoring.

Probes that decide over life and death ask the server, which answers them without the app (`--health-path`): a service
whose database is away must not be restarted for it.
"""

from typing import Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel

# feature: db
from sqlalchemy import text

from acme_shop.db import SessionDep

# end

router = APIRouter(prefix="/health", tags=["health"])


class Health(BaseModel):
    status: Literal["ok"] = "ok"


@router.get("")
async def health(
    response: Response,
    # feature: db
    session: SessionDep,
    # end
) -> Health:
    """Answers when everything that the service needs is there."""
    response.headers["Cache-Control"] = "no-store"
    # feature: db
    # What this raises without a database becomes 503, see `problems`.
    await session.execute(text("SELECT 1"))
    # end
    return Health()
