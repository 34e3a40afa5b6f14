"""Blank lines between imports, as isort's sections want them."""

from __future__ import annotations

import pytest

from devserver.scaffold.imports import modules, spaced

pytestmark = pytest.mark.once


def text(*lines: str) -> str:
    return "".join(f"{line}\n" for line in lines)


def test_blank_lines_within_a_section_go_and_between_sections_stay() -> None:
    before = text('"""Doc."""', "", "import os", "", "import re", "", "import attr", "", "import shop", "", "", "x = 1")

    after = text('"""Doc."""', "", "import os", "import re", "", "import attr", "", "import shop", "", "", "x = 1")
    assert spaced(before, {"shop"}) == after


def test_section_that_lost_its_blank_line_gets_it_back() -> None:
    before = text(
        "from __future__ import annotations", "import os", "import attr", "from shop.db import x", "from . import y"
    )

    assert spaced(before, {"shop"}) == text(
        "from __future__ import annotations",
        "",
        "import os",
        "",
        "import attr",
        "",
        "from shop.db import x",
        "",
        "from . import y",
    )


def test_import_over_several_lines_stays_whole() -> None:
    before = text("from attr import (", "    # why (not)", "    a,", ")", "", "import sqlalchemy", "", "x = (1)")

    assert spaced(before, ()) == text(
        "from attr import (", "    # why (not)", "    a,", ")", "import sqlalchemy", "", "x = (1)"
    )


def test_comment_goes_with_the_import_below_it() -> None:
    before = text("import os", "", "# Why.", "import attr", "", "# No import follows.", "x = 1")

    assert spaced(before, ()) == before


@pytest.mark.parametrize("unchanged", ["", "x = 1\n", '"""Doc."""\n', "import os", "import os\n", "import os\n\n\n"])
def test_text_with_nothing_to_space_is_unchanged(unchanged: str) -> None:
    assert spaced(unchanged, ()) == unchanged


def test_import_in_a_function_is_no_part_of_the_block() -> None:
    before = text("import os", "", "", "def f():", "    import re", "", "    import sys")

    assert spaced(before, ()) == before


def test_modules_are_found_in_the_folders_that_hold_them() -> None:
    paths = ["main.py", "src/shop/db.py", "tests/conftest.py", "tests/auth/test_a.py", "README.md", "docs/index.md"]

    assert modules(paths) == {"main", "shop", "conftest", "auth"}
