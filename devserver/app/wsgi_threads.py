"""The threads that call a WSGI app, and how work and results pass between them and the event loop.

Switching threads costs more than calling a small app, so it is done once for many requests. The requests of one loop
turn are handed over with one wake-up: the thread that wakes takes one after the other and, while more wait, has woken
one other thread, which comes to run only when the first one blocks or has had its time slice. Results are put on a
queue that the loop empties in one turn, with one wake-up for however many came together.

Threads are made when they are needed, are used again last in, first out, and end with :meth:`ThreadPool.close`. They
are daemons: an app that hangs does not hold the process.
"""

from __future__ import annotations

import _thread
import contextlib
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import asyncio


class Job(Protocol):
    """What a thread does."""

    def run(self) -> None:
        """Called in a thread; raises nothing."""

    def take(self, item: Any) -> None:
        """Called in the loop with each item that ``run`` has posted, in their order; with a RuntimeError when there
        is no thread to run it in."""


class ThreadPool:
    """At most so many threads.

    :param threads: how many.
    :param loop: whose requests they serve; :meth:`submit` is called on it.
    """

    def __init__(self, threads: int, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._threads_max = threads
        self._threads: list[threading.Thread] = []
        self._jobs: deque[Job] = deque()
        self._idle: list[_thread.LockType] = []
        """One locked lock for each thread that has nothing to do; whoever releases it wakes that thread."""
        self._waking = False
        """A thread was woken and has not looked at the jobs since. Cleared before it looks: a job that came before
        that is seen, and one that comes later wakes somebody itself."""
        self._handing_over = False
        self._results: deque[tuple[Job, Any]] = deque()
        self._told = False
        """The loop will look at the results. Cleared before it looks, for the same reason."""
        self._closed = False
        self._growing = threading.Lock()

    @property
    def waiting(self) -> int:
        """How many jobs no thread has taken yet."""
        return len(self._jobs)

    # On the loop

    def submit(self, job: Job) -> None:
        """Has a thread run ``job``; those of one loop turn are handed over together."""
        self._jobs.append(job)
        if not self._handing_over:
            self._handing_over = True
            self.loop.call_soon(self._hand_over)

    def jobs(self) -> list[Job]:
        """Those that no thread has taken yet."""
        return list(self._jobs)

    def withdraw(self, job: Job) -> bool:
        """Takes back a job that no thread has taken yet; whether it was so."""
        try:
            self._jobs.remove(job)
        except ValueError:
            return False
        return True

    def close(self) -> None:
        """Has the threads end, each when it has nothing to do. Does not wait for them."""
        self._closed = True
        while self._idle:
            with contextlib.suppress(IndexError):
                self._idle.pop().release()

    def _hand_over(self) -> None:
        self._handing_over = False
        if self._jobs and not self._waking:
            try:
                self._wake()
            except RuntimeError as exc:
                # The machine gives no thread at all.
                while self._jobs:
                    self._jobs.popleft().take(exc)

    def _deliver(self) -> None:
        self._told = False
        results = self._results
        while results:
            job, item = results.popleft()
            job.take(item)

    # On the threads

    def post(self, job: Job, *items: Any) -> None:
        """Has ``job.take`` called in the loop with each of ``items``."""
        for item in items:
            self._results.append((job, item))
        if not self._told:
            self._told = True
            # RuntimeError: the loop was closed while the app ran, and nobody waits any more.
            with contextlib.suppress(RuntimeError):
                self.loop.call_soon_threadsafe(self._deliver)

    def _work(self) -> None:
        lock = _thread.allocate_lock()
        lock.acquire()
        jobs, idle = self._jobs, self._idle
        self._waking = False
        while True:
            try:
                job = jobs.popleft()
            except IndexError:
                if self._closed:
                    return
                idle.append(lock)
                if jobs or self._closed:
                    # Came between the two looks, so perhaps nobody was woken. When the lock is gone from the list,
                    # somebody has released it.
                    try:
                        idle.remove(lock)
                    except ValueError:
                        pass
                    else:
                        continue
                lock.acquire()
                self._waking = False
                continue
            if jobs and not self._waking:
                self._wake()
            job.run()
            # Until the next one comes, what it holds is let go.
            del job

    def _wake(self) -> None:
        """Wakes an idle thread or makes another; does nothing when all are at work."""
        self._waking = True
        try:
            self._idle.pop().release()
        except IndexError:
            if not self._grow():
                self._waking = False

    def _grow(self) -> bool:
        with self._growing:
            if len(self._threads) >= self._threads_max or self._closed:
                return False
            thread = threading.Thread(target=self._work, name=f"wsgi-{len(self._threads) + 1}", daemon=True)
            self._threads.append(thread)
        try:
            thread.start()
        except RuntimeError:
            with self._growing:
                self._threads.remove(thread)
            self._waking = False
            if not self._threads:
                raise
            # Those that there are do the work.
            return False
        return True
