"""The supervisor's view of test hosts: one that forks runs, made anew when it is not what it should be any more.

Driven by a selector, and never blocks. Where a host comes from (a zygote's fork, an interpreter of its own) and who
asked for a run is for others to know.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
from collections.abc import Callable, Container, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from devserver.events import Notice
from devserver.supervisor.channel import SupervisorChannel, channel_pair
from devserver.supervisor.forked import ForkedProcess, Zygote
from devserver.supervisor.forking import CRASHES_MAX, UNFIT_ROUNDS_MAX
from devserver.supervisor.plan import HOST, STARTUP, Plan, Tests
from devserver.supervisor.testing.warm_tests import WarmTests

if TYPE_CHECKING:
    from devserver.supervisor.channel import Message
    from devserver.supervisor.testing.request import Request


class HostProcess(ForkedProcess):
    """A test host that a zygote forks.

    :param channel: the host's end of its channel.
    :param on_retire: called when the zygote makes no more, and is not what is warm any more.
    """

    def __init__(self, channel: socket.socket, on_retire: Callable[[], None]) -> None:
        super().__init__(channel, (), {})
        self.order = HOST
        self._on_retire = on_retire

    def start_cold(self) -> None:
        """There is none without a zygote; the channel's end tells of it."""
        self.exit_code = 1
        self.channel.close()

    def retire(self) -> None:
        """See :class:`ForkedProcess`."""
        self._on_retire()

    def wait(self) -> None:
        """It is the zygote's child, which waits for it."""


class TestRun(ForkedProcess):
    """One run of pytest.

    :param request: what is wanted.
    :param streams: descriptors of its standard streams, ours to close.
    :param besides: what its first message says beyond the request.
    :param on_start: called with its pid when it is there.
    :param on_message: called with each message of its own.
    :param on_end: called once, with its exit code, or None and a reason when it could not be made.
    """

    __test__ = False

    def __init__(
        self,
        request: Request,
        streams: Sequence[int],
        *,
        besides: Message | None = None,
        on_start: Callable[[int], None] = lambda _: None,
        on_message: Callable[[Message], None] = lambda _: None,
        on_end: Callable[[int | None, str], None],
    ) -> None:
        self.ours, theirs = channel_pair()
        super().__init__(theirs, (), {})
        self.request = request
        self.why = "the warm process cannot be forked now"
        self._besides = besides or {}
        self._streams = [*streams]
        self._on_start = on_start
        self.on_message = on_message
        self._on_end = on_end
        self._on_done: Callable[[], None] = lambda: None
        self._ended = False

    def start(self, on_done: Callable[[], None]) -> None:
        """Tells it what to do; it may not be there yet.

        :param on_done: called when there is nothing more to come from it.
        """
        self._on_done = on_done
        self.ours.send({**self.request.to_message(), **self._besides})
        while self._streams:
            self.ours.send({"do": "keep"}, self._streams.pop(0))

    def start_cold(self) -> None:
        """Whoever asked knows better what to do without a host."""
        self.exit_code = 1
        self.channel.close()
        self.end(None)

    def forked(self, pid: int) -> None:
        """See :class:`ForkedProcess`."""
        super().forked(pid)
        self._on_start(pid)

    def kill(self) -> None:
        """See :class:`ForkedProcess`."""
        super().kill()
        if not self.asked:
            self.end(None)

    def signal(self, number: int) -> None:
        """Sends it a signal; one that a terminal sends goes to all that it has started, as it would from there."""
        if self.pid and self.exit_code is None:
            with contextlib.suppress(OSError):
                if number in {signal.SIGINT, signal.SIGQUIT, signal.SIGSTOP, signal.SIGCONT}:
                    os.killpg(self.pid, number)
                else:
                    os.kill(self.pid, number)

    def end(self, code: int | None) -> None:
        """It has ended, or never began."""
        if not self._ended:
            self._ended = True
            self._on_done()
            while self._streams:
                os.close(self._streams.pop())
            self.ours.close()
            self._on_end(code, "" if code is not None else self.why)


Started: TypeAlias = "tuple[Zygote, Sequence[str]] | str"
"""A host that has not been told its plan yet, and what to import first; or why there is none."""


