"""Lifespan: whether an app has one, and that neither end of it can hold the server."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop
from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware

from devserver.app.lifespan import ABANDON_S, Lifespan
from devserver.errors import AppStartupError
from devserver.events import AppRaised, Emitter, LifespanChanged, Notice

Events = list[Any]


def make(app: Any, mode: str = "auto") -> tuple[Lifespan, Events]:
    events: Events = []
    emitter = Emitter()
    emitter.listen(events.append, [LifespanChanged, Notice, AppRaised])
    return Lifespan(app, mode=mode, emitter=emitter, first_party=[__file__]), events


def phases(events: Events) -> list[str]:
    return [event.phase for event in events if isinstance(event, LifespanChanged)]


def notices(events: Events) -> list[tuple[str, str]]:
    return [(event.level, event.text) for event in events if isinstance(event, Notice)]


def raised(events: Events) -> list[tuple[str, str]]:
    return [(event.failure.kind, event.failure.during) for event in events if isinstance(event, AppRaised)]


async def both(lifespan: Lifespan, startup_s: float | None = None, shutdown_s: float | None = None) -> None:
    await lifespan.startup(startup_s)
    await lifespan.shutdown(shutdown_s)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - events are emitted, not awaited
            await asyncio.sleep(0)


def failed_startup(app: Any, mode: str = "auto", timeout_s: float | None = None) -> tuple[AppStartupError, Events]:
    lifespan, events = make(app, mode)
    with pytest.raises(AppStartupError) as caught:
        asyncio.run(lifespan.startup(timeout_s))
    return caught.value, events


def with_lifespan(function: Callable[[FastAPI], AsyncIterator[Any]]) -> FastAPI:
    return FastAPI(lifespan=asynccontextmanager(function))


def script(*steps: Any) -> Callable[..., Coroutine[Any, Any, None]]:
    """An app that receives ("r"), sends (a dict) and raises (an exception) in that order; remembers what it got."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        app.scope = scope  # type: ignore[attr-defined]
        app.received = []  # type: ignore[attr-defined]
        for step in steps:
            if step == "r":
                app.received.append(await receive())  # type: ignore[attr-defined]
            elif isinstance(step, BaseException):
                raise step
            else:
                await send(step)

    return app


STARTED = {"type": "lifespan.startup.complete"}
STOPPED = {"type": "lifespan.shutdown.complete"}


