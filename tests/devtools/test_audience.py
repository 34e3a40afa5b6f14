"""Who may see source code, and which form they get."""

from __future__ import annotations

from typing import Any

import pytest

from devserver.devtools.audience import HTML, JSON, MARKDOWN, may_see_details, preferred_form


def scope(client: tuple[str, int] | None = ("127.0.0.1", 50000), **headers: str) -> dict[str, Any]:
    return {
        "type": "http",
        "client": client,
        "headers": [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()],
    }


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8000", "LOCALHOST.", "shop.localhost:8000", "127.0.0.1:8000", "[::1]:8000", "[::1]"],
)
def test_loopback_peer_with_a_loopback_host_sees_details(peer: str, host: str) -> None:
    assert may_see_details(scope((peer, 50000), host=host), share=False)


@pytest.mark.parametrize("peer", ["10.0.0.5", "203.0.113.9", "::ffff:10.0.0.5", "fe80::1", "testclient", ""])
def test_other_peer_sees_none(peer: str) -> None:
    assert not may_see_details(scope((peer, 50000), host="localhost"), share=False)


def test_peer_without_an_address_sees_none() -> None:
    assert not may_see_details(scope(None, host="localhost"), share=False)


@pytest.mark.parametrize(
    "host", ["evil.test", "localhost.evil.test", "evil-localhost", "10.0.0.5:8000", "", "127.0.0.1.evil.test"]
)
def test_foreign_host_sees_none_since_any_page_can_send_it(host: str) -> None:
    assert not may_see_details(scope(host=host), share=False)


def test_missing_or_repeated_host_sees_none() -> None:
    assert not may_see_details(scope(), share=False)
    twice = scope(host="localhost")
    twice["headers"] *= 2
    assert not may_see_details(twice, share=False)


def test_allowed_host_sees_details() -> None:
    allowed = ("shop.test", ".corp.test", "*.dev.test")
    for host in ("shop.test:8000", "Shop.test", "a.corp.test", "a.b.dev.test"):
        assert may_see_details(scope(host=host), share=False, allowed_hosts=allowed)
    for host in ("corp.test", "a.shop.test", "evilcorp.test"):
        assert not may_see_details(scope(host=host), share=False, allowed_hosts=allowed)


@pytest.mark.parametrize(
    ("header", "value", "seen"),
    [
        ("x-forwarded-for", "203.0.113.9", False),
        ("x-forwarded-for", "127.0.0.1, 203.0.113.9", False),
        ("x-forwarded-for", "unknown", False),
        ("x-forwarded-for", "127.0.0.1, ::1", True),
        ("x-forwarded-host", "evil.test", False),
        ("x-forwarded-host", "localhost:3000", True),
        ("forwarded", "for=127.0.0.1", False),
    ],
)
def test_proxy_that_forwards_for_a_stranger_sees_none(header: str, value: str, seen: bool) -> None:
    request = scope(host="localhost")
    request["headers"].append((header.encode(), value.encode()))
    assert may_see_details(request, share=False) is seen


def test_everybody_sees_details_that_are_shared() -> None:
    assert may_see_details(scope(("203.0.113.9", 1), host="evil.test"), share=True)


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", HTML),
        ("application/json, text/plain, */*", JSON),
        ("application/json", JSON),
        ("application/problem+json", JSON),
        ("application/vnd.shop+json;version=1", JSON),
        ("text/html;q=0.5, application/json", JSON),
        ("application/json;q=0.5, text/html;q=0.9", HTML),
        ("text/html;q=0, application/json;q=0.1", JSON),
        ("text/html;q=nonsense, text/plain", MARKDOWN),
        ("text/*, text/html", HTML),
        ("application/*", JSON),
        ("text/markdown", MARKDOWN),
        ("image/png", MARKDOWN),
        ("*/*", MARKDOWN),
        (";;,,q=", MARKDOWN),
    ],
)
def test_form_follows_what_the_client_accepts(accept: str, form: str) -> None:
    assert preferred_form(scope(accept=accept)) == form


def test_client_that_accepts_anything_gets_what_it_speaks() -> None:
    assert preferred_form(scope()) == MARKDOWN
    assert preferred_form(scope(accept="*/*", content_type="application/json; charset=utf-8")) == JSON
    assert preferred_form(scope(accept="*/*", content_type="application/vnd.shop+json")) == JSON
    assert preferred_form(scope(accept="*/*", content_type="text/csv")) == MARKDOWN
    assert preferred_form(scope(accept="*/*", sec_fetch_mode="cors")) == JSON
    assert preferred_form(scope(accept="*/*", sec_fetch_mode="navigate")) == MARKDOWN
