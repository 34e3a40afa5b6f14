"""Reading from and writing to a real terminal, from a worker that is not its foreground."""

from __future__ import annotations

import os
import re
import signal
import sys
from concurrent.futures import Future

import pytest

from devserver.supervisor.succession import HOLD_S
from tests.support.reload import PATIENCE_S, Answer, Project, alive, state, until
from tests.support.terminal import CANONICAL, OnTerminal, on_terminal

pytestmark = pytest.mark.once

APP = """
import asyncio, getpass, os, signal, sys, termios, threading, tty

number = 1

def asked(path):
    if path == "/input":
        return input("name? ")
    if path == "/password":
        return getpass.getpass("password? ")
    if path == "/line":
        return sys.stdin.readline()
    if path == "/bytes":
        return sys.stdin.buffer.read1(100).decode()
    if path == "/two":
        return input("first? ") + input("second? ")
    if path == "/draws":
        before = termios.tcgetattr(0)
        tty.setraw(0)
        print("key? ", end="", flush=True)
        key = os.read(0, 1)
        termios.tcsetattr(0, termios.TCSADRAIN, before)
        return key.decode()

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    path = scope["path"]
    if path == "/debugged":
        found = 41
        breakpoint()
    elif path == "/terminal":
        found = [os.isatty(fd) for fd in (0, 1, 2)], sys.stdin.isatty(), sys.stdin.mode, sys.stdin.fileno()
    elif path == "/size":
        found = tuple(os.get_terminal_size())
    elif path == "/partial":
        print("half a line", end="", flush=True)
        found = ""
    elif path == "/flood":
        for index in range(50_000):
            print(f"line {index:06} " + "x" * 80)
        found = "flooded"
    elif path == "/pid":
        found = os.getpid()
    elif path == "/":
        found = number
    else:
        found = await asyncio.get_running_loop().run_in_executor(None, asked, path)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(found).encode()})
"""


@pytest.fixture
def project(project: Project) -> Project:
    """The same, with an app that reads."""
    project.write("main.py", APP)
    return project


def debugged(terminal: OnTerminal, count: int = 1) -> Future[Answer]:
    """A request that stands at a breakpoint."""
    answer = terminal.get("/debugged")
    terminal.wait("(Pdb) ", count)
    until(lambda: terminal.lent)
    return answer


def test_breakpoint_is_answered_from_the_keyboard(project: Project) -> None:
    with on_terminal(project) as terminal:
        terminal.wait("ready in")
        answer = debugged(terminal)
        terminal.type("found = found + 1\n")
        terminal.wait("(Pdb) ", 2)
        terminal.type("c\n")
        assert answer.result(PATIENCE_S).body == "42"


def test_breakpoint_in_a_thread_of_a_wsgi_app_is_answered_from_the_keyboard(project: Project) -> None:
    source = """
def app(environ, start_response):
    found = 41
    if environ["PATH_INFO"] == "/debugged":
        breakpoint()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(found).encode()]
"""
    project.write("main.py", source)
    with on_terminal(project) as terminal:
        terminal.wait("ready in")
        answer = debugged(terminal)
        assert terminal.get("/").result(PATIENCE_S).body == "41"
        terminal.type("found = found + 1\n")
        terminal.wait("(Pdb) ", 2)
        terminal.type("c\n")
        assert answer.result(PATIENCE_S).body == "42"


@pytest.mark.parametrize(
    ("path", "prompt", "typed", "read"),
    [
        ("/input", "name? ", "Adb\x7fa\n", "Ada"),
        ("/password", "password? ", "hidden\n", "hidden"),
        ("/line", "", "a line\n", "a line\n"),
        ("/bytes", "", "bytes\n", "bytes\n"),
        ("/two", "first? ", "1\n2\n", "12"),
        ("/draws", "key? ", "k", "k"),
    ],
)
def test_every_way_of_reading_gets_the_keys(project: Project, path: str, prompt: str, typed: str, read: str) -> None:
    with on_terminal(project) as terminal:
        terminal.wait("ready in")
        answer = terminal.get(path)
        terminal.wait(prompt)
        until(lambda: terminal.lent)
        terminal.type(typed)
        assert answer.result(PATIENCE_S).body == read
        assert "hidden" not in terminal.text
        until(lambda: not terminal.lent)


def test_keys_that_nobody_asked_for_are_no_answer(project: Project) -> None:
    with on_terminal(project) as terminal:
        terminal.wait("ready in")
        terminal.type("typed to nobody\n")
        answer = terminal.get("/input")
        terminal.wait("name? ")
        until(lambda: terminal.lent)
        terminal.type("Ada\n")
        assert answer.result(PATIENCE_S).body == "Ada"


def test_save_waits_until_the_debugger_is_left_and_nothing_is_stale(project: Project) -> None:
    with on_terminal(project) as terminal:
        terminal.wait("ready in")
        answer = debugged(terminal)
        project.write("main.py", APP.replace("number = 1", "number = 2"))
        terminal.wait("main.py · waits for the app, which reads from the keyboard")
        later = terminal.get()
        terminal.type("p found + 1\n")
        terminal.wait("42")
        assert "↻" not in terminal.text
        assert not later.done()
        terminal.type("c\n")
        assert answer.result(PATIENCE_S).body == "41"
        assert later.result(PATIENCE_S).body == "2"
        terminal.wait("↻ main.py")


