"""Settings and hooks that are written in Python: the file of ``dev prod --config``.

Its global names are options (``workers = 4``) and hooks (``def when_ready(server): ...``); everything else in it is the
file's own business. It is run, as anything that can compute a setting must be; nothing else of the user's is.
"""

from __future__ import annotations

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
    import importlib.util  # not at the top: few write it so

    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.has_location or spec.origin is None:
        raise ConfigError(f"--config: there is no module {module} in Python.", hint="Name the file instead.")
    return Path(spec.origin)


def run(path: Path) -> dict[str, Any]:
    """The global names of the file after it has run.

    :raises ConfigError: it cannot be read, is not Python, or raises.
    """
    try:
        source = path.read_bytes()
    except OSError as exc:
        raise ConfigError(f"--config: cannot read {path} ({exc.strerror}).") from exc
    names: dict[str, Any] = {"__file__": str(path), "__name__": "__config__", "__builtins__": __builtins__}
    try:
        exec(compile(source, str(path), "exec"), names)
    except SyntaxError as exc:
        raise ConfigError(f"--config: {path}, line {exc.lineno}: {exc.msg}.") from exc
    except Exception as exc:
        lines = [frame.lineno for frame in traceback.extract_tb(exc.__traceback__) if frame.filename == str(path)]
        where = f", line {lines[-1]}" if lines else ""
        raise ConfigError(f"--config: {path}{where}: {type(exc).__name__}: {exc}.") from exc
    return {
        name: value
        for name, value in names.items()
        if not name.startswith("_") and not isinstance(value, (ModuleType, type))
    }


def hooks(names: Mapping[str, Any], path: Path) -> dict[str, Hook]:
    """The hooks among them.

    :raises ConfigError: one cannot be called, or not with what it is called with.
    """
    import inspect  # not at the top: few have a file

    found: dict[str, Hook] = {}
    for name, count in HOOKS.items():
        hook = names.get(name)
        if hook is None:
            continue
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
