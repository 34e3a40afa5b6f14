"""A development and production server for FastAPI, on an ASGI server core of its own.

``devserver.run``, ``devserver.Config`` and ``devserver.Server`` have the shape of their namesakes in uvicorn: a program
written for those works with the import changed. ``devserver.WSGIMiddleware`` makes an ASGI app of a WSGI app. All are
loaded on first use (PEP 562), so that importing the package costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from devserver.app.wsgi import Wsgi as WSGIMiddleware
    from devserver.launch import Server, run
    from devserver.supervisor.embedded_config import Config

__version__ = "0.1.0"

__all__ = ["Config", "Server", "WSGIMiddleware", "__version__", "run"]


def __getattr__(name: str) -> Any:
    if name == "Config":
        from devserver.supervisor.embedded_config import Config

        return Config
    if name in {"Server", "run"}:
        from devserver import launch

        return getattr(launch, name)
    if name == "WSGIMiddleware":
        from devserver.app.wsgi import Wsgi

        return Wsgi
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
