"""Warnings about WSGI apps."""

from __future__ import annotations

import pytest

from devserver.app import wsgi_warning
from devserver.app.wsgi_warning import warn_once


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing has been warned about yet."""
    monkeypatch.setattr(wsgi_warning, "_warned", set())


def test_each_warning_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    for text in ("one %s", "two", "one %s"):
        warn_once(text)
    assert [(record.name, record.levelname) for record in caplog.records] == [("devserver.error", "WARNING")] * 2
    assert caplog.messages == ["one %s", "two"]


def test_number_of_warnings_is_limited(caplog: pytest.LogCaptureFixture) -> None:
    for number in range(1000):
        warn_once(str(number))
    assert len(caplog.messages) == wsgi_warning.WARNINGS_MAX
