"""Reads a package with ast and tells where it breaks the rules of docs/architecture.md.

Every checker takes modules and gives back sentences, one a violation, so that an empty list means that the rule holds.
It knows the shape of the rules but not the rules themselves: ranks, homes and lists are handed in, so that a made-up
tree of three files can show that each checker is able to fail.

What counts as an import: statements at any depth, lazy ones inside functions and type-only ones under
``TYPE_CHECKING`` included, since a part that names another part's types knows that part; and ``import_module("name")``
with a literal name.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from pathlib import Path

Ranks: TypeAlias = Sequence[Collection[str]]
"""Parts from the leftmost, which may import all others, to the rightmost, which may import none; an item a bracket."""


@dataclass(frozen=True, slots=True)
class Import:
    """One module named by an import."""

    name: str
    """Absolute and dotted; for ``from a import b`` it is ``a.b``, whether b is a module or not."""
    line: int
    type_only: bool


@dataclass(frozen=True, slots=True)
class Module:
    """One source file of the package that is checked."""

    package: str
    path: str
    """Relative to the package's folder, with forward slashes: ``server/tls.py``."""
    tree: ast.Module

    @property
    def part(self) -> str:
        """The folder or the top-level module that it belongs to: ``server``, ``errors``, ``__init__``."""
        head, slash, _ = self.path.partition("/")
        return head if slash else head.removesuffix(".py")

    def imports(self) -> Iterator[Import]:
        """Everything that the file imports."""
        yield from _imports(self.tree, self.package, self.path)


def read_package(folder: Path) -> list[Module]:
    """Parses every Python file below ``folder``, a package's own folder."""
    return [
        Module(folder.name, file.relative_to(folder).as_posix(), ast.parse(file.read_bytes(), str(file)))
        for file in sorted(folder.rglob("*.py"))
        if "__pycache__" not in file.parts
    ]


def unranked_parts(modules: Iterable[Module], ranks: Ranks) -> list[str]:
    """Parts on disk that no rank names, and parts that a rank names but that are not there."""
    named = {part for bracket in ranks for part in bracket}
    there = {module.part for module in modules}
    return [f"{part} has no rank" for part in sorted(there - named)] + [
        f"{part} has a rank but does not exist" for part in sorted(named - there)
    ]


def empty_rooms(modules: Iterable[Module]) -> list[str]:
    """Folders that hold nothing but an ``__init__.py``."""
    rooms: dict[str, set[str]] = {}
    for module in modules:
        if "/" in module.path:
            rooms.setdefault(module.path.rpartition("/")[0], set()).add(module.path.rpartition("/")[2])
    inhabited = {room for room, files in rooms.items() if files - {"__init__.py"}}
    return [
        f"{room}/ is empty"
        for room in sorted(rooms)
        if not any(other == room or other.startswith(f"{room}/") for other in inhabited)
    ]


def wrong_directions(
    modules: Iterable[Module],
    ranks: Ranks,
    *,
    free_names: Collection[str] = (),
    plain_data: Collection[str] = (),
) -> list[str]:
    """Imports that do not go to the right.

    :param free_names: names of the package itself that anybody may import, such as ``__version__``.
    :param plain_data: parts whose types anybody may name under ``TYPE_CHECKING``.
    """
    rank = {part: number for number, bracket in enumerate(ranks) for part in bracket}
    together = {part: _bracket_names(part) for part in rank}
    found = []
    for module in modules:
        for imported in module.imports():
            target = _part_of(imported.name, module.package, rank)
            if target is None or imported.name in {f"{module.package}.{name}" for name in free_names}:
                continue
            same_part = target == module.part or target in together.get(module.part, ())
            if same_part or (imported.type_only and target in plain_data):
                continue
            if rank.get(module.part, -1) >= rank[target]:
                found.append(f"{module.path}:{imported.line}: {module.part} imports {target}")
    return found


def strangers_in_siblings(modules: Iterable[Module], siblings: Collection[str]) -> list[str]:
    """Imports from one folder of ``siblings`` (paths such as ``protocol/http1``) to another."""
    found = []
    for module in modules:
        home = next((folder for folder in siblings if module.path.startswith(f"{folder}/")), None)
        for imported in module.imports() if home else ():
            for other in siblings:
                dotted = f"{module.package}.{other.replace('/', '.')}"
                if other != home and _is_within(imported.name, dotted):
                    found.append(f"{module.path}:{imported.line}: {home} imports {other}")
    return found


