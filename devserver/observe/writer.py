"""Bytes to a file descriptor, without ever waiting for whoever reads it.

A pipe that nobody reads blocks its writer for ever, and the blocking mode of a descriptor belongs to all processes that
share it, so it must not be changed. Therefore an :class:`Outlet` asks ``poll`` first and writes at most ``PIPE_BUF``
bytes at a time, which POSIX promises not to block then; what cannot go waits in a bounded backlog. A :class:`Pump` is
the thread that tries again: it sleeps while there is nothing to do, and looks every 20 ms while there is.

Nothing here knows what the bytes mean.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import stat
import threading
import time
import weakref
from collections.abc import Callable

BACKLOG_BYTES_MAX = 1 << 20
"""Kept for a reader that has paused; about 10,000 access lines, the number that may also wait unformatted."""

INTERVAL_S = 0.02
"""Long enough to make batches of what a busy loop appends, too short for a person to notice."""

EXIT_WAIT_S = 0.5
"""How long the end of the interpreter waits for all pumps together."""

_CHUNK = getattr(select, "PIPE_BUF", 512)

# Two threads that have both seen room for 4,096 bytes would not both find it. Only moments are spent under it.
_write_lock = threading.Lock()


class Outlet:
    """A descriptor of its own onto an open file, pipe or terminal, and the bytes that could not be written yet.

    :param fd: duplicated, so that closing the original stream cannot redirect us into another file.
    """

    def __init__(self, fd: int) -> None:
        self.fd = os.dup(fd)
        self.broken = False
        """The reader has gone, or the descriptor is no good: nothing will ever be written again."""
        self.error: OSError | None = None
        """Why bytes were lost, the last time that the system refused them."""
        self._backlog = bytearray()
        self._lock = threading.Lock()
        self._never_blocks = _never_blocks(self.fd)
        _outlets.add(self)

    @property
    def waiting(self) -> bool:
        """Whether bytes are left that :meth:`push` could not write."""
        return bool(self._backlog)

    @property
    def full(self) -> bool:
        """Whether more bytes would be refused."""
        return len(self._backlog) >= BACKLOG_BYTES_MAX

    def put(self, data: bytes) -> bool:
        """Adds ``data`` behind what waits and writes what goes; False when it was dropped because too much waits."""
        with self._lock:
            if self.broken or len(self._backlog) >= BACKLOG_BYTES_MAX:
                return False
            self._backlog += data
            self._write()
        return True

    def push(self) -> bool:
        """Writes what can be written now; True when nothing is left."""
        with self._lock:
            self._write()
        return not self._backlog

    def replace(self, fd: int) -> None:
        """Goes on with another descriptor, which it takes over; what waits is written there."""
        with self._lock:
            os.close(self.fd)
            self.fd = fd
            self.broken = False
            self._never_blocks = _never_blocks(fd)

    def discard(self) -> None:
        """Gives up what waits."""
        with self._lock:
            self._backlog.clear()

    def close(self) -> None:
        """Closes our duplicate; what waits is lost."""
        with self._lock:
            with contextlib.suppress(OSError):
                os.close(self.fd)
            self.fd = -1
            self.broken = True
            self._backlog.clear()

    def reset_after_fork(self) -> None:
        """In a forked child: what waits is the parent's to write."""
        self._lock = threading.Lock()
        self._backlog.clear()

    def _write(self) -> None:
        while self._backlog and not self.broken:
            try:
                with _write_lock:
                    if self._never_blocks:
                        written = os.write(self.fd, self._backlog)
                    elif _writable(self.fd):
                        written = os.write(self.fd, self._backlog[:_CHUNK])
                    else:
                        return
            except BlockingIOError:
                # Somebody else made the shared descriptor non-blocking.
                return
            except OSError as exc:
                self.error = exc
                # A full disk may get room again, so those bytes alone are given up; a reader that left does not return.
                self.broken = not self._never_blocks or isinstance(exc, BrokenPipeError)
                self._backlog.clear()
                return
            del self._backlog[:written]


