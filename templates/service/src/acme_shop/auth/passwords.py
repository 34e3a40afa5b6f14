"""Passwords: hashed with argon2id, in threads, since that takes long on purpose."""

import os
import secrets
from typing import Annotated

from anyio import CapacityLimiter, to_thread
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError
from fastapi import Depends, Request


class Passwords:
    """Makes hashes and compares with them.

    :param memory_kib: what each hash takes while it is computed.
    :param passes: how often it goes over that memory.
    """

    def __init__(self, *, memory_kib: int, passes: int) -> None:
        self._hasher = PasswordHasher(memory_cost=memory_kib, time_cost=passes, parallelism=1)
        # More threads than processors would only take more memory at a time.
        self._limiter = CapacityLimiter(os.cpu_count() or 1)
        self._of_nobody = self._hasher.hash(secrets.token_hex())

    async def hash(self, password: str) -> str:
        return await to_thread.run_sync(self._hasher.hash, password, limiter=self._limiter)

    async def matches(self, password: str, password_hash: str | None) -> bool:
        """Whether this is the password.

        :param password_hash: None when there is no such user. That takes as long, so that nobody learns who is one.
        """
        known = password_hash if password_hash is not None else self._of_nobody
        found = await to_thread.run_sync(self._verify, known, password, limiter=self._limiter)
        return found and password_hash is not None

    def is_outdated(self, password_hash: str) -> bool:
        """Whether it was made with other parameters than hashes are now."""
        return self._hasher.check_needs_rehash(password_hash)

    def _verify(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except (InvalidHashError, VerifyMismatchError):
            return False


def get_passwords(request: Request) -> Passwords:
    passwords: Passwords = request.state.passwords
    return passwords


PasswordsDep = Annotated[Passwords, Depends(get_passwords)]
