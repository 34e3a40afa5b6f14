"""The front end is served, and never in the place of something else."""

import re

import pytest
from fastapi.testclient import TestClient

from acme_shop.frontend import DIST

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.mark.parametrize("path", ["/", "/items/1", "/a/b/c", "/apix"])
def test_path_of_a_page_is_the_page_and_asked_for_again(client: TestClient, path: str) -> None:
    response = client.get(path, headers=BROWSER)

    assert response.status_code == 200
    assert '<main id="page">' in response.text
    assert response.headers["Cache-Control"] == "no-cache"
    assert "default-src 'self'" in response.headers["Content-Security-Policy"]


def test_page_that_has_not_changed_is_not_sent_again(client: TestClient) -> None:
    tag = client.get("/", headers=BROWSER).headers["ETag"]

    response = client.get("/", headers=BROWSER | {"If-None-Match": tag})

    assert response.status_code == 304
    assert response.headers["Cache-Control"] == "no-cache"


def test_files_of_the_page_are_kept_for_a_year(client: TestClient) -> None:
    files = re.findall(r'"(/assets/[^"]+)"', client.get("/", headers=BROWSER).text)

    assert len(files) >= 2
    for file in files:
        response = client.get(file)
        assert response.status_code == 200
        assert "immutable" in response.headers["Cache-Control"]


@pytest.mark.parametrize("path", ["/api", "/api/nothing", "/docs/nothing", "/assets/old.js"])
def test_what_is_missing_is_no_page(client: TestClient, path: str) -> None:
    response = client.get(path, headers=BROWSER)

    assert response.status_code == 404
    assert response.headers["Content-Type"] == "application/problem+json"
    assert "Cache-Control" not in response.headers


def test_program_that_asks_for_what_is_missing_gets_no_page(client: TestClient) -> None:
    assert client.get("/nothing", headers={"Accept": "application/json"}).status_code == 404


def test_api_and_docs_come_first(client: TestClient) -> None:
    assert client.get("/api/health", headers=BROWSER).json() == {"status": "ok"}
    assert "swagger" in client.get("/docs", headers=BROWSER).text
    assert client.put("/api/items", json={}, headers=BROWSER).status_code == 405


@pytest.mark.parametrize("path", ["/..%2Ffrontend.py", "/assets/..%2F..%2Ffrontend.py", "/%2e%2e/frontend.py"])
def test_no_file_outside_is_served(client: TestClient, path: str) -> None:
    assert "APIRouter" not in client.get(path).text


def test_build_has_no_source_maps() -> None:
    assert not list(DIST.rglob("*.map"))
