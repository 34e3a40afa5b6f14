"""How a process learns that another one has gone.

A descriptor that becomes readable then (pidfd_open(2), Linux 5.3) cannot be held up by a process that was forked
meanwhile, as the end of a pipe can, and never means another process later, as a pid may. Where nothing can wait for a
descriptor, the kernel ends the process (prctl(2), Linux).
"""

from __future__ import annotations

import os
import select
import signal
import sys

_PR_SET_PDEATHSIG = 1


def own() -> int:
    """Returns a descriptor of this process's life, for those who are forked from it; -1 where there is none."""
    if not hasattr(os, "pidfd_open"):
        return -1
    try:
        return os.pidfd_open(os.getpid())
    except OSError:
        # An older kernel, or a container that forbids it: the ends of channels tell it then.
        return -1


def is_over(fd: int) -> bool:
    """Returns whether the process that ``fd`` was made by has gone; False for -1."""
    if fd < 0:
        return False
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))


def end_with(parent: int) -> None:
    """Has the kernel kill this process when ``parent``, which forks on its main thread, is gone.

    For processes in which no thread may watch: they are forked themselves, or tests count their threads. The kernel
    forgets it when the process becomes another user.
    """
    if sys.platform == "linux":
        _set_death_signal(signal.SIGKILL)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)


def outlive() -> None:
    """Takes :func:`end_with` back."""
    if sys.platform == "linux":
        _set_death_signal(0)


def _set_death_signal(number: int) -> None:
    # Here, because few of those who import this need it.
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
