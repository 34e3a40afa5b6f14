"""Exceptions that leave an app: what is a mistake of the app, and what is a client that has gone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

from devserver.errors import ClientDisconnected
from devserver.events import AppRaised, RequestFinished
from devserver.protocol.websocket.connection import WebSocketDisconnected
from tests.protocol.websocket.test_connection import handshake, opened, talk
from tests.support.memory import MemoryServer, memory_server
from tests.support.websocket import client_close, client_text

if TYPE_CHECKING:
    from devserver.app.types import Receive, Scope, Send

ACCEPT = {"type": "websocket.accept"}
SEND = {"type": "websocket.send", "text": "x"}


class WebSocketDisconnect(Exception):
    """What Starlette raises in place of an OSError."""


def raising(exc: BaseException, *, accepts: bool, suspends: bool) -> Any:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if accepts:
            await send(ACCEPT)
        if suspends:
            await asyncio.sleep(0)
        raise exc

    return app


def kinds(server: MemoryServer) -> list[str]:
    return [event.failure.kind.rpartition(".")[2] for event in server.events_of(AppRaised)]


@pytest.mark.parametrize("suspends", [True, False])
@pytest.mark.parametrize("accepts", [True, False])
@pytest.mark.parametrize(
    "exc",
    [
        asyncio.CancelledError(),
        GeneratorExit(),
        StopAsyncIteration(),
        KeyboardInterrupt(),
        SystemExit(3),
        ClientDisconnected("not of this server"),
        ConnectionResetError("a database"),
        BrokenPipeError(),
        ExceptionGroup("several", [ValueError()]),
        BaseExceptionGroup("several", [asyncio.CancelledError()]),
        WebSocketDisconnect(1006),
    ],
    ids=lambda exc: type(exc).__name__,
)
def test_exception_of_the_app_is_announced_and_answered(exc: BaseException, accepts: bool, suspends: bool) -> None:
    with memory_server(raising(exc, accepts=accepts, suspends=suspends)) as server:
        fatal: list[BaseException] = []
        server.state.on_fatal = fatal.append
        client = server.connect()
        client.send(handshake())
        answer = talk(client)
        assert (answer.status, answer.codes) == ((101, [1011]) if accepts else (500, []))
        # Of a group the first is announced.
        first = exc.exceptions[0] if isinstance(exc, BaseExceptionGroup) else exc
        assert kinds(server) == [type(first).__name__]
        assert fatal == [exc] * isinstance(exc, KeyboardInterrupt)


@pytest.mark.parametrize("accepts", [True, False])
def test_stop_iteration_is_announced_as_python_makes_of_it(accepts: bool) -> None:
    with memory_server(raising(StopIteration(), accepts=accepts, suspends=True)) as server:
        client = server.connect()
        client.send(handshake())
        answer = talk(client)
        assert (answer.status, answer.codes) == ((101, [1011]) if accepts else (500, []))
        assert kinds(server) == ["RuntimeError"]


def test_exception_of_an_app_that_is_no_coroutine_function_is_announced() -> None:
    def app(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        raise StopIteration

    with memory_server(app) as server:
        client = server.connect()
        client.send(handshake())
        assert talk(client).status == 500
        assert kinds(server) == ["StopIteration"]


@pytest.mark.parametrize("accepts", [True, False])
def test_inner_task_that_was_cancelled_is_an_error_of_the_app(accepts: bool) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if accepts:
            await send(ACCEPT)
        inner = asyncio.ensure_future(asyncio.Event().wait())
        await asyncio.sleep(0)
        inner.cancel()
        await inner

    with memory_server(app) as server:
        client = server.connect()
        client.send(handshake())
        answer = talk(client)
        assert (answer.status, answer.codes) == ((101, [1011]) if accepts else (500, []))
        assert kinds(server) == ["CancelledError"]


@pytest.mark.parametrize("accepts", [True, False])
def test_task_that_the_server_has_cancelled_is_no_error(accepts: bool) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if accepts:
            await send(ACCEPT)
        await asyncio.get_running_loop().create_future()

    with memory_server(app) as server:
        client = server.connect()
        client.send(handshake())
        (task,) = server.state.tasks
        server.state.cancel(task)
        client.settle()
        assert kinds(server) == []
        if accepts:
            assert talk(client).codes == [1011]
        else:
            assert client.closed


# --- The end of a connection, of one's own and of another


def gone_client(server: MemoryServer, *, accepts: bool) -> None:
    """A client that has left."""
    client = server.connect()
    client.send(handshake())
    assert talk(client).status == 101 if accepts else not client.sent
    client.reset()
    server.settle()


def handling(answer: Callable[[OSError], BaseException | None], *, accepts: bool = True) -> Any:
    """An app that sends to a client that has gone, and makes something else of the error."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        if accepts:
            await send(ACCEPT)
        assert (await receive())["type"] == "websocket.disconnect"
        try:
            await send(SEND if accepts else ACCEPT)
        except OSError as error:
            exc = answer(error)
            if exc is None:
                raise
            raise exc  # noqa: B904 - what a handler raises without a word about the cause

    return app


