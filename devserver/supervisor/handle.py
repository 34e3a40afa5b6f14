"""The supervisor's view of one worker process: what it is to do, and the process, channel and group that do it.

How a process comes to life is a :class:`Spawner`'s business (:mod:`devserver.supervisor.cold`,
:mod:`devserver.supervisor.forking`). Whatever the way, what the app starts ends with its worker's process group.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import os
import pickle
import signal
import time
import warnings
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from devserver.errors import ConfigError

if TYPE_CHECKING:
    import selectors
    import socket

    from devserver.config import Config
    from devserver.config.discovery import FirstParty
    from devserver.config.target import Target
    from devserver.events import AppFailed, AppRaised
    from devserver.supervisor.channel import Message, SupervisorChannel
    from devserver.supervisor.observers import Teller


@dataclass(frozen=True)
class Job:
    """What a worker is to do; crosses the channel as the first message.

    :ivar config: the settings, without an app object.
    :ivar target: what to load; without an app object.
    :ivar root: the project's root folder.
    :ivar first_party: which files are the project's.
    :ivar listeners: descriptors of the listening sockets as the worker has them.
    :ivar failed: serve the page that shows this, and load nothing.
    :ivar told_by: who tells what happens to the worker.
    :ivar inspects: requests are told of as :class:`~devserver.events.RequestsSeen`, in the place of the access log's
        lines on standard output.
    :ivar last_failure: what went wrong last, in this worker's predecessors.
    :ivar checkpoints: files before which a forked worker leaves a checkpoint behind, when it can.
    :ivar argv: ``sys.argv`` as the app would see it if it had been started directly.
    :ivar environment: the variables of the process.
    """

    config: Config
    target: Target
    root: str
    first_party: FirstParty
    listeners: tuple[int, ...]
    failed: AppFailed | None
    told_by: Teller
    inspects: bool
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    last_failure: AppFailed | AppRaised | None = None
    checkpoints: tuple[str, ...] = ()

    def to_message(self) -> Message:
        """The job as a message.

        :raises ConfigError: an option holds an object that another process cannot be given.
        """
        try:
            pickled = pickle.dumps(self)
        except Exception as exc:
            raise ConfigError(
                f"{_unpicklable(self.config) or 'A setting'} cannot be handed to the process that is reloaded ({exc}).",
                hint="Define it in a module that can be imported, or turn reload off.",
            ) from exc
        return {"job": base64.b64encode(pickled).decode("ascii")}

    @staticmethod
    def from_message(message: Message) -> Job:
        """The inverse of :meth:`to_message`. The channel is a socket pair that nobody else holds, so it is trusted."""
        job = pickle.loads(base64.b64decode(message["job"]))
        if not isinstance(job, Job):
            raise AssertionError("the first message is a job")
        return job


class Process(Protocol):
    """A worker's process, and the group that it leads."""

    @property
    def pid(self) -> int:
        """0 while it is being made."""

    @property
    def mode(self) -> str:
        """How it was made: ``fork``, ``standby`` or ``cold``."""

    def poll(self) -> int | None:
        """Its exit code when it has ended (negative for a signal), else None. What it left in its group is killed."""

    def kill(self) -> None:
        """Ends it and everything in its group, now."""


