"""Which routes are out of reach, and that none is called so which is not."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.routing import compile_path

from devserver.app.shadowing import ALL_BELOW, Claim, covers, shadowed

HTTP, WEBSOCKET = frozenset({"http"}), frozenset({"websocket"})


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("/items/{id}", "/items/me"),
        ("/items/{id}", "/items/{name}"),
        ("/items/{id}", "/items/{number:int}"),
        ("/items/{id}", "/items/me.{suffix}"),
        ("/items/{id}", "/items/{a}-{b}"),
        ("/{path:path}", "/items/me"),
        ("/{path:path}", "/{path:path}"),
        ("/files/{path:path}", "/files/"),
        ("/files/{path:path}.txt", "/files/{name}.txt"),
        ("/a/{number:int}", "/a/7"),
        ("/a/{number:float}", "/a/{number:int}"),
        ("/a/{number:float}", "/a/1.5"),
        ("/a/{key:uuid}", f"/a/{uuid.UUID(int=7)}"),
        ("/a/{key:mine}", "/a/{other:mine}"),
        ("/{a}/{b}", "/x/{b}"),
        ("/same", "/same"),
        ("/v1" + ALL_BELOW, "/v1/late"),
        (ALL_BELOW, "/anything"),
    ],
)
def test_path_that_reads_all_of_a_later_one_covers_it(earlier: str, later: str) -> None:
    assert covers(earlier, later)


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("/items/me", "/items/{id}"),
        ("/items/{id}", "/items/a/b"),
        ("/items/{id}", "/items/"),
        ("/items/{id}", "/items"),
        ("/items/{id}", "/items/{path:path}"),
        ("/items/{id}/", "/items/{id}"),
        ("/a/{number:int}", "/a/{any}"),
        ("/a/{number:int}", "/a/1.5"),
        ("/a/{number:int}", "/a/{number:float}"),
        ("/a/{key:uuid}", "/a/0000"),
        ("/a/{any}", "/a/{key:mine}"),
        ("/a/{key:mine}", "/a/{key:other}"),
        ("/a/{key:mine}", "/a/b"),
        ("/v1" + ALL_BELOW, "/v1"),
        ("/v1" + ALL_BELOW, "/v2/x"),
        ("/{a}/{b}", "/{a}"),
    ],
)
def test_path_that_leaves_something_does_not_cover(earlier: str, later: str) -> None:
    assert not covers(earlier, later)


SAMPLES = {
    "str": ["7", "a", "a-b", "1.5", "me.x", str(uuid.UUID(int=1))],
    "path": ["", "a", "a/b", "/", "7"],
    "int": ["0", "42"],
    "float": ["1", "1.5"],
    "uuid": [str(uuid.UUID(int=3)), uuid.UUID(int=4).hex],
}
part = st.one_of(st.sampled_from(["/", "/a", "a", "7", "-", "1.5", "."]), st.sampled_from(sorted(SAMPLES)))
parts = st.lists(part, min_size=1, max_size=5)


def written(pieces: list[str]) -> str:
    return "/" + "".join(f"{{p{at}:{piece}}}" if piece in SAMPLES else piece for at, piece in enumerate(pieces))


@given(parts, parts, st.data())
def test_whatever_a_covered_path_matches_is_matched_by_the_earlier_one(
    earlier: list[str], later: list[str], data: st.DataObject
) -> None:
    if covers(written(earlier), written(later)):
        text = "/" + "".join(
            data.draw(st.sampled_from(SAMPLES[piece])) if piece in SAMPLES else piece for piece in later
        )
        assert compile_path(written(earlier))[0].match(text)


def claim(
    path: str, methods: str = "GET", kinds: frozenset[str] = HTTP, host: str = "", *, last: bool = False
) -> Claim:
    return Claim(path, kinds, frozenset(methods.split()) if methods else None, host, last)


@pytest.mark.parametrize(
    ("earlier", "later", "lost"),
    [
        (claim("/x"), claim("/x"), True),
        (claim("/x", "GET HEAD"), claim("/x"), True),
        (claim("/x"), claim("/x", "GET HEAD"), False),
        (claim("/x"), claim("/x", "POST"), False),
        (claim("/x"), claim("/x", ""), False),
        (claim("/x", ""), claim("/x", "POST"), True),
        (claim("/x", ""), claim("/x", "", WEBSOCKET), False),
        (claim("/x", "", WEBSOCKET), claim("/x"), False),
        (claim("/x", "", HTTP | WEBSOCKET), claim("/x", "", WEBSOCKET), True),
        (claim("/x"), claim("/x", host="a.org"), True),
        (claim("/x", host="a.org"), claim("/x"), False),
        (claim("/x", host="a.org"), claim("/x", host="a.org"), True),
        (claim("/x", host="a.org"), claim("/x", host="b.org"), False),
        # The last are not asked when another method would match.
        (claim("/{p:path}", "POST"), claim("/{p:path}", last=True), True),
        (claim("/{p:path}", last=True), claim("/x"), False),
    ],
)
def test_methods_kinds_and_hosts_decide_as_well(earlier: Claim, later: Claim, lost: bool) -> None:
    assert shadowed([earlier, later]) == ({1: 0} if lost else {})


def test_first_of_several_is_named_and_unknown_rules_are_left_out() -> None:
    claims = [claim("/x/y"), None, claim("/x/{a}"), claim("/{p:path}"), claim("/x/z")]
    assert shadowed(claims) == {4: 2}
