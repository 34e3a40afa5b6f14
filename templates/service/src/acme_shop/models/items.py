"""Items as they are stored."""

from datetime import datetime
from uuid import UUID, uuid4

from sqlmodel import Field, SQLModel

from acme_shop.db import UtcDateTime, now


class Item(SQLModel, table=True):
    __tablename__ = "items"

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    # feature: auth
    owner_id: UUID = Field(foreign_key="users.id", ondelete="CASCADE", index=True)
    # end
    name: str = Field(max_length=100)
    description: str = Field(default="", max_length=2000)
    price_cents: int
    created_at: datetime = Field(default_factory=now, sa_type=UtcDateTime, index=True)
