"""Everything that holds over a fake transport holds with both parsers."""

from __future__ import annotations

import pytest

from tests.support import memory


@pytest.fixture(autouse=True, params=["httptools", pytest.param("h11", marks=pytest.mark.once)])
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parser of servers whose test does not ask for one."""
    monkeypatch.setitem(memory.PARSER, "http", request.param)
