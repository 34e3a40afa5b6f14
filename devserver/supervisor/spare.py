"""A process that stands by: it imports the warm set, and does the first job that comes.

What it imports stays in it, so threads and open files do no harm; only what is the project's own may not be among them.
When it is, or when files have changed since they were imported, the process says so and is ended.
"""

from __future__ import annotations

import os
import socket
import sys

from devserver.supervisor import imports, worker
from devserver.supervisor.channel import encode, receive_first
from devserver.supervisor.plan import Plan


def main(channel_fd: int) -> None:
    """The whole life of the process; ends in SystemExit."""
    sock = socket.socket(fileno=channel_fd)
    sock.set_inheritable(False)
    try:
        first = receive_first(sock)
    except (OSError, EOFError):
        os._exit(0)
    plan = Plan.from_message(first.message)
    unfit = imports.warm_up(plan.modules, plan.first_party, to_fork=False).unfit
    origins = imports.origins()
    # The job comes with the plan, or when somebody saves.
    try:
        job = receive_first(sock, first)
    except (OSError, EOFError):
        os._exit(0)
    changed = imports.changed(origins)
    if changed or unfit:
        sock.sendall(encode({"is": "stale", "unfit": unfit}))
    worker.work(sock, job, inheritance=worker.Inheritance(frozenset(sys.modules)))
