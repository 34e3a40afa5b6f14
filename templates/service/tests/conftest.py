"""What tests share: an app whose lifespan runs, and a client of it."""

# feature: db
import os

# end
from collections.abc import Iterator

# feature: db
from pathlib import Path

# end
# feature: db
import alembic.command

# end
import pytest

# feature: db
from alembic.config import Config
from anyio.from_thread import BlockingPortal

# end
from fastapi import FastAPI
from fastapi.testclient import TestClient

# feature: db
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncConnection

# end
from acme_shop.app import create_app

# feature: auth
from acme_shop.auth.sessions import begin_session
from acme_shop.auth.tokens import access_token

# end
# feature: db
from acme_shop.db import Database

# end
# feature: auth
from acme_shop.models.users import User

# end
from acme_shop.settings import Settings


@pytest.fixture
def settings(
    monkeypatch: pytest.MonkeyPatch,
    # feature: db
    database_url: str,
    # end
) -> Settings:
    """Settings of a test: the environment of whoever runs it does not count."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    return Settings(
        _env_file=None,
        environment="test",
        # feature: db
        database_url=SecretStr(database_url),
        # end
        # feature: auth
        secret_key=SecretStr("a key of tests that is long enough for HMAC"),
        # Hashes that cost nothing: what they protect is not secret.
        argon2_memory_kib=8,
        argon2_passes=1,
        # end
    )


@pytest.fixture
def app(settings: Settings) -> FastAPI:
    return create_app(settings)


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    """A client of the app, whose lifespan runs meanwhile."""
    # feature: auth
    # It is signed in, with an access token.
    # end
    with TestClient(app) as client:
        # feature: db
        connection = begin(client)
        # end
        # feature: auth
        sign_in(client)
        # end
        yield client
        # feature: db
        roll_back(client, connection)
        # end


# feature: db
@pytest.fixture(scope="session")
def database_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database with the schema that the migrations make: SQLite, or what TEST_DATABASE_URL names.

    That is another name than DATABASE_URL on purpose: nobody should test on his data by accident.
    """
    url = os.environ.get("TEST_DATABASE_URL") or f"sqlite:///{tmp_path_factory.mktemp('db')}/test.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATABASE_URL", url)
        alembic.command.upgrade(Config(Path(__file__).parents[1] / "alembic.ini"), "head")
    return url


def begin(client: TestClient) -> AsyncConnection:
    """Puts all that the app does into one transaction.

    What the app takes for transactions are savepoints in it, so that its commits and rollbacks work as ever.
    """
    database: Database = client.app_state["database"]

    async def connect() -> AsyncConnection:
        connection = await database.engine.connect()
        await connection.begin()
        database.sessions.configure(bind=connection, join_transaction_mode="create_savepoint")
        return connection

    return portal_of(client).call(connect)


def roll_back(client: TestClient, connection: AsyncConnection) -> None:
    """Undoes what a test has done."""
    portal_of(client).call(connection.rollback)
    portal_of(client).call(connection.close)


# feature: auth
def sign_in(client: TestClient) -> None:
    """Has the client send the access token of a new user."""
    settings: Settings = client.app_state["settings"]

    async def token() -> str:
        async with client.app_state["database"].sessions() as session:
            user = User(email="tester@example.com", password_hash="")
            session.add(user)
            await session.flush()
            login = await begin_session(session, settings, user)
            await session.commit()
            return access_token(settings, user_id=user.id, session_id=login.id)

    client.headers["Authorization"] = f"Bearer {portal_of(client).call(token)}"


# end
def portal_of(client: TestClient) -> BlockingPortal:
    """Runs coroutines on the loop that the app runs on."""
    assert client.portal is not None
    return client.portal


# end
