"""A small bookstore: FastAPI on an SQLite file."""
