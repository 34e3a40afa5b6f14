"""devserver/observe/access_log.py."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import logging.handlers
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, TextIO

import pytest

from devserver.config.settings import Config
from devserver.errors import ConfigError
from devserver.events import Emitter, RequestFinished
from devserver.observe.access_log import EVENTS_MAX, AccessLog
from devserver.observe.logging import LogObserver, StreamHandler, configure, is_our_access_handler
from tests.support.observing import UnreadPipe, finished, wait_until

LINE = 'INFO:     127.0.0.1:52344 - "GET /path?q=1 HTTP/1.1" 200 OK 1.2ms\n'


class Log:
    """An access log with its emitter."""

    stdout: ClassVar[TextIO | None] = None
    """What is standard output while logging is set up; pytest puts its own there between a fixture and its test."""

    def __init__(self, **options: Any) -> None:
        self.config = Config("main:app", **options)
        with contextlib.redirect_stdout(self.stdout or sys.stdout):
            configure(self.config)
        self.emitter = Emitter()
        self.access_log = AccessLog(self.config)
        self.access_log.attach(self.emitter)

    def request(self, **members: Any) -> None:
        self.emitter.emit(finished(**members))

    def close(self, timeout_s: float = 10.0) -> bool:
        return self.access_log.close(timeout_s)


class Collecting(logging.Handler):
    """Keeps what it is given, and on which thread."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.threads: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        self.threads.add(threading.current_thread().name)


