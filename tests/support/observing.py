"""Requests as the server reports them, log settings put back afterwards, and pipes that nobody reads."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from devserver.events import RequestFinished
from devserver.observe import foreign_loggers

NAMES = (
    "devserver",
    "devserver.error",
    "devserver.access",
    "uvicorn",
    "uvicorn.error",
    "uvicorn.access",
    "gunicorn.error",
    "gunicorn.access",
)
MOMENT = 1_795_348_621.25
"""2026-11-22T11:57:01.250Z."""


def finished(**members: Any) -> RequestFinished:
    """``GET /path?q=1`` answered with five bytes in 1.23 ms, but for ``members``."""
    event = RequestFinished(
        client=("127.0.0.1", 52344),
        scheme="http",
        method="GET",
        target=b"/path?q=1",
        http_version="1.1",
        status=200,
        request_headers=[(b"host", b"example.com"), (b"user-agent", b"curl/8.1"), (b"referer", b"http://a/")],
        response_headers=[(b"Content-Type", b"text/plain")],
        body_bytes=5,
        duration_s=0.00123,
        finished_at=MOMENT,
        complete=True,
    )
    return event._replace(**members)


def wait_until(condition: Callable[[], object], what: str, timeout_s: float = 10.0) -> None:
    """Returns when ``condition`` holds.

    :raises AssertionError: it does not within ``timeout_s``.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s} s until {what}")
        time.sleep(0.001)


@contextmanager
def logging_restored() -> Iterator[None]:
    """Closes the handlers that were added meanwhile and puts our loggers back as they were."""
    root = logging.getLogger()
    saved = [
        (logger, logger.handlers[:], logger.filters[:], logger.level, logger.propagate, logger.disabled, logger.parent)
        for logger in (root, *map(logging.getLogger, NAMES))
    ]
    try:
        yield
    finally:
        for logger, handlers, filters, level, propagate, disabled, parent in saved:
            for handler in logger.handlers:
                if handler not in handlers:
                    handler.close()
            logger.handlers, logger.filters = handlers, filters
            logger.setLevel(level)
            logger.propagate, logger.disabled, logger.parent = propagate, disabled, parent
        foreign_loggers.forget()


class UnreadPipe:
    """A pipe that is full; :meth:`read_all` makes room again."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.writer, False)
        self.filled = 0
        for size in (4096, 1):
            while True:
                try:
                    self.filled += os.write(self.writer, b"x" * size)
                except BlockingIOError:
                    break
        os.set_blocking(self.writer, True)
        os.set_blocking(self.reader, False)
        self.received = bytearray()

    def read_all(self) -> bytes:
        """What was written since the pipe was filled, as far as it has arrived."""
        while True:
            try:
                data = os.read(self.reader, 1 << 16)
            except BlockingIOError:
                return bytes(self.received[self.filled :])
            if not data:
                return bytes(self.received[self.filled :])
            self.received += data

    def close(self) -> None:
        """Closes both ends."""
        os.close(self.reader)
        os.close(self.writer)
