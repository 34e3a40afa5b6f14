"""What the text of a module says about the apps in it, without importing it.

Knows ``ast`` and file names; must not know the command line, the working directory or ``sys.path``. Two questions are
answered here: which name of the module is the app, and under which module name the file must be imported so that its
own imports work. Every answer is a reading of the source: nothing of the user's runs.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from devserver.errors import AppLoadError

APP_NAMES = ("app", "application", "api")
FACTORY_NAMES = (
    "create_app",
    "make_app",
    "get_app",
    "build_app",
    "create_application",
    "make_application",
    "get_application",
    "build_application",
    "app_factory",
)
APP_CLASSES = frozenset({"FastAPI", "Starlette"})
# Objects that are commonly named ``app`` or ``api`` and that no server can serve.
OTHER_CLASSES = frozenset({"APIRouter", "Typer", "Celery", "Blueprint"})

# Parent folders that are looked at for a package name; deeper layouts are not found in practice.
_ANCESTORS_MAX = 8


@dataclass(frozen=True)
class Choice:
    """The name in a module that is to be served, and whether it must be called first."""

    attribute: str
    factory: bool


@dataclass(frozen=True)
class AppSource:
    """One module file as its source describes it. Make one with :meth:`read`, then ask :meth:`choose` and
    :meth:`module_name`.
    """

    path: Path
    apps: tuple[str, ...] = ()
    """Names bound to an app class, in the order of the file."""
    unknown: tuple[str, ...] = ()
    """Names out of ``APP_NAMES`` that are bound to something that may be an app."""
    factories: tuple[str, ...] = ()
    """Functions that need no argument and, by name or annotation, return an app."""
    imported_factories: tuple[str, ...] = ()
    relative_level: int = 0
    """Deepest relative import: 1 for ``from . import x``, 2 for ``from .. import x``."""
    imports: tuple[str, ...] = ()
    """Dotted names of the absolute imports."""
    broken: bool = False
    """The file cannot be parsed; its apps were guessed line by line."""

    @classmethod
    def read(cls, path: Path) -> AppSource:
        """Reads a module file.

        :raises AppLoadError: the file cannot be read.
        """
        try:
            data = path.read_bytes()
        except OSError as exc:
            raise AppLoadError(f"Cannot read {path}: {exc.strerror or exc}.") from exc
        try:
            with warnings.catch_warnings():
                # The process that imports the module shows its SyntaxWarnings; here they would appear twice.
                warnings.simplefilter("ignore")
                tree = ast.parse(data, filename=str(path))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return cls(path, apps=_guess(data), broken=True)
        return _Reader(path, tree).result()

    def choose(self, *, factory: bool = False) -> Choice | None:
        """The app of the module by the rules of the reference page, or None when nothing in it looks like one.

        :param factory: ``--factory`` was given: only something to call will do.
        :raises AppLoadError: several names are equally likely.
        """
        found_factory = self._factory()
        if factory:
            return found_factory or next((Choice(name, factory=True) for name in self.unknown), None)
        for name in APP_NAMES:
            if name in self.apps:
                return Choice(name, factory=False)
        # "api" is as often a router, a client or a submodule: it counts only when nothing better is there.
        for name in APP_NAMES[:2]:
            if name in self.unknown:
                return Choice(name, factory=False)
        apps = [name for name in self.apps if not name.startswith("_")] or list(self.apps)
        if apps:
            return Choice(self._only(apps, "apps"), factory=False)
        if "api" in self.unknown:
            return Choice("api", factory=False)
        return found_factory

    def module_name(self) -> tuple[str, Path]:
        """The name to import the file by, and the folder that must be on ``sys.path`` for it.

        Package-qualified when the file imports relatively or by the name of one of its own folders, else as far up as
        ``__init__.py`` files go.

        :raises AppLoadError: no import statement can name such a file.
        """
        folders = list(self.path.parents)[:_ANCESTORS_MAX]
        is_package = self.path.name == "__init__.py"
        stem = [] if is_package else [self.path.stem]
        depth = 0
        while depth < len(folders) - 1 and (folders[depth] / "__init__.py").is_file():
            depth += 1
        # In __init__.py as in any other file, level 1 is the folder that holds it.
        depth = min(max(depth, self.relative_level, 1 if is_package else 0), len(folders) - 1)
        depth = max(depth, self._own_folder_depth(folders, depth))
        names = [folder.name for folder in reversed(folders[:depth])] + stem
        if any("." in name for name in names) or not all(names):
            raise AppLoadError(
                f"{self.path} cannot be imported: a dot in {'.'.join(names)!r} stands where no package ends.",
                hint="Rename the file or its folder.",
            )
        return ".".join(names), folders[depth]

    def _own_folder_depth(self, folders: list[Path], depth: int) -> int:
        """How many folders the package must span so that absolute imports of the file's own folders resolve."""
        base = folders[depth]
        needed = 0
        for dotted in self.imports:
            first, *rest = dotted.split(".")
            if _is_module(base, [first]):
                continue
            for level, folder in enumerate(folders[:-1], start=1):
                if folder.name == first and (_is_module(folder, rest[:1]) or (not rest and level == 1)):
                    needed = max(needed, level)
                    break
                if _is_project(folder):
                    break
        return needed

    def _factory(self) -> Choice | None:
        for name in FACTORY_NAMES:
            if name in self.factories:
                return Choice(name, factory=True)
        if self.factories:
            return Choice(self._only(list(self.factories), "app factories"), factory=True)
        return next((Choice(name, factory=True) for name in self.imported_factories), None)

    def _only(self, names: list[str], what: str) -> str:
        if len(names) == 1:
            return names[0]
        listed = ", ".join(f'"{name}"' for name in names)
        raise AppLoadError(
            f"{self.path.name} holds several {what}: {listed}.",
            hint=f"Say which one: {self.path.name}:{names[0]}",
        )


