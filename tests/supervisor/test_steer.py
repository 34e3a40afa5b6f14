"""Sockets that share a port, and which of them gets a connection."""

from __future__ import annotations

import collections
import contextlib
import errno
import os
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devserver.supervisor import steer
from devserver.supervisor.steer import Sharing, program


def run(instructions: list[tuple[int, int, int, int]], random: int) -> int:
    """What a program returns for one random number; the machine of bpf(4), as far as it is used."""
    accumulator, position = 0, 0
    while True:
        code, if_true, if_false, k = instructions[position]
        position += 1
        match code:
            case 0x20:
                accumulator = random
            case 0x94:
                accumulator %= k
            case 0x15:
                position += if_true if accumulator == k else if_false
            case 0x06:
                return k
            case _:
                raise AssertionError(code)


@given(st.lists(st.integers(0, 1_023), min_size=1, max_size=40, unique=True), st.integers(0, 2**20))
def test_program_returns_each_slot_as_often_as_the_others(slots: list[int], start: int) -> None:
    start -= start % len(slots)
    found = [run(program(slots), number) for number in range(start, start + len(slots))]
    assert found == slots


def test_largest_program_is_one_that_the_kernel_takes() -> None:
    assert len(program(range(steer.SLOTS_MAX))) <= 4_096
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(("127.0.0.1", 0))
        steer.attach(sock, range(steer.SLOTS_MAX))


def test_it_is_possible_here() -> None:
    assert steer.is_possible()


@contextlib.contextmanager
def shared(family: socket.AddressFamily = socket.AF_INET, *, apart: bool = True) -> Iterator[Sharing]:
    """A listener whose sockets are closed afterwards."""
    with socket.socket(family) as sock:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
        sharing = Sharing(sock, lambda each: each.listen(100), apart=apart)
        yield sharing
        sharing.close()


def spread(sharing: Sharing, slots: int, count: int = 200) -> collections.Counter[int]:
    """Connects so often; how many connections are in the queue of each slot."""
    address = sharing.of(0).getsockname()
    found: collections.Counter[int] = collections.Counter()
    for _ in range(count):
        with socket.create_connection(address[:2]):
            for slot in range(slots):
                sharing.of(slot).setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    sharing.of(slot).accept()[0].close()
                    found[slot] += 1
    return found


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_connections_go_to_the_slots_that_are_named_and_to_no_other(family: socket.AddressFamily) -> None:
    with shared(family) as sharing:
        for slot in range(4):
            sharing.of(slot)
        sharing.steer((0, 1, 2, 3))
        found = spread(sharing, 4, 400)
        assert sum(found.values()) == 400
        assert min(found[slot] for slot in range(4)) > 50
        sharing.steer((1, 3))
        found = spread(sharing, 4)
        assert set(found) == {1, 3}
        assert sum(found.values()) == 200
        sharing.steer((2,))
        assert spread(sharing, 4) == {2: 200}
        # Nobody is left who could take one: it stays as it was.
        sharing.steer(())
        assert spread(sharing, 4) == {2: 200}


def test_last_slot_is_dropped_and_made_again() -> None:
    with shared() as sharing:
        for slot in range(3):
            sharing.of(slot)
        sharing.steer((0, 1))
        sharing.drop(1)
        assert sharing.of(1).fileno() > 0
        sharing.drop(2)
        assert set(spread(sharing, 2)) == {0, 1}
        sharing.of(2)
        sharing.steer((0, 1, 2))
        assert set(spread(sharing, 3)) == {0, 1, 2}


def test_address_stays_taken_for_everybody_else() -> None:
    with shared() as sharing, socket.socket() as other:
        sharing.of(1)
        with pytest.raises(OSError, match=os.strerror(errno.EADDRINUSE)):
            other.bind(sharing.of(0).getsockname())


def test_one_socket_serves_all_slots_where_they_cannot_have_their_own() -> None:
    with shared(apart=False) as sharing:
        assert sharing.of(0) is sharing.of(5)
        sharing.steer((0,))
        sharing.drop(5)
        assert spread(sharing, 1) == {0: 200}
