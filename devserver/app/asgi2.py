"""ASGI 2 apps served as ASGI 3 (ASGI spec, "Legacy Applications"): one call made of two."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from devserver.app.types import Receive, Scope, Send


class Asgi2:
    """Wraps ``app(scope)`` which returns ``instance(receive, send)``.

    :param app: the double callable, a class or a function of one argument.
    """

    __slots__ = ("app",)

    def __init__(self, app: Callable[[Scope], Callable[[Receive, Send], Awaitable[Any]]]) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # The class is called inside the request: what it raises is the request's error.
        await self.app(scope)(receive, send)