def test_request_is_held_for_as_long_as_somebody_debugs(project: Project) -> None:
    with on_terminal(project) as terminal:
        terminal.wait("ready in")
        answer = terminal.get("/input")
        terminal.wait("name? ")
        until(lambda: terminal.lent)
        project.write("main.py", APP.replace("number = 1", "number = 2"))
        terminal.wait("waits for the app")
        held = terminal.get()
        with pytest.raises(TimeoutError):
            held.result(HOLD_S + 1)
        terminal.type("Ada\n")
        assert answer.result(PATIENCE_S).body == "Ada"
        assert held.result(PATIENCE_S).body == "2"


def test_save_that_waits_and_is_taken_back_reloads_nothing(project: Project) -> None:
    with on_terminal(project) as terminal:
        terminal.wait("ready in")
        answer = terminal.get("/input")
        terminal.wait("name? ")
        until(lambda: terminal.lent)
        project.write("main.py", APP.replace("number = 1", "number = 2"))
        terminal.wait("waits for the app")
        # In a thread of its own it leaves the loop free to look at the files itself.
        held = terminal.get()
        project.write("main.py", APP)
        terminal.type("Ada\n")
        assert answer.result(PATIENCE_S).body == "Ada"
        assert held.result(PATIENCE_S).body == "1"
        assert "↻" not in terminal.text


def test_app_looks_at_a_terminal_of_the_same_size(project: Project) -> None:
    with on_terminal(project) as terminal:
        terminal.wait("ready in")
        assert terminal.answer("/terminal") == "([True, True, True], True, 'r', 0)"
        assert terminal.answer("/size") == "(100, 24)"
        terminal.resize(40, 120)
        until(lambda: terminal.answer("/size") == "(120, 40)")


def test_partial_line_is_shown_and_goes_on_below_what_comes_between(project: Project) -> None:
    with on_terminal(project, "--no-access-log") as terminal:
        terminal.wait("ready in")
        terminal.answer("/partial")
        terminal.wait("half a line")
        project.write("other.py", "")
        terminal.wait("half a line\n· other.py · not loaded by the app\nhalf a line")


def test_everything_an_app_writes_is_shown_in_order(project: Project) -> None:
    with on_terminal(project) as terminal:
        terminal.wait("ready in")
        assert terminal.answer("/flood") == "flooded"
        terminal.wait("line 049999")
        assert re.findall(r"^line (\d{6}) x{80}$", terminal.text, re.MULTILINE) == [f"{n:06}" for n in range(50_000)]


def test_ctrl_c_leaves_the_debugger_and_the_terminal_as_it_was(project: Project) -> None:
    with on_terminal(project) as terminal:
        terminal.wait("ready in")
        debugged(terminal)
        until(lambda: terminal.lent)
        terminal.type("\x03")
        assert terminal.process.wait(PATIENCE_S) == 0
        assert terminal.settings == CANONICAL


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_terminal_is_as_it_was_when_the_debugged_worker_is_ended(project: Project, number: int) -> None:
    with on_terminal(project) as terminal:
        terminal.wait("ready in")
        debugged(terminal)
        until(lambda: terminal.lent)
        terminal.process.send_signal(number)
        if number == signal.SIGHUP:
            # It asks for a reload, whatever the app is doing.
            terminal.wait("↻ reloaded")
            assert terminal.answer() == "1"
            until(lambda: not terminal.lent)
        else:
            assert terminal.process.wait(PATIENCE_S) == 0
            assert terminal.settings == CANONICAL


def test_terminal_is_as_it_was_when_the_debugged_worker_dies(project: Project) -> None:
    with on_terminal(project) as terminal:
        terminal.wait("ready in")
        worker = int(terminal.answer("/pid"))
        debugged(terminal)
        until(lambda: terminal.lent)
        os.kill(worker, signal.SIGKILL)
        terminal.wait("was killed by SIGKILL")
        until(lambda: not terminal.lent)
        project.write("main.py", APP.replace("number = 1", "number = 2"))
        until(lambda: terminal.answer() == "2")
        answer = terminal.get("/input")
        terminal.wait("name? ")
        until(lambda: terminal.lent)
        terminal.type("A\x7fB\n")
        assert answer.result(PATIENCE_S).body == "B"


def test_ctrl_z_stops_the_worker_too_and_gives_the_terminal_back(project: Project) -> None:
    with on_terminal(project) as terminal:
        terminal.wait("ready in")
        worker = int(terminal.answer("/pid"))
        answer = debugged(terminal)
        until(lambda: terminal.lent)
        terminal.type("\x1a")
        until(lambda: state(terminal.process.pid) == state(worker) == "T")
        assert terminal.settings == CANONICAL
        terminal.process.send_signal(signal.SIGCONT)
        until(lambda: terminal.lent)
        terminal.type("c\n")
        assert answer.result(PATIENCE_S).body == "41"
        assert alive(worker)


def test_program_that_runs_an_app_can_be_debugged(project: Project) -> None:
    script = (
        "import sys, devserver; devserver.run('main:app', reload=True, reload_mode=sys.argv[1], port=int(sys.argv[2]))"
    )
    with on_terminal(project, command=[sys.executable, "-c", script, project.mode]) as terminal:
        terminal.wait("running on")
        answer = debugged(terminal)
        terminal.type("c\n")
        assert answer.result(PATIENCE_S).body == "41"
        terminal.type("\x03")
        assert terminal.process.wait(PATIENCE_S) == 0
