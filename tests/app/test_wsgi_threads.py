"""The pool that calls WSGI apps: who wakes whom, and how results come back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from devserver.app.wsgi_threads import ThreadPool


class Task:
    """A job that calls a function and gives its result back."""

    def __init__(self, pool: ThreadPool, call: Callable[[], Any]) -> None:
        self._pool = pool
        self._call = call
        self.taken: asyncio.Future[Any] = pool.loop.create_future()

    def run(self) -> None:
        self._pool.post(self, self._call())

    def take(self, item: Any) -> None:
        if isinstance(item, Exception):
            self.taken.set_exception(item)
        else:
            self.taken.set_result(item)


async def run(pool: ThreadPool, *calls: Callable[[], Any]) -> list[Any]:
    """Submits all in one turn and waits for their results."""
    tasks = [Task(pool, call) for call in calls]
    for task in tasks:
        pool.submit(task)
    return [await asyncio.wait_for(task.taken, 30) for task in tasks]


def pool_test(test: Callable[[ThreadPool], Any], threads: int) -> None:
    """Runs ``test`` on a loop with a pool."""

    async def main() -> None:
        pool = ThreadPool(threads, asyncio.get_running_loop())
        try:
            await test(pool)
        finally:
            pool.close()
        for thread in pool._threads:
            thread.join(30)
            assert not thread.is_alive()

    asyncio.run(main())


def test_quick_jobs_of_one_turn_share_a_wake_up(monkeypatch: pytest.MonkeyPatch) -> None:
    wakes: list[int] = []
    wake = ThreadPool._wake

    def counted(pool: ThreadPool) -> None:
        wakes.append(1)
        wake(pool)

    async def test(pool: ThreadPool) -> None:
        await run(pool, *[lambda: None] * 20)
        wakes.clear()
        for _ in range(50):
            await run(pool, *[lambda: None] * 20)
        # One by the loop and one by the thread that it wakes, and here and there another when a time slice ends.
        assert 50 <= len(wakes) < 50 * 10

    monkeypatch.setattr(ThreadPool, "_wake", counted)
    pool_test(test, 8)


def test_jobs_that_block_have_each_a_thread() -> None:
    async def test(pool: ThreadPool) -> None:
        for _ in range(50):
            barrier = threading.Barrier(8)
            assert sorted(await run(pool, *[lambda barrier=barrier: barrier.wait(30)] * 8)) == list(range(8))
        assert len(pool._threads) == 8

    pool_test(test, 8)


def test_no_job_is_left_lying() -> None:
    """Jobs come while threads go to sleep and wake up, over and over."""

    async def test(pool: ThreadPool) -> None:
        async def client(number: int) -> None:
            for turn in range(300):
                assert await run(pool, lambda: (number, turn)) == [(number, turn)]  # noqa: B023 - called in this turn
                if (number + turn) % 3:
                    await asyncio.sleep(0)

        await asyncio.gather(*[client(number) for number in range(16)])

    pool_test(test, 3)


def test_one_thread_keeps_the_order() -> None:
    async def test(pool: ThreadPool) -> None:
        order: list[int] = []
        await run(pool, *[lambda number=number: order.append(number) for number in range(100)])
        assert order == list(range(100))

    pool_test(test, 1)


def test_job_that_waits_can_be_taken_back() -> None:
    async def test(pool: ThreadPool) -> None:
        go = threading.Event()
        began = threading.Event()

        def block() -> bool:
            began.set()
            return go.wait(30)

        blocking = Task(pool, block)
        waiting = Task(pool, lambda: None)
        pool.submit(blocking)
        pool.submit(waiting)
        await asyncio.to_thread(began.wait, 30)
        assert pool.waiting == 1
        assert pool.jobs() == [waiting]
        assert pool.withdraw(waiting)
        assert not pool.withdraw(waiting)
        assert not pool.withdraw(blocking)
        assert pool.waiting == 0
        go.set()
        await asyncio.wait_for(blocking.taken, 30)

    pool_test(test, 1)


def test_thread_that_cannot_be_made_fails_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(pool: ThreadPool) -> None:
        def start(_: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", start)
            with pytest.raises(RuntimeError, match="can't start new thread"):
                await run(pool, lambda: None)
        assert await run(pool, lambda: 1) == [1]
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", start)
            assert await run(pool, lambda: 1, lambda: 2, lambda: 3) == [1, 2, 3]

    pool_test(test, 4)


def test_result_for_a_loop_that_is_gone_is_dropped() -> None:
    began, go = threading.Event(), threading.Event()
    pools: list[ThreadPool] = []

    def block() -> bool:
        began.set()
        return go.wait(30)

    async def main() -> None:
        pools.append(ThreadPool(1, asyncio.get_running_loop()))
        pools[0].submit(Task(pools[0], block))
        await asyncio.to_thread(began.wait, 30)

    asyncio.run(main())
    go.set()
    pools[0].close()
    pools[0]._threads[0].join(30)
    assert not pools[0]._threads[0].is_alive()
