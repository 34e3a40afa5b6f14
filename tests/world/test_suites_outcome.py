"""Comparing two runs of a suite, and judging the difference."""

from __future__ import annotations

import pytest

from tests.world.suites.__main__ import main
from tests.world.suites.expected import EXPECTED_FILE, Expectation, parse_expectations
from tests.world.suites.outcome import Difference, Outcome, Verdict, doubtful, judge, parse
from tests.world.suites.report import describe, table
from tests.world.suites.suite import SUITES

PASSED = Outcome("passed")
FAILED = Outcome("failed", "call: assert 400 == 200\n +  where 400 = status")
LINE = Expectation("starlette", "tests/test_a.py::test_host", "the grammar refuses it")


def judged(
    reference: dict[str, Outcome],
    ours: dict[str, Outcome],
    *lines: Expectation,
    again: dict[str, tuple[Outcome, Outcome]] | None = None,
    whole: bool = True,
) -> Verdict:
    return judge(reference, ours, expectations=lines, again=again or {}, whole=whole)


def test_outcomes_are_read_without_the_line_that_was_cut() -> None:
    lines = [
        '{"test": "a", "outcome": "passed", "failure": null}\n',
        '{"test": "b", "outcome": "failed", "failure": "no"}\n',
        '{"test": "c", "outc',
    ]
    assert parse(lines) == {"a": PASSED, "b": Outcome("failed", "no")}


@pytest.mark.parametrize("ours", [{"a": FAILED}, {"a": Outcome("skipped")}, {}])
def test_test_that_only_the_reference_passes_is_unexpected(ours: dict[str, Outcome]) -> None:
    verdict = judged({"a": PASSED}, ours)
    assert [difference.test for difference in verdict.unexpected] == ["a"]
    assert not verdict.is_good


@pytest.mark.parametrize("ours", [PASSED, FAILED])
def test_test_that_the_reference_fails_does_not_count(ours: Outcome) -> None:
    verdict = judged({"a": FAILED}, {"a": ours})
    assert verdict.is_good
    assert verdict.better == (("a",) if ours is PASSED else ())


def test_difference_that_the_list_allows_is_good() -> None:
    verdict = judged({"tests/test_a.py::test_host[x]": PASSED}, {"tests/test_a.py::test_host[x]": FAILED}, LINE)
    assert verdict.is_good
    assert verdict.differences == (Difference("tests/test_a.py::test_host[x]", FAILED, LINE),)


def test_line_whose_difference_is_gone_is_stale() -> None:
    both = {"tests/test_a.py::test_host[x]": PASSED}
    verdict = judged(both, both, LINE)
    assert verdict.stale == (LINE,)
    assert not verdict.is_good


def test_line_whose_test_the_reference_fails_is_not_stale() -> None:
    both = {"tests/test_a.py::test_host[x]": FAILED}
    assert judged(both, both, LINE).is_good


@pytest.mark.parametrize("whole", [True, False])
def test_line_about_no_test_is_stale_when_all_were_run(whole: bool) -> None:
    assert judged({"b": PASSED}, {"b": PASSED}, LINE, whole=whole).stale == ((LINE,) if whole else ())


def test_difference_that_does_not_occur_again_is_flaky() -> None:
    verdict = judged({"a": PASSED}, {"a": FAILED}, again={"a": (PASSED, PASSED)})
    assert verdict.is_good
    assert verdict.flaky == ("a",)


def test_difference_that_occurs_again_counts_with_its_second_failure() -> None:
    verdict = judged({"a": PASSED}, {"a": FAILED}, again={"a": (PASSED, Outcome("failed", "again"))})
    assert verdict.unexpected == (Difference("a", Outcome("failed", "again")),)


def test_allowed_difference_that_occurs_when_run_again_is_not_stale() -> None:
    name = "tests/test_a.py::test_host[x]"
    assert judged({name: PASSED}, {name: PASSED}, LINE, again={name: (PASSED, FAILED)}).is_good


def test_unexpected_differences_and_missed_allowed_ones_are_run_again() -> None:
    other = Expectation("starlette", "tests/test_a.py::test_other", "why")
    host, missed = "tests/test_a.py::test_host", "tests/test_a.py::test_other"
    reference = {"a": PASSED, "b": PASSED, host: PASSED, missed: PASSED}
    ours = {"a": FAILED, "b": PASSED, host: FAILED, missed: PASSED}
    assert doubtful(reference, ours, [LINE, other]) == ["a", missed]


@pytest.mark.parametrize(
    ("test", "matches"),
    [
        ("tests/test_a.py::test_host", True),
        ("tests/test_a.py::test_host[a-b]", True),
        ("tests/test_a.py::test_host_again", False),
        ("tests/test_a.py::test", False),
    ],
)
def test_line_without_parameters_is_about_all_of_them(test: str, matches: bool) -> None:
    assert LINE.matches(test) is matches


def test_line_with_parameters_is_about_these_alone() -> None:
    line = Expectation("starlette", "a::b[x]", "why")
    assert line.matches("a::b[x]")
    assert not line.matches("a::b[y]")
    assert not line.matches("a::b")


def test_list_is_read_with_comments_and_parameters_that_hold_spaces() -> None:
    lines = ["# why\n", "\n", "fastapi tests/a.py::t[a -- b] -- no reason -- a reason\n"]
    assert parse_expectations(lines) == [Expectation("fastapi", "tests/a.py::t[a -- b] -- no reason", "a reason")]


@pytest.mark.parametrize("line", ["fastapi tests/a.py::t", "fastapi -- reason", "fastapi tests/a.py::t -- "])
def test_line_without_test_or_reason_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="line 1 is not"):
        parse_expectations([line])


def test_line_that_stands_there_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="line 2 stands there twice"):
        parse_expectations(["a b -- c", "a b -- d"])


def test_list_of_the_repository_names_suites_that_exist() -> None:
    named = {line.suite for line in parse_expectations(EXPECTED_FILE.read_text().splitlines())}
    assert named <= {suite.name for suite in SUITES}


def test_report_names_the_failure_and_the_reason() -> None:
    verdict = judged({"a": PASSED, LINE.test: PASSED}, {"a": FAILED, LINE.test: FAILED}, LINE)
    suite = SUITES[0]
    assert f"| {suite.name} 1.0 | 2 | {suite.reference} | 2 | 0 | 1 | 1 |" in table([(suite, "1.0", verdict)])
    text = describe(suite, verdict)
    assert f"unexpected: {suite.name} a\n    call: assert 400 == 200\n" in text
    assert f"expected: {suite.name} {LINE.test}\n    the grammar refuses it\n" in text


def test_suite_that_does_not_exist_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["starlet"])
    assert caught.value.code == 2
    assert "there is no suite starlet; there are starlette, fastapi, django" in capsys.readouterr().err
