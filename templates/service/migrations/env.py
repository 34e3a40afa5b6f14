"""Run by Alembic: connects, and migrates. The app never does; a command or a job calls `alembic upgrade head`."""

import asyncio
from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlalchemy import Connection
from sqlmodel import SQLModel

import acme_shop.models  # noqa: F401 - tables are known once their modules are imported
from acme_shop.db import UtcDateTime, create_engine, database_url
from acme_shop.settings import Settings


def render_item(kind: str, item: Any, _: AutogenContext) -> str | Literal[False]:
    """Migrations name what the database has, not a class of the app, which may change after them."""
    if kind == "type" and isinstance(item, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    return False


OPTIONS: dict[str, Any] = {
    "target_metadata": SQLModel.metadata,
    "render_item": render_item,
    # SQLite cannot alter most of a table: it is copied into a new one.
    "render_as_batch": True,
    "compare_type": True,
}


def migrate(connection: Connection) -> None:
    context.configure(connection=connection, **OPTIONS)
    with context.begin_transaction():
        context.run_migrations()


async def connect_and_migrate(url: str) -> None:
    # A table that is built anew is dropped in between, and would take the rows that refer to it along.
    engine = create_engine(url, foreign_keys=False)
    async with engine.begin() as connection:
        await connection.run_sync(migrate)
    await engine.dispose()


def print_sql(url: str) -> None:
    """`alembic upgrade head --sql`: for those who may not run what they have not read."""
    context.configure(url=database_url(url), literal_binds=True, **OPTIONS)
    with context.begin_transaction():
        context.run_migrations()


def run(url: str) -> None:
    if context.is_offline_mode():
        print_sql(url)
    else:
        asyncio.run(connect_and_migrate(url))


run(Settings().database_url.get_secret_value())
