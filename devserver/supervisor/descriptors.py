"""The descriptors of a process, and how a forked copy lets go of those that are not its own.

A listening socket keeps its port, and an end of a pipe or socket pair keeps the other end from seeing that a process
has gone, for as long as any process holds a copy. So each fork names what may stay, and the rest goes. Regular files
and terminals stay: they hold nobody up, and logging opens them at any time.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Collection, Iterable, Set
from typing import TypeAlias

Held: TypeAlias = "tuple[int, int, int]"
"""A number, and the device and inode behind it: a number alone may belong to something else later."""

_FOLDERS = ("/proc/self/fd", "/dev/fd")
"""Where Linux, and where macOS and the BSDs list the descriptors of a process."""


_NUMBERS_MAX = 65_536
"""How many numbers are tried one by one, which takes some 30 ms."""


def held() -> frozenset[Held]:
    """Returns the sockets, pipes and kernel objects (epoll, pidfd, ...) that this process has open."""
    found = set()
    for fd in _numbers():
        try:
            status = os.fstat(fd)
        except OSError:
            # The descriptor of the listing itself.
            continue
        kind = stat.S_IFMT(status.st_mode)
        # Kernel objects have no type at all.
        if kind in {0, stat.S_IFSOCK, stat.S_IFIFO}:
            found.add((fd, status.st_dev, status.st_ino))
    return frozenset(found)


def without(known: Set[Held], fds: Iterable[int]) -> frozenset[Held]:
    """Returns ``known`` less those with the numbers ``fds``."""
    gone = {*fds}
    return frozenset(each for each in known if each[0] not in gone)


def let_go(known: Set[Held], kept: Collection[int] = ()) -> None:
    """Gives up what is open besides the standard streams, ``known`` and ``kept``.

    :param known: what :func:`held` has returned earlier.
    :param kept: numbers of further descriptors that stay.
    """
    replace(each[0] for each in held() - known if each[0] > 2 and each[0] not in kept)


def replace(fds: Iterable[int]) -> None:
    """Puts ``/dev/null`` in the place of descriptors; numbers that are not open are left out.

    Closing them would free their numbers, and the Python objects that still have those would later close what has come
    in their place.
    """
    numbers = [fd for fd in fds if _is_open(fd)]
    if not numbers:
        return
    try:
        null = os.open(os.devnull, os.O_RDWR)
    except OSError:
        # No number may be left: then one of these makes room.
        os.close(numbers[0])
        try:
            null = os.open(os.devnull, os.O_RDWR)
        except OSError:
            # There is no /dev.
            for fd in numbers[1:]:
                os.close(fd)
            return
    for fd in numbers:
        if fd != null:
            os.dup2(null, fd, inheritable=False)
    if null not in numbers:
        os.close(null)


def reserve_standard_streams() -> None:
    """Opens ``/dev/null`` as each standard stream that was closed when this process started.

    Otherwise the next sockets would get the numbers 0 to 2, and whatever writes to standard output or starts a child
    would write to them, or pass them on.
    """
    for fd, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if _is_open(fd):
            continue
        # The lowest free number is taken, which is this one.
        null = os.open(os.devnull, os.O_RDWR)
        os.set_inheritable(null, True)
        if getattr(sys, name) is None:
            stream = open(null, mode, encoding="utf-8", closefd=False)  # noqa: SIM115 - lives as long as the process
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def _numbers() -> list[int]:
    for folder in _FOLDERS:
        try:
            return [int(name) for name in os.listdir(folder)]
        except OSError:
            # There is no such folder, or no number is left to read it with.
            continue
    # Here, because Windows has none.
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return [*range(min(soft, _NUMBERS_MAX) if soft >= 0 else _NUMBERS_MAX)]
