"""Memory that closed TLS connections leave behind in the heap of glibc, given back to the system.

A connection whose handshake has begun takes some 60 KiB of OpenSSL's and the event loop's memory. glibc frees it, and
keeps the pages: what was allocated last, and lives, lies behind them. 6,000 handshakes that were aborted at the same
time left 390 MiB, of which all but 41 MiB were free. Only ``malloc_trim`` gives such pages back.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable

CONNECTIONS = 500
"""So many new ones (30 MiB) since the last time are worth it."""
DELAYS_S = (10.0, 70.0)
"""How long after them: most have gone by then; one whose client says nothing more ends after 60 s."""


def trimmer() -> Callable[[int], int] | None:
    """Returns glibc's ``malloc_trim``; None where there is no such function."""
    try:
        found: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):
        return None
    return found


class Heap:
    """Has free memory given back after many TLS connections.

    :param accepted: returns how many there have been.
    :param trim: gives memory back; called in a thread, since it takes 0.1 s for 200 MiB.
    """

    def __init__(self, accepted: Callable[[], int], trim: Callable[[int], int]) -> None:
        self._accepted = accepted
        self._trim = trim
        self._seen = 0
        self._due: list[float] = []

    def look(self, now: float) -> None:
        """Trims when it is due; call it once a second.

        :param now: the time of the event loop.
        """
        accepted = self._accepted()
        if accepted - self._seen >= CONNECTIONS:
            self._seen = accepted
            # The first stays when it is on its way, or an endless stream of connections would put it off for ever.
            first = self._due[0] if len(self._due) == len(DELAYS_S) else now + DELAYS_S[0]
            self._due = [first, now + DELAYS_S[1]]
        if self._due and now >= self._due[0]:
            self._due.pop(0)
            threading.Thread(target=self._trim, args=(0,), name="devserver-trim", daemon=True).start()
