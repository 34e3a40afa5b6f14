"""How a project's files and what to do next are shown. Pure: lines in, text out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

_Node: TypeAlias = "dict[str, _Node]"
_ASCII = str.maketrans({"├": "|", "└": "`", "─": "-", "│": "|", "┌": ".", "┐": ".", "┘": "'"})


def tree(root: str, paths: Iterable[str], *, ascii_only: bool = False) -> str:
    """Files as a tree; folders first.

    :param paths: relative, with slashes.
    """
    top: _Node = {}
    for path in paths:
        node = top
        for name in path.split("/"):
            node = node.setdefault(name, {})
    lines = [f"{root}/"]
    _grow(top, "", lines)
    return _spoken(lines, ascii_only=ascii_only)


def _grow(node: _Node, indent: str, lines: list[str]) -> None:
    children = sorted(node.items(), key=lambda item: (not item[1], item[0]))
    for index, (name, below) in enumerate(children, 1):
        last = index == len(children)
        lines.append(f"{indent}{'└──' if last else '├──'} {name}{'/' if below else ''}")
        _grow(below, indent + ("    " if last else "│   "), lines)


def box(title: str, lines: Sequence[str], *, ascii_only: bool = False) -> str:
    """Lines with a frame around them."""
    width = max([len(title) + 1, *map(len, lines)])
    top = f"┌─ {title} {'─' * (width - len(title) - 1)}┐"
    return _spoken([top, *(f"│ {line:<{width}} │" for line in lines), f"└{'─' * (width + 2)}┘"], ascii_only=ascii_only)


def _spoken(lines: Iterable[str], *, ascii_only: bool) -> str:
    text = "\n".join(lines)
    return text.translate(_ASCII) if ascii_only else text
