"""Which pages may open a WebSocket.

Browsers let every page open one to every host, and send the cookies of that host along; they only say which page it was
(RFC 6455, section 10.2). Nothing else stops a foreign page from acting as whoever looks at it.
"""

from urllib.parse import urlsplit

from fastapi import WebSocket

from acme_shop.settings import Settings


def is_allowed(websocket: WebSocket, settings: Settings) -> bool:
    """Whether the page is our own, or a named one. Programs that are no browsers name no page."""
    origin = websocket.headers.get("Origin")
    if origin is None or origin in settings.allowed_origins:
        return True
    return urlsplit(origin).netloc == websocket.headers.get("Host")
