"""Calling conventions are recognized by signature."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware

from devserver.app.asgi2 import Asgi2
from devserver.app.interface import adapt, detect
from devserver.app.wsgi import Wsgi
from devserver.errors import AppLoadError


async def asgi3(scope: Any, receive: Any, send: Any) -> None: ...


def asgi3_plain(scope: Any, receive: Any, send: Any) -> Any: ...


def asgi2(scope: Any) -> Any: ...


def wsgi(environ: Any, start_response: Any) -> Any: ...


class Asgi3Object:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


class Asgi3PlainObject:
    def __call__(self, scope: Any, receive: Any, send: Any) -> Any: ...


class Asgi2Class:
    def __init__(self, scope: Any) -> None: ...

    async def __call__(self, receive: Any, send: Any) -> None: ...


class Asgi3Class:
    def __init__(self, scope: Any, receive: Any, send: Any) -> None: ...

    def __await__(self) -> Any: ...


class WsgiObject:
    def __call__(self, environ: Any, start_response: Any) -> Any: ...


class WsgiClass:
    def __init__(self, environ: Any, start_response: Any) -> None: ...


class Holder:
    async def asgi3(self, scope: Any, receive: Any, send: Any) -> None: ...

    def wsgi(self, environ: Any, start_response: Any) -> Any: ...

    @staticmethod
    def asgi2(scope: Any) -> Any: ...


def timed(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def bare(function: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def with_extra(extra: Any, scope: Any, receive: Any, send: Any) -> Any: ...


async def with_extra_async(extra: Any, scope: Any, receive: Any, send: Any) -> Any: ...


@pytest.mark.parametrize(
    "app",
    [
        asgi3,
        asgi3_plain,
        Asgi3Object(),
        Asgi3PlainObject(),
        Asgi3Class,
        Holder().asgi3,
        FastAPI(),
        Starlette(),
        CORSMiddleware(asgi3),
        timed(asgi3),
        timed(timed(asgi3_plain)),
        bare(asgi3),
        functools.partial(with_extra, 1),
        functools.partial(with_extra_async, 1),
        functools.partial(functools.partial(with_extra), 1),
        functools.partial(Asgi3Object()),
        lambda _scope, _receive, _send: None,
        lambda _scope, _receive, _send, _extra=None: None,
    ],
)
def test_three_arguments_are_asgi3(app: Any) -> None:
    assert detect(app) == "asgi3"
    assert adapt(app) == (app, "asgi3")


@pytest.mark.parametrize(
    "app", [asgi2, Asgi2Class, Holder.asgi2, timed(asgi2), functools.partial(lambda _x, _scope: None, 1), dict]
)
def test_one_argument_is_asgi2(app: Any) -> None:
    assert detect(app) == "asgi2"
    adapted, kind = adapt(app)
    assert isinstance(adapted, Asgi2)
    assert kind == "asgi2"


@pytest.mark.parametrize(
    "app",
    [
        wsgi,
        WsgiObject(),
        WsgiClass,
        Holder().wsgi,
        timed(wsgi),
        functools.partial(lambda _x, _environ, _start_response: None, 1),
        lambda _env, _start_response: None,
        lambda _a, _b: None,
        lambda _environ, _start_response, _extra=None: None,
    ],
)
def test_two_arguments_are_wsgi(app: Any) -> None:
    assert detect(app) == "wsgi"
    served, kind = adapt(app)
    assert kind == "wsgi"
    assert isinstance(served, Wsgi)
    assert served.app is app


def test_given_interface_is_not_questioned() -> None:
    assert adapt(wsgi, "asgi3")[1] == "asgi3"
    assert adapt(asgi3, "asgi2")[1] == "asgi2"
    assert adapt(asgi3, "wsgi")[1] == "wsgi"


@pytest.mark.parametrize(
    ("app", "message"),
    [
        (types.ModuleType("x"), "X is a module, not an app."),
        ("text", "X is not an app but a str: it cannot be called."),
        (lambda: None, "takes 0 arguments, an ASGI app takes scope, receive and send."),
        (lambda _a, _b, _c, _d: None, "takes 4 arguments"),
        (Asgi3Object, "X is the class Asgi3Object, not an app made from it."),
        (FastAPI, "X is the class FastAPI, not an app made from it."),
        (CORSMiddleware, "X is the class CORSMiddleware"),
    ],
)
def test_what_fits_nothing_is_refused(app: Any, message: str) -> None:
    with pytest.raises(AppLoadError) as caught:
        adapt(app, name="X")
    assert message in str(caught.value)


def test_callable_without_a_signature_is_taken_for_asgi3() -> None:
    assert detect(getattr) == "asgi3"
    assert detect(type("Odd", (), {"__signature__": 1})) == "asgi2"
