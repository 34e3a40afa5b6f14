"""The workers of a master, slot by slot, and what is to be done about them next; pure decisions.

A slot is a place for one worker, with sockets of its own. It is filled by a worker that is ready, its *current* one,
and for a while by a *successor* that is on its way. The rules:

- a slot without either gets a worker, unless its last ones have failed a moment ago;
- a current worker that is due is replaced, one slot at a time: the next one only when the successor is ready and the
  worker before it accepts no more;
- a slot too many is closed: first no connection is sent there, then its worker is replaced by nobody.

Must not know how workers are made, told or watched (``prefork.py``).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from devserver.supervisor.handle import Handle

BACK_OFF_S, BACK_OFF_MAX_S = 0.5, 30.0
"""Between two workers that fail: this, doubled each time."""
STEADY_S = 10.0
"""A worker that has lived so long and then dies has not failed: its slot is filled at once."""
STEERED_S = 1.0
"""Between the moment that no connection is sent to a slot and the one that nobody accepts there: a handshake that had
begun comes to its end."""


@dataclass(eq=False, kw_only=True)
class PoolHandle(Handle):
    """One worker of a pool.

    :ivar slot: where it is.
    :ivar generation: counts reloads; which settings and code it has.
    :ivar age: counts the workers there have been.
    :ivar row: its row of the scoreboard.
    :ivar dump_fd: where what it writes when it is stuck is read.
    :ivar due: why it should be replaced; empty when it should not.
    :ivar ends_at: when its lifetime is over, as ``time.monotonic()``.
    :ivar dismissed: it is meant to end, so that its end is no failure.
    :ivar ends: its server has stopped, and only the process has to end.
    :ivar accepts: it takes new connections.
    :ivar asked_at: when it was asked why its loop stands still; 0.0 when it was not.
    :ivar answered: it has said why.
    :ivar dumped: it was asked a second time.
    """

    slot: Slot
    generation: int
    age: int
    row: int
    dump_fd: int
    due: str = ""
    ends_at: float = float("inf")
    dismissed: bool = False
    ends: bool = False
    accepts: bool = False
    asked_at: float = 0.0
    answered: bool = False
    dumped: bool = False


@dataclass(eq=False)
class Slot:
    """A place for one worker.

    :ivar leaving_at: since when it gets no connections because it is one too many; 0.0 when it is not.
    :ivar failures: workers in a row that did not live long.
    :ivar not_before: when the next one may be made, as ``time.monotonic()``.
    """

    index: int
    current: PoolHandle | None = None
    successor: PoolHandle | None = None
    leaving_at: float = 0.0
    failures: int = 0
    not_before: float = 0.0


@dataclass(frozen=True)
class Spawn:
    """Make a worker for a slot."""

    slot: Slot


@dataclass(frozen=True)
class Replace:
    """Tell a worker to accept no more and to end."""

    handle: PoolHandle


@dataclass(frozen=True)
class Drop:
    """The last slot is empty: its sockets may be closed."""

    slot: Slot


Action: TypeAlias = Spawn | Replace | Drop


@dataclass
class Pool:
    """All slots, and the workers that are on their way out of one.

    :ivar wanted: how many slots there should be.
    :ivar generation: what new workers are, and old ones should become.
    """

    wanted: int
    generation: int = 1
    slots: list[Slot] = field(default_factory=list)
    leaving: list[PoolHandle] = field(default_factory=list)

    def __iter__(self) -> Iterator[PoolHandle]:
        """Every worker."""
        for slot in self.slots:
            for handle in (slot.current, slot.successor):
                if handle is not None:
                    yield handle
        yield from self.leaving

    @property
    def complete(self) -> bool:
        """Whether every slot has a worker that is ready."""
        return len(self.slots) == self.wanted and all(slot.current is not None for slot in self.slots)

    def next_actions(self, now: float) -> list[Action]:
        """What is to be done at this moment, as ``time.monotonic()``; asked again whenever something has happened."""
        self._scale(now)
        found: list[Action] = []
        for slot in self.slots:
            if slot.leaving_at:
                found += self._close(slot, now)
            elif slot.current is None and slot.successor is None and now >= slot.not_before:
                found.append(Spawn(slot))
        due = self._next_due(now)
        if due is not None:
            found.append(Spawn(due))
        return found

    def next_look(self, now: float) -> float:
        """When time alone makes a difference."""
        waiting = [slot.not_before for slot in self.slots if slot.successor is None and slot.not_before > now]
        leaving = [slot.leaving_at + STEERED_S for slot in self.slots if slot.leaving_at and slot.current is not None]
        return min([*waiting, *leaving], default=float("inf"))

    def became_ready(self, handle: PoolHandle) -> PoolHandle | None:
        """A successor takes its place; returns the worker that it replaces."""
        slot = handle.slot
        earlier, slot.current, slot.successor = slot.current, handle, None
        handle.accepts = True
        if earlier is not None:
            self.leaving.append(earlier)
        return earlier

    def take_out(self, handle: PoolHandle) -> None:
        """A worker that is ready is to have no slot any more, so that the slot gets another one."""
        if handle.slot.current is handle:
            handle.slot.current = None
            self.leaving.append(handle)

    def ended(self, handle: PoolHandle, now: float, *, failed: bool) -> None:
        """A worker is gone.

        :param failed: nobody had asked it to go.
        """
        slot = handle.slot
        if handle in self.leaving:
            self.leaving.remove(handle)
        if slot.current is handle:
            slot.current = None
        if slot.successor is handle:
            slot.successor = None
        if not failed:
            return
        if handle.serving and now - handle.spawned_at >= STEADY_S:
            slot.failures = 0
        slot.failures += 1
        if slot.failures > 1 or not handle.serving:
            delay_s = min(BACK_OFF_MAX_S, BACK_OFF_S * 2.0 ** min(slot.failures - 1, 16))
            # Not all slots at once.
            slot.not_before = now + delay_s * random.uniform(0.8, 1.2)

    def steady(self, now: float) -> None:
        """Forgives the slots whose workers have lived long enough."""
        for slot in self.slots:
            if slot.failures and slot.current is not None and now - slot.current.spawned_at >= STEADY_S:
                slot.failures = 0

    def _scale(self, now: float) -> None:
        open_ = [slot for slot in self.slots if not slot.leaving_at]
        for slot in reversed(open_[self.wanted :]):
            slot.leaving_at = now
        for slot in self.slots[len(open_) : self.wanted]:
            # It is wanted again; a worker that was told to go is replaced.
            slot.leaving_at = 0.0
        while len(self.slots) < self.wanted:
            self.slots.append(Slot(len(self.slots)))

    def _close(self, slot: Slot, now: float) -> list[Action]:
        found: list[Action] = []
        if slot.successor is not None:
            handle, slot.successor = slot.successor, None
            self.leaving.append(handle)
            found.append(Replace(handle))
        if slot.current is not None and now >= slot.leaving_at + STEERED_S:
            handle, slot.current = slot.current, None
            self.leaving.append(handle)
            found.append(Replace(handle))
        accepted = any(handle.slot is slot and (handle.accepts or not handle.serving) for handle in self.leaving)
        if slot is self.slots[-1] and slot.current is None and slot.successor is None and not accepted:
            found.append(Drop(slot))
        return found

    def _next_due(self, now: float) -> Slot | None:
        """The slot whose worker is to be replaced next; None while another one is."""
        if any(slot.successor is not None and slot.current is not None for slot in self.slots):
            return None
        if any(handle.accepts for handle in self.leaving):
            return None
        return next((slot for slot in self.slots if self._is_due(slot, now)), None)

    def _is_due(self, slot: Slot, now: float) -> bool:
        current = slot.current
        if current is None or slot.successor is not None or slot.leaving_at or now < slot.not_before:
            return False
        return bool(current.due) or current.generation != self.generation
