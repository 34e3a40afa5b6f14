"""devserver/observe/writer.py."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from devserver.observe import writer
from devserver.observe.writer import BACKLOG_BYTES_MAX, Outlet, Pump
from tests.support.observing import UnreadPipe, wait_until

if TYPE_CHECKING:
    import pytest


def test_bytes_for_a_file_are_written_at_once(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as file:
        outlet = Outlet(file.fileno())
    assert outlet.put(b"a" * 100_000)
    assert not outlet.waiting
    assert (tmp_path / "log").read_bytes() == b"a" * 100_000
    outlet.close()


def test_bytes_for_a_pipe_with_room_are_written_at_once() -> None:
    reader, end = os.pipe()
    outlet = Outlet(end)
    assert outlet.put(b"a" * 20_000)
    assert not outlet.waiting
    assert os.read(reader, 30_000) == b"a" * 20_000
    outlet.close()
    os.close(reader)
    os.close(end)


def test_bytes_for_an_unread_pipe_wait_up_to_a_limit_and_go_later(unread_pipe: UnreadPipe) -> None:
    outlet = Outlet(unread_pipe.writer)
    line = b"b" * 1024
    taken = 0
    started = time.monotonic()
    while outlet.put(line):
        taken += 1
    assert time.monotonic() - started < 5
    assert taken == BACKLOG_BYTES_MAX // 1024
    assert outlet.full
    assert not outlet.push()
    deadline = time.monotonic() + 10
    while not outlet.push():
        unread_pipe.read_all()
        assert time.monotonic() < deadline
    assert unread_pipe.read_all() == line * taken
    assert outlet.put(b"c")
    outlet.close()


def test_bytes_that_are_discarded_never_go(unread_pipe: UnreadPipe) -> None:
    outlet = Outlet(unread_pipe.writer)
    outlet.put(b"b")
    outlet.discard()
    assert not outlet.waiting
    outlet.close()
    assert not outlet.put(b"c")
    assert unread_pipe.read_all() == b""


def test_a_reader_that_left_ends_the_outlet() -> None:
    reader, end = os.pipe()
    outlet = Outlet(end)
    os.close(reader)
    assert outlet.put(b"a")
    assert outlet.broken
    assert isinstance(outlet.error, BrokenPipeError)
    assert not outlet.put(b"b")
    assert not outlet.waiting
    outlet.close()
    os.close(end)


def test_a_full_disk_loses_bytes_but_not_the_outlet() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    outlet = Outlet(full)
    os.close(full)
    assert outlet.put(b"a")
    assert not outlet.broken
    assert isinstance(outlet.error, OSError)
    assert not outlet.waiting
    outlet.close()


def test_closing_the_original_does_not_close_the_outlet(tmp_path: Path) -> None:
    fd = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    outlet = Outlet(fd)
    os.close(fd)
    assert outlet.put(b"a")
    outlet.close()
    assert (tmp_path / "log").read_bytes() == b"a"


def test_a_replaced_descriptor_gets_what_follows(tmp_path: Path) -> None:
    fds = [os.open(tmp_path / name, os.O_WRONLY | os.O_CREAT) for name in ("old", "new")]
    outlet = Outlet(fds[0])
    outlet.put(b"a")
    outlet.replace(fds[1])
    outlet.put(b"b")
    outlet.close()
    os.close(fds[0])
    assert (tmp_path / "old").read_bytes() == b"a"
    assert (tmp_path / "new").read_bytes() == b"b"


def test_many_threads_lose_and_mix_nothing(tmp_path: Path) -> None:
    reader, end = os.pipe()
    outlet = Outlet(end)
    lines = [[f"{thread}:{number}:{'x' * 500}\n".encode() for number in range(200)] for thread in range(4)]
    received = bytearray()

    def read() -> None:
        while data := os.read(reader, 65536):
            received.extend(data)

    def write(own: list[bytes]) -> None:
        for line in own:
            assert outlet.put(line)

    consumer = threading.Thread(target=read)
    consumer.start()
    writers = [threading.Thread(target=write, args=(own,)) for own in lines]
    for thread in writers:
        thread.start()
    for thread in writers:
        thread.join()
    wait_until(outlet.push, "everything is written")
    outlet.close()
    os.close(end)
    consumer.join()
    os.close(reader)
    arrived = bytes(received).splitlines(keepends=True)
    assert sorted(arrived) == sorted(line for own in lines for line in own)
    for own in lines:
        assert [line for line in arrived if line in own] == own


class Work:
    """A step that has something to do for a given number of times."""

    def __init__(self, times: int) -> None:
        self.left = times
        self.steps = 0
        self.threads: set[str] = set()

    def step(self) -> bool:
        self.steps += 1
        self.threads.add(threading.current_thread().name)
        self.left = max(0, self.left - 1)
        return self.left > 0

    def forget(self) -> None:
        self.left = 0


def test_a_pump_without_work_has_no_thread() -> None:
    work = Work(0)
    pump = Pump(work.step, name="idle", forget=work.forget)
    assert pump.drain(1.0)
    assert pump.close(1.0)
    assert work.steps == 0


def test_a_pump_works_until_nothing_is_left_and_sleeps() -> None:
    work = Work(5)
    pump = Pump(work.step, name="worker", forget=work.forget)
    pump.wake()
    wait_until(lambda: work.left == 0, "the work is done")
    assert pump.drain(5.0)
    assert work.threads == {"worker"}
    steps = work.steps
    pump.wake()
    wait_until(lambda: work.steps > steps, "it was woken again")
    assert pump.close(5.0)
    assert "worker" not in {thread.name for thread in threading.enumerate()}
    pump.wake()
    assert pump.close(1.0)


def test_a_pump_gives_up_after_the_given_time() -> None:
    work = Work(10**9)
    pump = Pump(work.step, name="endless", forget=work.forget)
    pump.wake()
    started = time.monotonic()
    assert not pump.drain(0.1)
    assert not pump.close(0.1)
    assert time.monotonic() - started < 2
    wait_until(lambda: "endless" not in {thread.name for thread in threading.enumerate()}, "the thread ended")


def test_a_step_that_fails_is_reported_once_and_called_again(monkeypatch: pytest.MonkeyPatch) -> None:
    reports: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", reports.append)
    steps: list[int] = []

    def fail() -> bool:
        steps.append(1)
        raise ZeroDivisionError

    pump = Pump(fail, name="failing", forget=steps.clear)
    for count in (1, 2, 3):
        pump.wake()
        wait_until(lambda count=count: len(steps) >= count, "it was called")  # type: ignore[misc]
    assert pump.close(5.0)
    assert [report.exc_type for report in reports] == [ZeroDivisionError]


def test_process_that_takes_turns_has_no_thread_and_its_child_has_one_again() -> None:
    script = """
import os, threading
from devserver.observe import writer
done = []
def step():
    done.append(os.getpid())
    return len(done) < 3
pump = writer.Pump(step, name="test", forget=lambda: None)
writer.take_turns()
assert not writer.turn()
pump.wake()
assert threading.active_count() == 1
assert writer.turn() and writer.turn() and not writer.turn() and not writer.turn()
assert len(done) == 3
done.clear()
pump.wake()
assert writer.flush(5)
assert len(done) == 3
if os.fork() == 0:
    done.clear()
    pump.wake()
    assert threading.active_count() == 2
    assert pump.drain(5)
    os._exit(0 if done == [os.getpid()] * 3 else 1)
assert os.wait()[1] == 0
assert pump.close(5)
pump.wake()
print("done")
"""
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "done\n"


def test_flush_waits_for_every_pump() -> None:
    works = [Work(3), Work(4)]
    pumps = [Pump(work.step, name="flushed", forget=work.forget) for work in works]
    for pump in pumps:
        pump.wake()
    assert writer.flush(10.0)
    assert [work.left for work in works] == [0, 0]
    for pump in pumps:
        pump.close(5.0)
