"""devserver/observe/logging.py."""

from __future__ import annotations

import asyncio
import copy
import io
import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from devserver.config.logging_config import ACCESS_FORMAT, LOGGING_CONFIG
from devserver.config.settings import Config
from devserver.errors import ConfigError
from devserver.events import (
    AppFailed,
    AppRaised,
    Emitter,
    EnvironmentChanged,
    Event,
    Failure,
    FilesChanged,
    LifespanChanged,
    Notice,
    Reloaded,
    RequestRefused,
    ServerReady,
    ServerStarting,
    ServerStopped,
    ServerStopping,
    WorkerDied,
)
from devserver.observe.logging import (
    TRACE,
    AccessFormatter,
    DefaultFormatter,
    JsonFormatter,
    LogObserver,
    StreamHandler,
    configure,
    wants_colors,
)
from tests.support.observing import UnreadPipe, finished, wait_until

FAILURE = Failure(
    "ValueError", "bad \x1b[31m", (), during="GET /x", traceback="Traceback:\n  x\nValueError: bad \x1b[31m\n"
)


class Terminal(io.StringIO):
    """A stream that says it is one."""

    def isatty(self) -> bool:
        return True


def logged(*events: Event, **options: Any) -> list[str]:
    """The lines on standard error that ``events`` give."""
    stream = io.StringIO()
    stderr, sys.stderr = sys.stderr, stream
    try:
        config = Config("main:app", **options)
        configure(config)
        emitter = Emitter()
        LogObserver(config).attach(emitter)
        for event in events:
            emitter.emit(event)
    finally:
        sys.stderr = stderr
    return stream.getvalue().splitlines()


def access_record(*args: object, **extra: object) -> logging.LogRecord:
    record = logging.LogRecord("devserver.access", logging.INFO, "", 0, '%s - "%s %s HTTP/%s" %d', args, None)
    record.__dict__.update(extra)
    return record


@pytest.mark.parametrize(
    ("event", "lines"),
    [
        (ServerStarting(7), ["INFO:     Started server process [7]"]),
        (LifespanChanged("startup"), ["INFO:     Waiting for application startup."]),
        (LifespanChanged("started"), ["INFO:     Application startup complete."]),
        (LifespanChanged("unsupported"), ["INFO:     ASGI 'lifespan' protocol appears unsupported."]),
        (LifespanChanged("shutdown"), ["INFO:     Waiting for application shutdown."]),
        (LifespanChanged("stopped"), ["INFO:     Application shutdown complete."]),
        (LifespanChanged("other"), []),
        (
            ServerReady(7, ("http://127.0.0.1:8000", "unix:/run/x"), "main:app", 0.1),
            [
                "INFO:     Devserver running on http://127.0.0.1:8000 (Press CTRL+C to quit)",
                "INFO:     Devserver running on unix socket /run/x (Press CTRL+C to quit)",
            ],
        ),
        (ServerStopping(7, 0, 0), ["INFO:     Shutting down"]),
        (
            ServerStopping(7, 2, 1),
            ["INFO:     Shutting down", "INFO:     Waiting for connections to close. (CTRL+C to force quit)"],
        ),
        (
            ServerStopping(7, 0, 1),
            ["INFO:     Shutting down", "INFO:     Waiting for background tasks to complete. (CTRL+C to force quit)"],
        ),
        (ServerStopped(7), ["INFO:     Finished server process [7]"]),
        (Notice("warning", "100% \x1b[0m"), ["WARNING:  100% \\x1b[0m"]),
        (Notice("debug", "not at info"), []),
        (FilesChanged(("a.py", "b.py"), True), ["WARNING:  Detected changes in 'a.py', 'b.py'. Reloading..."]),
        (
            FilesChanged(("t.py",), False, "not loaded"),
            ["INFO:     Detected changes in 't.py'. Not reloading: not loaded"],
        ),
        (
            EnvironmentChanged((".env",), ("A",), (), (), (("B", "the environment"),)),
            ["INFO:     Variables of .env: A added; B shadowed by the environment"],
        ),
        (Reloaded(("a.py",), 0.0154, "cold"), ["INFO:     Reloaded in 15 ms"]),
        (WorkerDied(7, -9), ["ERROR:    Server process [7] died (signal 9)"]),
        (WorkerDied(7, 3), ["ERROR:    Server process [7] died (exit code 3)"]),
        (
            RequestRefused("1.2.3.4:5", 400, "several Host\r\n"),
            ["WARNING:  1.2.3.4:5 - Invalid HTTP request received: several Host\\x0d\\x0a (400)"],
        ),
        (
            RequestRefused("unix", 503, "concurrency limit exceeded"),
            ["WARNING:  unix - Request refused: concurrency limit exceeded (503)"],
        ),
        (
            AppRaised(FAILURE),
            [
                "ERROR:    Exception in ASGI application (GET /x)",
                "Traceback:",
                "  x",
                "ValueError: bad \\x1b[31m",
            ],
        ),
        (
            AppFailed("Startup failed.", "look there", Failure("ValueError", "bad", ())),
            ["ERROR:    Startup failed.", "look there", "ValueError: bad"],
        ),
        (AppFailed("Startup failed.", "", None), ["ERROR:    Startup failed."]),
    ],
)
def test_an_event_becomes_a_line(event: Event, lines: list[str]) -> None:
    assert logged(event) == lines


