"""Blank lines between the imports of a Python file. Pure.

Formatters put a blank line between an import and the comment below it, so every mark of a region (``regions.py``) has
one beside it that stays behind when the mark goes. Which of them separate sections, and are meant, only the names of
the modules tell.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterable, Iterator

_IMPORT = re.compile(r"(?:import|from)\s+(?P<module>\.*[\w.]*)")
_FUTURE, _STANDARD, _THIRD_PARTY, _FIRST_PARTY, _RELATIVE = range(5)


def spaced(text: str, first_party: Collection[str]) -> str:
    """The text with one blank line between sections of its imports, and none within them.

    Only the first block of imports of a file is looked at, and neither their order nor anything else is changed: with
    the sections of isort, which ruff has too, a file whose imports are in order is then as they want it.

    :param first_party: names of the project's own top-level modules.
    """
    lines = text.splitlines(keepends=True)
    start = next((number for number, line in enumerate(lines) if _IMPORT.match(line)), None)
    if start is None:
        return text
    block: list[str] = []
    end, before = start, None
    for first, after, section in _imports(lines, start, first_party):
        if before is not None and section != before:
            block.append("\n")
        block += lines[first:after]
        end, before = after, section
    return "".join([*lines[:start], *block, *lines[end:]])


def modules(paths: Iterable[str]) -> set[str]:
    """Names of the top-level modules among files of a project, which lie in it, in ``src/`` or in ``tests/``."""
    found = set()
    for path in paths:
        first, *rest = path.removeprefix("src/").removeprefix("tests/").split("/")
        if path.endswith(".py"):
            found.add(first if rest else first.removesuffix(".py"))
    return found


def _imports(lines: list[str], start: int, first_party: Collection[str]) -> Iterator[tuple[int, int, int]]:
    """Each import of the block that begins at a line, with the comments above it: first line, line after, section."""
    at = start
    while True:
        while at < len(lines) and not lines[at].strip():
            at += 1
        first = at
        while at < len(lines) and lines[at].startswith("#"):
            at += 1
        found = _IMPORT.match(lines[at]) if at < len(lines) else None
        if found is None:
            return
        opened = 0
        while True:
            code = lines[at].split("#", 1)[0]
            opened += code.count("(") - code.count(")")
            at += 1
            if opened <= 0 or at == len(lines):
                break
        yield first, at, _section(found["module"], first_party)


def _section(module: str, first_party: Collection[str]) -> int:
    if module.startswith("."):
        return _RELATIVE
    top = module.split(".", 1)[0]
    if top == "__future__":
        return _FUTURE
    if top in first_party:
        return _FIRST_PARTY
    return _STANDARD if top in sys.stdlib_module_names else _THIRD_PARTY
