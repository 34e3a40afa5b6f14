"""How often somebody may try."""

from datetime import timedelta

import pytest
from fastapi.testclient import TestClient
from sqlmodel import select

from acme_shop.models.attempts import LoginAttempt
from acme_shop.settings import Settings


@pytest.fixture
def settings(settings: Settings) -> Settings:
    settings.login_attempts_max = 3
    return settings


def attempt(client: TestClient, account: dict[str, str], password: str = "a guess") -> int:
    form = {"username": account["email"], "password": password}
    return client.post("/api/auth/token", data=form).status_code


def test_too_many_attempts_are_refused_even_with_the_right_password(
    account: dict[str, str], visitor: TestClient, settings: Settings
) -> None:
    assert [attempt(visitor, account) for _ in range(3)] == [401] * 3

    response = visitor.post("/api/auth/session", json=account)

    assert response.status_code == 429
    assert response.headers["Retry-After"] == str(settings.login_window_s)


def test_other_spelling_of_an_address_is_the_same_account(account: dict[str, str], visitor: TestClient) -> None:
    spellings = [account["email"], account["email"].upper(), f" {account['email']} "]
    for spelling in spellings:
        attempt(visitor, {"email": spelling})

    assert attempt(visitor, account, account["password"]) == 429


def test_signing_in_forgets_the_attempts_before(account: dict[str, str], visitor: TestClient) -> None:
    for _ in range(2):
        attempt(visitor, account)
    assert attempt(visitor, account, account["password"]) == 200

    assert [attempt(visitor, account) for _ in range(3)] == [401] * 3


def test_one_address_may_not_try_many_accounts(visitor: TestClient) -> None:
    answers = [attempt(visitor, {"email": f"user{number}@example.com"}) for number in range(16)]

    assert answers == [401] * 15 + [429]


def test_attempts_are_let_in_again_after_a_while(
    account: dict[str, str], visitor: TestClient, settings: Settings
) -> None:
    for _ in range(4):
        attempt(visitor, account)
    assert attempt(visitor, account, account["password"]) == 429

    async def wait() -> None:
        async with visitor.app_state["database"].sessions() as session:
            earlier = timedelta(seconds=settings.login_window_s + 1)
            for row in await session.scalars(select(LoginAttempt)):
                row.at -= earlier
            await session.commit()

    assert visitor.portal is not None
    visitor.portal.call(wait)

    assert attempt(visitor, account, account["password"]) == 200


def test_refused_attempts_do_not_count(account: dict[str, str], visitor: TestClient) -> None:
    """Or whoever keeps trying would lock the owner out for ever."""
    for _ in range(10):
        attempt(visitor, account)

    async def count() -> int:
        async with visitor.app_state["database"].sessions() as session:
            return len((await session.scalars(select(LoginAttempt))).all())

    assert visitor.portal is not None
    # Three for the account, and four for where they came from: making the account was one.
    assert visitor.portal.call(count) == 7
