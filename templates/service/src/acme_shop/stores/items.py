"""Where items are kept. Routes know `ItemStore` alone: another place needs no change there."""

# feature: not db
import uuid
from datetime import UTC, datetime

# end
from typing import Annotated, Protocol
from uuid import UUID

from fastapi import Depends

# feature: not db
from fastapi.requests import HTTPConnection

# end
# feature: db
from sqlalchemy import func
from sqlmodel import col, select

# end
# feature: auth
from acme_shop.auth.current_user import CurrentUser

# end
# feature: db
from acme_shop.db import SessionDep
from acme_shop.models.items import Item

# end
from acme_shop.pagination import Page, PageRequest
from acme_shop.schemas.items import ItemIn, ItemOut, ItemUpdate


class ItemStore(Protocol):
    """Keeps items. Of one that is not there, the answer is None, or False."""

    async def page(self, request: PageRequest) -> Page[ItemOut]: ...

    async def add(self, new: ItemIn) -> ItemOut: ...

    async def get(self, item_id: UUID) -> ItemOut | None: ...

    async def update(self, item_id: UUID, changes: ItemUpdate) -> ItemOut | None: ...

    async def delete(self, item_id: UUID) -> bool: ...


# feature: not db
class MemoryItems:
    """Keeps items until the process ends, and for itself: with several workers each has its own.

    :param items_max: of more than these the oldest go, so that nobody can fill the memory.
    """

    def __init__(self, items_max: int = 10_000) -> None:
        self._items_max = items_max
        self._items: dict[UUID, ItemOut] = {}

    async def page(self, request: PageRequest) -> Page[ItemOut]:
        newest_first = list(reversed(self._items.values()))
        return Page(
            items=newest_first[request.offset : request.offset + request.limit],
            total=len(self._items),
            **request.model_dump(),
        )

    async def add(self, new: ItemIn) -> ItemOut:
        item = ItemOut(id=uuid.uuid4(), created_at=datetime.now(UTC), **new.model_dump())
        self._items[item.id] = item
        if len(self._items) > self._items_max:
            del self._items[next(iter(self._items))]
        return item

    async def get(self, item_id: UUID) -> ItemOut | None:
        return self._items.get(item_id)

    async def update(self, item_id: UUID, changes: ItemUpdate) -> ItemOut | None:
        item = self._items.get(item_id)
        if item is None:
            return None
        changed = item.model_copy(update=changes.model_dump(exclude_unset=True))
        self._items[item_id] = changed
        return changed

    async def delete(self, item_id: UUID) -> bool:
        return self._items.pop(item_id, None) is not None


def memory_items(connection: HTTPConnection) -> ItemStore:
    """The store that the app's lifespan has made."""
    store: MemoryItems = connection.state.items
    return store


# end
# feature: db
class DatabaseItems:
    """Keeps items in the database."""

    def __init__(
        self,
        session: SessionDep,
        # feature: auth
        user: CurrentUser,
        # end
    ) -> None:
        self._session = session
        self._visible = select(Item)
        # feature: auth
        # Everybody has items of his own; those of others are not there.
        self._owner_id = user.id
        self._visible = self._visible.where(col(Item.owner_id) == user.id)
        # end

    async def page(self, request: PageRequest) -> Page[ItemOut]:
        total = await self._session.scalar(select(func.count()).select_from(self._visible.subquery()))
        # The id decides between items of one moment; without it a page could repeat what another has shown.
        newest_first = self._visible.order_by(col(Item.created_at).desc(), col(Item.id))
        rows = await self._session.scalars(newest_first.offset(request.offset).limit(request.limit))
        return Page(
            items=[ItemOut.model_validate(row) for row in rows],
            total=total or 0,
            **request.model_dump(),
        )

    async def add(self, new: ItemIn) -> ItemOut:
        item = Item(
            **new.model_dump(),
            # feature: auth
            owner_id=self._owner_id,
            # end
        )
        self._session.add(item)
        await self._session.commit()
        return ItemOut.model_validate(item)

    async def get(self, item_id: UUID) -> ItemOut | None:
        item = await self._find(item_id)
        return None if item is None else ItemOut.model_validate(item)

    async def update(self, item_id: UUID, changes: ItemUpdate) -> ItemOut | None:
        item = await self._find(item_id)
        if item is None:
            return None
        item.sqlmodel_update(changes.model_dump(exclude_unset=True))
        await self._session.commit()
        return ItemOut.model_validate(item)

    async def delete(self, item_id: UUID) -> bool:
        item = await self._find(item_id)
        if item is None:
            return False
        await self._session.delete(item)
        await self._session.commit()
        return True

    async def _find(self, item_id: UUID) -> Item | None:
        item: Item | None = await self._session.scalar(self._visible.where(col(Item.id) == item_id))
        return item


# end
ItemStoreDep = Annotated[
    ItemStore,
    # feature: not db
    Depends(memory_items),
    # end
    # feature: db
    Depends(DatabaseItems),
    # end
]
