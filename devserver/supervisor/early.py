"""The interpreter of a zygote, started before it is known what it will import.

Otherwise the command would read its settings first, and only then would the interpreter that will fork begin to import
what a worker needs. Both take about as long, so they do it side by side. It is ended when the settings turn out to need
something else. What this module imports delays that process, so it is little.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from devserver.supervisor.interpreter import start_interpreter

if TYPE_CHECKING:
    import subprocess

ZYGOTE = "devserver.supervisor.zygote"
_READ_AT_ONCE = ("PYTHON", "LD_", "MALLOC_", "GLIBC_")
"""Beginnings of the names of variables that an interpreter or its libraries read before any module could set them."""


class Early:
    """The process and our end of its channel; made by :meth:`start`."""

    def __init__(self, process: subprocess.Popen[bytes], channel: socket.socket) -> None:
        self._made: tuple[subprocess.Popen[bytes], socket.socket] | None = (process, channel)
        self._path = [*sys.path]
        self._environment = dict(os.environ)

    @classmethod
    def start(cls) -> Early | None:
        """Starts it; None when that is impossible."""
        if not hasattr(os, "fork"):
            return None
        try:
            return cls(*start_zygote(os.environ))
        except OSError:
            return None

    def take(self, environment: Mapping[str, str]) -> tuple[subprocess.Popen[bytes], socket.socket] | None:
        """Hands both over, once; None when a process that is started now would be another one.

        :param environment: of the process that is wanted.
        """
        made, self._made = self._made, None
        if made is not None and (self._path != sys.path or self._read_at_once(environment)):
            _end(*made)
            return None
        return made

    def close(self) -> None:
        """Ends it unless it was taken."""
        made, self._made = self._made, None
        if made is not None:
            _end(*made)

    def _read_at_once(self, environment: Mapping[str, str]) -> bool:
        differing = {
            name for name in {*environment, *self._environment} if environment.get(name) != self._environment.get(name)
        }
        return any(name.startswith(_READ_AT_ONCE) for name in differing)


def start_zygote(environment: Mapping[str, str]) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Starts an interpreter that waits for its :class:`~devserver.supervisor.plan.Plan`.

    :raises OSError: no process can be made.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            return start_interpreter(ZYGOTE, theirs.fileno(), (), environment), ours
        except OSError:
            ours.close()
            raise


def _end(process: subprocess.Popen[bytes], channel: socket.socket) -> None:
    channel.close()
    process.kill()
    process.wait()