class Spawner(Protocol):
    """Makes worker processes in one of the reload modes."""

    @property
    def mode(self) -> str:
        """How the next ones are made, if nothing comes between: ``fork``, ``standby`` or ``cold``."""

    @property
    def why(self) -> str:
        """Why not in a better way, or an empty string."""

    def attach(self, selector: selectors.BaseSelector, terminal: int | None) -> None:
        """Gets it ready to :meth:`spawn`.

        :param selector: what the spawner waits for is registered there, with a function to call as the key's data.
        :param terminal: the descriptor of the workers' standard streams, when they have some of their own.
        """

    def spawn(self, job: Job, sockets: Sequence[socket.socket], *, fresh: bool = False) -> Handle:
        """Starts a process that does ``job``; ``job.listeners`` are filled in from ``sockets``.

        :param fresh: nothing that was imported before may be used.
        """

    def learned(self, process: Process, modules: Sequence[str], variables: Mapping[str, str], wanted: Set[str]) -> None:
        """A worker has told what it imported from others, and which environment variables it had set before that.

        :param wanted: the modules that the project's own code names in its import statements.
        """

    def keep(self, process: Process, message: Message) -> bool:
        """A worker has left a checkpoint behind (:mod:`devserver.supervisor.checkpoint`), and is another process now.

        False when it is none of this spawner's.

        :param message: what the worker has told, with an ``fd`` that belongs to whoever returns True.
        """

    @property
    def checkpoints(self) -> Sequence[tuple[str, int]]:
        """The file that comes next in each checkpoint there is, and the pid of the process that waits there."""

    def distrust_checkpoints(self) -> None:
        """An import that went on from one has failed, and does not in a fresh process: there are to be none."""

    def stale(self, unfit: Mapping[str, str]) -> None:
        """A process that was kept in reserve held what it should not.

        :param unfit: modules that must not be imported ahead of the app → why; empty when files have changed.
        """

    def retire(self) -> None:
        """Makes nothing any more; what has been made lives on until :meth:`close`."""

    def close(self) -> None:
        """Ends what is kept in reserve, and what was forked."""


@dataclass(eq=False)
class Handle:
    """One worker process.

    :ivar failed: it only shows this.
    :ivar begins_with: the file that its import goes on from, if the process is forked; empty for all of the app.
    :ivar moved: the last file before which it left a checkpoint behind, and became another process.
    :ivar loaded: it has imported the app, or said that it cannot.
    :ivar going: it was told to serve.
    :ivar serving: it has said that it serves the app.
    :ivar takes: it serves something, be it the error: connections may be passed on to it.
    :ivar holds: it has found a change, and starts no request until it is told what to make of it.
    :ivar finished: it has stopped by itself, as its settings say.
    :ivar stopping: it was told to stop.
    :ivar stopped: it serves nothing any more and the app's shutdown is over; only the process has to end.
    :ivar killed: it was not asked.
    :ivar deadline: when it is killed, as ``time.monotonic()``; infinite while it may live.
    """

    process: Process
    channel: SupervisorChannel
    failed: AppFailed | None = None
    begins_with: str = ""
    moved: str = ""
    loaded: bool = False
    going: bool = False
    serving: bool = False
    takes: bool = False
    holds: bool = False
    finished: bool = False
    stopping: bool = False
    stopped: bool = False
    killed: bool = False
    deadline: float = field(default=float("inf"))
    spawned_at: float = field(default_factory=time.monotonic)

    @property
    def pid(self) -> int:
        """The process, and the group that it leads; 0 while it is being made."""
        return self.process.pid

    @property
    def resumed(self) -> str:
        """The file that its import went on from; empty when it imported all of the app."""
        return self.begins_with if self.process.mode == "fork" else ""

    @property
    def exit_code(self) -> int | None:
        """See :meth:`Process.poll`."""
        return self.process.poll()

    def go(self) -> None:
        """Lets it run the app's startup and serve; it has only imported so far."""
        if not self.going:
            self.going = True
            self.channel.send({"do": "go"})

    def stop(self, grace_s: float, *, give: bool) -> None:
        """Asks it to start no further request and to end; :attr:`deadline` is ``grace_s`` from now.

        :param give: it gives its connections to us instead of closing them.
        """
        if not self.stopping:
            self.stopping = True
            self.deadline = time.monotonic() + grace_s
            self.channel.send({"do": "stop", "give": give})

    def kill(self) -> None:
        """Ends it and everything in its process group, now."""
        self.stopping = self.killed = True
        self.process.kill()

    def close(self) -> None:
        """Closes the channel."""
        self.channel.close()


def kill_group(pid: int) -> None:
    """Ends every process of a group, if there is one."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(OSError):
            os.killpg(pid, signal.SIGKILL)


def kill_leader(pid: int) -> None:
    """Ends a process and the group that it leads, or is about to."""
    kill_group(pid)
    with contextlib.suppress(OSError):
        os.kill(pid, signal.SIGKILL)


def _unpicklable(config: Config) -> str:
    for known in dataclasses.fields(config):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                pickle.dumps(getattr(config, known.name))
            except Exception:
                return known.name
    return ""