def test_scope_and_messages_are_those_of_the_specification() -> None:
    app: Any = script("r", STARTED, "r", STOPPED)
    lifespan, events = make(app, "on")
    asyncio.run(both(lifespan))
    assert app.scope == {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}
    assert app.received == [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    assert phases(events) == ["startup", "started", "shutdown", "stopped"]
    assert notices(events) == []


def test_state_of_the_app_is_kept() -> None:
    async def lifespan(app: FastAPI) -> AsyncIterator[Any]:
        yield {"db": 1}

    tested, _ = make(with_lifespan(lifespan))
    asyncio.run(both(tested))
    assert tested.state == {"db": 1}


def test_off_never_calls_the_app() -> None:
    lifespan, events = make(script(ValueError()), "off")
    asyncio.run(both(lifespan))
    assert events == []


@pytest.mark.parametrize("app", [script(AssertionError("http only")), script(KeyError("path"))])
def test_exception_before_the_first_receive_means_unsupported(app: Any) -> None:
    lifespan, events = make(app)
    asyncio.run(both(lifespan))
    assert phases(events) == ["startup", "unsupported"]
    [(level, text)] = notices(events)
    assert (level, text.split(":")[0]) == ("debug", "The app is served without lifespan")


def test_exception_of_a_framework_that_has_lifespan_warns() -> None:
    app = FastAPI()
    app.add_middleware(GZipMiddleware, level=9)  # type: ignore[call-arg]
    lifespan, events = make(app)
    asyncio.run(both(lifespan))
    assert phases(events) == ["startup", "unsupported"]
    [(level, text)] = notices(events)
    assert level == "warning"
    assert "TypeError" in text


@pytest.mark.parametrize("app", [script(), script("r")])
def test_return_without_a_message_means_unsupported(app: Any) -> None:
    lifespan, events = make(app)
    asyncio.run(both(lifespan))
    assert phases(events) == ["startup", "unsupported"]


@pytest.mark.parametrize("app", [script(), script("r"), script(ValueError("no"))])
def test_on_refuses_an_app_without_lifespan(app: Any) -> None:
    error, _ = failed_startup(app, "on")
    assert error.exit_code == 3


@pytest.mark.parametrize("mode", ["auto", "on"])
def test_exception_after_the_first_receive_fails_startup(mode: str) -> None:
    error, events = failed_startup(script("r", ValueError("no database")), mode)
    assert str(error).startswith("The app's startup failed: ValueError: no database (")
    assert error.failure is not None
    assert error.failure.during == "startup"
    assert phases(events) == ["startup"]


HEAD = {"type": "http.response.start", "status": 200, "headers": []}


@pytest.mark.parametrize(
    ("app", "level"),
    [
        (script("r", HEAD), "debug"),
        (script("r", {"type": "websocket.accept"}), "debug"),
        (script("r", KeyError("path")), "warning"),
    ],
)
def test_app_that_takes_the_lifespan_for_a_request_has_none(app: Any, level: str) -> None:
    lifespan, events = make(app)
    asyncio.run(both(lifespan))
    assert phases(events) == ["startup", "unsupported"]
    [(seen, text)] = notices(events)
    assert (seen, text.split(":")[0]) == (level, "The app is served without lifespan")
    assert failed_startup(app, "on")[0].failure is not None


@pytest.mark.parametrize("exc", [KeyError("database"), KeyError(), KeyError(["path"])])
def test_key_error_of_the_startup_itself_fails_it(exc: KeyError) -> None:
    assert failed_startup(script("r", exc))[0].failure is not None


@pytest.mark.parametrize("exc", [SystemExit(4), KeyboardInterrupt(), asyncio.CancelledError()])
def test_exits_of_the_app_fail_startup_and_do_not_leave_the_loop(exc: BaseException) -> None:
    error, _ = failed_startup(script("r", exc))
    assert "startup failed" in str(error)


def test_exit_before_the_first_receive_fails_startup() -> None:
    assert "SystemExit: 4" in str(failed_startup(script(SystemExit(4)))[0])


def test_failed_message_is_the_reason() -> None:
    error, _ = failed_startup(script("r", {"type": "lifespan.startup.failed", "message": "no\nlicence key"}))
    assert str(error) == "The app's startup failed: licence key"
    error, _ = failed_startup(script("r", {"type": "lifespan.startup.failed"}))
    assert str(error) == "The app's startup failed: it gave no reason"


def test_exception_behind_a_failed_message_is_folded() -> None:
    async def lifespan(app: FastAPI) -> AsyncIterator[Any]:
        raise ValueError("no database")
        yield

    error, _ = failed_startup(with_lifespan(lifespan))
    assert error.failure is not None
    assert [frame.function for frame in error.failure.frames if frame.first_party][-1].endswith(".lifespan")
    assert str(error).startswith("The app's startup failed: ValueError: no database (")


def test_app_that_hangs_after_its_failed_message_is_ended() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "lifespan.startup.failed", "message": "no"})
        await asyncio.sleep(60)

    assert str(failed_startup(app)[0]) == "The app's startup failed: no"


