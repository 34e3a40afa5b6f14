"""Memory that a master and its workers share."""

from __future__ import annotations

import os
import time

from hypothesis import given
from hypothesis import strategies as st

from devserver.supervisor.scoreboard import COUNTERS, LATENCY_BOUNDS_MS, STATUS_CLASSES, Row, Scoreboard

CELL = st.integers(0, 2**64 - 1)


@given(
    st.builds(
        Row,
        *[CELL] * 10,
        st.lists(CELL, min_size=STATUS_CLASSES, max_size=STATUS_CLASSES),
        st.lists(CELL, min_size=len(LATENCY_BOUNDS_MS) + 1, max_size=len(LATENCY_BOUNDS_MS) + 1),
    )
)
def test_row_is_read_as_it_was_written_and_rows_do_not_touch(row: Row) -> None:
    board = Scoreboard(3)
    board.write(1, row)
    assert board.read(1) == row
    assert board.read(0) == board.read(2) == Row()
    board.close()


def test_number_that_does_not_fit_wraps_round() -> None:
    board = Scoreboard(1)
    board.write(0, Row(requests=2**64 + 5))
    assert board.read(0).requests == 5


def test_rows_are_taken_and_freed_and_counters_never_fall() -> None:
    board = Scoreboard(2)
    assert (board.take(), board.take(), board.take()) == (0, 1, None)
    board.write(0, Row(pid=1, beat=9, requests=10, connections=4, statuses=[0, 9, 0, 1, 0]))
    board.write(1, Row(pid=2, requests=5))
    assert board.totals().requests == 15
    board.free(0)
    assert board.read(0) == Row()
    total = board.totals()
    assert (total.requests, total.statuses, total.connections, total.pid) == (15, [0, 9, 0, 1, 0], 0, 0)
    assert board.take() == 0
    assert board.totals().requests == 15


def test_reader_never_sees_half_a_row_of_another_process() -> None:
    board = Scoreboard(1)
    pid = os.fork()
    if not pid:
        deadline = time.monotonic() + 1
        number = 0
        while time.monotonic() < deadline:
            number += 1
            row = Row(statuses=[number] * 5, latencies=[number] * 14)
            for name in ("pid", *COUNTERS):
                setattr(row, name, number)
            board.write(0, row)
            # A worker writes once a second; somebody who does nothing else leaves no moment to read.
            time.sleep(0.00001)
        os._exit(0)
    rows = []
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        rows.append(board.read(0))
    assert all({row.pid} == {row.latency_us, row.requests, *row.statuses, *row.latencies} for row in rows)
    assert len({row.pid for row in rows}) > 10


def test_row_whose_writer_died_meanwhile_is_given_up_on() -> None:
    board = Scoreboard(1)
    board.write(0, Row(pid=7))
    board._cells[0] |= 1
    assert board.read(0).pid == 7
    # The next one that has it writes as ever.
    board.write(0, Row(pid=8))
    assert board._cells[0] % 2 == 0
    assert board.read(0).pid == 8
