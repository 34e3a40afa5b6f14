"""The UI on real streams: what arrives, and that nobody ever waits for it."""

from __future__ import annotations

import io
import json
import os
import pty
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest

from devserver.config.settings import Config
from devserver.errors import AppLoadError, BindError
from devserver.events import (
    AppFailed,
    AppRaised,
    Emitter,
    Failure,
    FilesLoaded,
    Frame,
    Notice,
    Reloaded,
    ServerReady,
    ServerStarting,
)
from devserver.ui import UI, make_ui

READY = ServerReady(1, ("http://127.0.0.1:8000",), "main:app", 0.2)


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "CI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


def started(kind: str, *, stdout: IO[str] | None = None, stderr: IO[str] | None = None) -> tuple[UI, Emitter]:
    ui = make_ui(Config(ui=kind), stdout=stdout or io.StringIO(), stderr=stderr or io.StringIO(), name="devserver 1.0")
    emitter = Emitter()
    ui.attach(emitter)
    return ui, emitter


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "waited 10 s in vain"
        threading.Event().wait(0.005)


def test_people_read_on_stderr_and_stdout_stays_the_apps() -> None:
    out, err = io.StringIO(), io.StringIO()
    ui, emitter = started("plain", stdout=out, stderr=err)
    emitter.emit(READY)
    ui.error(BindError("taken", hint="wait"))
    ui.close()
    assert err.getvalue().endswith("\nerror: taken\n\nhint: wait\n\n")
    assert out.getvalue() == ""


def test_programs_read_json_on_stdout() -> None:
    out, err = io.StringIO(), io.StringIO()
    ui, emitter = started("json", stdout=out, stderr=err)
    for event in (ServerStarting(1), READY, FilesLoaded((), ())):
        emitter.emit(event)
    ui.error(BindError("taken"))
    ui.close()
    assert [json.loads(line)["event"] for line in out.getvalue().splitlines()] == [
        "ServerStarting",
        "ServerReady",
        "Error",
    ]
    assert err.getvalue() == ""


def test_stream_without_a_terminal_gets_plain_text() -> None:
    ui, _ = started("auto")
    assert ui.kind == "plain"
    ui.close()


def test_terminal_gets_colours() -> None:
    ours, theirs = pty.openpty()
    with open(theirs, "w", encoding="utf-8") as terminal:
        ui, emitter = started("auto", stderr=terminal)
        assert ui.kind == "rich"
        emitter.emit(Reloaded(("/a.py",), 0.0212, "cold"))
        ui.close()
        assert os.read(ours, 1000).decode() == "\x1b[1;32m↻ \x1b[0m/a.py\x1b[2m · 21 ms\x1b[0m\r\n"
    os.close(ours)


def test_secrets_and_control_characters_are_kept_off_every_ui(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_TOKEN", "tr0ub4dor&3")
    frame = Frame("/x/\x1b[2Ja.py", 1, "f", 'PASSWORD = "hunter2"', True)
    failure = Failure("E", "tr0ub4dor&3 password=hunter2 \x1b]0;title\x07", (frame,))
    for kind in ("plain", "rich", "json"):
        stream = io.StringIO()
        ui, emitter = started(kind, stdout=stream, stderr=stream)
        emitter.emit(Notice("warning", "tr0ub4dor&3"))
        emitter.emit(AppRaised(failure))
        emitter.emit(AppFailed("password=hunter2", "", failure))
        ui.error(AppLoadError("token=hunter2", hint="hunter2 password=hunter2", failure=failure))
        ui.close()
        text = stream.getvalue()
        assert "tr0ub4dor" not in text
        assert "password=hunter2" not in text
        assert "token=hunter2" not in text
        assert "title" not in text
        assert "[2J" not in text


def test_characters_that_cannot_be_printed_are_written_out(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with path.open("w", encoding="ascii") as stream:
        ui, emitter = started("plain", stderr=stream)
        emitter.emit(Reloaded(("/größe/\udcff.py",), 0.0212, "cold"))
        ui.close()
    assert path.read_text("ascii") == "* /gr\\xf6\\xdfe/\\udcff.py - 21 ms\n"


def test_pipe_that_nobody_reads_holds_nobody_up_and_the_loss_is_told() -> None:
    reading, writing = os.pipe()
    with open(writing, "w", encoding="utf-8") as stream:
        ui, emitter = started("plain", stderr=stream)
        start = time.monotonic()
        for _ in range(50_000):
            emitter.emit(Notice("info", "x" * 100))
        assert time.monotonic() - start < 5
        read = bytearray()

        def reads_the_count() -> bool:
            read.extend(os.read(reading, 1 << 16))
            return b"messages were left out" in read

        wait_for(reads_the_count)
        ui.close()
    os.close(reading)


def test_closing_waits_a_second_at_most_for_a_pipe_that_nobody_reads() -> None:
    reading, writing = os.pipe()
    with open(writing, "w", encoding="utf-8") as stream:
        ui, emitter = started("plain", stderr=stream)
        for _ in range(1_000):
            emitter.emit(Notice("info", "x" * 1_000))
        start = time.monotonic()
        ui.close()
        assert time.monotonic() - start < 5
    os.close(reading)


def test_reader_that_left_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w", encoding="utf-8") as stream:
        ui, emitter = started("plain", stderr=stream)
        for _ in range(10):
            emitter.emit(Notice("info", "x"))
            ui.error(BindError("y"))
        ui.close()


def test_closed_stream_is_no_error() -> None:
    stream = io.StringIO()
    ui, emitter = started("plain", stderr=stream)
    stream.close()
    emitter.emit(Notice("info", "x"))
    ui.close()


def test_notices_obey_the_log_level() -> None:
    for level, expected in (("error", ""), ("debug", "debug: x\n"), (10, "debug: x\n"), ("trace", "debug: x\n")):
        stream = io.StringIO()
        ui = make_ui(Config(ui="plain", log_level=level), stdout=stream, stderr=stream)
        emitter = Emitter()
        ui.attach(emitter)
        emitter.emit(Notice("debug", "x"))
        ui.close()
        assert stream.getvalue() == expected


def test_supervisor_imports_rich_before_there_is_something_to_tell(tmp_path: Path) -> None:
    stream = io.StringIO()
    ui = make_ui(Config("main:app", ui="rich", reload=True), stdout=stream, stderr=stream)
    emitter = Emitter()
    ui.attach(emitter)
    emitter.emit(Notice("info", "x"))
    ui.close()
    assert stream.getvalue().endswith("x\n")
