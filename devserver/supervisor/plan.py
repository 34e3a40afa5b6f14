"""What the supervisor tells a zygote: a plan first, then one byte for each thing that it wants done."""

from __future__ import annotations

import base64
import pickle
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from devserver.supervisor.channel import Message

FORK = b"F"
"""Make a worker; the worker's end of its channel comes along with the byte."""
HOST = b"H"
"""Make a test host (:mod:`devserver.supervisor.testing.host`), in the same way."""
RETIRE = b"R"
"""Make no more, and end with the last one."""
STARTUP = "?"
"""Takes the place of a module's name when a process cannot be forked for a reason that no import has brought."""


@dataclass(frozen=True)
class Tests:
    """What a test host must know besides.

    :ivar root: the project's root folder.
    :ivar rewritten: those of the modules whose assertions pytest has rewritten.
    :ivar without: plugins that it may not import.
    """

    root: str
    rewritten: tuple[str, ...] = ()
    without: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """The first message.

    :ivar modules: what to import, in this order.
    :ivar first_party: which files are the project's.
    :ivar environment: the variables to import with.
    :ivar descriptors: how many descriptors follow, one with each message: of the listening sockets, and at last of the
        standard streams if ``terminal``.
    :ivar terminal: the workers' standard streams are not the supervisor's.
    :ivar tests: only of what forks test runs.
    """

    modules: tuple[str, ...]
    first_party: Container[str]
    environment: Mapping[str, str]
    descriptors: int
    terminal: bool = False
    tests: Tests | None = None

    def to_message(self) -> Message:
        """The plan as a message."""
        return {"plan": base64.b64encode(pickle.dumps(self)).decode("ascii")}

    @staticmethod
    def from_message(message: Message) -> Plan:
        """The inverse of :meth:`to_message`. The channel is a socket pair that nobody else holds, so it is trusted."""
        plan = pickle.loads(base64.b64decode(message["plan"]))
        if not isinstance(plan, Plan):
            raise AssertionError("the first message is a plan")
        return plan
