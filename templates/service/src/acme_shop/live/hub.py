"""Passes messages on to everybody who listens to this process.

Other workers have hubs of their own. Where that matters, have each hub publish what a broker sends to all of them
(LISTEN and NOTIFY of PostgreSQL, Redis, NATS), and send to the broker instead of calling `publish`.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import Enum
from itertools import count
from typing import Annotated

from fastapi import Depends
from fastapi.requests import HTTPConnection
from pydantic import BaseModel

HISTORY_MESSAGES_MAX = 100
"""Who was away for a moment gets what he has missed, up to this."""
WAITING_MESSAGES_MAX = 64
"""Who takes messages more slowly than they come is dropped, and may come back, instead of filling the memory."""


class Message(BaseModel):
    id: str
    text: str
    at: datetime


class End(Enum):
    """Why a subscription has ended."""

    CLOSED = "The service restarts."
    BEHIND = "Messages were taken too slowly."


class TooManyListenersError(Exception):
    """No more than the limit may listen to one process."""


class Subscription:
    """The messages for one listener: an asynchronous iterator that stops when `end` says why."""

    def __init__(self, missed: list[Message]) -> None:
        self.end: End | None = None
        self._waiting = deque(missed)
        self._changed = asyncio.Event()

    def put(self, message: Message) -> None:
        if len(self._waiting) >= WAITING_MESSAGES_MAX + HISTORY_MESSAGES_MAX:
            self.stop(End.BEHIND)
        else:
            self._waiting.append(message)
            self._changed.set()

    def stop(self, end: End) -> None:
        """Stops it once what is waiting has been taken, or at once for who would never get there."""
        if end is End.BEHIND:
            self._waiting.clear()
        self.end = self.end or end
        self._changed.set()

    def __aiter__(self) -> "Subscription":
        return self

    async def __anext__(self) -> Message:
        while not self._waiting:
            if self.end is not None:
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        return self._waiting.popleft()


class Hub:
    """:param listeners_max: each costs memory, and there is no other limit to how many somebody opens."""

    def __init__(self, *, listeners_max: int) -> None:
        self.listeners_max = listeners_max
        self.listeners: set[Subscription] = set()
        self._history: deque[Message] = deque(maxlen=HISTORY_MESSAGES_MAX)
        self._is_closed = False
        # Ids of the process before this one mean nothing here, and must not look as if they did.
        self._run, self._numbers = secrets.token_hex(4), count(1)

    def publish(self, text: str) -> Message:
        """Hands a message to everybody who listens. Waits for nobody."""
        message = Message(id=f"{self._run}-{next(self._numbers)}", text=text, at=datetime.now(UTC))
        self._history.append(message)
        for listener in list(self.listeners):
            listener.put(message)
        return message

    @contextmanager
    def subscribe(self, *, after: str | None = None) -> Iterator[Subscription]:
        """What is published from now on.

        :param after: the id of the last message that the listener has got; what came after it is handed over first. If
            nobody here remembers that message, everything is that is remembered.
        :raises TooManyListenersError: there are as many as may be.
        """
        if len(self.listeners) >= self.listeners_max:
            raise TooManyListenersError
        subscription = Subscription([] if after is None else self._missed(after))
        if self._is_closed:
            subscription.stop(End.CLOSED)
        self.listeners.add(subscription)
        try:
            yield subscription
        finally:
            self.listeners.remove(subscription)

    def close(self) -> None:
        """Ends all subscriptions, now and later: the service stops."""
        self._is_closed = True
        for listener in self.listeners:
            listener.stop(End.CLOSED)

    def _missed(self, after: str) -> list[Message]:
        messages = list(self._history)
        known = next((number for number, message in enumerate(messages) if message.id == after), -1)
        return messages[known + 1 :]


def get_hub(connection: HTTPConnection) -> Hub:
    hub: Hub = connection.state.hub
    return hub


HubDep = Annotated[Hub, Depends(get_hub)]
