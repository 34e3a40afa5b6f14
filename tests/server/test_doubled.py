"""Signals that are delivered twice."""

from __future__ import annotations

from devserver.server.doubled import Doubled
from devserver.server.durations import SAME_SIGNAL_S


def test_signal_shortly_after_the_first_is_the_same() -> None:
    doubled = Doubled()
    assert not doubled.is_recent(100.0)
    assert [doubled.is_same(100.0 + step) for step in (0.0, 0.001, SAME_SIGNAL_S - 0.001)] == [False, True, True]
    assert doubled.is_recent(100.1)


def test_signal_long_after_the_first_is_another_one_however_many_came_between() -> None:
    doubled = Doubled()
    assert not doubled.is_same(100.0)
    assert doubled.is_same(100.4)
    assert not doubled.is_same(100.0 + SAME_SIGNAL_S)
    assert doubled.is_same(100.1 + SAME_SIGNAL_S)
