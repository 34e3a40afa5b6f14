"""What differs between a laptop, a test and production. Nothing else looks at the environment."""

from pydantic import Field

# feature: db
from pydantic.types import SecretStr

# end
from pydantic_settings import BaseSettings, SettingsConfigDict

# feature: auth
SECRET_KEY_PLACEHOLDER = "change-me-change-me-change-me-change-me"  # noqa: S105 - that it is none is the point
SECRET_KEY_CHARS_MIN = 32
"""HMAC with SHA-256 wants a key as long as its output (RFC 7518, section 3.2)."""
# end


class Settings(BaseSettings):
    """Each field is an environment variable of the same name in capitals, or a line in `.env`."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", validate_by_name=True, validate_by_alias=True)

    environment: str = Field("production", validation_alias="FASTAPI_ENV")
    """Whoever forgets to say gets the strict one. `dev run` says development."""
    log_level: str = Field("INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")
    docs: bool = True
    """Whether /docs and /openapi.json are served."""
    allowed_origins: list[str] = []
    """Pages on other origins that may use this service: `https://shop.example.com`."""
    # feature: db

    database_url: SecretStr = SecretStr("sqlite:///acme_shop.db")
    """Secret, since it may hold a password."""
    # end
    # feature: auth

    secret_key: SecretStr = SecretStr(SECRET_KEY_PLACEHOLDER)
    access_token_s: int = Field(15 * 60, gt=0)
    session_s: int = Field(30 * 24 * 3600, gt=0)
    """For how long somebody stays signed in, at most."""
    login_attempts_max: int = Field(10, gt=0)
    """Attempts to sign in within `login_window_s`, for one account, and five times as many for one address."""
    login_window_s: int = Field(15 * 60, gt=0)
    argon2_memory_kib: int = Field(64 * 1024, ge=8)
    argon2_passes: int = Field(3, ge=1)
    """What a guess costs whoever has stolen the hashes; the defaults are the second choice of RFC 9106, section 4."""
    # end
    # feature: realtime

    live_connections_max: int = Field(1000, gt=0)
    """WebSockets and event streams of one worker; each costs memory for as long as it is open."""
    live_connection_s: float = Field(3600, gt=0)
    """One that is older is closed, and its client comes back: to any worker, with the rights that it has then."""
    # end

    @property
    def is_production(self) -> bool:
        return self.environment not in {"development", "test"}

    # feature: auth

    def check_secret_key(self) -> None:
        """Refuses a key that others know, or can guess, where it matters.

        Called when the app is made, and not by the model: commands such as migrations need no key.

        :raises RuntimeError: production has a placeholder, or a short key.
        """
        key = self.secret_key.get_secret_value()
        if self.is_production and (key == SECRET_KEY_PLACEHOLDER or len(key) < SECRET_KEY_CHARS_MIN):
            raise RuntimeError(
                f"SECRET_KEY must be set to {SECRET_KEY_CHARS_MIN} random characters or more in production. "
                'Make one: python -c "import secrets; print(secrets.token_urlsafe(48))"'
            )

    # end
