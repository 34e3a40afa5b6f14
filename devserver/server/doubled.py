"""Signals that are delivered twice: Ctrl+C reaches a whole process group, and a process runner passes it on as well.

Pure: whoever handles a signal says when it came.
"""

from __future__ import annotations

from devserver.server.durations import SAME_SIGNAL_S


class Doubled:
    """Tells a signal that is delivered twice from one that is sent twice."""

    def __init__(self) -> None:
        self._first = float("-inf")

    def is_same(self, now: float) -> bool:
        """Returns whether a signal that comes at ``now``, as ``time.monotonic()``, is the one that came before."""
        if self.is_recent(now):
            return True
        self._first = now
        return False

    def is_recent(self, now: float) -> bool:
        """Returns whether a signal that came at ``now`` would be the one that came before."""
        return now - self._first < SAME_SIGNAL_S
