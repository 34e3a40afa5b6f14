"""Workers that are forked from a zygote (:mod:`devserver.supervisor.zygote`), which has imported the warm set.

Before there is a zygote, when it refuses, or when it is no longer what a fresh process would be, the worker is started
cold: a :class:`ForkedProcess` can be either. The zygote is replaced in the background whenever the environment, the
installed packages or the warm set change, and goes with the last worker that was forked from it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import selectors
import signal
import socket
import sys
from collections import deque
from collections.abc import Callable, Container, Mapping, Sequence, Set
from pathlib import Path
from typing import Protocol

from devserver.errors import ConfigError
from devserver.events import Notice
from devserver.supervisor.channel import Message, SupervisorChannel, channel_pair
from devserver.supervisor.cold import ColdProcess
from devserver.supervisor.early import Early, start_zygote
from devserver.supervisor.handle import Handle, Job, Process, kill_group
from devserver.supervisor.plan import FORK, RETIRE, Plan
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
            kill_group(self._pid)
            # One that left its group, or has not made it yet, is hit here.
            with contextlib.suppress(OSError):
                os.kill(self._pid, signal.SIGKILL)
        elif not self.asked:
            self.exit_code = -signal.SIGKILL
            self.channel.close()


class ForkSpawner:
    """See :class:`~devserver.supervisor.handle.Spawner`.

    :param root: the project's root folder.
    :param first_party: which files are the project's.
    :param search_path: the folder that the project's modules are imported from.
    :param say: tells the person something.
    :param on_stale: called with a process that holds what has changed on disk; no other one will.
    :param early: an interpreter that was started for the first zygote.
    :param on_unfit: called when it has turned out that this app cannot be forked, with the reason.
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
        self._all: list[Zygote] = []
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
        try:
            first = dataclasses.replace(job, listeners=self._listeners).to_message()
        except ConfigError:
            channel.close()
            theirs.close()
            raise
        process = ForkedProcess(theirs, self._listeners, job.environment, self._terminal)
        zygote = None if fresh else self._choose()
        if zygote is None:
            process.start_cold()
        else:
            zygote.fork(process)
        channel.send(first)
        return Handle(process, channel, failed=job.failed)

    def learned(self, process: Process, modules: Sequence[str], variables: Mapping[str, str], wanted: Set[str]) -> None:
        """See :class:`~devserver.supervisor.handle.Spawner`."""
        if self._closed:
            return
        changed = self._warm.learn(modules, variables) if process.mode == "cold" else self._warm.extend(modules)
        changed |= self._warm.want(wanted)
        if changed or (self._ready is None and self._coming is None):
            self._begin()

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
            self._retire(zygote)

    def close(self) -> None:
        """See :class:`~devserver.supervisor.handle.Spawner`."""
        self._closed = True
        for zygote in [*self._all]:
            self._forget(zygote)
            zygote.end()

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
        self._all.append(zygote)
        if self._selector is None:
            raise AssertionError("attach() comes first")
        self._selector.register(zygote.channel, selectors.EVENT_READ, lambda: self._on_readable(zygote))
        if earlier is not None:
            waiting = earlier.give_up()
            self._retire(earlier)
            for process in waiting:
                zygote.fork(process)

    def _retire(self, zygote: Zygote) -> None:
        """Asks it for no further fork; it ends with its last worker."""
        if zygote is self._ready:
            self._ready = None
        if zygote is self._coming:
            self._coming = None
        for process in zygote.give_up():
            process.start_cold()
        zygote.retire()

    def _forget(self, zygote: Zygote) -> None:
        if zygote in self._all:
            self._all.remove(zygote)
            if self._selector is not None:
                with contextlib.suppress(KeyError, ValueError):
                    self._selector.unregister(zygote.channel)

    # What zygotes say

    def _on_readable(self, zygote: Zygote) -> None:
        messages = zygote.channel.receive()
        if messages is None:
            self._lost(zygote)
            return
        for message in messages:
            self._on_message(zygote, message)

    def _on_message(self, zygote: Zygote, message: Message) -> None:
        match message.get("is"):
            case "ready":
                self._unfit_rounds = 0
                self._became_ready(zygote, int(message["count"]), message["skipped"])
            case "unfit":
                self._became_unfit(zygote, {str(name): str(why) for name, why in message["modules"].items()})
            case "forked":
                zygote.forked(int(message["pid"]))
            case "refused":
                zygote.refused()
                self._make_anew(zygote, message["reason"])
            case "stale":
                process = zygote.child(int(message["pid"]))
                self._make_anew(zygote, message["reason"])
                if process is not None:
                    self._on_stale(process)
            case "exited":
                zygote.exited(int(message["pid"]), int(message["code"]))
            case _:
                pass

    def _make_anew(self, zygote: Zygote, reason: str) -> None:
        if zygote is self._ready:
            self._say(Notice("debug", f"The warm process is made anew: {reason}."))
            self._retire(zygote)
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
            if reason and name not in self._warm.unfit:
                self._say(Notice("info", f"{name} {reason}, so every save imports it anew."))
        self._warm.drop(unfit)
        self._unfit_rounds += 1
        if zygote is not self._coming:
            return
        if self._unfit_rounds > UNFIT_ROUNDS_MAX or "?" in unfit:
            self._retire(zygote)
            self._on_unfit(next(f"{name} {why}".removeprefix("? ") for name, why in unfit.items() if why))
        else:
            self._begin()

    def _lost(self, zygote: Zygote) -> None:
        """It has ended, as it was asked to or not."""
        self._forget(zygote)
        was_needed = zygote in (self._ready, self._coming)
        if was_needed:
            self._retire(zygote)
        zygote.end()
        if was_needed and not self._closed:
            self._crashes += 1
            if self._crashes >= CRASHES_MAX:
                self._on_unfit("the warm process crashed")
            else:
                self._begin()


