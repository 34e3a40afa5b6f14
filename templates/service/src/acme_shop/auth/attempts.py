"""How often somebody may try. Counted in the database: with several workers, memory sees only a part of it."""

import hashlib
from datetime import timedelta
from typing import Annotated

from fastapi import Depends, HTTPException, Request, status
from sqlalchemy import func
from sqlmodel import col, delete, select

from acme_shop.db import SessionDep, now
from acme_shop.models.attempts import LoginAttempt
from acme_shop.state import SettingsDep

_PER_ADDRESS = 5
"""A household or an office has one address and several people."""


class Attempts:
    """Counts for one request: by account, so that nobody guesses one password from many places, and by address."""

    def __init__(self, session: SessionDep, settings: SettingsDep, request: Request) -> None:
        self._session = session
        self._window = timedelta(seconds=settings.login_window_s)
        self._account_max = settings.login_attempts_max
        # Behind a proxy that is trusted (--forwarded-allow-ips) this is the client's; over a Unix socket there is none.
        self._address = request.client.host if request.client else None

    async def count(self, account: str | None) -> None:
        """One more attempt.

        :param account: the address that somebody wants to sign in with; None counts where it comes from alone.
        :raises HTTPException: 429, there were too many.
        """
        limits = {}
        if account is not None:
            limits[_key("account", account)] = self._account_max
        if self._address is not None:
            limits[_key("address", self._address)] = self._account_max * _PER_ADDRESS
        begin = now() - self._window
        await self._session.execute(delete(LoginAttempt).where(col(LoginAttempt.at) < begin))
        attempts = [LoginAttempt(key=key) for key in limits]
        self._session.add_all(attempts)
        # Counted before it is known whether it is one too many: of two that come at once, each sees the other.
        await self._session.commit()
        found = await self._session.execute(
            select(col(LoginAttempt.key), func.count())
            .where(col(LoginAttempt.key).in_(limits), col(LoginAttempt.at) >= begin)
            .group_by(col(LoginAttempt.key))
        )
        if all(number <= limits[key] for key, number in found.all()):
            # Nothing is held while the password is looked at.
            await self._session.commit()
            return
        # What was refused is not counted, or somebody who keeps trying would never be let in again.
        ids = [attempt.id for attempt in attempts]
        await self._session.execute(delete(LoginAttempt).where(col(LoginAttempt.id).in_(ids)))
        await self._session.commit()
        raise HTTPException(
            status.HTTP_429_TOO_MANY_REQUESTS,
            "There were too many attempts. Try again later.",
            headers={"Retry-After": str(int(self._window.total_seconds()))},
        )

    async def forget(self, account: str) -> None:
        """Somebody has proven who he is. Does not commit."""
        await self._session.execute(delete(LoginAttempt).where(col(LoginAttempt.key) == _key("account", account)))


AttemptsDep = Annotated[Attempts, Depends(Attempts)]


def _key(kind: str, who: str) -> str:
    return hashlib.sha256(f"{kind}:{who}".encode()).hexdigest()
