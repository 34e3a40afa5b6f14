"""``--preload``: a process that imports the app once, and that the workers are forked from.

What the import has made is then in memory once and not once a worker. The process runs no loop and starts nothing; it
has the rights and the environment of a worker, since it runs the same code. When an app starts threads while it is
imported it cannot be forked, and says so; its workers then import it themselves. What the master sees of it is
:mod:`devserver.supervisor.molds`.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import socket
import threading
from logging import getLogger
from typing import TYPE_CHECKING, Any, NoReturn

from devserver.app.interface import WsgiOptions
from devserver.app.introspect import build_routes
from devserver.app.load import load_app
from devserver.config.env_layers import home
from devserver.errors import EXIT_APP, EXIT_OK, AppError, ConfigError
from devserver.events import AppFailed, to_json
from devserver.observe import logging, writer
from devserver.supervisor import imports
from devserver.supervisor.channel import Inbox, encode
from devserver.supervisor.post import Job, Post
from devserver.supervisor.prefork_worker import import_ahead, prepare_process, work

if TYPE_CHECKING:
    from devserver.app.types import ASGIApp
    from devserver.supervisor.channel import Message

WRITE_MS = 20


def run(job: Job, sock: socket.socket) -> NoReturn:
    """The whole life of the process, and of the workers that are forked from it."""
    app: ASGIApp | None = None
    code = EXIT_OK
    gc.disable()
    writer.take_turns()
    try:
        complaint = prepare_process(job)
        logging.configure(job.config)
        if complaint:
            getLogger("devserver.error").warning(complaint)
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
    if app is not None and (started := _threads()):
        _say(sock, {"is": "unfit", "why": f"the app starts a thread while it is imported ({started})"})
        app = None
    if app is None:
        writer.flush(1.0)
        os._exit(code)
    import_ahead(job.config)
    _say(sock, {"is": "ready"})
    post = _Caster(sock).serve()
    if post is None:
        os._exit(EXIT_OK)
    imports.be_apart()
    work(job, post, app)


class _Caster:
    """Forks on demand, and tells how its children end."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._inbox = Inbox()
        self._children: dict[int, int] = {}
        """Descriptor (a pidfd) → pid."""
        self._retiring = False
        self._row = self._age = 0
        self._marks: dict[str, Any] = {}
        self._wanted = 0
        self._fds: list[int] = []

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
                self._marks = message["marks"]
                self._wanted, self._fds = int(message["descriptors"]), []
            case "with":
                self._fds.append(int(message["fd"]))
                if len(self._fds) == self._wanted:
                    return self._fork(poll)
            case "retire":
                self._retiring = True
            case _:
                pass
        return None

    def _fork(self, poll: select.poll) -> Post | None:
        channel, dump, *listeners = self._fds
        started = _threads()
        if started:
            for fd in self._fds:
                os.close(fd)
            _say(self._sock, {"is": "refused", "why": f"a thread has been started in it ({started})"})
            return None
        pid = os.fork()
        if not pid:
            self._sock.close()
            for pidfd in self._children:
                os.close(pidfd)
            return Post(
                socket.socket(fileno=channel),
                [socket.socket(fileno=fd) for fd in listeners],
                dump,
                self._row,
                self._age,
                self._marks,
            )
        for fd in self._fds:
            os.close(fd)
        pidfd = os.pidfd_open(pid)
        self._children[pidfd] = pid
        poll.register(pidfd, select.POLLIN)
        _say(self._sock, {"is": "forked", "pid": pid})
        return None

    def _reap(self, pidfd: int) -> None:
        pid = self._children.pop(pidfd)
        os.close(pidfd)
        _, status = os.waitpid(pid, 0)
        _say(self._sock, {"is": "exited", "pid": pid, "code": os.waitstatus_to_exitcode(status)})


def _threads() -> str:
    """The name of a thread besides the main one, native ones included; empty when there is none."""
    for thread in threading.enumerate():
        if thread is not threading.main_thread():
            return thread.name
    if not os.path.isdir("/proc/self/task"):
        return ""
    return imports.loud_thread()


def _say(sock: socket.socket, message: Message) -> None:
    # When the master has gone, so does everything here.
    with contextlib.suppress(OSError):
        sock.sendall(encode(message))
