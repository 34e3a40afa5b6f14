"""What can be set from outside: environment variables, or the file .env. See .env.example."""

from functools import cache

from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Each field is set by a variable: `env_prefix`, and its name in capitals."""

    # A .env often holds variables of other programs as well.
    model_config = SettingsConfigDict(
        env_prefix="ACME_SHOP_",
        env_file=".env",
        extra="ignore",
    )

    greeting: str = "Hello from Acme Shop"


@cache
def get_settings() -> Settings:
    """The settings, read once; tests put others in their place."""
    return Settings()
