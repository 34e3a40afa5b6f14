"""Migrations make what the models say, can be undone, and can be followed by others, also on SQLite."""

import asyncio
import re
import shutil
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import alembic.command
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, insert, inspect, make_url, text
from sqlmodel import Field, SQLModel

from acme_shop.db import UtcDateTime, create_engine
from acme_shop.models.items import Item

# feature: auth
from acme_shop.models.users import User

# end

T = TypeVar("T")

PROJECT = Path(__file__).parents[1]
IMPORT = re.compile(r"(from|import) ")

# What SQLite cannot do by itself: constraints come and go, and columns change, in tables that refer to others.
SECOND = '''
"""Second"""

import sqlalchemy as sa
from alembic import op

revision = "second"
down_revision = "HEAD"


def upgrade() -> None:
    # feature: auth
    with op.batch_alter_table("users") as batch:
        batch.alter_column("email", type_=sa.String(300))
    # end
    with op.batch_alter_table("items") as batch:
        batch.add_column(sa.Column("code", sa.String(20), nullable=True))
        batch.create_unique_constraint(batch.f("uq_items_code"), ["code"])
        batch.alter_column("name", type_=sa.String(150))


def downgrade() -> None:
    with op.batch_alter_table("items") as batch:
        batch.drop_constraint(batch.f("uq_items_code"), type_="unique")
        batch.drop_column("code")
        batch.alter_column("name", type_=sa.String(100))
    # feature: auth
    with op.batch_alter_table("users") as batch:
        batch.alter_column("email", type_=sa.String(254))
    # end
'''


def on(url: str, work: Callable[[Connection], T], *, autocommit: bool = False) -> T:
    """What this work on a connection returns. It is committed."""

    async def run() -> T:
        engine = create_engine(url)
        if autocommit:
            engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        async with engine.begin() as connection:
            result = await connection.run_sync(work)
        await engine.dispose()
        return result

    return asyncio.run(run())


@pytest.fixture
def empty_database(database_url: str, tmp_path: Path) -> Iterator[str]:
    """One without tables: a file, or a database beside that of the other tests."""
    if database_url.startswith("sqlite"):
        yield f"sqlite:///{tmp_path}/migrated.db"
        return
    name = f"test_{uuid4().hex}"
    on(database_url, lambda connection: connection.execute(text(f"CREATE DATABASE {name}")), autocommit=True)
    yield make_url(database_url).set(database=name).render_as_string(hide_password=False)
    on(database_url, lambda connection: connection.execute(text(f"DROP DATABASE {name}")), autocommit=True)


@pytest.fixture
def config(empty_database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Config:
    """Alembic, with a copy of the migrations to which a test may add."""
    monkeypatch.setenv("DATABASE_URL", empty_database)
    shutil.copytree(PROJECT / "migrations", tmp_path / "migrations")
    shutil.copy(PROJECT / "alembic.ini", tmp_path)
    return Config(tmp_path / "alembic.ini")


def tables(url: str) -> set[str]:
    return set(on(url, lambda connection: inspect(connection).get_table_names()))


def add_item(connection: Connection) -> None:
    # feature: auth
    owner = User(email="somebody@example.com", password_hash="")
    connection.execute(insert(User).values(owner.model_dump()))
    # end
    item = Item(
        name="Tea",
        price_cents=1,
        # feature: auth
        owner_id=owner.id,
        # end
    )
    connection.execute(insert(Item).values(item.model_dump()))


def test_migrations_make_what_the_models_say(config: Config) -> None:
    alembic.command.upgrade(config, "head")

    alembic.command.check(config)


def test_migrations_can_be_undone(config: Config, empty_database: str) -> None:
    alembic.command.upgrade(config, "head")
    assert "items" in tables(empty_database)

    alembic.command.downgrade(config, "base")

    assert tables(empty_database) == {"alembic_version"}


def test_second_migration_keeps_the_rows_and_can_be_undone(config: Config, empty_database: str, tmp_path: Path) -> None:
    head = ScriptDirectory.from_config(config).get_current_head()
    alembic.command.upgrade(config, "head")
    on(empty_database, add_item)

    second = tmp_path / "migrations/versions/second.py"
    second.write_text(SECOND.replace("HEAD", str(head)))
    alembic.command.upgrade(config, "head")

    on(empty_database, lambda connection: connection.execute(text("UPDATE items SET code = 'tea'")))
    codes = on(empty_database, lambda connection: inspect(connection).get_unique_constraints("items"))
    assert [code["name"] for code in codes] == ["uq_items_code"]
    alembic.command.downgrade(config, "-1")
    assert on(empty_database, lambda connection: connection.scalar(text("SELECT name FROM items"))) == "Tea"
    second.unlink()
    alembic.command.check(config)


def test_migration_that_is_generated_runs(config: Config, empty_database: str, tmp_path: Path) -> None:
    class Extra(SQLModel, table=True):
        id: int = Field(primary_key=True)
        name: str
        at: datetime = Field(sa_type=UtcDateTime)

    alembic.command.upgrade(config, "head")
    try:
        alembic.command.revision(config, "extra", autogenerate=True)
    finally:
        SQLModel.metadata.remove(SQLModel.metadata.tables["extra"])

    alembic.command.upgrade(config, "head")

    [generated] = (tmp_path / "migrations/versions").glob("*_extra.py")
    imported = {line.split()[1].split(".")[0] for line in generated.read_text().splitlines() if IMPORT.match(line)}
    # It runs as it is when the package has long become another: none of its modules is imported.
    assert "sqlalchemy" in imported
    assert "acme_shop" not in imported
    assert "extra" in tables(empty_database)


def test_sql_can_be_read_before_it_runs(config: Config, capsys: pytest.CaptureFixture[str]) -> None:
    alembic.command.upgrade(config, "head", sql=True)

    assert "CREATE TABLE items" in capsys.readouterr().out