def homeless_imports(modules: Iterable[Module], homes: Mapping[str, Sequence[str]]) -> list[str]:
    """Imports of third-party packages outside the places that ``homes`` gives them, or of packages without any."""
    found = []
    for module in modules:
        for imported in module.imports():
            outside = imported.name.partition(".")[0]
            if outside == module.package or outside in sys.stdlib_module_names:
                continue
            if outside not in homes:
                found.append(f"{module.path}:{imported.line}: {outside} has no home")
            elif not any(_is_at(module.path, home) for home in homes[outside]):
                found.append(f"{module.path}:{imported.line}: {outside} belongs in {' or '.join(homes[outside])}")
    return found


def forbidden_imports(
    modules: Iterable[Module], names: Collection[str], *, files: Collection[str] = ("",)
) -> list[str]:
    """Imports of ``names`` in ``files``: paths, folders that end in a slash, or ``""`` for every file."""
    return [
        f"{module.path}:{imported.line}: imports {imported.name}"
        for module in modules
        if any(_is_at(module.path, file) for file in files)
        for imported in module.imports()
        if any(_is_within(imported.name, name) for name in names)
    ]


def exits(modules: Iterable[Module], allowed: Collection[str]) -> list[str]:
    """Places that end the process: ``sys.exit``, ``exit``, ``quit``, ``raise SystemExit``.

    :param allowed: paths, folders that end in a slash, or ``path:function``.
    """
    found = []
    for module in modules:
        for function, node in _with_function(module.tree):
            if _ends_process(node) and not any(
                _is_at(module.path, place) or place == f"{module.path}:{function}" for place in allowed
            ):
                found.append(f"{module.path}:{node.lineno}: ends the process")
    return found


def _imports(tree: ast.AST, package: str, path: str, type_only: bool = False) -> Iterator[Import]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}:
            for statement in node.body:
                yield from _imports(ast.Module([statement], []), package, path, True)
            for statement in node.orelse:
                yield from _imports(ast.Module([statement], []), package, path, type_only)
            continue
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno, type_only) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = _origin(node, package, path)
            yield from (Import(f"{origin}.{alias.name}", node.lineno, type_only) for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            name = node.args[0].value
            if _called(node) in {"import_module", "__import__"} and isinstance(name, str) and not name.startswith("."):
                yield Import(name, node.lineno, type_only)
        yield from _imports(node, package, path, type_only)


def _origin(node: ast.ImportFrom, package: str, path: str) -> str:
    """The absolute name of what stands between ``from`` and ``import``."""
    if not node.level:
        return node.module or ""
    folders = [package, *path.split("/")[:-1]]
    return ".".join([*folders[: len(folders) - node.level + 1], *([node.module] if node.module else [])])


def _part_of(name: str, package: str, parts: Collection[str]) -> str | None:
    """The part of ``package`` that a dotted name leads to; None for other packages."""
    head, _, rest = name.partition(".")
    if head != package:
        return None
    part = rest.partition(".")[0]
    return part if part in parts else "__init__"


def _bracket_names(part: str) -> Collection[str]:
    # The face of the package and its composition root are one part in two files.
    return {"launch": ("__init__",), "__init__": ("launch",)}.get(part, ())


def _is_within(name: str, module: str) -> bool:
    return name == module or name.startswith(f"{module}.")


def _is_at(path: str, place: str) -> bool:
    return not place or path == place or (place.endswith("/") and path.startswith(place))


def _called(node: ast.Call) -> str:
    return ast.unparse(node.func).rpartition(".")[2]


def _with_function(tree: ast.Module) -> Iterator[tuple[str, ast.expr | ast.stmt]]:
    """Every statement and expression, each with the name of the outermost function that holds it."""
    for statement in tree.body:
        function = statement.name if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef) else ""
        for node in ast.walk(statement):
            if isinstance(node, ast.expr | ast.stmt):
                yield function, node


def _ends_process(node: ast.expr | ast.stmt) -> bool:
    if isinstance(node, ast.Call):
        return ast.unparse(node.func) in {"sys.exit", "exit", "quit"}
    if isinstance(node, ast.Raise) and node.exc is not None:
        raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        return ast.unparse(raised) == "SystemExit"
    return False
