"""Workers that have been standing by: interpreters that imported the warm set and wait for a job.

It is what takes the place of forking where that is impossible or has misled: every worker is a process of its own from
the beginning, whose imports were done ahead of the save. There is one in reserve, made as soon as the one before it
serves.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Container, Mapping, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from devserver.events import Notice
from devserver.supervisor.channel import SupervisorChannel, channel_pair
from devserver.supervisor.cold import ColdProcess
from devserver.supervisor.handle import Handle, Job, Process
from devserver.supervisor.interpreter import start_interpreter
from devserver.supervisor.plan import Plan
from devserver.supervisor.warm_set import WarmSet

if TYPE_CHECKING:
    import selectors
    import socket

    from devserver.supervisor.channel import Message

SPARE = "devserver.supervisor.spare"


class StandbyProcess(ColdProcess):
    """An interpreter that has imported the warm set."""

    mode: ClassVar[str] = "standby"


class StandbySpawner:
    """See :class:`~devserver.supervisor.handle.Spawner`.

    :param root: the project's root folder.
    :param first_party: which files are the project's.
    :param search_path: the folder that the project's modules are imported from.
    :param say: tells the person something.
    :param why: the reason, when something else was wanted.
    """

    mode = "standby"

    def __init__(
        self,
        root: str | Path,
        first_party: Container[str],
        search_path: str,
        *,
        say: Callable[[Notice], None],
        why: str = "",
    ) -> None:
        self.why = why
        self._first_party = first_party
        self._search_path = search_path
        self._say = say
        self._warm = WarmSet(root)
        self._listeners: tuple[int, ...] = ()
        self._environment: Mapping[str, str] = {}
        self._spare: Spare | None = None
        self._terminal: int | None = None

    def attach(self, selector: selectors.BaseSelector, terminal: int | None) -> None:  # noqa: ARG002
        """See :class:`~devserver.supervisor.handle.Spawner`; a spare one says nothing."""
        self._terminal = terminal

    def spawn(self, job: Job, sockets: Sequence[socket.socket], *, fresh: bool = False) -> Handle:
        """See :class:`~devserver.supervisor.handle.Spawner`."""
        self._listeners = tuple(sock.fileno() for sock in sockets)
        if job.environment != self._environment:
            self._environment = job.environment
            self._discard()
        first = dataclasses.replace(job, listeners=self._listeners).to_message()
        spare = None if fresh else self._take()
        if spare is None:
            channel, theirs = channel_pair()
            with theirs:
                try:
                    process = ColdProcess.start(theirs, self._listeners, job.environment, self._terminal)
                except OSError:
                    channel.close()
                    raise
        else:
            process, channel = spare.process, spare.channel
        channel.send(first)
        return Handle(process, channel, failed=job.failed)

    def learned(self, process: Process, modules: Sequence[str], variables: Mapping[str, str], wanted: Set[str]) -> None:
        """See :class:`~devserver.supervisor.handle.Spawner`."""
        changed = self._warm.learn(modules, variables) if process.mode == "cold" else self._warm.extend(modules)
        changed |= self._warm.want(wanted)
        if changed:
            self._discard()
        self._prepare()

    checkpoints: ClassVar[Sequence[tuple[str, int]]] = ()

    def keep(self, process: Process, message: Message) -> bool:  # noqa: ARG002
        """See :class:`~devserver.supervisor.handle.Spawner`; its workers leave none."""
        return False

    def distrust_checkpoints(self) -> None:
        """See :class:`~devserver.supervisor.handle.Spawner`; there are none."""

    def stale(self, unfit: Mapping[str, str]) -> None:
        """See :class:`~devserver.supervisor.handle.Spawner`."""
        if unfit:
            self._warm.drop(unfit)
        self._discard()

    def retire(self) -> None:
        """See :class:`~devserver.supervisor.handle.Spawner`."""
        self._discard()

    def close(self) -> None:
        """See :class:`~devserver.supervisor.handle.Spawner`."""
        self._discard()

    def _take(self) -> Spare | None:
        if self._warm.drop_hidden(self._search_path):
            self._discard()
        if self._spare is None:
            # The first start, when it is known what will be needed: no worse than cold.
            self._prepare()
        spare, self._spare = self._spare, None
        return spare if spare is not None and spare.process.poll() is None else None

    def _prepare(self) -> None:
        if self._spare is not None or not self._warm.usable:
            return
        environment = {**self._environment, **self._warm.variables}
        try:
            self._spare = Spare(self._warm.modules, self._first_party, self._listeners, environment, self._terminal)
        except OSError as exc:
            self._say(Notice("warning", f"No process can stand by: {exc}."))

    def _discard(self) -> None:
        spare, self._spare = self._spare, None
        if spare is not None:
            spare.process.kill()
            spare.channel.close()
            spare.process.wait()


class Spare:
    """A process that stands by.

    :raises OSError: it cannot be made.
    """

    def __init__(
        self,
        modules: Sequence[str],
        first_party: Container[str],
        listeners: Sequence[int],
        environment: Mapping[str, str],
        terminal: int | None,
    ) -> None:
        self.channel: SupervisorChannel
        self.channel, theirs = channel_pair()
        with theirs:
            try:
                started = start_interpreter(SPARE, theirs.fileno(), listeners, environment, terminal)
                self.process = StandbyProcess(started)
            except OSError:
                self.channel.close()
                raise
        self.channel.send(Plan(tuple(modules), first_party, environment, descriptors=0).to_message())
