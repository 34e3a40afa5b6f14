"""The master's view of the processes that import the app and fork its workers (:mod:`devserver.supervisor.mold`).

Workers have channels to the master of their own, and live on when the mold that they came from is gone.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
from collections import deque
from collections.abc import Callable, Set
from typing import TYPE_CHECKING, NoReturn

from devserver.errors import EXIT_INTERNAL
from devserver.events import AppFailed, from_json
from devserver.supervisor import children
from devserver.supervisor.channel import SupervisorChannel, channel_pair
from devserver.supervisor.handle import kill_leader
from devserver.supervisor.post import Job, Post

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from devserver.supervisor.channel import Message
    from devserver.supervisor.descriptors import Held


class Molds:
    """The mold that workers are forked from now, and those of workers that came before.

    :param selector: their channels are registered there.
    :param exits: exit codes of workers that have ended are put there.
    :param on_failed: called when the app cannot be imported in one.
    :param on_unfit: called with the reason when no worker can be forked from one, and with those that were to be.
    """

    def __init__(
        self,
        selector: selectors.BaseSelector,
        exits: MutableMapping[int, int],
        *,
        on_failed: Callable[[Mold, AppFailed], None],
        on_unfit: Callable[[str, list[MoldedProcess]], None],
    ) -> None:
        self.fit = True
        """Workers can be forked from a mold of this app, as far as is known."""
        self._selector = selector
        self._exits = exits
        self._on_failed = on_failed
        self._on_unfit = on_unfit
        self._every: list[Mold] = []
        self._current: Mold | None = None
        self._before: Mold | None = None
        """That of the old workers, while it is not known yet whether the new code starts."""

    def current(self, job: Job, leave_to_child: Callable[[], None], known: Set[Held]) -> Mold:
        """Returns the process that has imported the app as it is to be now, or does so.

        :param leave_to_child: called in it when it is made: closes what is the master's alone.
        :param known: the descriptors that it keeps.
        :raises OSError: there is none, and it cannot be made.
        """
        if self._current is None:
            mold = Mold(self._exits, on_failed=self._on_failed, on_unfit=self._on_unfit)
            mold.start(job, leave_to_child, known)
            self._every.append(mold)
            self._current = mold
            self._selector.register(mold.channel, selectors.EVENT_READ, lambda: self._on_readable(mold))
        return self._current

    def replace(self) -> None:
        """The app is to be imported anew."""
        self.fit = True
        if self._before is None:
            self._before = self._current
        elif self._current is not None:
            self._current.retire()
        self._current = None

    def keep(self) -> None:
        """The new code starts: the old one is not needed any more."""
        if self._before is not None:
            self._before.retire()
            self._before = None

    def go_back(self) -> None:
        """The new code does not start: the old one makes workers again."""
        if self._current is not None:
            self._current.retire()
        self._current, self._before = self._before, None

    def leave_to_child(self) -> None:
        """In a forked child: closes everything."""
        for mold in self._every:
            mold.channel.socket.close()

    def close(self) -> None:
        """Ends all of them; the workers that they have made live on."""
        for mold in self._every:
            mold.kill()

    def _on_readable(self, mold: Mold) -> None:
        if mold.on_readable():
            return
        # It has gone; its workers are the master's now, which is their subreaper.
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(mold.channel)
        mold.channel.close()
        self._every.remove(mold)
        if self._current is mold:
            self._current = None
        for process in mold.gone():
            process.ended(EXIT_INTERNAL)


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

    def start(self, job: Job, leave_to_child: Callable[[], None], known: Set[Held]) -> None:
        """Makes the process.

        :param leave_to_child: called in it: closes what is the master's alone.
        :param known: the descriptors that it keeps.
        :raises OSError: it cannot be made.
        """

        def live() -> NoReturn:
            self.channel.socket.close()
            leave_to_child()
            # Imported here: the master does without all that it takes to serve.
            from devserver.supervisor.mold import run

            run(job, self._theirs)

        try:
            self.pid = children.start(live, known, [self._theirs.fileno()])
        except OSError:
            self.channel.close()
            raise
        finally:
            self._theirs.close()

    def fork(self, post: Post) -> MoldedProcess:
        """Has a worker forked, at once or as soon as the app is imported.

        :raises OSError: no descriptor is left.
        """
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
        """Ends it, and what its import has started; the workers that it has made live on."""
        kill_leader(self.pid)

    def _send(self) -> None:
        while self._is_ready and self._waiting:
            process = self._waiting.popleft()
            self._asked.append(process)
            try:
                # The process keeps its own: whoever else is to make it needs them, when the mold refuses.
                fds = process.copy_descriptors()
            except OSError:
                self._asked.pop().ended(EXIT_INTERNAL)
                continue
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
            case "failed":
                self._asked.popleft().ended(EXIT_INTERNAL)
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
        self._fds: list[int] = []
        try:
            for fd in post.descriptors:
                self._fds.append(os.dup(fd))
        except OSError:
            self._close()
            raise

    def take_descriptors(self) -> list[int]:
        """The descriptors of its post, which belong to whoever calls this from now on."""
        fds, self._fds = self._fds, []
        return fds

    def copy_descriptors(self) -> list[int]:
        """Copies of them, which belong to whoever calls this.

        :raises OSError: there is no room for them.
        """
        copies: list[int] = []
        try:
            # One by one: those that were made must be closed when the next one cannot be.
            copies.extend(os.dup(fd) for fd in self._fds)
        except OSError:
            for fd in copies:
                os.close(fd)
            raise
        return copies

    def post(self) -> Post:
        """Its post again, for somebody else to make it."""
        channel, dump, *listeners = self.take_descriptors()
        return Post(
            socket.socket(fileno=channel), [socket.socket(fileno=fd) for fd in listeners], dump, self.row, self.age
        )

    def forked(self, pid: int) -> None:
        """It has been made."""
        self.pid = pid
        self._close()
        if self._killed:
            self.kill()

    def ended(self, code: int) -> None:
        """It will never be made."""
        self._code = code
        self._close()

    def poll(self) -> int | None:
        """See :class:`~devserver.supervisor.handle.Process`."""
        return self._exits.get(self.pid) if self._code is None else self._code

    def kill(self) -> None:
        """See :class:`~devserver.supervisor.handle.Process`."""
        self._killed = True
        if self.pid:
            kill_leader(self.pid)
        elif self._code is None and self.mold.forget(self):
            self.ended(EXIT_INTERNAL)

    def _close(self) -> None:
        for fd in self.take_descriptors():
            os.close(fd)
