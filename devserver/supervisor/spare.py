"""A process that stands by: it imports the warm set, and does the first job that comes.

What it imports stays in it, so threads and open files do no harm; only what is the project's own may not be among them.
"""

from __future__ import annotations

import gc
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
    # Nothing that is imported is ever garbage.
    gc.disable()
    imports.warm_up(plan.modules, plan.first_party)
    imports.forget(plan.first_party)
    origins = imports.origins()
    # The job may have come with the plan, or comes when somebody saves.
    try:
        job = first.rest.pop(0) if first.rest else None
        if job is None:
            rest = receive_first(sock, first.inbox)
            job, first = rest.message, rest
    except (OSError, EOFError):
        os._exit(0)
    changed = imports.changed(origins)
    if changed:
        sock.sendall(encode({"is": "stale", "reason": f"{changed} has changed"}))
    worker.work(sock, first._replace(message=job), inherited=frozenset(sys.modules))
