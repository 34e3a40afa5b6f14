"""Imports the app that a Target names and says in a sentence why it cannot.

Runs in the process that serves, before its event loop. Everything the user's code can do here (raise, leave, be
missing, be something else) comes out as one :class:`~devserver.errors.AppLoadError` with the folded exception.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import inspect
import os
import sys
from collections.abc import Callable, Container, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from devserver.app.failure import fold, is_own, sentence
from devserver.app.import_error import explain
from devserver.app.interface import WsgiOptions, adapt
from devserver.config.app_source import APP_NAMES
from devserver.config.discovery import FirstParty, project_root
from devserver.config.option import nearest
from devserver.errors import AppLoadError

if TYPE_CHECKING:
    from devserver.app.types import ASGIApp
    from devserver.config.target import Target


def load_app(
    target: Target,
    *,
    interface: str = "auto",
    wsgi: WsgiOptions | None = None,
    first_party: Container[str] | None = None,
    put_in: str = "the environment",
) -> ASGIApp:
    """The app as an ASGI 3 callable.

    :param target: what :func:`devserver.config.discovery.find_target` found.
    :param interface: ``auto``, ``asgi3``, ``asgi2`` or ``wsgi``, as ``--interface``.
    :param wsgi: how it is served if it is a WSGI app.
    :param first_party: tells the user's own files in tracebacks; made from the target when it is None.
    :param put_in: where variables that the app misses belong; see ``env_layers.home``.
    :raises AppLoadError: it cannot be imported, is not there, cannot be built, or is not an app.
    """
    if first_party is None:
        first_party = FirstParty(project_root(target, Path.cwd()))
    name = f'"{target.import_string}"' if target.app is None else f"The app ({target.import_string})"
    try:
        if target.app is not None:
            app = _build(target, name, target.app, first_party)
        else:
            put_on_path(target)
            with _lasting():
                module = _import(target, name, first_party)
                app = _build(target, name, _attribute(target, name, module, first_party), first_party)
    except AppLoadError as exc:
        # Not at the top: apps that start should not wait for what explains those that do not.
        from devserver.app.settings_error import explain_settings

        cause, failure = exc.__cause__, exc.failure
        explained = None if cause is None or failure is None else explain_settings(cause, failure, put_in)
        if explained is None:
            raise
        raise AppLoadError(explained.message, hint=explained.hint, failure=explained.failure) from cause
    if isinstance(app, ModuleType):
        raise AppLoadError(f"{name} is a module, not an app.", hint=_inside(target, app))
    return adapt(app, interface, name=name, wsgi=wsgi)[0]


@contextlib.contextmanager
def _lasting() -> Iterator[None]:
    """What is made meanwhile lives as long as the process.

    So looking for garbage in it is a waste, a twentieth of the import's time, and later full collections need not walk
    it while requests wait.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        if collects:
            gc.enable()


def put_on_path(target: Target) -> None:
    """Puts the target's search path first on ``sys.path``, where ``python file.py`` would have it."""
    folder = os.path.abspath(target.search_path or os.getcwd())
    if not sys.path or sys.path[0] != folder:
        sys.path.insert(0, folder)


def _import(target: Target, name: str, first_party: Container[str]) -> ModuleType:
    try:
        module = importlib.import_module(target.module)
    except KeyboardInterrupt:
        raise
    except BaseException as exc:
        if isinstance(exc, ModuleNotFoundError) and exc.name and _is_missing_itself(target, exc):
            raise _no_module(target, name, exc.name) from None
        failure = fold(exc, first_party, during="import")
        message, hint = explain(exc, failure, name)
        raise AppLoadError(message, hint=hint, failure=failure) from exc
    file = getattr(module, "__file__", None)
    if target.path is not None and file and os.path.realpath(file) != os.path.realpath(target.path):
        raise AppLoadError(
            f'Could not import "{target.import_string}": the name "{target.module}" belongs to {file}, '
            f"which hides {target.path}.",
            hint="Rename your file.",
        )
    return module


def _is_missing_itself(target: Target, exc: ModuleNotFoundError) -> bool:
    """Whether the target's module is missing, and not one that the user's code imports under the same name."""
    tb = exc.__traceback__
    while tb is not None:
        if not is_own(tb.tb_frame.f_code.co_filename):
            return False
        tb = tb.tb_next
    return target.module == exc.name or target.module.startswith(f"{exc.name}.")


def _no_module(target: Target, name: str, missing: str) -> AppLoadError:
    folder = os.path.abspath(target.search_path or os.getcwd())
    parent, _, last = missing.rpartition(".")
    where = Path(folder, *parent.split(".")) if parent else Path(folder)
    near = nearest(last, _modules_in(where))
    message = f'Could not import {name}: no module "{missing}" in {folder}'
    if near:
        found = f"{parent}.{near}" if parent else near
        rest = target.module[len(missing) :]
        attribute = f":{target.attribute}" if target.attribute else ""
        return AppLoadError(f'{message}; did you mean "{found}{rest}{attribute}"?')
    hint = "Give the path of its file, or name its folder with --app-dir." if not parent else ""
    return AppLoadError(f"{message}.", hint=hint)


