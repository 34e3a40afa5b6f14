"""What holds for every route."""

import re

import pytest
from fastapi.testclient import TestClient

from acme_shop.app import BODY_BYTES_MAX, create_app
from acme_shop.settings import Settings


def test_health_is_ok_and_never_cached(client: TestClient) -> None:
    response = client.get("/api/health")

    assert response.json() == {"status": "ok"}
    assert response.headers["Cache-Control"] == "no-store"


def test_request_id_of_a_proxy_is_kept(client: TestClient) -> None:
    response = client.get("/api/health", headers={"X-Request-ID": "abc-123"})

    assert response.headers["X-Request-ID"] == "abc-123"


@pytest.mark.parametrize("forged", ["a b", "x" * 65, "{}"])
def test_request_id_that_could_forge_logs_is_replaced(client: TestClient, forged: str) -> None:
    response = client.get("/api/health", headers={"X-Request-ID": forged})

    assert re.fullmatch("[0-9a-f]{32}", response.headers["X-Request-ID"])


def test_docs_are_there(client: TestClient) -> None:
    assert "swagger" in client.get("/docs").text
    assert client.get("/openapi.json").json()["info"]["title"] == "Acme Shop"


def test_docs_that_are_off_are_not_there(settings: Settings) -> None:
    settings.docs = False
    with TestClient(create_app(settings)) as client:
        assert client.get("/docs").status_code == 404
        assert client.get("/openapi.json").status_code == 404


def test_other_origin_is_allowed_when_it_is_named(settings: Settings) -> None:
    settings.allowed_origins = ["https://shop.example.com"]
    with TestClient(create_app(settings)) as client:
        named = client.get("/api/health", headers={"Origin": "https://shop.example.com"})
        other = client.get("/api/health", headers={"Origin": "https://evil.example.com"})

    assert named.headers["Access-Control-Allow-Origin"] == "https://shop.example.com"
    assert "Access-Control-Allow-Origin" not in other.headers


def test_other_origin_is_not_allowed_by_default(client: TestClient) -> None:
    response = client.get("/api/health", headers={"Origin": "https://shop.example.com"})

    assert "Access-Control-Allow-Origin" not in response.headers


def test_body_that_is_too_large_is_refused(client: TestClient) -> None:
    response = client.post("/api/items", content=b" " * (BODY_BYTES_MAX + 1))

    assert response.status_code == 413
