"""What a project may be called."""

from __future__ import annotations

import sys

import pytest

from devserver.errors import UsageError
from devserver.scaffold.names import Names, names_of

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("shop", Names("shop", "shop", "Shop", "SHOP")),
        ("shop-api", Names("shop-api", "shop_api", "Shop Api", "SHOP_API")),
        ("shop_api", Names("shop-api", "shop_api", "Shop Api", "SHOP_API")),
        ("Shop.API2", Names("shop-api2", "shop_api2", "Shop Api2", "SHOP_API2")),
        ("a--b__c", Names("a-b-c", "a_b_c", "A B C", "A_B_C")),
    ],
)
def test_spellings_of_a_name(text: str, names: Names) -> None:
    assert names_of(text) == names


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("class", "class is a word of the Python language"),
        ("None", "none is a word of the Python language"),
        ("json", "json is a module of Python's standard library, which it would hide"),
        ("Email", "email is a module of Python's standard library, which it would hide"),
        ("FastAPI", "fastapi is a package that it needs, and would hide"),
        ("pydantic-settings", "pydantic_settings is a package that it needs, and would hide"),
        ("devserver", "devserver is a package that it needs, and would hide"),
        ("sqlmodel", "sqlmodel is a package that it needs, and would hide"),
        ("tests", "tests has a meaning of its own in a project"),
        ("nul", "no file may be called nul on Windows"),
    ],
)
def test_name_that_clashes_is_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        names_of(text, dependencies=["SQLModel", "fastapi"])
    assert caught.value.message == f"{text} cannot be the name of a project: {said}."
    names_of(caught.value.hint.removeprefix("It might be ").removesuffix("."))


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "shop-api"),
        ("my shop", "my-shop"),
        ("1shop", "shop"),
        ("shop!", "shop"),
        ("-shop", "shop"),
        ("shop-", "shop"),
        ("Läden", "l-den"),
        ("..", "shop-api"),
        ("__init__", "init"),
        ("shop\n", "shop"),
        ("日本", "shop-api"),
    ],
)
def test_name_with_other_characters_is_refused_with_one_that_would_do(text: str, hint: str) -> None:
    with pytest.raises(UsageError, match="must begin with a letter") as caught:
        names_of(text)
    assert caught.value.hint == f"It might be {hint}."


def test_longest_name_is_accepted_and_a_longer_one_refused() -> None:
    assert names_of("a" * 50).project == "a" * 50
    with pytest.raises(UsageError, match="it has 51 characters, and 50 are the most"):
        names_of("a" * 51)


def test_every_module_of_the_standard_library_is_refused() -> None:
    accepted = set()
    for name in sys.stdlib_module_names:
        try:
            names_of(name)
        except UsageError:
            continue
        accepted.add(name)
    assert accepted == set()
