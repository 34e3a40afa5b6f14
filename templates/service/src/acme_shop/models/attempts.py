"""Attempts to sign in: counted in the database, because each worker sees only some of them."""

from datetime import datetime
from uuid import UUID, uuid4

from sqlmodel import Field, SQLModel

from acme_shop.db import UtcDateTime, now


class LoginAttempt(SQLModel, table=True):
    __tablename__ = "login_attempts"

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    key: str = Field(max_length=64, index=True)
    """A hash of whom, or where from: this is no list of who tried what."""
    at: datetime = Field(default_factory=now, sa_type=UtcDateTime, index=True)
