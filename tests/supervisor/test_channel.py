"""Messages over a socket pair, whole ones and the end of the pipe."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devserver.supervisor import channel
from devserver.supervisor.channel import (
    LineBuffer,
    SupervisorChannel,
    WorkerChannel,
    channel_pair,
    encode,
    receive_first,
)
from tests.support.reload import until


def test_line_buffer_cuts_at_line_ends_wherever_the_pieces_end() -> None:
    data = encode({"do": "go"}) + encode({"do": "stop"})
    for cut in range(len(data) + 1):
        lines = LineBuffer()
        assert [*lines.feed(data[:cut]), *lines.feed(data[cut:])] == [{"do": "go"}, {"do": "stop"}]


@pytest.mark.parametrize("line", [b"no json\n", b"[]\n", b"\xff\n"])
def test_line_that_is_no_message_is_an_error(line: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - json's own error is one of them
        LineBuffer().feed(line)


def test_line_without_an_end_is_not_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "LINE_BYTES_MAX", 10)
    lines = LineBuffer()
    assert lines.feed(b"x" * 10) == []
    with pytest.raises(ValueError, match="more than 10 bytes"):
        lines.feed(b"x")


@pytest.fixture
def ours() -> Iterator[tuple[SupervisorChannel, socket.socket]]:
    """The supervisor's end, and the other one as a plain socket."""
    ours, theirs = channel_pair()
    yield ours, theirs
    ours.close()
    theirs.close()


def test_supervisor_gets_last_words_and_then_the_end(ours: tuple[SupervisorChannel, socket.socket]) -> None:
    end, theirs = ours
    assert end.receive() == []
    theirs.sendall(encode({"is": "loaded"}) + b'{"is": "cut o')
    theirs.close()
    assert end.receive() == [{"is": "loaded"}]
    assert end.receive() is None


def test_supervisor_listens_no_longer_to_somebody_who_talks_nonsense(
    ours: tuple[SupervisorChannel, socket.socket],
) -> None:
    end, theirs = ours
    theirs.sendall(b"GET / HTTP/1.1\r\n\r\n")
    assert end.receive() is None
    assert end.closed


def test_supervisor_never_waits_for_a_worker_that_does_not_read(
    ours: tuple[SupervisorChannel, socket.socket],
) -> None:
    end, theirs = ours
    message = {"job": "x" * 2_000_000}
    end.send(message)
    assert not end.flush()
    received = bytearray()
    theirs.setblocking(False)
    while not received.endswith(b"\n"):
        end.flush()
        received += theirs.recv(65536)
    assert json.loads(received) == message
    assert end.flush()


def test_supervisor_may_send_to_a_worker_that_has_gone(ours: tuple[SupervisorChannel, socket.socket]) -> None:
    end, theirs = ours
    theirs.close()
    end.send({"do": "stop"})
    assert end.receive() is None


def test_first_message_is_cut_off_what_comes_after_it(ours: tuple[SupervisorChannel, socket.socket]) -> None:
    end, theirs = ours
    end.send({"job": "x"})
    end.send({"do": "go"})
    first = receive_first(theirs)
    assert first.message == {"job": "x"}
    # Whatever of the second has been read with it is not lost.
    end.close()
    found = [*first.rest]
    while (more := first.inbox.receive(theirs)) is not None:
        found += more
    assert found == [{"do": "go"}]


def test_supervisor_that_goes_before_the_first_message_is_an_end(ours: tuple[SupervisorChannel, socket.socket]) -> None:
    end, theirs = ours
    end.close()
    with pytest.raises(EOFError):
        receive_first(theirs)


class Talk:
    """A worker's end, and what was heard on it."""

    def __init__(self, theirs: socket.socket, **options: Any) -> None:
        self.heard: list[dict[str, Any]] = []
        self.closed = threading.Event()
        self.channel = WorkerChannel(theirs, self.heard.append, self.closed.set, **options)


