"""The app that is to be served, as plain data that crosses a process boundary.

Knows the forms of the APP argument; must not know the settings, and never imports what it names. Reading a form is
pure except for looking at the file or the folders that it mentions.
"""

from __future__ import annotations

import ast
import importlib.machinery
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from devserver.config.app_source import AppSource
from devserver.config.import_name import import_name
from devserver.config.option import nearest
from devserver.errors import AppLoadError, ConfigError

Call: TypeAlias = tuple[tuple[object, ...], dict[str, object]]

_FORMS = 'Write "module:attribute" or "path/to/file.py:attribute".'


@dataclass(frozen=True)
class Target:
    """What to serve. Made by :func:`devserver.config.discovery.find_target`; given to
    :func:`devserver.app.load.load_app` in the process that serves.
    """

    app: object | None = None
    """The object itself, when the calling program gave one; then the rest says only how to name it."""
    module: str = ""
    attribute: str = ""
    """Dotted path inside the module; empty while it is not known."""
    call: Call | None = None
    """Arguments of ``module:factory(1, key="value")``."""
    factory: bool = False
    """The attribute is called without arguments to get the app."""
    guessed: bool = False
    """The user did not say the attribute. It is what the source suggests; the imported module has the last word."""
    search_path: str = ""
    """Put first on ``sys.path``; empty means the working directory."""
    path: Path | None = None
    """The module's file, when it is known."""
    found: str = ""
    """How it was found, in words for a banner."""
    typed_in: str = ""
    """The folder in which the user has typed the command; empty if that is not known, as after ``--chdir``."""

    @property
    def import_string(self) -> str:
        """``module:attribute`` as a person would type it, or the type of the object."""
        if self.app is not None:
            named = self.app if hasattr(self.app, "__qualname__") else type(self.app)
            return f"{getattr(named, '__module__', '?')}.{getattr(named, '__qualname__', '?')}"
        text = f"{self.module}:{self.attribute}" if self.attribute else self.module
        if self.call is not None:
            args, kwargs = self.call
            parts = [repr(arg) for arg in args] + [f"{key}={value!r}" for key, value in kwargs.items()]
            text += f"({', '.join(parts)})"
        return text

    def argument(self, attribute: str) -> str:
        """Return the APP argument that names ``attribute`` of this module, for a hint.

        That is ``module:attribute`` where imports start from the folder in which the user types, else the file's path.
        """
        if self.path is None or (self.typed_in and os.path.abspath(self.search_path) == self.typed_in):
            return f"{self.module}:{attribute}"
        return f"{typed(self.path, self.typed_in)}:{attribute}"

    @classmethod
    def parse(cls, text: str, *, directory: Path, app_dir: str | None = None, factory: bool = False) -> Target:
        """Reads ``module``, ``module:attr.attr``, ``module:factory(1, k="v")`` or ``path/to/file.py[:attr]``.

        :param directory: what relative paths start from.
        :param app_dir: ``--app-dir``, or None.
        :param factory: ``--factory``; says nothing new beside call syntax.
        :raises ConfigError: the text has none of these forms.
        :raises AppLoadError: the file that it names does not exist.
        """
        location, expression = _split(text.strip())
        attribute, call = _read_expression(text, expression) if expression is not None else ("", None)
        module, search_path, path = (
            _locate_file(location, directory, app_dir)
            if _is_path(location)
            else _locate_module(text, location, directory, app_dir)
        )
        return cls(
            module=module,
            attribute=attribute,
            call=call,
            factory=factory and call is None,
            search_path=str(search_path),
            path=path,
        )


def typed(path: Path, folder: str) -> str:
    """Return the path as it is typed in ``folder``; absolute if that is empty."""
    return os.path.relpath(path, folder) if folder else str(path)


def find_module_file(module: str, search: Sequence[str]) -> Path | None:
    """The file that ``import module`` would execute, found without executing the packages above it.

    :param search: folders, in the order of ``sys.path``.
    """
    locations: Sequence[str] = search
    origin: str | None = None
    for part in module.split("."):
        origin, locations = _find_module(part, locations)
    return Path(origin) if origin else None


# In the order of the import system: an extension module hides a source file of its name.
_LOADERS = (
    (importlib.machinery.ExtensionFileLoader, importlib.machinery.EXTENSION_SUFFIXES),
    (importlib.machinery.SourceFileLoader, importlib.machinery.SOURCE_SUFFIXES),
    (importlib.machinery.SourcelessFileLoader, importlib.machinery.BYTECODE_SUFFIXES),
)


