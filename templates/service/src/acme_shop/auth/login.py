"""Signing in with a password."""

from fastapi import HTTPException, status
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from acme_shop.auth.attempts import Attempts
from acme_shop.auth.passwords import Passwords
from acme_shop.models.users import User


async def log_in(session: AsyncSession, attempts: Attempts, passwords: Passwords, email: str, password: str) -> User:
    """The user with this address and password. Does not commit what it has changed at the end.

    :raises HTTPException: 401, without saying what is wrong; 429, there were too many attempts.
    """
    account = email.strip().lower()
    await attempts.count(account)
    user = await _find(session, account)
    # The connection goes back to the pool while the password is hashed, which takes longer than all the rest.
    await session.commit()
    if not await passwords.matches(password, user.password_hash if user and user.is_active else None) or user is None:
        raise HTTPException(
            status.HTTP_401_UNAUTHORIZED,
            "The address or the password is wrong.",
            headers={"WWW-Authenticate": "Bearer"},
        )
    if passwords.is_outdated(user.password_hash):
        user.password_hash = await passwords.hash(password)
    await attempts.forget(account)
    return user


async def _find(session: AsyncSession, account: str) -> User | None:
    # PostgreSQL takes no NUL, and no user has one.
    if "\0" in account:
        return None
    user: User | None = await session.scalar(select(User).where(col(User.email) == account))
    return user
