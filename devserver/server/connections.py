"""What a server does with all of its connections at once: enforce their deadlines, and let them finish.

Connections carry their own deadline (loop time, 0.0 for none); one sweep a second asks for it, so that a request costs
no timer. This file knows nothing of HTTP: a connection is whatever has ``deadline``, ``expire``, ``shutdown`` and
``abort``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Protocol

from devserver.server.durations import CANCEL_S

if TYPE_CHECKING:
    from devserver.protocol.state import Connection

SWEEP_S = 1.0
"""Precision of every connection deadline, and of the Date header."""

_FLUSH_STEP_S = 0.01
"""Between two looks at connections that only have bytes left to write."""


class Connections(Protocol):
    """What is needed of the state that connections share; see :class:`devserver.protocol.state.ServerState`."""

    @property
    def connections(self) -> Collection[Connection]:
        """All that are open."""

    @property
    def tasks(self) -> Collection[asyncio.Task[None]]:
        """One for each request whose app has not returned."""

    def cancel(self, task: asyncio.Task[None]) -> None:
        """Cancels one of them."""

    def tick(self, now: float) -> None:
        """A second has passed; ``now`` is loop time."""


class Sweep:
    """Once a second: the shared state is told the time, and connections past their deadline are told so.

    :param also: called with the time as well.
    """

    def __init__(
        self, state: Connections, loop: asyncio.AbstractEventLoop, also: Sequence[Callable[[float], None]] = ()
    ) -> None:
        self._state = state
        self._also = also
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Runs the first sweep now and one a second until :meth:`stop`."""
        self._timer = self._loop.call_later(SWEEP_S, self.start)
        now = self._loop.time()
        self._state.tick(now)
        # A copy, because expiring a connection may remove it.
        for connection in list(self._state.connections):
            if connection.deadline and now >= connection.deadline:
                connection.expire(now)
        for look in self._also:
            look(now)

    def stop(self) -> None:
        """No further sweep."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


async def drain(state: Connections, *, timeout_s: float | None, forced: asyncio.Event) -> bool:
    """Lets every connection and every task finish what it is doing.

    Tasks that outlive their response (background tasks) are waited for as well: they are in ``state.tasks``.

    :param timeout_s: how long; None for ever, 0 not at all.
    :param forced: stops the waiting when set.
    :returns: whether everything has finished. When not, call :func:`cancel`.
    """
    for connection in list(state.connections):
        connection.shutdown()
    loop = asyncio.get_running_loop()
    deadline = None if timeout_s is None else loop.time() + timeout_s
    waiting = loop.create_task(forced.wait())
    try:
        while (state.tasks or state.connections) and not forced.is_set():
            left = None if deadline is None else deadline - loop.time()
            if left is not None and left <= 0:
                break
            if state.tasks:
                await asyncio.wait({waiting, *state.tasks}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            else:
                # Nothing announces that a transport has written its last byte but connection_lost, which takes the
                # connection out of the set.
                await asyncio.sleep(_FLUSH_STEP_S if left is None else min(left, _FLUSH_STEP_S))
    finally:
        waiting.cancel()
    return not state.tasks and not state.connections


async def cancel(state: Connections, *, timeout_s: float = CANCEL_S) -> None:
    """Cancels every task, gives them ``timeout_s`` to end, and aborts the connections that are left."""
    tasks = set(state.tasks)
    for task in tasks:
        state.cancel(task)
    if tasks:
        await asyncio.wait(tasks, timeout=timeout_s)
    for connection in list(state.connections):
        connection.abort()
    # One turn for the transports to report connection_lost.
    await asyncio.sleep(0)
