"""What the tables of the benchmarks say, from made-up figures."""

from __future__ import annotations

import json

import pytest

from benchmarks import report
from benchmarks.cases import CASES
from benchmarks.clients import percentile

pytestmark = pytest.mark.once

MACHINE = {"machine": "a machine"}


def _results() -> report.Results:
    results = report.Results(CASES["hello"])
    for rate in (300.0, 200.0, 100.0):
        results.rounds.setdefault("devserver", []).append(_figures(rate, 10.0))
        results.rounds.setdefault("uvicorn", []).append(_figures(rate / 2, 40.0))
    results.failures["granian"] = "did not answer"
    return results


def _figures(rate: float, cpu_us: float) -> dict[str, float]:
    return {"rate": rate, "cpu_us": cpu_us, "p50_ms": 1.0, "p99_ms": 2.0, "busy": 99.0}


def test_table_shows_medians_and_the_subject_divided_by_each_server() -> None:
    heading, ours, uvicorn, granian = report.table(_results(), "devserver")
    assert heading[:5] == ["server", "requests/s", "ours ÷", "CPU µs/request", "ours ÷"]
    assert ours[:5] == ["devserver", "200", "1.00", "10.0", "1.00"]
    assert uvicorn[:5] == ["uvicorn", "100", "2.00", "40.0", "0.25"]
    assert granian == ["granian", "failed: did not answer"]


def test_table_shows_how_far_the_rounds_lie_apart() -> None:
    assert report.table(_results(), "devserver")[1][-1] == "50 %"


def test_server_that_failed_once_has_no_figures() -> None:
    results = _results()
    results.failures["uvicorn"] = "3 wrong answers"
    assert results.median("uvicorn", results.case.metrics[0]) is None
    assert "uvicorn" not in results.as_json("devserver")["servers"]


def test_missing_subject_leaves_ratios_empty() -> None:
    results = _results()
    del results.rounds["devserver"]
    assert report.table(results, "devserver")[1][:3] == ["uvicorn", "100", ""]


def test_text_has_aligned_columns() -> None:
    lines = report.as_text([_results()], "devserver", MACHINE).splitlines()
    assert lines[0].split() == ["machine:", "a", "machine"]
    heading, ours, uvicorn = lines[3:6]
    assert len(heading) == len(ours) == len(uvicorn)


def test_markdown_rows_have_as_many_cells_as_the_heading() -> None:
    rows = [
        line for line in report.as_markdown([_results()], "devserver", MACHINE).splitlines() if line.startswith("|")
    ]
    assert len(rows) == 5
    assert len({row.count("|") for row in rows}) == 1


def test_json_holds_every_round() -> None:
    document = json.loads(report.as_json([_results()], "devserver", MACHINE))
    (case,) = document["cases"]
    assert [figures["rate"] for figures in case["servers"]["devserver"]["rounds"]] == [300.0, 200.0, 100.0]
    assert case["servers"]["uvicorn"]["subject_divided_by_this"] == {"rate": 2.0, "cpu_us": 0.25}
    assert case["failures"] == {"granian": "did not answer"}


def test_percentile_is_a_value_that_was_measured() -> None:
    ordered = [float(number) for number in range(1, 101)]
    assert [percentile(ordered, percent) for percent in (1, 50, 99, 100)] == [1.0, 50.0, 99.0, 100.0]
    assert percentile([7.0], 99) == 7.0
