"""Somebody with an account, and somebody whom nobody knows."""

import pytest
from fastapi.testclient import TestClient


@pytest.fixture
def visitor(client: TestClient) -> TestClient:
    """The client, not signed in."""
    del client.headers["Authorization"]
    return client


@pytest.fixture
def account(visitor: TestClient) -> dict[str, str]:
    """What somebody signs in with."""
    account = {"email": "ada@example.com", "password": "correct horse battery"}
    assert visitor.post("/api/users", json=account).status_code == 201
    return account
