"""What ``dev routes`` shows: the routes of an app as aligned text, a group for each router.

A route stands on one line, so that the text can be searched; on a terminal that is too narrow for that its place in the
source moves to a line below. Understandable without colours, and ASCII as far as the app's own names are.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeAlias

from devserver.app.redact import visible
from devserver.ui.narrator import count

if TYPE_CHECKING:
    from devserver.app.routes import Route

_Group: TypeAlias = tuple[str, str]
"""What the routes have in common, and the file that they are in."""

_BUILTIN = "of the framework"
_FOLDERS = "folders"
_KINDS = {"websocket": "WS", "static": "FILES", "mount": "MOUNT"}
_PATH_MAX = 48
"""One long path must not push every name out of sight."""
_INDENT = "  "


def table(routes: Sequence[Route], *, directory: str, width: int | None = None) -> str:
    """The routes, group by group.

    :param directory: files below it are named relative to it.
    :param width: of the terminal; None when there is none, where no line is too long.
    """
    groups = _grouped(routes, directory)
    rows = {id(route): _cells(route, directory) for route in routes}
    # The framework's own have no place that is to be aligned, so that their long names widen nobody else's columns.
    widths = _widths(rows[id(route)] for route in routes if not route.builtin)
    wide = _widths(rows.values())
    lines: list[str] = []
    for group, members in groups.items():
        lines += ["", _INDENT.join(part for part in group if part)] if lines else [_INDENT.join(filter(None, group))]
        for route in members:
            lines += _row(rows[id(route)], wide if route.builtin else widths, width)
            if route.shadowed_by:
                behind = f"{route.shadowed_by} ({route.shadowed_by_path})"
                lines.append(f"{_INDENT}{'':<{widths[0]}}{_INDENT}^ never reached: {behind} comes first")
    lost = sum(bool(route.shadowed_by) for route in routes)
    total = f"{count(len(routes), 'route')}{f', {lost} never reached' if lost else ''}"
    return "\n".join(visible(line) for line in [*lines, "", total])


def place(route: Route, directory: str) -> str:
    """``shop/items.py:12``, or the folder of files."""
    if route.kind == "static":
        return relative(route.endpoint, directory)
    file = relative(route.file, directory)
    return f"{file}:{route.line}" if file and route.line else file


def relative(path: str, directory: str) -> str:
    """A path below ``directory`` seen from there, one of an installed package seen from where that is installed."""
    for folder in ("site-packages", "dist-packages"):
        _, found, rest = path.partition(f"{os.sep}{folder}{os.sep}")
        if found:
            return rest
    return path.removeprefix(directory.rstrip(os.sep) + os.sep)


def _grouped(routes: Iterable[Route], directory: str) -> dict[_Group, list[Route]]:
    """In the order of the app; what is the framework's own comes last."""
    groups: dict[_Group, list[Route]] = {}
    own: list[Route] = []
    for route in routes:
        if route.builtin:
            own.append(route)
        else:
            groups.setdefault(_group(route, directory), []).append(route)
    for route in own:
        groups.setdefault((" ".join(filter(None, (route.host, route.mount, _BUILTIN))), ""), []).append(route)
    return groups


def _group(route: Route, directory: str) -> _Group:
    within = " ".join(filter(None, (route.host, route.mount)))
    if route.kind == "static":
        return ": ".join(filter(None, (within, _FOLDERS))), ""
    label = ", ".join(route.tags) or route.router
    return ": ".join(filter(None, (within, label))), relative(route.file, directory)


def _cells(route: Route, directory: str) -> tuple[str, str, str, str]:
    methods = _KINDS.get(route.kind, "")
    if not methods:
        # Starlette answers HEAD wherever it answers GET.
        shown = [method for method in route.methods if method != "HEAD" or "GET" not in route.methods]
        methods = ",".join(shown) or "ANY"
    name = route.name
    if route.kind != "static" and route.endpoint and route.endpoint.rpartition(".")[2] != name:
        name = f"{name} ({route.endpoint})" if name else route.endpoint
    if route.builtin:
        return methods, route.path, name, ""
    return methods, route.path, name, _INDENT.join(filter(None, (place(route, directory), "hidden" * route.hidden)))


def _widths(rows: Iterable[Sequence[str]]) -> tuple[int, int, int]:
    rows = list(rows)
    methods, path, name = (max((len(row[column]) for row in rows), default=0) for column in range(3))
    return methods, min(path, _PATH_MAX), name


def _row(cells: Sequence[str], widths: Sequence[int], width: int | None) -> Iterator[str]:
    head = _INDENT + _INDENT.join(f"{cell:<{widths[column]}}" for column, cell in enumerate(cells[:3]))
    whole = f"{head}{_INDENT}{cells[3]}".rstrip()
    if width is None or len(whole) <= width:
        yield whole
        return
    yield head.rstrip()
    yield f"{'':<{len(_INDENT) * 2 + widths[0]}}{cells[3]}"
