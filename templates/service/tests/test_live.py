"""What somebody says reaches everybody who listens, within limits."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from fastapi.testclient import TestClient

# feature: auth
from sqlalchemy.ext.asyncio import AsyncConnection

# end
from starlette.testclient import WebSocketDenialResponse, WebSocketTestSession
from starlette.websockets import WebSocketDisconnect

from acme_shop.live.hub import (
    HISTORY_MESSAGES_MAX,
    WAITING_MESSAGES_MAX,
    End,
    Hub,
    Subscription,
)
from acme_shop.live.pace import Pace
from acme_shop.routers.live import PACE_BURST, TEXT_CHARS_MAX
from acme_shop.settings import Settings

SOCKET = "/api/live/socket"


def hub_of(client: TestClient) -> Hub:
    hub: Hub = client.app_state["hub"]
    return hub


def run(client: TestClient, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Runs a coroutine on the loop of the app."""
    assert client.portal is not None
    client.portal.call(work)


def close_code(socket: WebSocketTestSession) -> int:
    """What it is closed with, after whatever else comes."""
    while True:
        try:
            socket.receive_json()
        except WebSocketDisconnect as closed:
            return closed.code


def events(client: TestClient, *, after: str | None = None) -> list[tuple[str, str]]:
    """The id and the text of each event until the service stops, which it does as soon as somebody listens."""

    async def stop() -> None:
        while not hub_of(client).listeners:
            await asyncio.sleep(0.001)
        hub_of(client).publish("last")
        hub_of(client).close()

    assert client.portal is not None
    stopping = client.portal.start_task_soon(stop)
    response = client.get("/api/live/events", headers={} if after is None else {"Last-Event-ID": after})
    stopping.result()
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("text/event-stream")
    assert response.text.startswith(": listening\nretry: 1000\n\n")
    found = []
    for event in response.text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in event.splitlines() if not line.startswith(":"))
        if "data" in fields:
            found.append((fields["id"], json.loads(fields["data"])["text"]))
    return found


def test_text_reaches_every_socket(client: TestClient) -> None:
    with client.websocket_connect(SOCKET) as first, client.websocket_connect(SOCKET) as second:
        first.send_text(" hello ")

        assert first.receive_json()["text"] == "hello"
        assert second.receive_json()["text"] == "hello"


def test_message_that_is_posted_reaches_sockets(client: TestClient) -> None:
    with client.websocket_connect(SOCKET) as socket:
        posted = client.post("/api/live/messages", json={"text": "hello"})

        assert posted.status_code == 201
        assert socket.receive_json() == posted.json()


def test_page_of_another_origin_is_refused(client: TestClient) -> None:
    with (
        pytest.raises(WebSocketDisconnect) as refused,
        client.websocket_connect(SOCKET, headers={"Origin": "https://evil.example.com"}),
    ):
        pass

    assert refused.value.code == 1008


def test_own_page_and_named_pages_are_let_in(client: TestClient, settings: Settings) -> None:
    settings.allowed_origins = ["https://shop.example.com"]
    for origin in ("http://testserver", "https://shop.example.com"):
        with client.websocket_connect(SOCKET, headers={"Origin": origin}) as socket:
            socket.send_text("hello")
            assert socket.receive_json()["text"] == "hello"


def test_text_that_is_too_long_closes(client: TestClient) -> None:
    with client.websocket_connect(SOCKET) as socket:
        socket.send_text("x" * (TEXT_CHARS_MAX + 1))

        assert close_code(socket) == 1009


def test_bytes_close(client: TestClient) -> None:
    with client.websocket_connect(SOCKET) as socket:
        socket.send_bytes(b"hello")

        assert close_code(socket) == 1003


def test_too_many_texts_at_once_close(client: TestClient) -> None:
    with client.websocket_connect(SOCKET) as socket:
        for _ in range(PACE_BURST + 5):
            socket.send_text("hello")

        assert close_code(socket) == 1008


def test_service_that_stops_says_come_back(client: TestClient) -> None:
    async def stop() -> None:
        hub_of(client).close()

    with client.websocket_connect(SOCKET) as socket:
        run(client, stop)

        assert close_code(socket) == 1012


def test_old_socket_is_closed_and_may_come_back(client: TestClient, settings: Settings) -> None:
    settings.live_connection_s = 0.01
    with client.websocket_connect(SOCKET) as socket, pytest.raises(WebSocketDisconnect) as closed:
        socket.receive_json()

    assert closed.value.code == 1012


