"""Items on the wire."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from acme_shop.schemas.text import Name, Text

Cents = Annotated[int, Field(strict=True, ge=0, le=100_000_000)]
"""Whole cents: binary fractions cannot hold most prices. Strict, as `false` would be none otherwise."""


class ItemIn(BaseModel):
    """What a client sends to make an item."""

    name: Name
    description: Text = ""
    price_cents: Cents


class ItemUpdate(BaseModel):
    """What a client sends to change an item: what it leaves out stays as it is.

    Nothing may be null: leaving out is the one way to say nothing. The defaults are never read, and come from factories
    so that the API's description does not offer them.
    """

    name: Name = Field(default_factory=str)
    description: Text = Field(default_factory=str)
    price_cents: Cents = Field(default_factory=int)


class ItemOut(BaseModel):
    """What a client gets."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    name: str
    description: str
    price_cents: int
    created_at: datetime
