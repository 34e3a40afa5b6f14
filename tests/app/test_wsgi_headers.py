"""What start_response takes, and what it says about everything else."""

from __future__ import annotations

from typing import Any

import pytest

from devserver.app import wsgi_headers
from devserver.app.wsgi_headers import content_length, encode_headers, parse_status
from devserver.errors import AppContractError


@pytest.mark.parametrize(("status", "code"), [("200 OK", 200), ("404 Not Found", 404), ("299", 299), ("599 ", 599)])
def test_status_is_its_number(status: str, code: int) -> None:
    assert parse_status(status) == code
    assert parse_status(status) == code


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (200, "the status must be a str, not int."),
        (b"200 OK", "the status must be a str, not bytes."),
        ("OK", "the status 'OK' is not of the form \"200 OK\"."),
        ("2000 OK", "the status '2000 OK' is not of the form \"200 OK\"."),
        ("٢٠٠ OK", "the status '٢٠٠ OK' is not of the form \"200 OK\"."),
        ("", "the status '' is not of the form \"200 OK\"."),
        ("100 Continue", "100 is not the status of a final response."),
        ([], "the status must be a str, not list."),
    ],
)
def test_other_status_is_refused(status: Any, message: str) -> None:
    with pytest.raises(AppContractError) as caught:
        parse_status(status)
    assert str(caught.value) == f"start_response: {message}"


def test_headers_become_bytes() -> None:
    headers = [("Content-Type", "text/plain"), ("Set-Cookie", "a=1"), ("X-Name", "é")]
    expected = [(b"Content-Type", b"text/plain"), (b"Set-Cookie", b"a=1"), (b"X-Name", b"\xe9")]
    assert encode_headers(headers) == expected
    assert encode_headers(headers) == expected
    assert encode_headers([]) == []


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        (None, "the headers must be a list, not NoneType."),
        ({"ab": "c"}, "the header 'ab' must be a tuple of name and value."),
        ([["a"]], "the header ['a'] must be a tuple of name and value."),
        ([("a",)], "the header ('a',) must be a tuple of name and value."),
        ([("a", 1)], "the header 'a': 1 must be two str."),
        ([(b"a", b"b")], "the header b'a': b'b' must be two str."),
        ([("a", [])], "the header 'a': [] must be two str."),
        ([("a", "€")], "the header 'a': '€' has characters outside Latin-1."),
        ([("", "x")], "the header name '' is not a token."),
        ([("a b", "x")], "the header name 'a b' is not a token."),
        ([("a", "x\r\nSet-Cookie: b")], "the value of the header 'a' holds a control character."),
        ([("a", "x\0")], "the value of the header 'a' holds a control character."),
    ],
)
def test_other_headers_are_refused(headers: Any, message: str) -> None:
    with pytest.raises(AppContractError) as caught:
        encode_headers(headers)
    assert str(caught.value) == f"start_response: {message}"


@pytest.mark.parametrize("headers", [(("a", "b"),), iter([("a", "b")]), {"a": "b"}.items()])
def test_another_iterable_than_a_list_is_taken_with_a_warning(headers: Any) -> None:
    warnings: list[str] = []
    assert encode_headers(headers, warnings.append) == [(b"a", b"b")]
    kind = type(headers).__name__
    assert warnings == [f"start_response: the headers should be a list (PEP 3333), not {kind}."]


def test_pair_that_is_a_list_is_taken_with_a_warning() -> None:
    warnings: list[str] = []
    assert encode_headers([["a", "b"], ("c", "d")], warnings.append) == [(b"a", b"b"), (b"c", b"d")]
    assert warnings == ["start_response: a header should be a tuple of name and value (PEP 3333), not a list."]


@pytest.mark.parametrize(
    "name",
    "Connection KEEP-ALIVE Proxy-Authenticate proxy-authorization TE Trailer Transfer-Encoding Upgrade".split(),
)
def test_header_about_the_connection_is_left_out_with_a_warning_each_time(name: str) -> None:
    for _ in range(2):
        warnings: list[str] = []
        assert encode_headers([("a", "b"), (name, "close")], warnings.append) == [(b"a", b"b")]
        (warning,) = warnings
        assert warning.startswith(f"start_response: the header {name} was left out, because ")
    # Whoever does not want to know need not.
    assert encode_headers([(name, "close")]) == []


def test_header_about_the_connection_is_still_checked() -> None:
    with pytest.raises(AppContractError, match="holds a control character"):
        encode_headers([("Connection", "close\r\nSet-Cookie: a=b")])


def test_only_so_many_headers_are_kept_and_no_cookie() -> None:
    encode_headers([("Set-Cookie", "session=secret")])
    encode_headers([("X-Long", "x" * 100)])
    for number in range(3000):
        encode_headers([("X-Number", str(number))])
        parse_status(f"200 {number}")
    assert len(wsgi_headers._seen) <= 1024
    assert len(wsgi_headers._seen_statuses) <= 1024
    assert not [name for name, _ in wsgi_headers._seen if name in {"Set-Cookie", "X-Long"}]


def test_content_length_is_found_in_any_spelling() -> None:
    assert content_length([(b"a", b"1"), (b"content-LENGTH", b"12")]) == 12
    assert content_length([(b"Content-Length", b"12")]) == 12
    assert content_length([(b"Content-Length", b"many")]) == -1
    assert content_length([]) == -1
