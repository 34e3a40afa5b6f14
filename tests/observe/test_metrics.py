"""Figures as text."""

from __future__ import annotations

import re

from devserver.observe.metrics import Family, prometheus, statsd


def test_families_are_written_as_prometheus_reads_them() -> None:
    requests = Family("shop_requests_total", "Requests.", "counter")
    requests.add(3, status="2xx")
    requests.add(0, status='5"x\\x\n')
    taken = Family("shop_seconds", "How long.", "histogram")
    taken.add_histogram([1, 0, 2], [0.5, 1], 7.25)
    assert prometheus([requests, taken]) == (
        "# HELP shop_requests_total Requests.\n"
        "# TYPE shop_requests_total counter\n"
        'shop_requests_total{status="2xx"} 3\n'
        'shop_requests_total{status="5\\"x\\\\x\\n"} 0\n'
        "# HELP shop_seconds How long.\n"
        "# TYPE shop_seconds histogram\n"
        'shop_seconds_bucket{le="0.5"} 1\n'
        'shop_seconds_bucket{le="1"} 1\n'
        'shop_seconds_bucket{le="+Inf"} 3\n'
        "shop_seconds_sum 7.25\n"
        "shop_seconds_count 3\n"
    )


def test_statsd_gets_what_has_changed_and_what_is() -> None:
    lines = statsd("shop", {"requests": 3, "errors": 0}, {"workers": 2}, {"taken": 1.5}).split(b"\n")
    assert lines == [b"shop.requests:3|c", b"shop.workers:2|g", b"shop.taken:1.5|ms"]


def test_every_sample_has_a_number() -> None:
    family = Family("x", "y", "gauge")
    for value in (0, 1, 1.0, 0.1, 1e-7, 2**64 - 1, 1234567.891):
        family.add(value)
    assert all(re.fullmatch(r"x \d+(\.\d+)?\.?", line) for line in prometheus([family]).splitlines()[2:])
