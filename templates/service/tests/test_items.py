"""Items, over HTTP."""

# feature: not db
import asyncio

# end
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient

# feature: not db
from acme_shop.pagination import PageRequest
from acme_shop.schemas.items import ItemIn
from acme_shop.stores.items import MemoryItems

# end

TEA = {"name": "Tea", "description": "Green", "price_cents": 450}


def test_item_made_is_found(client: TestClient) -> None:
    made = client.post("/api/items", json=TEA)

    assert made.status_code == 201
    assert made.json().items() >= TEA.items()
    assert client.get(made.headers["Location"]).json() == made.json()


def test_change_leaves_what_is_not_sent(client: TestClient) -> None:
    item = client.post("/api/items", json=TEA).json()

    changed = client.patch(f"/api/items/{item['id']}", json={"price_cents": 500})

    assert changed.json() == item | {"price_cents": 500}
    assert client.get(f"/api/items/{item['id']}").json() == changed.json()


def test_change_to_null_is_refused(client: TestClient) -> None:
    item = client.post("/api/items", json=TEA).json()

    assert client.patch(f"/api/items/{item['id']}", json={"name": None}).status_code == 422


def test_item_deleted_is_gone(client: TestClient) -> None:
    item = client.post("/api/items", json=TEA).json()

    assert client.delete(f"/api/items/{item['id']}").status_code == 204
    assert client.get(f"/api/items/{item['id']}").status_code == 404


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_item_that_never_was_is_not_found(client: TestClient, method: str) -> None:
    response = client.request(method, f"/api/items/{uuid4()}", json={} if method == "PATCH" else None)

    assert response.status_code == 404
    assert response.json()["detail"] == "There is no such item."


def test_list_comes_in_pages_with_the_newest_first(client: TestClient) -> None:
    for price in range(5):
        client.post("/api/items", json=TEA | {"price_cents": price})

    page = client.get("/api/items", params={"offset": 1, "limit": 2}).json()

    assert [item["price_cents"] for item in page["items"]] == [3, 2]
    assert (page["total"], page["offset"], page["limit"]) == (5, 1, 2)


@pytest.mark.parametrize("query", [{"limit": 101}, {"limit": 0}, {"offset": -1}, {"offset": 10**20}])
def test_page_beyond_the_limits_is_refused(client: TestClient, query: dict[str, int]) -> None:
    assert client.get("/api/items", params=query).status_code == 422


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "  "},
        {"name": "x" * 101},
        {"name": "a\x00b"},
        {"price_cents": -1},
        {"price_cents": 1.5},
    ],
)
def test_item_that_is_not_valid_is_refused(client: TestClient, wrong: dict[str, object]) -> None:
    assert client.post("/api/items", json=TEA | wrong).status_code == 422


def test_one_test_sees_nothing_of_another(client: TestClient) -> None:
    assert client.get("/api/items").json()["total"] == 0


# feature: not db
def test_oldest_item_makes_room_for_one_too_many() -> None:
    async def names() -> list[str]:
        store = MemoryItems(items_max=2)
        for name in ("first", "second", "third"):
            await store.add(ItemIn(name=name, price_cents=1))
        return [item.name for item in (await store.page(PageRequest(offset=0, limit=10))).items]

    assert asyncio.run(names()) == ["third", "second"]


# end