class _Reader:
    """One walk over a module's tree."""

    def __init__(self, path: Path, tree: ast.Module) -> None:
        self.path = path
        self.tree = tree
        self.origins: dict[str, str] = {}
        self.classes = set(APP_CLASSES)
        self.kinds: dict[str, set[str]] = {}
        self.order: list[str] = []
        self.factories: list[str] = []
        self.imported_factories: list[str] = []
        self.level = 0
        self.imports: list[str] = []

    def result(self) -> AppSource:
        for node in ast.walk(self.tree):
            self._note_import(node)
        body = list(_statements(self.tree.body))
        for node in body:
            if isinstance(node, ast.ClassDef) and any(self._is_app_class(base) for base in node.bases):
                self.classes.add(node.name)
        for node in body:
            if isinstance(node, ast.FunctionDef) and self._is_factory(node):
                self.factories.append(node.name)
        for node in body:
            self._note_binding(node)
        apps = tuple(name for name in self.order if "app" in self.kinds[name])
        return AppSource(
            self.path,
            apps=apps,
            unknown=tuple(name for name in APP_NAMES if "unknown" in self.kinds.get(name, ()) and name not in apps),
            factories=tuple(self.factories),
            imported_factories=tuple(self.imported_factories),
            relative_level=self.level,
            imports=tuple(self.imports),
        )

    def _note_import(self, node: ast.AST) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                self.imports.append(alias.name)
                self.origins[alias.asname or alias.name.split(".")[0]] = alias.name
        elif isinstance(node, ast.ImportFrom):
            self.level = max(self.level, node.level)
            if not node.level and node.module:
                self.imports.append(node.module)
                self.imports.extend(f"{node.module}.{alias.name}" for alias in node.names if alias.name != "*")
            for alias in node.names:
                self.origins[alias.asname or alias.name] = f"{node.module or ''}.{alias.name}"

    def _note_binding(self, node: ast.stmt) -> None:
        if isinstance(node, ast.Assign):
            kind = self._kind(node.value)
            for target in node.targets:
                elements = target.elts if isinstance(target, ast.Tuple | ast.List) else [target]
                for element in elements:
                    if isinstance(element, ast.Name):
                        self._bind(element.id, kind if element is target else "unknown")
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            kind = "other" if node.value is None else self._kind(node.value)
            if kind != "app" and self._names_app_class(node.annotation):
                kind = "unknown" if node.value is None else "app"
            self._bind(node.target.id, kind)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            self._bind(node.name, "unknown" if _takes_a_scope(node) else "other")
        elif isinstance(node, ast.ClassDef):
            self._bind(node.name, "unknown")
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                name = alias.asname or alias.name
                if name in FACTORY_NAMES:
                    self.imported_factories.append(name)
                self._bind(name, "other" if self._is_submodule(node, alias.name) else "unknown")

    def _bind(self, name: str, kind: str) -> None:
        if name not in self.kinds:
            self.order.append(name)
        self.kinds.setdefault(name, set()).add(kind)

    def _kind(self, value: ast.expr) -> str:
        if isinstance(value, ast.Call):
            if self._is_app_class(value.func):
                return "app"
            if isinstance(value.func, ast.Name) and value.func.id in self.factories:
                return "app"
            return "other" if self._origin(value.func).rpartition(".")[2] in OTHER_CLASSES else "unknown"
        if isinstance(value, ast.IfExp):
            kinds = {self._kind(value.body), self._kind(value.orelse)}
            return next((kind for kind in ("app", "unknown") if kind in kinds), "other")
        literal = ast.Constant | ast.Dict | ast.List | ast.Set | ast.Tuple | ast.JoinedStr
        return "other" if isinstance(value, literal) else "unknown"

    def _origin(self, node: ast.expr) -> str:
        """Dotted name that an expression stands for, with import aliases resolved; empty when it is not a name."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return ""
        return ".".join([self.origins.get(node.id, node.id), *reversed(parts)])

    def _is_app_class(self, node: ast.expr) -> bool:
        return self._origin(node).rpartition(".")[2] in self.classes

    def _names_app_class(self, annotation: ast.expr | None) -> bool:
        if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
            try:
                annotation = ast.parse(annotation.value, mode="eval").body
            except SyntaxError:
                return False
        return annotation is not None and self._is_app_class(annotation)

    def _is_factory(self, node: ast.FunctionDef) -> bool:
        args = node.args
        required = len(args.posonlyargs) + len(args.args) - len(args.defaults) + args.kw_defaults.count(None)
        named = node.name in FACTORY_NAMES or self._names_app_class(node.returns)
        return named and not required and not any(map(_is_route, node.decorator_list))

    def _is_submodule(self, node: ast.ImportFrom, name: str) -> bool:
        """``from . import api`` and ``from package import api`` bind a module when there is such a file."""
        parts = [*(node.module or "").split("."), name] if node.module else [name]
        folders = list(self.path.parents)[:_ANCESTORS_MAX]
        if node.level:
            folders = folders[node.level - 1 : node.level]
        return any(_is_module(folder, parts) for folder in folders)


def _statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that run when the module is imported, those under ``if``, ``try`` and ``with`` included."""
    for node in body:
        if isinstance(node, ast.If):
            if not _is_main_guard(node.test):
                yield from _statements(node.body)
            yield from _statements(node.orelse)
        elif isinstance(node, ast.Try | ast.TryStar):
            yield from _statements(node.body)
            for handler in node.handlers:
                yield from _statements(handler.body)
            yield from _statements([*node.orelse, *node.finalbody])
        elif isinstance(node, ast.With | ast.For | ast.While):
            yield from _statements(node.body)
        elif isinstance(node, ast.Match):
            for case in node.cases:
                yield from _statements(case.body)
        else:
            yield node


