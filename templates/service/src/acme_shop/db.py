"""The database: one engine for the process, one session for each request."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Depends
from fastapi.requests import HTTPConnection
from sqlalchemy import DateTime, Dialect, Engine, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.types import TypeDecorator
from sqlmodel import SQLModel

# SQLite changes a table by building it anew, for which Alembic must know the constraints by name.
SQLModel.metadata.naming_convention = {
    "ix": "ix_%(column_0_N_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

_DRIVERS = {
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "sqlite": "sqlite+aiosqlite",
}


class UtcDateTime(TypeDecorator[datetime]):
    """A moment. SQLite forgets time zones, so what is stored is UTC, and what is read says so."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, _: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def now() -> datetime:
    return datetime.now(UTC)


def database_url(text: str) -> URL:
    """The URL with the driver that this project has: `postgres://…` is what most providers hand out."""
    url = make_url(text)
    return url.set(drivername=_DRIVERS.get(url.drivername, url.drivername))


class Database:
    """Owns the pool of connections. Makes none before one is needed, and never changes the schema: migrations do."""

    def __init__(self, url: str) -> None:
        self.engine = create_engine(url)
        # Without expire_on_commit=False an attribute that is read after a commit would ask the database again,
        # which asynchronous code cannot do by the way.
        self.sessions = async_sessionmaker(self.engine, expire_on_commit=False)

    async def close(self) -> None:
        await self.engine.dispose()


def create_engine(text: str, *, foreign_keys: bool = True) -> AsyncEngine:
    """An engine for a URL, set up for what the kind of database needs.

    :param foreign_keys: whether SQLite, which does not by itself, looks after them.
    """
    url = database_url(text)
    if url.get_backend_name() != "sqlite":
        # A connection that the database has closed meanwhile is noticed before it is used.
        return create_async_engine(url, pool_pre_ping=True)
    engine = create_async_engine(url)
    _set_up_sqlite(engine.sync_engine, foreign_keys)
    return engine


def _set_up_sqlite(engine: Engine, foreign_keys: bool) -> None:
    @event.listens_for(engine, "connect")
    def set_up(connection: Any, _: Any) -> None:
        # The driver is not to begin transactions by itself: it does so too late for savepoints.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA foreign_keys = {int(foreign_keys)}")
        # Readers do not wait for the writer, and the writer not for them.
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA busy_timeout = 5000")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        # A transaction that begins with reading and writes later fails when another one has written between:
        # the lock is taken at once, and who comes second waits.
        connection.exec_driver_sql("BEGIN IMMEDIATE")


async def get_session(connection: HTTPConnection) -> AsyncIterator[AsyncSession]:
    """A session. What is not committed is rolled back."""
    database: Database = connection.state.database
    async with database.sessions() as session:
        yield session


# "function": the connection goes back to the pool before the response is sent. A client that is slow, or a stream,
# does not keep it.
SessionDep = Annotated[AsyncSession, Depends(get_session, scope="function")]
