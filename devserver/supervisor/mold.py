"""``--preload``: a process that imports the app once, and that the workers are forked from.

What the import has made is then in memory once and not once a worker. The process runs no loop and starts nothing; it
has the rights and the environment of a worker, since it runs the same code. When an app starts threads while it is
imported it cannot be forked, and says so; its workers then import it themselves. What the master sees of it is
:mod:`devserver.supervisor.molds`.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import select
import socket
from typing import TYPE_CHECKING, NoReturn

from devserver.app.interface import WsgiOptions
from devserver.app.introspect import build_routes
from devserver.app.load import load_app
from devserver.config.env_layers import home
from devserver.errors import EXIT_APP, EXIT_OK, AppError, ConfigError
from devserver.events import AppFailed, to_json
from devserver.observe import logging, writer
from devserver.supervisor import children, descriptors, ending, imports, life, threads
from devserver.supervisor.channel import Inbox, encode
from devserver.supervisor.generators import generators
from devserver.supervisor.handle import kill_group
from devserver.supervisor.post import Job, Post
from devserver.supervisor.prefork_worker import import_ahead, prepare_process, work

if TYPE_CHECKING:
    from collections.abc import Sequence

    from devserver.app.types import ASGIApp
    from devserver.supervisor.channel import Message
    from devserver.supervisor.threads import Threads

WRITE_MS = 20


def run(job: Job, sock: socket.socket) -> NoReturn:
    """The whole life of the process, and of the workers that are forked from it."""
    app: ASGIApp | None = None
    code = EXIT_OK
    master = os.getppid()
    os.setsid()
    # Threads of native libraries are seen on Linux only.
    probe = imports.Probe((), to_fork=threads.are_visible(), files=False)
    generators.watch()
    gc.disable()
    writer.take_turns()
    children.make_ordinary(lambda: [sock.fileno()])
    try:
        prepare_process(job)
        # Not before: the kernel forgets it when a process becomes another user.
        life.end_with(master)
        logging.configure(job.config)
        with probe:
            app = load_app(
                job.target,
                interface=job.config.interface,
                wsgi=WsgiOptions.of(job.config),
                put_in=home(job.config.mode, job.config.env_file),
            )
            # Once, and not once a worker.
            build_routes(app)
    except (AppError, ConfigError, OSError) as exc:
        failure = exc.failure if isinstance(exc, AppError) else None
        hint = "" if isinstance(exc, OSError) else exc.hint
        _say(sock, to_json(AppFailed(str(exc), hint, failure)))
        code = EXIT_APP
    except BaseException as exc:
        # The app's own wish, such as sys.exit() in a module.
        _say(sock, to_json(AppFailed(f"The import of the app raised {type(exc).__name__}: {exc}", "", None)))
        code = EXIT_APP
    if app is not None and (why := _why_not(probe.threads)):
        _say(sock, {"is": "unfit", "why": why})
        app = None
    if app is None:
        writer.flush(1.0)
        ending.end_children()
        os._exit(code)
    generators.settle()
    import_ahead(job.config)
    # From here on the end of the channel tells it, and what the import has started can be ended as well.
    life.outlive()
    caster = _Caster(sock, probe.threads)
    _say(sock, {"is": "ready"})
    post = caster.serve()
    if post is None:
        # With what the import has started: its workers have gone, or go.
        ending.end_group()
    imports.be_apart()
    work(job, post, app)


class _Caster:
    """Forks on demand, and tells how its children end.

    :param seen: the threads that may run here; None where native ones are invisible.
    """

    def __init__(self, sock: socket.socket, seen: Threads | None) -> None:
        self._sock = sock
        self._seen = seen
        self._inbox = Inbox()
        self._children: dict[int, int] = {}
        """Descriptor (a pidfd) → pid."""
        self._retiring = False
        self._row = self._age = 0
        self._wanted = 0
        self._fds: list[int] = []
        # All that the app has opened, and nothing that comes for a worker.
        self._known = descriptors.without(descriptors.held(), [sock.fileno()])

    def serve(self) -> Post | None:
        """Forks until the master has gone or wants no more; in a child, what the child is to do."""
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        while not (self._retiring and not self._children):
            for fd, _ in poll.poll(WRITE_MS if writer.turn() else None):
                if fd != self._sock.fileno():
                    poll.unregister(fd)
                    self._reap(fd)
                    continue
                try:
                    messages = self._inbox.receive(self._sock)
                except (OSError, ValueError):
                    messages = None
                if messages is None:
                    return None
                for message in messages:
                    post = self._take(message, poll)
                    if post is not None:
                        return post
        return None

    def _take(self, message: Message, poll: select.poll) -> Post | None:
        match message.get("do"):
            case "fork":
                self._row, self._age = int(message["row"]), int(message["age"])
                self._wanted, self._fds = int(message["descriptors"]), []
            case "with":
                self._fds.append(-1 if message["fd"] is None else int(message["fd"]))
                if len(self._fds) == self._wanted:
                    return self._fork(poll)
            case "retire":
                self._retiring = True
            case _:
                pass
        return None

    def _fork(self, poll: select.poll) -> Post | None:
        fds, self._fds = self._fds, []
        started = threads.python_thread() if self._seen is None else ", ".join(left.name for left in self._seen.loud())
        if started:
            _close(fds)
            why = f"a thread has been started in it after the import ({started})"
            _say(self._sock, {"is": "refused", "why": why})
            return None
        try:
            if -1 in fds:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            pid = children.fork(self._known, fds)
        except OSError as exc:
            _close(fds)
            _say(self._sock, {"is": "failed", "why": str(exc)})
            return None
        if not pid:
            self._sock.close()
            for pidfd in self._children:
                os.close(pidfd)
            channel, dump, *listeners = fds
            return Post(
                socket.socket(fileno=channel),
                [socket.socket(fileno=fd) for fd in listeners],
                dump,
                self._row,
                self._age,
            )
        # First, since it makes room.
        _close(fds)
        pidfd = os.pidfd_open(pid)
        self._children[pidfd] = pid
        poll.register(pidfd, select.POLLIN)
        _say(self._sock, {"is": "forked", "pid": pid})
        return None

    def _reap(self, pidfd: int) -> None:
        pid = self._children.pop(pidfd)
        os.close(pidfd)
        # Before it is reaped, so that the number of the group cannot belong to anybody else yet.
        kill_group(pid)
        _, status = os.waitpid(pid, 0)
        _say(self._sock, {"is": "exited", "pid": pid, "code": os.waitstatus_to_exitcode(status)})


def _close(fds: Sequence[int]) -> None:
    for fd in fds:
        if fd >= 0:
            os.close(fd)


def _why_not(seen: Threads | None) -> str:
    """Returns why the process cannot be forked after the import of the app, or an empty string."""
    if seen is None:
        started = threads.python_thread()
        return f"the app starts a thread while it is imported ({started})" if started else ""
    loud = seen.loud()
    # An app may be made by a function that is called after the import.
    return f"{loud[0].module or 'the app'} starts a thread while it is imported ({loud[0].name})" if loud else ""


def _say(sock: socket.socket, message: Message) -> None:
    # When the master has gone, so does everything here.
    with contextlib.suppress(OSError):
        sock.sendall(encode(message))
