"""Signing in and out: with tokens for programs, with a cookie for pages."""

from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Response, status
from fastapi.security import OAuth2PasswordRequestForm
from sqlalchemy.ext.asyncio import AsyncSession

from acme_shop.auth.attempts import AttemptsDep
from acme_shop.auth.cookies import clear_cookie, csrf_token, set_cookie
from acme_shop.auth.current_user import IdentityDep
from acme_shop.auth.login import log_in
from acme_shop.auth.passwords import PasswordsDep
from acme_shop.auth.sessions import (
    add_refresh_token,
    begin_session,
    end_session,
    use_refresh_token,
)
from acme_shop.auth.tokens import access_token, random_token
from acme_shop.db import SessionDep
from acme_shop.models.sessions import LoginSession
from acme_shop.models.users import User
from acme_shop.schemas.users import (
    Credentials,
    RefreshIn,
    SessionOut,
    TokensOut,
    UserOut,
)
from acme_shop.settings import Settings
from acme_shop.state import SettingsDep


def never_cached(response: Response) -> None:
    """RFC 6749, section 5.1."""
    response.headers["Cache-Control"] = "no-store"


router = APIRouter(prefix="/auth", tags=["auth"], dependencies=[Depends(never_cached)])


@router.post("/token")
async def sign_in_for_tokens(
    form: Annotated[OAuth2PasswordRequestForm, Depends()],
    session: SessionDep,
    settings: SettingsDep,
    passwords: PasswordsDep,
    attempts: AttemptsDep,
) -> TokensOut:
    """Signs in with a form, as OAuth 2 has it; `username` is the address. The button in /docs does this."""
    user = await log_in(session, attempts, passwords, form.username, form.password)
    login = await begin_session(session, settings, user)
    return await _tokens(session, settings, user, login)


@router.post("/refresh")
async def refresh(given: RefreshIn, session: SessionDep, settings: SettingsDep) -> TokensOut:
    """New tokens for a refresh token, which is good for one use: a second one ends the session."""
    found = await use_refresh_token(session, given.refresh_token)
    if found is None:
        raise HTTPException(status.HTTP_401_UNAUTHORIZED, "The token is not good any more. Sign in again.")
    return await _tokens(session, settings, *found)


@router.post("/session")
async def sign_in_for_cookie(
    given: Credentials,
    response: Response,
    session: SessionDep,
    settings: SettingsDep,
    passwords: PasswordsDep,
    attempts: AttemptsDep,
) -> SessionOut:
    """Signs in a page: the response sets a cookie."""
    user = await log_in(session, attempts, passwords, given.email, given.password.get_secret_value())
    cookie = random_token()
    login = await begin_session(session, settings, user, cookie=cookie)
    await session.commit()
    set_cookie(response, settings, cookie)
    return SessionOut(user=UserOut.model_validate(user), csrf_token=csrf_token(settings, login.id))


@router.get("/session")
async def read_session(identity: IdentityDep, settings: SettingsDep) -> SessionOut:
    """For a page that was loaded anew."""
    return SessionOut(
        user=UserOut.model_validate(identity.user),
        csrf_token=csrf_token(settings, identity.login.id),
    )


@router.post("/logout", status_code=status.HTTP_204_NO_CONTENT)
async def sign_out(identity: IdentityDep, session: SessionDep, settings: SettingsDep, response: Response) -> None:
    """Ends the session, and with it every token and cookie that belongs to it."""
    await end_session(session, identity.login.id)
    await session.commit()
    clear_cookie(response, settings)


async def _tokens(session: AsyncSession, settings: Settings, user: User, login: LoginSession) -> TokensOut:
    refresh_token = await add_refresh_token(session, login.id)
    await session.commit()
    return TokensOut(
        access_token=access_token(settings, user_id=user.id, session_id=login.id),
        expires_in=settings.access_token_s,
        refresh_token=refresh_token,
    )
