"""The endpoints. They are plain functions, so FastAPI runs them in threads and SQLite never holds up the event loop."""

from __future__ import annotations

from html import escape
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response, status
from fastapi.responses import HTMLResponse

from bookstore.models import Book, BookChange, NewBook, Page
from bookstore.store import BookNotFoundError, Store

router = APIRouter()


def get_store(request: Request) -> Store:
    """The store that the lifespan has opened."""
    store: Store = request.state.store
    return store


StoreDependency = Annotated[Store, Depends(get_store)]


@router.get("/", response_class=HTMLResponse, include_in_schema=False)
def index(store: StoreDependency) -> str:
    """A page with the books."""
    books, total = store.search(limit=100)
    rows = "".join(
        f"<tr><td>{escape(book['title'])}<td>{escape(book['author'])}<td>{book['year']}<td>{book['price'] / 100:.2f} €"
        for book in books
    )
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Bookstore</title>
<style>
  :root {{ color-scheme: light dark; }}
  body {{ font: 1rem/1.6 system-ui, sans-serif; max-width: 44rem; margin: 3rem auto; padding: 0 1rem; }}
  table {{ border-collapse: collapse; width: 100%; }}
  td, th {{ text-align: left; padding: .4rem .6rem; border-bottom: 1px solid #8884; }}
</style>
<h1>Bookstore</h1>
<p>{total} books. Add one in the <a href="docs">interactive documentation</a>.</p>
<table><tr><th>Title<th>Author<th>Year<th>Price{rows}</table>
"""


@router.get("/books", tags=["books"])
def list_books(
    store: StoreDependency,
    q: Annotated[str, Query(max_length=100, description="Words in the title or the author's name.")] = "",
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    offset: Annotated[int, Query(ge=0)] = 0,
) -> Page:
    """Lists books by title, a page at a time."""
    books, total = store.search(q, limit=limit, offset=offset)
    return Page(books=[Book(**book) for book in books], total=total, limit=limit, offset=offset)


@router.get("/books/{book_id}", tags=["books"])
def read_book(book_id: int, store: StoreDependency) -> Book:
    """Gives one book."""
    try:
        return Book(**store.get(book_id))
    except BookNotFoundError:
        raise not_found(book_id) from None


@router.post("/books", tags=["books"], status_code=status.HTTP_201_CREATED)
def create_book(book: NewBook, store: StoreDependency, request: Request, response: Response) -> Book:
    """Adds a book."""
    created = Book(**store.add(book.model_dump()))
    response.headers["Location"] = str(request.url_for("read_book", book_id=created.id))
    return created


@router.patch("/books/{book_id}", tags=["books"])
def update_book(book_id: int, change: BookChange, store: StoreDependency) -> Book:
    """Changes the given fields of a book."""
    changes: dict[str, Any] = change.model_dump(exclude_none=True)
    try:
        return Book(**store.change(book_id, changes))
    except BookNotFoundError:
        raise not_found(book_id) from None


@router.delete("/books/{book_id}", tags=["books"], status_code=status.HTTP_204_NO_CONTENT)
def delete_book(book_id: int, store: StoreDependency) -> None:
    """Removes a book."""
    try:
        store.remove(book_id)
    except BookNotFoundError:
        raise not_found(book_id) from None


def not_found(book_id: int) -> HTTPException:
    """The answer when there is no such book."""
    return HTTPException(status.HTTP_404_NOT_FOUND, f"There is no book {book_id}.")
