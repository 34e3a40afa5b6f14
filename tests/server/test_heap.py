"""Memory of TLS connections, and when it is given back."""

from __future__ import annotations

import ctypes

import pytest

from devserver.server import heap
from devserver.server.heap import CONNECTIONS, Heap
from tests.support.reload import until


@pytest.mark.parametrize(
    ("accepted", "expected"),
    [
        # Second → connections so far; seconds at which memory is given back.
        ({0: CONNECTIONS - 1}, []),
        ({0: CONNECTIONS}, [10, 70]),
        ({0: CONNECTIONS, 5: 2 * CONNECTIONS}, [10, 75]),
        ({0: CONNECTIONS, 20: 2 * CONNECTIONS}, [10, 30, 90]),
        # An endless stream puts nothing off.
        ({second: second * CONNECTIONS for second in range(40)}, [11, 22, 33, 44, 109]),
    ],
)
def test_memory_is_given_back_some_time_after_many_connections(accepted: dict[int, int], expected: list[int]) -> None:
    count, now, trims = 0, 0, []

    def trim(pad: int) -> int:
        trims.append((now, pad))
        return 1

    def enough() -> bool:
        return len(trims) >= wanted

    watched = Heap(lambda: count, trim)
    for now in range(200):
        count = accepted.get(now, count)
        wanted = len(trims) + (now in expected)
        watched.look(float(now))
        until(enough)
    assert trims == [(second, 0) for second in expected]


def test_function_of_glibc_is_found_or_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    trim = heap.trimmer()
    assert trim is None or trim(0) in {0, 1}

    def no_library(_: object) -> object:
        raise OSError

    monkeypatch.setattr(ctypes, "CDLL", no_library)
    assert heap.trimmer() is None