def _find_module(name: str, locations: Sequence[str]) -> tuple[str | None, Sequence[str]]:
    """The file of one module and the folders of its submodules; a namespace package has only the latter."""
    portions: list[str] = []
    for folder in locations:
        spec = importlib.machinery.FileFinder(folder or ".", *_LOADERS).find_spec(name)
        if spec is None:
            continue
        if spec.loader is not None:
            return spec.origin, spec.submodule_search_locations or ()
        portions += spec.submodule_search_locations or ()
    return None, portions


def _split(text: str) -> tuple[str, str | None]:
    """Cuts at the colon that ends the location; a drive letter's is not one, nor those inside a call."""
    head, parenthesis, _ = text.partition("(")
    cut = head.rfind(":")
    if cut < 0 or (cut == 1 and head[2:3] in {"\\", "/"}):
        if parenthesis:
            raise ConfigError(f'"{text}" does not name an app: a call needs a module before it.', hint=_FORMS)
        return text, None
    return text[:cut], text[cut + 1 :]


def _is_path(location: str) -> bool:
    return location.endswith(".py") or "/" in location or os.sep in location


def _read_expression(text: str, expression: str) -> tuple[str, Call | None]:
    try:
        node = ast.parse(expression.strip(), mode="eval").body
    except (SyntaxError, ValueError) as exc:
        raise ConfigError(
            f'"{text}" does not name an app: {expression!r} is not a name or a call.', hint=_FORMS
        ) from exc
    call: Call | None = None
    if isinstance(node, ast.Call):
        call = _literals(text, node)
        node = node.func
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        raise ConfigError(f'"{text}" does not name an app: {expression!r} is not a name or a call.', hint=_FORMS)
    return ".".join([node.id, *reversed(parts)]), call


def _literals(text: str, node: ast.Call) -> Call:
    try:
        args = tuple(ast.literal_eval(arg) for arg in node.args)
        kwargs = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in node.keywords}
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        args, kwargs = (), {"None": None}
    if any(keyword.arg is None for keyword in node.keywords) or "None" in kwargs:
        raise ConfigError(
            f'The arguments in "{text}" must be literals: numbers, strings, lists, dicts, True, False or None.'
        )
    return args, kwargs


def _locate_file(location: str, directory: Path, app_dir: str | None) -> tuple[str, Path, Path]:
    path = Path(os.path.abspath(directory / Path(location).expanduser()))
    if not path.is_file():
        raise AppLoadError(f"There is no file {path}.", hint=_file_hint(location, path))
    if path.suffix != ".py":
        raise ConfigError(f"{path} is not a Python file.", hint=_FORMS)
    if app_dir:
        base = Path(os.path.abspath(directory / app_dir))
        if path.is_relative_to(base):
            names = list(path.relative_to(base).with_suffix("").parts)
            return ".".join(names[:-1] if names[-1] == "__init__" and names[1:] else names), base, path
    module, base = import_name(AppSource.read(path))
    return module, base, path


def _file_hint(location: str, path: Path) -> str:
    """Suggest a file that is there: the same with its suffix, or one of the folder that is spelled nearly so."""
    with_suffix = path.with_name(path.name + ".py")
    if with_suffix.is_file():
        return f'Did you mean "{location}.py"?'
    parent = path.parent.with_name(f"{path.parent.name}.py")
    if parent.is_file() and path.name.isidentifier():
        return f'Did you mean "{os.path.dirname(location)}.py:{path.name}"?'
    try:
        there = [entry.stem for entry in path.parent.iterdir() if entry.suffix == ".py"]
    except OSError:
        return ""
    near = nearest(path.stem, there)
    return f'Did you mean "{os.path.join(os.path.dirname(location), near)}.py"?' if near else ""


def _locate_module(text: str, module: str, directory: Path, app_dir: str | None) -> tuple[str, Path, Path | None]:
    if not all(module.split(".")) or any(character.isspace() for character in module):
        raise ConfigError(f'"{text}" does not name an app: "{module}" is not a module.', hint=_FORMS)
    base = Path(os.path.abspath(directory / (app_dir or "")))
    path = find_module_file(module, [str(base), *sys.path])
    if path is None and not app_dir:
        # The src layout, not installed: nothing else in the environment answers to that name.
        path = find_module_file(module, [str(base / "src")])
        if path is not None:
            return module, base / "src", path
    return module, base, path
