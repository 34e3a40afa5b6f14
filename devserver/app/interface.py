"""Which of the calling conventions an object has: ASGI 3, ASGI 2 or WSGI.

Decided by looking at the signature, never by calling. Knows nothing of import strings: ``load`` passes the name that
its messages use.
"""

from __future__ import annotations

import functools
import inspect
import types
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from devserver.app.asgi2 import Asgi2
from devserver.errors import AppLoadError

if TYPE_CHECKING:
    from devserver.app.types import ASGIApp
    from devserver.config import Config


@dataclass(frozen=True, slots=True)
class WsgiOptions:
    """What the settings say about WSGI apps; see :class:`devserver.app.wsgi.Wsgi`."""

    threads: int = 8
    stream_input: bool = False
    multiprocess: bool = False

    @classmethod
    def of(cls, config: Config) -> WsgiOptions:
        """Those of ``config``."""
        return cls(config.threads, config.wsgi_stream_input, (config.workers or 1) > 1)


def adapt(
    app: Any, interface: str = "auto", *, name: str = "The app", wsgi: WsgiOptions | None = None
) -> tuple[ASGIApp, str]:
    """The app as an ASGI 3 callable, and the interface that it has itself.

    :param app: any callable.
    :param interface: ``auto``, ``asgi3``, ``asgi2`` or ``wsgi``, as ``--interface``.
    :param name: the app in messages, such as ``"main:app"`` with its quotes.
    :param wsgi: how it is served if it is a WSGI app.
    :raises AppLoadError: it is nothing that can be called with a scope or an environ.
    """
    kind = detect(app, name=name) if interface == "auto" else interface
    if kind == "wsgi":
        # Imported when it is needed: most apps are not.
        from devserver.app.wsgi import Wsgi

        options = wsgi or WsgiOptions()
        served = Wsgi(
            app, threads=options.threads, stream_input=options.stream_input, multiprocess=options.multiprocess
        )
        return served, kind
    return (Asgi2(app), kind) if kind == "asgi2" else (cast("ASGIApp", app), kind)


def detect(app: Any, *, name: str = "The app") -> str:
    """``asgi3``, ``asgi2`` or ``wsgi``.

    :raises AppLoadError: the object cannot be called, or takes arguments that fit none of the three.
    """
    if isinstance(app, types.ModuleType):
        raise AppLoadError(f"{name} is a module, not an app.")
    if not callable(app):
        raise AppLoadError(f"{name} is not an app but {_article(type(app).__name__)}: it cannot be called.")
    if inspect.isclass(app):
        return _detect_class(app, name)
    call = _call_of(app)
    if inspect.iscoroutinefunction(call):
        return "asgi3"
    parameters = _positional(app)
    if parameters is None:
        return "asgi3"
    names, required, most = parameters
    if most >= 3 >= required:
        return "wsgi" if required == 2 and _is_wsgi(names) else "asgi3"
    if most == 2 and required == 2:
        return "wsgi"
    if required <= 1 <= most:
        return "asgi2"
    raise AppLoadError(
        f"{name} is not an app: {_type_name(app)} takes {_count(required, 'argument')}, an ASGI app takes "
        "scope, receive and send."
    )


def _detect_class(app: type, name: str) -> str:
    if hasattr(app, "__await__"):
        return "asgi3"
    parameters = _positional(app)
    if parameters is None:
        return "asgi2"
    names, required, most = parameters
    if required == 2 and _is_wsgi(names):
        return "wsgi"
    if required <= 1 <= most and not _has_asgi3_call(app):
        return "asgi2"
    has_call = any("__call__" in vars(base) for base in app.__mro__)
    raise AppLoadError(
        f"{name} is the class {app.__name__}, not an app made from it.",
        hint="Use --factory to call it." if has_call else "",
    )


def _has_asgi3_call(app: type) -> bool:
    """A class whose instances take scope, receive and send is a factory, whatever its constructor takes."""
    call = inspect.getattr_static(app, "__call__", None)
    if not inspect.isfunction(call):
        return False
    parameters = _positional(call)
    return parameters is not None and parameters[1] == 4


def _call_of(app: Any) -> Any:
    """The function that runs when the object is called, partial applications undone."""
    while isinstance(app, functools.partial):
        app = app.func
    if inspect.isroutine(app) or inspect.isclass(app):
        return app
    call = type(app).__call__
    while isinstance(call, functools.partial):
        call = call.func
    return call


def _positional(app: Any) -> tuple[list[str], int, float] | None:
    """(names, how many are required, how many are possible) of the positional parameters; None when not known."""
    try:
        parameters = inspect.signature(app).parameters.values()
    except (ValueError, TypeError):
        return None
    named = [item for item in parameters if item.kind in {item.POSITIONAL_ONLY, item.POSITIONAL_OR_KEYWORD}]
    required = sum(item.default is item.empty for item in named)
    most = float("inf") if any(item.kind is item.VAR_POSITIONAL for item in parameters) else len(named)
    return [item.name for item in named], required, most


def _is_wsgi(names: list[str]) -> bool:
    return len(names) >= 2 and "env" in names[0] and "start" in names[1]


def _type_name(app: Any) -> str:
    return str(getattr(app, "__qualname__", type(app).__qualname__))


def _article(noun: str) -> str:
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
