"""One URL that gives the last failure as Markdown, to be pasted into an issue or read by a program.

An ASGI app in front of the user's. Whoever may not see details gets what the app has to say about the path.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from importlib import metadata
from typing import TYPE_CHECKING, TypeAlias

from devserver import __version__
from devserver.app.redact import Redactor
from devserver.devtools import audience
from devserver.devtools.error_text import markdown
from devserver.events import FAILURE_PATH, AppFailed, AppRaised

if TYPE_CHECKING:
    from devserver.app.types import ASGIApp, Receive, Scope, Send

NOTHING = "Nothing has failed yet.\n"
_PACKAGES = ("fastapi", "starlette", "pydantic")

Last: TypeAlias = "Callable[[], AppFailed | AppRaised | None]"


class LastFailure:
    """An ASGI app that answers at :data:`~devserver.events.FAILURE_PATH` and leaves all else to another.

    :param app: the user's.
    :param last: gives the failure.
    :param share: show details to everybody, not only to loopback peers (``--share-errors``).
    """

    def __init__(self, app: ASGIApp, last: Last, *, share: bool) -> None:
        self.app = app
        """Public, so that what looks for the FastAPI app inside of others finds it."""
        self._last = last
        self._share = share

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if (
            scope["type"] != "http"
            or scope["path"] != FAILURE_PATH
            or not audience.may_see_details(scope, share=self._share)
        ):
            await self.app(scope, receive, send)
            return
        text = report(self._last())
        body = text.encode("utf-8", "backslashreplace")
        headers = [
            # Browsers show text/plain; text/markdown would be downloaded.
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
            (b"x-content-type-options", b"nosniff"),
            # No other site may read source code by embedding the answer.
            (b"cross-origin-resource-policy", b"same-origin"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


def report(failed: AppFailed | AppRaised | None) -> str:
    """The failure, without secrets, and what it happened with."""
    if failed is None:
        return NOTHING
    # Made for each, as the environment is another one after an env file was edited.
    redactor = Redactor.of(os.environ)
    shown = redactor.app_failed(failed) if isinstance(failed, AppFailed) else redactor.app_raised(failed)
    return f"{markdown(shown)}\n## Versions\n\n{', '.join(_versions())}\n"


def _versions() -> list[str]:
    found = [f"{platform.python_implementation()} {platform.python_version()}", f"devserver {__version__}"]
    for package in _PACKAGES:
        try:
            found.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            continue
    return [*found, platform.system()]
