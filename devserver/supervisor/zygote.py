"""The zygote: a process that has imported what the app takes from others, and forks a worker for every save.

It has one thread, no event loop and no watcher; it imports, and calls nothing. It is started as a cold worker is, so
that its ``sys.path``, its interpreter flags and its ``__main__`` are those of one. What is the project's own never
enters it: a worker is forked without it and imports it anew.

The supervisor speaks to it over a socket of its own (:mod:`devserver.supervisor.plan`). The answers are messages:
``ready``, ``unfit`` (what must leave the warm set), ``forked``, ``stale`` (that one is not what a fresh process would
be), ``refused`` and ``exited``.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import sys
import warnings
from typing import Any

from devserver.supervisor import imports, worker
from devserver.supervisor.channel import encode, receive_first
from devserver.supervisor.plan import FORK, HOST, RETIRE, Plan


def main(channel_fd: int) -> None:
    """The whole life of the process, and of the workers that are forked from it."""
    sock = socket.socket(fileno=channel_fd)
    sock.set_inheritable(False)
    # Ctrl+C is for the supervisor, which tells us; a worker gets Python's own handling back.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    listeners: list[int] = []
    try:
        received = receive_first(sock)
        plan = Plan.from_message(received.message)
        while len(listeners) < plan.descriptors:
            received = receive_first(sock, received)
            listeners.append(received.message["fd"])
    except (OSError, EOFError):
        os._exit(0)
    if plan.terminal:
        terminal = listeners.pop()
        for standard in (0, 1, 2):
            os.dup2(terminal, standard)
        os.close(terminal)
    if plan.tests is not None:
        from devserver.supervisor.testing import host

        host.host(sock, plan)
    worker.set_environment(plan.environment)
    probe = imports.warm_up(plan.modules, plan.first_party, to_fork=True)
    if probe.unfit:
        say(sock, {"is": "unfit", "modules": probe.unfit})
        os._exit(0)
    # Made here: in a child it would write to the pages of all these names.
    names = frozenset(sys.modules)
    zygote = Zygote(sock)
    say(sock, {"is": "ready", "count": len(sys.modules), "skipped": probe.skipped})
    channel = zygote.serve()
    if channel is None:
        # Functions registered with atexit belong to the workers.
        os._exit(0)
    if zygote.order == HOST:
        from devserver.supervisor.testing import host

        host.from_zygote(channel, listeners)
    # From here on this is a worker.
    del zygote, sock, probe, received
    worker.work(channel, inherited=names, listeners=tuple(listeners))


class Zygote:
    """Forks on demand, and tells how its children end.

    :param sock: the supervisor's other end.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._children: dict[int, int] = {}
        """Descriptor of the child's end (a pidfd) → its pid."""
        self._retiring = False
        self.order = b""
        """In a child: what it was made for."""
        # Objects that the collector never looks at stay in pages that parent and children share. Imports leave next to
        # no garbage (141 objects of a FastAPI app's), and looking for it first would take 24 ms of every start.
        gc.freeze()
        self._threads = imports.thread_count()
        self._origins = imports.origins()

    def serve(self) -> socket.socket | None:
        """Forks until the supervisor has gone or wants no more; in a child, the worker's end of its channel."""
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        while not (self._retiring and not self._children):
            for fd, _ in poll.poll():
                if fd != self._sock.fileno():
                    poll.unregister(fd)
                    self._reap(fd)
                    continue
                try:
                    data, received, _, _ = socket.recv_fds(self._sock, 1, 1)
                except OSError:
                    data, received = b"", []
                if data in {FORK, HOST}:
                    channel = self._fork(received[0], poll)
                    if channel is not None:
                        self.order = data
                        return channel
                elif data == RETIRE:
                    self._retiring = True
                else:
                    return None
        return None

    def _fork(self, channel_fd: int, poll: select.poll) -> socket.socket | None:
        reason = self.why_not()
        if reason:
            os.close(channel_fd)
            say(self._sock, {"is": "refused", "reason": reason})
            return None
        with warnings.catch_warnings():
            # CPython warns of threads; those that we know are checked for above.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid:
            os.close(channel_fd)
            pidfd = os.pidfd_open(pid)
            self._children[pidfd] = pid
            poll.register(pidfd, select.POLLIN)
            say(self._sock, {"is": "forked", "pid": pid})
            # Looked at while the child imports: there is time until it serves.
            changed = imports.changed(self._origins)
            if changed:
                say(self._sock, {"is": "stale", "pid": pid, "reason": f"{changed} has changed"})
            return None
        os.setsid()
        self._sock.close()
        for pidfd in self._children:
            os.close(pidfd)
        imports.be_apart()
        return socket.socket(fileno=channel_fd)

    def why_not(self) -> str:
        """Why nothing can be forked, or an empty string."""
        threads = imports.thread_count()
        # Fewer are fine: OpenBLAS ends its own before a fork, and makes them again when it needs them.
        return f"{threads} threads run in it, where {self._threads} did" if threads > self._threads else ""

    def _reap(self, pidfd: int) -> None:
        pid = self._children.pop(pidfd)
        os.close(pidfd)
        # Before it is reaped, so that the number of the group cannot belong to anybody else yet.
        with contextlib.suppress(OSError):
            os.killpg(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        say(self._sock, {"is": "exited", "pid": pid, "code": os.waitstatus_to_exitcode(status)})


def say(sock: socket.socket, message: dict[str, Any]) -> None:
    """Tells the supervisor."""
    # When the supervisor has gone, so does everything here.
    with contextlib.suppress(OSError):
        sock.sendall(encode(message))
