"""The bookstore through its API, on a file of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from bookstore.main import create_app
from bookstore.settings import Settings
from fastapi.testclient import TestClient

DUNE = {"title": "Dune", "author": "Frank Herbert", "year": 1965, "price": 1290}


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    with TestClient(create_app(Settings(database=tmp_path / "books.db"))) as client:
        yield client


def test_new_store_has_books_by_title(client: TestClient) -> None:
    page = client.get("/books").json()
    titles = [book["title"] for book in page["books"]]
    assert page["total"] == len(titles) == 5
    assert titles == sorted(titles)


def test_pages_follow_one_another(client: TestClient) -> None:
    first = client.get("/books", params={"limit": 3}).json()
    second = client.get("/books", params={"limit": 3, "offset": 3}).json()
    assert (len(first["books"]), len(second["books"]), second["total"]) == (3, 2, 5)
    assert {book["id"] for book in first["books"] + second["books"]} == {1, 2, 3, 4, 5}


def test_search_finds_title_and_author(client: TestClient) -> None:
    assert [book["author"] for book in client.get("/books", params={"q": "woolf"}).json()["books"]] == [
        "Virginia Woolf"
    ]
    assert [book["title"] for book in client.get("/books", params={"q": "moby"}).json()["books"]] == ["Moby-Dick"]


@pytest.mark.parametrize("words", ["%", "_", "\\", "' OR 1=1 --"])
def test_search_takes_special_characters_as_they_are(client: TestClient, words: str) -> None:
    assert client.get("/books", params={"q": words}).json()["total"] == 0


def test_book_is_created_read_changed_and_deleted(client: TestClient) -> None:
    created = client.post("/books", json=DUNE)
    assert created.status_code == 201
    book = created.json()
    where = f"/books/{book['id']}"
    assert created.headers["location"].endswith(where)
    assert client.get(where).json() == book == {**DUNE, "id": book["id"]}
    assert client.patch(where, json={"price": 990}).json() == {**book, "price": 990}
    assert client.get(where).json()["price"] == 990
    assert client.delete(where).status_code == 204
    assert client.get(where).status_code == 404


@pytest.mark.parametrize(
    "wrong",
    [
        {**DUNE, "title": "  "},
        {**DUNE, "year": 200},
        {**DUNE, "price": -1},
        {**DUNE, "price": "free"},
        {**DUNE, "colour": "red"},
        {"title": "Dune"},
    ],
)
def test_impossible_book_is_refused(client: TestClient, wrong: dict[str, object]) -> None:
    assert client.post("/books", json=wrong).status_code == 422
    assert client.get("/books").json()["total"] == 5


@pytest.mark.parametrize("params", [{"limit": 0}, {"limit": 101}, {"offset": -1}, {"q": "x" * 101}])
def test_impossible_page_is_refused(client: TestClient, params: dict[str, str | int]) -> None:
    assert client.get("/books", params=params).status_code == 422


def test_missing_book_is_not_found(client: TestClient) -> None:
    assert client.get("/books/99").json() == {"detail": "There is no book 99."}
    assert client.patch("/books/99", json={"price": 1}).status_code == 404
    assert client.delete("/books/99").status_code == 404


def test_index_lists_books_and_escapes_them(client: TestClient) -> None:
    client.post("/books", json={**DUNE, "title": "<script>alert(1)</script>"})
    page = client.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "Moby-Dick" in page.text
    assert "<script>" not in page.text


def test_books_outlive_the_app(tmp_path: Path) -> None:
    settings = Settings(database=tmp_path / "books.db")
    with TestClient(create_app(settings)) as client:
        client.post("/books", json=DUNE)
    with TestClient(create_app(settings)) as client:
        assert client.get("/books", params={"q": "dune"}).json()["total"] == 1


def test_file_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BOOKSTORE_DATABASE", str(tmp_path / "other.db"))
    with TestClient(create_app()) as client:
        assert client.get("/books").status_code == 200
    assert (tmp_path / "other.db").exists()