class Owned(Protocol):
    """A process that can be ended: a :class:`subprocess.Popen`, or what a zygote has forked."""

    def kill(self) -> None:
        """Ends it."""

    def wait(self) -> object:
        """Returns when it has ended, if it is our own child."""


class Zygote:
    """The supervisor's view of one zygote.

    :param basis: the environment of the workers that it can stand in for.
    :param process: what :func:`~devserver.supervisor.early.start_zygote` has started.
    :param channel: to it.
    """

    def __init__(self, basis: Mapping[str, str], process: Owned, channel: SupervisorChannel) -> None:
        self.environment = dict(basis)
        self.channel = channel
        self._process = process
        self._is_ready = False
        self._waiting: deque[ForkedProcess] = deque()
        self._asked: deque[ForkedProcess] = deque()
        self._children: dict[int, ForkedProcess] = {}

    def plan(self, plan: Plan, descriptors: Sequence[int]) -> None:
        """Tells it what to import, and gives it the descriptors that its workers have."""
        self.channel.send(plan.to_message())
        for fd in descriptors:
            self.channel.send({"do": "inherit"}, os.dup(fd))

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

    def become_ready(self) -> None:
        """It has imported everything."""
        self._is_ready = True
        while self._waiting:
            self.fork(self._waiting.popleft())

    def forked(self, pid: int) -> None:
        """It has made what it was asked for first."""
        process = self._asked.popleft()
        self._children[pid] = process
        process.forked(pid)

    def refused(self) -> None:
        """It does not make what it was asked for first."""
        self._asked.popleft().start_cold()

    def child(self, pid: int) -> ForkedProcess | None:
        """The process of that number, if it lives."""
        return self._children.get(pid)

    def exited(self, pid: int, code: int) -> None:
        """A process of its own has ended."""
        process = self._children.pop(pid, None)
        if process is not None:
            process.exit_code = code

    def give_up(self) -> list[ForkedProcess]:
        """The processes that it has not been asked for yet; they are somebody else's now."""
        waiting = [*self._waiting]
        self._waiting.clear()
        return waiting

    def retire(self) -> None:
        """It ends with its last worker."""
        for process in [*self._children.values()]:
            process.retire()
        if self._is_ready:
            with contextlib.suppress(OSError):
                self.channel.socket.send(RETIRE)
        else:
            self._kill()

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
        self._kill()
        self.channel.close()

    def _kill(self) -> None:
        with contextlib.suppress(OSError):
            self._process.kill()
        self._process.wait()
