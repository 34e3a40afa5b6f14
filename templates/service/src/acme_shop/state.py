"""What the app's lifespan hands to requests."""

from typing import Annotated

from fastapi import Depends
from fastapi.requests import HTTPConnection

from acme_shop.settings import Settings


def get_settings(connection: HTTPConnection) -> Settings:
    settings: Settings = connection.state.settings
    return settings


SettingsDep = Annotated[Settings, Depends(get_settings)]
