"""Accounts."""

import pytest
from fastapi.testclient import TestClient

ADA = {"email": "ada@example.com", "password": "correct horse battery"}


def tokens(client: TestClient, password: str = ADA["password"]) -> dict[str, str]:
    response = client.post("/api/auth/token", data={"username": ADA["email"], "password": password})
    assert response.status_code == 200
    found: dict[str, str] = response.json()
    return found


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_account_made_can_be_signed_in_to_and_shows_no_password(visitor: TestClient) -> None:
    made = visitor.post("/api/users", json=ADA | {"email": "ADA@Example.com"})

    assert made.status_code == 201
    assert made.json()["email"] == "ada@example.com"
    assert "password" not in made.text
    me = visitor.get("/api/users/me", headers=bearer(tokens(visitor)["access_token"]))
    assert me.json() == made.json()


def test_second_account_with_one_address_is_refused(account: dict[str, str], visitor: TestClient) -> None:
    response = visitor.post("/api/users", json=account | {"email": account["email"].upper()})

    assert response.status_code == 409


@pytest.mark.parametrize(
    "wrong", [{"password": "short"}, {"password": "x" * 129}, {"email": "nobody"}, {"email": "a\x00@example.com"}]
)
def test_account_that_is_not_valid_is_refused(visitor: TestClient, wrong: dict[str, str]) -> None:
    assert visitor.post("/api/users", json=ADA | wrong).status_code == 422


def test_new_password_replaces_the_old_one_and_signs_out_elsewhere(
    account: dict[str, str], visitor: TestClient
) -> None:
    here, elsewhere = tokens(visitor), tokens(visitor)
    change = {"current_password": account["password"], "new_password": "a new and longer one"}

    response = visitor.put("/api/users/me/password", json=change, headers=bearer(here["access_token"]))

    assert response.status_code == 204
    assert visitor.get("/api/users/me", headers=bearer(here["access_token"])).status_code == 200
    assert visitor.get("/api/users/me", headers=bearer(elsewhere["access_token"])).status_code == 401
    assert visitor.post("/api/auth/refresh", json={"refresh_token": elsewhere["refresh_token"]}).status_code == 401
    assert tokens(visitor, change["new_password"])


def test_password_is_not_changed_without_the_current_one(account: dict[str, str], visitor: TestClient) -> None:
    change = {"current_password": "a guess", "new_password": "a new and longer one"}

    response = visitor.put("/api/users/me/password", json=change, headers=bearer(tokens(visitor)["access_token"]))

    assert response.status_code == 403
    assert tokens(visitor, account["password"])


def test_items_of_others_are_not_there(account: dict[str, str], client: TestClient, visitor: TestClient) -> None:
    ada = bearer(tokens(visitor)["access_token"])
    other = {"email": "bob@example.com", "password": account["password"]}
    visitor.post("/api/users", json=other)
    form = {"username": other["email"], "password": other["password"]}
    bob = bearer(visitor.post("/api/auth/token", data=form).json()["access_token"])
    item = visitor.post("/api/items", json={"name": "Tea", "price_cents": 1}, headers=ada)

    assert visitor.get(item.headers["Location"], headers=ada).status_code == 200
    assert visitor.get(item.headers["Location"], headers=bob).status_code == 404
    assert visitor.patch(item.headers["Location"], json={}, headers=bob).status_code == 404
    assert visitor.delete(item.headers["Location"], headers=bob).status_code == 404
    assert visitor.get("/api/items", headers=bob).json()["total"] == 0
