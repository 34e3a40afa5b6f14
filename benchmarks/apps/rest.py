"""A FastAPI app with one ordinary endpoint: a path parameter, a query parameter and a response model."""

from __future__ import annotations

from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()


class Item(BaseModel):
    """What the endpoint answers with."""

    id: int
    name: str
    tags: list[str]
    price: float


@app.get("/items/{item_id}")
async def read_item(item_id: int, q: str = "") -> Item:
    """One item, made up."""
    return Item(id=item_id, name=q or "nameless", tags=["a", "b", "c"], price=9.5)


@app.get("/")
async def root() -> dict[str, str]:
    """What start-up is measured with."""
    return {"message": "Hello, world!"}
