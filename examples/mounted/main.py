"""FastAPI with a Flask app beside it, in one process: scripts/dev run examples/mounted

This is how an old application moves to a new framework, one path after the other.
"""

from __future__ import annotations

import flask
from fastapi import FastAPI

from devserver import WSGIMiddleware

old = flask.Flask("old")


@old.get("/")
def greeting() -> str:
    """What has not moved yet."""
    return f"Flask, mounted at {flask.request.script_root}"


app = FastAPI(title="Mounted")


@app.get("/")
async def hello() -> dict[str, str]:
    """What has."""
    return {"message": "FastAPI"}


app.mount("/old", WSGIMiddleware(old))
