"""Signing in with a cookie."""

import pytest
from fastapi.testclient import TestClient

from acme_shop.settings import Settings

TEA = {"name": "Tea", "price_cents": 450}


@pytest.fixture
def csrf(account: dict[str, str], visitor: TestClient) -> dict[str, str]:
    """The header of a page that is signed in."""
    response = visitor.post("/api/auth/session", json=account)
    assert response.status_code == 200
    return {"X-CSRF-Token": response.json()["csrf_token"]}


def test_cookie_is_hidden_from_scripts_and_other_sites(account: dict[str, str], visitor: TestClient) -> None:
    response = visitor.post("/api/auth/session", json=account)

    cookie = response.headers["Set-Cookie"].lower()
    assert cookie.startswith("session=")
    assert "httponly" in cookie
    assert "samesite=lax" in cookie


def test_cookie_of_production_is_for_https_and_this_host(
    account: dict[str, str], visitor: TestClient, settings: Settings
) -> None:
    settings.environment = "production"

    cookie = visitor.post("/api/auth/session", json=account).headers["Set-Cookie"]

    assert cookie.startswith("__Host-session=")
    assert "Secure" in cookie
    assert "Path=/" in cookie
    assert "Domain" not in cookie


def test_page_reads_without_proof(csrf: dict[str, str], visitor: TestClient) -> None:
    assert visitor.get("/api/items").status_code == 200
    assert visitor.get("/api/auth/session").json()["csrf_token"] == csrf["X-CSRF-Token"]


def test_page_changes_with_proof_alone(csrf: dict[str, str], visitor: TestClient) -> None:
    assert visitor.post("/api/items", json=TEA).status_code == 403
    assert visitor.post("/api/items", json=TEA, headers={"X-CSRF-Token": "0" * 64}).status_code == 403
    assert visitor.post("/api/items", json=TEA, headers={b"X-CSRF-Token": "ä".encode()}).status_code == 403
    assert visitor.post("/api/items", json=TEA, headers=csrf).status_code == 201


def test_proof_of_another_session_is_none(csrf: dict[str, str], account: dict[str, str], visitor: TestClient) -> None:
    visitor.post("/api/auth/session", json=account)

    assert visitor.post("/api/items", json=TEA, headers=csrf).status_code == 403


def test_signing_out_ends_the_session_even_for_a_copy(csrf: dict[str, str], visitor: TestClient) -> None:
    copy = visitor.cookies["session"]

    assert visitor.post("/api/auth/logout", headers=csrf).status_code == 204

    assert "session" not in visitor.cookies
    visitor.cookies.set("session", copy)
    assert visitor.get("/api/users/me").status_code == 401


def test_signing_out_needs_proof_too(csrf: dict[str, str], visitor: TestClient) -> None:
    assert visitor.post("/api/auth/logout").status_code == 403


def test_wrong_password_sets_no_cookie(account: dict[str, str], visitor: TestClient) -> None:
    response = visitor.post("/api/auth/session", json=account | {"password": "a guess"})

    assert response.status_code == 401
    assert "Set-Cookie" not in response.headers
