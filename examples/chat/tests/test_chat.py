"""The room by itself, and the app without a network."""

from __future__ import annotations

import json
from typing import Any

import pytest
from chat.main import app
from chat.room import OUTBOX_MAX, Member, Room
from fastapi.testclient import TestClient
from starlette.websockets import WebSocketDisconnect


def told(member: Member) -> list[dict[str, Any]]:
    """What a member has been told and not yet taken."""
    return [json.loads(member.outbox.get_nowait()) for _ in range(member.outbox.qsize())]


# The room


def test_everybody_is_told_who_comes_and_who_leaves() -> None:
    room = Room()
    with room.joined("Ada") as ada:
        with room.joined("Grace") as grace:
            assert room.names == ["Ada", "Grace"]
            assert told(grace) == [{"kind": "welcome", "name": "Grace", "names": ["Ada", "Grace"]}]
        assert told(ada) == [
            {"kind": "welcome", "name": "Ada", "names": ["Ada"]},
            {"kind": "joined", "name": "Grace", "names": ["Ada", "Grace"]},
            {"kind": "left", "name": "Grace", "names": ["Ada"]},
        ]
    assert room.names == []


def test_everybody_hears_what_is_said() -> None:
    room = Room()
    with room.joined("Ada") as ada, room.joined("Grace") as grace:
        room.say(grace, "Grüße")
        for member in (ada, grace):
            assert told(member)[-1] == {"kind": "said", "name": "Grace", "text": "Grüße"}


def test_names_are_unique() -> None:
    room = Room()
    with room.joined("Ada"), room.joined("Ada") as second, room.joined("Ada") as third:
        assert (second.name, third.name) == ("Ada 2", "Ada 3")
    with room.joined("Ada") as again:
        assert again.name == "Ada"


def test_somebody_who_takes_nothing_falls_behind_and_the_others_do_not() -> None:
    room = Room()
    with room.joined("Ada") as ada, room.joined("Sloth") as sloth:
        for number in range(OUTBOX_MAX + 10):
            room.say(ada, str(number))
            told(ada)
        assert sloth.fallen_behind.is_set()
        assert not ada.fallen_behind.is_set()
        assert len(told(sloth)) == OUTBOX_MAX
        room.say(ada, "still here")
        assert told(sloth) == []


# The app


def test_page_and_its_parts_are_served() -> None:
    client = TestClient(app)
    page = client.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    for part in ("page/chat.css", "page/chat.js", "page/icon.svg"):
        assert part in page.text
        assert client.get(f"/{part}").status_code == 200


def test_members_hear_each_other() -> None:
    # Entered, the client has one event loop for both, as a server has.
    with (
        TestClient(app) as client,
        client.websocket_connect("/chat?name=Ada") as ada,
        client.websocket_connect("/chat?name=%20Grace%20") as grace,
    ):
        assert ada.receive_json()["name"] == "Ada"
        assert ada.receive_json() == {"kind": "joined", "name": "Grace", "names": ["Ada", "Grace"]}
        assert grace.receive_json()["kind"] == "welcome"
        grace.send_json({"text": "  hello "})
        assert ada.receive_json() == grace.receive_json() == {"kind": "said", "name": "Grace", "text": "hello"}


@pytest.mark.parametrize("query", ["", "?name=", "?name=%20", f"?name={'x' * 33}"])
def test_without_a_proper_name_nobody_comes_in(query: str) -> None:
    with pytest.raises(WebSocketDisconnect), TestClient(app).websocket_connect(f"/chat{query}"):
        pass


@pytest.mark.parametrize("wrong", ["", "{", "[]", '{"text": 1}', '{"text": " "}', json.dumps({"text": "x" * 2001})])
def test_what_is_no_message_ends_the_connection(wrong: str) -> None:
    with TestClient(app).websocket_connect("/chat?name=Ada") as ada:
        ada.receive_json()
        ada.send_text(wrong)
        with pytest.raises(WebSocketDisconnect) as ended:
            ada.receive_json()
        assert (ended.value.code, ended.value.reason) == (1008, 'Send {"text": "…"}, please.')


def test_binary_message_ends_the_connection() -> None:
    with TestClient(app).websocket_connect("/chat?name=Ada") as ada:
        ada.receive_json()
        ada.send_bytes(b'{"text": "hello"}')
        with pytest.raises(WebSocketDisconnect) as ended:
            ada.receive_json()
        assert ended.value.code == 1008
