"""Regions between marks: what is kept, what is cut, and how it looks afterwards."""

from __future__ import annotations

import pytest

from devserver.scaffold.regions import MalformedRegion, conditions, cut

pytestmark = pytest.mark.once


def test_text_without_marks_stays_as_it_is() -> None:
    text = "\n\na  \n\n\n\nb\n\n"
    assert cut(text, []) == text


def test_region_of_a_feature_that_is_there_loses_its_marks_alone() -> None:
    assert cut("a\n# feature: db\nb\n# end\nc\n", ["db"]) == "a\nb\nc\n"


def test_region_of_a_feature_that_is_not_there_is_cut() -> None:
    assert cut("a\n# feature: db\nb\n# end\nc\n", ["auth"]) == "a\nc\n"


@pytest.mark.parametrize(
    ("opening", "closing"),
    [
        ("# feature: db", "# end"),
        ("#feature: db", "#end"),
        ("    # feature: db", "    # end"),
        ("// feature: db", "// end"),
        ("-- feature: db", "-- end"),
        ("; feature: db", "; end"),
        ("<!-- feature: db -->", "<!-- end -->"),
        ("/* feature: db */", "/* end */"),
    ],
)
def test_comments_of_many_languages_are_marks(opening: str, closing: str) -> None:
    text = f"a\n{opening}\nb\n{closing}\nc\n"
    assert cut(text, []) == "a\nc\n"
    assert cut(text, ["db"]) == "a\nb\nc\n"


@pytest.mark.parametrize("line", ["x = 1  # feature: db", "# features: db", "# end of it", "print('# end')", "# ended"])
def test_line_that_holds_more_than_a_mark_is_none(line: str) -> None:
    assert cut(f"{line}\n", []) == f"{line}\n"


@pytest.mark.parametrize(
    ("condition", "features", "kept"),
    [
        ("db", "db", True),
        ("db", "", False),
        ("not db", "", True),
        ("not db", "db", False),
        ("db and auth", "db auth", True),
        ("db and auth", "db", False),
        ("db or auth", "auth", True),
        ("db or auth", "realtime", False),
        ("db and not auth", "db", True),
        ("db and not auth", "db auth", False),
        ("not db or auth", "", True),
        ("not db or auth", "db", False),
        ("a and b and c", "a b c", True),
        ("a or b or c", "c", True),
    ],
)
def test_condition(condition: str, features: str, kept: bool) -> None:
    assert (cut(f"# feature: {condition}\nx\n# end\n", features.split()) == "x\n") is kept


@pytest.mark.parametrize(
    ("features", "left"), [("", "ad"), ("db", "abd"), ("auth", "ad"), ("db auth", "abcd")]
)  # fmt: skip
def test_inner_region_is_there_only_with_the_outer(features: str, left: str) -> None:
    text = "a\n# feature: db\nb\n# feature: auth\nc\n# end\n# end\nd\n"
    assert cut(text, features.split()).replace("\n", "") == left


def test_condition_inside_of_what_is_cut_is_read_all_the_same() -> None:
    with pytest.raises(MalformedRegion, match="line 2"):
        cut("# feature: db\n# feature: not\n# end\n# end\n", [])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        # Between functions, and the last one of a file.
        ("a\n\n\n# feature: x\nb\n\n\n# end\nc\n", "a\n\n\nc\n"),
        ("a\n\n\n# feature: x\nb\n\n\n# end\n\n\nc\n", "a\n\n\nc\n"),
        ("a\n\n\n# feature: x\nb\n# end\n", "a\n"),
        # Between methods; what follows decides when it wants more room.
        ("a\n\n# feature: x\nb\n# end\n\n\nc\n", "a\n\n\nc\n"),
        # The first thing of a file.
        ("# feature: x\nb\n# end\n\n\nc\n", "c\n"),
        # Two regions after each other.
        ("a\n\n# feature: x\nb\n# end\n\n# feature: x\nc\n# end\n\nd\n", "a\n\nd\n"),
        # Nothing is left.
        ("# feature: x\nb\n# end\n", ""),
        # What stands elsewhere is not touched.
        ("a\n\n\n\n\nb\n# feature: x\nc\n# end\nd\n", "a\n\n\n\n\nb\nd\n"),
    ],
)
def test_blank_lines_around_a_cut_are_those_of_the_larger_side(before: str, after: str) -> None:
    assert cut(before, []) == after


def test_kept_region_leaves_no_double_gap() -> None:
    assert cut("a\n\n# feature: x\n\nb\n\n# end\n\nc\n", ["x"]) == "a\n\nb\n\nc\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("# end\n", "line 1: nothing was opened that ends here"),
        ("a\n# feature: db\n", "line 2: the region has no end"),
        ("# feature: db and auth or x\n# end\n", "line 1: 'db and auth or x' mixes and with or"),
        ("# feature:\n# end\n", "line 1: '' is no condition"),
        ("# feature: db auth\n# end\n", "line 1: 'db auth' is no condition"),
        ("# feature: db and\n# end\n", "line 1: 'db and' is no condition"),
    ],
)
def test_malformed_region_is_told_with_its_line(text: str, said: str) -> None:
    with pytest.raises(MalformedRegion) as caught:
        cut(text, [])
    assert str(caught.value) == said


def test_conditions_names_every_feature() -> None:
    text = "# feature: a and not b\n# feature: c\n# end\n# end\n# feature: orange or android\n# end\n"
    assert conditions(text) == {"a", "b", "c", "orange", "android"}