def test_a_level_silences_events_below_it() -> None:
    assert logged(ServerStarting(7), Notice("error", "x"), AppRaised(FAILURE), log_level="critical") == []
    assert logged(Notice("debug", "x"), log_level="DEBUG") == ["DEBUG:    x"]
    assert logged(Notice("debug", "x"), log_level=TRACE) == ["DEBUG:    x"]


def test_what_a_ui_tells_is_not_logged_twice(capsys: pytest.CaptureFixture[str]) -> None:
    config = Config("main:app")
    configure(config)
    emitter = Emitter()
    LogObserver(config).attach(emitter, told_elsewhere=True)
    emitter.emit(ServerStarting(7))
    emitter.emit(RequestRefused("1.2.3.4:5", 400, "x"))
    assert capsys.readouterr().err == "WARNING:  1.2.3.4:5 - Invalid HTTP request received: x (400)\n"


def test_a_flood_of_refusals_gives_ten_lines_and_a_count() -> None:
    flood = [RequestRefused("1.2.3.4:5", 400, "x")] * 1000
    lines = logged(*flood, ServerStopping(7, 0, 0))
    assert len(lines) == 12
    assert lines[10] == "WARNING:  … 990 more requests refused within a second"


def test_the_count_of_a_flood_comes_without_another_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    config = Config("main:app")
    configure(config)
    emitter = Emitter()
    LogObserver(config).attach(emitter)

    async def flood() -> None:
        for _ in range(30):
            emitter.emit(RequestRefused("1.2.3.4:5", 400, "x"))
        deadline = time.monotonic() + 10
        while "more requests" not in stream.getvalue():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)

    asyncio.run(flood())
    assert "… 20 more requests refused within a second" in stream.getvalue()


def test_json_lines_are_objects_with_escaped_text() -> None:
    lines = logged(ServerStarting(7), Notice("warning", 'a "b"\n\x1bü'), AppRaised(FAILURE), log_format="json")
    first, second, third = map(json.loads, lines)
    assert set(first) == {"timestamp", "level", "logger", "message"}
    assert (first["level"], first["logger"], first["message"]) == (
        "INFO",
        "devserver.error",
        "Started server process [7]",
    )
    assert first["timestamp"].endswith("Z")
    assert len(first["timestamp"]) == len("2026-11-22T11:57:01.250Z")
    assert second["message"] == 'a "b"\n\\x1bü'
    assert third["exception"].startswith("Traceback:\n")
    assert all(line.isascii() and line.isprintable() for line in lines)


def test_json_holds_the_exception_of_a_record_and_its_stack() -> None:
    try:
        raise ValueError("boom")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "", 0, "m %s", (object,), sys.exc_info(), sinfo="Stack:\n  y")
    members = json.loads(JsonFormatter().format(record))
    assert members["exception"].endswith("ValueError: boom")
    assert members["stack"] == "Stack:\n  y"


def test_json_holds_what_a_program_adds_to_a_record() -> None:
    loop: list[Any] = []
    loop.append(loop)
    extra = {"user": "ann", "order": {"id": 7}, "ratio": float("nan"), "loop": loop, "level": "mine", "path": Path("a")}
    record = logging.getLogger("app").makeRecord("app", logging.INFO, "a.py", 1, "paid", (), None, extra=extra)
    members = json.loads(JsonFormatter().format(record), parse_constant=pytest.fail)
    del members["timestamp"]
    assert members == {
        "user": "ann",
        "order": {"id": 7},
        "ratio": "nan",
        "loop": "[[...]]",
        "level": "INFO",
        "logger": "app",
        "message": "paid",
        "path": repr(Path("a")),
    }


