"""How lines look: plain, in colour, and as JSON."""

from __future__ import annotations

import dataclasses
import json as json_format
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from devserver import events
from devserver.errors import AppLoadError, BindError
from devserver.events import AppFailed, Failure, Frame, Notice, Reloaded
from devserver.ui import json
from devserver.ui.plain import PlainText
from devserver.ui.rich import RichText

if TYPE_CHECKING:
    from devserver.ui.narrator import Line

TRICKY: list[Line] = [
    (("bad", "error: "), ("text", "[red]x[/red] :smile: [link=http://x]y[/link] 'a' 1.5 http://x")),
    (),
    (("dim", "↻ "), ("text", "x" * 300), ("text", "  ")),
]
TERMINAL = {"TERM": "xterm-256color"}


def test_plain_text_is_what_was_said() -> None:
    assert PlainText(ascii=False).render(TRICKY) == (
        f"error: [red]x[/red] :smile: [link=http://x]y[/link] 'a' 1.5 http://x\n\n↻ {'x' * 300}\n"
    )


def test_plain_text_in_ascii_has_stand_ins_for_symbols() -> None:
    assert PlainText(ascii=True).render([(("text", "↻ a · b …"),)]) == "* a - b ...\n"


def test_rich_text_colours_by_style_and_reads_no_markup() -> None:
    text = RichText(TERMINAL, colour=True, ascii=False).render(TRICKY)
    assert text == (
        "\x1b[1;31merror: \x1b[0m[red]x[/red] :smile: [link=http://x]y[/link] 'a' 1.5 http://x\n"
        f"\n\x1b[2m↻ \x1b[0m{'x' * 300}  \n"
    )


def test_rich_text_without_colour_is_bold_and_dim_only() -> None:
    text = RichText(TERMINAL, colour=False, ascii=True).render(TRICKY)
    assert text.startswith("\x1b[1merror: \x1b[0m[red]")
    assert "\x1b[2m* \x1b[0m" in text


def test_rich_text_on_a_dumb_terminal_has_no_escape_sequences() -> None:
    assert "\x1b" not in RichText({"TERM": "dumb"}, colour=True, ascii=False).render(TRICKY)


def test_json_line_reads_back_as_the_event() -> None:
    frame = Frame("/a.py", 1, "f", "x", True, ((1, "x"),))
    event = AppFailed("m\n\x1b", "", Failure("E", "ü", (frame,), cause=Failure("C", "", ())))
    line = json.line(event)
    assert line.isascii()
    assert line.count("\n") == 1
    members = json_format.loads(line)
    assert members.pop("markdown").startswith("# 500 · m\n")
    assert events.from_json(members) == event


@pytest.mark.parametrize("event", [Notice("info", "x"), Reloaded(("a",), 0.1, "cold")])
def test_json_line_names_its_event(event: events.Event) -> None:
    assert json_format.loads(json.line(event))["event"] == type(event).__name__


def test_json_error_has_message_hint_exit_code_and_failure() -> None:
    assert json_format.loads(json.line(BindError("taken", hint="wait"))) == {
        "event": "Error",
        "message": "taken",
        "hint": "wait",
        "failure": None,
        "markdown": "# 500 · taken\n\n**Hint:** wait\n",
        "exit_code": 2,
    }
    error = json_format.loads(json.line(AppLoadError("broken", failure=Failure("E", "m", ()))))
    assert (error["failure"]["kind"], error["exit_code"]) == ("E", 3)


@pytest.mark.parametrize("kind", json.WRITTEN, ids=lambda kind: kind.__name__)
def test_documentation_names_every_member_of_every_event(kind: type) -> None:
    page = (Path(__file__).parents[2] / "docs" / "terminal.md").read_text()
    (row,) = [line for line in page.splitlines() if line.startswith(f"| `{kind.__name__}` |")]
    assert [field.name for field in dataclasses.fields(kind) if f"`{field.name}`" not in row] == []


def test_importing_the_ui_does_not_import_rich() -> None:
    program = (
        "import sys, devserver.ui; print([name for name in ('rich', 'json.tool', 'asyncio') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
