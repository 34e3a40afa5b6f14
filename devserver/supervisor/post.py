"""What a worker of several is told when it is made: plain data, which a master can have without what a worker needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    import ssl

    from devserver.config import Config
    from devserver.config.python_file import Hook
    from devserver.config.target import Target
    from devserver.supervisor.privileges import Identity
    from devserver.supervisor.scoreboard import Scoreboard

IGNORED = ("SIGINT", "SIGHUP", "SIGTTIN", "SIGTTOU", "SIGWINCH", "SIGUSR2")
"""What a terminal or a careless kill sends to the whole group is for the master."""


@dataclass(frozen=True)
class Job:
    """What all workers of one generation have in common.

    :ivar config: the settings, without an app object.
    :ivar target: what to load.
    :ivar environment: the variables of the process.
    :ivar identity: whose rights it has.
    :ivar board: where it writes what it is doing.
    :ivar ssl: the TLS context. All have the same one, so that a session that began with one worker is resumed by
        another, and so that only the master must be able to read the key.
    :ivar hooks: functions of a config file.
    :ivar master: a descriptor of the master's life, the same in every process of ours; -1 where there is none.
    """

    config: Config
    target: Target
    environment: Mapping[str, str]
    identity: Identity
    board: Scoreboard
    ssl: ssl.SSLContext | None = None
    hooks: Mapping[str, Hook] = field(default_factory=dict)
    master: int = -1

    @property
    def counting(self) -> bool:
        """Whether somebody wants to know of every response."""
        return self.config.metrics is not None or self.config.statsd is not None


@dataclass(frozen=True)
class Post:
    """What one worker has of its own.

    :ivar channel: its end of the channel to the master.
    :ivar listeners: the sockets that it accepts from.
    :ivar dump_fd: where it writes when its loop stands still; see :mod:`devserver.supervisor.stuck`.
    :ivar row: its row of the scoreboard.
    :ivar age: counts the workers there have been.
    """

    channel: socket.socket
    listeners: Sequence[socket.socket]
    dump_fd: int
    row: int
    age: int = 0

    @property
    def descriptors(self) -> list[int]:
        """The numbers of what it holds."""
        return [self.channel.fileno(), self.dump_fd, *(sock.fileno() for sock in self.listeners)]
