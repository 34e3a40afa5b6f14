"""What ``dev run`` does for a ``dev test`` in the same project: forks its runs from a test host.

The host comes from the zygote that workers are forked from. It answers over the rendezvous
(:mod:`devserver.supervisor.rendezvous`): ``plain`` with the reason when a process started for it is needed,
``running``, and at last ``exited`` with the code. The run has the descriptors that came along, and goes with whoever
asked.
"""

from __future__ import annotations

import importlib.util
import os
import signal
from collections.abc import Callable, Container, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from devserver.config.sources import resolve
from devserver.errors import DevserverError
from devserver.supervisor.channel import channel_pair
from devserver.supervisor.forked import Zygote
from devserver.supervisor.forking import ForkSpawner
from devserver.supervisor.testing.arguments import added, why_plain
from devserver.supervisor.testing.hosts import HostProcess, Hosts, Started, TestRun
from devserver.supervisor.testing.request import Request, this_interpreter
from devserver.supervisor.testing.run import STREAMS
from devserver.supervisor.testing.surroundings import differing, not_inherited

if TYPE_CHECKING:
    import selectors

    from devserver.events import Notice
    from devserver.supervisor.channel import Message
    from devserver.supervisor.handle import Spawner
    from devserver.supervisor.rendezvous import Asker

NAMES_SHOWN_MAX = 5
FORWARDED = frozenset(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGSTOP", "SIGCONT", "SIGWINCH")
    if hasattr(signal, name)
)
"""Signals that whoever asked may pass on."""


class TestService:
    """Answers the question ``test``.

    :param root: the project's root folder.
    :param first_party: which files are the project's.
    :param spawner: what makes the workers now.
    :param search_path: the folder that the project's modules are imported from.
    :param say: tells the person something.
    """

    __test__ = False

    def __init__(
        self,
        root: str,
        first_party: Container[str],
        spawner: Callable[[], Spawner],
        *,
        search_path: str,
        say: Callable[[Notice], None],
    ) -> None:
        self._spawner = spawner
        self._hosts = Hosts(root, first_party, self._start, search_path=search_path, say=say)

    def attach(self, selector: selectors.BaseSelector) -> None:
        """See :meth:`Hosts.attach`."""
        self._hosts.attach(selector)

    def answer(self, asker: Asker, message: Message) -> None:
        """Runs tests, or says why not."""
        try:
            request = Request.from_message(message)
        except ValueError as exc:
            asker.answer({"is": "plain", "why": f"dev run does not understand the request ({exc})"})
            return
        streams = asker.take_descriptors()
        if message.get("resolve"):
            resolved = resolve_for(request)
            if resolved is None:
                for fd in streams:
                    os.close(fd)
                asker.answer({"is": "slow"})
                return
            request = resolved
        spawner = self._spawner()
        why = self._why_plain(request, spawner)
        if not why and len(streams) != STREAMS:
            why = "its standard streams did not arrive"
        environment = spawner.environment if isinstance(spawner, ForkSpawner) else None
        if why or environment is None:
            for fd in streams:
                os.close(fd)
            asker.answer({"is": "plain", "why": why})
            return

        def on_end(code: int | None, reason: str) -> None:
            # Not when it has just gone, and the run with it.
            asker.on_gone = lambda: None
            asker.answer({"is": "plain", "why": reason} if code is None else {"is": "exited", "code": code})

        run = TestRun(request, streams, on_start=lambda pid: asker.answer({"is": "running", "pid": pid}), on_end=on_end)
        asker.on_gone = run.kill
        asker.on_message = lambda told: _pass_on(told, run)
        self._hosts.run(run, environment)

    def close(self) -> None:
        """Ends every run."""
        self._hosts.close()

    def _why_plain(self, request: Request, spawner: Spawner) -> str:
        if not isinstance(spawner, ForkSpawner):
            return f"dev run forks nothing ({spawner.why or f'--reload-mode {spawner.mode}'})"
        if request.interpreter != this_interpreter():
            return "dev run has another interpreter, or other options of it"
        if spawner.environment is None:
            return "dev run has no warm process yet"
        return describe(differing(request.environment, spawner.environment))

    def _start(self, _: Mapping[str, str], renew: Callable[[], None]) -> Started:
        spawner = self._spawner()
        if not isinstance(spawner, ForkSpawner):
            return f"dev run forks nothing ({spawner.why})"
        ours, theirs = channel_pair()
        process = HostProcess(theirs, renew)
        environment = spawner.fork(process)
        if environment is None:
            ours.close()
            theirs.close()
            return "dev run has no warm process yet"
        return Zygote(environment, process, ours), ()


def resolve_for(request: Request) -> Request | None:
    """The request with the variables that ``dev exec`` would give; None when there is something to be said.

    :param request: with the variables of whoever asked.
    """
    directory = Path(request.directory)
    try:
        resolved = resolve("run", {}, environ=request.environment, directory=directory)
    except DevserverError:
        return None
    if resolved.directory != directory or (resolved.variables is not None and resolved.variables.warnings):
        return None
    environment = {**request.environment, **resolved.environment}
    before, trouble = added(environment, directory, request.arguments)
    why = trouble or why_plain([*before, *request.arguments]) or not_inherited(resolved.environment)
    if why or importlib.util.find_spec("pytest") is None:
        return None
    return request._replace(environment=environment)


def describe(names: list[str]) -> str:
    """What keeps two environments apart, by name and never by value; empty when nothing does."""
    if not names:
        return ""
    more = f" and {len(names) - NAMES_SHOWN_MAX} more" if len(names) > NAMES_SHOWN_MAX else ""
    return f"other variables than dev run has: {', '.join(names[:NAMES_SHOWN_MAX])}{more}"


def _pass_on(message: Message, run: TestRun) -> None:
    number = message.get("number")
    if message.get("do") == "signal" and isinstance(number, int) and number in FORWARDED:
        run.signal(number)
