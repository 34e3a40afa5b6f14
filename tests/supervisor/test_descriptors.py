"""What a process holds, and how a forked copy lets go of it."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

from devserver.supervisor import children, descriptors, life
from tests.support.reload import CHECKOUT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest


def in_child(work: Callable[[], object], known: frozenset[descriptors.Held], kept: tuple[int, ...] = ()) -> bool:
    """Whether ``work`` returns something true in a child that keeps only these."""
    pid = children.fork(known, kept)
    if not pid:
        try:
            os._exit(0 if work() else 1)
        finally:
            os._exit(2)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status) == 0


def is_null(fd: int) -> bool:
    return os.path.realpath(f"/proc/self/fd/{fd}") == os.devnull


def test_child_keeps_what_is_known_and_named_and_lets_the_rest_go(tmp_path: Path) -> None:
    first, second = socket.socketpair()
    with first, second, (tmp_path / "file").open("w") as file:
        known = descriptors.held()
        kept, others = os.pipe()
        third, fourth = socket.socketpair()
        with third, fourth:
            assert in_child(
                lambda: (
                    not is_null(first.fileno())
                    and not is_null(kept)
                    and not is_null(file.fileno())
                    and is_null(others)
                    and is_null(third.fileno())
                    and is_null(fourth.fileno())
                ),
                known,
                (kept,),
            )
            # Here nothing has changed.
            third.send(b"a")
            assert fourth.recv(1) == b"a"
        os.close(kept)
        os.close(others)


def test_number_that_belongs_to_something_else_now_is_not_known() -> None:
    first, second = socket.socketpair()
    number = first.fileno()
    with first, second:
        known = descriptors.held()
    with socket.socket() as other:
        # The lowest free number, which has just become free.
        assert other.fileno() in {number, *(each[0] for each in known)}
        assert in_child(lambda: is_null(other.fileno()), known)


def test_without_leaves_numbers_out() -> None:
    with socket.socket() as sock:
        assert {each[0] for each in descriptors.held() - descriptors.without(descriptors.held(), [sock.fileno()])} == {
            sock.fileno()
        }


def test_what_is_not_open_is_not_replaced() -> None:
    descriptors.replace([-1])
    with socket.socket() as sock:
        number = sock.fileno()
        descriptors.replace([number, -1])
        assert is_null(number)
        assert not os.get_inheritable(number)


def test_one_makes_room_for_null_when_no_number_is_left() -> None:
    first, second = socket.socketpair()
    third, fourth = socket.socketpair()
    with first, second, third, fourth:

        def work() -> bool:
            _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            # Neither a file nor the list of what is open can be opened.
            numbers = {each[0] for each in descriptors.held()}
            while True:
                try:
                    numbers.add(os.dup(first.fileno()))
                except OSError:
                    break
                resource.setrlimit(resource.RLIMIT_NOFILE, (max(numbers) + 1, hard))
            assert {each[0] for each in descriptors.held()} >= numbers
            descriptors.replace([first.fileno(), third.fileno()])
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            return is_null(first.fileno()) and is_null(third.fileno()) and not is_null(second.fileno())

        assert in_child(work, descriptors.held())


def test_without_devices_they_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError

    first, second = socket.socketpair()
    with second:
        monkeypatch.setattr(os, "open", refuse)
        descriptors.replace([first.detach()])
        assert second.recv(1) == b""


def test_child_that_raises_does_not_return(capfd: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise OSError("in the child")

    pid = children.start(fail, descriptors.held())  # type: ignore[arg-type]
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 1
    assert "OSError: in the child" in capfd.readouterr().err


def test_life_of_this_process_is_not_over_and_that_of_another_one_is() -> None:
    own = life.own()
    assert not life.is_over(own)
    os.close(own)
    assert not life.is_over(-1)
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    fd = os.pidfd_open(process.pid)
    assert not life.is_over(fd)
    process.communicate(b"\n")
    assert life.is_over(fd)
    os.close(fd)


def test_closed_streams_are_reserved() -> None:
    code = (
        "import os, sys\n"
        "from devserver.supervisor.descriptors import reserve_standard_streams\n"
        "reserve_standard_streams()\n"
        "sys.stdout.write('a'); sys.stderr.write('b'); sys.stdin.read()\n"
        "assert [os.readlink(f'/proc/self/fd/{fd}') for fd in (0, 1, 2)] == ['/dev/null'] * 3\n"
        "assert all(os.get_inheritable(fd) for fd in (0, 1, 2))\n"
        "os._exit(7)\n"
    )
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        check=False,
    )
    assert done.returncode == 7
