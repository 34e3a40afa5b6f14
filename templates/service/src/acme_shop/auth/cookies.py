"""Sessions in a cookie, for pages: no script can read it, and no other site can use it."""

import hashlib
import hmac
from uuid import UUID

from fastapi import Request, Response

from acme_shop.settings import Settings

CSRF_HEADER = "X-CSRF-Token"


def cookie_name(settings: Settings) -> str:
    """Browsers let no other host and no plain HTTP set a cookie of the first name (RFC 6265bis, section 4.1.3.2)."""
    return "__Host-session" if settings.is_production else "session"


def set_cookie(response: Response, settings: Settings, token: str) -> None:
    response.set_cookie(
        cookie_name(settings),
        token,
        max_age=settings.session_s,
        path="/",
        secure=settings.is_production,
        httponly=True,
        samesite="lax",
    )


def clear_cookie(response: Response, settings: Settings) -> None:
    response.delete_cookie(
        cookie_name(settings), path="/", secure=settings.is_production, httponly=True, samesite="lax"
    )


def csrf_token(settings: Settings, session_id: UUID) -> str:
    """What a page sends along with whatever changes something.

    Another site can make a browser send the cookie, but cannot know this. It is bound to the session, so that an
    attacker's own does not do.
    """
    key = settings.secret_key.get_secret_value().encode()
    return hmac.new(key, b"csrf:" + session_id.bytes, hashlib.sha256).hexdigest()


def has_csrf_token(request: Request, settings: Settings, session_id: UUID) -> bool:
    """Whether a request that has the cookie is one of our pages'. One that changes nothing needs no proof."""
    if request.method in {"GET", "HEAD", "OPTIONS"}:
        return True
    given = request.headers.get(CSRF_HEADER, "").encode()
    return hmac.compare_digest(given, csrf_token(settings, session_id).encode())
