"""How the process of a command ends when something in it does not."""

from __future__ import annotations

import os
import threading
from typing import NoReturn

from devserver.observe import writer

THREADS_S = 1.0
"""How long the threads of a stopped server may take to end."""

FLUSH_S = 0.5
"""How long the last log lines may take."""


def end_threads(code: int) -> None:
    """Returns when no thread but the main one holds the interpreter; if one does, flushes logs and ends the process.

    A call in a thread cannot be cancelled: without this a ``time.sleep(20)`` in an endpoint would delay the end of a
    server that has stopped by as much, because the interpreter waits for its threads.

    :param code: the exit code to end with.
    """
    main = threading.main_thread()
    for thread in threading.enumerate():
        if thread is not main and not thread.daemon:
            thread.join(THREADS_S)
            if thread.is_alive():
                end_process(code)


def end_process(code: int) -> NoReturn:
    """Writes what was logged and ends the process, whatever its other threads do."""
    writer.flush(FLUSH_S)
    os._exit(code)
