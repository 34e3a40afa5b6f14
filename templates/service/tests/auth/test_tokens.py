"""Signing in with tokens."""

from datetime import timedelta
from uuid import uuid4

import jwt
import pytest
from fastapi.testclient import TestClient

from acme_shop.auth import tokens as access
from acme_shop.db import now
from acme_shop.settings import Settings


@pytest.fixture
def tokens(account: dict[str, str], visitor: TestClient) -> dict[str, str]:
    form = {"username": account["email"], "password": account["password"]}
    response = visitor.post("/api/auth/token", data=form)
    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store"
    found: dict[str, str] = response.json()
    return found


def me(client: TestClient, token: str) -> int:
    return client.get("/api/users/me", headers={"Authorization": f"Bearer {token}"}).status_code


def refreshed(client: TestClient, token: str) -> dict[str, str] | None:
    response = client.post("/api/auth/refresh", json={"refresh_token": token})
    assert response.status_code in (200, 401)
    found: dict[str, str] = response.json()
    return found if response.status_code == 200 else None


def test_button_in_the_docs_finds_where_to_sign_in(visitor: TestClient) -> None:
    description = visitor.get("/openapi.json").json()

    [scheme] = description["components"]["securitySchemes"].values()
    assert scheme["flows"]["password"]["tokenUrl"] == "api/auth/token"
    assert "/api/auth/token" in description["paths"]
    assert description["paths"]["/api/items"]["get"]["security"]


@pytest.mark.parametrize("path", ["/api/items", "/api/users/me", "/api/auth/session"])
def test_nobody_is_told_how_to_sign_in(visitor: TestClient, path: str) -> None:
    response = visitor.get(path)

    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"


def test_access_token_lets_in(tokens: dict[str, str], visitor: TestClient) -> None:
    assert tokens["token_type"] == "bearer"
    assert me(visitor, tokens["access_token"]) == 200


def test_wrong_password_and_unknown_user_are_not_told_apart(account: dict[str, str], visitor: TestClient) -> None:
    wrong = visitor.post("/api/auth/token", data={"username": account["email"], "password": "a guess"})
    unknown = visitor.post("/api/auth/token", data={"username": "x@example.com", "password": "a guess"})

    assert wrong.status_code == unknown.status_code == 401
    assert wrong.json() == unknown.json()


def test_address_that_no_database_can_hold_is_unknown(visitor: TestClient) -> None:
    response = visitor.post("/api/auth/token", data={"username": "a\x00b", "password": "a guess"})

    assert response.status_code == 401


@pytest.mark.parametrize(
    "changed",
    [
        {"exp": now() - timedelta(seconds=1)},
        {"aud": "somebody else"},
        {"iss": "somebody else"},
        {"sid": str(uuid4())},
        {"sid": "no id"},
        {"sid": 1},
        {"exp": None},
    ],
)
def test_token_that_is_wrong_in_one_claim_lets_nobody_in(
    tokens: dict[str, str], visitor: TestClient, settings: Settings, changed: dict[str, object]
) -> None:
    key = settings.secret_key.get_secret_value()
    claims = jwt.decode(tokens["access_token"], options={"verify_signature": False})
    claims = {name: value for name, value in (claims | changed).items() if value is not None}

    assert me(visitor, jwt.encode(claims, key, algorithm="HS256")) == 401


def test_token_of_another_key_or_without_one_lets_nobody_in(tokens: dict[str, str], visitor: TestClient) -> None:
    claims = jwt.decode(tokens["access_token"], options={"verify_signature": False})

    assert me(visitor, jwt.encode(claims, "another key, which is also long enough", algorithm="HS256")) == 401
    assert me(visitor, jwt.encode(claims, "", algorithm="none")) == 401
    assert me(visitor, "no token at all") == 401


def test_refresh_token_is_good_once(tokens: dict[str, str], visitor: TestClient) -> None:
    second = refreshed(visitor, tokens["refresh_token"])

    assert second is not None
    assert me(visitor, second["access_token"]) == 200
    assert second["refresh_token"] != tokens["refresh_token"]


def test_refresh_token_used_twice_ends_the_session(tokens: dict[str, str], visitor: TestClient) -> None:
    second = refreshed(visitor, tokens["refresh_token"])
    assert second is not None

    assert refreshed(visitor, tokens["refresh_token"]) is None

    assert refreshed(visitor, second["refresh_token"]) is None
    assert me(visitor, second["access_token"]) == 401


def test_refresh_token_that_never_was_is_refused(visitor: TestClient) -> None:
    assert refreshed(visitor, "invented") is None


def test_signing_out_ends_both_tokens(tokens: dict[str, str], visitor: TestClient) -> None:
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}

    assert visitor.post("/api/auth/logout", headers=headers).status_code == 204

    assert me(visitor, tokens["access_token"]) == 401
    assert refreshed(visitor, tokens["refresh_token"]) is None


def test_session_that_is_over_lets_nobody_in(account: dict[str, str], visitor: TestClient, settings: Settings) -> None:
    settings.session_s = -1
    form = {"username": account["email"], "password": account["password"]}

    tokens = visitor.post("/api/auth/token", data=form).json()

    assert access.session_of(settings, tokens["access_token"]) is not None
    assert me(visitor, tokens["access_token"]) == 401
    assert refreshed(visitor, tokens["refresh_token"]) is None
