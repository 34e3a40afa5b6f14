"""Lists in pages: how a client asks for one, and what it gets."""

from typing import Annotated, Generic, TypeVar

from fastapi import Depends, Query
from pydantic import BaseModel

T = TypeVar("T")

LIMIT_MAX = 100
OFFSET_MAX = 100_000
"""Databases walk over what they skip, and have integers that end."""


class PageRequest(BaseModel):
    """Which part of a list is wanted."""

    offset: int
    limit: int


def page_request(
    offset: Annotated[int, Query(ge=0, le=OFFSET_MAX)] = 0,
    limit: Annotated[int, Query(ge=1, le=LIMIT_MAX)] = 20,
) -> PageRequest:
    return PageRequest(offset=offset, limit=limit)


PageRequestDep = Annotated[PageRequest, Depends(page_request)]


class Page(BaseModel, Generic[T]):
    """A part of a list. `total` counts the whole."""

    items: list[T]
    total: int
    offset: int
    limit: int
