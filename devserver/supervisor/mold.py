"""``--preload``: a process that imports the app once, and that the workers are forked from.

What the import has made is then in memory once and not once a worker. The process runs no loop and starts nothing; it
has the rights and the environment of a worker, since it runs the same code. When an app starts threads while it is
imported it cannot be forked, and says so; its workers then import it themselves.

:func:`run` is what goes on in it; :class:`Mold` is the master's view. Workers have channels to the master of their own,
and live on when the mold they came from is gone.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from devserver.app.load import load_app
from devserver.errors import EXIT_APP, EXIT_INTERNAL, EXIT_OK, AppError, ConfigError
from devserver.events import AppFailed, from_json, to_json
from devserver.observe import logging, writer
from devserver.supervisor import imports
from devserver.supervisor.channel import Inbox, SupervisorChannel, channel_pair, encode
from devserver.supervisor.prefork_worker import Job, Post, prepare_process, work

if TYPE_CHECKING:
    from collections.abc import MutableMapping

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
        prepare_process(job)
        logging.configure(job.config)
        app = load_app(job.target, interface=job.config.interface)
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
    gc.freeze()
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


class Mold:
    """The master's view of one mold.

    :param exits: exit codes of workers that have ended are put there.
    :param on_failed: called when the app cannot be imported in it.
    :param on_unfit: called with the reason when no worker can be forked from it, and with those that were to be.
    """

    def __init__(
        self,
        exits: MutableMapping[int, int],
        *,
        on_failed: Callable[[Mold, AppFailed], None],
        on_unfit: Callable[[str, list[MoldedProcess]], None],
    ) -> None:
        self.channel: SupervisorChannel
        self.channel, self._theirs = channel_pair()
        self.pid = 0
        self._exits = exits
        self._on_failed = on_failed
        self._on_unfit = on_unfit
        self._is_ready = False
        self._waiting: deque[MoldedProcess] = deque()
        self._asked: deque[MoldedProcess] = deque()
        self._children: set[int] = set()

    def start(self, job: Job, leave_to_child: Callable[[], None]) -> None:
        """Makes the process.

        :param leave_to_child: called in it: closes what is the master's alone.
        :raises OSError: it cannot be made.
        """
        self.pid = os.fork()
        if not self.pid:
            self.channel.socket.close()
            leave_to_child()
            run(job, self._theirs)
        self._theirs.close()

    def fork(self, post: Post) -> MoldedProcess:
        """Has a worker forked, at once or as soon as the app is imported."""
        process = MoldedProcess(self, post, self._exits)
        self._waiting.append(process)
        self._send()
        return process

    def forget(self, process: MoldedProcess) -> bool:
        """A worker that was to be forked is not wanted any more; whether it had not been asked for yet."""
        if process not in self._waiting:
            return False
        self._waiting.remove(process)
        return True

    def on_readable(self) -> bool:
        """Takes what it says; False when it has gone."""
        messages = self.channel.receive()
        for message in messages or ():
            self._take(message)
        return messages is not None

    def gone(self) -> list[MoldedProcess]:
        """It has ended; returns the workers that it was to make."""
        left = [*self._asked, *self._waiting]
        self._asked.clear()
        self._waiting.clear()
        return left

    def retire(self) -> None:
        """It makes no more workers, and ends with the last one."""
        if self._is_ready:
            self.channel.send({"do": "retire"})
        else:
            self.kill()

    def kill(self) -> None:
        """Ends it; the workers that it has made live on."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def _send(self) -> None:
        while self._is_ready and self._waiting:
            process = self._waiting.popleft()
            self._asked.append(process)
            fds = process.take_descriptors()
            self.channel.send({"do": "fork", "row": process.row, "age": process.age, "descriptors": len(fds)})
            for fd in fds:
                self.channel.send({"do": "with"}, fd)

    def _take(self, message: Message) -> None:
        if "event" in message:
            event = from_json(message)
            if isinstance(event, AppFailed):
                self._on_failed(self, event)
            return
        match message.get("is"):
            case "ready":
                self._is_ready = True
                self._send()
            case "unfit":
                self._on_unfit(str(message["why"]), self.gone())
            case "refused":
                self._on_unfit(str(message["why"]), [self._asked.popleft()])
            case "forked":
                pid = int(message["pid"])
                self._children.add(pid)
                self._asked.popleft().forked(pid)
            case "exited":
                self._exits[int(message["pid"])] = int(message["code"])
            case _:
                pass


class MoldedProcess:
    """A worker that a mold forks; see :class:`~devserver.supervisor.handle.Process`.

    :param post: what it is to do; its descriptors are duplicated here.
    :param exits: exit codes of processes that have ended.
    """

    mode = "fork"

    def __init__(self, mold: Mold, post: Post, exits: MutableMapping[int, int]) -> None:
        self.mold = mold
        self.pid = 0
        self.row = post.row
        self.age = post.age
        self._exits = exits
        self._code: int | None = None
        self._killed = False
        self._fds = [os.dup(fd) for fd in (post.channel.fileno(), post.dump_fd, *map(_fileno, post.listeners))]

    def take_descriptors(self) -> list[int]:
        """The descriptors of its post, which belong to whoever calls this from now on."""
        fds, self._fds = self._fds, []
        return fds

    def post(self) -> Post:
        """Its post again, for somebody else to make it."""
        channel, dump, *listeners = self.take_descriptors()
        return Post(
            socket.socket(fileno=channel), [socket.socket(fileno=fd) for fd in listeners], dump, self.row, self.age
        )

    def forked(self, pid: int) -> None:
        """It has been made."""
        self.pid = pid
        if self._killed:
            self.kill()

    def ended(self, code: int) -> None:
        """It will never be made."""
        self._code = code
        for fd in self.take_descriptors():
            os.close(fd)

    def poll(self) -> int | None:
        """See :class:`~devserver.supervisor.handle.Process`."""
        return self._exits.get(self.pid) if self._code is None else self._code

    def kill(self) -> None:
        """See :class:`~devserver.supervisor.handle.Process`."""
        self._killed = True
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        elif self._code is None and self.mold.forget(self):
            self.ended(EXIT_INTERNAL)


def _fileno(sock: socket.socket) -> int:
    return sock.fileno()


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