def _is_main_guard(test: ast.expr) -> bool:
    return any(isinstance(node, ast.Name) and node.id == "__name__" for node in ast.walk(test))


def _takes_a_scope(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether a function named like an app can be one: ASGI 2, WSGI and ASGI 3 take one, two and three arguments."""
    count = len(node.args.posonlyargs) + len(node.args.args)
    return (1 <= count <= 3 or node.args.vararg is not None) and not any(map(_is_route, node.decorator_list))


def _is_route(decorator: ast.expr) -> bool:
    return isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Attribute)


def _is_module(folder: Path, parts: list[str]) -> bool:
    path = folder.joinpath(*parts)
    return bool(parts) and (path.with_name(path.name + ".py").is_file() or path.is_dir())


def _is_project(folder: Path) -> bool:
    return (folder / "pyproject.toml").is_file() or (folder / ".git").exists()


_BOUND_TO_APP = re.compile(rb"^(\w+)\s*(?::[^=\n]+)?=\s*(?:\w+\.)*(?:FastAPI|Starlette)\(", re.MULTILINE)


def _guess(data: bytes) -> tuple[str, ...]:
    """The apps of a file that does not parse: its import will show the mistake, so a likely name is good enough."""
    return tuple(dict.fromkeys(name.decode("ascii", "replace") for name in _BOUND_TO_APP.findall(data)))
