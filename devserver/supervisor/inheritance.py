"""The sockets that one master leaves to the next (SIGUSR2): in a variable of the environment, by descriptor.

Both masters serve on them until the older one is told to end; whichever stays has them.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from devserver.errors import ConfigError
from devserver.server import listeners as listening

if TYPE_CHECKING:
    from devserver.server.listeners import Listener
    from devserver.supervisor.steer import Sharing

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
    listeners: Sequence[Listener], sharings: Sequence[Sharing], monitor: Sequence[Listener]
) -> tuple[str, list[int]]:
    """The value of the variable, and the descriptors that it names.

    :param sharings: for each listener the sockets of all slots.
    """
    found: list[dict[str, Any]] = [
        {
            "url": listener.url,
            "path": listener.path,
            "apart": sharing.apart,
            "fds": [sock.fileno() for sock in sharing.sockets],
        }
        for listener, sharing in zip(listeners, sharings, strict=True)
    ]
    found += [{"url": each.url, "path": each.path, "apart": False, "fds": [each.socket.fileno()]} for each in monitor]
    text = json.dumps({"parent": os.getpid(), "listeners": found, "serving": len(listeners)})
    return text, [fd for each in found for fd in each["fds"]]


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
            listener = listening.inherit(first, url=str(each["url"]), path=str(each["path"]))
            # Further slots get sockets of their own only where they had them: not on one that was given to us.
            listener.owned = bool(each["apart"])
            listeners.append(listener)
            more.append(tuple(rest))
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise ConfigError(f"{VARIABLE} does not describe sockets of this process ({exc}).") from exc
    return Inheritance(parent, tuple(listeners[:serving]), tuple(more[:serving]), tuple(listeners[serving:]))
