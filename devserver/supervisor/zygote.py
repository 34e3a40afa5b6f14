"""The zygote: a process that has imported what the app takes from others, and forks a worker for every save.

It has one thread, no event loop and no watcher; it imports, and calls nothing. It is started as a cold worker is, so
that its ``sys.path``, its interpreter flags and its ``__main__`` are those of one. What is the project's own never
enters it: a worker is forked without it and imports it anew.

The supervisor speaks to it over a socket of its own (:mod:`devserver.supervisor.plan`). The answers are messages:
``ready``, ``unfit`` (what must leave the warm set), ``forked``, ``stale`` (that one is not what a fresh process would
be), ``refused`` and ``exited``.
"""

from __future__ import annotations

import importlib
import os
import signal
import socket
import sys

from devserver.supervisor import imports, worker
from devserver.supervisor.channel import receive_first
from devserver.supervisor.forker import Forker, say
from devserver.supervisor.plan import HOST, Plan


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
    # What workers need when files have been saved.
    importlib.import_module("devserver.supervisor.checkpoint")
    probe = imports.warm_up(plan.modules, plan.first_party, to_fork=True)
    if probe.unfit:
        say(sock, {"is": "unfit", "modules": probe.unfit})
        os._exit(0)
    # Made here: in a child it would write to the pages of all these names.
    names = frozenset(sys.modules)
    forker = Forker(sock, threads=probe.threads)
    say(sock, {"is": "ready", "count": len(sys.modules), "skipped": probe.skipped})
    channel = forker.serve()
    if channel is None:
        # Functions registered with atexit belong to the workers.
        os._exit(0)
    if forker.order == HOST:
        from devserver.supervisor.testing import host

        host.from_zygote(channel, listeners)
    # From here on this is a worker.
    inheritance = worker.Inheritance(names, tuple(listeners), forker.origins)
    del forker, sock, probe, received
    worker.work(channel, inheritance=inheritance)
