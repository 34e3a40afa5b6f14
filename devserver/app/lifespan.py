"""The app's lifespan (ASGI spec, "Lifespan Protocol"): one task that starts with the server and ends with it.

The server finds out by calling the app whether it has a lifespan. With ``auto``, an exception before its first
``receive()`` or a return without a message means that it has none. So does an app that takes the call for a request: it
sends an HTTP or WebSocket message, or misses a key that only their scopes have. Any other exception after ``receive()``
is a failed startup.

Neither a hanging startup nor a hanging shutdown ever holds the server: waiting is bounded, and an app that swallows its
cancellation is abandoned after two seconds.

The task has a context of its own, a copy of the one in which :meth:`Lifespan.startup` was called: context variables set
during startup are seen by the app's shutdown, and by requests only if the server runs them in copies of
:attr:`Lifespan.context`.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import Container
from typing import TYPE_CHECKING, Any

from devserver.app.failure import fold, sentence
from devserver.app.introspect import is_starlette
from devserver.errors import AppContractError, AppStartupError
from devserver.events import AppRaised, Emitter, Failure, LifespanChanged, Notice

if TYPE_CHECKING:
    from devserver.app.types import ASGIApp, Message, Scope

# How long a cancelled app may take to end; well above what a clean-up needs, short for a person who pressed Ctrl+C.
ABANDON_S = 2.0
# Keys that HTTP and WebSocket scopes have and a lifespan scope has not (ASGI spec, "Lifespan Protocol").
_REQUEST_KEYS = frozenset(
    "client extensions headers http_version method path query_string raw_path root_path scheme server "
    "subprotocols".split()
)
# An app that caught the first cancellation (a bare except round a retry loop) gets a second one after this.
_CANCEL_AGAIN_S = 0.5


class Lifespan:
    """Drives one app through startup and shutdown. Call :meth:`startup`, serve, then :meth:`shutdown`.

    :param app: the ASGI 3 app.
    :param mode: ``auto``, ``on`` or ``off``, as ``--lifespan``.
    :param emitter: gets LifespanChanged events, and what went wrong after startup.
    :param first_party: tells the user's own files when an exception is folded.
    """

    def __init__(self, app: ASGIApp, *, mode: str, emitter: Emitter, first_party: Container[str]) -> None:
        self.state: dict[str, Any] = {}
        """What the app put into ``scope["state"]``; every request gets a copy."""
        self.context = contextvars.copy_context()
        self._app = app
        self._mode = mode
        self._emitter = emitter
        self._first_party = first_party
        self._task: asyncio.Task[None] | None = None
        self._raised: BaseException | None = None
        self._phase = "new"
        self._received = False
        self._sent_response = False
        self._failed: str | None = None
        self._answered = asyncio.Event()
        self._shutdown = asyncio.Event()

    async def startup(self, timeout_s: float | None = None) -> None:
        """Returns when the app is up, or has shown that it has no lifespan.

        Cancelling it ends the app's task too, within two seconds.

        :param timeout_s: the longest time to wait; None waits for ever.
        :raises AppStartupError: the app failed, or took too long.
        """
        if self._mode == "off":
            return
        self.context = contextvars.copy_context()
        self._set_phase("startup")
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(self._run(), name="lifespan", context=self.context)
        try:
            in_time = await self._wait_answer(self._task, timeout_s)
        except asyncio.CancelledError:
            self._phase = "over"
            await self._end_task()
            raise
        if not in_time:
            self._phase = "over"
            await self._end_task()
            raise AppStartupError(
                f"The app's startup took longer than {_seconds(timeout_s)}.",
                hint="Give it more time with --timeout-startup, or move slow work behind the first request.",
            )
        if self._failed is not None:
            await self._raise_failed()
        if self._answered.is_set():
            self._set_phase("started")
            self._task.add_done_callback(self._on_early_end)
            return
        self._end_without_answer()

    async def shutdown(self, timeout_s: float | None = None) -> None:
        """Returns when the app has shut down, or did not within the time; never raises for the app's sake.

        :param timeout_s: the longest time to wait; None waits for ever.
        """
        task = self._task
        if task is None or self._phase != "started":
            return
        self._set_phase("shutdown")
        self._answered.clear()
        self._shutdown.set()
        try:
            if not task.done() and not await self._wait_answer(task, timeout_s):
                text = f"The app's shutdown took longer than {_seconds(timeout_s)} and was cancelled."
                self._emitter.emit(Notice("warning", text))
            elif self._answered.is_set() or self._failed is not None:
                # It said that it is done: what is left of it is a few lines after the message.
                await asyncio.wait([task], timeout=ABANDON_S)
        finally:
            self._phase = "over"
            await self._end_task()
            self._report_shutdown()
            self._emitter.emit(LifespanChanged("stopped"))

    async def _run(self) -> None:
        scope: Scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        try:
            await self._app(scope, self._receive, self._send)
        except asyncio.CancelledError as exc:
            if self._phase != "over" and not (self._phase == "shutdown" and self._answered.is_set()):
                self._raised = exc
            raise
        except BaseException as exc:
            # SystemExit and KeyboardInterrupt too: asyncio would throw them through the event loop.
            self._raised = exc

    async def _receive(self) -> Message:
        if not self._received:
            self._received = True
            return {"type": "lifespan.startup"}
        await self._shutdown.wait()
        if self._phase != "shutdown" or self._answered.is_set():
            # Nothing follows shutdown: an app that asks again would wait for ever.
            if self._task is not None:
                self._task.cancel()
            await asyncio.get_running_loop().create_future()
        return {"type": "lifespan.shutdown"}

    async def _send(self, message: Message) -> None:
        kind = message["type"]
        if self._phase == "over":
            return
        expected = "lifespan.startup." if self._phase == "startup" else "lifespan.shutdown."
        if kind not in {expected + "complete", expected + "failed"} or self._answered.is_set():
            self._sent_response = str(kind).startswith(("http.", "websocket."))
            raise AppContractError(f'The app sent "{kind}" during lifespan {self._phase}.')
        if kind.endswith(".failed"):
            self._failed = str(message.get("message", ""))
        self._answered.set()

    async def _wait_answer(self, task: asyncio.Task[None], timeout_s: float | None) -> bool:
        """Waits until the app has answered or its task has ended; False when the time is over."""
        answer = asyncio.ensure_future(self._answered.wait())
        try:
            done, _ = await asyncio.wait([answer, task], timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            answer.cancel()
        return bool(done)

    async def _end_task(self) -> None:
        """Cancels the app's task and waits for it, but not for ever."""
        task = self._task
        if task is None:
            return
        for patience_s in (_CANCEL_AGAIN_S, ABANDON_S - _CANCEL_AGAIN_S):
            if task.done():
                break
            task.cancel()
            await asyncio.wait([task], timeout=patience_s)
        if task.done():
            with contextlib.suppress(asyncio.CancelledError):
                task.exception()
        else:
            # It is left behind on purpose: the message that asyncio writes about it would blame the server.
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001
            self._emitter.emit(Notice("warning", "The app's lifespan ignored its cancellation and was abandoned."))

    async def _raise_failed(self) -> None:
        """The app said ``startup.failed``; most raise next what the message only quotes."""
        if self._task is not None:
            await asyncio.wait([self._task], timeout=ABANDON_S)
        self._phase = "over"
        await self._end_task()
        failure = self._fold("startup")
        raise AppStartupError(f"The app's startup failed: {self._reason(failure)}", failure=failure)

    def _end_without_answer(self) -> None:
        """The task has ended and said nothing."""
        raised = self._raised
        self._phase = "over"
        failure = self._fold("startup")
        if failure is None:
            if self._mode == "on":
                raise AppStartupError(
                    "The app has no lifespan: it returned without an answer to lifespan.startup.",
                    hint="Leave out --lifespan on.",
                )
        elif (
            (self._received and not self._took_for_request(raised))
            or self._mode == "on"
            or isinstance(raised, SystemExit | KeyboardInterrupt)
        ):
            raise AppStartupError(f"The app's startup failed: {sentence(failure)}", failure=failure) from raised
        else:
            # Frameworks that have no lifespan refuse the scope; one that has it was hindered by a mistake.
            # A missing key may also be a mistake in a startup of the app's own, so the log has it.
            doubtful = self._received and not self._sent_response
            level = "warning" if doubtful or is_starlette(self._app) else "debug"
            self._emitter.emit(Notice(level, f"The app is served without lifespan: it raised {sentence(failure)}"))
        self._set_phase("unsupported")

    def _took_for_request(self, raised: BaseException | None) -> bool:
        """Tell whether the app answered the lifespan scope as if it were a request."""
        if self._sent_response:
            return True
        return isinstance(raised, KeyError) and bool(raised.args) and str(raised.args[0]) in _REQUEST_KEYS

    def _on_early_end(self, _task: asyncio.Task[None]) -> None:
        if self._phase != "started":
            return
        failure = self._fold("lifespan")
        if failure is not None:
            self._emitter.emit(Notice("error", f"The app's lifespan ended while it was serving: {sentence(failure)}"))
            self._emitter.emit(AppRaised(failure))

    def _report_shutdown(self) -> None:
        failure = self._fold("shutdown")
        if self._failed is None and failure is None:
            return
        self._emitter.emit(Notice("error", f"The app's shutdown failed: {self._reason(failure)}"))
        if failure is not None:
            self._emitter.emit(AppRaised(failure))

    def _reason(self, failure: Failure | None) -> str:
        """The message that the app sent, or its exception when that says the same and where besides."""
        text = _last_line(self._failed or "")
        if failure is not None and (not text or text.endswith(failure.message)):
            return sentence(failure)
        return text or "it gave no reason"

    def _fold(self, during: str) -> Failure | None:
        """What the app raised, told once."""
        raised, self._raised = self._raised, None
        return None if raised is None else fold(raised, self._first_party, during=during)

    def _set_phase(self, phase: str) -> None:
        self._phase = phase
        self._emitter.emit(LifespanChanged(phase))


def _last_line(text: str) -> str:
    """Starlette sends a whole traceback as its message; the last line of one says what happened."""
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else ""


def _seconds(timeout_s: float | None) -> str:
    return f"{timeout_s:g} second{'' if timeout_s == 1 else 's'}"
