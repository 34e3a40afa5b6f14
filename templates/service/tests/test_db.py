"""How the database is reached, and what it keeps."""

import asyncio
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr
from sqlalchemy import inspect, text
from sqlalchemy.dialects import sqlite

from acme_shop.app import create_app
from acme_shop.db import Database, UtcDateTime, database_url
from acme_shop.settings import Settings


@pytest.mark.parametrize(
    ("given", "driver"),
    [
        ("sqlite:///shop.db", "sqlite+aiosqlite"),
        ("postgres://u:p@localhost/shop", "postgresql+psycopg"),
        ("postgresql://u:p@localhost/shop?sslmode=require", "postgresql+psycopg"),
        ("postgresql+asyncpg://u:p@localhost/shop", "postgresql+asyncpg"),
    ],
)
def test_url_gets_the_driver_of_this_project(given: str, driver: str) -> None:
    url = database_url(given)

    assert url.drivername == driver
    assert url.render_as_string(hide_password=False).partition("://")[2] == given.partition("://")[2]


def test_moment_that_sqlite_has_stored_is_the_same_moment() -> None:
    moment = datetime(2030, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    kind, dialect = UtcDateTime(), sqlite.dialect()

    stored = kind.process_bind_param(moment, dialect)

    assert stored is not None
    assert stored.tzinfo is UTC
    assert kind.process_result_value(stored.replace(tzinfo=None), dialect) == moment


def test_writers_of_sqlite_wait_for_each_other(tmp_path: Path) -> None:
    """What reads first and then writes fails at once, if another one may write in between."""

    async def add_one(database: Database) -> None:
        async with database.sessions() as session:
            number = await session.scalar(text("SELECT number FROM counter"))
            await asyncio.sleep(0)
            await session.execute(text("UPDATE counter SET number = :new"), {"new": number + 1})
            await session.commit()

    async def count() -> object:
        database = Database(f"sqlite:///{tmp_path}/counter.db")
        async with database.sessions() as session:
            await session.execute(text("CREATE TABLE counter (number INTEGER)"))
            await session.execute(text("INSERT INTO counter VALUES (0)"))
            await session.commit()
        await asyncio.gather(*(add_one(database) for _ in range(5)))
        async with database.sessions() as session:
            total: object = await session.scalar(text("SELECT number FROM counter"))
        await database.close()
        return total

    assert asyncio.run(count()) == 5


def test_start_makes_no_tables(settings: Settings, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/new.db"
    settings.database_url = SecretStr(url)

    async def tables() -> list[str]:
        database = Database(url)
        async with database.engine.connect() as connection:
            names = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
        await database.close()
        return names

    with TestClient(create_app(settings)) as client:
        assert client.get("/api/health").status_code == 200

    assert asyncio.run(tables()) == []


def test_health_without_a_database_is_503(settings: Settings) -> None:
    # Nothing listens on the first port.
    settings.database_url = SecretStr("postgresql://127.0.0.1:1/shop?connect_timeout=5")

    with TestClient(create_app(settings)) as client:
        response = client.get("/api/health")

    assert response.status_code == 503
    assert response.json()["detail"] == "The database cannot be used now."
