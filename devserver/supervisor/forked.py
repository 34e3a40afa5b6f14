"""The supervisor's view of workers that are forked, and of the processes that fork them.

What those processes do is in :mod:`devserver.supervisor.forker`; who is asked for a worker is decided in
:mod:`devserver.supervisor.forking`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from devserver.supervisor.cold import ColdProcess
from devserver.supervisor.handle import kill_group, kill_leader
from devserver.supervisor.plan import FORK, RETIRE, Plan

if TYPE_CHECKING:
    from devserver.supervisor.channel import SupervisorChannel
    from devserver.supervisor.import_record import ImportRecord


class ForkedProcess:
    """A worker that a zygote forks, or that is started cold when none can.

    :param channel: the worker's end of its channel; closed here as soon as somebody else has it.
    :param listeners: descriptors of the listening sockets.
    :param environment: the variables of the process.
    :param terminal: its standard streams, when they are not ours.
    """

    def __init__(
        self,
        channel: socket.socket,
        listeners: Sequence[int],
        environment: Mapping[str, str],
        terminal: int | None = None,
    ) -> None:
        self.channel = channel
        self.exit_code: int | None = None
        """When it has ended and was forked."""
        self.asked = False
        """A zygote has been asked to fork it."""
        self.order = FORK
        """How it is asked for."""
        self._killed = False
        self._listeners = listeners
        self._environment = environment
        self._terminal = terminal
        self._pid = 0
        self._cold: ColdProcess | None = None

    @property
    def pid(self) -> int:
        """See :class:`~devserver.supervisor.handle.Process`."""
        return self._pid if self._cold is None else self._cold.pid

    @property
    def mode(self) -> str:
        """See :class:`~devserver.supervisor.handle.Process`."""
        return "fork" if self._cold is None else "cold"

    def start_cold(self) -> None:
        """Does without a zygote. A process that cannot be made has ended at once."""
        with self.channel:
            if self._killed:
                self.exit_code = -signal.SIGKILL
                return
            try:
                self._cold = ColdProcess.start(self.channel, self._listeners, self._environment, self._terminal)
            except OSError:
                self.exit_code = 1

    def forked(self, pid: int) -> None:
        """The zygote has made it."""
        self._pid = pid
        self.channel.close()
        if self._killed:
            self.kill()

    def retire(self) -> None:
        """What it was forked from makes no more; a worker lives on."""

    def poll(self) -> int | None:
        """See :class:`~devserver.supervisor.handle.Process`."""
        return self.exit_code if self._cold is None else self._cold.poll()

    def kill(self) -> None:
        """See :class:`~devserver.supervisor.handle.Process`."""
        self._killed = True
        if self._cold is not None:
            self._cold.kill()
        elif self._pid and self.exit_code is None:
            kill_leader(self._pid)
        elif not self.asked:
            self.exit_code = -signal.SIGKILL
            self.channel.close()


class Parent:
    """The supervisor's view of one process that forks workers: see :mod:`devserver.supervisor.forker`.

    :param channel: to it.
    """

    def __init__(self, channel: SupervisorChannel) -> None:
        self.channel = channel
        self._is_ready = True
        self._waiting: deque[ForkedProcess] = deque()
        self._asked: deque[ForkedProcess] = deque()
        self._children: dict[int, ForkedProcess] = {}
        self._moved: dict[int, ForkedProcess] = {}
        """Pid of a child that is a checkpoint now → the worker, which is a child of that one."""

    def fork(self, process: ForkedProcess) -> None:
        """Has it make ``process`` as soon as it can."""
        if not self._is_ready:
            self._waiting.append(process)
            return
        if process.exit_code is None:
            # When it has just gone, _lost() comes next.
            with contextlib.suppress(OSError):
                socket.send_fds(self.channel.socket, [process.order], [process.channel.fileno()])
            process.asked = True
            self._asked.append(process)

    def forked(self, pid: int) -> None:
        """It has made what it was asked for first."""
        process = self._asked.popleft()
        if pid not in self._moved:
            self._children[pid] = process
            process.forked(pid)

    def refused(self) -> None:
        """It does not make what it was asked for first."""
        self._asked.popleft().start_cold()

    def child(self, pid: int) -> ForkedProcess | None:
        """The process that was made with that number, if it lives."""
        return self._children.get(pid) or self._moved.get(pid)

    def exited(self, pid: int, code: int) -> None:
        """A process of its own has ended."""
        self._moved.pop(pid, None)
        process = self._children.pop(pid, None)
        if process is not None:
            process.exit_code = code

    def give_up(self) -> list[ForkedProcess]:
        """The processes that it has not been asked for yet; they are somebody else's now."""
        waiting = [*self._waiting]
        self._waiting.clear()
        return waiting

    def let_go(self, pid: int, process: ForkedProcess) -> bool:
        """Its child ``pid`` has become a checkpoint, and the worker a child of that; whether it had the worker."""
        # The child may be quicker to say so than this parent is to say that it has made it.
        if self._children.pop(pid, None) is not process and process not in self._asked:
            return False
        self._moved[pid] = process
        return True

    def take(self, pid: int, process: ForkedProcess) -> None:
        """The process of that number is a child of this one."""
        self._children[pid] = process
        process.forked(pid)

    def retire(self) -> None:
        """It ends with its last worker."""
        for process in [*self._children.values()]:
            process.retire()
        with contextlib.suppress(OSError):
            self.channel.socket.send(RETIRE)

    def end(self) -> None:
        """Ends it now, and whatever it has made."""
        for pid, process in self._children.items():
            kill_group(pid)
            process.exit_code = -signal.SIGKILL
        for process in self._asked:
            process.channel.close()
            process.exit_code = -signal.SIGKILL
        self._children.clear()
        self._asked.clear()
        self.channel.close()


class Owned(Protocol):
    """A process that can be ended: a :class:`subprocess.Popen`, or what a zygote has forked."""

    def kill(self) -> None:
        """Ends it."""

    def wait(self) -> object:
        """Returns when it has ended, if it is our own child."""


class Zygote(Parent):
    """The supervisor's view of one zygote.

    :param basis: the environment of the workers that it can stand in for.
    :param process: what :func:`~devserver.supervisor.early.start_zygote` has started.
    :param channel: to it.
    """

    def __init__(self, basis: Mapping[str, str], process: Owned, channel: SupervisorChannel) -> None:
        super().__init__(channel)
        self.environment = dict(basis)
        self._process = process
        self._is_ready = False

    def plan(self, plan: Plan, descriptors: Sequence[int]) -> None:
        """Tells it what to import, and gives it the descriptors that its workers have."""
        self.channel.send(plan.to_message())
        for fd in descriptors:
            self.channel.send({"do": "inherit"}, os.dup(fd))

    def become_ready(self) -> None:
        """It has imported everything."""
        self._is_ready = True
        while self._waiting:
            self.fork(self._waiting.popleft())

    def retire(self) -> None:
        """See :class:`Parent`."""
        if self._is_ready:
            super().retire()
        else:
            self._kill()

    def end(self) -> None:
        """See :class:`Parent`."""
        super().end()
        self._kill()

    def _kill(self) -> None:
        with contextlib.suppress(OSError):
            self._process.kill()
        self._process.wait()


class Checkpoint(Parent):
    """The supervisor's view of one checkpoint.

    :param channel: to it.
    :param path: the file that its workers begin with.
    :param pid: of the process that waits there.
    :param record: what it depends on.
    """

    def __init__(self, channel: SupervisorChannel, path: str, pid: int, record: ImportRecord) -> None:
        super().__init__(channel)
        self.path = path
        self.pid = pid
        self.record = record
