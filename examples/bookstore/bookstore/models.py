"""What goes into the API and what comes out."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Title = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Author = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]
Year = Annotated[int, Field(ge=1450, le=2100, description="The year it was first printed.")]
Cents = Annotated[int, Field(ge=0, le=1_000_000, description="The price in cents.")]


class NewBook(BaseModel):
    """A book as a client describes it."""

    model_config = ConfigDict(extra="forbid")

    title: Title
    author: Author
    year: Year
    price: Cents


class BookChange(BaseModel):
    """The fields of a book to change; those left out stay as they are."""

    model_config = ConfigDict(extra="forbid")

    title: Title | None = None
    author: Author | None = None
    year: Year | None = None
    price: Cents | None = None


class Book(NewBook):
    """A book in the store."""

    id: int


class Page(BaseModel):
    """Some of the books that were asked for."""

    books: list[Book]
    total: int = Field(description="How many there are on all pages.")
    limit: int
    offset: int
