"""Reading import statements from source text."""

from __future__ import annotations

from pathlib import Path

import pytest

from devserver.supervisor import statements
from devserver.supervisor.statements import Statements, imported


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("", set()),
        ("import a", {"a"}),
        ("import a.b as c, d  # e", {"a.b", "d"}),
        ("    import a; import b", {"a"}),
        ("from a import b, c as d", {"a", "a.b", "a.c"}),
        ("from a.b import *", {"a.b"}),
        ("from a import (\n    b,  # of c\n    d as e,\n)\nimport f", {"a", "a.b", "a.d", "f"}),
        ("from . import a\nfrom .b import c\nfrom .. import d", set()),
        ("x = 'import a'\nimporta = 1\n# import b", set()),
        ("import a\r\nimport b\r\n", {"a", "b"}),
        ("\tfrom a import b", {"a", "a.b"}),
    ],
)
def test_statement_names_modules(source: str, names: set[str]) -> None:
    assert imported(source.encode()) == names


def test_file_that_changes_is_read_again_and_one_that_is_gone_names_nothing(tmp_path: Path) -> None:
    first, second = tmp_path / "a.py", tmp_path / "b.py"
    first.write_text("import x")
    second.write_text("import y")
    read = Statements()
    paths = [str(first), str(second)]
    assert read.names(paths) == {"x", "y"}
    assert read.names(paths) == {"x", "y"}
    first.write_text("import longer")
    assert read.names(paths) == {"longer", "y"}
    second.unlink()
    assert read.names(paths) == {"longer"}
    assert read.names([]) == frozenset()


def test_file_that_is_too_large_names_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statements, "BYTES_MAX", 10)
    path = tmp_path / "a.py"
    path.write_text("import something")
    assert Statements().names([str(path)]) == frozenset()
