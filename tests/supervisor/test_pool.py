"""Decisions about workers, without any worker."""

from __future__ import annotations

from typing import Any, cast

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from devserver.supervisor.pool import (
    BACK_OFF_MAX_S,
    STEADY_S,
    STEERED_S,
    Drop,
    Pool,
    PoolHandle,
    Replace,
    Slot,
    Spawn,
)

NOWHERE: Any = None


def worker(pool: Pool, slot: Slot, now: float) -> PoolHandle:
    """A worker that has just been made for a slot."""
    handle = PoolHandle(
        NOWHERE, NOWHERE, slot=slot, generation=pool.generation, age=0, row=0, dump_fd=-1, spawned_at=now
    )
    slot.successor = handle
    return handle


def ready(pool: Pool, handle: PoolHandle) -> PoolHandle | None:
    """The worker serves."""
    handle.serving = True
    return pool.became_ready(handle)


def started(count: int, now: float = 0.0) -> Pool:
    """A pool whose workers all serve."""
    pool = Pool(count)
    for action in pool.next_actions(now):
        assert isinstance(action, Spawn)
        ready(pool, worker(pool, action.slot, now))
    assert pool.complete
    return pool


def test_all_slots_are_filled_at_once() -> None:
    pool = Pool(3)
    actions = pool.next_actions(0)
    assert [cast("Spawn", action).slot.index for action in actions] == [0, 1, 2]
    for action in actions:
        worker(pool, cast("Spawn", action).slot, 0)
    assert pool.next_actions(0) == []
    assert not pool.complete


def test_reload_replaces_one_after_the_other() -> None:
    pool = started(3)
    pool.generation = 2
    for index in range(3):
        (action,) = pool.next_actions(1)
        assert action == Spawn(pool.slots[index])
        successor = worker(pool, pool.slots[index], 1)
        # The next one waits until this one is ready, ...
        assert pool.next_actions(1) == []
        earlier = ready(pool, successor)
        assert earlier is not None
        # ... and until its predecessor accepts no more.
        assert pool.next_actions(1) == []
        earlier.accepts = False
    assert pool.next_actions(1) == []
    assert len(pool.leaving) == 3


def test_worker_that_fails_is_waited_for_ever_longer() -> None:
    pool = Pool(1)
    (slot,) = [cast("Spawn", action).slot for action in pool.next_actions(0)]
    now, delays = 0.0, []
    for _ in range(12):
        pool.ended(worker(pool, slot, now), now, failed=True)
        assert pool.next_actions(now) == []
        delays.append(slot.not_before - now)
        now = pool.next_look(now)
        assert pool.next_actions(now) == [Spawn(slot)]
    assert 0.4 <= delays[0] <= 0.6
    assert delays[3] > 4 * delays[0]
    assert max(delays) <= 1.2 * BACK_OFF_MAX_S


def test_worker_that_lived_is_replaced_at_once_when_it_dies() -> None:
    pool = started(1)
    handle = pool.slots[0].current
    assert handle is not None
    pool.ended(handle, STEADY_S + 1, failed=True)
    assert pool.next_actions(STEADY_S + 1) == [Spawn(pool.slots[0])]


def test_failures_are_forgiven_when_a_worker_lives() -> None:
    pool = started(1)
    pool.slots[0].failures = 5
    pool.steady(STEADY_S - 1)
    assert pool.slots[0].failures == 5
    pool.steady(STEADY_S)
    assert pool.slots[0].failures == 0


def test_slot_too_many_is_steered_around_then_emptied_then_dropped() -> None:
    pool = started(2)
    last = pool.slots[1].current
    assert last is not None
    pool.wanted = 1
    assert pool.next_actions(10) == []
    assert pool.slots[1].leaving_at == 10
    assert pool.next_look(10) == 10 + STEERED_S
    assert pool.next_actions(10 + STEERED_S) == [Replace(last)]
    # It still accepts.
    assert pool.next_actions(12) == []
    last.accepts = False
    assert pool.next_actions(12) == [Drop(pool.slots[1])]


