"""A settings class that refuses to be made names the variables, and never a value."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from devserver.app.load import load_app
from devserver.app.settings_error import explain_settings
from devserver.config.discovery import find_target
from devserver.config.settings import Config
from devserver.errors import AppLoadError
from devserver.events import Failure
from tests.support.projects import write_files

MAIN = "from app.config import settings\nasync def app(scope, receive, send): ...\n"
HEAD = """from pydantic import AliasChoices, BaseModel, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

"""


def refusal(project: Path, config: str, app: str = "main:app", main: str = MAIN, put_in: str = ".env") -> AppLoadError:
    files: Mapping[str, str] = {"main.py": main, "app/__init__.py": "", "app/config.py": HEAD + config}
    write_files(project, files)
    with pytest.raises(AppLoadError) as caught:
        load_app(find_target(Config(app), project), put_in=put_in)
    return caught.value


def test_missing_variable_is_named_with_its_place(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY", "hunter2-hunter2")
    error = refusal(
        project, "class Settings(BaseSettings):\n    api_key: str\n    database_url: str\n\nsettings = Settings()\n"
    )
    assert error.message == "DATABASE_URL is missing: declared in app/config.py:6; put it in .env."
    assert error.hint == ""
    assert error.failure is not None
    assert error.failure.message == "DATABASE_URL (missing)"
    assert "hunter2" not in repr(error.failure)
    assert error.failure.traceback.rstrip().endswith("ValidationError: DATABASE_URL (missing)")


def test_several_are_told_together_and_invalid_ones_apart(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_PORT", "hunter2")
    error = refusal(
        project,
        "class Settings(BaseSettings):\n    model_config = SettingsConfigDict(env_prefix='shop_')\n"
        "    port: int\n    key: str\n    url: str\n\nsettings = Settings()\n",
        put_in="the environment",
    )
    assert error.message == (
        "SHOP_KEY and SHOP_URL are missing: declared in app/config.py:7 and app/config.py:8; "
        "put them in the environment. SHOP_PORT (int_parsing) is not valid: declared in app/config.py:6."
    )
    assert error.hint == "dev env why SHOP_PORT shows where it is set."
    assert "hunter2" not in repr(error.failure)


@pytest.mark.parametrize(
    ("config", "named"),
    [
        (
            "class Settings(BaseSettings):\n    url: str = Field(validation_alias='DB')\n",
            "DB is missing: declared in app/config.py:5",
        ),
        (
            "class Settings(BaseSettings):\n    url: str = Field(validation_alias=AliasChoices('DB_A', 'DB_B'))\n",
            "DB_A is missing: declared in app/config.py:5",
        ),
        (
            (
                "class Inner(BaseModel):\n    url: str\n\nclass Settings(BaseSettings):\n"
                "    model_config = SettingsConfigDict(env_nested_delimiter='__')\n"
                "    db: Inner = Field(default_factory=dict, validate_default=True)\n"
            ),
            "DB__URL is missing: declared in app/config.py:9",
        ),
        (
            "class Settings(BaseSettings):\n    model_config = SettingsConfigDict(case_sensitive=True)\n    Url: str\n",
            "Url is missing: declared in app/config.py:6",
        ),
        (
            (
                "class Base(BaseSettings):\n    url: str\n\n"
                "class Settings(Base):\n    def __init__(self):\n        super().__init__()\n"
            ),
            "URL is missing: declared in app/config.py:5",
        ),
        (
            "exec('class Settings(BaseSettings):\\n    url: str')\n",
            "URL is missing: declared in app.config.Settings",
        ),
    ],
)
def test_variable_is_named_as_it_is_read(project: Path, config: str, named: str) -> None:
    assert refusal(project, f"{config}\nsettings = Settings()\n").message == f"{named}; put it in .env."


def test_factory_that_reads_its_settings_is_explained(project: Path) -> None:
    main = "from app.config import Settings\ndef make():\n    Settings()\n"
    error = refusal(project, "class Settings(BaseSettings):\n    url: str\n", "main:make()", main)
    assert error.message == "URL is missing: declared in app/config.py:5; put it in .env."


def test_other_errors_keep_their_words(project: Path) -> None:
    error = refusal(project, "class Model(BaseModel):\n    url: str\n\nsettings = Model()\n")
    assert error.message.startswith('Could not import "main:app": pydantic_core')
    assert refusal(project, "settings = 1 / 0", main=MAIN).message.endswith("(app/config.py:4)")


def test_exception_that_cannot_be_asked_keeps_its_words() -> None:
    class Odd(Exception):
        @property
        def errors(self) -> object:
            raise RuntimeError

    assert "pydantic_settings" in sys.modules
    assert explain_settings(Odd(), Failure("Odd", "", ()), ".env") is None
