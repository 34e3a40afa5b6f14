"""The room: who is in it, and how what happens there reaches everybody.

It knows neither WebSockets nor FastAPI. Nothing in it waits for a member: what is told to one is put into that member's
outbox, and a member whose outbox is full has :attr:`Member.fallen_behind` set and is told nothing more.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager

OUTBOX_MAX = 100
"""Events that may wait for one member: some seconds of a lively room."""


class Member:
    """Somebody in the room, and what is on the way to them.

    :ivar name: how the room calls them; nobody else in it is called the same.
    :ivar outbox: the events on the way to them, encoded.
    :ivar fallen_behind: set when they take what they are told too slowly.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.outbox: asyncio.Queue[str] = asyncio.Queue(OUTBOX_MAX)
        self.fallen_behind = asyncio.Event()

    def tell(self, event: str) -> None:
        """Puts an event on its way. Never waits."""
        if self.fallen_behind.is_set():
            return
        try:
            self.outbox.put_nowait(event)
        except asyncio.QueueFull:
            self.fallen_behind.set()


class Room:
    """The members, each under their name."""

    def __init__(self) -> None:
        self._members: dict[str, Member] = {}

    @property
    def names(self) -> list[str]:
        """Who is here, in the order in which they came."""
        return [*self._members]

    @contextmanager
    def joined(self, name: str) -> Iterator[Member]:
        """Somebody is in the room for as long as the block lasts; the others are told at its begin and at its end.

        :param name: how they want to be called; a number is added when somebody is already.
        """
        member = Member(self._free(name))
        self._tell_all("joined", name=member.name, names=[*self.names, member.name])
        self._members[member.name] = member
        member.tell(encode("welcome", name=member.name, names=self.names))
        try:
            yield member
        finally:
            del self._members[member.name]
            self._tell_all("left", name=member.name, names=self.names)

    def say(self, member: Member, text: str) -> None:
        """Tells everybody, the member too, what the member says."""
        self._tell_all("said", name=member.name, text=text)

    def _tell_all(self, kind: str, **fields: object) -> None:
        event = encode(kind, **fields)
        for member in self._members.values():
            member.tell(event)

    def _free(self, name: str) -> str:
        """``name``, or the first of ``name 2``, ``name 3``… that nobody has."""
        free, number = name, 2
        while free in self._members:
            free = f"{name} {number}"
            number += 1
        return free


def encode(kind: str, **fields: object) -> str:
    """An event as it is sent: ``welcome``, ``joined`` and ``left`` have name and names, ``said`` has name and text."""
    return json.dumps({"kind": kind, **fields}, ensure_ascii=False)
