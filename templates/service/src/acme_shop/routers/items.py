"""Items: an example of a resource."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, HTTPException, Path, Request, Response, status

from acme_shop.pagination import Page, PageRequestDep
from acme_shop.schemas.items import ItemIn, ItemOut, ItemUpdate
from acme_shop.stores.items import ItemStoreDep

router = APIRouter(prefix="/items", tags=["items"])

ItemId = Annotated[UUID, Path(description="What an item was given when it was made.")]


@router.get("")
async def list_items(store: ItemStoreDep, page: PageRequestDep) -> Page[ItemOut]:
    """Items, the newest first."""
    return await store.page(page)


@router.post("", status_code=status.HTTP_201_CREATED)
async def create_item(new: ItemIn, store: ItemStoreDep, request: Request, response: Response) -> ItemOut:
    item = await store.add(new)
    response.headers["Location"] = request.app.url_path_for("read_item", item_id=str(item.id))
    return item


@router.get("/{item_id}")
async def read_item(item_id: ItemId, store: ItemStoreDep) -> ItemOut:
    return _found(await store.get(item_id))


@router.patch("/{item_id}")
async def update_item(item_id: ItemId, changes: ItemUpdate, store: ItemStoreDep) -> ItemOut:
    """Changes what is sent, and leaves the rest."""
    return _found(await store.update(item_id, changes))


@router.delete("/{item_id}", status_code=status.HTTP_204_NO_CONTENT)
async def delete_item(item_id: ItemId, store: ItemStoreDep) -> None:
    if not await store.delete(item_id):
        raise _missing()


def _found(item: ItemOut | None) -> ItemOut:
    if item is None:
        raise _missing()
    return item


def _missing() -> HTTPException:
    return HTTPException(status.HTTP_404_NOT_FOUND, "There is no such item.")
