"""Hashes of passwords."""

import asyncio
import threading

import pytest
from pydantic import SecretStr

from acme_shop.app import create_app
from acme_shop.auth.passwords import Passwords
from acme_shop.settings import SECRET_KEY_PLACEHOLDER, Settings


class Watched(Passwords):
    """Notes which threads have compared."""

    def __init__(self) -> None:
        super().__init__(memory_kib=8, passes=1)
        self.threads: list[threading.Thread] = []

    def _verify(self, password_hash: str, password: str) -> bool:
        self.threads.append(threading.current_thread())
        return super()._verify(password_hash, password)


def test_password_matches_its_hash_and_no_other() -> None:
    async def compare() -> list[bool]:
        passwords = Passwords(memory_kib=8, passes=1)
        known = await passwords.hash("correct horse")
        return [await passwords.matches(given, known) for given in ("correct horse", "Correct horse", "")]

    assert asyncio.run(compare()) == [True, False, False]


def test_hash_is_argon2id_and_never_the_same() -> None:
    async def hashes() -> set[str]:
        passwords = Passwords(memory_kib=8, passes=1)
        return {await passwords.hash("correct horse") for _ in range(2)}

    first, second = asyncio.run(hashes())
    assert first.startswith("$argon2id$")
    assert second.startswith("$argon2id$")


def test_user_that_is_unknown_costs_a_comparison_too() -> None:
    """Or the time would tell who has an account."""

    async def compare() -> Watched:
        passwords = Watched()
        assert not await passwords.matches("correct horse", None)
        return passwords

    assert len(asyncio.run(compare()).threads) == 1


def test_comparing_does_not_hold_up_the_loop() -> None:
    async def compare() -> Watched:
        passwords = Watched()
        await passwords.matches("correct horse", await passwords.hash("correct horse"))
        return passwords

    assert asyncio.run(compare()).threads != [threading.main_thread()]


def test_hash_of_weaker_parameters_is_outdated() -> None:
    weak, strong = Passwords(memory_kib=8, passes=1), Passwords(memory_kib=16, passes=2)

    old = asyncio.run(weak.hash("correct horse"))

    assert strong.is_outdated(old)
    assert not weak.is_outdated(old)


def test_text_that_is_no_hash_matches_nothing() -> None:
    assert not asyncio.run(Passwords(memory_kib=8, passes=1).matches("", "no hash"))


@pytest.mark.parametrize("key", [SECRET_KEY_PLACEHOLDER, "short"])
def test_production_does_not_start_with_a_key_that_can_be_guessed(settings: Settings, key: str) -> None:
    unsafe = settings.model_copy(update={"environment": "production", "secret_key": SecretStr(key)})

    with pytest.raises(RuntimeError, match="SECRET_KEY must be set"):
        create_app(unsafe)


def test_production_starts_with_a_key_of_its_own(settings: Settings) -> None:
    create_app(settings.model_copy(update={"environment": "production"}))


def test_development_starts_with_the_placeholder(settings: Settings) -> None:
    update = {"environment": "development", "secret_key": SecretStr(SECRET_KEY_PLACEHOLDER)}

    create_app(settings.model_copy(update=update))
