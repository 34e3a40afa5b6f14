"""Imports the app that a Target names and says in a sentence why it cannot.

Runs in the process that serves, before its event loop. Everything the user's code can do here (raise, leave, be
missing, be something else) comes out as one :class:`~devserver.errors.AppLoadError` with the folded exception.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import importlib
import inspect
import os
import shlex
import sys
from collections.abc import Callable, Container, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from devserver.app.choice import choose, is_app, is_factory
from devserver.app.failure import fold, is_own, sentence
from devserver.app.import_error import explain
from devserver.app.interface import WsgiOptions, adapt
from devserver.config.app_source import APP_NAMES, FACTORY_NAMES, AppSource, Choice
from devserver.config.discovery import FirstParty, deeper_apps, name_it, project_root
from devserver.config.import_name import SERVER_MODULES, import_name
from devserver.config.option import nearest
from devserver.config.target import find_module_file, typed
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
                if target.guessed or not target.attribute:
                    target = _chosen(target, name, module, first_party)
                    name = f'"{target.import_string}"'
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
    """Put the target's search path first on ``sys.path``, where ``python file.py`` would have it.

    A file of the user may have the name of a module that the server has yet to import, such as ``random.py``. Such
    modules are imported first, so that the server and the libraries get theirs.
    """
    folder = os.path.abspath(target.search_path or os.getcwd())
    if sys.path and sys.path[0] == folder:
        return
    for name in sorted(SERVER_MODULES.intersection(_modules_in(Path(folder)))):
        # A library that is not installed cannot be hidden by a file.
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
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
        if isinstance(exc, ImportError) and target.path is not None and target.path.suffix == ".py":
            hint = _other_name(target) or hint
        raise AppLoadError(message, hint=hint, failure=failure) from exc
    file = getattr(module, "__file__", None)
    if target.path is not None and file and os.path.realpath(file) != os.path.realpath(target.path):
        raise _hidden(target, name, target.module, file)
    return module


def _hidden(target: Target, name: str, taken: str, owner: str) -> AppLoadError:
    """Say that Python means another file by the name of the user's, and what to do about it.

    :param taken: the part of the target's module that names something else.
    :param owner: the file that it names.
    """
    path = target.path
    if path is None:
        return AppLoadError(f'Could not import {name}: the name "{taken}" belongs to {owner}.')
    what, hint = path, f"Rename {path.name}."
    if taken.count(".") + 1 < len(target.module.split(".")) or path.name == "__init__.py":
        what = Path(target.search_path or os.getcwd(), *taken.split("."))
        hint = _other_name(target) or f"Rename the folder {what.name}."
    return AppLoadError(
        f'Could not import {name}: the name "{taken}" belongs to {owner}, which hides {what}.', hint=hint
    )


def _other_name(target: Target) -> str:
    """Suggest the path of the target's file, if the file has another module name than the one that failed."""
    if target.path is None:
        return ""
    try:
        if import_name(AppSource.read(target.path))[0] == target.module:
            return ""
    except AppLoadError:
        return ""
    return f"Give the path of its file: {shlex.quote(typed(target.path, target.typed_in))}"


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
    owner = getattr(sys.modules.get(parent), "__file__", None) or ""
    where = Path(folder, *parent.split(".")) if parent else Path(folder)
    own = find_module_file(target.module, [folder])
    if owner and own is not None and not Path(owner).is_relative_to(where):
        return _hidden(dataclasses.replace(target, path=own), name, parent, owner)
    message = f'Could not import {name}: no module "{missing}" in {folder}'
    near = nearest(last, [module for module in _modules_in(where) if module != last])
    if near:
        found = (f"{parent}.{near}" if parent else near) + target.module[len(missing) :]
        suggestion = _suggested(target, found, folder)
        if suggestion:
            return AppLoadError(f'{message}; did you mean "{suggestion}"?')
    if parent:
        # "main.app" is often meant to be "main:app".
        module = sys.modules.get(parent)
        is_meant = missing == target.module and not target.attribute and module is not None
        if module is not None and is_meant and _is_servable(module, last):
            meant = dataclasses.replace(target, module=parent, path=Path(owner) if owner else None)
            return AppLoadError(f'{message}; did you mean "{meant.argument(last)}"?')
        return AppLoadError(f"{message}.")
    deeper = [shlex.quote(typed(path, target.typed_in)) for path in deeper_apps(Path(folder))]
    hint = "Give the path of its file, or name its folder with --app-dir."
    return AppLoadError(f"{message}.", hint=f"Give the path of its file: {' or '.join(deeper)}" if deeper else hint)


def _suggested(target: Target, module: str, folder: str) -> str:
    """The APP argument for another module of the same folder, or an empty string when that has no app."""
    path = find_module_file(module, [folder])
    if path is None or path.suffix != ".py":
        return ""
    source = AppSource.read(path)
    attribute = target.attribute
    if attribute and attribute.partition(".")[0] not in source.bound and not source.is_open:
        choice = source.choose()
        if choice is None:
            return ""
        attribute = choice.attribute
    found = dataclasses.replace(target, module=module, path=path, attribute=attribute)
    return found.argument(attribute) if attribute else found.import_string