async def hanging(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await asyncio.sleep(60)


def test_startup_that_takes_too_long_is_ended() -> None:
    error, events = failed_startup(hanging, timeout_s=0.05)
    assert str(error) == "The app's startup took longer than 0.05 seconds."
    assert notices(events) == []
    assert "1 second." in str(failed_startup(hanging, timeout_s=1)[0])


def swallowing(times: int) -> Callable[..., Coroutine[Any, Any, None]]:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        for _ in range(times):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                continue
        await asyncio.sleep(60)

    return app


@pytest.mark.parametrize("times", [0, 1, 2])
def test_cancelling_a_hanging_startup_ends_promptly(times: int) -> None:
    lifespan, events = make(swallowing(times))

    async def main() -> float:
        task = asyncio.create_task(lifespan.startup(None))
        await until(lambda: bool(events))
        began = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return time.monotonic() - began

    took_s = asyncio.run(main())
    assert took_s < ABANDON_S + 1
    abandoned = ("warning", "The app's lifespan ignored its cancellation and was abandoned.")
    assert notices(events) == ([abandoned] if times == 2 else [])


def test_shutdown_that_hangs_is_cancelled_and_told() -> None:
    async def lifespan(app: FastAPI) -> AsyncIterator[Any]:
        yield
        await asyncio.sleep(60)

    tested, events = make(with_lifespan(lifespan))
    asyncio.run(both(tested, shutdown_s=0.05))
    assert notices(events) == [("warning", "The app's shutdown took longer than 0.05 seconds and was cancelled.")]
    assert phases(events)[-1] == "stopped"


def test_shutdown_that_swallows_its_cancellation_is_abandoned() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(STARTED)
        await receive()
        await swallowing(2)(scope, receive, send)

    lifespan, events = make(app)
    began = time.monotonic()
    asyncio.run(both(lifespan, shutdown_s=0.05))
    assert time.monotonic() - began < ABANDON_S + 2
    assert len(notices(events)) == 2
    assert phases(events)[-1] == "stopped"


def test_shutdown_that_raises_is_told_and_folded() -> None:
    async def lifespan(app: FastAPI) -> AsyncIterator[Any]:
        yield
        raise ValueError("cannot flush")

    tested, events = make(with_lifespan(lifespan))
    asyncio.run(both(tested))
    [(level, text)] = notices(events)
    assert level == "error"
    assert text.startswith("The app's shutdown failed: ValueError: cannot flush (")
    assert raised(events) == [("ValueError", "shutdown")]
    assert phases(events)[-1] == "stopped"


def test_shutdown_that_failed_by_message_is_told() -> None:
    app = script("r", STARTED, "r", {"type": "lifespan.shutdown.failed", "message": "disk full"})
    lifespan, events = make(app)
    asyncio.run(both(lifespan))
    assert notices(events) == [("error", "The app's shutdown failed: disk full")]
    assert raised(events) == []


def test_app_that_raises_instead_of_answering_shutdown_is_told() -> None:
    lifespan, events = make(script("r", STARTED, "r", OSError("gone")))
    asyncio.run(both(lifespan))
    assert raised(events) == [("OSError", "shutdown")]


def test_app_that_stays_after_its_last_message_is_ended() -> None:
    lifespan, events = make(script("r", STARTED, "r", STOPPED, "r"))
    began = time.monotonic()
    asyncio.run(both(lifespan))
    assert time.monotonic() - began < ABANDON_S / 2
    assert phases(events)[-1] == "stopped"
    assert notices(events) == []


def test_app_that_returns_after_startup_is_not_asked_again() -> None:
    lifespan, events = make(script("r", STARTED))
    asyncio.run(both(lifespan))
    assert phases(events) == ["startup", "started", "shutdown", "stopped"]
    assert notices(events) == []


def test_app_that_fails_while_serving_is_told_once() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(STARTED)
        await asyncio.sleep(0)
        raise ValueError("background job")

    lifespan, events = make(app)

    async def main() -> None:
        await lifespan.startup()
        await until(lambda: bool(raised(events)))
        await lifespan.shutdown()

    asyncio.run(main())
    assert raised(events) == [("ValueError", "lifespan")]
    assert len(notices(events)) == 1


@pytest.mark.parametrize(
    "app",
    [
        script("r", {"type": "lifespan.shutdown.complete"}),
        script("r", {}),
    ],
)
def test_wrong_message_during_startup_fails_it(app: Any) -> None:
    assert failed_startup(app)[0].failure is not None


def test_second_answer_is_refused() -> None:
    lifespan, events = make(script("r", STARTED, STARTED))
    asyncio.run(both(lifespan))
    assert [kind for kind, _ in raised(events)] == ["devserver.errors.AppContractError"]


def test_shutdown_without_startup_does_nothing() -> None:
    lifespan, events = make(script("r"))
    asyncio.run(lifespan.shutdown())
    assert events == []


def test_context_variables_are_shared_through_the_context_only() -> None:
    number = contextvars.ContextVar("number", default=0)
    seen: list[int] = []

    async def lifespan(app: FastAPI) -> AsyncIterator[Any]:
        seen.append(number.get())
        number.set(2)
        yield
        seen.append(number.get())

    tested, _ = make(with_lifespan(lifespan))

    async def main() -> None:
        number.set(1)
        await tested.startup()
        seen.append(number.get())
        seen.append(tested.context[number])
        await tested.shutdown()

    asyncio.run(main())
    assert seen == [1, 1, 2, 2]


def test_uvloop_serves_as_well() -> None:
    lifespan, events = make(FastAPI())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(both(lifespan))
    assert phases(events)[-1] == "stopped"
