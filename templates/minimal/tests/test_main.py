"""The app as its clients see it."""

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from main import app
from settings import Settings, get_settings


@pytest.fixture
def client() -> Iterator[TestClient]:
    """A client, with the app's lifespan around it and settings that no .env changes."""
    app.dependency_overrides[get_settings] = lambda: Settings(
        _env_file=None, greeting="Good morning"
    )
    with TestClient(app) as client:
        yield client
    app.dependency_overrides.clear()


def test_root_greets_with_the_words_of_the_settings(client: TestClient) -> None:
    response = client.get("/")
    assert response.status_code == 200
    assert response.json() == {"message": "Good morning"}


def test_greeting_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_SHOP_GREETING", "Hello")
    assert Settings(_env_file=None).greeting == "Hello"


def test_openapi_names_the_app(client: TestClient) -> None:
    info = client.get("/openapi.json").json()["info"]
    assert info["title"] == "Acme Shop"
