"""Words for a resource, and sources out of those of the example."""

from __future__ import annotations

import pytest

from devserver.errors import UsageError
from devserver.scaffold.resource import Resource, out_of_example, resource_of

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    ("text", "one", "many"),
    [
        ("order", "order", "orders"),
        ("orders", "order", "orders"),
        ("Order", "order", "orders"),
        ("OrderLine", "order_line", "order_lines"),
        ("order-lines", "order_line", "order_lines"),
        ("category", "category", "categories"),
        ("categories", "category", "categories"),
        ("box", "box", "boxes"),
        ("boxes", "box", "boxes"),
        ("address", "address", "addresses"),
        ("addresses", "address", "addresses"),
        ("status", "status", "statuses"),
        ("day", "day", "days"),
        ("s", "s", "ses"),
    ],
)
def test_words_of_a_resource(text: str, one: str, many: str) -> None:
    assert resource_of(text) == Resource(one, many)


@pytest.mark.parametrize("text", ["", "1st", "a b", "class", "../x", "_x", "café", "x" * 21, "a.b"])
def test_name_that_will_not_do_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        resource_of(text)
    assert caught.value.hint


LINES = Resource("order_line", "order_lines")
BOOK = Resource("book", "books")


@pytest.mark.parametrize(
    ("source", "resource", "made"),
    [
        ("class ItemIn(BaseModel):", LINES, "class OrderLineIn(BaseModel):"),
        ("class MemoryItems:", LINES, "class MemoryOrderLines:"),
        ('"""Items, over HTTP."""', LINES, '"""Order lines, over HTTP."""'),
        ("def read_item(item_id: ItemId)", LINES, "def read_order_line(order_line_id: OrderLineId)"),
        ("async def list_items(store)", BOOK, "async def list_books(store)"),
        ("def memory_items(connection)", BOOK, "def memory_books(connection)"),
        ('prefix="/items", tags=["items"]', BOOK, 'prefix="/books", tags=["items"]'),
        ("self._items[item.id] = item", BOOK, "self._books[book.id] = book"),
        ("connection.state.items", BOOK, "connection.state.books"),
        ("There is no such item.", BOOK, "There is no such book."),
        ("what an item was. An item", BOOK, "what a book was. A book"),
        ("what an item was", Resource("order", "orders"), "what an order was"),
        # What is only called so.
        ("TEA.items() >= made.items()", BOOK, "TEA.items() >= made.items()"),
        ("Page(items=[], total=0)", BOOK, "Page(items=[], total=0)"),
        ("(await store.page(1)).items, page.items", BOOK, "(await store.page(1)).items, page.items"),
        ('page["items"]', BOOK, 'page["items"]'),
        ("itemise(items_of)", BOOK, "itemise(books_of)"),
    ],
)
def test_source_of_the_example_becomes_one_of_the_resource(source: str, resource: Resource, made: str) -> None:
    assert out_of_example(source, resource) == made
