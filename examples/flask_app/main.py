"""Flask: scripts/dev run examples/flask_app"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flask import Flask, Response, jsonify, request, stream_with_context

app = Flask(__name__)


@app.get("/")
def hello() -> Response:
    """Greets whoever asks."""
    return jsonify(message=f"Hello, {request.args.get('name', 'world')}!")


@app.get("/count")
def count() -> Response:
    """Counts, one line at a time."""

    def lines() -> Iterator[str]:
        for number in range(int(request.args.get("to", "3"))):
            yield f"{number + 1}\n"

    return Response(stream_with_context(lines()), mimetype="text/plain")


@app.post("/upload")
def upload() -> dict[str, Any]:
    """Takes a file from a form: curl -F file=@FILE http://127.0.0.1:8000/upload"""
    file = request.files["file"]
    return {"name": file.filename, "bytes": len(file.read())}
