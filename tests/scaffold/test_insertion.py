"""Lines put where they belong in a source."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from devserver.scaffold.insertion import NoPlace, prefix_of, with_exported, with_import, with_router, with_yielded

pytestmark = pytest.mark.once

import_ = partial(with_import, module="shop.routers.m", name="router", alias="m_router", own={"shop"})
LINE = "from shop.routers.m import router as m_router\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        # In the order of the modules, among the project's own.
        (
            "import os\n\nfrom shop.a import b\nfrom shop.z import y\n",
            f"import os\n\nfrom shop.a import b\n{LINE}from shop.z import y\n",
        ),
        ("from shop.a import b\n\nx = 1\n", f"from shop.a import b\n{LINE}\nx = 1\n"),
        ("from shop.z import (\n    y,\n)\n", f"{LINE}from shop.z import (\n    y,\n)\n"),
        ("from shop.a import (\n    b,\n)\nx = 1\n", f"from shop.a import (\n    b,\n)\n{LINE}x = 1\n"),
        # In a group of their own when there is none of the project's.
        (
            "import os\nfrom fastapi import FastAPI\n\nx = 1\n",
            f"import os\nfrom fastapi import FastAPI\n\n{LINE}\nx = 1\n",
        ),
        ('"""Words."""\n\nx = 1\n', f'"""Words."""\n\n{LINE}\n\nx = 1\n'),
        ('"""Words."""\n', f'"""Words."""\n\n{LINE}'),
        ("", LINE),
        # The last line need not end.
        ("from shop.a import b", f"from shop.a import b\n{LINE}"),
    ],
)  # fmt: skip
def test_import_goes_where_it_belongs(before: str, after: str) -> None:
    assert import_(before) == after


@pytest.mark.parametrize(
    "text",
    [LINE, f"import os\n{LINE}", "from shop.routers.m import other, router as m_router\n"],
)
def test_import_that_is_there_is_not_put_there_again(text: str) -> None:
    assert import_(text) == text


def test_same_module_with_another_name_is_another_import() -> None:
    assert import_("from shop.routers.m import router\n") == f"from shop.routers.m import router\n{LINE}"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("r = R()\nr.include_router(a)\nx = 1\n", "r = R()\nr.include_router(a)\nr.include_router(m)\nx = 1\n"),
        ("r = R()\n", "r = R()\nr.include_router(m)\n"),
        ("r: R = R()\nx = 1", "r: R = R()\nx = 1\nr.include_router(m)\n"),
        ("r = R()\n\n\ndef f():\n    pass\n", "r = R()\n\n\ndef f():\n    pass\n\n\nr.include_router(m)\n"),
        (
            'r = R()\n\n\nif __name__ == "__main__":\n    run(r)\n',
            'r = R()\n\n\nr.include_router(m)\n\n\nif __name__ == "__main__":\n    run(r)\n',
        ),
        ("o.include_router(a)\nr = R()\n", "o.include_router(a)\nr = R()\nr.include_router(m)\n"),
        ("r = R()\nr.include_router(\n    a,\n)\n", "r = R()\nr.include_router(\n    a,\n)\nr.include_router(m)\n"),
    ],
)
def test_router_is_included_behind_the_others(before: str, after: str) -> None:
    assert with_router(before, "r", "m") == after


def test_router_that_is_included_is_not_included_again() -> None:
    text = 'r = R()\nr.include_router(m, prefix="/x")\n'
    assert with_router(text, "r", "m") == text


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('__all__ = [\n    "A",\n    "Z",\n]\n', '__all__ = [\n    "A",\n    "M",\n    "Z",\n]\n'),
        ('__all__ = [\n    "A",\n]\n', '__all__ = [\n    "A",\n    "M",\n]\n'),
        ('__all__ = ["A", "Z"]  # é\n', '__all__ = ["A", "M", "Z"]  # é\n'),
        ("__all__ = []\n", '__all__ = ["M"]\n'),
        ('__all__ = ["M"]\n', '__all__ = ["M"]\n'),
        ('__all__ = [\n    "M",\n]\n', '__all__ = [\n    "M",\n]\n'),
        ("x = 1\n", "x = 1\n"),
    ],
)
def test_name_is_exported_in_order(before: str, after: str) -> None:
    assert with_exported(before, "M") == after


LIFESPAN = 'def lifespan():\n    yield {{\n        "a": 1,\n{more}    }}\n'


def test_state_gets_an_entry_once() -> None:
    before, after = LIFESPAN.format(more=""), LIFESPAN.format(more='        "m": M(),\n')
    assert with_yielded(before, "m", "M()") == after
    assert with_yielded(after, "m", "M()") == after


@pytest.mark.parametrize(
    "change",
    [
        lambda: with_router("def make():\n    r = R()\n    return r\n", "r", "m"),
        lambda: with_yielded("def lifespan():\n    yield\n", "m", "M()"),
        lambda: with_yielded('def lifespan():\n    yield {"a": 1}\n', "m", "M()"),
    ],
)
def test_source_without_a_place_is_refused(change: Callable[[], str]) -> None:
    with pytest.raises(NoPlace):
        change()


@pytest.mark.parametrize(
    ("text", "prefix"),
    [("r = R(prefix='/api')\n", "/api"), ("r = R()\n", ""), ("r = R(prefix=P)\n", ""), ("o = R(prefix='/x')\n", "")],
)
def test_prefix_of_a_router(text: str, prefix: str) -> None:
    assert prefix_of(text, "r") == prefix
