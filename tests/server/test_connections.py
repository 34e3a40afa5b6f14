"""The sweep and the drain, over fakes."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from devserver.server import connections as connections_module
from devserver.server.connections import Sweep, cancel, drain

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest


class FakeConnection:
    """A connection that closes ``after`` the given number of seconds once it is told to shut down."""

    def __init__(self, state: FakeState, *, after: float | None = 0.0, deadline: float = 0.0) -> None:
        self.state = state
        self.after = after
        self.deadline = deadline
        self.listed = self.lasting = False
        self.expired: list[float] = []
        self.told: list[str] = []
        state.connections.add(self)

    @property
    def idle(self) -> bool:
        return True

    @property
    def begun(self) -> bool:
        return False

    def proceed(self) -> None:
        raise AssertionError("only the state starts exchanges")

    def release(self) -> None:
        raise AssertionError("nobody takes it")

    def expire(self, now: float) -> None:
        self.expired.append(now)
        self.state.connections.discard(self)

    def shutdown(self) -> None:
        self.told.append("shutdown")
        if self.after is not None:
            asyncio.get_running_loop().call_later(self.after, self.state.connections.discard, self)

    def abort(self) -> None:
        self.told.append("abort")
        self.state.connections.discard(self)


class FakeState:
    def __init__(self) -> None:
        self.connections: set[FakeConnection] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.ticks: list[float] = []
        self.on_tick: Callable[[], None] = lambda: None

    def cancel(self, task: asyncio.Task[None]) -> None:
        task.cancel()

    def tick(self, now: float) -> None:
        self.ticks.append(now)
        self.on_tick()

    def start(self, seconds: float, *, stubborn: float = 0.0) -> asyncio.Task[None]:
        async def work() -> None:
            try:
                await asyncio.sleep(seconds)
            except asyncio.CancelledError:
                await asyncio.sleep(stubborn)
                raise

        task = asyncio.ensure_future(work())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task


def test_a_sweep_ticks_and_expires_what_is_due() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        state = FakeState()
        due = FakeConnection(state, deadline=loop.time() - 0.001)
        later = FakeConnection(state, deadline=loop.time() + 60)
        never = FakeConnection(state)
        sweep = Sweep(state, loop)
        sweep.start()
        sweep.stop()
        assert len(due.expired) == 1
        assert state.connections == {later, never}
        assert len(state.ticks) == 1

    asyncio.run(main())


def test_sweeps_repeat_until_they_are_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        state, enough = FakeState(), asyncio.Event()
        sweep = Sweep(state, asyncio.get_running_loop())
        state.on_tick = lambda: enough.set() if len(state.ticks) == 5 else None
        sweep.start()
        await enough.wait()
        sweep.stop()
        await asyncio.sleep(0.01)
        assert len(state.ticks) == 5
        sweep.stop()

    monkeypatch.setattr(connections_module, "SWEEP_S", 0.001)
    asyncio.run(main())


def test_draining_nothing_returns_at_once() -> None:
    async def main() -> None:
        assert await drain(FakeState(), timeout_s=None, forced=asyncio.Event())

    asyncio.run(main())


def test_draining_waits_for_connections_and_tasks() -> None:
    async def main() -> None:
        state = FakeState()
        connection = FakeConnection(state, after=0.03)
        state.start(0.02)
        assert await drain(state, timeout_s=10, forced=asyncio.Event())
        assert connection.told == ["shutdown"]
        assert not state.connections
        assert not state.tasks

    asyncio.run(main())


def test_a_drain_that_takes_too_long_is_given_up() -> None:
    async def main() -> None:
        state = FakeState()
        task = state.start(60)
        assert not await drain(state, timeout_s=0.02, forced=asyncio.Event())
        assert not task.done()
        await cancel(state)
        assert task.cancelled()

    asyncio.run(main())


def test_no_time_to_drain_is_no_turn_of_waiting() -> None:
    async def main() -> None:
        state = FakeState()
        state.start(60)
        connection = FakeConnection(state, after=None)
        begun = time.monotonic()
        assert not await drain(state, timeout_s=0, forced=asyncio.Event())
        assert time.monotonic() - begun < 1
        await cancel(state)
        assert connection.told == ["shutdown", "abort"]
        assert not state.connections

    asyncio.run(main())


def test_a_drain_without_limit_ends_when_it_is_forced() -> None:
    async def main() -> None:
        for with_task in (True, False):
            state, forced = FakeState(), asyncio.Event()
            FakeConnection(state, after=None)
            if with_task:
                state.start(60)
            asyncio.get_running_loop().call_later(0.02, forced.set)
            assert not await drain(state, timeout_s=None, forced=forced)
            await cancel(state)

    asyncio.run(main())


def test_a_task_that_ignores_its_cancellation_is_left_behind() -> None:
    async def main() -> None:
        state = FakeState()
        task = state.start(60, stubborn=0.2)
        await asyncio.sleep(0)
        begun = time.monotonic()
        await cancel(state, timeout_s=0.02)
        assert time.monotonic() - begun < 0.15
        assert not task.done()
        await asyncio.wait({task})

    asyncio.run(main())
