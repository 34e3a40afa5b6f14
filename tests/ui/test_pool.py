"""What dev ctl shows."""

from __future__ import annotations

from typing import Any

import pytest

from devserver.ui.pool import COLUMNS, plain, span, status, workers

MASTER: dict[str, Any] = {
    "pid": 7,
    "version": "1.0",
    "app": "main:app",
    "urls": ["http://a:1", "unix:/b"],
    "uptime_s": 3700.0,
    "wanted": 3,
    "ready": 2,
    "generation": 4,
    "requests": 12_345,
    "running": 6,
    "connections": 1_000,
    "restarts": {"died": 2, "reload": 0, "stuck": 1},
}
WORKER: dict[str, Any] = {
    "slot": 0,
    "pid": 8,
    "state": "ready",
    "uptime_s": 61,
    "requests": 1_500,
    "running": 2,
    "connections": 3,
    "memory": 50 << 20,
    "lag_ms": 1.4,
    "silent_s": 0.3,
}


def test_status_is_a_few_lines() -> None:
    assert status(MASTER).splitlines() == [
        "master    7, up 1h 1m, devserver 1.0",
        "serves    main:app on http://a:1 unix:/b",
        "workers   2 of 3 ready, generation 4",
        "requests  12,345 started, 6 in flight, 1,000 connections",
        "replaced  2 died, 1 stuck",
    ]
    assert status({**MASTER, "restarts": {"died": 0}}).endswith("replaced  none")


def test_workers_are_rows_with_what_happens_in_a_second() -> None:
    now = {"workers": [WORKER, {**WORKER, "slot": 1, "pid": 9, "silent_s": 12.0}]}
    before = {"workers": [{**WORKER, "requests": 1_000}]}
    rows = workers(now, before, 2.0)
    assert rows[0] == ("0", "8", "ready", "1m", "1,500", "250", "2", "3", "50 MiB", "1 ms")
    assert rows[1][5] == "-"
    assert rows[1][9] == "12 s!"
    assert [row[5] for row in workers(now)] == ["-", "-"]


def test_plain_rows_are_aligned() -> None:
    first, second = plain(workers({"workers": [WORKER]})).splitlines()
    assert first.split("  ")[0] == COLUMNS[0]
    assert first.index("state") == second.index("ready")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.9, "0s"), (59, "59s"), (60, "1m"), (3_599, "59m"), (11_100, "3h 5m"), (187_200, "2d 4h")]
)
def test_span_has_two_units_at_most(seconds: float, text: str) -> None:
    assert span(seconds) == text
