"""Who is signed in, and by what. Nothing here lets anybody in: secrets are stored as hashes."""

from datetime import datetime
from uuid import UUID, uuid4

from sqlmodel import Field, SQLModel

from acme_shop.db import UtcDateTime, now


class LoginSession(SQLModel, table=True):
    """From signing in to signing out. Tokens and cookies are worth nothing without it."""

    __tablename__ = "login_sessions"

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    user_id: UUID = Field(foreign_key="users.id", ondelete="CASCADE", index=True)
    cookie_hash: str | None = Field(default=None, max_length=64, unique=True)
    """None for clients that have tokens."""
    created_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime)
    revoked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class RefreshToken(SQLModel, table=True):
    """Good for one use. A second one means that somebody has a copy."""

    __tablename__ = "refresh_tokens"

    token_hash: str = Field(max_length=64, primary_key=True)
    session_id: UUID = Field(foreign_key="login_sessions.id", ondelete="CASCADE", index=True)
    created_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