class Hosts:
    """Has test runs forked.

    :param root: the project's root folder.
    :param first_party: which files are the project's.
    :param start: makes a host; called with its variables, and with what to call when it must be made anew.
    :param search_path: the folder that the project's modules are imported from.
    :param say: tells the person something.
    """

    def __init__(
        self,
        root: str,
        first_party: Container[str],
        start: Callable[[Mapping[str, str], Callable[[], None]], Started],
        *,
        search_path: str,
        say: Callable[[Notice], None],
    ) -> None:
        self.warm = WarmTests(root)
        self._root = root
        self._first_party = first_party
        self._start = start
        self._search_path = search_path
        self._say = say
        self._selector: selectors.BaseSelector | None = None
        self._host: Zygote | None = None
        self._coming: Zygote | None = None
        """Has learned more, and takes the place of the other one when it has imported it."""
        self._all: list[Zygote] = []
        self._runs: list[TestRun] = []
        self._unfit_rounds = 0
        self._crashes = 0
        self._closed = False

    def attach(self, selector: selectors.BaseSelector) -> None:
        """What is waited for is registered there, with a function to call as the key's data."""
        self._selector = selector

    def run(self, run: TestRun, environment: Mapping[str, str]) -> None:
        """Forks a run as soon as that is possible.

        :param environment: the variables to import with.
        """
        if self.warm.drop_hidden_in([self._search_path, *self.warm.folders]):
            self.renew()
        self._runs.append(run)
        self._listen(run)
        host = self._host if self._host is not None and self._host.environment == environment else None
        if host is None:
            self.renew()
            why = self._prepare(environment)
            host = self._host
            if host is None:
                run.why = why
                run.start_cold()
                return
        host.fork(run)

    def run_fresh(self, run: TestRun) -> None:
        """Has a run start as a fresh interpreter, when it is one that can."""
        self._runs.append(run)
        self._listen(run)
        run.start_cold()

    def ended(self, run: TestRun, code: int) -> None:
        """A run that is nobody's fork has ended."""
        self._on_exit(run, code)

    def renew(self) -> None:
        """The next run is forked from another host; this one ends with its last run."""
        host, self._host = self._host, None
        coming, self._coming = self._coming, None
        for each in (host, coming):
            if each is not None:
                self._retire(each)

    def close(self) -> None:
        """Ends every host and every run."""
        self._closed = True
        for run in [*self._runs]:
            run.kill()
        for host in [*self._all]:
            self._forget(host)
            host.end()
        for run in [*self._runs]:
            run.end(None)

    # Hosts

    def _prepare(self, environment: Mapping[str, str]) -> str:
        """Makes a host if there is none; why that is impossible, or an empty string."""
        if self._host is not None:
            return ""
        made = self._make(environment)
        if isinstance(made, str):
            return made
        self._host = made
        return ""

    def _make(self, environment: Mapping[str, str]) -> Zygote | str:
        if self._closed:
            return "dev run is ending"
        if self._crashes >= CRASHES_MAX:
            return "the process with pytest in it has crashed"
        if self._unfit_rounds >= UNFIT_ROUNDS_MAX:
            return "what pytest loads cannot be forked"
        started = self._start(environment, self.renew)
        if isinstance(started, str):
            return started
        host, first = started
        modules = tuple(dict.fromkeys([*first, *self.warm.modules]))
        tests = Tests(self._root, tuple(self.warm.rewritten), tuple(self.warm.unfit))
        host.plan(Plan(modules, self._first_party, dict(environment), 0, tests=tests), ())
        host.environment = dict(environment)
        self._all.append(host)
        self._register(host.channel, lambda: self._on_host(host))
        return host

    def _retire(self, host: Zygote) -> None:
        for process in host.give_up():
            process.start_cold()
        host.retire()

    def _on_host(self, host: Zygote) -> None:
        host.channel.flush()
        messages = host.channel.receive()
        if messages is None:
            self._lost(host)
            return
        for message in messages:
            self._on_message(host, message)
        self._interest(host.channel)

    def _on_message(self, host: Zygote, message: Message) -> None:
        match message.get("is"):
            case "ready":
                self._unfit_rounds = self._crashes = 0
                host.become_ready()
                if host is self._coming:
                    earlier, self._host, self._coming = self._host, host, None
                    if earlier is not None:
                        self._retire(earlier)
                for name, error in message["skipped"].items():
                    self._say(Notice("debug", f"{name} cannot be imported ahead of the tests: {error}"))
                self._say(Notice("debug", f"Test runs fork a process that has {message['count']} modules imported."))
            case "unfit":
                self._became_unfit(host, {str(name): str(why) for name, why in message["modules"].items()})
            case "forked":
                host.forked(int(message["pid"]))
            case "refused":
                self._say(Notice("debug", f"The process with pytest in it is made anew: {message['reason']}."))
                for asked in [run for run in self._runs if run.asked and not run.pid][:1]:
                    asked.why = str(message["reason"])
                host.refused()
                if host is self._host:
                    self.renew()
            case "exited":
                pid, code = int(message["pid"]), int(message["code"])
                run = host.child(pid)
                host.exited(pid, code)
                if isinstance(run, TestRun):
                    self._on_exit(run, code)
            case _:
                pass

    def _became_unfit(self, host: Zygote, unfit: Mapping[str, str]) -> None:
        for name, reason in unfit.items():
            if reason and name != STARTUP and name not in self.warm.unfit:
                self._say(Notice("debug", f"{name} {reason}, so every test run imports it anew."))
        self.warm.drop(unfit)
        # A thread that is nobody's comes again.
        self._unfit_rounds += UNFIT_ROUNDS_MAX if STARTUP in unfit else 1
        if host is self._coming:
            self._coming = None
            self._improve(host.environment)
        elif host is self._host:
            self._host = None
            name, reason = next((found for found in unfit.items() if found[1]), (STARTUP, "it is unfit"))
            for process in host.give_up():
                # Nobody waits for another one to import everything again.
                if isinstance(process, TestRun):
                    told = reason if name == STARTUP else f"{name} {reason}"
                    process.why = f"{told}, and the warm process does without it from now on"
                process.start_cold()
            self._prepare(host.environment)

    def _lost(self, host: Zygote) -> None:
        self._forget(host)
        if host in (self._host, self._coming):
            self._crashes += 1
        if host is self._host:
            self._host = None
        elif host is self._coming:
            self._coming = None
        lost = [run for run in self._runs if run.asked and run.exit_code is None and host.child(run.pid) is run]
        for process in host.give_up():
            process.start_cold()
        host.end()
        for run in lost:
            self._on_exit(run, -signal.SIGKILL)
        for run in [run for run in self._runs if run.exit_code is not None]:
            run.end(None)

    def _forget(self, host: Zygote) -> None:
        if host in self._all:
            self._all.remove(host)
            self._unregister(host.channel)

    # Runs

    def _listen(self, run: TestRun) -> None:
        run.start(lambda: self._done(run))
        self._register(run.ours, lambda: self._on_run(run))

    def _on_run(self, run: TestRun) -> None:
        run.ours.flush()
        messages = run.ours.receive()
        if messages is None:
            # Its end is told by the host.
            self._unregister(run.ours)
            return
        for message in messages:
            if message.get("is") == "imported":
                self._learn(message)
            run.on_message(message)
        self._interest(run.ours)

    def _learn(self, message: Message) -> None:
        changed = self.warm.ran(message["modules"], message["rewritten"], message["sources"], message["folders"])
        if changed and self._host is not None:
            self._improve(self._host.environment)

    def _improve(self, environment: Mapping[str, str]) -> None:
        """Makes a host of what is known now, while the other one goes on."""
        earlier, self._coming = self._coming, None
        if earlier is not None:
            self._retire(earlier)
        made = self._make(environment)
        if not isinstance(made, str):
            self._coming = made

    def _on_exit(self, run: TestRun, code: int) -> None:
        if run in self._runs:
            if not run.ours.closed:
                self._on_run(run)
            run.end(code)

    def _done(self, run: TestRun) -> None:
        if run in self._runs:
            self._runs.remove(run)
            self._unregister(run.ours)

    # The selector

    def _register(self, channel: SupervisorChannel, call: Callable[[], None]) -> None:
        if self._selector is None:
            raise AssertionError("attach() comes first")
        self._selector.register(channel, selectors.EVENT_READ, call)
        self._interest(channel)

    def _interest(self, channel: SupervisorChannel) -> None:
        """Waits for room as well while something is to be sent."""
        if self._selector is not None and not channel.closed:
            with contextlib.suppress(KeyError, ValueError):
                key = self._selector.get_key(channel)
                events = selectors.EVENT_READ | (0 if channel.flush() else selectors.EVENT_WRITE)
                if key.events != events:
                    self._selector.modify(channel, events, key.data)

    def _unregister(self, channel: SupervisorChannel) -> None:
        if self._selector is not None:
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(channel)
