"""A page that shows what is said, and says something."""

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse

STATIC = Path(__file__).parent / "static"
HEADERS = {
    # Asked for again each time, and answered with 304 when nothing has changed.
    "Cache-Control": "no-cache",
    # No script but our own: what people write cannot become one.
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; frame-ancestors 'none'",
}

router = APIRouter(include_in_schema=False)


@router.get("/live")
async def page() -> FileResponse:
    return FileResponse(STATIC / "live.html", headers=HEADERS)


@router.get("/live.js")
async def script() -> FileResponse:
    return FileResponse(STATIC / "live.js", headers=HEADERS)


@router.get("/live.css")
async def style() -> FileResponse:
    return FileResponse(STATIC / "live.css", headers=HEADERS)
