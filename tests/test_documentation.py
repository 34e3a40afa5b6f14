"""The documentation names only what exists: files, tests and pages."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]
DOCS = CHECKOUT / "docs"
PAGES = [CHECKOUT / "README.md", *sorted(DOCS.rglob("*.md"))]

NAMED = re.compile(r"`((?:devserver|tests|scripts|benchmarks|examples)/[\w./-]*)(?:::(\w+))?`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_files_and_tests_that_a_page_names_exist(page: Path) -> None:
    missing = [
        f"{path}::{test}" if test else path
        for path, test in NAMED.findall(page.read_text())
        if not (CHECKOUT / path).exists() or (test and test not in _functions(CHECKOUT / path))
    ]
    assert missing == []


def test_architecture_page_names_a_test_for_every_rule() -> None:
    page = (CHECKOUT / "docs" / "architecture.md").read_text()
    rules = page.partition("## What always holds")[2].partition("\n## ")[0]
    rows = [line for line in rules.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 10
    assert [row for row in rows if not any(test for _, test in NAMED.findall(row))] == []


def test_every_page_is_in_the_navigation() -> None:
    navigation = (CHECKOUT / "mkdocs.yml").read_text().partition("nav:")[2].partition("\nvalidation")[0]
    assert set(re.findall(r"[\w/-]+\.md", navigation)) == {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")}


def _functions(file: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef)}