@pytest.fixture
def stdout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file that is standard output."""
    path = tmp_path / "stdout"
    with path.open("w", encoding="utf-8") as stream:
        monkeypatch.setattr(Log, "stdout", stream)
        yield path


def run(program: str, **options: Any) -> subprocess.Popen[bytes]:
    """Another interpreter that runs ``program`` after the usual imports."""
    imports = (
        "import os, sys, time, logging\n"
        "from devserver.config.settings import Config\n"
        "from devserver.events import *\n"
        "from devserver.observe.access_log import AccessLog\n"
        "from devserver.observe.logging import LogObserver, configure\n"
        "from tests.support.observing import finished\n"
        "config = Config('main:app'); configure(config); emitter = Emitter()\n"
        "access_log = AccessLog(config); access_log.attach(emitter)\n"
        "LogObserver(config).attach(emitter)\n"
    )
    root = Path(__file__).parents[2]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), *sys.path])}
    return subprocess.Popen([sys.executable, "-c", imports + program], cwd=root, env=environ, **options)


def test_a_request_becomes_a_line_on_standard_output(stdout: Path) -> None:
    log = Log()
    log.request()
    wait_until(lambda: stdout.read_text() == LINE, "the line is written")
    assert log.close()


def test_requests_are_written_in_their_order(stdout: Path) -> None:
    log = Log()
    for number in range(3000):
        log.request(target=b"/%d" % number)
    assert log.close()
    assert [line.split()[4] for line in stdout.read_text().splitlines()] == [f"/{number}" for number in range(3000)]


def test_a_log_without_requests_has_no_thread(stdout: Path) -> None:
    log = Log()
    assert "devserver-access-log" not in {thread.name for thread in threading.enumerate()}
    assert log.close()
    assert stdout.read_text() == ""


def test_json_lines_are_objects(stdout: Path) -> None:
    log = Log(log_format="json")
    log.request(target=b'/"\x1b[0m')
    assert log.close()
    members = json.loads(stdout.read_text())
    assert (members["path"], members["status"]) == ('/"\x1b[0m', 200)


def test_a_format_of_atoms_makes_the_line(stdout: Path) -> None:
    log = Log(access_log_format='%(h)s "%(r)s" %(s)s')
    log.request()
    assert log.close()
    assert stdout.read_text() == '127.0.0.1 "GET /path?q=1 HTTP/1.1" 200\n'


def test_a_file_takes_the_lines_instead(stdout: Path, tmp_path: Path) -> None:
    (tmp_path / "access.log").write_text("before\n")
    log = Log(access_log_file=str(tmp_path / "access.log"), use_colors=True)
    log.request()
    assert log.close()
    assert (tmp_path / "access.log").read_text() == f"before\n{LINE}"
    assert stdout.read_text() == ""


def test_a_file_is_written_without_any_log_config(tmp_path: Path) -> None:
    log = Log(access_log_file=str(tmp_path / "access.log"), log_config=None)
    log.request()
    assert log.close()
    assert (tmp_path / "access.log").read_text().startswith("INFO:     127.0.0.1:52344")


def test_a_file_gets_only_what_a_filter_lets_through_and_handlers_get_it_too(tmp_path: Path, stdout: Path) -> None:
    log = Log(access_log_file=str(tmp_path / "access.log"), log_format="json")
    logger, handler = logging.getLogger("devserver.access"), Collecting()
    logger.addFilter(lambda record: "/health" not in record.getMessage())
    logger.addHandler(handler)
    log.request(target=b"/health")
    log.request(target=b"/a")
    assert log.close()
    assert [json.loads(line)["path"] for line in (tmp_path / "access.log").read_text().splitlines()] == ["/a"]
    assert [record.getMessage() for record in handler.records] == ['127.0.0.1:52344 - "GET /a HTTP/1.1" 200']
    assert stdout.read_text() == ""


def test_a_file_is_opened_again_after_it_was_moved(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    log = Log(access_log_file=str(path))
    log.request()
    wait_until(lambda: path.read_text() == LINE, "the line is written")
    path.rename(tmp_path / "access.log.1")
    log.access_log.reopen()
    wait_until(path.exists, "the file is there again")
    log.request()
    assert log.close()
    assert path.read_text() == LINE
    assert (tmp_path / "access.log.1").read_text() == LINE


def test_a_file_that_cannot_be_opened_again_stays_in_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = tmp_path / "logs"
    directory.mkdir()
    log = Log(access_log_file=str(directory / "access.log"))
    log.request()
    wait_until(lambda: (directory / "access.log").read_text() == LINE, "the line is written")
    directory.rename(tmp_path / "moved")
    log.access_log.reopen()
    log.request()
    assert log.close()
    assert (tmp_path / "moved" / "access.log").read_text() == LINE * 2
    assert "Access log not reopened" in capsys.readouterr().err


def test_a_file_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"^--access-log-file \".*/no/access.log\" cannot be opened: No such file"
    ) as caught:
        Log(access_log_file=str(tmp_path / "no" / "access.log"))
    assert caught.value.hint


def test_reopening_without_a_file_does_nothing(stdout: Path) -> None:
    log = Log()
    log.access_log.reopen()
    assert log.close()


@pytest.mark.parametrize(
    "options",
    [
        {"access_log": False},
        {"log_level": "warning"},
        {"access_log": False, "access_log_file": "/dev/null"},
        {"log_level": "error", "access_log_file": "/dev/null"},
    ],
)
def test_an_access_log_that_nobody_sees_asks_for_no_events(options: dict[str, Any]) -> None:
    log = Log(**options)
    assert not log.emitter.wants(RequestFinished)
    assert not log.access_log.enabled
    assert log.close()


def test_without_a_log_config_and_a_handler_no_events_are_asked_for() -> None:
    logging.getLogger("devserver.access").handlers = []
    log = Log(log_config=None)
    assert not log.emitter.wants(RequestFinished)


def test_a_level_that_changes_later_silences_what_follows(stdout: Path) -> None:
    log = Log()
    logger = logging.getLogger("devserver.access")
    changes: list[Callable[[bool], None]] = [
        lambda on: logger.setLevel(logging.INFO if on else logging.WARNING),
        lambda on: setattr(logger, "disabled", not on),
        lambda on: logging.disable(logging.NOTSET if on else logging.INFO),
        lambda on: logging.getLogger("uvicorn.access").setLevel(logging.NOTSET if on else logging.ERROR),
        lambda on: setattr(logging.getLogger("uvicorn.access"), "disabled", not on),
    ]
    for change in changes:
        change(False)
        log.request(target=b"/silenced")
        wait_until(lambda: not log.access_log._events, "it was taken")
        assert log.access_log._pump.drain(10.0)
        change(True)
    log.request(target=b"/shown")
    assert log.close()
    assert [line.split()[4] for line in stdout.read_text().splitlines()] == ["/shown"]


def test_handlers_of_the_users_get_records_on_another_thread(stdout: Path) -> None:
    log = Log()
    handler = Collecting()
    logging.getLogger("devserver.access").addHandler(handler)
    log.request()
    assert log.close()
    (record,) = handler.records
    assert record.args == ("127.0.0.1:52344", "GET", "/path?q=1", "1.1", 200)
    assert record.getMessage() == '127.0.0.1:52344 - "GET /path?q=1 HTTP/1.1" 200'
    assert (record.name, record.levelname, record.created) == ("devserver.access", "INFO", finished().finished_at)
    assert record.__dict__["access"]["duration_ms"] == 1.23
    assert handler.threads == {"devserver-access-log"}
    assert stdout.read_text() == LINE


def test_records_reach_the_root_when_the_logger_propagates(stdout: Path) -> None:
    log = Log()
    handler = Collecting()
    logging.getLogger().addHandler(handler)
    logging.getLogger("devserver.access").propagate = True
    logging.getLogger("devserver").propagate = True
    log.request()
    assert log.close()
    assert len(handler.records) == 1
    assert stdout.read_text() == LINE


def test_a_format_is_the_message_of_records(stdout: Path) -> None:
    log = Log(access_log_format="100%% %(m)s")
    messages: queue.Queue[logging.LogRecord] = queue.Queue()
    handlers = Collecting(), logging.handlers.QueueHandler(messages)
    for handler in handlers:
        logging.getLogger("devserver.access").addHandler(handler)
    log.request()
    assert log.close()
    assert handlers[0].records[0].getMessage() == "100% GET"
    assert messages.get_nowait().getMessage() == "100% GET"


@pytest.mark.parametrize("name", ["devserver.access", "uvicorn.access"])
def test_a_filter_decides_about_lines(name: str, stdout: Path) -> None:
    log = Log()

    def no_health(record: logging.LogRecord) -> bool:
        assert isinstance(record.args, tuple)
        return record.args[2] != "/health"

    logging.getLogger(name).addFilter(no_health)
    for target in (b"/a", b"/health", b"/b"):
        log.request(target=target)
    assert log.close()
    assert [line.split()[4] for line in stdout.read_text().splitlines()] == ["/a", "/b"]


def test_a_filter_that_fails_is_reported_once(stdout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = Log()

    def failing(record: logging.LogRecord) -> bool:
        assert isinstance(record.args, tuple)
        return bool(1 / (record.args[4] - 200))  # type: ignore[operator]

    logging.getLogger("devserver.access").addFilter(failing)
    for status in (200, 201, 200):
        log.request(status=status)
    assert log.close()
    assert stdout.read_text().count("\n") == 1
    assert capsys.readouterr().err.count("ZeroDivisionError") == 1


def test_a_handler_or_formatter_of_the_users_is_not_bypassed(stdout: Path) -> None:
    log = Log()
    handler = logging.getLogger("devserver.access").handlers[0]
    handler.setFormatter(logging.Formatter("mine %(message)s"))
    log.request()
    assert log.close()
    assert stdout.read_text() == 'mine 127.0.0.1:52344 - "GET /path?q=1 HTTP/1.1" 200\n'


def test_a_stream_without_descriptor_is_written_through_its_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    log = Log()
    log.request()
    assert log.close()
    assert stream.getvalue() == LINE


def test_lines_that_the_system_refuses_are_reported_once(capsys: pytest.CaptureFixture[str]) -> None:
    log = Log(access_log_file="/dev/full")
    for _ in range(2):
        log.request()
        assert log.access_log._pump.drain(10.0)
    assert log.close()
    assert capsys.readouterr().err.count("Access lines were lost: [Errno 28]") == 1


def test_a_reader_that_left_stops_neither_the_log_nor_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    reader, end = os.pipe()
    log = Log(access_log_file=f"/dev/fd/{end}")
    os.close(reader)
    for _ in range(2):
        log.request()
        assert log.access_log._pump.drain(10.0)
    assert log.close()
    os.close(end)
    assert capsys.readouterr().err.count("Access lines were lost: [Errno 32]") == 1


def test_a_pipe_that_nobody_reads_stops_neither_the_loop_nor_the_end(
    unread_pipe: UnreadPipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open(unread_pipe.writer, "w", closefd=False, encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        log = Log()
        monkeypatch.undo()
        started = time.monotonic()
        for number in range(5000):
            log.request(target=b"/%d" % number)
        assert time.monotonic() - started < 1
        started = time.monotonic()
        assert not log.close(0.2)
        assert time.monotonic() - started < 1


def test_dropped_lines_are_counted_and_said_when_there_is_a_reader_again(
    unread_pipe: UnreadPipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open(unread_pipe.writer, "w", closefd=False, encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        log = Log()
        monkeypatch.undo()
        target = b"/" + b"x" * 1000
        for number in range(3000):
            log.request(target=target)
            if number % 500 == 0:
                wait_until(lambda: not log.access_log._events, "they were taken")
        wait_until(lambda: log.access_log._dropped > 1000, "lines are dropped")
        wait_until(lambda: b"lines dropped\n" in unread_pipe.read_all(), "the count is said")
        log.request(target=b"/last")
        wait_until(lambda: b"/last" in unread_pipe.read_all(), "new lines arrive")
        assert log.close()
        lines = unread_pipe.read_all().decode().splitlines()
        kept = sum("/xxx" in line for line in lines)
        dropped = [int(line.split()[2]) for line in lines if line.endswith("access lines dropped")]
        assert all(line.startswith(("INFO:     127.0.0.1", "WARNING:  … ")) for line in lines)
        assert kept + sum(dropped) == 3000


def test_requests_beyond_the_limit_are_dropped_while_the_thread_starves(
    stdout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log(log_format="json")
    monkeypatch.setattr(log.access_log._pump, "wake", lambda: None)
    emitter = Emitter()
    log.access_log.attach(emitter)
    for _ in range(EVENTS_MAX + 7):
        emitter.emit(finished())
    assert len(log.access_log._events) == EVENTS_MAX
    monkeypatch.undo()
    log.access_log._pump.wake()
    assert log.access_log._pump.drain(10.0)
    assert log.close()
    members = [json.loads(line) for line in stdout.read_text().splitlines()]
    assert len(members) == EVENTS_MAX + 1
    assert [item["message"] for item in members if item["level"] == "WARNING"] == ["… 7 access lines dropped"]


def test_requests_from_many_threads_are_all_written(stdout: Path) -> None:
    log = Log()

    def serve(thread: int) -> None:
        for number in range(1000):
            log.request(target=b"/%d/%d" % (thread, number))

    threads = [threading.Thread(target=serve, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert log.close()
    paths = [line.split()[4] for line in stdout.read_text().splitlines()]
    assert sorted(paths) == sorted(f"/{thread}/{number}" for thread in range(4) for number in range(1000))


def test_what_is_left_is_written_when_the_interpreter_ends() -> None:
    process = run("for n in range(100): emitter.emit(finished(target=b'/%d' % n))", stdout=subprocess.PIPE)
    out, _ = process.communicate(timeout=60)
    assert out.decode().count("\n") == 100
    assert process.returncode == 0


def test_a_process_ends_though_nobody_reads_what_it_says() -> None:
    program = (
        "for n in range(5000):\n"
        "    emitter.emit(finished(target=b'/%d' % n))\n"
        "    if n % 100 == 0: emitter.emit(Notice('warning', 'x' * 1000)); time.sleep(0.001)\n"
        "assert not access_log.close(0.5)\n"
    )
    reader, end = os.pipe()
    unread, full = os.pipe()
    program += f"os.write({end}, b'closed')\n"
    process = run(program, pass_fds=[end], stdout=full, stderr=full)
    os.close(end)
    os.close(full)
    assert process.wait(timeout=60) == 0
    assert os.read(reader, 100) == b"closed"
    os.close(reader)
    os.close(unread)


def test_a_forked_child_writes_its_own_lines_and_not_those_of_its_parent() -> None:
    program = (
        "import warnings; warnings.simplefilter('ignore')\n"
        "for n in range(50): emitter.emit(finished(target=b'/parent'))\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    for n in range(50): emitter.emit(finished(target=b'/child'))\n"
        "    sys.exit(0 if access_log.close(10) else 1)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
    )
    process = run(program, stdout=subprocess.PIPE)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert (out.count(b"/parent"), out.count(b"/child"), out.count(b"\n")) == (50, 50, 100)


def test_our_handler_is_what_the_configuration_makes(stdout: Path) -> None:
    Log()
    assert [type(handler) for handler in logging.getLogger("devserver.access").handlers] == [StreamHandler]
    assert is_our_access_handler(logging.getLogger("devserver.access").handlers[0])
    assert not is_our_access_handler(logging.getLogger("devserver").handlers[0])


def test_the_observer_and_the_access_log_share_an_emitter(stdout: Path) -> None:
    log = Log()
    LogObserver(log.config).attach(log.emitter)
    log.request()
    assert log.close()
    assert stdout.read_text() == LINE
