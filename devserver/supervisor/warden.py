"""Looks after the workers of a master: which of them are to end, tells them, and ends those that do not.

Time, the scoreboard and the workers' memory are what it sees. It knows neither how a worker is made nor what the master
is about to do; who takes the place of whom is decided in :mod:`devserver.supervisor.pool`.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from devserver.server.durations import CANCEL_S
from devserver.supervisor import stuck
from devserver.supervisor.scoreboard import resident_bytes

if TYPE_CHECKING:
    from devserver.config import Config
    from devserver.supervisor.pool import Pool, PoolHandle
    from devserver.supervisor.scoreboard import Scoreboard

ANSWER_S = 1.0
"""How long a worker that stands still may take to say why."""
DUMP_S = 0.3
FRESH_S = 2.0
"""A worker whose loop has not written for so long gets no new connection."""
KILLED_S = 5.0
"""A process that SIGKILL does not end in this time hangs in the kernel; it is left behind."""
MEMORY_S = 5.0
"""Between two looks at the workers' memory."""
QUIT_S = 1.0
"""What a worker that quits gets besides the time for cancelling and for the app's shutdown."""


class Warden:
    """Watches the workers of one pool.

    :param config: gives the settings as they are now.
    :param say: tells what happens: level and text.
    :param forget: takes leave of a process that does not even end when it is killed.
    """

    def __init__(
        self,
        pool: Pool,
        board: Scoreboard,
        config: Callable[[], Config],
        *,
        say: Callable[[str, str], None],
        forget: Callable[[PoolHandle], None],
    ) -> None:
        self._pool = pool
        self._board = board
        self._config = config
        self._say = say
        self._forget = forget
        self._forgiven_until = 0.0
        """Loops are not judged before: the master, or the machine, has slept."""
        self._memory_due = 0.0

    def forgive(self, now: float) -> None:
        """Nobody could write to the scoreboard for a while, or nobody could read it."""
        self._forgiven_until = now + max(FRESH_S, self._config().timeout_worker)

    def is_fresh(self, handle: PoolHandle | None) -> bool:
        """Whether its loop has turned a moment ago."""
        return handle is not None and self._board.silent_s(handle.row) < FRESH_S

    def look(self, now: float) -> None:
        """Finds workers that stand still, have lived long enough, or hold too much."""
        config = self._config()
        self._pool.steady(now)
        for handle in [*self._pool]:
            if handle.serving and not handle.killed and config.timeout_worker and now > self._forgiven_until:
                self._look_at_loop(handle, now, config.timeout_worker)
            if handle.serving and not handle.due and now >= handle.ends_at:
                self.becomes_due(handle, f"{config.worker_lifetime:g} s of life", "lifetime")
        if config.worker_max_rss is not None and now >= self._memory_due:
            self._memory_due = now + MEMORY_S
            for handle in self._pool:
                resident = resident_bytes(handle.pid)
                if handle.serving and not handle.due and resident > config.worker_max_rss:
                    self.becomes_due(handle, f"{resident / 2**20:,.0f} MiB of memory", "memory")

    def _look_at_loop(self, handle: PoolHandle, now: float, timeout_s: float) -> None:
        """Asks a worker whose loop stands still why, and ends it."""
        silent_s = self._board.silent_s(handle.row)
        if silent_s < timeout_s:
            if handle.asked_at:
                # It goes on after all, though without a slot: what it has is finished.
                handle.asked_at = 0.0
                self.replace(handle)
        elif not handle.asked_at:
            handle.asked_at = now
            self._say("error", f"Worker {handle.pid} has stood still for {silent_s:.1f} s; it is replaced.")
            self._board.count_restart("stuck")
            # Its slot gets another one at once, on the same sockets.
            self._pool.take_out(handle)
            handle.dismissed, handle.accepts = True, False
            send_signal(handle.pid, stuck.ask_signal())
            handle.deadline = now + ANSWER_S

    def answered(self, handle: PoolHandle, text: str) -> None:
        """A worker that stands still has said why."""
        self._say("error", f"Worker {handle.pid}: {text}")
        handle.answered = True
        if handle.asked_at and not handle.dumped:
            # It has so long to turn again.
            handle.deadline = time.monotonic() + ANSWER_S

    def becomes_due(self, handle: PoolHandle, why: str, reason: str) -> None:
        """It is to be replaced when its turn comes.

        :param why: for people.
        :param reason: for the count of restarts.
        """
        if not handle.stopping and not handle.due:
            handle.due = why
            self._board.count_restart(reason)
            self._say("info", f"Worker {handle.pid} is replaced after {why}.")

    def replace(self, handle: PoolHandle) -> None:
        """Lets a worker finish what it has, and accept no more."""
        config = self._config()
        if handle.serving:
            self.tell(handle, "replace", config.timeout_graceful_shutdown)
        else:
            self.dismiss(handle)

    def tell(self, handle: PoolHandle, way: str, grace_s: float | None) -> None:
        """Tells it to end.

        :param way: ``replace``, ``stop`` or ``quit``; see :meth:`devserver.supervisor.prefork_worker.PoolServer.ask`.
        :param grace_s: what its requests get; None for as long as they like.
        """
        shutdown_s = self._config().timeout_shutdown
        handle.stopping = handle.dismissed = True
        handle.channel.send({"do": way})
        if grace_s is None or shutdown_s is None:
            handle.deadline = float("inf")
        else:
            handle.deadline = time.monotonic() + grace_s + CANCEL_S + shutdown_s + QUIT_S

    def dismiss(self, handle: PoolHandle) -> None:
        """Ends a worker that does not serve yet, as far as is known here: it may have begun a moment ago."""
        handle.dismissed = handle.stopping = True
        if handle.pid:
            handle.channel.send({"do": "dismiss"})
            handle.deadline = time.monotonic() + ANSWER_S
        else:
            self.kill(handle)

    def kill(self, handle: PoolHandle) -> None:
        """Ends it at once."""
        handle.kill()
        handle.deadline = time.monotonic() + KILLED_S

    def enforce(self, now: float) -> None:
        """Ends workers that have not done in time what they were told to."""
        for handle in [*self._pool]:
            if now < handle.deadline:
                continue
            if handle.killed:
                self._say("warning", f"Process {handle.pid} does not end; it is left behind.")
                self._forget(handle)
                self._pool.ended(handle, now, failed=False)
            elif handle.asked_at and not handle.answered and not handle.dumped:
                # It is not in Python code that it is stuck.
                handle.dumped = True
                # Its channel has a thread, which can speak as long as that code leaves the interpreter to others.
                handle.channel.send({"do": "explain"})
                send_signal(handle.pid, stuck.dump_signal())
                handle.deadline = now + DUMP_S
            else:
                self._explain(handle)
                self.kill(handle)

    def _explain(self, handle: PoolHandle) -> None:
        if handle.dumped:
            self._say("error", f"Worker {handle.pid} is stuck here:\n{stuck.read_dump(handle.dump_fd)}")
        elif handle.stopping or handle.ends:
            self._say("warning", f"Worker {handle.pid} did not end in time and is killed.")
        elif not handle.serving:
            seconds = self._config().timeout_worker_startup
            self._say("error", f"Worker {handle.pid} did not start within {seconds:g} s and is killed.")


def send_signal(pid: int, number: int) -> None:
    """Sends it, if there is still such a process."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
