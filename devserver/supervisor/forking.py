"""Workers that are forked from a zygote (:mod:`devserver.supervisor.zygote`), which has imported the warm set.

Before there is a zygote, when it refuses, or when it is no longer what a fresh process would be, the worker is started
cold: a :class:`ForkedProcess` can be either. The zygote is replaced in the background whenever the environment, the
installed packages or the warm set change, and goes with the last worker that was forked from it.

Workers of a zygote may leave checkpoints behind (:mod:`devserver.supervisor.checkpoint`). The next worker is forked
from the last of them that holds nothing that has changed; the others are given up first, and all of them with the
zygote.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import selectors
import socket
import sys
from collections.abc import Callable, Container, Mapping, Sequence, Set
from pathlib import Path

from devserver.errors import ConfigError
from devserver.events import Notice
from devserver.supervisor.chain import Chain
from devserver.supervisor.channel import Message, SupervisorChannel, channel_pair
from devserver.supervisor.early import Early, start_zygote
from devserver.supervisor.forked import Checkpoint, ForkedProcess, Parent, Zygote
from devserver.supervisor.handle import Handle, Job, Process
from devserver.supervisor.import_record import ImportRecord
from devserver.supervisor.plan import STARTUP, Plan
from devserver.supervisor.warm_set import WarmSet

UNFIT_ROUNDS_MAX = 8
"""How often in a row a zygote may turn out to hold what it must not."""
CRASHES_MAX = 2


def why_not_fork(environ: Mapping[str, str]) -> str:
    """The reason why a warm process cannot be forked here, or an empty string."""
    needed = ("fork", "pidfd_open", "waitid", "killpg")
    if not all(hasattr(os, name) for name in needed) or not os.path.isdir("/proc/self/task"):
        return "forking a warm process needs Linux"
    return why_not_standby(environ)


def why_not_standby(environ: Mapping[str, str]) -> str:
    """The reason why nothing may be imported ahead of the app, or an empty string."""
    if sys.gettrace() is not None or {"pydevd", "debugpy"} & sys.modules.keys():
        return "a debugger runs"
    if "COVERAGE_PROCESS_START" in environ or "COVERAGE_PROCESS_CONFIG" in environ:
        return "coverage is measured"
    return ""


class ForkSpawner:
    """See :class:`~devserver.supervisor.handle.Spawner`.

    :param root: the project's root folder.
    :param first_party: which files are the project's.
    :param search_path: the folder that the project's modules are imported from.
    :param say: tells the person something.
    :param on_stale: called with a process that holds what has changed on disk; no other one will.
    :param early: an interpreter that was started for the first zygote.
    :param on_unfit: called when it has turned out that this app cannot be forked, with the reason.
    :param checkpoints: how many there may be.
    """

    mode = "fork"
    why = ""

    def __init__(
        self,
        root: str | Path,
        first_party: Container[str],
        search_path: str,
        *,
        say: Callable[[Notice], None],
        on_stale: Callable[[Process], None],
        on_unfit: Callable[[str], None],
        early: Early | None = None,
        checkpoints: int = 0,
    ) -> None:
        self._first_party = first_party
        self._search_path = search_path
        self._say = say
        self._on_stale = on_stale
        self._on_unfit = on_unfit
        self._early = early
        self._closed = False
        self._warm = WarmSet(root)
        self._selector: selectors.BaseSelector | None = None
        self._terminal: int | None = None
        self._listeners: tuple[int, ...] = ()
        self._environment: Mapping[str, str] = {}
        self._ready: Zygote | None = None
        """Forks at once."""
        self._coming: Zygote | None = None
        """Still imports; takes the place of the other one when it has."""
        self._all: list[Parent] = []
        self._chain = Chain(checkpoints)
        self._unfit_rounds = 0
        self._crashes = 0

    def attach(self, selector: selectors.BaseSelector, terminal: int | None) -> None:
        """See :class:`~devserver.supervisor.handle.Spawner`."""
        self._selector, self._terminal = selector, terminal

    def spawn(self, job: Job, sockets: Sequence[socket.socket], *, fresh: bool = False) -> Handle:
        """See :class:`~devserver.supervisor.handle.Spawner`."""
        channel, theirs = channel_pair()
        self._listeners = tuple(sock.fileno() for sock in sockets)
        self._environment = job.environment
        process = ForkedProcess(theirs, self._listeners, job.environment, self._terminal)
        parent: Parent | None = None if fresh else self._choose()
        begins_with = ""
        left = job.checkpoints[: self._chain.length_max]
        if job.failed is not None:
            left = ()
        elif parent is not None:
            self._give_up(self._chain.settle(job.checkpoints))
            if self._chain.difference:
                self._say(Notice("debug", f"A checkpoint is given up: {self._chain.difference} has changed."))
            left = tuple(path for path in left if path not in self._chain.paths)
            if self._chain.last is not None:
                parent, begins_with = self._chain.last, self._chain.last.path
        try:
            first = dataclasses.replace(job, listeners=self._listeners, checkpoints=left).to_message()
        except ConfigError:
            channel.close()
            theirs.close()
            raise
        if parent is None:
            process.start_cold()
        else:
            parent.fork(process)
        channel.send(first)
        return Handle(process, channel, failed=job.failed, begins_with=begins_with)

    def learned(self, process: Process, modules: Sequence[str], variables: Mapping[str, str], wanted: Set[str]) -> None:
        """See :class:`~devserver.supervisor.handle.Spawner`."""
        if self._closed:
            return
        changed = self._warm.learn(modules, variables) if process.mode == "cold" else self._warm.extend(modules)
        changed |= self._warm.want(wanted)
        if changed or (self._ready is None and self._coming is None):
            self._begin()

    def keep(self, process: Process, message: Message) -> bool:
        """See :class:`~devserver.supervisor.handle.Spawner`."""
        waits = int(message["waits"])
        if not isinstance(process, ForkedProcess):
            return False
        parent = next((parent for parent in self._all if parent.let_go(waits, process)), None)
        if parent is None:
            return False
        channel = SupervisorChannel(socket.socket(fileno=message["fd"]))
        checkpoint = Checkpoint(channel, str(message["path"]), waits, ImportRecord.from_message(message))
        checkpoint.take(int(message["pid"]), process)
        self._watch(checkpoint)
        if parent is (self._chain.last or self._ready) and self._chain.length_max:
            self._chain.add(checkpoint)
        else:
            # What it was forked from has been given up meanwhile.
            checkpoint.retire()
        return True

    @property
    def checkpoints(self) -> Sequence[tuple[str, int]]:
        """See :class:`~devserver.supervisor.handle.Spawner`."""
        return [(link.path, link.pid) for link in self._chain.links]

    def distrust_checkpoints(self) -> None:
        """See :class:`~devserver.supervisor.handle.Spawner`."""
        self._chain.length_max = 0
        self._give_up(self._chain.clear())

    def stale(self, unfit: Mapping[str, str]) -> None:
        """See :class:`~devserver.supervisor.handle.Spawner`; a zygote that is stale has said so itself."""

    def fork(self, process: ForkedProcess) -> Mapping[str, str] | None:
        """Has something else than a worker forked, as soon as that is possible.

        :returns: the variables of the workers that it is a sibling of; None when there is no zygote.
        """
        zygote = self._ready or self._coming
        if zygote is None:
            return None
        zygote.fork(process)
        return zygote.environment

    @property
    def environment(self) -> Mapping[str, str] | None:
        """The variables of what is forked now; None when nothing is."""
        zygote = self._ready or self._coming
        return None if zygote is None else zygote.environment

    def retire(self) -> None:
        """Makes nothing any more; what has been made lives on."""
        self._closed = True
        for zygote in [*self._all]:
            if isinstance(zygote, Zygote):
                self._retire(zygote)

    def close(self) -> None:
        """See :class:`~devserver.supervisor.handle.Spawner`."""
        self._closed = True
        for parent in [*self._all]:
            self._forget(parent)
            parent.end()

    # Zygotes

    def _choose(self) -> Zygote | None:
        """The zygote that can fork a worker as a fresh process would be; None when there is none."""
        for zygote in (self._ready, self._coming):
            if zygote is not None and zygote.environment != self._environment:
                self._retire(zygote)
        if self._warm.drop_hidden(self._search_path):
            for zygote in (self._ready, self._coming):
                if zygote is not None:
                    self._retire(zygote)
            # What else hangs on the hidden one is learned from a fresh process.
            return None
        if self._ready is None and self._coming is None:
            self._begin()
        return self._ready or self._coming

    def _begin(self) -> None:
        """Starts a zygote from what is known now, in the place of one that is still coming."""
        earlier, self._coming = self._coming, None
        if not self._warm.usable or self._closed:
            return
        environment = {**self._environment, **self._warm.variables}
        try:
            early = None if self._early is None else self._early.take(environment)
            interpreter, channel = early or start_zygote(environment)
            zygote = Zygote(self._environment, interpreter, SupervisorChannel(channel))
        except OSError as exc:
            self._say(Notice("warning", f"A warm process cannot be started: {exc}."))
            return
        descriptors = self._listeners if self._terminal is None else (*self._listeners, self._terminal)
        plan = Plan(
            tuple(self._warm.modules), self._first_party, environment, len(descriptors), self._terminal is not None
        )
        zygote.plan(plan, descriptors)
        self._coming = zygote
        self._watch(zygote)
        if earlier is not None:
            waiting = earlier.give_up()
            self._retire(earlier)
            for process in waiting:
                zygote.fork(process)

    def _retire(self, zygote: Zygote) -> None:
        """Asks it for no further fork; it ends with its last worker."""
        if zygote is self._ready:
            self._ready = None
            self._give_up(self._chain.clear())
        if zygote is self._coming:
            self._coming = None
        for process in zygote.give_up():
            process.start_cold()
        zygote.retire()

    def _give_up(self, checkpoints: Sequence[Checkpoint]) -> None:
        for checkpoint in checkpoints:
            checkpoint.retire()

    def _watch(self, parent: Parent) -> None:
        if self._selector is None:
            raise AssertionError("attach() comes first")
        self._all.append(parent)
        self._selector.register(parent.channel, selectors.EVENT_READ, lambda: self._on_readable(parent))

    def _forget(self, parent: Parent) -> None:
        if parent in self._all:
            self._all.remove(parent)
            if self._selector is not None:
                with contextlib.suppress(KeyError, ValueError):
                    self._selector.unregister(parent.channel)

    # What they say

    def _on_readable(self, parent: Parent) -> None:
        messages = parent.channel.receive()
        if messages is None:
            self._lost(parent)
            return
        for message in messages:
            self._on_message(parent, message)

    def _on_message(self, parent: Parent, message: Message) -> None:
        match message.get("is"):
            case "forked":
                parent.forked(int(message["pid"]))
            case "refused":
                parent.refused()
                self._make_anew(parent, message["reason"])
            case "stale":
                process = parent.child(int(message["pid"]))
                self._make_anew(parent, message["reason"])
                if process is not None:
                    self._on_stale(process)
            case "exited":
                parent.exited(int(message["pid"]), int(message["code"]))
            case _ if isinstance(parent, Zygote):
                self._on_news(parent, message)
            case _:
                pass

    def _on_news(self, zygote: Zygote, message: Message) -> None:
        match message.get("is"):
            case "ready":
                self._unfit_rounds = 0
                self._became_ready(zygote, int(message["count"]), message["skipped"])
            case "unfit":
                self._became_unfit(zygote, {str(name): str(why) for name, why in message["modules"].items()})
            case _:
                pass

    def _make_anew(self, parent: Parent, reason: str) -> None:
        """What is wrong with a checkpoint is wrong with its zygote."""
        if self._ready is not None and (parent is self._ready or parent in self._chain):
            self._say(Notice("debug", f"The warm process is made anew: {reason}."))
            self._retire(self._ready)
            self._begin()

    def _became_ready(self, zygote: Zygote, count: int, skipped: Mapping[str, str]) -> None:
        if zygote is not self._coming:
            return
        earlier, self._ready, self._coming = self._ready, zygote, None
        if earlier is not None:
            self._retire(earlier)
        zygote.become_ready()
        for name, error in skipped.items():
            self._say(Notice("debug", f"{name} cannot be imported ahead of the app: {error}"))
        self._say(Notice("debug", f"Saves fork a process that has {count} modules imported."))

    def _became_unfit(self, zygote: Zygote, unfit: Mapping[str, str]) -> None:
        for name, reason in unfit.items():
            if reason and name != STARTUP and name not in self._warm.unfit:
                self._say(Notice("info", f"{name} {reason}, so every save imports it anew."))
        self._warm.drop(unfit)
        self._unfit_rounds += 1
        if zygote is not self._coming:
            return
        if self._unfit_rounds > UNFIT_ROUNDS_MAX or STARTUP in unfit:
            self._retire(zygote)
            self._on_unfit(next(f"{name} {why}".removeprefix(f"{STARTUP} ") for name, why in unfit.items() if why))
        else:
            self._begin()

    def _lost(self, parent: Parent) -> None:
        """It has ended, as it was asked to or not."""
        self._forget(parent)
        if isinstance(parent, Checkpoint):
            self._give_up(self._chain.drop(parent))
        was_needed = parent in (self._ready, self._coming)
        if isinstance(parent, Zygote) and was_needed:
            self._retire(parent)
        parent.end()
        if was_needed and not self._closed:
            self._crashes += 1
            if self._crashes >= CRASHES_MAX:
                self._on_unfit("the warm process crashed")
            else:
                self._begin()
