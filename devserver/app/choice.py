"""Which name of an imported module is the app, when the user named the module alone.

The source suggests a name; here the same rules are applied to the objects. So an app is found however it was bound: by
a star import, through ``globals()``, in a loop. Knows frameworks by their classes' names and imports none of them.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from devserver.app.interface import detect
from devserver.config.app_source import APP_CLASSES, APP_NAMES, FACTORY_NAMES, OTHER_CLASSES, Choice
from devserver.errors import AppLoadError


def choose(module: ModuleType, suggested: Choice | None = None, *, factory: bool = False) -> Choice | None:
    """Return the app of the module, or None when it has none.

    In this order: ``app``, whatever kind of app it is; ``api``, if it is a FastAPI; ``application``, if it is an app of
    no known framework; the FastAPI whose name sorts first, then a Starlette and so on; ``application`` or ``api`` of
    any kind; a factory. Among FastAPI objects this is what ``fastapi dev`` takes.

    :param suggested: what the source says; a factory that is found nowhere else is taken from it.
    :param factory: only something to call will do.
    """
    if not factory:
        name = _app_name(module, suggested.attribute if suggested is not None else "")
        if name is not None:
            return Choice(name, factory=False)
    if suggested is not None and suggested.factory and callable(_value(module, suggested.attribute)):
        return suggested
    found = vars(module)
    factories = [name for name in found if is_factory(name, found[name])]
    usual = [name for name in FACTORY_NAMES if name in factories]
    # Several that are told from others by their annotation alone are equally likely.
    names = usual[:1] or (factories if len(factories) == 1 else [])
    return Choice(names[0], factory=True) if names else None


def framework_of(value: Any) -> str:
    """Return the name of the well-known class that ``value`` is an instance of, or an empty string."""
    with contextlib.suppress(Exception):
        # A proxy says the class of the object behind it, or raises when there is none.
        classes = {base.__name__: base.__module__ for base in type(value).__mro__ + value.__class__.__mro__}
        return next((name for name, home in APP_CLASSES.items() if _is_of(classes.get(name, ""), home)), "")
    return ""


def _app_name(module: ModuleType, suggested: str) -> str | None:
    def holds_app(name: str) -> bool:
        value = _value(module, name)
        # A route's function may have the name of an app; the source sees its decorator.
        return is_app(value) and (name == suggested or not inspect.isfunction(value) or _most_arguments(value) > 1)

    if holds_app("app"):
        return "app"
    found: Mapping[str, Any] = vars(module)
    known: dict[str, list[str]] = {}
    for name in sorted(found):
        if framework := framework_of(found[name]):
            known.setdefault(framework, []).append(name)
    if "api" in known.get("FastAPI", ()):
        return "api"
    if holds_app("application") and not framework_of(_value(module, "application")):
        return "application"
    for framework in APP_CLASSES:
        if framework in known:
            return known[framework][0]
    return next((name for name in APP_NAMES if holds_app(name)), None)


def _value(module: ModuleType, name: str) -> Any:
    """Return a name of the module, which its ``__getattr__`` may make; None when there is none.

    Whatever else ``__getattr__`` raises passes: it is the app that fails.
    """
    return getattr(module, name, None)


def is_app(value: Any) -> bool:
    """Tell whether ``value`` can be served as it is."""
    if framework_of(value):
        return True
    if value is None or any(base.__name__ in OTHER_CLASSES for base in type(value).__mro__):
        return False
    if inspect.iscoroutinefunction(value) and _most_arguments(value) < 3:
        return False
    try:
        detect(value)
    except AppLoadError:
        return False
    return True


def is_factory(name: str, value: Any) -> bool:
    """Tell whether ``value``, bound to ``name``, makes an app without an argument, by its name or annotation."""
    if not callable(value) or inspect.isclass(value) or inspect.iscoroutinefunction(value):
        return False
    try:
        signature = inspect.signature(value)
        signature.bind()
    except (TypeError, ValueError):
        return False
    returns = signature.return_annotation
    named = returns if isinstance(returns, str) else getattr(returns, "__name__", "")
    return name in FACTORY_NAMES or named.rpartition(".")[2] in APP_CLASSES


def _most_arguments(function: Callable[..., Any]) -> float:
    parameters = inspect.signature(function).parameters.values()
    if any(each.kind is each.VAR_POSITIONAL for each in parameters):
        return float("inf")
    return sum(each.kind in {each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD} for each in parameters)


def _is_of(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")
