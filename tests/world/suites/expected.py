"""The list of differences that are allowed, with the reason of each: ``expected.txt``.

A line is ``suite test -- reason``. A test without its parameters stands for all of them. Comments begin with ``#``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["EXPECTED_FILE", "Expectation", "parse_expectations"]

EXPECTED_FILE = Path(__file__).with_name("expected.txt")

_SEPARATOR = " -- "


@dataclass(frozen=True)
class Expectation:
    """One line of the list.

    :param suite: the suite's name.
    :param test: the node id, with or without parameters.
    :param reason: why the difference is meant, or not ours.
    """

    suite: str
    test: str
    reason: str

    def matches(self, test: str) -> bool:
        """Whether the line is about this test."""
        return test == self.test or (not self.test.endswith("]") and test.partition("[")[0] == self.test)


def parse_expectations(lines: Iterable[str]) -> list[Expectation]:
    """Reads the list.

    :raises ValueError: a line has no suite, test or reason, or stands there twice.
    """
    expectations: list[Expectation] = []
    for number, line in enumerate(lines, 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        named, separator, reason = line.rpartition(_SEPARATOR)
        suite, _, test = named.partition(" ")
        if not separator or not test.strip() or not reason.strip():
            raise ValueError(f"line {number} is not 'suite test -- reason': {line}")
        expectation = Expectation(suite, test.strip(), reason.strip())
        if any((other.suite, other.test) == (suite, expectation.test) for other in expectations):
            raise ValueError(f"line {number} stands there twice: {line}")
        expectations.append(expectation)
    return expectations
