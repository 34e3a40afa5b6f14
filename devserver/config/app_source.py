"""What the text of a module says about the apps in it, without importing it.

Knows ``ast`` and file names; must not know the command line, the working directory or ``sys.path``. Reads which names
the module binds and which of them is the app. Nothing of the user's runs, so the text may leave the answer open:
``devserver.app.choice`` then applies the same rules to the imported module.
"""

from __future__ import annotations

import ast
import re
import shlex
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
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
_BINDERS = frozenset({"globals", "vars", "locals", "setattr", "exec", "eval", "execfile"})
"""Functions that bind names of a module without writing them in its text."""
_RUNNERS = frozenset({"uvicorn.run", "devserver.run", "uvicorn.Config", "devserver.Config"})
_NO_APPS = (
    ast.Constant
    | ast.Dict
    | ast.DictComp
    | ast.List
    | ast.ListComp
    | ast.Set
    | ast.SetComp
    | ast.Tuple
    | ast.JoinedStr
    | ast.Compare
    | ast.GeneratorExp
)
"""Expressions whose value is never an app."""
APP_CLASSES = {
    "FastAPI": "fastapi",
    "Starlette": "starlette",
    "Flask": "flask",
    "Quart": "quart",
    "Litestar": "litestar",
}
"""Class of an app -> package that has it, the preferred one first."""
# Objects that are commonly named ``app`` or ``api`` and that no server can serve.
OTHER_CLASSES = frozenset({"APIRouter", "Typer", "Celery", "Blueprint"})

# Parent folders that are searched for an imported module; deeper layouts are not found in practice.
_ANCESTORS_MAX = 8
# Files that one reading follows through imports: a project that hides its app deeper is left to its import.
_FOLLOWED_MAX = 16


@dataclass(frozen=True)
class Choice:
    """The name in a module that is to be served, and whether it must be called first."""

    attribute: str
    factory: bool