def _modules_in(folder: Path) -> list[str]:
    try:
        entries = list(folder.iterdir())
    except OSError:
        return []
    files = [entry.stem for entry in entries if entry.suffix == ".py" and entry.stem != "__init__"]
    return sorted(files + [entry.name for entry in entries if entry.name.isidentifier() and entry.is_dir()])


def _attribute(target: Target, name: str, module: ModuleType, first_party: Container[str]) -> Any:
    value: Any = module
    if not target.attribute:
        for candidate in APP_NAMES:
            if callable(getattr(module, candidate, None)):
                return getattr(module, candidate)
        raise AppLoadError(f"{name} names no app: the module has none of {', '.join(APP_NAMES)}.")
    for part in target.attribute.split("."):
        try:
            value = getattr(value, part)
        except AttributeError as exc:
            # A property may fail with AttributeError for a reason of its own; a module's __getattr__ says "missing" so.
            if value is not module and exc.__traceback__ is not None and exc.__traceback__.tb_next is not None:
                raise _raised(exc, f"Reading {name}", first_party) from exc
            raise AppLoadError(_no_attribute(target, name, module, value, part)) from None
        except Exception as exc:
            raise _raised(exc, f"Reading {name}", first_party) from exc
    return value


def _no_attribute(target: Target, name: str, module: ModuleType, value: Any, part: str) -> str:
    if value is module:
        where, names = f'module "{target.module}"', _public(vars(module))
    else:
        where, names = f"{type(value).__name__} object", _public(dir(value))
    near = nearest(part, names)
    if not near and value is module:
        near = next((candidate for candidate in APP_NAMES if candidate in names), "") or _asgi_name(module)
    suggestion = ""
    if near:
        parts = target.attribute.split(".")
        parts[parts.index(part)] = near
        suggestion = f'; did you mean "{target.module}:{".".join(parts)}"?'
    return f'Could not load {name}: {where} has no attribute "{part}"{suggestion or "."}'


def _public(names: Iterable[str]) -> list[str]:
    return [name for name in names if not name.startswith("_")]


def _asgi_name(module: ModuleType) -> str:
    """An object of the module that is built like the apps of the well-known frameworks: callable, with a router."""
    names = (name for name in _public(vars(module)) if hasattr(type(vars(module)[name]), "build_middleware_stack"))
    return next(names, "")


def _build(target: Target, name: str, app: Any, first_party: Container[str]) -> Any:
    """Calls a factory: the arguments of the call syntax, ``--factory``, or a function that can take no scope."""
    args, kwargs = target.call or ((), {})
    if target.call is None and not target.factory and not _is_plain_factory(app):
        return app
    called = name if target.call is not None else f"{name[:-1]}()" + name[-1:]
    if not callable(app):
        raise AppLoadError(f"{name} is {_described(app)}: it cannot be called.")
    try:
        signature = inspect.signature(app)
    except (ValueError, TypeError):
        pass
    else:
        try:
            signature.bind(*args, **kwargs)
        except TypeError as exc:
            raise _wrong_arguments(target, name, app, exc) from None
    app = _call(app, args, kwargs, called, first_party)
    if inspect.iscoroutine(app):
        app.close()
        raise AppLoadError(
            f"{name} is an async function: a factory must return the app without being awaited.",
            hint='Make it a plain "def" and move what it awaits into the lifespan.',
        )
    if not callable(app):
        raise AppLoadError(f"{called} returned {_described(app)}, not an app.")
    return app


def _call(
    factory: Callable[..., Any], args: tuple[object, ...], kwargs: dict[str, object], called: str, own: Container[str]
) -> Any:
    try:
        return factory(*args, **kwargs)
    except (KeyboardInterrupt, AppLoadError):
        raise
    except BaseException as exc:
        raise _raised(exc, f"Calling {called}", own) from exc


def _raised(exc: BaseException, action: str, first_party: Container[str]) -> AppLoadError:
    failure = fold(exc, first_party, during="import")
    return AppLoadError(f"{action} raised {sentence(failure)}", failure=failure)


def _is_plain_factory(app: Any) -> bool:
    """A function without parameters cannot be an app of any interface: it is a factory that nobody announced."""
    if not inspect.isfunction(app) or inspect.iscoroutinefunction(app):
        return False
    return not inspect.signature(app).parameters


def _wrong_arguments(target: Target, name: str, app: Any, exc: TypeError) -> AppLoadError:
    if target.call is None and not inspect.isroutine(app) and not inspect.isclass(app):
        return AppLoadError(
            f"{name} is an app already ({type(app).__name__}), not a factory.", hint="Leave out --factory."
        )
    if target.call is None:
        return AppLoadError(
            f"The factory {name} needs arguments: {exc}.",
            hint=f"Write the call, with literal arguments: 'dev run {target.import_string}(...)'.",
        )
    return AppLoadError(f"The arguments of {name} do not fit: {exc}.")


def _described(value: Any) -> str:
    if value is None:
        return "None"
    noun = type(value).__name__
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"


def _inside(target: Target, module: ModuleType) -> str:
    for name in APP_NAMES:
        if callable(getattr(module, name, None)):
            return f'Did you mean "{module.__name__}:{name}"?'
    return f'Name what is inside it: "{target.module}.{target.attribute}:app".'
