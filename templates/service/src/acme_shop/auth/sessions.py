"""Sessions: begun by signing in, carried on by tokens or by a cookie, ended by signing out."""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, and_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, delete, select, update

from acme_shop.auth.tokens import hash_of, random_token
from acme_shop.db import now
from acme_shop.models.sessions import LoginSession, RefreshToken
from acme_shop.models.users import User
from acme_shop.settings import Settings


async def begin_session(
    session: AsyncSession, settings: Settings, user: User, *, cookie: str | None = None
) -> LoginSession:
    """Signs somebody in, and forgets sessions of his that are over. Does not commit."""
    over = col(LoginSession.expires_at) <= now()
    await session.execute(delete(LoginSession).where(col(LoginSession.user_id) == user.id, over))
    login = LoginSession(
        user_id=user.id,
        cookie_hash=None if cookie is None else hash_of(cookie),
        expires_at=now() + timedelta(seconds=settings.session_s),
    )
    session.add(login)
    await session.flush()
    return login


async def add_refresh_token(session: AsyncSession, session_id: UUID) -> str:
    """A token for one use. Does not commit."""
    token = random_token()
    session.add(RefreshToken(token_hash=hash_of(token), session_id=session_id))
    await session.flush()
    return token


async def use_refresh_token(session: AsyncSession, token: str) -> tuple[User, LoginSession] | None:
    """Whose token it was; None when it is good for nothing. Commits.

    A token that is used twice ends its session: either the thief or the owner came second, and nobody knows which
    (RFC 9700, section 4.14.2).
    """
    token_hash = hash_of(token)
    # One statement, so that of two workers that get the same token one is the first.
    session_id = await session.scalar(
        update(RefreshToken)
        .where(col(RefreshToken.token_hash) == token_hash, col(RefreshToken.used_at).is_(None))
        .values(used_at=now())
        .returning(col(RefreshToken.session_id))
    )
    if session_id is None:
        used = await session.get(RefreshToken, token_hash)
        if used is not None:
            await end_session(session, used.session_id)
        await session.commit()
        return None
    await session.commit()
    return await find_session(session, col(LoginSession.id) == session_id)


async def find_session(session: AsyncSession, which: ColumnElement[bool]) -> tuple[User, LoginSession] | None:
    """A session that goes on, with its user."""
    found = await session.execute(
        select(User, LoginSession)
        .join(LoginSession, col(LoginSession.user_id) == col(User.id))
        .where(which, _goes_on(), col(User.is_active))
    )
    row = found.first()
    return None if row is None else (row[0], row[1])


async def end_session(session: AsyncSession, session_id: UUID) -> None:
    """Signs out. Does not commit."""
    await session.execute(
        update(LoginSession).where(col(LoginSession.id) == session_id, _goes_on()).values(revoked_at=now())
    )


async def end_other_sessions(session: AsyncSession, user_id: UUID, *, but: UUID) -> None:
    """Signs somebody out everywhere else. Does not commit."""
    await session.execute(
        update(LoginSession)
        .where(col(LoginSession.user_id) == user_id, col(LoginSession.id) != but, _goes_on())
        .values(revoked_at=now())
    )


def _goes_on() -> ColumnElement[bool]:
    return and_(col(LoginSession.revoked_at).is_(None), col(LoginSession.expires_at) > now())
