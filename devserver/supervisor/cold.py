"""Workers that are fresh interpreters: slow to start, and with nothing in them that could be stale."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import subprocess
from collections.abc import Mapping, Sequence, Set
from typing import TYPE_CHECKING, ClassVar

from devserver.errors import ConfigError
from devserver.supervisor.channel import channel_pair
from devserver.supervisor.handle import Handle, Job, Process, kill_group
from devserver.supervisor.interpreter import start_interpreter

if TYPE_CHECKING:
    import selectors
    import socket

    from devserver.supervisor.channel import Message

WORKER = "devserver.supervisor.worker"


class ColdSpawner:
    """Every worker is a fresh interpreter.

    :param why: the reason, when something else was wanted.
    """

    mode = "cold"

    def __init__(self, why: str = "") -> None:
        self.why = why
        self._terminal: int | None = None

    def attach(self, selector: selectors.BaseSelector, terminal: int | None) -> None:  # noqa: ARG002
        """See :class:`Spawner`; there is nothing to wait for."""
        self._terminal = terminal

    def spawn(self, job: Job, sockets: Sequence[socket.socket], *, fresh: bool = False) -> Handle:  # noqa: ARG002
        """See :class:`Spawner`."""
        channel, theirs = channel_pair()
        listeners = tuple(sock.fileno() for sock in sockets)
        with theirs:
            try:
                first = dataclasses.replace(job, listeners=listeners).to_message()
                process = ColdProcess.start(theirs, listeners, job.environment, self._terminal)
            except (ConfigError, OSError):
                channel.close()
                raise
        channel.send(first)
        return Handle(process, channel, failed=job.failed)

    def learned(self, process: Process, modules: Sequence[str], variables: Mapping[str, str], wanted: Set[str]) -> None:
        """See :class:`Spawner`; nothing is kept warm."""

    checkpoints: ClassVar[Sequence[tuple[str, int]]] = ()

    def keep(self, process: Process, message: Message) -> bool:  # noqa: ARG002
        """See :class:`Spawner`; its workers leave none."""
        return False

    def distrust_checkpoints(self) -> None:
        """See :class:`Spawner`; there are none."""

    def stale(self, unfit: Mapping[str, str]) -> None:
        """See :class:`Spawner`; nothing is kept."""

    def retire(self) -> None:
        """See :class:`Spawner`; nothing is kept."""

    def close(self) -> None:
        """See :class:`Spawner`."""


class ColdProcess:
    """A fresh interpreter; made by :meth:`start`."""

    mode: ClassVar[str] = "cold"

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._exit_code: int | None = None

    @classmethod
    def start(
        cls,
        channel: socket.socket,
        listeners: Sequence[int],
        environment: Mapping[str, str],
        terminal: int | None = None,
        *,
        module: str = WORKER,
    ) -> ColdProcess:
        """Starts a worker.

        :param channel: its end of the channel.
        :param terminal: its standard streams.
        :param module: whose ``main`` it runs.
        :raises OSError: no process can be made.
        """
        return cls(start_interpreter(module, channel.fileno(), listeners, environment, terminal))

    @property
    def pid(self) -> int:
        """See :class:`Process`."""
        return self._process.pid

    def wait(self) -> None:
        """Returns when it has ended."""
        self._process.wait()

    def poll(self) -> int | None:
        """See :class:`Process`."""
        if self._exit_code is None and self._has_ended():
            # Before it is reaped, so that the number of the group cannot belong to anybody else yet.
            kill_group(self.pid)
            self._exit_code = self._process.wait()
        return self._exit_code

    def kill(self) -> None:
        """See :class:`Process`."""
        if self._exit_code is None:
            kill_group(self.pid)
            # Stopped by Ctrl+Z or a debugger, it dies of SIGKILL all the same; one that left its group is hit here.
            with contextlib.suppress(OSError):
                self._process.kill()

    def _has_ended(self) -> bool:
        if not hasattr(os, "waitid"):
            return self._process.poll() is not None
        try:
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return True
