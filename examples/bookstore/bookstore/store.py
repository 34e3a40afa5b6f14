"""The books, in SQLite.

One connection serves all requests. SQLite is happy with that as long as one thread uses it at a time, which the lock
ensures: the endpoints run in a pool of threads.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_SCHEMA = """
CREATE TABLE IF NOT EXISTS book (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    title TEXT NOT NULL,
    author TEXT NOT NULL,
    year INTEGER NOT NULL,
    price INTEGER NOT NULL
)
"""

_FIRST_BOOKS = [
    ("Frankenstein", "Mary Shelley", 1818, 990),
    ("Moby-Dick", "Herman Melville", 1851, 1490),
    ("Middlemarch", "George Eliot", 1871, 1690),
    ("The Time Machine", "H. G. Wells", 1895, 790),
    ("Mrs Dalloway", "Virginia Woolf", 1925, 1190),
]

_COLUMNS = ("title", "author", "year", "price")


class BookNotFoundError(LookupError):
    """There is no book with this number."""


class Store:
    """The books in one SQLite file; close it when done.

    :param path: the file, made with a few books in it when it does not exist.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(path, check_same_thread=False)
        self._connection.row_factory = sqlite3.Row
        with self._using() as connection:
            is_new = not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'book'").fetchone()
            connection.execute(_SCHEMA)
            if is_new:
                connection.executemany(
                    "INSERT INTO book (title, author, year, price) VALUES (?, ?, ?, ?)", _FIRST_BOOKS
                )

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._connection.close()

    def search(self, words: str = "", *, limit: int, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
        """Books whose title or author holds ``words``, by title, and how many there are in all."""
        escaped = words.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        where = "WHERE title LIKE :like ESCAPE '\\' OR author LIKE :like ESCAPE '\\'"
        values = {"like": f"%{escaped}%", "limit": limit, "offset": offset}
        with self._using() as connection:
            rows = connection.execute(
                f"SELECT * FROM book {where} ORDER BY title COLLATE NOCASE, id LIMIT :limit OFFSET :offset", values
            ).fetchall()
            total = connection.execute(f"SELECT count(*) FROM book {where}", values).fetchone()[0]
        return [dict(row) for row in rows], total

    def get(self, book_id: int) -> dict[str, Any]:
        """One book.

        :raises BookNotFoundError: there is none with this number.
        """
        with self._using() as connection:
            return _found(connection.execute("SELECT * FROM book WHERE id = ?", [book_id]).fetchone())

    def add(self, book: Mapping[str, Any]) -> dict[str, Any]:
        """Adds a book and returns it with its number."""
        with self._using() as connection:
            cursor = connection.execute(
                "INSERT INTO book (title, author, year, price) VALUES (:title, :author, :year, :price) RETURNING *",
                book,
            )
            return _found(cursor.fetchone())

    def change(self, book_id: int, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Changes some fields of a book and returns it.

        :raises BookNotFoundError: there is none with this number.
        """
        with self._using() as connection:
            book = {**_found(connection.execute("SELECT * FROM book WHERE id = ?", [book_id]).fetchone()), **changes}
            assignments = ", ".join(f"{column} = :{column}" for column in _COLUMNS)
            connection.execute(f"UPDATE book SET {assignments} WHERE id = :id", book)
            return book

    def remove(self, book_id: int) -> None:
        """Removes a book.

        :raises BookNotFoundError: there is none with this number.
        """
        with self._using() as connection:
            _found(connection.execute("DELETE FROM book WHERE id = ? RETURNING *", [book_id]).fetchone())

    @contextmanager
    def _using(self) -> Iterator[sqlite3.Connection]:
        # As a context manager the connection commits, or rolls back when an exception leaves the block.
        with self._lock, self._connection:
            yield self._connection


def _found(row: sqlite3.Row | None) -> dict[str, Any]:
    if row is None:
        raise BookNotFoundError
    return dict(row)
