"""Small ASGI apps that remember what they were asked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from devserver.app.types import Receive, Scope, Send


@dataclass
class Seen:
    """One request as the app saw it."""

    scope: Scope
    messages: list[dict[str, Any]] = field(default_factory=list)

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages)

    @property
    def complete(self) -> bool:
        """Whether the whole body arrived."""
        return bool(self.messages) and self.messages[-1] == {
            "type": "http.request",
            "body": self.messages[-1].get("body"),
            "more_body": False,
        }

    @property
    def disconnected(self) -> bool:
        return bool(self.messages) and self.messages[-1]["type"] == "http.disconnect"


class Recorder:
    """Reads every request to its end and answers ``200`` with method, path and body, as one chunk with a length."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []

    @property
    def paths(self) -> list[str]:
        """The paths of the requests that were seen, in order."""
        return [seen.scope["path"] for seen in self.seen]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        seen = Seen(scope)
        self.seen.append(seen)
        while True:
            message = dict(await receive())
            seen.messages.append(message)
            if message["type"] == "http.disconnect":
                return
            if not message.get("more_body", False):
                break
        body = f"{scope['method']} {scope['path']} ".encode() + seen.body
        await respond(send, body)


async def respond(
    send: Send, body: bytes = b"ok", *, status: int = 200, headers: Iterable[tuple[bytes, bytes]] | None = None
) -> None:
    """A whole response in one chunk; with its length, unless ``headers`` are given."""
    if headers is None:
        headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": body})
