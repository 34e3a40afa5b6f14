"""Answers of two servers, and what is said of their differences."""

from __future__ import annotations

import gzip

import brotli
import pytest

from tests.world.applications.comparison import Answer, Rule, differences, of_results
from tests.world.applications.fetching import decoded

HTML = ("content-type", "text/html; charset=utf-8")
TOKEN = Rule(r"token=\w+", "a token is random")


def answer(body: bytes = b"hello", *headers: tuple[str, str], status: int = 200, fault: str = "") -> Answer:
    return Answer(status, (HTML, *headers), body, fault)


def said(expected: Answer, found: Answer, *rules: Rule) -> list[str]:
    return differences({"GET /": expected}, {"GET /": found}, rules)


def test_same_answers_differ_in_nothing() -> None:
    assert said(answer(), answer()) == []


def test_names_of_servers_and_times_of_answers_are_left_out() -> None:
    assert said(answer(b"", ("server", "uvicorn"), ("date", "then")), answer(b"", ("date", "now"))) == []


def test_order_of_headers_does_not_count_and_their_number_does() -> None:
    one, two = ("set-cookie", "a=1"), ("set-cookie", "b=2")
    assert said(answer(b"", one, two), answer(b"", two, one)) == []
    assert said(answer(b"", one, two), answer(b"", one)) == ["GET /: set-cookie is a=1, not a=1, b=2"]


@pytest.mark.parametrize(
    ("found", "difference"),
    [
        (answer(status=500), "status 500, not 200"),
        (answer(b"help!"), "at character 0 'help!', not 'hello'"),
        (answer(b"hell"), "4 bytes, not 5"),
        (answer(b"hello", ("vary", "Accept-Encoding")), "vary is Accept-Encoding, not missing"),
        (answer(b"he", fault="3 bytes missing"), "3 bytes missing, not read to its end"),
    ],
)
def test_each_difference_is_said(found: Answer, difference: str) -> None:
    (line,) = said(answer(), found)
    assert line.startswith("GET /: ")
    assert difference in line


def test_bytes_that_are_no_text_are_compared_by_their_digest() -> None:
    left, right = (Answer(200, (("content-type", "image/png"),), body) for body in (b"\x89a", b"\x89b"))
    (line,) = differences({"GET /": left}, {"GET /": right})
    assert "SHA-256" in line


def test_rule_replaces_in_text_and_headers() -> None:
    left = answer(b"<a href='?token=abc'>", ("set-cookie", "token=abc; Path=/"), ("content-length", "21"))
    right = answer(b"<a href='?token=defg'>", ("set-cookie", "token=defg; Path=/"), ("content-length", "22"))
    assert said(left, right, TOKEN) == []
    assert said(left, right) != []


def test_rule_leaves_the_length_of_what_it_does_not_touch() -> None:
    left, right = (answer(b"hello", ("content-length", length)) for length in ("5", "6"))
    assert said(left, right, TOKEN) == ["GET /: content-length is 6, not 5"]


def test_rule_for_a_page_holds_for_the_length_that_head_gives() -> None:
    pages = [answer(b"token=a", ("content-length", "7")), answer(b"token=aa", ("content-length", "8"))]
    heads = [answer(b"", ("content-length", length)) for length in ("7", "8")]
    left, right = ({"GET /": page, "HEAD /": head} for page, head in zip(pages, heads, strict=True))
    assert differences(left, right, [TOKEN]) == []
    assert len(differences(left, right)) == 2


def test_length_in_place_of_chunks_is_no_difference() -> None:
    chunks, length = answer(b"hello", ("transfer-encoding", "chunked")), answer(b"hello", ("content-length", "5"))
    assert said(chunks, length) == []
    assert said(length, chunks) != []


def test_length_in_place_of_chunks_is_a_difference_when_bytes_are_missing() -> None:
    cut = answer(b"", ("content-length", "5"), fault="5 bytes missing")
    (line,) = said(answer(b"hello", ("transfer-encoding", "chunked")), cut)
    assert "5 bytes missing" in line


def test_requests_that_only_one_server_got_are_counted() -> None:
    assert differences({"GET /a": answer(), "GET /b": answer()}, {}) == ["2 requests not made, such as GET /a"]
    assert differences({}, {"GET /a": answer()}) == ["1 requests made only here, such as GET /a"]


def test_results_are_compared_as_json() -> None:
    assert of_results({"a": [1], "b": "token=x"}, {"b": "token=yy", "a": [1]}, [TOKEN]) == []
    (line,) = of_results([1, 2], [1, 3])
    assert "'2" not in line.partition("not")[0]


@pytest.mark.parametrize(
    ("coding", "body"), [("gzip", gzip.compress(b"hello")), ("br", brotli.compress(b"hello"))], ids=["gzip", "br"]
)
def test_coding_is_undone_and_checked(coding: str, body: bytes) -> None:
    assert decoded(body, coding) == b"hello"
    assert decoded(b"", coding) == b""
    with pytest.raises(ValueError, match=f"no valid {coding}"):
        decoded(b"plain", coding)


def test_other_codings_stay_as_they_are() -> None:
    assert decoded(b"plain", "") == b"plain"
