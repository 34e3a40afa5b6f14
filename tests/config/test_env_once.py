"""Env files that can be read once."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path

import pytest

from devserver.config import env_once
from devserver.config.env_files import BYTES_MAX, EnvFileError, read
from tests.support.reload import until


@pytest.fixture(autouse=True)
def _nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(env_once, "_contents", {})
    # Nobody writes in these tests when nobody is meant to.
    monkeypatch.setattr(env_once, "AGAIN_S", 0.0)


def piped(data: bytes) -> int:
    """A pipe that holds ``data`` and has no writer any more."""
    reading, writing = os.pipe()
    os.write(writing, data)
    os.close(writing)
    return reading


def values(path: Path) -> dict[str, str]:
    """The definitions of an env file."""
    return {each.name: each.value for each in read(path, "x").definitions}


def test_pipe_is_read_once_and_keeps_its_values() -> None:
    fd = piped(b"A=1")
    path = Path(f"/dev/fd/{fd}")
    assert values(path) == {"A": "1"}
    assert values(path) == {"A": "1"}
    os.close(fd)
    # What has been read counts when the pipe itself has gone.
    assert values(path) == {"A": "1"}


def test_named_pipe_with_a_new_writer_is_read_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    for text, seen in (("A=1", {"A": "1"}), ("A=2", {"A": "2"}), ("", {"A": "2"})):
        monkeypatch.setattr(env_once, "AGAIN_S", 30.0)
        writer = threading.Thread(target=path.write_text, args=(text,))
        writer.start()
        assert values(path) == seen
        writer.join()
    monkeypatch.setattr(env_once, "AGAIN_S", 0.0)
    assert values(path) == {"A": "2"}


def test_pipe_that_nobody_has_written_to_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    monkeypatch.setattr(env_once, "PATIENCE_S", 0.0)

    class Told(threading.Thread):
        def run(self) -> None:
            until(lambda: caplog.records)
            path.write_text("A=1")

    writer = Told()
    writer.start()
    assert values(path) == {"A": "1"}
    writer.join()
    assert caplog.messages == ["Waiting for the env file x, which nobody has written to."]


def test_pipe_that_says_too_much_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)

    def write() -> None:
        with contextlib.suppress(BrokenPipeError), path.open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * BYTES_MAX)

    writer = threading.Thread(target=write)
    writer.start()
    with pytest.raises(EnvFileError, match="is larger than 4 MiB"):
        read(path, "x")
    writer.join()


def test_what_was_read_is_handed_to_the_next_program() -> None:
    fd = piped(b"A=1")
    path = Path(f"/dev/fd/{fd}")
    assert env_once.hand_over() == ({}, [])
    values(path)
    variable, fds = env_once.hand_over()
    os.close(fd)
    env_once._contents.clear()
    environ = {**variable, "B": "2"}
    env_once.take_over(environ)
    assert environ == {"B": "2"}
    assert values(path) == {"A": "1"}
    for each in fds:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(each)


@pytest.mark.parametrize("text", ["", "x", "[]", '{"/x": 99999}', '{"/x": "y"}'])
def test_variable_of_somebody_else_means_nothing(text: str) -> None:
    environ = {env_once.VARIABLE: text}
    env_once.take_over(environ)
    assert environ == {}
    assert env_once._contents == {}
