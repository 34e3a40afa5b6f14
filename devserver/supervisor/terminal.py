"""A terminal of the workers' own, between them and the real one.

On a terminal the workers' standard streams are a pseudoterminal (pty(7)), so that what the app writes keeps its colours
and can be shown in whole lines between ours, and so that ``breakpoint()``, ``input()`` and ``getpass()`` work in a
process that is not in the foreground. While one of them reads, the keys go to it and saves wait; the line editing is
then the pseudoterminal's, or readline's in the worker, and the real terminal only passes the keys on.

It is nobody's controlling terminal, because all workers share it, and the kernel would hang it up for the others when
one of them ends. Ctrl+C and Ctrl+Z stay with the supervisor.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol

try:
    import fcntl
    import termios
except ImportError:  # Windows
    fcntl = termios = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from devserver.commands import Command
    from devserver.supervisor.handle import Handle

PARTIAL_S = 0.05
"""How long a line may lack its end before it is shown without."""
QUIET_S = 1.0
"""Between two prompts of a debugger; no save is due there."""
LOOK_S = 0.02
"""How often is looked at what tells nothing of itself."""
READ_BYTES = 65_536
LINE_BYTES_MAX = 65_536
"""Of a line that does not end, shown at once."""
KEYS_BYTES_MAX = 65_536
"""Pasted for a worker that does not read; what is more is lost."""


def _ignore(_: Command) -> None:
    pass


class Screen(Protocol):
    """Shows what the app has written, in order with everything else that is shown."""

    def put(self, data: bytes) -> None:
        """Shows ``data``; never blocks."""

    @property
    def full(self) -> bool:
        """Whether the app should wait, since whoever reads the screen is behind."""

    def begin(self, post: Callable[[Command], None]) -> bool:
        """Whether keys are wanted while no worker reads; they go to :meth:`press`.

        :param post: takes the commands that they mean, from any thread.
        """

    def press(self, data: bytes) -> None:
        """What was typed."""

    def lend(self, *, lent: bool) -> None:
        """Somebody else draws on the screen, or no longer. Waits until what was drawn is gone."""

    def resized(self) -> None:
        """The terminal has another size."""


class Terminal:
    """The pseudoterminal, and the keyboard: ours, and lent to whoever reads from it.

    :param screen: gets what the workers write.
    :raises OSError: the system has no pseudoterminal left.
    """

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._master, self.fd = os.openpty()
        """``fd`` is what the workers get as their standard streams."""
        os.set_blocking(self._master, False)
        self._selector: selectors.BaseSelector | None = None
        self._partial = bytearray()
        self._partial_since = 0.0
        self._waits_for_screen = False
        self._readers: dict[Handle, int] = {}
        """Workers → how many of their threads read."""
        self._busy_until = 0.0
        self._keys = bytearray()
        self._lent = False
        self._listens = False
        """Keys are read for ourselves."""
        self._wants_keys = False
        self._gone = False
        """Nothing will ever be typed any more."""
        self._own: list[Any] = termios.tcgetattr(0)
        """The real terminal's settings while nobody reads key by key."""
        self._set_up()

    @classmethod
    def open(cls, screen: Screen | None) -> Terminal | None:
        """One where it is of use: all three standard streams are one and the same terminal."""
        if screen is None or termios is None:
            return None
        try:
            if not all(map(os.isatty, (0, 1, 2))) or len({os.fstat(fd).st_rdev for fd in (0, 1, 2)}) > 1:
                return None
            return cls(screen)
        except (OSError, termios.error):
            return None

    def attach(self, selector: selectors.BaseSelector, post: Callable[[Command], None] = _ignore) -> None:
        """Waits there for what the workers write, and for keys.

        :param post: takes the commands that keys mean.
        """
        self._selector = selector
        selector.register(self._master, selectors.EVENT_READ, self._on_output)
        self._wants_keys = self._screen.begin(post)
        self.listen()

    def listen(self) -> None:
        """Reads keys from here on, if they are wanted and we are in the foreground."""
        if self._wants_keys and not self._lent and not self._listens:
            self._listens = self._seize(raw=False)

    # What workers write

    def _on_output(self) -> None:
        if self._screen.full:
            self._wait_for_screen()
            return
        if self._read():
            self._show_lines()

    def _read(self) -> bool:
        try:
            data = os.read(self._master, READ_BYTES)
        except OSError:
            # Nothing there; it has no end while we hold the workers' side ourselves.
            return False
        if not self._partial:
            self._partial_since = time.monotonic()
        self._partial += data
        return bool(data)

    def _show_lines(self) -> None:
        end = len(self._partial) if self.busy or len(self._partial) > LINE_BYTES_MAX else self._partial.rfind(b"\n") + 1
        if end:
            self._screen.put(bytes(self._partial[:end]))
            del self._partial[:end]
            self._partial_since = time.monotonic()

    def _wait_for_screen(self) -> None:
        if self._selector is not None and not self._waits_for_screen:
            self._waits_for_screen = True
            self._selector.unregister(self._master)

    # Who reads

    def reads(self, worker: Handle, count: int) -> None:
        """So many threads of a worker read from the keyboard now."""
        before = self._readers.pop(worker, 0)
        if count:
            self._readers[worker] = count
        elif before:
            self._busy_until = time.monotonic() + QUIET_S

    def forget(self, worker: Handle) -> None:
        """It reads no more, however that came."""
        if self._readers.pop(worker, 0) and not self._readers:
            self._busy_until = 0.0
            # A debugger that was killed has not put back what it changed.
            self._set_up()

    def read_by(self, worker: Handle) -> bool:
        """Whether it reads."""
        return worker in self._readers

    @property
    def busy(self) -> bool:
        """Whether a worker reads, or has done so a moment ago."""
        return bool(self._readers) or time.monotonic() < self._busy_until

    @property
    def next_look(self) -> float:
        """When :meth:`look` has something to do, as ``time.monotonic()``."""
        now = time.monotonic()
        due = [float("inf")]
        if self._partial:
            due.append(self._partial_since + PARTIAL_S)
        if self._waits_for_screen or self._keys:
            due.append(now + LOOK_S)
        if self._lent and not self._readers:
            due.append(min(self._busy_until, now + QUIET_S / 10))
        return min(due)

    def look(self) -> None:
        """Does what is due. Who draws the screen itself, as prompt_toolkit does, tells of it by the settings alone."""
        now = time.monotonic()
        if not self._readers and (self._lent or self._partial) and self._is_raw():
            self._busy_until = now + QUIET_S
        if self._partial and (self.busy or now >= self._partial_since + PARTIAL_S) and not self._screen.full:
            self._screen.put(bytes(self._partial))
            self._partial.clear()
        if self._waits_for_screen and self._selector is not None and not self._screen.full:
            self._waits_for_screen = False
            self._selector.register(self._master, selectors.EVENT_READ, self._on_output)
        if self._keys:
            self._pass_keys()
        if self.busy:
            self._lend()
        elif self._lent:
            self._take_back()
            self._screen.lend(lent=False)
            self.listen()
            # What was typed for a prompt that did not come is nobody's.
            with contextlib.suppress(termios.error):
                termios.tcflush(self.fd, termios.TCIFLUSH)

    def _is_raw(self) -> bool:
        try:
            return not termios.tcgetattr(self._master)[3] & termios.ICANON
        except termios.error:
            return False

    # The keyboard

    def _lend(self) -> None:
        if self._lent:
            return
        self._take_back()
        self._screen.lend(lent=True)
        self._lent = self._seize(raw=True)

    def _seize(self, *, raw: bool) -> bool:
        """Reads the keyboard key by key, without an echo; whether that is possible.

        :param raw: for somebody else, who says what the keys do to a line; except for Ctrl+C and Ctrl+Z.
        """
        if self._gone or self._selector is None:
            return False
        try:
            # From the background it would stop us.
            if os.tcgetpgrp(0) != os.getpgrp():
                return False
            self._own = termios.tcgetattr(0)
            attributes = [*self._own]
            if raw:
                attributes[0] &= ~(termios.ICRNL | termios.INLCR | termios.IGNCR | termios.IXON)
            attributes[3] &= ~(termios.ICANON | termios.ECHO | termios.IEXTEN)
            attributes[3] |= termios.ISIG
            attributes[6] = [*attributes[6]]
            attributes[6][termios.VMIN], attributes[6][termios.VTIME] = 1, 0
            # What was typed before anybody asked is no answer.
            termios.tcsetattr(0, termios.TCSAFLUSH, attributes)
            self._selector.register(0, selectors.EVENT_READ, self._on_keys)
        except (OSError, termios.error, KeyError, ValueError):
            return False
        return True

    def _take_back(self) -> None:
        if not (self._lent or self._listens):
            return
        self._lent = self._listens = False
        if self._selector is not None:
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(0)
        with contextlib.suppress(OSError, termios.error):
            if os.tcgetpgrp(0) == os.getpgrp():
                termios.tcsetattr(0, termios.TCSADRAIN, self._own)

    def _on_keys(self) -> None:
        try:
            data = os.read(0, 4096)
        except OSError:
            data = b""
        if not data:
            self._take_back()
            self._gone = True
            return
        if self._listens:
            self._screen.press(data)
            return
        self._keys += data[: KEYS_BYTES_MAX - len(self._keys)]
        self._pass_keys()

    def _pass_keys(self) -> None:
        with contextlib.suppress(OSError):
            del self._keys[: os.write(self._master, self._keys)]

    # Signals, and the end

    def stop(self, workers: Iterable[Handle]) -> None:
        """Stops the workers and this process, as Ctrl+Z asks for; returns when they have been continued."""
        self._take_back()
        self._screen.lend(lent=True)
        groups = [worker.pid for worker in workers if worker.pid]
        _signal(groups, signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGSTOP)
        _signal(groups, signal.SIGCONT)
        if not self.busy:
            self._screen.lend(lent=False)
        self.listen()

    def resize(self, workers: Iterable[Handle]) -> None:
        """The real terminal has another size."""
        self._copy_size()
        self._screen.resized()
        _signal([worker.pid for worker in workers if worker.pid], signal.SIGWINCH)

    def close(self) -> None:
        """Shows what is left, and gives the keyboard back."""
        self._take_back()
        while self._read() and not self._screen.full:
            self._show_lines()
        if self._partial:
            self._screen.put(bytes(self._partial))
        os.close(self._master)
        os.close(self.fd)

    def _set_up(self) -> None:
        attributes = [*self._own]
        attributes[0] |= termios.ICRNL
        # The real terminal makes of a line feed what it needs.
        attributes[1] &= ~termios.OPOST
        attributes[3] |= termios.ICANON | termios.ECHO | termios.ISIG
        with contextlib.suppress(termios.error):
            termios.tcsetattr(self.fd, termios.TCSAFLUSH, attributes)
        self._copy_size()

    def _copy_size(self) -> None:
        with contextlib.suppress(OSError):
            size = fcntl.ioctl(1, termios.TIOCGWINSZ, b"\0" * 8)
            fcntl.ioctl(self.fd, termios.TIOCSWINSZ, size)


class StandardOutput:
    """A :class:`Screen` for programs that have no UI."""

    def __init__(self) -> None:
        # Imported here: whoever has a UI has its screen.
        from devserver.observe.writer import Outlet

        self._outlet = Outlet(1)

    def put(self, data: bytes) -> None:
        """See :class:`Screen`."""
        self._outlet.put(data)

    def begin(self, post: Callable[[Command], None]) -> bool:  # noqa: ARG002 - a screen's signature
        """See :class:`Screen`: a program has no keys."""
        return False

    def press(self, data: bytes) -> None:
        """See :class:`Screen`."""

    def lend(self, *, lent: bool) -> None:
        """See :class:`Screen`: nothing is drawn."""

    def resized(self) -> None:
        """See :class:`Screen`."""

    @property
    def full(self) -> bool:
        """See :class:`Screen`."""
        return not (self._outlet.push() or self._outlet.broken)


def _signal(groups: Iterable[int], number: int) -> None:
    for group in groups:
        with contextlib.suppress(OSError):
            os.killpg(group, number)