def test_slot_that_is_wanted_again_is_kept_or_filled() -> None:
    pool = started(2)
    pool.wanted = 1
    pool.next_actions(10)
    pool.wanted = 2
    assert pool.next_actions(10.5) == []
    assert pool.slots[1].leaving_at == 0
    pool.wanted = 1
    pool.next_actions(11)
    (action,) = pool.next_actions(11 + STEERED_S)
    assert isinstance(action, Replace)
    pool.wanted = 2
    assert pool.next_actions(13) == [Spawn(pool.slots[1])]


def test_worker_that_stands_still_loses_its_slot_at_once() -> None:
    pool = started(2)
    handle = pool.slots[0].current
    assert handle is not None
    pool.take_out(handle)
    assert pool.next_actions(1) == [Spawn(pool.slots[0])]
    # Again, or once more when it has a successor, changes nothing.
    pool.take_out(handle)
    assert pool.leaving == [handle]


class Life(RuleBasedStateMachine):
    """Whatever happens in whatever order, the rules of the pool hold."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.pool = Pool(3)
        self.told: set[PoolHandle] = set()

    def act(self) -> None:
        for action in self.pool.next_actions(self.now):
            match action:
                case Spawn():
                    assert action.slot.successor is None
                    # One replacement at a time.
                    if action.slot.current is not None:
                        others = [slot for slot in self.pool.slots if slot.current and slot.successor]
                        assert others == []
                    worker(self.pool, action.slot, self.now)
                case Replace():
                    assert action.handle not in self.told
                    self.told.add(action.handle)
                case Drop():
                    assert action.slot is self.pool.slots[-1]
                    assert action.slot.current is action.slot.successor is None
                    self.pool.slots.remove(action.slot)

    @rule(seconds=st.sampled_from([0.01, 0.5, 2, 40]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.act()

    @rule(data=st.data())
    def one_becomes_ready(self, data: st.DataObject) -> None:
        booting = [slot.successor for slot in self.pool.slots if slot.successor is not None]
        if booting:
            earlier = ready(self.pool, data.draw(st.sampled_from(booting)))
            if earlier is not None:
                self.told.add(earlier)
        self.act()

    @rule(data=st.data())
    def one_accepts_no_more(self, data: st.DataObject) -> None:
        leaving = [handle for handle in self.pool.leaving if handle.accepts]
        if leaving:
            data.draw(st.sampled_from(leaving)).accepts = False
        self.act()

    @rule(data=st.data(), failed=st.booleans())
    def one_ends(self, data: st.DataObject, failed: bool) -> None:
        every = [*self.pool]
        if every:
            handle = data.draw(st.sampled_from(every))
            self.pool.ended(handle, self.now, failed=failed and handle not in self.told)
            assert handle not in [*self.pool]
        self.act()

    @rule(wanted=st.integers(0, 6))
    def number_changes(self, wanted: int) -> None:
        self.pool.wanted = wanted
        self.act()

    @rule()
    def code_changes(self) -> None:
        self.pool.generation += 1
        self.act()

    @invariant()
    def slots_are_numbered(self) -> None:
        assert [slot.index for slot in self.pool.slots] == list(range(len(self.pool.slots)))

    @invariant()
    def nobody_is_in_two_places(self) -> None:
        every = [*self.pool]
        assert len(every) == len(set(every))

    def teardown(self) -> None:
        # Left alone, everything comes to rest: the wanted number of workers, all of the newest code.
        for _ in range(200):
            self.now += 40
            self.act()
            for slot in self.pool.slots:
                if slot.successor is not None:
                    ready(self.pool, slot.successor)
            for handle in [*self.pool.leaving]:
                handle.accepts = False
                self.pool.ended(handle, self.now, failed=False)
        assert len(self.pool.slots) == self.pool.wanted or (self.pool.wanted == 0 and len(self.pool.slots) <= 1)
        for slot in self.pool.slots[: self.pool.wanted]:
            assert slot.current is not None
            assert slot.current.generation == self.pool.generation


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