def test_one_listener_more_than_may_be_is_refused(client: TestClient, settings: Settings) -> None:
    hub_of(client).listeners_max = 1
    with client.websocket_connect(SOCKET):
        with pytest.raises(WebSocketDenialResponse) as refused, client.websocket_connect(SOCKET):
            pass
        events = client.get("/api/live/events")

    assert refused.value.status_code == 503
    assert events.status_code == 503
    assert events.headers["Retry-After"] == "30"


def test_socket_that_has_gone_listens_no_more(client: TestClient) -> None:
    async def wait() -> None:
        while hub_of(client).listeners:
            await asyncio.sleep(0.001)

    with client.websocket_connect(SOCKET) as socket:
        socket.send_text("hello")
        socket.receive_json()
        assert len(hub_of(client).listeners) == 1

    run(client, wait)


def test_events_are_what_is_said_from_now_on(client: TestClient) -> None:
    client.post("/api/live/messages", json={"text": "before"})

    assert [text for _, text in events(client)] == ["last"]
    assert not hub_of(client).listeners


def test_browser_that_comes_back_gets_what_it_has_missed(client: TestClient) -> None:
    ids = [client.post("/api/live/messages", json={"text": text}).json()["id"] for text in ("a", "b", "c")]

    assert [text for _, text in events(client, after=ids[0])] == ["b", "c", "last"]


def test_browser_that_was_with_another_process_gets_all_that_is_known(client: TestClient) -> None:
    client.post("/api/live/messages", json={"text": "a"})

    assert [text for _, text in events(client, after="another-7")] == ["a", "last"]


def test_stream_begun_while_the_service_stops_ends(client: TestClient) -> None:
    async def stop() -> None:
        hub_of(client).close()

    run(client, stop)

    assert client.get("/api/live/events").text.count("data:") == 0


def test_listener_that_is_too_slow_is_dropped() -> None:
    async def listen() -> Subscription:
        hub = Hub(listeners_max=1)
        with hub.subscribe() as slow:
            for _ in range(WAITING_MESSAGES_MAX + HISTORY_MESSAGES_MAX + 1):
                hub.publish("hello")
            assert [message async for message in slow] == []
        return slow

    assert asyncio.run(listen()).end is End.BEHIND


def test_history_is_bounded() -> None:
    async def missed() -> int:
        hub = Hub(listeners_max=1)
        for _ in range(HISTORY_MESSAGES_MAX * 2):
            hub.publish("hello")
        with hub.subscribe(after="") as late:
            hub.close()
            return len([message async for message in late])

    assert asyncio.run(missed()) == HISTORY_MESSAGES_MAX


def test_pace_lets_a_burst_through_and_then_what_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("acme_shop.live.pace.time.monotonic", lambda: now)
    pace = Pace(burst=2, per_second=0.5)

    assert [pace.allows() for _ in range(3)] == [True, True, False]
    now += 2
    assert [pace.allows() for _ in range(2)] == [True, False]
    now += 3600
    assert [pace.allows() for _ in range(3)] == [True, True, False]


def test_page_is_there_with_what_it_asks_for(client: TestClient) -> None:
    page = client.get("/live")

    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    for file in ("live.js", "live.css"):
        assert f'"{file}"' in page.text
        assert client.get(f"/{file}").status_code == 200


# feature: auth
def test_nobody_hears_or_says_anything_without_being_signed_in(client: TestClient) -> None:
    del client.headers["Authorization"]

    with pytest.raises(WebSocketDisconnect) as refused, client.websocket_connect(SOCKET):
        pass
    assert refused.value.code == 1008
    assert client.get("/api/live/events").status_code == 401
    assert client.post("/api/live/messages", json={"text": "hello"}).status_code == 401
    assert not hub_of(client).listeners


def test_page_that_is_signed_in_is_heard(client: TestClient) -> None:
    account = {"email": "ada@example.com", "password": "correct horse battery"}
    del client.headers["Authorization"]
    client.post("/api/users", json=account)
    client.post("/api/auth/session", json=account)

    with client.websocket_connect(SOCKET) as socket:
        socket.send_text("hello")
        assert socket.receive_json()["text"] == "hello"


def test_stream_does_not_keep_the_database(client: TestClient) -> None:
    """A session that asked who it is would take its connection from the pool for as long as somebody listens."""

    async def look_and_stop() -> None:
        connection: AsyncConnection = client.app_state["database"].sessions.kw["bind"]
        while not hub_of(client).listeners:
            await asyncio.sleep(0.001)
        async with asyncio.timeout(5):
            while connection.in_nested_transaction():
                await asyncio.sleep(0.001)
        assert hub_of(client).listeners
        hub_of(client).close()

    assert client.portal is not None
    looking = client.portal.start_task_soon(look_and_stop)
    client.get("/api/live/events")
    looking.result()


# end
