"""Who sends a request: by a bearer token, or by the cookie of a page."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, HTTPException, Request, status
from fastapi.requests import HTTPConnection
from fastapi.security import OAuth2PasswordBearer
from fastapi.security.utils import get_authorization_scheme_param
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from acme_shop.auth.cookies import cookie_name, has_csrf_token
from acme_shop.auth.sessions import find_session
from acme_shop.auth.tokens import hash_of, session_of
from acme_shop.db import SessionDep
from acme_shop.models.sessions import LoginSession
from acme_shop.models.users import User
from acme_shop.settings import Settings
from acme_shop.state import SettingsDep

# For the description, and the button in /docs. Relative, so that it is right behind a proxy that adds a path.
bearer = OAuth2PasswordBearer(tokenUrl="api/auth/token", auto_error=False)


@dataclass(frozen=True)
class Identity:
    """Who it is, and the session that says so."""

    user: User
    login: LoginSession
    by_cookie: bool


async def find_identity(connection: HTTPConnection, session: AsyncSession, settings: Settings) -> Identity | None:
    """Who it is; None when nobody is signed in. A request that changes something must be looked at further."""
    scheme, token = get_authorization_scheme_param(connection.headers.get("Authorization"))
    by_cookie = scheme.lower() != "bearer"
    if by_cookie:
        cookie = connection.cookies.get(cookie_name(settings))
        which = None if cookie is None else col(LoginSession.cookie_hash) == hash_of(cookie)
    else:
        session_id = session_of(settings, token)
        which = None if session_id is None else col(LoginSession.id) == session_id
    found = None if which is None else await find_session(session, which)
    return None if found is None else Identity(*found, by_cookie)


async def get_identity(
    request: Request,
    session: SessionDep,
    settings: SettingsDep,
    _: Annotated[str | None, Depends(bearer)],
) -> Identity:
    """:raises HTTPException: 401, nobody is signed in; 403, a page did not prove to be one of ours."""
    identity = await find_identity(request, session, settings)
    if identity is None:
        raise HTTPException(
            status.HTTP_401_UNAUTHORIZED, "Nobody is signed in.", headers={"WWW-Authenticate": "Bearer"}
        )
    if identity.by_cookie and not has_csrf_token(request, settings, identity.login.id):
        raise HTTPException(status.HTTP_403_FORBIDDEN, "The header X-CSRF-Token is missing or wrong.")
    return identity


IdentityDep = Annotated[Identity, Depends(get_identity)]


def get_current_user(identity: IdentityDep) -> User:
    return identity.user


CurrentUser = Annotated[User, Depends(get_current_user)]
