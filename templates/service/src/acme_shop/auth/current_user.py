"""Who sends a request: by a bearer token, or by the cookie of a page."""

from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import Depends, HTTPException, Request, status
from fastapi.security import OAuth2PasswordBearer
from sqlmodel import col

from acme_shop.auth.cookies import cookie_name, has_csrf_token
from acme_shop.auth.sessions import find_session
from acme_shop.auth.tokens import hash_of, session_of
from acme_shop.db import SessionDep
from acme_shop.models.sessions import LoginSession
from acme_shop.models.users import User
from acme_shop.state import SettingsDep

# Relative, so that it is right behind a proxy that adds a path. /docs signs in with it.
bearer = OAuth2PasswordBearer(tokenUrl="api/auth/token", auto_error=False)


@dataclass(frozen=True)
class Identity:
    """Who it is, and the session that says so."""

    user: User
    session_id: UUID


async def get_identity(
    request: Request,
    session: SessionDep,
    settings: SettingsDep,
    token: Annotated[str | None, Depends(bearer)],
) -> Identity:
    """:raises HTTPException: 401, nobody is signed in; 403, a page did not prove to be one of ours."""
    cookie = request.cookies.get(cookie_name(settings))
    if token is not None:
        session_id = session_of(settings, token)
        which = None if session_id is None else col(LoginSession.id) == session_id
    else:
        which = None if cookie is None else col(LoginSession.cookie_hash) == hash_of(cookie)
    found = None if which is None else await find_session(session, which)
    if found is None:
        raise HTTPException(
            status.HTTP_401_UNAUTHORIZED, "Nobody is signed in.", headers={"WWW-Authenticate": "Bearer"}
        )
    user, login = found
    if token is None and not has_csrf_token(request, settings, login.id):
        raise HTTPException(status.HTTP_403_FORBIDDEN, "The header X-CSRF-Token is missing or wrong.")
    return Identity(user, login.id)


IdentityDep = Annotated[Identity, Depends(get_identity)]


def get_current_user(identity: IdentityDep) -> User:
    return identity.user


CurrentUser = Annotated[User, Depends(get_current_user)]