@dataclass(frozen=True)
class AppSource:
    """One module file as its source describes it. Make one with :meth:`read`, then ask :meth:`choose`."""

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
    is_open: bool = False
    """The module may have an app under a name that the text does not connect with one: only its import can say."""
    nested: tuple[str, ...] = ()
    """Apps that no rule finds: ``Class.attribute``, and functions that make an app and are not named like factories."""
    patterns: tuple[str, ...] = ()
    """Calls of functions that make an app and need arguments, such as ``create_app(settings=...)``."""
    runs: tuple[str, ...] = ()
    """Import strings that the file itself gives to a server: ``uvicorn.run("shop.main:app")``."""
    makers: tuple[str, ...] = ()
    """Functions, whatever they take, that call an app class and return something."""
    bound: Mapping[str, str] = field(default_factory=dict)
    """Name -> ``app``, ``unknown`` or ``other``, for every name that the text binds."""
    exported: tuple[str, ...] | None = None
    """``__all__``, when it is a literal."""

    @classmethod
    def read(cls, path: Path, *, followed: set[Path] | None = None) -> AppSource:
        """Read a module file, and the files of the project that it imports names from where the answer needs them.

        :param followed: files already read on the way here; they are not read again.
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
        followed = set() if followed is None else followed
        followed.add(path)
        return _Reader(path, tree, followed).result()

    def choose(self, *, factory: bool = False) -> Choice | None:
        """Return the likeliest app of the module, or None when no name in the text stands for one.

        The order is that of :func:`devserver.app.choice.choose`, which has the last word.

        :param factory: ``--factory`` was given: only something to call will do.
        :raises AppLoadError: several factories are equally likely.
        """
        found_factory = self._factory()
        if factory:
            return found_factory or next((Choice(name, factory=True) for name in self.unknown), None)
        if "app" in self.apps or "app" in self.unknown:
            return Choice("app", factory=False)
        # "api" is as often a router, a client or a submodule: it counts only when its class is known, or as the last.
        sure = ["api"] if "api" in self.apps else []
        usual = [name for name in APP_NAMES if name in self.unknown]
        names = (*sure, *usual[: usual[:1] == ["application"]], *sorted(self.apps), *usual)
        return Choice(names[0], factory=False) if names else found_factory

    def _factory(self) -> Choice | None:
        names = [name for name in FACTORY_NAMES if name in self.factories] or list(self.factories)
        if len(names) > 1 and names[0] not in FACTORY_NAMES and not self.is_open:
            listed = ", ".join(f'"{name}"' for name in names)
            raise AppLoadError(
                f"{self.path.name} holds several app factories: {listed}.",
                hint=f"Say which one: {shlex.quote(f'{self.path}:{names[0]}')}",
            )
        return next((Choice(name, factory=True) for name in (*names, *self.imported_factories)), None)


class _Reader:
    """One walk over a module's tree."""

    def __init__(self, path: Path, tree: ast.Module, followed: set[Path]) -> None:
        self.path = path
        self.tree = tree
        self.followed = followed
        self.origins: dict[str, str] = {}
        self.modules: set[str] = set()
        self.classes = set(APP_CLASSES)
        self.kinds: dict[str, set[str]] = {}
        self.order: list[str] = []
        self.factories: list[str] = []
        self.imported_factories: list[str] = []
        self.level = 0
        self.imports: list[str] = []
        self.nested: list[str] = []
        self.patterns: list[str] = []
        self.runs: list[str] = []
        self.makers: set[str] = set()
        self.exported: tuple[str, ...] | None = None
        self.is_open = False

    def result(self) -> AppSource:
        for node in ast.walk(self.tree):
            self._note_import(node)
            self._note_hidden_binding(node)
        body = list(_statements(self.tree.body))
        for node in body:
            if isinstance(node, ast.ClassDef) and any(self._is_app_class(base) for base in node.bases):
                self.classes.add(node.name)
        for node in body:
            if isinstance(node, ast.FunctionDef):
                if self._is_factory(node):
                    self.factories.append(node.name)
                if self._is_maker(node):
                    self.makers.add(node.name)
        for node in body:
            self._note_binding(node)
        if not any(self.kinds.get(name, set()) - {"other"} for name in APP_NAMES) and not self._bound("app"):
            self._follow_names(body)
        for node in body:
            self._note_nested(node)
        apps = self._bound("app")
        return AppSource(
            self.path,
            apps=apps,
            unknown=tuple(name for name in APP_NAMES if "unknown" in self.kinds.get(name, ()) and name not in apps),
            factories=tuple(self.factories),
            imported_factories=tuple(self.imported_factories),
            relative_level=self.level,
            imports=tuple(self.imports),
            is_open=self.is_open or "__getattr__" in self.kinds or bool(self._bound("unknown")),
            nested=tuple(self.nested),
            patterns=tuple(self.patterns),
            runs=tuple(self.runs),
            makers=tuple(self.makers),
            bound={name: _strongest(kinds) for name, kinds in self.kinds.items()},
            exported=self.exported,
        )

    def _bound(self, kind: str) -> tuple[str, ...]:
        return tuple(name for name in self.order if kind in self.kinds[name])

    def _note_import(self, node: ast.AST) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                self.imports.append(alias.name)
                self.origins[alias.asname or alias.name.split(".")[0]] = alias.name
                self.modules.add(alias.asname or alias.name.split(".")[0])
        elif isinstance(node, ast.ImportFrom):
            self.level = max(self.level, node.level)
            if not node.level and node.module:
                self.imports.append(node.module)
                self.imports.extend(f"{node.module}.{alias.name}" for alias in node.names if alias.name != "*")
            for alias in node.names:
                self.origins[alias.asname or alias.name] = f"{node.module or ''}.{alias.name}"

    def _note_hidden_binding(self, node: ast.AST) -> None:
        """Note what binds a name of the module from anywhere: ``global``, ``globals()``, ``setattr``, ``exec``."""
        if isinstance(node, ast.Global):
            for name in node.names:
                self._bind(name, "unknown")
        elif (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _BINDERS) or (
            isinstance(node, ast.Attribute) and self._origin(node) == "sys.modules"
        ):
            self.is_open = True
        if isinstance(node, ast.Call) and self._origin(node.func) in _RUNNERS and node.args:
            given = node.args[0]
            if isinstance(given, ast.Constant) and isinstance(given.value, str) and ":" in given.value:
                self.runs.append(given.value)

    def _note_binding(self, node: ast.stmt) -> None:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                self._assign(target, node.value)
            if any(isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets):
                self.exported = _texts(node.value)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            kind = "other" if node.value is None else self._kind(node.value)
            if kind != "app" and self._names_app_class(node.annotation):
                kind = "unknown" if node.value is None else "app"
            self._bind(node.target.id, kind)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            named = node.name in APP_NAMES
            self._bind(node.name, "unknown" if named and self._takes_a_scope(node) else "other")
        elif isinstance(node, ast.ClassDef):
            self._bind(node.name, "unknown" if node.name in APP_NAMES else "other")
        elif isinstance(node, ast.For):
            self._assign(node.target, None)
        elif isinstance(node, ast.With):
            for item in node.items:
                if item.optional_vars is not None:
                    self._assign(item.optional_vars, None)
        elif isinstance(node, ast.ImportFrom):
            self._import_names(node)
        elif isinstance(node, ast.Import):
            # A module of the project may put names into this one.
            self.is_open = self.is_open or any(self._is_own(alias.name.partition(".")[0]) for alias in node.names)
        for inner in _expressions(node):
            if isinstance(inner, ast.NamedExpr):
                self._assign(inner.target, inner.value)

    def _assign(self, target: ast.expr, value: ast.expr | None) -> None:
        if isinstance(target, ast.Starred):
            target, value = target.value, None
        if isinstance(target, ast.Name):
            self._bind(target.id, "unknown" if value is None else self._kind(value))
        elif isinstance(target, ast.Tuple | ast.List):
            parts = value.elts if isinstance(value, ast.Tuple | ast.List) else []
            is_paired = len(parts) == len(target.elts)
            if any(isinstance(each, ast.Starred) for each in [*target.elts, *parts]):
                is_paired = False
            for index, element in enumerate(target.elts):
                self._assign(element, parts[index] if is_paired else None)

    def _import_names(self, node: ast.ImportFrom) -> None:
        if any(alias.name == "*" for alias in node.names):
            source = self._follow(node)
            if source is None:
                self.is_open = self.is_open or not _is_standard(node)
                return
            public = [name for name in source.bound if not name.startswith("_")]
            for name in public if source.exported is None else source.exported:
                self._take(source, name, name)
            self.is_open = self.is_open or source.is_open
            return
        for alias in node.names:
            name = alias.asname or alias.name
            if alias.name in FACTORY_NAMES and name == alias.name:
                self.imported_factories.append(name)
            no_app = _is_standard(node) or _is_class_name(alias.name) or self._is_submodule(node, alias.name)
            self._bind(name, "other" if no_app else "unknown")

    def _take(self, source: AppSource, name: str, here: str) -> None:
        """Bind ``here`` to what ``name`` is in another module."""
        if name in source.factories or name in source.imported_factories:
            self.imported_factories.append(here)
        self._bind(here, source.bound.get(name, "unknown" if source.is_open else "other"))

    def _follow_names(self, body: list[ast.stmt]) -> None:
        """Look for the app in the modules that names come from, when nothing here is named like one."""
        for node in body:
            if not isinstance(node, ast.ImportFrom) or any(alias.name == "*" for alias in node.names):
                continue
            source = self._follow(node)
            if source is None:
                continue
            for alias in node.names:
                if source.bound.get(alias.name) == "app":
                    self._bind(alias.asname or alias.name, "app")
                elif alias.name in source.makers:
                    self.makers.add(alias.asname or alias.name)
        for node in body:
            if isinstance(node, ast.Assign):
                self._note_binding(node)

    def _follow(self, node: ast.ImportFrom) -> AppSource | None:
        """Read the file of the project that ``from module import name`` executes."""
        folders = list(self.path.parents)[:_ANCESTORS_MAX]
        if node.level:
            folders = folders[node.level - 1 : node.level]
        parts = (node.module or "").split(".") if node.module else []
        for folder in folders:
            path = folder.joinpath(*parts)
            for file in (path / "__init__.py", path.with_name(path.name + ".py")):
                if (not parts and file.name != "__init__.py") or not file.is_file():
                    continue
                if file in self.followed or len(self.followed) >= _FOLLOWED_MAX:
                    return None
                try:
                    return AppSource.read(file, followed=self.followed)
                except AppLoadError:
                    return None
            if is_project(folder):
                break
        return None

    def _note_nested(self, node: ast.stmt) -> None:
        if isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, ast.Assign | ast.AnnAssign) and inner.value and self._kind(inner.value) == "app":
                    targets = inner.targets if isinstance(inner, ast.Assign) else [inner.target]
                    self.nested += [f"{node.name}.{each.id}" for each in targets if isinstance(each, ast.Name)]
        elif isinstance(node, ast.FunctionDef) and (node.name in self.makers or node.name in FACTORY_NAMES):
            required = _required(node.args)
            if required:
                self.patterns.append(f"{node.name}({', '.join(f'{name}=...' for name in required)})")
            elif node.name not in self.factories:
                self.nested.append(node.name)

    def _bind(self, name: str, kind: str) -> None:
        if name not in self.kinds:
            self.order.append(name)
        self.kinds.setdefault(name, set()).add(kind)

    def _kind(self, value: ast.expr) -> str:
        if isinstance(value, ast.Call):
            if self._is_app_class(value.func):
                return "app"
            if isinstance(value.func, ast.Name) and value.func.id in {*self.factories, *self.makers}:
                return "app"
            origin = self._origin(value.func)
            standard = origin.partition(".")[0] in sys.stdlib_module_names and "." in origin
            return "other" if standard or origin.rpartition(".")[2] in OTHER_CLASSES else "unknown"
        if isinstance(value, ast.IfExp):
            kinds = {self._kind(value.body), self._kind(value.orelse)}
            return next((kind for kind in ("app", "unknown") if kind in kinds), "other")
        if isinstance(value, ast.NamedExpr):
            return self._kind(value.value)
        if isinstance(value, ast.Name) and value.id in self.kinds:
            return _strongest(self.kinds[value.id])
        return "other" if isinstance(value, _NO_APPS) else "unknown"

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
        named = node.name in FACTORY_NAMES or self._names_app_class(node.returns)
        return named and not _required(node.args) and not any(map(self._is_route, node.decorator_list))

    def _is_maker(self, node: ast.FunctionDef) -> bool:
        inside = list(ast.walk(node))
        makes = any(isinstance(each, ast.Call) and self._is_app_class(each.func) for each in inside)
        return makes and any(isinstance(each, ast.Return) and each.value is not None for each in inside)

    def _takes_a_scope(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
        """Tell whether a function named like an app can be one: ASGI 2, WSGI and ASGI 3 take 1, 2 and 3 arguments."""
        count = len(node.args.posonlyargs) + len(node.args.args)
        takes = 1 <= count <= 3 or node.args.vararg is not None
        return takes and not any(map(self._is_route, node.decorator_list))

    def _is_route(self, decorator: ast.expr) -> bool:
        """Tell ``@app.get("/")`` from ``@functools.cache()``: the latter is called on a module."""
        if not isinstance(decorator, ast.Call) or not isinstance(decorator.func, ast.Attribute):
            return False
        return not (isinstance(decorator.func.value, ast.Name) and decorator.func.value.id in self.modules)

    def _is_own(self, module: str) -> bool:
        for folder in list(self.path.parents)[:_ANCESTORS_MAX]:
            if (folder / f"{module}.py").is_file() or (folder / module / "__init__.py").is_file():
                return True
            if is_project(folder):
                break
        return False

    def _is_submodule(self, node: ast.ImportFrom, name: str) -> bool:
        """``from . import api`` and ``from package import api`` bind a module when there is such a file."""
        parts = [*(node.module or "").split("."), name] if node.module else [name]
        folders = list(self.path.parents)[:_ANCESTORS_MAX]
        if node.level:
            folders = folders[node.level - 1 : node.level]
        return any(is_module(folder, parts) for folder in folders)


def _statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Give the statements that run when the module is imported, those under ``if``, ``try`` and ``with`` included."""
    for node in body:
        if isinstance(node, ast.If):
            yield ast.Expr(node.test)
            if not _is_main_guard(node.test):
                yield from _statements(node.body)
            yield from _statements(node.orelse)
        elif isinstance(node, ast.Try | ast.TryStar):
            yield from _statements(node.body)
            for handler in node.handlers:
                yield from _statements(handler.body)
            yield from _statements([*node.orelse, *node.finalbody])
        elif isinstance(node, ast.For | ast.While):
            yield node
            yield from _statements([*node.body, *node.orelse])
        elif isinstance(node, ast.With):
            yield node
            yield from _statements(node.body)
        elif isinstance(node, ast.Match):
            yield ast.Expr(node.subject)
            for case in node.cases:
                yield from _statements(case.body)
        else:
            yield node


def _expressions(node: ast.stmt) -> Iterator[ast.AST]:
    """Give what runs of one statement when the module is imported, without the bodies of functions and classes."""
    waiting: list[ast.AST] = [node]
    while waiting:
        each = waiting.pop()
        yield each
        own = isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda)
        # The bodies of for and with come as statements of their own.
        if not own:
            waiting += [inner for inner in ast.iter_child_nodes(each) if not isinstance(inner, ast.stmt)]


def _is_main_guard(test: ast.expr) -> bool:
    return any(isinstance(node, ast.Name) and node.id == "__name__" for node in ast.walk(test))


def _required(args: ast.arguments) -> list[str]:
    """The parameters without a default. Those before a ``/`` are named as well, in a pattern for people."""
    positional = [*args.posonlyargs, *args.args]
    needed = positional[: len(positional) - len(args.defaults)]
    needed += [each for each, default in zip(args.kwonlyargs, args.kw_defaults, strict=True) if default is None]
    return [each.arg for each in needed]


def _strongest(kinds: set[str]) -> str:
    return next(kind for kind in ("app", "unknown", "other") if kind in kinds)


def _texts(value: ast.expr) -> tuple[str, ...] | None:
    """The strings of a literal list or tuple; None when something else is in it."""
    if not isinstance(value, ast.List | ast.Tuple):
        return None
    texts = [each.value for each in value.elts if isinstance(each, ast.Constant) and isinstance(each.value, str)]
    return tuple(texts) if len(texts) == len(value.elts) else None


def _is_standard(node: ast.ImportFrom) -> bool:
    return not node.level and (node.module or "").partition(".")[0] in sys.stdlib_module_names


def _is_class_name(name: str) -> bool:
    return name[:1].isupper() and not name.isupper()


def is_module(folder: Path, parts: list[str]) -> bool:
    """Tell whether ``folder`` has the module or package that ``parts`` name."""
    path = folder.joinpath(*parts)
    return bool(parts) and (path.with_name(path.name + ".py").is_file() or path.is_dir())


def is_project(folder: Path) -> bool:
    """Tell whether a project begins at ``folder``: nothing above it is part of the same one."""
    return (folder / "pyproject.toml").is_file() or (folder / ".git").exists()


_BOUND_TO_APP = re.compile(
    rb"^(\w+)\s*(?::[^=\n]+)?=\s*(?:\w+\.)*(?:FastAPI|Starlette|Flask|Quart|Litestar)\(", re.MULTILINE
)


def _guess(data: bytes) -> tuple[str, ...]:
    """The apps of a file that does not parse: its import will show the mistake, so a likely name is good enough."""
    return tuple(dict.fromkeys(name.decode("ascii", "replace") for name in _BOUND_TO_APP.findall(data)))
