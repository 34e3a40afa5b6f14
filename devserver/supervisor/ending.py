"""How a process ends when its server has stopped: in Python's order, within limits.

Python runs the exit hooks of :mod:`threading` first, which is where :mod:`concurrent.futures` ends the threads and
processes of idle executors; then it waits for threads, and then it calls the functions of :mod:`atexit`, among them
those of :mod:`weakref`, :mod:`tempfile` and :mod:`multiprocessing`. Each of these steps may take for ever in Python.
Here each has a limit, and what is left when it is over does not keep the next step from being done.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import NoReturn

from devserver.errors import EXIT_OK
from devserver.observe import writer

THREADS_S = 1.0
"""How long the threads of a stopped server may take to end, executors' included: a call in one cannot be cancelled."""

UNAWAITED_S = 4.0
"""How much longer they may take when new code serves already, and nobody waits for this process."""

EXIT_FUNCTIONS_S = 5.0
"""How long the functions of :mod:`atexit` may take: Sentry's client takes 2 s to send what it has."""

LEFT_S = 1.0
"""How long the children of a worker may take to obey SIGTERM."""

FLUSH_S = 0.5
"""How long the last log lines may take."""

END_S = THREADS_S + EXIT_FUNCTIONS_S + LEFT_S + FLUSH_S
"""How long all of it may take; whoever waits for a process adds this."""

_STEP_S = 0.01


def end_threads(code: int, *, threads_s: float = THREADS_S) -> None:
    """Returns when no thread but the main one holds the interpreter; if one does, ends the process without it.

    A call in a thread cannot be cancelled: without this a ``time.sleep(20)`` in an endpoint would delay the end of a
    server that has stopped by as much, because the interpreter waits for its threads.

    :param code: the exit code to end with.
    :param threads_s: how long they may take.
    """
    if not _join_threads(threads_s):
        _end_pools()
        limit(code)
        _call_exit_functions()
        end_process(code)


def end_worker(code: int, *, is_orphan: Callable[[], bool]) -> NoReturn:
    """Ends a worker as Python would, though it was forked and its parent's code is on the stack; its group as well.

    :param code: the exit code to end with.
    :param is_orphan: nobody is left to end what it leaves in its process group.
    """

    def end() -> NoReturn:
        writer.flush(FLUSH_S)
        if is_orphan():
            end_group()
        os._exit(code)

    if not _join_threads(THREADS_S):
        _end_pools()
    over = limit(code, end)
    _call_exit_functions()
    over.set()
    end_children()
    end()


def limit(code: int, end: Callable[[], object] | None = None) -> threading.Event:
    """Ends this process when the functions of :mod:`atexit` have not come to their end in time.

    :param code: the exit code to end with.
    :param end: what ends it; :func:`end_process` when left out.
    :returns: to be set when they have.
    """
    over = threading.Event()

    def watch() -> None:
        if over.wait(EXIT_FUNCTIONS_S):
            return
        if end is not None:
            end()
        end_process(code)

    # A thread, since a function that hangs may hang in C code, which no signal interrupts.
    threading.Thread(target=watch, name="devserver-end", daemon=True).start()
    return over


def limit_at_exit(code: int) -> None:
    """Has the functions of :mod:`atexit` limited when Python comes to call them.

    :param code: the exit code to end with.
    """
    begun = threading.Event()

    def watch() -> None:
        begun.wait()
        time.sleep(EXIT_FUNCTIONS_S)
        end_process(code)

    # The thread is started now, as none can be started by then; what is registered last is called first.
    threading.Thread(target=watch, name="devserver-end", daemon=True).start()
    atexit.register(begun.set)


def end_process(code: int) -> NoReturn:
    """Writes what was logged and ends the process, whatever its other threads do."""
    writer.flush(FLUSH_S)
    os._exit(code)


def end_children() -> None:
    """Ends the children that this process, the leader of a group, has left in it."""
    if os.getpgrp() != os.getpid() or not hasattr(os, "waitid") or not _has_children():
        return
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(os.getpid(), signal.SIGTERM)
    deadline = time.monotonic() + LEFT_S
    while _has_children() and time.monotonic() < deadline:
        time.sleep(_STEP_S)
    # What does not obey is killed by whoever waits for this process.


def end_group() -> NoReturn:
    """Ends this process and everything that it has started, now. Only for the leader of a group."""
    if hasattr(os, "killpg"):
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(EXIT_OK)


def _join_threads(threads_s: float) -> bool:
    """Ends executors and waits for the threads that Python would wait for; False when one takes too long."""
    if not _waited_for():
        return True
    deadline = time.monotonic() + threads_s
    # They wait for threads themselves, so they get one of their own. Python calls them once more at its own end, which
    # does nothing then.
    hooks = threading.Thread(target=_call_threading_hooks, name="devserver-end-threads", daemon=True)
    hooks.start()
    hooks.join(threads_s)
    for thread in _waited_for():
        thread.join(max(0.0, deadline - time.monotonic()))
    return not hooks.is_alive() and not _waited_for()


def _waited_for() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each is not threading.main_thread() and not each.daemon]


def _call_threading_hooks() -> None:
    # Private, and the same from CPython 3.9 on: threading._register_atexit() adds to it.
    for hook in reversed([*getattr(threading, "_threading_atexits", ())]):
        with contextlib.suppress(Exception):
            hook()


def _end_pools() -> None:
    """Ends the processes of pools that are busy, for whose end :mod:`multiprocessing` would wait."""
    multiprocessing = sys.modules.get("multiprocessing")
    if multiprocessing is not None:
        with contextlib.suppress(Exception):
            for process in multiprocessing.active_children():
                process.terminate()


def _call_exit_functions() -> None:
    with contextlib.suppress(BaseException):
        atexit._run_exitfuncs()  # noqa: SLF001 - what the interpreter does at its end
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()


def _has_children() -> bool:
    """Whether there are children in this process's group; reaps those that have ended."""
    try:
        while os.waitid(os.P_PGID, os.getpid(), os.WEXITED | os.WNOHANG) is not None:
            pass
    except ChildProcessError:
        return False
    return True
