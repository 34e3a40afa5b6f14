"""Pyramid, put together from a Paste file: scripts/dev run examples/pyramid_app

With the settings of the file's server section, in the folder: dev prod --paste development.ini
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from paste.deploy import loadapp
from pyramid.config import Configurator
from pyramid.request import Request  # noqa: TC002 - what a view takes


def hello(request: Request) -> dict[str, str]:
    """Greets whoever asks."""
    greeting = request.registry.settings["greeting"]
    return {"message": f"{greeting}, {request.matchdict['name']}!"}


def main(_: dict[str, str], **settings: Any) -> Any:
    """The factory that development.ini names."""
    with Configurator(settings=settings) as config:
        config.add_route("hello", "/hello/{name}")
        config.add_view(hello, route_name="hello", renderer="json")
        return config.make_wsgi_app()


app = loadapp(f"config:{Path(__file__).with_name('development.ini')}")
