"""The chat, run as its README says: two clients, one that does not read, and its page in a real browser."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.support.browser import Page, page
from tests.support.dev_run import dev_run
from tests.support.server import PATIENCE_S

CHAT = Path(__file__).resolve().parents[2] / "examples" / "chat"


@pytest.fixture
def server() -> Iterator[str]:
    """An empty room of one's own."""
    with dev_run("--no-reload", directory=CHAT) as running:
        yield running.url
        assert running.stop() == 0


def join(url: str, name: str) -> ClientConnection:
    """Somebody comes into the room."""
    return connect(f"{url.replace('http', 'ws')}/chat?name={quote(name)}", proxy=None, open_timeout=PATIENCE_S)


def say(member: ClientConnection, text: str) -> None:
    member.send(json.dumps({"text": text}))


def hear(member: ClientConnection) -> dict[str, Any]:
    """The next that a member is told."""
    event: dict[str, Any] = json.loads(member.recv(PATIENCE_S))
    return event


def hear_of(member: ClientConnection, kind: str, name: str) -> dict[str, Any]:
    """The next of one kind and one person; what comes before it is left out."""
    while (event := hear(member))["kind"] != kind or event["name"] != name:
        pass
    return event


def test_members_hear_each_other_and_who_leaves(server: str) -> None:
    with join(server, "Ada") as ada:
        assert hear(ada) == {"kind": "welcome", "name": "Ada", "names": ["Ada"]}
        with join(server, "Grace") as grace:
            assert hear(grace) == {"kind": "welcome", "name": "Grace", "names": ["Ada", "Grace"]}
            assert hear(ada) == {"kind": "joined", "name": "Grace", "names": ["Ada", "Grace"]}
            say(ada, "Grüße 🎈")
            assert hear(ada) == hear(grace) == {"kind": "said", "name": "Ada", "text": "Grüße 🎈"}
        assert hear(ada) == {"kind": "left", "name": "Grace", "names": ["Ada"]}
        # Somebody may also vanish without a word.
        with join(server, "Linus") as linus:
            hear_of(ada, "joined", "Linus")
            linus.socket.shutdown(socket.SHUT_RDWR)
            hear_of(ada, "left", "Linus")


def test_somebody_who_does_not_read_holds_up_nobody_and_is_sent_away(server: str) -> None:
    where = urlsplit(server)
    handshake = (
        f"GET /chat?name=Sloth HTTP/1.1\r\nHost: {where.netloc}\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    with join(server, "Ada") as ada, socket.socket() as sloth:
        # What the kernel keeps for somebody who does not read is little, and the test is short.
        sloth.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sloth.settimeout(PATIENCE_S)
        sloth.connect((where.hostname, where.port))
        sloth.sendall(handshake.encode())
        hear_of(ada, "joined", "Sloth")
        text, said, gone = "🎈" * 2000, 0, False
        while not gone:
            say(ada, text)
            said += 1
            while (event := hear(ada))["kind"] != "said":
                gone = gone or (event["kind"], event["name"]) == ("left", "Sloth")
            assert said < 10_000, "nobody is ever sent away"
        # It takes a full outbox, and what the kernel takes for a client.
        assert said > 100


# The page


def join_on_page(shown: Page, name: str) -> None:
    """Somebody comes into the room who has opened the page and uses the keyboard alone."""
    shown.wait("document.activeElement.id === 'name'")
    shown.type(name)
    shown.press_enter()
    shown.wait(f"document.querySelector('#status').textContent === 'You are here as {name}.'")
    assert shown.evaluate("document.activeElement.id") == "text"


def test_page_shows_what_is_said_and_who_is_there(server: str, tmp_path: Path) -> None:
    with page(tmp_path, server) as shown:
        join_on_page(shown, "Ada")
        with join(server, "Grace") as grace:
            assert hear(grace)["names"] == ["Ada", "Grace"]
            shown.type("hello from the page")
            shown.click("#send")
            assert hear(grace) == {"kind": "said", "name": "Ada", "text": "hello from the page"}
            say(grace, "<b>Grüße</b>")
            shown.wait("document.querySelectorAll('.message').length === 2")
            assert shown.evaluate(
                "[...document.querySelectorAll('.message')].map(each => each.innerText.split('\\n'))"
            ) == [
                ["Ada", "hello from the page"],
                ["Grace", "<b>Grüße</b>"],
            ]
            assert shown.evaluate("document.querySelector('#text').value") == ""
            told = shown.accessible()
            assert told >= {
                ("list", "In the room"),
                ("log", "Messages"),
                ("status", ""),
                ("textbox", "Message"),
                ("button", "Send"),
                ("StaticText", "Grace is here"),
            }
        shown.wait("document.querySelector('#log').lastChild.textContent === 'Grace has left'")
        assert shown.evaluate("[...document.querySelectorAll('#members li')].map(each => each.innerText)") == ["Ada"]
        assert shown.problems == []


def test_page_comes_back_when_a_file_is_saved(tmp_path: Path) -> None:
    project = tmp_path / "chat"
    shutil.copytree(CHAT, project)
    room = project / "chat" / "room.py"
    with dev_run("chat", directory=tmp_path) as running, page(tmp_path, running.url) as shown:
        join_on_page(shown, "Ada")
        shown.type("before")
        shown.press_enter()
        shown.wait("document.querySelectorAll('.message').length === 1")
        shown.type("after")

        source = room.read_text()
        room.write_text(source.replace("text=text)", "text=text.upper())"))
        running.wait_for("Reloaded")
        with join(running.url, "Grace") as grace:
            if "Ada" not in hear(grace)["names"]:
                hear_of(grace, "joined", "Ada")
            shown.wait("!document.querySelector('#send').disabled")
            shown.press_enter()
            assert hear_of(grace, "said", "Ada")["text"] == "AFTER"
        shown.wait("document.querySelectorAll('.message').length === 2")
        said = shown.evaluate("[...document.querySelectorAll('.text')].map(each => each.innerText)")
        assert said == ["before", "AFTER"]
        assert shown.problems == []
