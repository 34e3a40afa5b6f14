"""The master's view of the process that shows figures (:mod:`devserver.supervisor.monitor`), and where that does it."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Container, Sequence, Set
from typing import TYPE_CHECKING, NoReturn

from devserver.config.settings import Config
from devserver.errors import ConfigError
from devserver.events import Emitter
from devserver.server import listeners as listening
from devserver.server.listeners import Listener, Tcp, Unix, parse_place
from devserver.supervisor import children

if TYPE_CHECKING:
    from devserver.supervisor.descriptors import Held
    from devserver.supervisor.privileges import Identity
    from devserver.supervisor.scoreboard import Scoreboard

STATSD_PORT = 8125
AGAIN_S = 1.0
"""Between two starts of it."""
BACKLOG = 64


class Monitor:
    """The process, when there should be one.

    :param config: ``metrics`` and ``statsd`` are read.
    :param listeners: what figures are shown on, when it is bound already.
    :raises DevserverError: an address cannot be had.
    """

    def __init__(self, config: Config, listeners: Sequence[Listener] | None = None) -> None:
        self.pid = 0
        self.listeners: Sequence[Listener] = ()
        if listeners is not None:
            self.listeners = listeners
        elif config.metrics is not None:
            self.listeners = bind(config.metrics)
        self._statsd = None if config.statsd is None else statsd_address(config.statsd)
        self._channel: socket.socket | None = None
        """Its end is the process's."""
        self._due = 0.0

    def listen(self) -> None:
        """Lets those who ask before the process is up wait for it."""
        for listener in self.listeners:
            listener.listen(BACKLOG)

    def is_due(self, now: float) -> bool:
        """Whether it should be started, at this ``time.monotonic()``."""
        return not self.pid and now >= self._due and (bool(self.listeners) or self._statsd is not None)

    def start(self, board: Scoreboard, identity: Identity, become: Callable[[], None], known: Set[Held]) -> None:
        """Starts it.

        :param become: called in it: closes what is the master's alone.
        :param known: the descriptors that it keeps.
        :raises OSError: it cannot be made.
        """
        self._due = time.monotonic() + AGAIN_S
        ours, theirs = socket.socketpair()

        def live() -> NoReturn:
            ours.close()
            become()
            # Imported here: the master does without all that it takes to serve.
            from devserver.supervisor.monitor import run

            run(board, identity, theirs, self.listeners, self._statsd)

        try:
            kept = [theirs.fileno(), *(listener.socket.fileno() for listener in self.listeners)]
            self.pid = children.start(live, known, kept)
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        self._channel = ours

    def has_ended(self, exits: Container[int]) -> bool:
        """Whether it is among the processes that have ended; it can be started again then."""
        if not self.pid or self.pid not in exits:
            return False
        self.pid = 0
        self._let_go()
        return True

    def leave_to_child(self, *, is_it: bool) -> None:
        """In a forked child: closes what is not the child's.

        :param is_it: the child is the monitor.
        """
        self._let_go()
        if not is_it:
            for listener in self.listeners:
                listener.socket.close()

    def close(self) -> None:
        """Ends it."""
        self._let_go()
        listening.close(self.listeners)

    def _let_go(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None


def bind(text: str) -> list[Listener]:
    """The sockets that ``--metrics`` asks for.

    :raises DevserverError: they cannot be had.
    """
    return listening.bind(Config(bind=(metrics_place(text),)), environ={}, emitter=Emitter())


def metrics_place(text: str) -> str:
    """Where ``--metrics`` listens, as ``--bind`` writes it: this machine alone unless a host is named.

    :raises ConfigError: it is no address.
    """
    if text.isdigit():
        text = f":{text}"
    if text.startswith(":"):
        text = f"127.0.0.1{text}"
    place = parse_place(text, 0)
    if not isinstance(place, (Tcp, Unix)) or (isinstance(place, Tcp) and not place.port):
        raise ConfigError(f'--metrics: "{text}" names no port.', hint="Write PORT, HOST:PORT or unix:/path.")
    return text


def statsd_address(text: str) -> tuple[str, int]:
    """Where ``--statsd`` sends to.

    :raises ConfigError: it is no address.
    """
    place = parse_place(text, STATSD_PORT)
    if not isinstance(place, Tcp) or not place.host:
        raise ConfigError(f'--statsd: "{text}" is not HOST or HOST:PORT.')
    return place.host, place.port
