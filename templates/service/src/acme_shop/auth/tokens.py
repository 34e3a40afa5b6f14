"""Tokens: access tokens that say who somebody is for minutes, and random ones that are looked up."""

import hashlib
import secrets
from datetime import timedelta
from uuid import UUID

import jwt

from acme_shop.db import now
from acme_shop.settings import Settings

_ALGORITHM = "HS256"
_ISSUER = "acme-shop"


def random_token() -> str:
    return secrets.token_urlsafe(32)


def hash_of(token: str) -> str:
    """What is stored of a random token. It has 256 bits of chance, so a fast hash cannot be guessed back."""
    return hashlib.sha256(token.encode()).hexdigest()


def access_token(settings: Settings, *, user_id: UUID, session_id: UUID) -> str:
    """A JSON Web Token (RFC 7519)."""
    issued = now()
    claims = {
        "iss": _ISSUER,
        "aud": _ISSUER,
        "sub": str(user_id),
        "sid": str(session_id),
        "iat": issued,
        "exp": issued + timedelta(seconds=settings.access_token_s),
    }
    return jwt.encode(claims, settings.secret_key.get_secret_value(), algorithm=_ALGORITHM)


def session_of(settings: Settings, token: str) -> UUID | None:
    """The session that an access token belongs to; None when the token is expired, or none of ours."""
    try:
        claims = jwt.decode(
            token,
            settings.secret_key.get_secret_value(),
            # Never what the token itself names (RFC 8725, section 3.1).
            algorithms=[_ALGORITHM],
            issuer=_ISSUER,
            audience=_ISSUER,
            options={"require": ["exp", "iat", "sub", "sid"]},
        )
        return UUID(claims["sid"])
    except (jwt.InvalidTokenError, ValueError, AttributeError, TypeError):
        return None
