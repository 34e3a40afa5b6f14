"""Workers that are fresh interpreters: slow to start, and with nothing in them that could be stale."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from devserver.errors import ConfigError
from devserver.supervisor.channel import channel_pair
from devserver.supervisor.handle import Handle, Job, Process, kill_group

if TYPE_CHECKING:
    import selectors
    import socket

WORKER = "devserver.supervisor.worker"


class ColdSpawner:
    """Every worker is a fresh interpreter.

    :param why: the reason, when something else was wanted.
    """

    mode = "cold"

    def __init__(self, why: str = "") -> None:
        self.why = why

    def attach(self, selector: selectors.BaseSelector) -> None:
        """See :class:`Spawner`; there is nothing to wait for."""

    def spawn(self, job: Job, sockets: Sequence[socket.socket], *, fresh: bool = False) -> Handle:  # noqa: ARG002
        """See :class:`Spawner`."""
        channel, theirs = channel_pair()
        listeners = tuple(sock.fileno() for sock in sockets)
        with theirs:
            try:
                first = dataclasses.replace(job, listeners=listeners).to_message()
                process = ColdProcess.start(theirs, listeners, job.environment)
            except (ConfigError, OSError):
                channel.close()
                raise
        channel.send(first)
        return Handle(process, channel, failed=job.failed)

    def learned(self, process: Process, modules: Sequence[str], variables: Mapping[str, str]) -> None:
        """See :class:`Spawner`; nothing is kept warm."""

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
    def start(cls, channel: socket.socket, listeners: Sequence[int], environment: Mapping[str, str]) -> ColdProcess:
        """Starts a worker.

        :param channel: its end of the channel.
        :raises OSError: no process can be made.
        """
        return cls(start_interpreter(WORKER, channel.fileno(), listeners, environment))

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


def start_interpreter(
    module: str, channel_fd: int, inherited: Sequence[int], environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Starts ``module.main(channel_fd)`` in an interpreter like this one, in a process group of its own.

    :param inherited: descriptors that it has as well, under the same numbers.
    :raises OSError: no process can be made.
    """
    # The path comes first: with "-c" it begins with the current folder, where a user's queue.py would replace Python's.
    code = f"import sys; sys.path[:] = {sys.path!a}; from {module} import main; main({channel_fd})"
    return subprocess.Popen(
        [sys.executable, *interpreter_flags(), "-c", code],
        env=environment,
        # A process that is not in the terminal's foreground group is stopped by the kernel when it reads there.
        stdin=subprocess.DEVNULL,
        pass_fds=(*inherited, channel_fd),
        process_group=0,
    )


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
