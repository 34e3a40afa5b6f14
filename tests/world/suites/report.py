"""Writes a verdict as text: a table, then every test that needs a look."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.world.suites.outcome import Difference, Verdict
    from tests.world.suites.suite import Suite

__all__ = ["describe", "table"]

FAILURE_LINES = 6
"""Number of lines of a failure that are shown: the assertion and its two sides."""

NAMES_MAX = 30
"""Max number of tests that are named where a number is enough."""


def table(rows: Sequence[tuple[Suite, str, Verdict]]) -> str:
    """Returns the Markdown table of all suites: suite, its version, verdict."""
    lines = [
        "| Suite | Tests | Reference | pass there | pass under devserver | expected differences | unexpected |",
        "|---|---:|---|---:|---:|---:|---:|",
    ]
    for suite, version, verdict in rows:
        expected = len(verdict.differences) - len(verdict.unexpected)
        lines.append(
            f"| {suite.name} {version} | {verdict.tests:,} | {suite.reference} | {verdict.reference_passed:,} "
            f"| {verdict.ours_passed:,} | {expected} | {len(verdict.unexpected)} |"
        )
    return "\n".join(lines) + "\n"


def describe(suite: Suite, verdict: Verdict) -> str:
    """Returns what a person must look at: unexpected first, then what is stale, expected or flaky."""
    return "".join(f"{line}\n" for line in _lines(suite, verdict))


def _lines(suite: Suite, verdict: Verdict) -> Iterator[str]:
    for difference in verdict.unexpected:
        yield f"unexpected: {suite.name} {difference.test}"
        yield from _failure(difference)
    for line in verdict.stale:
        yield f"stale: expected.txt allows {line.suite} {line.test}, which no longer differs or no longer exists"
    for difference in verdict.differences:
        if difference.expected is not None:
            yield f"expected: {suite.name} {difference.test}"
            yield f"    {difference.expected.reason}"
    yield from _named(f"passes alone under both servers, so it does not count: {suite.name}", verdict.flaky)
    yield from _named(f"passes under devserver alone: {suite.name}", verdict.better)


def _failure(difference: Difference) -> Iterator[str]:
    lines = difference.ours.failure.splitlines() or [difference.ours.result]
    yield from (f"    {line}" for line in lines[:FAILURE_LINES])


def _named(what: str, tests: Sequence[str]) -> Iterator[str]:
    yield from (f"{what} {test}" for test in tests[:NAMES_MAX])
    if len(tests) > NAMES_MAX:
        yield f"{what}: {len(tests) - NAMES_MAX} more"
