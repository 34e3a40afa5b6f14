"""Users as they are stored."""

from datetime import datetime
from uuid import UUID, uuid4

from sqlmodel import Field, SQLModel

from acme_shop.db import UtcDateTime, now


class User(SQLModel, table=True):
    __tablename__ = "users"

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    email: str = Field(max_length=254, unique=True)
    """In lower case."""
    password_hash: str = Field(max_length=255)
    is_active: bool = True
    created_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
