"""Acme Shop: the whole app."""

from typing import Annotated

from fastapi import Depends, FastAPI
from pydantic import BaseModel

from settings import Settings, get_settings

app = FastAPI(title="Acme Shop", version="0.1.0")


class Greeting(BaseModel):
    """What the front page answers."""

    message: str


@app.get("/")
async def read_root(settings: Annotated[Settings, Depends(get_settings)]) -> Greeting:
    """Greets with the words of the settings."""
    return Greeting(message=settings.greeting)
