"""``dev run`` on a terminal: what it shows, the keys, and a terminal that is left as it was found."""

from __future__ import annotations

import os
import re
import signal
import sys
from pathlib import Path

import pyte
import pytest

from tests.support.reload import Project, answering, state, until
from tests.support.terminal import CANONICAL, OnTerminal, on_terminal

pytestmark = pytest.mark.once

FOOTER = "r reload · o open"
FASTAPI = """
from fastapi import FastAPI

app = FastAPI()

@app.get("/items/{number}")
def get_item(number: int) -> int:
    return 10 // number
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project with a small FastAPI app; how it is reloaded makes no difference to the keyboard."""
    project = Project(tmp_path / "project", mode="fork")
    project.write("pyproject.toml", "")
    project.write("main.py", FASTAPI)
    return project


def ready(terminal: OnTerminal) -> None:
    terminal.wait("ready in")
    terminal.wait(FOOTER)


def lists(terminal: OnTerminal, text: str) -> bool:
    """Whether the routes that a key lists have ``text`` among them; they are known a moment after the start."""
    terminal.type("l")
    return text in terminal.text


def screen(terminal: OnTerminal) -> list[str]:
    """The lines as a terminal shows them, those above its first row included."""
    emulated = pyte.Screen(os.get_terminal_size(terminal.theirs).columns, 1_000)
    pyte.ByteStream(emulated).feed(bytes(terminal.shown))
    return [line.rstrip() for line in emulated.display][: emulated.cursor.y + 1]


def test_requests_are_shown_with_their_endpoints_above_the_footer(project: Project) -> None:
    with on_terminal(project) as terminal:
        ready(terminal)
        assert terminal.answer("/items/5") == "2"
        terminal.wait("main.py:6 get_item")
        terminal.get("/items/abc").result()
        terminal.wait("path → number: ")
        terminal.get("/items/0").result()
        terminal.wait("ZeroDivisionError")
        terminal.get("/itms/0").result()
        terminal.wait("404")
        until(lambda: FOOTER in screen(terminal)[-1])
        shown = screen(terminal)
        assert sum(FOOTER in line for line in shown) == 1
        (line,) = [line for line in shown if "/items/5" in line]
        assert re.fullmatch(r"\d\d:\d\d:\d\d GET    /items/5 +200 +[\d.]+ m?s  main\.py:6 get_item", line)
        # In the place of the access log.
        assert '"GET /items' not in terminal.text


def test_keys_reload_and_show(project: Project) -> None:
    with on_terminal(project) as terminal:
        ready(terminal)
        terminal.type("h")
        terminal.wait("pause reloading, and go on")
        terminal.type("r")
        terminal.wait("↻ reloaded")
        terminal.type("R")
        terminal.wait("↻ reloaded", 2)
        terminal.answer("/items/5")
        terminal.get("/items/0").result()
        terminal.wait("500")
        terminal.type("t")
        terminal.wait("Traceback (most recent call last):")
        terminal.type("x")
        terminal.wait("/items/0  ", 2)
        until(lambda: lists(terminal, "GET  /items/{number}  main.py:6 get_item"))


def test_requests_that_are_alike_become_one_line(project: Project) -> None:
    def asked(path: str, count: int) -> bool:
        # Until so many in a row were: what a busy machine adds to one, such as a blocked loop, makes it another.
        terminal.get(path).result()
        folded = [re.search(r"×(\d+)$", line) for line in screen(terminal) if path in line]
        return any(found is not None and int(found[1]) >= count for found in folded)

    with on_terminal(project) as terminal:
        ready(terminal)
        until(lambda: asked("/items/5", 3))
        until(lambda: asked("/itms/5", 2))
        until(lambda: screen(terminal)[-2].endswith("the nearest is GET /items/{number}"))
        shown = screen(terminal)
        assert sum("the nearest is" in line for line in shown) == sum("/itms/5" in line for line in shown)
        assert FOOTER in shown[-1]
        terminal.answer("/items/5")
        until(lambda: sum("/items/5" in line for line in screen(terminal)) > sum("/items/5" in line for line in shown))


def test_lines_that_are_wrapped_are_never_taken_back(project: Project) -> None:
    with on_terminal(project) as terminal:
        terminal.resize(24, 60)
        ready(terminal)
        for number in range(1, 4):
            terminal.answer("/items/5")
            until(lambda number=number: sum("/items/5" in line for line in screen(terminal)) == number)  # type: ignore[misc]
        assert "Local" in "".join(screen(terminal))


