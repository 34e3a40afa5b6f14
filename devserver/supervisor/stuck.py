"""What a worker says about itself when its event loop stands still.

The master asks with a signal. A handler that Python runs between two bytecodes answers as long as the loop is stuck in
Python code, or in a call that a signal interrupts: it knows the request. When nothing comes, the loop is stuck in C
code. Then the thread of the worker's channel is asked for the same, which it can tell unless that code holds the
interpreter lock, and a second signal lets :mod:`faulthandler` write every thread's stack to a pipe without Python's
help.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from devserver.protocol.state import ServerState

FRAMES_MAX = 40
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
REQUESTS_MAX = 20
"""Others in flight, told of with it."""
DUMP_BYTES_MAX = 65_536
"""What a pipe holds."""


def ask_signal() -> int:
    """The signal that is answered by Python code; one that apps do not use."""
    return int(signal.SIGRTMIN) + 1


def dump_signal() -> int:
    """The signal that is answered by C code."""
    return int(signal.SIGRTMIN) + 2


def answer(tell: Callable[[str], object], state: Callable[[], ServerState | None], dump_fd: int) -> None:
    """Lets this process answer from now on.

    :param tell: gets the text of an answer, on the main thread.
    :param state: the server's, when there is one.
    :param dump_fd: where the second answer is written.
    """

    def on_signal(_: int, frame: FrameType | None) -> None:
        tell(describe(frame, state()))

    # Not at the top: the master only sends the signals.
    import faulthandler

    signal.signal(ask_signal(), on_signal)
    faulthandler.register(dump_signal(), dump_fd, all_threads=True, chain=False)


def describe(frame: FrameType | None, state: ServerState | None) -> str:
    """The request that the loop is stuck in, the stacks of all threads, and what else is in flight."""
    lines = []
    stuck = None if state is None else _current(state)
    if stuck is not None:
        lines.append(f"It is stuck in {stuck}.")
    others = [] if state is None else [text for text in _in_flight(state) if text != stuck]
    if others:
        more = f" and {len(others) - REQUESTS_MAX} more" if len(others) > REQUESTS_MAX else ""
        lines.append(f"In flight besides: {', '.join(others[:REQUESTS_MAX])}{more}.")
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    main = threading.main_thread().ident
    for ident, found in sys._current_frames().items():  # noqa: SLF001
        name = names.get(ident, str(ident))
        if not name.startswith("devserver-"):
            top = frame if ident == main and frame is not None else found
            lines.append(f"Thread {name} (most recent call last):\n{_stack(top)}")
    return "\n".join(lines)


def _stack(frame: FrameType) -> str:
    """Without what called the app, which is the same for every request."""
    found = traceback.extract_stack(frame)
    ours = [index for index, each in enumerate(found) if each.filename.startswith(_PACKAGE)]
    shown = found[ours[-1] + 1 :] if ours else found
    return "".join(traceback.format_list(shown[-FRAMES_MAX:])).rstrip()


def _current(state: ServerState) -> str | None:
    import asyncio

    task = asyncio.current_task(state.loop)
    if task is None:
        return None
    coroutine = task.get_coro()
    # An exchange's run(), unless it is a task that the app has made itself.
    exchange = getattr(getattr(coroutine, "cr_frame", None), "f_locals", {}).get("self")
    return _request(exchange) or f"task {task.get_name()} ({getattr(coroutine, '__qualname__', coroutine)})"


def _in_flight(state: ServerState) -> list[str]:
    exchanges = [getattr(connection, "exchange", None) for connection in list(state.connections)]
    return [text for text in map(_request, exchanges) if text is not None]


def _request(exchange: Any) -> str | None:
    scope = getattr(exchange, "scope", None)
    if not isinstance(scope, dict) or scope.get("type") != "http":
        return None
    age = "" if exchange.received_at is None else f" ({time.perf_counter() - exchange.received_at:.1f} s)"
    return f"{scope['method']} {scope['path']}{age}"


def read_dump(fd: int) -> str:
    """What :mod:`faulthandler` has written to the pipe whose other end is ``fd``; does not wait."""
    try:
        return os.read(fd, DUMP_BYTES_MAX).decode(errors="replace").strip()
    except OSError:
        return ""
