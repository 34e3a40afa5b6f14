"""A process that forks workers on demand, and tells how they end.

It waits in one place until the supervisor wants a worker, and goes on from there in the child. A zygote
(:mod:`devserver.supervisor.zygote`) waits with nothing of the project imported, a checkpoint
(:mod:`devserver.supervisor.checkpoint`) in the middle of an import. Neither has a second thread.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
from typing import Any

from devserver.supervisor import children, descriptors, imports
from devserver.supervisor.channel import encode
from devserver.supervisor.generators import generators
from devserver.supervisor.plan import FORK, HOST, RETIRE
from devserver.supervisor.threads import Threads


def say(sock: socket.socket, message: dict[str, Any]) -> None:
    """Tells the supervisor; when that has gone, so does everything here."""
    with contextlib.suppress(OSError):
        sock.sendall(encode(message))


class Forker:
    """Forks on demand, and tells how its children end.

    :param sock: the supervisor's other end.
    :param child: the pid of a child that there is already; its end is told as well.
    :param origins: what :func:`devserver.supervisor.imports.origins` told when everything was imported; by default what
        it tells now.
    :param threads: the threads that may run in this process; by default those that run now.
    """

    def __init__(
        self,
        sock: socket.socket,
        child: int | None = None,
        origins: dict[str, tuple[int, int]] | None = None,
        *,
        threads: Threads | None = None,
    ) -> None:
        self._sock = sock
        self._children: dict[int, int] = {} if child is None else {os.pidfd_open(child): child}
        """Descriptor of the child's end (a pidfd) → its pid."""
        self._retiring = False
        self.order = b""
        """In a child: what it was made for."""
        generators.settle()
        # Objects that the collector never looks at stay in pages that parent and children share. Imports leave next to
        # no garbage (141 objects of a FastAPI app's), and looking for it first would take 24 ms of every start.
        gc.freeze()
        self._threads = Threads(accepted=True) if threads is None else threads
        # What was imported may have opened something; what comes later is for one child, or ours.
        self._known = descriptors.without(descriptors.held(), [sock.fileno(), *self._children])
        self.origins = imports.origins() if origins is None else origins

    def serve(self) -> socket.socket | None:
        """Forks until the supervisor has gone or wants no more; in a child, the worker's end of its channel."""
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        for pidfd in self._children:
            poll.register(pidfd, select.POLLIN)
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
        try:
            pid = children.fork(self._known, [channel_fd])
        except OSError as exc:
            os.close(channel_fd)
            say(self._sock, {"is": "refused", "reason": str(exc)})
            return None
        if pid:
            os.close(channel_fd)
            pidfd = os.pidfd_open(pid)
            self._children[pidfd] = pid
            poll.register(pidfd, select.POLLIN)
            say(self._sock, {"is": "forked", "pid": pid})
            # Looked at while the child imports: there is time until it serves.
            changed = imports.changed(self.origins)
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
        loud = self._threads.loud()
        return f"a thread has been started in it ({loud[0].name})" if loud else ""

    def _reap(self, pidfd: int) -> None:
        pid = self._children.pop(pidfd)
        os.close(pidfd)
        # Before it is reaped, so that the number of the group cannot belong to anybody else yet.
        with contextlib.suppress(OSError):
            os.killpg(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        say(self._sock, {"is": "exited", "pid": pid, "code": os.waitstatus_to_exitcode(status)})