def _modules_in(folder: Path) -> list[str]:
    try:
        entries = list(folder.iterdir())
    except OSError:
        return []
    files = [entry.stem for entry in entries if entry.suffix == ".py" and entry.stem != "__init__"]
    return sorted(files + [entry.name for entry in entries if entry.name.isidentifier() and entry.is_dir()])


def _chosen(target: Target, name: str, module: ModuleType, first_party: Container[str]) -> Target:
    """Return the target with the app that the imported module has.

    What the source suggests is kept when the module has no app at all: the message about it says why it is none.
    """
    suggested = Choice(target.attribute, target.factory) if target.attribute else None
    try:
        choice = choose(module, suggested, factory=target.factory and not target.attribute)
    except Exception as exc:
        raise _raised(exc, f"Reading {name}", first_party) from exc
    if choice is not None:
        return dataclasses.replace(target, attribute=choice.attribute, factory=choice.factory, guessed=False)
    if suggested is not None and hasattr(module, suggested.attribute):
        return target
    what = "function that makes an app" if target.factory else "app"
    file = target.path or getattr(module, "__file__", None) or target.module
    raise AppLoadError(
        f"No {what} found in {file}: its import leaves no {', '.join(APP_NAMES)}, FastAPI object or factory.",
        hint=name_it(_source(target), target),
    )


def _source(target: Target) -> AppSource | None:
    return AppSource.read(target.path) if target.path is not None and target.path.suffix == ".py" else None


def _attribute(target: Target, name: str, module: ModuleType, first_party: Container[str]) -> Any:
    value: Any = module
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
    parts = target.attribute.split(".")
    index = parts.index(part)
    near = nearest(part, names)
    found = ".".join([*parts[:index], near, *parts[index + 1 :]]) if near else ""
    if not found or not _is_servable(module, found):
        choice = choose(module)
        found = choice.attribute if choice is not None else ""
    suggestion = f'; did you mean "{target.argument(found)}"?' if found else "."
    return f'Could not load {name}: {where} has no attribute "{part}"{suggestion}'


def _is_servable(module: ModuleType, attribute: str) -> bool:
    value: Any = module
    try:
        for part in attribute.split("."):
            value = getattr(value, part)
    except Exception:
        # A property that raises is nothing that a hint should name.
        return False
    return is_app(value) or is_factory(attribute, value)


def _public(names: Iterable[str]) -> list[str]:
    return [name for name in names if not name.startswith("_")]


def _build(target: Target, name: str, app: Any, first_party: Container[str]) -> Any:
    """Calls a factory: the arguments of the call syntax, ``--factory``, or a function that can take no scope."""
    args, kwargs = target.call or ((), {})
    if (
        target.call is None
        and not target.factory
        and not _is_plain_factory(app)
        and not _is_called_factory(target, app)
    ):
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


def _is_called_factory(target: Target, app: Any) -> bool:
    """Tell a factory that needs arguments from an app: by its name, since ASGI 2 apps take one argument as well."""
    usual = target.attribute.rpartition(".")[2] in FACTORY_NAMES
    return usual and inspect.isfunction(app) and not inspect.iscoroutinefunction(app)


def _wrong_arguments(target: Target, name: str, app: Any, exc: TypeError) -> AppLoadError:
    if target.call is None and not inspect.isroutine(app) and not inspect.isclass(app):
        return AppLoadError(
            f"{name} is an app already ({type(app).__name__}), not a factory.", hint="Leave out --factory."
        )
    if target.call is None:
        return AppLoadError(
            f"The factory {name} needs arguments: {exc}.",
            hint=f"Write the call, with a literal for each argument: {_call_pattern(target, app)}",
        )
    return AppLoadError(f"The arguments of {name} do not fit: {exc}.")


def _call_pattern(target: Target, factory: Any) -> str:
    """The call as a pattern: ``create_app(settings=..., debug=...)`` with the arguments that have no default."""
    needed = [each for each in inspect.signature(factory).parameters.values() if each.default is each.empty]
    named = [each for each in needed if each.kind not in {each.VAR_POSITIONAL, each.VAR_KEYWORD}]
    words = ("..." if each.kind is each.POSITIONAL_ONLY else f"{each.name}=..." for each in named)
    return shlex.quote(target.argument(f"{target.attribute}({', '.join(words)})"))


def _described(value: Any) -> str:
    if value is None:
        return "None"
    noun = type(value).__name__
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"


def _inside(target: Target, module: ModuleType) -> str:
    choice = choose(module)
    file = getattr(module, "__file__", None)
    if choice is None or file is None:
        return f"{module.__name__} holds no app either: name the module or file that does."
    found = dataclasses.replace(target, module=module.__name__, path=Path(file))
    return f'Did you mean "{found.argument(choice.attribute)}"?'
