"""Users and signing in, on the wire."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, EmailStr, Field, SecretStr

Email = Annotated[EmailStr, Field(max_length=254), AfterValidator(str.lower)]
"""In lower case: mail servers that tell `A@` from `a@` are rarer than people who do not."""

NewPassword = Annotated[SecretStr, Field(min_length=12, max_length=128)]
"""Long, of whatever characters (NIST SP 800-63B, section 3.1.1). The upper limit bounds what hashing costs."""


class UserIn(BaseModel):
    email: Email
    password: NewPassword


class UserOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: UUID
    email: str
    created_at: datetime


class PasswordChange(BaseModel):
    current_password: SecretStr = Field(max_length=128)
    new_password: NewPassword


class Credentials(BaseModel):
    """Of somebody who signs in. What cannot be right is not told apart from what is wrong."""

    email: str = Field(max_length=254)
    password: SecretStr = Field(max_length=128)


class TokensOut(BaseModel):
    """What RFC 6749, section 5.1, says."""

    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - the kind of token
    expires_in: int
    refresh_token: str


class RefreshIn(BaseModel):
    refresh_token: str = Field(max_length=100)


class SessionOut(BaseModel):
    """Who is signed in, and what a page sends as `X-CSRF-Token` when it changes something."""

    user: UserOut
    csrf_token: str
