"""Errors look alike, whatever raised them."""

from typing import Annotated

import pytest
from fastapi import Body, FastAPI
from fastapi.responses import PlainTextResponse
from fastapi.testclient import TestClient

# feature: db
from sqlalchemy.exc import OperationalError

# end
from acme_shop.app import BODY_BYTES_MAX


def test_unknown_path_is_a_problem(client: TestClient) -> None:
    response = client.get("/api/nothing")

    assert response.status_code == 404
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json() == {"type": "about:blank", "title": "Not Found", "status": 404}


def test_wrong_method_is_a_problem_that_names_the_right_ones(client: TestClient) -> None:
    response = client.put("/api/items", json={})

    assert response.status_code == 405
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json()["title"] == "Method Not Allowed"
    assert "GET" in response.headers["Allow"]


def test_invalid_request_says_where_and_does_not_repeat_what(client: TestClient) -> None:
    response = client.post("/api/items", json={"name": "Tea", "price_cents": "hunter2"})

    assert response.status_code == 422
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json()["errors"][0]["location"] == ["body", "price_cents"]
    assert "hunter2" not in response.text


@pytest.mark.parametrize("is_announced", [True, False])
def test_body_that_is_too_large_is_a_problem(client: TestClient, is_announced: bool) -> None:
    body = b" " * (BODY_BYTES_MAX + 1)

    # What comes in pieces has no Content-Length, and is counted.
    content = body if is_announced else iter([body])
    response = client.post("/api/items", content=content, headers={"Content-Type": "application/json"})

    assert response.status_code == 413
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.headers["X-Request-ID"]
    assert response.json()["status"] == 413
    assert response.json()["title"] in {"Request Entity Too Large", "Content Too Large"}


def test_route_that_says_so_takes_larger_bodies(app: FastAPI) -> None:
    @app.post("/uploads", max_body_size=2 * BODY_BYTES_MAX)
    async def upload(body: Annotated[str, Body()]) -> int:
        return len(body)

    with TestClient(app) as client:
        assert client.post("/uploads", json="x" * BODY_BYTES_MAX).json() == BODY_BYTES_MAX
        assert client.post("/uploads", json="x" * 2 * BODY_BYTES_MAX).status_code == 413


def test_text_that_a_route_answers_stays_as_it_is(app: FastAPI) -> None:
    @app.get("/text")
    async def text() -> PlainTextResponse:
        return PlainTextResponse("much", 200)

    with TestClient(app) as client:
        assert client.get("/text").text == "much"


def test_bug_is_a_problem_without_details(app: FastAPI) -> None:
    @app.get("/bug")
    async def bug() -> None:
        raise RuntimeError("a secret")

    with TestClient(app, raise_server_exceptions=False) as client:
        response = client.get("/bug")

    assert response.status_code == 500
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json() == {
        "type": "about:blank",
        "title": "Internal Server Error",
        "status": 500,
    }


# feature: db
def test_database_that_is_away_is_a_problem_that_passes(app: FastAPI, caplog: pytest.LogCaptureFixture) -> None:
    @app.get("/away")
    async def away() -> None:
        raise OperationalError("SELECT 1", {}, OSError("connection refused"))

    with TestClient(app) as client:
        response = client.get("/away")

    assert response.status_code == 503
    assert response.headers["Retry-After"] == "5"
    assert "alembic upgrade head" in caplog.text


# end
def test_description_names_the_media_type_of_problems(client: TestClient) -> None:
    operations = client.get("/openapi.json").json()["paths"]["/api/items"]

    responses = operations["post"]["responses"]

    assert list(responses["4XX"]["content"]) == ["application/problem+json"]
    assert "422" not in responses
