"""Where other commands find a running ``dev run``."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from devserver.supervisor import rendezvous
from devserver.supervisor.rendezvous import Asker, Rendezvous, connect, socket_path
from tests.support.reload import PATIENCE_S, until

if TYPE_CHECKING:
    import pytest

    from devserver.supervisor.channel import Message


@contextmanager
def listening(root: Path) -> Iterator[list[Asker]]:
    """A rendezvous that answers ``echo``, driven by a thread; yields who has asked."""
    asked: list[Asker] = []

    def echo(asker: Asker, message: Message) -> None:
        asked.append(asker)
        fds = asker.take_descriptors()
        asker.answer({"is": "echo", "said": message.get("said"), "descriptors": len(fds)})
        for fd in fds:
            os.write(fd, b"here")
            os.close(fd)

    selector = selectors.DefaultSelector()
    meeting = Rendezvous(str(root), {"echo": echo})
    assert meeting.open(selector) == ""
    stopping = threading.Event()

    def drive() -> None:
        while not stopping.is_set():
            for key, _ in selector.select(0.01):
                key.data()

    thread = threading.Thread(target=drive)
    thread.start()
    try:
        yield asked
    finally:
        stopping.set()
        thread.join(PATIENCE_S)
        meeting.close()
        selector.close()


def say(sock: socket.socket, message: dict[str, Any], fd: int | None = None) -> None:
    data = json.dumps({**message, **({"fd": True} if fd is not None else {})}).encode() + b"\n"
    socket.send_fds(sock, [data], [] if fd is None else [fd])


def hear(sock: socket.socket) -> dict[str, Any] | None:
    sock.settimeout(PATIENCE_S)
    line = sock.makefile("rb").readline()
    return json.loads(line) if line else None


def found(root: Path) -> socket.socket:
    sock = connect(root)
    assert sock is not None
    return sock


def test_question_is_answered_and_descriptors_come_along(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    with listening(tmp_path), found(tmp_path) as sock:
        say(sock, {"do": "keep"}, writer)
        say(sock, {"do": "echo", "said": "hello"})
        assert hear(sock) == {"is": "echo", "said": "hello", "descriptors": 1}
    assert os.read(reader, 10) == b"here"
    os.close(reader)
    os.close(writer)
    assert not socket_path(tmp_path, os.getpid()).exists()


def test_unknown_question_gets_those_that_there_are(tmp_path: Path) -> None:
    with listening(tmp_path), found(tmp_path) as sock:
        say(sock, {"do": "dance"})
        assert hear(sock) == {"is": "unknown", "known": ["echo"]}


def test_project_may_be_deeper_than_an_address_of_a_socket(tmp_path: Path) -> None:
    root = tmp_path / ("long" * 30) / ("longer" * 20)
    root.mkdir(parents=True)
    with listening(root), found(root) as sock:
        say(sock, {"do": "echo"})
        assert hear(sock) == {"is": "echo", "said": None, "descriptors": 0}


def test_only_the_same_user_is_heard_and_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(tmp_path) as asked:
        path = socket_path(tmp_path, os.getpid())
        assert path.parent.stat().st_mode & 0o777 == 0o700
        monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
        assert connect(tmp_path) is None
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(path))
            with contextlib.suppress(BrokenPipeError):
                say(sock, {"do": "echo"})
            wait_end(sock)
        assert asked == []


def wait_end(sock: socket.socket) -> None:
    """The other side hangs up."""
    sock.settimeout(PATIENCE_S)
    with contextlib.suppress(ConnectionResetError):
        assert sock.recv(1) == b""


def test_too_much_and_nonsense_end_the_conversation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendezvous, "LINE_BYTES_MAX", 1000)
    with listening(tmp_path) as asked:
        for data in (b"x" * 5000, b"[1]\n", b"nonsense\n"):
            with found(tmp_path) as sock:
                sock.sendall(data)
                wait_end(sock)
        with found(tmp_path) as sock:
            socket.send_fds(sock, [b"{"], [0, 1, 2, 0])
            wait_end(sock)
        assert asked == []
        with found(tmp_path) as sock:
            say(sock, {"do": "echo"})
            assert hear(sock) is not None


def test_silent_ones_make_room_and_busy_ones_do_not(tmp_path: Path) -> None:
    with listening(tmp_path) as asked:
        silent = [found(tmp_path) for _ in range(rendezvous.ASKERS_MAX)]
        with found(tmp_path) as sock:
            say(sock, {"do": "echo"})
            assert hear(sock) is not None
        wait_end(silent[0])
        for sock in silent[1:]:
            say(sock, {"do": "echo"})
            assert hear(sock) is not None
        last = found(tmp_path)
        say(last, {"do": "echo"})
        assert hear(last) is not None
        with found(tmp_path) as refused:
            wait_end(refused)
        assert len(asked) == 1 + rendezvous.ASKERS_MAX
        for sock in [*silent, last]:
            sock.close()


def test_whoever_goes_is_noticed(tmp_path: Path) -> None:
    gone: list[bool] = []
    with listening(tmp_path) as asked:
        sock = found(tmp_path)
        say(sock, {"do": "echo"})
        assert hear(sock) is not None
        asked[0].on_gone = lambda: gone.append(True)
        sock.close()
        until(lambda: gone)


def test_socket_of_a_dead_process_is_ignored_and_removed(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    stale, reused = socket_path(tmp_path, int(ended.stdout)), socket_path(tmp_path, 1)
    stale.parent.mkdir(mode=0o700, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(stale))
    # One whose number belongs to another process now does not answer, and stays.
    reused.touch()
    assert connect(tmp_path) is None
    assert not stale.exists()
    assert reused.exists()
    reused.unlink()
    with listening(tmp_path), found(tmp_path) as sock:
        say(sock, {"do": "echo"})
        assert hear(sock) is not None


def test_folder_that_takes_no_socket_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "sockets"
    monkeypatch.setattr(rendezvous, "_folder", lambda: folder)
    selector = selectors.DefaultSelector()
    folder.mkdir(mode=0o755)
    assert Rendezvous(str(tmp_path), {}).open(selector) == f"{folder} is not this user's alone"
    assert connect(tmp_path) is None
    folder.rmdir()
    folder.symlink_to(tmp_path)
    assert Rendezvous(str(tmp_path), {}).open(selector) == f"{folder} is not this user's alone"
    folder.unlink()
    folder.write_text("")
    assert "takes no socket" in Rendezvous(str(tmp_path), {}).open(selector)
    assert connect(tmp_path) is None
    selector.close()
