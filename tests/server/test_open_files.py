"""The limit of open files."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
from collections.abc import Iterator
from typing import Any

import pytest

from devserver.server import open_files
from devserver.server.open_files import EACH_S, Exhaustion


@pytest.fixture(autouse=True)
def _limit() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_soft_limit_is_raised_to_the_hard_one(monkeypatch: pytest.MonkeyPatch) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hard > 900
    resource.setrlimit(resource.RLIMIT_NOFILE, (300, hard))
    monkeypatch.setattr(open_files, "RAISED_MAX", 800)
    open_files.raise_limit()
    assert open_files.limit() == 800
    # It is never lowered.
    monkeypatch.setattr(open_files, "RAISED_MAX", 400)
    open_files.raise_limit()
    assert open_files.limit() == 800
    monkeypatch.undo()
    open_files.raise_limit()
    assert open_files.limit() == min(hard, open_files.RAISED_MAX)


def test_master_needs_some_for_each_worker_and_address() -> None:
    assert open_files.needed(1, 1) < open_files.needed(2, 1) < open_files.needed(2, 2)


def test_exhaustion_is_told_once_a_minute() -> None:
    told: list[str] = []
    watched = Exhaustion(told.append, lambda: 7)
    watched.look(0.0)
    assert told == []
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    for now in (1.0, 2.0, EACH_S, 1 + EACH_S):
        watched.look(now)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    assert len(told) == 2
    assert told[0].startswith("This process (0 files) can open no more files, so new connections are not served. 7 are")


def test_asyncio_says_nothing_of_connections_that_it_cannot_accept() -> None:
    loop = asyncio.SelectorEventLoop()
    seen: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: seen.append(context))
    open_files.keep_quiet(loop)
    # Once is enough.
    handler = loop.get_exception_handler()
    open_files.keep_quiet(loop)
    assert loop.get_exception_handler() is handler
    full = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    loop.call_exception_handler({"message": "socket.accept() out of system resource", "exception": full})
    assert seen == []
    for context in ({"message": "socket.accept() failed", "exception": OSError()}, {"message": "x", "exception": full}):
        loop.call_exception_handler(context)
        assert seen.pop() == context
    loop.close()
