"""Settings and hooks that are written in Python: the file of ``dev prod --config``.

Its global names are options (``workers = 4``) and hooks (``def when_ready(server): ...``); everything else in it is the
file's own business. It is run, as anything that can compute a setting must be; nothing else of the user's is.

It runs as under gunicorn: as a module named ``__config__`` that is in ``sys.modules``, with the project's folder on
``sys.path``, so that dataclasses in it and imports of the project's own modules work.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

from devserver.errors import ConfigError

Hook: TypeAlias = Callable[..., object]

HOOKS: Mapping[str, int] = {
    "on_starting": 1,
    "when_ready": 1,
    "on_reload": 1,
    "pre_fork": 2,
    "post_fork": 2,
    "post_worker_init": 1,
    "worker_exit": 2,
    "child_exit": 2,
    "nworkers_changed": 3,
    "on_exit": 1,
}
"""Hook → how many arguments it is called with; names and arguments are gunicorn's."""


def locate(directory: Path, text: str) -> Path:
    """Finds the file that ``--config`` names: a path, or ``file:PATH`` or ``python:MODULE`` as gunicorn writes them.

    :param directory: where paths start, and modules are looked for first.
    :raises ConfigError: there is no such module.
    """
    prefix, _, rest = text.partition(":")
    if prefix == "python" and rest:
        own = directory.joinpath(*rest.split("."))
        for path in (own.with_suffix(".py"), own / "__init__.py"):
            if path.is_file():
                return path
        return _installed(rest)
    return directory / (rest if prefix == "file" else text)


def _installed(module: str) -> Path:
    import importlib.util  # not at the top: few name a module

    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.has_location or spec.origin is None:
        raise ConfigError(f"--config: there is no module {module} in Python.", hint="Name the file instead.")
    return Path(spec.origin)


def run(path: Path, directory: Path | None = None) -> dict[str, Any]:
    """Runs the file and returns its global names.

    Modules of the project that an earlier run imported are imported again, since they may have been edited.

    :param directory: the project's folder, to import from; not when left out.
    :raises ConfigError: it cannot be read, is not Python, or raises.
    """
    try:
        source = path.read_bytes()
    except OSError as exc:
        raise ConfigError(f"--config: cannot read {path} ({exc.strerror}).") from exc
    module = ModuleType(MODULE)
    module.__file__ = str(path)
    for name in _imported:
        sys.modules.pop(name, None)
    _imported.clear()
    sys.modules[MODULE] = module
    if directory is not None and str(directory) not in sys.path:
        sys.path.insert(0, str(directory))
    before = {*sys.modules}
    try:
        exec(compile(source, str(path), "exec"), vars(module))
    except SyntaxError as exc:
        raise ConfigError(f"--config: {path}, line {exc.lineno}: {exc.msg}.") from exc
    except Exception as exc:
        lines = [frame.lineno for frame in traceback.extract_tb(exc.__traceback__) if frame.filename == str(path)]
        where = f", line {lines[-1]}" if lines else ""
        raise ConfigError(f"--config: {path}{where}: {type(exc).__name__}: {exc}.") from exc
    finally:
        if directory is not None:
            _imported.update(name for name in {*sys.modules} - before if _is_in(sys.modules[name], directory))
    return {name: value for name, value in vars(module).items() if not name.startswith("_") and not _is_module(value)}


MODULE = "__config__"
"""Name of the file's module, which is gunicorn's."""
_imported: set[str] = set()
"""Modules of the project that the last run imported."""


def _is_module(value: object) -> bool:
    return isinstance(value, ModuleType)


def _is_in(module: ModuleType, directory: Path) -> bool:
    """Says whether a module is a file of the project, and not one that is installed inside it."""
    file = getattr(module, "__file__", None)
    if not isinstance(file, str) or not Path(file).is_relative_to(directory):
        return False
    return not {"site-packages", "dist-packages"} & {*Path(file).parts}


def hooks(names: Mapping[str, Any], path: Path) -> dict[str, Hook]:
    """Picks the hooks; one may be named by its import string, such as ``"shop.hooks.when_ready"``.

    :raises ConfigError: one cannot be imported or called, or not with what it is called with.
    """
    import inspect  # not at the top: few have a file

    found: dict[str, Hook] = {}
    for name, count in HOOKS.items():
        hook = names.get(name)
        if hook is None:
            continue
        if isinstance(hook, str):
            hook = _import_hook(name, hook, path)
        if not callable(hook):
            raise ConfigError(f"--config: {path}: {name} is not a function.")
        try:
            inspect.signature(hook).bind(*[None] * count)
        except TypeError:
            arguments = {1: "one argument", 2: "two arguments", 3: "three arguments"}[count]
            raise ConfigError(f"--config: {path}: {name} is called with {arguments}, which it does not take.") from None
        except ValueError:
            # Something in C that does not say.
            pass
        found[name] = hook
    return found


def _import_hook(name: str, text: str, path: Path) -> Any:
    module, _, attribute = text.rpartition(".")
    try:
        return getattr(importlib.import_module(module), attribute)
    except Exception as exc:
        raise ConfigError(
            f"--config: {path}: {name}: {text!r} cannot be imported ({type(exc).__name__}: {exc})."
        ) from None
