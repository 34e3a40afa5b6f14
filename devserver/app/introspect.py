"""What the loaded app tells about itself, when it is a FastAPI or Starlette app.

Never imports either: an app made with them has brought them into ``sys.modules``.
"""

from __future__ import annotations

import sys
from typing import Any

# Middleware wraps an app in its ``app`` attribute; deeper onions than this are cycles.
_WRAPPERS_MAX = 32


def docs_path(app: object) -> str | None:
    """Path of the interactive documentation of the FastAPI app inside ``app``, or None.

    :param app: the app, possibly wrapped in middleware.
    """
    found = _unwrap(app, "fastapi", "FastAPI")
    if found is None or not getattr(found, "openapi_url", None):
        return None
    path = getattr(found, "docs_url", None) or getattr(found, "redoc_url", None)
    return path if isinstance(path, str) else None


def is_starlette(app: object) -> bool:
    """Whether there is a Starlette app, hence also a FastAPI one, inside ``app``: it takes part in lifespan."""
    return _unwrap(app, "starlette.applications", "Starlette") is not None


def _unwrap(app: object, module: str, name: str) -> Any:
    kind = getattr(sys.modules.get(module), name, None)
    if not isinstance(kind, type):
        return None
    for _ in range(_WRAPPERS_MAX):
        if isinstance(app, kind):
            return app
        # Read past __getattr__: a proxy object must not be woken for this.
        app = getattr(app, "__dict__", {}).get("app")
        if app is None:
            return None
    return None