def test_the_default_format_pads_the_level_to_nine() -> None:
    formatter = DefaultFormatter("%(levelprefix)s|%(message)s")
    prefixes = [
        formatter.format(logging.LogRecord("x", level, "", 0, "m", None, None))
        for level in (logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL)
    ]
    assert prefixes == ["INFO:    |m", "WARNING: |m", "ERROR:   |m", "CRITICAL:|m"]


def test_a_coloured_message_is_used_only_with_colours() -> None:
    record = logging.LogRecord("x", logging.INFO, "", 0, "pid %d", (7,), None)
    record.__dict__["color_message"] = "pid <%d>"
    assert DefaultFormatter("%(levelprefix)s %(message)s", use_colors=False).format(record) == "INFO:     pid 7"
    assert (
        DefaultFormatter("%(levelprefix)s %(message)s", use_colors=True).format(record)
        == "\x1b[32mINFO\x1b[0m:     pid <7>"
    )
    assert DefaultFormatter("%(message)s").format(record) == "pid 7"


def test_the_access_format_takes_the_arguments_of_uvicorn() -> None:
    record = access_record("1.2.3.4:5", "GET", "/x", "1.1", 404)
    assert AccessFormatter().format(record) == 'INFO:     1.2.3.4:5 - "GET /x HTTP/1.1" 404 Not Found'
    record.__dict__["duration_ms"] = 1.26
    assert AccessFormatter().format(record) == 'INFO:     1.2.3.4:5 - "GET /x HTTP/1.1" 404 Not Found 1.3ms'
    assert AccessFormatter("{client_addr}|{request_line}|{status_code}", style="{").format(record) == (
        "1.2.3.4:5|GET /x HTTP/1.1|404 Not Found"
    )
    assert "\x1b[31m404 Not Found\x1b[0m" in AccessFormatter(use_colors=True).format(record)


def test_the_access_format_survives_other_arguments() -> None:
    assert AccessFormatter().format(logging.LogRecord("x", logging.INFO, "", 0, "hello", None, None)) == (
        'INFO:     - - "hello" -'
    )
    record = access_record("a", "b", "c", "d", "e")
    record.msg = "%s%s%s%s%s"
    assert AccessFormatter("%(status_code)s").format(record) == "e"


def test_the_default_access_format_is_that_of_the_configuration() -> None:
    assert LOGGING_CONFIG["formatters"]["access"]["fmt"] == ACCESS_FORMAT


@pytest.mark.parametrize(
    ("environ", "terminal", "coloured"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"NO_COLOR": "1"}, True, False),
        ({"NO_COLOR": ""}, True, True),
        ({"FORCE_COLOR": "1"}, False, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False, False),
        ({"TERM": "dumb"}, True, False),
    ],
)
def test_colours_follow_the_environment_then_the_stream(
    environ: dict[str, str], terminal: bool, coloured: bool
) -> None:
    assert wants_colors(Terminal() if terminal else io.StringIO(), environ) is coloured


def test_a_stream_that_is_closed_or_no_stream_has_no_colours() -> None:
    closed = Terminal()
    closed.close()
    stream = io.StringIO()
    stream.close()
    assert not wants_colors(stream, {})
    assert not wants_colors(object(), {})


def test_each_stream_decides_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    configure(Config("main:app"))
    formatters = [logging.getLogger(name).handlers[0].formatter for name in ("devserver", "devserver.access")]
    assert [getattr(formatter, "use_colors", None) for formatter in formatters] == [True, False]


