"""Signals as a queue that a selector can wait for.

A handler only notes the number; whoever owns the :class:`SignalQueue` reads the numbers when it is awake, and acts
outside of the handler. Python's C level handler writes to the wakeup descriptor as soon as the signal arrives, so a
``select`` on :meth:`SignalQueue.fileno` returns at once.

A signal that asks to stop, and comes twice within half a second, counts once: see :mod:`devserver.server.doubled`.
"""

from __future__ import annotations

import collections
import contextlib
import signal
import socket
import time
from collections.abc import Generator, Iterable
from types import FrameType, TracebackType
from typing import Any, Final

from devserver.server.doubled import Doubled

STOP_SIGNALS: Final[tuple[signal.Signals, ...]] = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name)
)
"""What asks a process to end: Ctrl+C, ``kill`` and, on Windows, Ctrl+Break."""


class SignalQueue:
    """Catches signals while it is entered; main thread only.

        with SignalQueue(STOP_SIGNALS) as signals:
            selector.register(signals, selectors.EVENT_READ)
            ...
            for number in signals.take(): ...

    :param signals: which ones.
    :param alike: whether all signals that ask to stop mean the same.
    """

    def __init__(self, signals: Iterable[int] = STOP_SIGNALS, *, alike: bool = True) -> None:
        self._signals = tuple(signals)
        common = Doubled()
        self._doubled: dict[int, Doubled] = {number: common if alike else Doubled() for number in STOP_SIGNALS}
        # Bounded: a process that is sent signals faster than it looks has no use for the old ones.
        self._pending: collections.deque[int] = collections.deque(maxlen=64)
        self._previous: dict[int, Any] = {}
        self._previous_fd = -1
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def fileno(self) -> int:
        """Readable when :meth:`take` has something to give."""
        return self._reader.fileno()

    def take(self) -> list[int]:
        """The numbers of the signals that arrived since the last call, oldest first; never blocks."""
        with contextlib.suppress(BlockingIOError):
            while self._reader.recv(4096):
                pass
        taken: list[int] = []
        while self._pending:
            taken.append(self._pending.popleft())
        return taken

    def __enter__(self) -> SignalQueue:
        self._previous_fd = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._previous = {number: signal.signal(number, self._note) for number in self._signals}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            _give_back(number, handler, self._doubled.get(number))
        signal.set_wakeup_fd(self._previous_fd)
        self._reader.close()
        self._writer.close()

    def leave_to_child(self) -> None:
        """In a forked child: signals are not noted any more; what they do there is for the child to say."""
        signal.set_wakeup_fd(-1)
        self._reader.close()
        self._writer.close()

    def _note(self, number: int, _: FrameType | None) -> None:
        doubled = self._doubled.get(number)
        if doubled is None or not doubled.is_same(time.monotonic()):
            self._pending.append(number)


@contextlib.contextmanager
def interrupting(doubled: Doubled | None = None, signals: Iterable[int] = STOP_SIGNALS) -> Generator[None, None, None]:
    """Makes each of the signals raise KeyboardInterrupt while it is entered, also in the middle of an import.

    Main thread only. For the time in which nothing else is there to stop.

    :param doubled: what else handles these signals meanwhile knows when one came.
    """
    known = Doubled() if doubled is None else doubled

    def interrupt(number: int, _: FrameType | None) -> None:
        if not known.is_same(time.monotonic()):
            raise KeyboardInterrupt(signal.Signals(number).name)

    previous = {number: signal.signal(number, interrupt) for number in signals}
    try:
        yield
    finally:
        for number, handler in previous.items():
            _give_back(number, handler, known)


def _give_back(number: int, handler: Any, doubled: Doubled | None) -> None:
    """Gives a signal back to ``handler``, which the second of two that are the same must not reach either.

    The process that has stopped would die of it before it has come to its end.
    """
    if doubled is None or not doubled.is_recent(time.monotonic()):
        signal.signal(number, handler)
        return

    def wait(number: int, _: FrameType | None) -> None:
        if not doubled.is_recent(time.monotonic()):
            signal.signal(number, handler)
            signal.raise_signal(number)

    signal.signal(number, wait)