def caused(error: OSError) -> BaseException:
    exc = RuntimeError("the client has gone")
    exc.__cause__ = error
    return exc


@pytest.mark.parametrize("accepts", [True, False])
@pytest.mark.parametrize(
    "answer",
    [
        lambda _: None,
        lambda _: WebSocketDisconnect(1006),
        lambda error: ExceptionGroup("tasks", [error, WebSocketDisconnect()]).split(WebSocketDisconnect)[1],
        lambda error: ExceptionGroup("tasks", [ExceptionGroup("inner", [error])]),
        caused,
    ],
)
def test_error_of_a_client_that_has_gone_is_not_announced(answer: Any, accepts: bool) -> None:
    with memory_server(handling(answer, accepts=accepts)) as server:
        gone_client(server, accepts=accepts)
        assert kinds(server) == []


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (lambda _: ZeroDivisionError(), "ZeroDivisionError"),
        (lambda _: KeyError("user"), "KeyError"),
        (lambda error: ExceptionGroup("tasks", [error, ValueError()]), "ValueError"),
    ],
)
def test_mistake_in_the_handler_of_a_client_that_has_gone_is_announced(answer: Any, kind: str) -> None:
    with memory_server(handling(answer)) as server:
        gone_client(server, accepts=True)
        assert kinds(server) == [kind]


@pytest.mark.parametrize("own_client_leaves", [True, False])
@pytest.mark.parametrize("wrapped", [True, False])
def test_end_of_another_connection_is_an_error_of_the_app(wrapped: bool, own_client_leaves: bool) -> None:
    sends: list[Send] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        sends.append(send)
        await receive()
        if len(sends) == 1:
            return
        try:
            await sends[0](SEND)
        except OSError:
            if wrapped:
                raise WebSocketDisconnect from None
            raise

    with memory_server(app) as server:
        gone_client(server, accepts=True)
        client = opened(server)
        if own_client_leaves:
            client.reset()
        else:
            client.send(client_text("broadcast"))
            assert talk(client).codes == [1011]
        server.settle()
        assert kinds(server) == ["WebSocketDisconnect" if wrapped else "WebSocketDisconnected"]


def test_error_names_its_connection() -> None:
    errors: list[OSError] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        await receive()
        while (await receive())["type"] != "websocket.disconnect":
            pass
        for _ in range(2):
            try:
                await send(SEND)
            except OSError as exc:
                errors.append(exc)
        await send({"type": "websocket.close"})

    with memory_server(app) as server:
        client = opened(server)
        client.send(client_close(1000))
        client.settle()
        assert [str(error) for error in errors] == ["The WebSocket is closed."] * 2
        assert all(isinstance(error, WebSocketDisconnected) for error in errors)
        assert kinds(server) == []


def test_client_that_ends_its_side_before_the_answer_is_gone() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await receive()
        await send({"type": "websocket.close"})
        await send(ACCEPT)

    with memory_server(app) as server:
        client = server.connect()
        client.send(handshake())
        client.shut()
        assert client.sent == b""
        assert client.gone
        assert kinds(server) == []
        assert [(event.status, event.complete) for event in server.events_of(RequestFinished)] == [(0, False)]


def test_coroutine_that_python_ends_announces_nothing() -> None:
    tasks: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        tasks.append(asyncio.current_task())
        await asyncio.get_running_loop().create_future()

    with memory_server(app) as server:
        client = server.connect()
        client.send(handshake())
        (task,) = tasks
        task.get_coro().close()
        assert client.sent == b""
        assert kinds(server) == []
        # The task finds its coroutine at an end.
        task.cancel()
        server.settle()
        assert isinstance(task.exception(), RuntimeError)