def test_worker_hears_what_came_with_the_first_message_and_after_it(
    ours: tuple[SupervisorChannel, socket.socket],
) -> None:
    end, theirs = ours
    end.send({"job": "x"})
    end.send({"do": "go"})
    end.socket.sendall(encode({"do": "stay"})[:5])
    first = receive_first(theirs)
    talk = Talk(theirs, first=first)
    end.socket.sendall(encode({"do": "stay"})[5:])
    end.send({"do": "stop"})
    talk.channel.start()
    until(lambda: talk.heard == [{"do": "go"}, {"do": "stay"}, {"do": "stop"}])
    talk.channel.close(30)
    assert not talk.closed.is_set()


def test_descriptors_travel_with_their_messages_both_ways(
    ours: tuple[SupervisorChannel, socket.socket], tmp_path: Path
) -> None:
    end, theirs = ours
    names = [str(tmp_path / name) for name in "abcde"]

    def fd(name: str) -> int:
        return os.open(name, os.O_RDWR | os.O_CREAT)

    end.send({"job": "x"})
    end.send({"do": "take", "name": names[0]}, fd(names[0]))
    first = receive_first(theirs)
    talk = Talk(theirs, first=first)
    end.send({"do": "go"})
    for name in names[1:3]:
        end.send({"do": "take", "name": name}, fd(name))
    talk.channel.start()
    for name in names[3:]:
        talk.channel.send({"is": "connection", "name": name, "long": "x" * 100_000}, fd(name))
    heard: list[dict[str, Any]] = []

    def all_has_come() -> bool:
        heard.extend(end.receive() or [])
        return len(heard) == 2 and len(talk.heard) == 4

    until(all_has_come)
    taken = [message for message in [*talk.heard, *heard] if "name" in message]
    assert [message["name"] for message in taken] == names
    for message in taken:
        assert os.readlink(f"/proc/self/fd/{message['fd']}") == message["name"]
        os.close(message["fd"])
    talk.channel.close(30)
    assert not [link for link in links() if str(tmp_path) in link]


def test_descriptor_that_is_never_sent_is_closed(ours: tuple[SupervisorChannel, socket.socket], tmp_path: Path) -> None:
    end, theirs = ours
    theirs.close()
    end.send({"do": "take"}, os.open(tmp_path / "a", os.O_RDWR | os.O_CREAT))
    assert not [link for link in links() if str(tmp_path) in link]


def links() -> list[str]:
    """What the descriptors of this process are of."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found.append(os.readlink(f"/proc/self/fd/{name}"))
    return found


def test_worker_is_told_once_that_the_supervisor_has_gone(ours: tuple[SupervisorChannel, socket.socket]) -> None:
    end, theirs = ours
    talk = Talk(theirs)
    talk.channel.start()
    end.close()
    assert talk.closed.wait(30)
    talk.channel.close(30)


def test_last_message_leaves_and_the_thread_ends_without_a_tick(
    ours: tuple[SupervisorChannel, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "TICK_S", 3600)
    end, theirs = ours

    def finish(_: dict[str, Any]) -> None:
        last.send({"is": "finished"})
        last.close(0)

    last = WorkerChannel(theirs, finish, lambda: None)
    # Both are there to be read at once, so that the thread is woken for everything together.
    end.send({"do": "stop"})
    last._wake()
    last.start()
    last._thread.join(30)
    assert not last._thread.is_alive()
    assert end.receive() == [{"is": "finished"}]


def test_worker_drops_what_nobody_reads(
    ours: tuple[SupervisorChannel, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "PENDING_MESSAGES_MAX", 3)
    end, theirs = ours
    talk = Talk(theirs)
    for number in range(5):
        talk.channel.send({"number": number})
    talk.channel.start()
    talk.channel.close(30)
    assert end.receive() == [{"number": 0}, {"number": 1}, {"number": 2}]
