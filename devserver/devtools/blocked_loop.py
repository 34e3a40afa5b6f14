"""Finds out what keeps the event loop from turning, while it does.

While requests are served the loop beats, and a thread looks at the beat. When it is late the thread looks at the loop's
stack as well, again and again until the loop turns: the line that was seen most is the one that blocks. A request
that is among the frames is told of it; when there is none, somebody else is.
"""

from __future__ import annotations

import linecache
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Container
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

BEAT_S = 0.02
LATE_S = 0.1
"""So long the loop may stand still unnoticed."""
FRAMES_MAX = 200
SOURCE_CHARS_MAX = 60


class BlockedLoop:
    """Watches one loop, from its own thread, while :meth:`serve` says so.

    :param first_party: which files are the project's.
    :param directory: paths below it are told relative to it.
    :param entry: the code of the function whose local variable ``request`` is the request.
    :param tell: gets a sentence about a block that belongs to no request; on the loop's thread.
    """

    def __init__(
        self, first_party: Container[str], directory: str, entry: CodeType, tell: Callable[[str], object]
    ) -> None:
        self._first_party = first_party
        self._directory = directory.rstrip(os.sep) + os.sep
        self._entry = entry
        self._tell = tell
        self._loop: asyncio.AbstractEventLoop
        self._loop_thread = 0
        self._serving = 0
        self._wanted = threading.Event()
        self._beat_at = 0.0
        self._beating = False
        self._seen: Counter[tuple[str, int]] = Counter()
        self._request: Any = None
        """The request that was among the frames."""

    def serve(self, loop: asyncio.AbstractEventLoop) -> None:
        """A request begins."""
        self._serving += 1
        if self._beating:
            return
        if not self._loop_thread:
            self._loop = loop
            self._loop_thread = threading.get_ident()
            threading.Thread(target=self._watch, name="devserver-blocked-loop", daemon=True).start()
        self._beating = True
        self._beat_at = time.perf_counter()
        loop.call_later(BEAT_S, self._beat)
        self._wanted.set()

    def served(self) -> None:
        """A request is over."""
        self._serving -= 1

    def note(self, request: object) -> str:
        """What has kept the loop while it served ``request``; empty when nothing has."""
        if not self._seen or self._request is not request:
            return ""
        return f"blocked the event loop {self._take()}"

    # On the loop

    def _beat(self) -> None:
        if self._seen and self._request is None:
            self._tell(f"The event loop was blocked {self._take()}")
        elif self._seen:
            add = getattr(self._request, "add_note", None)
            text = f"blocked the event loop {self._take()}"
            if add is not None:
                add(text)
        self._beat_at = time.perf_counter()
        if self._serving:
            self._loop.call_later(BEAT_S, self._beat)
        else:
            self._beating = False
            self._wanted.clear()

    def _take(self) -> str:
        lasted_s = time.perf_counter() - self._beat_at
        # The thread may be looking right now: what it adds then counts for nothing.
        seen, self._seen, self._request = self._seen, Counter(), None
        # So that the beat that comes next does not tell it again.
        self._beat_at = time.perf_counter()
        (path, line), _ = seen.most_common(1)[0]
        place = f" at {path.removeprefix(self._directory)}:{line}" if path else ""
        source = linecache.getline(path, line).strip()[:SOURCE_CHARS_MAX] if path else ""
        return f"for {lasted_s * 1000:.0f} ms{place}" + (f"  {source}" if source else "")

    # On the thread

    def _watch(self) -> None:
        while True:
            self._wanted.wait()
            time.sleep(BEAT_S)
            beat_at = self._beat_at
            if self._beating and time.perf_counter() - beat_at > LATE_S:
                frame = sys._current_frames().get(self._loop_thread)  # noqa: SLF001 - there is no other way to see it
                place, request = self._look(frame)
                # Without either nothing runs: the loop waits for the machine, like everybody else.
                if beat_at == self._beat_at and (place[0] or request is not None):
                    self._seen[place] += 1
                    self._request = request

    def _look(self, frame: FrameType | None) -> tuple[tuple[str, int], Any]:
        """Where the project's own code stands, and the request that it serves."""
        place, request = ("", 0), None
        for _ in range(FRAMES_MAX):
            if frame is None:
                break
            if not place[0] and frame.f_code.co_filename in self._first_party:
                place = (frame.f_code.co_filename, frame.f_lineno)
            if frame.f_code is self._entry:
                request = frame.f_locals.get("request")
                break
            frame = frame.f_back
        return place, request
