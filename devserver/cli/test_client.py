"""What ``dev test`` asks of a ``dev run``, and how it follows what comes of it.

It imports little: a run that is forked takes hardly longer than reading the settings would. So it asks first, with what
it was started with, and ``dev run`` reads settings and env files for it. Whatever is not plain sailing is answered with
``slow``, and done again by ``cli/test.py``.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from devserver.cli.environment import is_global
from devserver.config.root import nearest_project
from devserver.errors import EXIT_INTERNAL, DevserverError
from devserver.supervisor.channel import Outbox, receive_first
from devserver.supervisor.rendezvous import connect
from devserver.supervisor.testing.request import Request, this_interpreter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from devserver.supervisor.channel import First, Message

STREAMS = (0, 1, 2)
PASSED_ON = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGWINCH")
_OWN = ("--watch", "--mode", "--env-file", "--chdir", "--strict-env", "--no-strict-env", "--help")


def quickly(words: Sequence[str]) -> int | None:
    """Has a ``dev run`` do all of it; the exit code, or None when it cannot be done so.

    :param words: what stands behind ``dev test``.
    :raises DevserverError: ``dev run`` ended meanwhile.
    """
    end = words.index("--") if "--" in words else len(words)
    if any(word.startswith(_OWN) for word in words[:end]) or is_global(Path(sys.prefix), Path(sys.base_prefix)):
        return None
    try:
        directory = Path.cwd()
    except OSError:
        return None
    arguments = [*words[:end], *words[end + 1 :]]
    code, _ = follow(arguments, os.environ, nearest_project(directory) or directory, resolve=True)
    return code


def follow(
    arguments: Sequence[str], environment: Mapping[str, str], root: Path, *, resolve: bool = False
) -> tuple[int | None, str | None]:
    """Asks for a run and waits for its end.

    :param arguments: pytest's.
    :param environment: the run's variables, or those of this process if ``resolve``.
    :param root: the project's root folder.
    :param resolve: settings and env files are still to be read.
    :returns: the exit code, or None and why there is none: empty when ``dev run`` does not say, None without one.
    :raises DevserverError: ``dev run`` ended meanwhile.
    """
    if not all(map(_is_open, STREAMS)):
        return None, None
    sock = connect(root)
    if sock is None:
        return None, None
    request = Request(
        tuple(arguments), os.getcwd(), dict(environment), path(), this_interpreter(), umask()
    ).to_message()
    with sock:
        return _Run(sock).follow({**request, "resolve": resolve})


def path() -> tuple[str, ...]:
    """``sys.path`` as ``python -m pytest`` would have it: the current folder in the place of our script's."""
    if sys.flags.safe_path:
        return tuple(sys.path)
    return (os.getcwd(), *sys.path[1:])


def umask() -> int:
    """What files are made with."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


class _Run:
    """A run that somebody else forks.

    :param sock: to whoever does.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._began = False

    def follow(self, request: Message) -> tuple[int | None, str]:
        """See :func:`follow`."""
        outbox = Outbox()
        for fd in STREAMS:
            outbox.put({"do": "keep"}, os.dup(fd))
        outbox.put({"do": "test", **request})
        try:
            sys.stdout.flush()
            sys.stderr.flush()
            outbox.send(self._sock)
            with self._signals():
                return self._wait()
        except (OSError, EOFError, ValueError):
            if not self._began:
                return None, ""
        finally:
            outbox.clear()
        error = DevserverError("dev run has ended, and the tests with it.", hint="Run dev test again.")
        error.exit_code = EXIT_INTERNAL
        raise error

    def _wait(self) -> tuple[int | None, str]:
        last: First | None = None
        while True:
            last = receive_first(self._sock, last)
            match last.message.get("is"):
                case "running":
                    self._began = True
                case "exited":
                    return _ending(int(last.message["code"])), ""
                case "plain" if not self._began:
                    return None, str(last.message["why"])
                case _ if not self._began:
                    # "slow", or what another version of devserver says.
                    return None, ""
                case _:
                    raise EOFError

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        previous: dict[int, Any] = {}
        for name in PASSED_ON:
            previous[getattr(signal, name)] = signal.signal(getattr(signal, name), self._pass_on)
        previous[signal.SIGTSTP] = signal.signal(signal.SIGTSTP, self._suspend)
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _pass_on(self, number: int, _: object) -> None:
        outbox = Outbox()
        outbox.put({"do": "signal", "number": number})
        with contextlib.suppress(OSError):
            outbox.send(self._sock)

    def _suspend(self, *_: object) -> None:
        """Ctrl+Z: the run stops as well, and goes on with us."""
        self._pass_on(signal.SIGSTOP, None)
        os.kill(os.getpid(), signal.SIGSTOP)
        self._pass_on(signal.SIGCONT, None)


def _ending(code: int) -> int:
    """Ends as the run did: by the same signal, when it was one."""
    if code >= 0:
        return code
    with contextlib.suppress(OSError, ValueError):
        signal.signal(-code, signal.SIG_DFL)
    with contextlib.suppress(OSError):
        os.kill(os.getpid(), -code)
    return 128 - code


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True
