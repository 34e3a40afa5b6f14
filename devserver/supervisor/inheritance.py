"""The sockets that one master leaves to the next (SIGUSR2): in a variable of the environment, by descriptor.

Both masters serve on them until the older one is told to end; whichever stays has them.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from devserver.errors import ConfigError
from devserver.server import listeners as listening

if TYPE_CHECKING:
    from devserver.server.listeners import Listener

VARIABLE = "DEVSERVER_INHERITED"


@dataclass(frozen=True)
class Inheritance:
    """What a new master begins with.

    :ivar parent: the process id of the older master.
    :ivar listeners: the first socket of each address.
    :ivar more: for each of them, the sockets of further slots.
    :ivar monitor: what figures are shown on.
    """

    parent: int
    listeners: tuple[Listener, ...]
    more: tuple[tuple[socket.socket, ...], ...]
    monitor: tuple[Listener, ...]


def describe(
    listeners: Sequence[Listener], sockets: Sequence[Sequence[socket.socket]], monitor: Sequence[Listener]
) -> tuple[str, list[int]]:
    """The value of the variable, and the descriptors that it names.

    :param sockets: for each listener its own socket and those of further slots.
    """
    every = [*zip(listeners, sockets, strict=True), *((each, (each.socket,)) for each in monitor)]
    found = [
        {"url": listener.url, "path": listener.path, "fds": [sock.fileno() for sock in own]} for listener, own in every
    ]
    text = json.dumps({"parent": os.getpid(), "listeners": found, "serving": len(listeners)})
    return text, [sock.fileno() for _, own in every for sock in own]


def take(environ: MutableMapping[str, str]) -> Inheritance | None:
    """What an older master has left to this process; the variable is removed.

    :raises ConfigError: the variable says what is not so, such as when somebody else has set it.
    """
    text = environ.pop(VARIABLE, "")
    if not text:
        return None
    try:
        data = json.loads(text)
        parent = int(data["parent"])
        if parent != os.getppid():
            # It was inherited through a process that did not remove it.
            return None
        listeners, more, serving = [], [], int(data["serving"])
        for each in data["listeners"]:
            first, *rest = [socket.socket(fileno=int(fd)) for fd in each["fds"]]
            for sock in (first, *rest):
                sock.set_inheritable(False)
            listeners.append(listening.inherit(first, url=str(each["url"]), path=str(each["path"])))
            more.append(tuple(rest))
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise ConfigError(f"{VARIABLE} does not describe sockets of this process ({exc}).") from exc
    return Inheritance(parent, tuple(listeners[:serving]), tuple(more[:serving]), tuple(listeners[serving:]))
