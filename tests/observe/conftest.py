"""Every test here may set up logging; afterwards it is as it was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.observing import UnreadPipe, logging_restored


@pytest.fixture(autouse=True)
def _logging(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("NO_COLOR", "FORCE_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    with logging_restored():
        yield


@pytest.fixture
def unread_pipe() -> Iterator[UnreadPipe]:
    pipe = UnreadPipe()
    yield pipe
    pipe.close()
