"""What a person may ask of a running supervisor: the counterpart of ``events``, travelling the other way.

Keys pressed in the terminal and signals become one of these values; a supervisor takes them from any thread
and acts on them in its own loop. They carry intent only, never how it is done.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Reload:
    """Replace the running code now, whether or not a file changed."""

    cold: bool = False
    """Start from a fresh interpreter, whatever the reload mode is."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Finish what is in flight and end. The second one ends at once."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Collect changes but do not act on them until :class:`Resume`."""


@dataclass(frozen=True, slots=True)
class Resume:
    """Act on what was collected since :class:`Pause`."""


@dataclass(frozen=True, slots=True)
class Repeat:
    """Send the last request once more."""


@dataclass(frozen=True, slots=True)
class Replay:
    """Send the last request that changes nothing again after each reload, or do so no longer."""

    on: bool


Command: TypeAlias = Reload | Stop | Pause | Resume | Repeat | Replay