def test_environment_is_shown_with_the_file_of_each_variable(project: Project) -> None:
    project.write(".env", "SHOP=1\nAPI_KEY=hunter22\n")
    project.write(".env.extra", "SHOP=2\n")
    with on_terminal(project, "--env-file", ".env.extra") as terminal:
        ready(terminal)
        terminal.wait("Env      .env, .env.extra")
        terminal.type("e")
        terminal.wait(".env.extra:1")
        assert "hunter22" not in terminal.text
        assert "the environment" not in terminal.text


def test_last_failure_is_one_text_at_an_address_that_is_told(project: Project) -> None:
    with on_terminal(project) as terminal:
        ready(terminal)
        assert terminal.answer("/__dev__/failure") == "Nothing has failed yet.\n"
        terminal.get("/items/0").result()
        terminal.wait("500")
        terminal.type("t")
        terminal.wait(f"as Markdown: http://127.0.0.1:{terminal.port}/__dev__/failure")
        text = terminal.answer("/__dev__/failure")
        assert text.startswith("# 500 · GET /items/0 raised ZeroDivisionError: ")
        terminal.type("r")
        terminal.wait("↻ reloaded")
        assert terminal.answer("/__dev__/failure") == text
        project.write("main.py", FASTAPI + "(")
        terminal.wait("was never closed")
        assert "SyntaxError" in terminal.answer("/__dev__/failure")


def test_pause_holds_saves_until_it_is_over(project: Project) -> None:
    with on_terminal(project) as terminal:
        ready(terminal)
        terminal.type("p")
        terminal.wait("paused")
        project.write("main.py", FASTAPI.replace("10 //", "20 //"))
        terminal.wait("reload is paused")
        terminal.type("p")
        terminal.wait("↻ main.py")
        assert terminal.answer("/items/5") == "4"


def test_last_request_is_sent_again_after_a_save(project: Project) -> None:
    with on_terminal(project) as terminal:
        ready(terminal)
        assert terminal.answer("/items/5") == "2"
        terminal.wait("get_item")
        terminal.type("X")
        terminal.wait("replays the last request")
        terminal.wait("get_item", 2)
        project.write("main.py", FASTAPI.replace("return 10 //", "return 20 //"))
        terminal.wait("↺ GET /items/5 200")
        terminal.wait("-2")
        terminal.wait("+4")
        project.write("main.py", FASTAPI.replace("return 10 // number", "raise ValueError"))
        terminal.wait("↺ GET /items/5 200 → 500")


def test_new_routes_are_told_after_the_save(project: Project) -> None:
    with on_terminal(project) as terminal:
        ready(terminal)
        until(lambda: lists(terminal, "get_item"))
        project.write("main.py", f'{FASTAPI}\n@app.post("/new")\ndef new() -> int:\n    return 1\n')
        terminal.wait("+1 route  POST /new")


def test_q_quits_when_it_is_pressed_twice(project: Project) -> None:
    with on_terminal(project) as terminal:
        ready(terminal)
        terminal.type("q")
        terminal.wait("press q again to quit")
        terminal.type("q")
        assert terminal.process.wait(30) == 0
        assert terminal.settings == CANONICAL
        assert terminal.shown.endswith(b"\x1b[?2004l")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_terminal_is_as_it_was_whatever_ends_the_command(project: Project, number: signal.Signals) -> None:
    with on_terminal(project) as terminal:
        ready(terminal)
        until(lambda: terminal.settings != CANONICAL)
        if number == signal.SIGHUP:
            # While there is a terminal it asks for a reload.
            terminal.process.send_signal(number)
            terminal.wait("↻ reloaded")
            number = signal.SIGINT
        terminal.process.send_signal(number)
        assert terminal.process.wait(30) == 0
        assert terminal.settings == CANONICAL


def test_paste_and_arrow_keys_trigger_nothing(project: Project) -> None:
    with on_terminal(project) as terminal:
        ready(terminal)
        terminal.type("\x1b[A\x1b[200~qqRr\n\x1b[201~\x1bOP")
        terminal.type("h")
        terminal.wait("this help")
        assert "↻" not in terminal.text
        assert terminal.process.poll() is None