class Pump:
    """A daemon thread that calls ``step`` every 20 ms while it has something to do, and sleeps when it has not.

    The thread is started by the first :meth:`wake`, so that a process which has nothing to write has no thread, and
    so that a forked child, which has lost its parent's thread, gets one of its own when it needs it.

    :param step: does what can be done without waiting; True when it wants to be called again.
    :param name: of the thread.
    :param forget: called in a forked child: what waits is the parent's to write.
    """

    def __init__(self, step: Callable[[], bool], *, name: str, forget: Callable[[], None]) -> None:
        self._step = step
        self._name = name
        self._forget = forget
        self._closed = False
        self._failed = False
        self._reset()
        _pumps.add(self)

    def wake(self) -> None:
        """Says that there is something to do; cheap, and callable from any thread."""
        if self._thread is None and not _in_turns:
            self._start()
        self._work.set()

    def turn(self) -> bool:
        """Does what there is to do, on this thread; whether there is more."""
        if self._work.is_set() and not self._try_step():
            self._work.clear()
        return self._work.is_set()

    def drain(self, timeout_s: float) -> bool:
        """Waits until ``step`` has nothing left to do; False when that took too long. The pump stays usable."""
        deadline = time.monotonic() + timeout_s
        if _in_turns:
            while self.turn() and time.monotonic() < deadline:
                time.sleep(0.001)
            return not self._work.is_set()
        if self._thread is None or self._closed:
            return True
        self._hurry.set()
        self._work.set()
        try:
            while not (self._idle and not self._work.is_set()):
                if time.monotonic() >= deadline or not self._thread.is_alive():
                    return False
                time.sleep(0.001)
            return True
        finally:
            self._hurry.clear()

    def close(self, timeout_s: float) -> bool:
        """Lets the thread finish its work and ends it; False when ``timeout_s`` was not enough and work is given up."""
        if _in_turns and not self._closed:
            self._closed = True
            return self.drain(timeout_s)
        if self._closed or self._thread is None:
            self._closed = True
            return True
        finished = self.drain(timeout_s)
        self._closed = True
        self._hurry.set()
        self._work.set()
        # It only sleeps now, or is stuck in a handler that is not ours; either way there is nothing to wait for.
        self._thread.join(0.1)
        return finished

    def pause(self, timeout_s: float) -> bool:
        """Lets the thread finish its work and ends it until there is more; False when ``timeout_s`` was not enough."""
        thread = self._thread
        if thread is None or self._closed:
            return True
        if not self.drain(timeout_s):
            return False
        self._closed = True
        self._hurry.set()
        self._work.set()
        thread.join(timeout_s)
        ended = not thread.is_alive()
        if ended:
            self._reset()
        else:
            self._closed = False
        return ended

    def reset_after_fork(self) -> None:
        """In a forked child: the thread and the state of its locks stayed in the parent."""
        self._reset()
        self._forget()

    def _reset(self) -> None:
        self._thread: threading.Thread | None = None
        self._work = threading.Event()
        self._hurry = threading.Event()
        self._start_lock = threading.Lock()
        self._idle = True
        self._closed = False

    def _start(self) -> None:
        with self._start_lock:
            if self._thread is None and not self._closed:
                thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                try:
                    thread.start()
                except RuntimeError:
                    # The interpreter is ending, or the process may have no more threads: what waits is lost.
                    return
                self._thread = thread

    def _run(self) -> None:
        work = self._work
        while True:
            self._idle = True
            work.wait()
            self._idle = False
            work.clear()
            more = True
            while more and not self._closed:
                # While somebody waits for us there is no point in making batches, but still none in spinning.
                if self._hurry.wait(INTERVAL_S):
                    time.sleep(0.001)
                more = self._try_step()
            if self._closed:
                return

    def _try_step(self) -> bool:
        try:
            return self._step()
        except Exception as exc:
            # A mistake of ours must not end the thread. It is reported once, or it would fill the log.
            if not self._failed:
                self._failed = True
                args = (type(exc), exc, exc.__traceback__, threading.current_thread())
                threading.excepthook(threading.ExceptHookArgs(args))
            return False


def _never_blocks(fd: int) -> bool:
    """Whether it is neither a pipe, a socket nor a terminal, so that nobody at the other end can hold us up."""
    mode = os.fstat(fd).st_mode
    return not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(fd))


if hasattr(select, "poll"):

    def _writable(fd: int) -> bool:
        poll = select.poll()
        poll.register(fd, select.POLLOUT)
        # An error condition counts as writable: the write then says what is wrong.
        return bool(poll.poll(0))

else:

    def _writable(fd: int) -> bool:
        # Windows can wait for sockets only.
        return fd >= 0


_in_turns = False
"""Whether somebody calls :func:`turn`, and no thread is started."""
_outlets: weakref.WeakSet[Outlet] = weakref.WeakSet()
_pumps: weakref.WeakSet[Pump] = weakref.WeakSet()


def take_turns() -> None:
    """Starts no thread from now on: this process is going to fork, and calls :func:`turn` instead.

    A forked child has threads again.
    """
    global _in_turns
    _in_turns = True


def turn() -> bool:
    """Writes what can be written; whether there is more, so that it should be called again in 20 ms."""
    # A sum calls all of them; any() would stop at the first that has more to do.
    return sum(pump.turn() for pump in list(_pumps)) > 0


def _after_fork_in_child() -> None:
    global _in_turns, _write_lock
    _in_turns = False
    _write_lock = threading.Lock()
    for outlet in list(_outlets):
        outlet.reset_after_fork()
    for pump in list(_pumps):
        pump.reset_after_fork()


def pause(timeout_s: float) -> bool:
    """Ends every thread until there is more to write; False when ``timeout_s`` was not enough for one of them.

    To be called before a fork, by a process whose other threads are at rest.
    """
    return all(pump.pause(timeout_s) for pump in list(_pumps))


def flush(timeout_s: float) -> bool:
    """Waits until everything that was handed over is written; False when ``timeout_s`` was not enough.

    To be called before ``os._exit``, which skips what the interpreter does at its end.
    """
    deadline = time.monotonic() + timeout_s
    finished = True
    for pump in list(_pumps):
        # Each gets its attempt, even when an earlier one used up the time.
        finished &= pump.drain(max(0.0, deadline - time.monotonic()))
    return finished


atexit.register(flush, EXIT_WAIT_S)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
