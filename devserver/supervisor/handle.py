"""The supervisor's view of one worker process, and how such a process is made.

A :class:`Spawner` knows how a process comes to life; the supervisor does not. :class:`ColdSpawner` starts a fresh
interpreter every time. Whatever the way, the result is a :class:`Handle`: a pid, a channel and a process group, in
which everything that the app starts ends with it.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import os
import pickle
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from devserver.errors import ConfigError
from devserver.supervisor.channel import Message, SupervisorChannel, channel_pair

if TYPE_CHECKING:
    import socket

    from devserver.config import Config
    from devserver.config.discovery import FirstParty
    from devserver.config.target import Target
    from devserver.events import AppFailed
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
    :ivar argv: ``sys.argv`` as the app would see it if it had been started directly.
    """

    config: Config
    target: Target
    root: str
    first_party: FirstParty
    listeners: tuple[int, ...]
    failed: AppFailed | None
    told_by: Teller
    argv: tuple[str, ...]

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


class Spawner(Protocol):
    """Makes worker processes in one of the reload modes."""

    mode: str
    """``fork``, ``standby`` or ``cold``."""

    def spawn(self, job: Job, sockets: Sequence[socket.socket], environment: Mapping[str, str]) -> Handle:
        """Starts a process that does ``job``; ``job.listeners`` are filled in from ``sockets``."""

    def close(self) -> None:
        """Ends whatever is kept in reserve."""


class ColdSpawner:
    """Every worker is a fresh interpreter."""

    mode = "cold"

    def spawn(self, job: Job, sockets: Sequence[socket.socket], environment: Mapping[str, str]) -> Handle:
        """See :class:`Spawner`."""
        channel, theirs = channel_pair()
        with theirs:
            listeners = tuple(sock.fileno() for sock in sockets)
            try:
                first = dataclasses.replace(job, listeners=listeners).to_message()
            except ConfigError:
                channel.close()
                raise
            process = subprocess.Popen(
                [sys.executable, *interpreter_flags(), "-c", _bootstrap(theirs.fileno())],
                env=environment,
                # A process that is not in the terminal's foreground group is stopped by the kernel when it reads there.
                stdin=subprocess.DEVNULL,
                pass_fds=(*listeners, theirs.fileno()),
                process_group=0,
            )
        channel.send(first)
        return Handle(process, channel, is_page=job.failed is not None)

    def close(self) -> None:
        """See :class:`Spawner`."""


@dataclass(eq=False)
class Handle:
    """One worker process.

    :ivar is_page: it only shows an error.
    :ivar loaded: it has imported the app, or said that it cannot.
    :ivar going: it was told to serve.
    :ivar serving: it has said that it serves the app.
    :ivar finished: it has stopped by itself, as its settings say.
    :ivar stopping: it was told to stop.
    :ivar killed: it was not asked.
    :ivar deadline: when it is killed, as ``time.monotonic()``; infinite while it may live.
    :ivar exit_code: set when it has ended; negative for a signal.
    """

    process: subprocess.Popen[bytes]
    channel: SupervisorChannel
    is_page: bool = False
    loaded: bool = False
    going: bool = False
    serving: bool = False
    finished: bool = False
    stopping: bool = False
    killed: bool = False
    deadline: float = field(default=float("inf"))
    exit_code: int | None = None
    spawned_at: float = field(default_factory=time.monotonic)

    @property
    def pid(self) -> int:
        """The process, and the group that it leads."""
        return self.process.pid

    def go(self) -> None:
        """Lets it run the app's startup and serve; it has only imported so far."""
        if not self.going:
            self.going = True
            self.channel.send({"do": "go"})

    def stop(self, grace_s: float) -> None:
        """Asks it to start no further request and to end; :attr:`deadline` is ``grace_s`` from now."""
        if not self.stopping:
            self.stopping = True
            self.deadline = time.monotonic() + grace_s
            self.channel.send({"do": "stop"})

    def kill(self) -> None:
        """Ends it and everything in its process group, now."""
        self.stopping = self.killed = True
        _kill_group(self.pid)
        # Stopped by Ctrl+Z or a debugger, a process dies of SIGKILL all the same; one that left its group is hit here.
        with contextlib.suppress(OSError):
            self.process.kill()

    def poll(self) -> int | None:
        """Its exit code when it has ended, else None. What it left in its process group is killed."""
        if self.exit_code is None and self._has_ended():
            # Before it is reaped, so that the number of the group cannot belong to anybody else yet.
            _kill_group(self.pid)
            self.exit_code = self.process.wait()
        return self.exit_code

    def close(self) -> None:
        """Closes the channel."""
        self.channel.close()

    def _has_ended(self) -> bool:
        if not hasattr(os, "waitid"):
            return self.process.poll() is not None
        try:
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return True


def _kill_group(pid: int) -> None:
    if hasattr(os, "killpg"):
        with contextlib.suppress(OSError):
            os.killpg(pid, signal.SIGKILL)


def _bootstrap(channel_fd: int) -> str:
    # The path comes first: with "-c" it begins with the current folder, where a user's queue.py would replace Python's.
    return f"import sys; sys.path[:] = {sys.path!a}; from devserver.supervisor.worker import main; main({channel_fd})"


_FLAGS = (
    ("debug", "-d"),
    ("dont_write_bytecode", "-B"),
    ("no_user_site", "-s"),
    ("no_site", "-S"),
    ("ignore_environment", "-E"),
    ("verbose", "-v"),
    ("bytes_warning", "-b"),
    ("quiet", "-q"),
    ("optimize", "-O"),
    ("isolated", "-I"),
    ("safe_path", "-P"),
)
"""Attribute of sys.flags, and the option that sets it; numbers repeat the letter."""


def interpreter_flags() -> list[str]:
    """The options that this interpreter was started with, for starting another like it."""
    found: list[str] = []
    implied = {"no_user_site", "ignore_environment", "safe_path"} if sys.flags.isolated else set()
    for name, option in _FLAGS:
        count = int(getattr(sys.flags, name))
        if count and name not in implied:
            found.append("-" + option[1] * count)
    extra: dict[str, Any] = dict(getattr(sys, "_xoptions", {}))
    if sys.flags.dev_mode:
        extra["dev"] = True
    for key, value in extra.items():
        found += ["-X", key if value is True else f"{key}={value}"]
    # -X dev and -b add filters of their own to the list; given again they would come before the user's.
    for text in sys.warnoptions:
        if not (text == "default" and sys.flags.dev_mode) and text not in {
            "default::BytesWarning",
            "error::BytesWarning",
        }:
            found.append(f"-W{text}")
    return found


def _unpicklable(config: Config) -> str:
    for known in dataclasses.fields(config):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                pickle.dumps(getattr(config, known.name))
            except Exception:
                return known.name
    return ""
