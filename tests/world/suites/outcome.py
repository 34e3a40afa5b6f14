"""Compares what a suite gave under two servers, and judges it. Pure: no process, no file.

A test counts when it passes under the reference and does not pass under ours. What both fail says nothing about us.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.world.suites.expected import Expectation

__all__ = ["Difference", "Outcome", "Verdict", "differing", "doubtful", "judge", "parse"]


@dataclass(frozen=True)
class Outcome:
    """How one test ended under one server.

    :param result: ``passed``, ``failed``, ``skipped``, or ``missing`` when the run ended before it.
    :param failure: the message of the failure, empty when there is none.
    """

    result: str
    failure: str = ""


MISSING = Outcome("missing", "The run ended before this test, or collected another one.")


@dataclass(frozen=True)
class Difference:
    """A test that passes under the reference, and under our server does not.

    :param test: its node id.
    :param ours: how it ended under our server.
    :param expected: the line of the list that allows it, if one does.
    """

    test: str
    ours: Outcome
    expected: Expectation | None = None


@dataclass(frozen=True)
class Verdict:
    """The result of one suite.

    :param tests: the number of tests.
    :param reference_passed: how many passed under the reference.
    :param ours_passed: how many passed under our server.
    :param differences: those that count, expected or not.
    :param flaky: tests that differed in the long run and not when they were run again alone.
    :param stale: lines of the list that allow what no longer happens.
    :param better: tests that pass under our server alone; they are shown and change nothing.
    """

    tests: int
    reference_passed: int
    ours_passed: int
    differences: tuple[Difference, ...]
    flaky: tuple[str, ...]
    stale: tuple[Expectation, ...]
    better: tuple[str, ...]

    @property
    def unexpected(self) -> tuple[Difference, ...]:
        """The differences that no line of the list allows."""
        return tuple(difference for difference in self.differences if difference.expected is None)

    @property
    def is_good(self) -> bool:
        """Whether nothing unexpected differs and the list holds nothing stale."""
        return not self.unexpected and not self.stale


def parse(lines: Iterable[str]) -> dict[str, Outcome]:
    """Reads the lines that a driver has written, one JSON object a test. A cut last line is left out."""
    outcomes = {}
    for line in lines:
        if line.endswith("}\n"):
            fields = json.loads(line)
            outcomes[fields["test"]] = Outcome(fields["outcome"], fields["failure"] or "")
    return outcomes


def differing(reference: Mapping[str, Outcome], ours: Mapping[str, Outcome]) -> list[str]:
    """Returns the tests that pass under the reference and not under ours, in the reference's order."""
    return [
        test
        for test, outcome in reference.items()
        if outcome.result == "passed" and ours.get(test, MISSING).result != "passed"
    ]


def doubtful(
    reference: Mapping[str, Outcome], ours: Mapping[str, Outcome], expectations: Sequence[Expectation]
) -> list[str]:
    """Returns the tests to run again alone: unexpected differences, and allowed ones that did not occur this time."""
    differences = differing(reference, ours)
    tests = [test for test in differences if _line(expectations, test) is None]
    for line in expectations:
        if not any(line.matches(test) for test in differences):
            tests += [test for test in reference if line.matches(test)]
    return tests


def judge(
    reference: Mapping[str, Outcome],
    ours: Mapping[str, Outcome],
    *,
    expectations: Sequence[Expectation],
    again: Mapping[str, tuple[Outcome, Outcome]],
    whole: bool,
) -> Verdict:
    """Judges one suite.

    :param reference: outcomes under the reference.
    :param ours: outcomes under our server.
    :param expectations: the list's lines about this suite.
    :param again: outcomes of tests that were run again alone, under both; these count instead.
    :param whole: whether the whole suite was run: a line about a test that does not exist is stale then.
    """
    final = {test: (outcome, ours.get(test, MISSING)) for test, outcome in reference.items()}
    final.update(again)
    differences = [
        Difference(test, second, _line(expectations, test))
        for test, (first, second) in final.items()
        if first.result == "passed" and second.result != "passed"
    ]
    differs = {difference.test for difference in differences}
    used = {difference.expected for difference in differences}
    stale = []
    for line in expectations:
        tests = [test for test in reference if line.matches(test)]
        # A test that the reference fails as well this time neither proves nor disproves the line.
        passed = any(final[test][0].result == "passed" for test in tests)
        if line not in used and (passed or (whole and not tests)):
            stale.append(line)
    return Verdict(
        tests=len(reference),
        reference_passed=_passed(reference),
        ours_passed=_passed(ours),
        differences=tuple(differences),
        flaky=tuple(test for test in differing(reference, ours) if test not in differs),
        stale=tuple(stale),
        better=tuple(differing(ours, reference)),
    )


def _line(expectations: Sequence[Expectation], test: str) -> Expectation | None:
    return next((line for line in expectations if line.matches(test)), None)


def _passed(outcomes: Mapping[str, Outcome]) -> int:
    return sum(outcome.result == "passed" for outcome in outcomes.values())