def test_ctrl_z_gives_the_terminal_back_and_takes_it_again(project: Project) -> None:
    with on_terminal(project) as terminal:
        ready(terminal)
        until(lambda: terminal.settings != CANONICAL)
        terminal.type("\x1a")
        until(lambda: state(terminal.process.pid) == "T")
        assert terminal.settings == CANONICAL
        terminal.process.send_signal(signal.SIGCONT)
        until(lambda: terminal.settings != CANONICAL)
        terminal.type("h")
        terminal.wait("this help")


def test_command_in_the_background_is_not_stopped_and_takes_keys_when_it_comes_forward(project: Project) -> None:
    script = (
        "import os, signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTTOU, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-m', 'devserver', 'run', 'main:app', '--port', sys.argv[-1]],\n"
        "                         process_group=0)\n"
        "signal.signal(signal.SIGUSR1, lambda *_: (os.tcsetpgrp(0, child.pid), os.kill(child.pid, signal.SIGCONT)))\n"
        "signal.signal(signal.SIGTERM, lambda *_: child.terminate())\n"
        "sys.exit(child.wait())\n"
    )
    with on_terminal(project, command=[sys.executable, "-c", script]) as terminal:
        terminal.wait("ready in")
        assert terminal.settings == CANONICAL
        assert terminal.answer("/items/5") == "2"
        terminal.process.send_signal(signal.SIGUSR1)
        until(lambda: terminal.settings != CANONICAL)
        terminal.type("h")
        terminal.wait("this help")


def test_footer_fits_a_terminal_of_any_width(project: Project) -> None:
    with on_terminal(project) as terminal:
        terminal.resize(24, 30)
        terminal.wait("ready in")
        until(lambda: "r reload" in screen(terminal)[-1])
        assert screen(terminal)[-1] == "  r reload · o open · d docs"
        terminal.resize(24, 200)
        terminal.process.send_signal(signal.SIGWINCH)
        terminal.wait("q quit")


def test_footer_makes_room_for_a_prompt(project: Project) -> None:
    project.write("main.py", answering("input('name? ')"))
    with on_terminal(project) as terminal:
        ready(terminal)
        answer = terminal.get("/")
        terminal.wait("name? ")
        until(lambda: screen(terminal)[-1] == "name?")
        until(lambda: terminal.lent)
        terminal.type("Ada\n")
        assert answer.result().body == "Ada"
        until(lambda: FOOTER in screen(terminal)[-1])


def test_output_of_the_app_comes_in_whole_lines(project: Project) -> None:
    project.write("main.py", answering("[print(f'line {number}.', flush=True) for number in range(300)] and ''"))
    with on_terminal(project) as terminal:
        ready(terminal)
        terminal.answer("/")
        terminal.wait("line 299.")
        terminal.wait("200")
        lines = [line for line in screen(terminal) if line.startswith("line ")]
        assert lines == [f"line {number}." for number in range(300)]


@pytest.mark.parametrize(
    "environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {"CI": "true"}, {"DEVSERVER_UI": "plain"}]
)
def test_without_colours_there_are_neither_footer_nor_keys(project: Project, environment: dict[str, str]) -> None:
    command = ["env", *(f"{name}={value}" for name, value in environment.items())]
    command += [sys.executable, "-m", "devserver", "run", "main:app", "--port"]
    with on_terminal(project, command=command) as terminal:
        terminal.wait("ready in")
        terminal.answer("/items/5")
        terminal.wait('"GET /items/5 HTTP/1.1" 200 OK')
        assert FOOTER not in terminal.text
        assert b"\x1b[2K" not in terminal.shown
        assert b"\x1b[?2004h" not in terminal.shown
        assert terminal.settings == CANONICAL


def test_ascii_stands_in_where_the_symbols_cannot_be_printed(project: Project) -> None:
    command = ["env", "PYTHONIOENCODING=ascii", sys.executable, "-m", "devserver", "run", "main:app", "--port"]
    with on_terminal(project, command=command) as terminal:
        terminal.wait("ready in")
        terminal.type("r")
        terminal.wait("* reloaded")
        assert terminal.shown.isascii()


def test_flood_is_sampled(project: Project) -> None:
    with on_terminal(project) as terminal:
        ready(terminal)
        for each in [terminal.get(f"/items/{number}") for number in range(1, 400)]:
            each.result()
        terminal.wait("/items/")
        shown = sum(line.count("get_item") for line in screen(terminal))
        told = [int(found.replace(",", "")) for found in re.findall(r"… ([\d,]+) more", terminal.text)]
        assert shown + sum(told) <= 399
