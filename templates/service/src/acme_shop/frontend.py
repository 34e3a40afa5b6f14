"""The front end: built from `frontend/` into `dist/`, and served for every path that is not the API's."""

from pathlib import Path

from fastapi import APIRouter, Depends, HTTPException, Request, Response

DIST = Path(__file__).parent / "dist"

RESERVED = frozenset({"api", "docs", "openapi.json", "redoc"})
"""First parts of paths that are never pages: what is missing there is missing, and no page takes its place."""


def headers(request: Request, response: Response) -> None:
    """How long browsers may keep what they get.

    :raises HTTPException: 404, there is nothing, and a page would be wrong.
    """
    path = request.scope["path"].removeprefix(request.scope.get("root_path", "")).lstrip("/")
    first = path.partition("/")[0]
    if first in RESERVED:
        raise HTTPException(404)
    response.headers["X-Content-Type-Options"] = "nosniff"
    if first == "assets":
        # A page in the place of a file of an older build would be kept for a year.
        if not (DIST / path).is_file():
            raise HTTPException(404)
        # The name of such a file has a hash of its content.
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
    else:
        # Asked for again each time, and answered with 304 when nothing has changed.
        response.headers["Cache-Control"] = "no-cache"
        response.headers["Content-Security-Policy"] = "default-src 'self'; base-uri 'none'; frame-ancestors 'none'"


router = APIRouter(dependencies=[Depends(headers)])
# Asked last, wherever it is included: routes come first.
router.frontend("/", directory=DIST, fallback="index.html")
