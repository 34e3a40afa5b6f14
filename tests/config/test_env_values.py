"""What values come to: references over all layers, defaults, circles, limits."""

from __future__ import annotations

import time

import pytest

from devserver.app.redact import Redactor
from devserver.config.env_files import Definition, EnvFile
from devserver.config.env_layers import Variables, merge
from devserver.config.env_values import DEPTH_MAX, VALUE_CHARS_MAX, Reference, references


def layers(*files: dict[str, str], environ: dict[str, str] | None = None, literal: bool = False) -> Variables:
    """Files named a, b, …, the weakest first; each line a definition."""
    made = []
    for name, content in zip("abc", files, strict=False):
        lines = enumerate(content.items(), start=1)
        definitions = tuple(Definition(key, value, name, line, literal) for line, (key, value) in lines)
        made.append(EnvFile(name, definitions, ()))
    return merge(made, environ or {})


def said(variables: Variables) -> list[str]:
    found = [f"{finding.level} {finding}" for finding in variables.findings]
    assert [Redactor().text(sentence) for sentence in found] == found
    return found


def test_reference_means_what_the_app_sees() -> None:
    found = layers({"URL": "${HOST}/${DB}", "HOST": "a", "DB": "a"}, {"HOST": "b"}, environ={"DB": "real"})
    assert found.added == {"URL": "b/real", "HOST": "b"}
    assert said(found) == []


def test_reference_may_come_before_what_it_refers_to() -> None:
    assert layers({"A": "${B}1", "B": "${C}2", "C": "3"}).added == {"A": "321", "B": "32", "C": "3"}


def test_default_stands_for_what_is_not_set_or_empty() -> None:
    found = layers({"A": "${X:-x}${E:-e}${S:-s}", "B": "${X:-${E:-${S}}}", "E": "", "S": "1"})
    assert (found.added["A"], found.added["B"]) == ("xe1", "1")
    assert said(found) == []


def test_own_name_means_the_weaker_definition() -> None:
    found = layers({"LIST": "a"}, {"LIST": "${LIST},b"}, {"LIST": "${LIST},c"})
    assert found.added == {"LIST": "a,b,c"}
    assert found.values["LIST"] == ("a,b,c", "a,b", "a")


def test_circle_ends_and_is_told() -> None:
    found = layers({"A": "a${B}", "B": "b${C}", "C": "c${A}"})
    assert found.added == {"A": "abc", "B": "bc", "C": "c"}
    assert said(found) == [
        "warning a:3: A, B and C refer to each other in a circle, and A is empty there; write one of them out."
    ]


def test_name_that_refers_to_itself_alone_is_told() -> None:
    found = layers({"A": "${A}/bin"})
    assert found.added == {"A": "/bin"}
    assert said(found) == ["warning a:1: A refers to itself, and nothing weaker sets it; write its value out."]


def test_circle_with_a_default_is_no_mistake() -> None:
    assert said(layers({"A": "${A:-x}"})) == []


def test_unknown_name_is_empty_and_told() -> None:
    found = layers({"URL": "x${API_KEY}y${API_KEY}"})
    assert found.added == {"URL": "xy"}
    assert said(found) == [
        "warning a:1: URL refers to API_KEY, which nothing sets; give API_KEY a value, or a default here."
    ]


@pytest.mark.parametrize(
    ("value", "shown"),
    [("${API_KEY-hunter2}", "${API_KEY-…}"), ("${X?no}", "${X?…}"), ("${}", "${}"), ("${1}", "${1…}")],
)
def test_other_forms_stay_and_are_told_without_what_may_be_a_secret(value: str, shown: str) -> None:
    found = layers({"A": f"<{value}>", "X": "1", "API_KEY": "1"})
    assert found.added["A"] == f"<{value}>"
    assert said(found) == [f"warning a:1: {shown} in A is not expanded; only ${{X}} and ${{X:-default}} are."]


def test_odd_name_that_is_set_is_expanded() -> None:
    assert layers({"A": "${my-name}", "my-name": "1"}).added["A"] == "1"


def test_dollar_without_braces_is_told_where_a_variable_may_be_meant() -> None:
    found = layers({"A": "$HOST/x", "B": "$b", "b": "1", "C": "$2b$12$abc", "D": "pa$WORD", "E": "$lower"})
    assert found.added["A"] == "$HOST/x"
    assert said(found) == [
        "warning a:1: $HOST in A is not expanded; write ${HOST}, or use single quotes.",
        "warning a:2: $b in B is not expanded; write ${b}, or use single quotes.",
    ]
    assert said(layers({"A": "$HOST"}, literal=True)) == []


def test_reference_in_json_is_told() -> None:
    found = layers({"A": '{"a": "${HOST}", "b": "${tmpl}", "c": "${x:-y}"}', "HOST": "h"})
    assert found.added["A"] == '{"a": "h", "b": "${tmpl}", "c": "y"}'
    assert said(found) == [
        f"{level} a:1: {name} in A {fate}; if it is meant to stay write \\{name}."
        for level, name, fate in (
            ("info", "${HOST}", "is replaced, although this is JSON"),
            ("warning", "${tmpl}", "stays, as nothing sets it and this is JSON"),
            ("info", "${x}", "is replaced, although this is JSON"),
        )
    ]
    assert len(found.warnings) == 1


def test_backslash_keeps_a_reference() -> None:
    found = layers({"A": r'["\${HOST}", \${x}]'})
    assert found.added["A"] == '["${HOST}", ${x}]'
    assert said(found) == []


def test_parts_of_a_value() -> None:
    assert list(references("a${B}c${D:-${E}}${F")) == [
        "a",
        Reference("B", None, "${B}"),
        "c",
        Reference("D", "${E}", "${D:-${E}}"),
        "${F",
    ]
    assert list(references("")) == []
    assert list(references(r"\${A}${B}")) == ["${", "A}", Reference("B", None, "${B}")]


def test_findings_are_about_what_has_an_effect() -> None:
    assert said(layers({"A": "${NOPE}", "B": "${NOPE}"}, {"A": "1"}, environ={"B": "1"})) == []


def test_values_that_multiply_are_left_out_in_no_time() -> None:
    began = time.process_time()
    found = layers({f"A{number}": f"${{A{number + 1}}}" * 10 for number in range(40)} | {"A40": "0123456789"})
    assert time.process_time() - began < 5
    assert all(len(value) < VALUE_CHARS_MAX for value in found.added.values())
    assert "is longer than an environment variable may be (128 KiB) and is left out." in said(found)[0]


def test_value_of_a_weaker_layer_that_is_too_long_changes_nothing() -> None:
    found = layers({"A": "x" * VALUE_CHARS_MAX}, {"A": "1"})
    assert found.added == {"A": "1"}
    assert said(found) == []


def test_long_way_ends_and_is_told() -> None:
    count = 2 * DEPTH_MAX
    found = layers({f"A{number}": f"${{A{number + 1}}}" for number in range(count)} | {f"A{count}": "1"})
    assert any("leads to" in sentence for sentence in said(found))


def test_deep_defaults_end() -> None:
    depth = 2 * DEPTH_MAX
    assert layers({"A": "${X:-" * depth + "1" + "}" * depth}).added["A"] == ""
