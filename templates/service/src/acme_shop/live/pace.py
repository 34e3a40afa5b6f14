"""How fast somebody may send."""

import time


class Pace:
    """A bucket of tokens that fills up by itself.

    :param burst: how many may come at once.
    :param per_second: how many may come for ever.
    """

    def __init__(self, *, burst: int, per_second: float) -> None:
        self._burst = burst
        self._per_second = per_second
        self._tokens = float(burst)
        self._at = time.monotonic()

    def allows(self) -> bool:
        """Whether one more may come now; it is counted."""
        now = time.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._per_second)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
