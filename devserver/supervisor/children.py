"""Every fork of ours, and what the app's own forks get.

A process of ours keeps only the descriptors that are named for it, and never returns into its parent's code by an
exception. A process that the app forks in a worker (``multiprocessing``, ``os.fork``) is none of ours: it gets Python's
own signal handling, and neither the listening sockets nor the connections, because a child that outlives its worker
would keep the port and the clients.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import warnings
from collections.abc import Callable, Collection, Iterable, Set
from typing import TYPE_CHECKING, NoReturn

from devserver.errors import EXIT_INTERNAL
from devserver.supervisor import descriptors

if TYPE_CHECKING:
    from devserver.supervisor.descriptors import Held

_is_ours = False
"""The fork that is under way is one of ours."""


def fork(known: Set[Held], kept: Collection[int] = ()) -> int:
    """Forks, as ``os.fork()`` does; the child lets go of all descriptors but those that are named.

    :param known: what :func:`~devserver.supervisor.descriptors.held` has returned earlier.
    :param kept: numbers of further descriptors.
    :returns: 0 in the child, the child's pid in the parent.
    :raises OSError: no process can be made.
    """
    pid = _fork()
    if not pid:
        descriptors.let_go(known, kept)
    return pid


def start(run: Callable[[], NoReturn], known: Set[Held], kept: Collection[int] = ()) -> int:
    """Forks a process that calls ``run`` and ends there, even if that raises. See :func:`fork`.

    :returns: the child's pid.
    :raises OSError: no process can be made.
    """
    pid = _fork()
    if pid:
        return pid
    try:
        descriptors.let_go(known, kept)
        run()
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        # What the parent does next is on the stack below us.
        os._exit(EXIT_INTERNAL)


def make_ordinary(own: Callable[[], Iterable[int]]) -> None:
    """Makes the processes that the app forks in this one ordinary; to be called once.

    :param own: returns the descriptors that are ours alone; called in each of them.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: _become_ordinary(own))


def ignore(number: int, _: object = None) -> None:
    """Does nothing: the handler of signals that are for another process.

    Unlike ``SIG_IGN`` it is not inherited by a program that is started from here.
    """


def _fork() -> int:
    global _is_ours
    _is_ours = True
    try:
        with warnings.catch_warnings():
            # CPython warns of any thread; ours are known.
            warnings.simplefilter("ignore", DeprecationWarning)
            return os.fork()
    finally:
        _is_ours = False


def _become_ordinary(own: Callable[[], Iterable[int]]) -> None:
    if _is_ours:
        return
    # Whatever the app's state is in the middle of a fork, its child must come to life.
    with contextlib.suppress(Exception):
        descriptors.replace(own())
    with contextlib.suppress(Exception):
        signal.set_wakeup_fd(-1)
        for number in signal.valid_signals():
            if _is_ours_to_handle(signal.getsignal(number)):
                default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
                signal.signal(number, default)


def _is_ours_to_handle(handler: object) -> bool:
    return callable(handler) and str(getattr(handler, "__module__", "")).startswith("devserver.")
