"""The limit of open files: raised at the start, enough for the workers, and told of when it is reached.

uvloop turns connections away in silence when no descriptor is left, asyncio logs a traceback for each. So the server
looks for itself, once a second.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from typing import Any

try:
    import resource
except ImportError:  # Windows, which has no such limit
    resource = None  # type: ignore[assignment]

RAISED_MAX = 65_536
"""Soft limit at most: some programs that an app may start walk all descriptors up to it, and a container's hard limit
can be a thousand million."""
EACH_S = 60.0
"""Between two lines that say the same."""
OWN = 64
"""Descriptors of a process that serves nobody: of Python, the log, the event loop and libraries."""
OF_A_WORKER = 4
"""Descriptors of the master for each worker: a channel and a pipe, twice while it is replaced."""


def limit() -> int | None:
    """Returns how many files this process may open; None when there is no limit."""
    if resource is None:
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def raise_limit() -> None:
    """Raises the soft limit to the hard one, or to :data:`RAISED_MAX`. Processes that an app starts inherit it."""
    if resource is None:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = RAISED_MAX if hard == resource.RLIM_INFINITY else min(hard, RAISED_MAX)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):
        # macOS allows less than it says.
        return


def needed(workers: int, addresses: int) -> int:
    """Returns how many descriptors the master of so many workers needs.

    :param addresses: how many there are to listen on; each worker may have a socket for each.
    """
    return OWN + workers * (OF_A_WORKER + addresses)


class Exhaustion:
    """Says once a minute that no descriptor is left.

    :param say: told so.
    :param connections: returns how many there are.
    """

    def __init__(self, say: Callable[[str], object], connections: Callable[[], int]) -> None:
        self._say = say
        self._connections = connections
        self._due = 0.0

    def look(self, now: float) -> None:
        """Looks, by opening a file; call it once a second.

        :param now: the time of the event loop.
        """
        try:
            os.close(os.open(os.devnull, os.O_RDONLY))
        except OSError as exc:
            if exc.errno in {errno.EMFILE, errno.ENFILE} and now >= self._due:
                self._due = now + EACH_S
                self._say(self._text(exc.errno))

    def _text(self, number: int | None) -> str:
        who = "This system" if number == errno.ENFILE else f"This process ({limit()} files)"
        return (
            f"{who} can open no more files, so new connections are not served. {self._connections()} are open. "
            "Raise the limit (ulimit -n, LimitNOFILE= of systemd), or set --limit-connections below it."
        )


def keep_quiet(loop: asyncio.AbstractEventLoop) -> None:
    """Lets asyncio say nothing of connections that it cannot accept: it does so up to 2,048 times a second.

    uvloop says nothing of them anyway.
    """
    before = loop.get_exception_handler()
    if not isinstance(before, _Quiet) and isinstance(loop, asyncio.BaseEventLoop):
        loop.set_exception_handler(_Quiet(before))


class _Quiet:
    """An exception handler of an event loop.

    :param before: the handler that gets everything else; None for the loop's own.
    """

    def __init__(self, before: Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object] | None) -> None:
        self._before = before

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        exc = context.get("exception")
        if isinstance(exc, OSError) and exc.errno in _EXHAUSTED and "accept" in str(context.get("message")):
            return
        if self._before is None:
            loop.default_exception_handler(context)
        else:
            self._before(loop, context)


_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