@pytest.mark.parametrize("use_colors", [True, False])
def test_the_option_decides_before_the_stream(use_colors: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    configure(Config("main:app", use_colors=use_colors))
    formatter = logging.getLogger("devserver").handlers[0].formatter
    assert isinstance(formatter, DefaultFormatter)
    assert formatter.use_colors is use_colors


def test_without_a_log_config_nothing_is_touched_but_levels() -> None:
    logger = logging.getLogger("devserver")
    logger.handlers = []
    root = logging.getLogger().handlers[:]
    configure(Config("main:app", log_config=None))
    assert logger.handlers == []
    assert logging.getLogger().handlers == root
    configure(Config("main:app", log_config=None, log_level="error"))
    assert logging.getLogger("devserver.access").level == logging.ERROR


def test_without_an_access_log_its_logger_has_no_handler() -> None:
    configure(Config("main:app", access_log=False))
    assert not logging.getLogger("devserver.access").hasHandlers()


def test_a_file_for_the_access_log_replaces_our_handler_only() -> None:
    settings = copy.deepcopy(LOGGING_CONFIG)
    settings["handlers"]["mine"] = {"class": "logging.NullHandler"}
    settings["loggers"]["devserver.access"]["handlers"] = ["access", "mine"]
    configure(Config("main:app", access_log_file="/dev/null", log_config=settings))
    assert [type(handler) for handler in logging.getLogger("devserver.access").handlers] == [logging.NullHandler]


def test_the_given_dictionary_is_not_changed() -> None:
    settings = copy.deepcopy(LOGGING_CONFIG)
    configure(Config("main:app", log_config=settings, use_colors=True, log_format="json"))
    assert settings == LOGGING_CONFIG


def test_a_formatter_of_the_users_own_stays_with_json() -> None:
    settings = copy.deepcopy(LOGGING_CONFIG)
    settings["formatters"]["access"] = {"format": "%(message)s"}
    configure(Config("main:app", log_config=settings, log_format="json"))
    assert type(logging.getLogger("devserver.access").handlers[0].formatter) is logging.Formatter
    assert type(logging.getLogger("devserver").handlers[0].formatter) is JsonFormatter


def test_what_an_app_writes_to_the_loggers_of_uvicorn_comes_out_with_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    configure(Config("main:app"))
    logging.getLogger("uvicorn").info("one")
    logging.getLogger("uvicorn.error").warning("two")
    assert stream.getvalue() == "INFO:     one\nWARNING:  two\n"


def test_trace_is_a_level_with_a_name() -> None:
    assert logged(log_level="trace") == []
    assert logging.getLevelName(TRACE) == "TRACE"


def test_a_log_config_that_cannot_be_applied_is_one_sentence() -> None:
    settings = copy.deepcopy(LOGGING_CONFIG)
    settings["handlers"]["default"]["class"] = "nowhere.Handler"
    with pytest.raises(ConfigError, match=r"^Logging cannot be configured from the given log_config: .*'default'.*\.$"):
        configure(Config("main:app", log_config=settings))


def test_records_for_a_pipe_that_nobody_reads_do_not_block_and_come_later(unread_pipe: UnreadPipe) -> None:
    with open(unread_pipe.writer, "w", closefd=False, encoding="utf-8") as stream:
        handler = StreamHandler(stream)
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger = logging.getLogger("test_logging.unread")
        logger.setLevel(logging.INFO)
        logger.propagate = False
        logger.addHandler(handler)
        started = time.monotonic()
        for number in range(5000):
            logger.info("%d %s", number, "x" * 1000)
        assert time.monotonic() - started < 5
        received = b""

        def drained() -> bool:
            nonlocal received
            received = unread_pipe.read_all()
            outlet = handler.outlet()
            return outlet is not None and not outlet.waiting

        wait_until(drained, "the handler has written what it kept")
        logger.info("the end")
        wait_until(lambda: unread_pipe.read_all().endswith(b"the end\n"), "new lines arrive")
        text = unread_pipe.read_all().decode()
        assert received.startswith(b"0 xxx")
        assert "log lines dropped, because nobody read them\nthe end\n" in text
        kept = text.count("\n") - 2
        assert f"… {5000 - kept} log lines" in text
        logger.removeHandler(handler)
        handler.close()


def test_flushing_and_closing_a_handler_of_an_unread_pipe_ends(unread_pipe: UnreadPipe) -> None:
    with open(unread_pipe.writer, "w", closefd=False, encoding="utf-8") as stream:
        handler = StreamHandler(stream)
        handler.emit(logging.LogRecord("x", logging.INFO, "", 0, "m", None, None))
        started = time.monotonic()
        handler.flush()
        handler.close()
        assert time.monotonic() - started < 3


def test_a_handler_writes_a_stream_without_descriptor_itself() -> None:
    stream = io.StringIO()
    handler = StreamHandler(stream)
    handler.emit(logging.LogRecord("x", logging.INFO, "", 0, "m", None, None))
    handler.flush()
    assert stream.getvalue() == "m\n"
    handler.close()


def test_a_handler_follows_its_stream() -> None:
    first, second = io.StringIO(), io.StringIO()
    handler = StreamHandler(first)
    handler.setStream(second)
    handler.emit(logging.LogRecord("x", logging.INFO, "", 0, "m", None, None))
    assert (first.getvalue(), second.getvalue()) == ("", "m\n")
    handler.close()


def test_a_record_that_cannot_be_formatted_is_reported_by_logging(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", True)
    handler = StreamHandler(io.StringIO())
    handler.emit(logging.LogRecord("x", logging.INFO, "", 0, "%d", ("a",), None))
    assert "--- Logging error ---" in capsys.readouterr().err
    handler.close()


def test_requests_are_not_the_observers_business() -> None:
    assert logged(finished()) == []
