"""Settings come from the environment, and are strict where nobody says otherwise."""

from pathlib import Path

import pytest

from acme_shop.settings import Settings


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder without .env, and an environment without settings."""
    monkeypatch.chdir(tmp_path)
    for name in ("FASTAPI_ENV", *Settings.model_fields):
        monkeypatch.delenv(name.upper(), raising=False)
    return tmp_path


def test_nothing_said_is_production() -> None:
    assert Settings().is_production


@pytest.mark.parametrize("environment", ["staging", "production", "typo"])
def test_environment_that_is_not_known_is_production(monkeypatch: pytest.MonkeyPatch, environment: str) -> None:
    monkeypatch.setenv("FASTAPI_ENV", environment)

    assert Settings().is_production


def test_env_file_is_read_and_may_hold_more(elsewhere: Path) -> None:
    (elsewhere / ".env").write_text("FASTAPI_ENV=development\nLOG_LEVEL=DEBUG\nOTHER=1\n")

    settings = Settings()

    assert not settings.is_production
    assert settings.log_level == "DEBUG"


def test_environment_wins_over_env_file(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (elsewhere / ".env").write_text("LOG_LEVEL=DEBUG\n")
    monkeypatch.setenv("LOG_LEVEL", "ERROR")

    assert Settings().log_level == "ERROR"


def test_example_names_settings_that_exist() -> None:
    example = Path(__file__).parents[1] / ".env.example"
    lines = [line for line in example.read_text().splitlines() if line and not line.startswith("#")]

    names = {line.split("=")[0] for line in lines}

    assert names <= {"FASTAPI_ENV", *(name.upper() for name in Settings.model_fields)}
    Settings(_env_file=example)


# feature: db
def test_password_of_the_database_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://shop:hunter2@localhost/shop")

    assert "hunter2" not in repr(Settings())


# end
