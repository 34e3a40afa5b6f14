"""What each key does, and what the footer says of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from devserver.commands import Command, Pause, Reload, Repeat, Replay, Resume, Stop
from devserver.events import AppRaised, Failure, RequestSeen, RequestsSeen, RoutesSeen, ServerReady
from devserver.ui.console import HELP, Console

if TYPE_CHECKING:
    from devserver.ui.narrator import Line


@dataclass
class Room:
    """A console, and all that came of it."""

    posted: list[Command] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    refreshed: int = 0
    cleared: int = 0

    def __post_init__(self) -> None:
        self.console = Console(self._say, self._refresh, self._clear, self.posted.append)

    def press(self, keys: str) -> None:
        for key in keys:
            self.console.press("enter" if key == "\n" else key)

    def see(self, method: str, status: int = 200) -> None:
        self.console.see(RequestsSeen((RequestSeen(0.0, method, "/items", status, 0.1),)))

    def _say(self, lines: list[Line]) -> None:
        self.said += ["".join(text for _, text in line) for line in lines]

    def _refresh(self) -> None:
        self.refreshed += 1

    def _clear(self) -> None:
        self.cleared += 1


@pytest.mark.parametrize(
    ("keys", "posted"),
    [
        ("r", [Reload()]),
        ("R", [Reload(cold=True)]),
        ("p", [Pause()]),
        ("pp", [Pause(), Resume()]),
        ("X", [Replay(on=True)]),
        ("XX", [Replay(on=True), Replay(on=False)]),
        ("q", []),
        ("qq", [Stop()]),
        ("z\n", []),
    ],
)
def test_key_is_a_command(keys: str, posted: list[Command]) -> None:
    room = Room()
    room.press(keys)
    assert room.posted == posted


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_request_that_changes_nothing_is_repeated_at_once(method: str) -> None:
    room = Room()
    room.see(method)
    room.press("x")
    assert room.posted == [Repeat()]


@pytest.mark.parametrize(("answer", "posted"), [("\n", [Repeat()]), ("n", []), ("q", []), ("x\n", [])])
def test_any_other_is_repeated_after_enter_alone(answer: str, posted: list[Command]) -> None:
    room = Room()
    room.see("POST")
    room.press("x")
    assert "repeat POST /items?" in room.console.footer
    room.press(answer[0])
    assert room.posted == posted
    assert "repeat POST" not in room.console.footer


def test_footer_says_what_is_switched() -> None:
    room = Room()
    assert "h help" in room.console.footer
    room.press("pX")
    assert room.console.footer.startswith("  paused, replays the last request  ")
    room.press("q")
    assert room.console.footer == "  press q again to quit"
    assert room.refreshed >= 3


def test_key_without_anything_to_show_says_so() -> None:
    room = Room()
    room.press("xodlt")
    assert room.said == [
        "  No request has come yet.",
        "  There is no address to open yet.",
        "  The app has no documentation page.",
        "  The app has told of no routes yet.",
        "  Nothing has failed yet.",
    ]


def test_traceback_and_routes_are_shown_whole() -> None:
    room = Room()
    room.console.see(AppRaised(Failure("ValueError", "x", (), traceback="Traceback\n  File\nValueError: x\n")))
    room.console.see(RoutesSeen((("GET", "/items", "main.py:3 items"), ("GET,POST", "/", "main.py:9 home"))))
    room.press("tl")
    assert room.said == [
        *("Traceback", "  File", "ValueError: x"),
        "  GET       /items  main.py:3 items",
        "  GET,POST  /       main.py:9 home",
    ]


def test_help_tells_of_every_key() -> None:
    room = Room()
    room.press("h?")
    assert len(room.said) == 2 * len(HELP)
    assert {key for key, _ in HELP} <= {*"rRpxXodletchq"}


@pytest.mark.parametrize(
    ("urls", "docs", "key", "opened"),
    [
        (("unix:/x", "http://127.0.0.1:8000"), None, "o", "http://127.0.0.1:8000/"),
        (("http://0.0.0.0:8000",), "/docs", "d", "http://127.0.0.1:8000/docs"),
        (("https://[::]:8443",), "/docs", "o", "https://[::1]:8443/"),
    ],
)
def test_browser_is_opened_where_the_app_is(
    urls: tuple[str, ...], docs: str | None, key: str, opened: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    places: list[str] = []
    monkeypatch.setattr("webbrowser.open", places.append)
    room = Room()
    room.console.see(ServerReady(1, urls, "main:app", 0.1, docs_path=docs))
    room.press(key)
    assert room.said == [f"  opening {opened}"]


def test_screen_is_cleared() -> None:
    room = Room()
    room.press("c")
    assert room.cleared == 1
