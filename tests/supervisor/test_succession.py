"""How a worker's server makes way for the next one, and takes what that leaves; without processes."""

from __future__ import annotations

import functools
import os
import socket
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from devserver.supervisor import succession
from devserver.supervisor.succession import SuccessiveServer, give_back
from tests.support.server import hello, read_all, serving, until

if TYPE_CHECKING:
    from devserver.protocol.state import ServerState
    from tests.support.server import Running

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def kind(
    given: list[tuple[dict[str, Any], int]] | None = None,
    taken: deque[dict[str, Any]] | None = None,
    changed: Callable[[], list[str]] | None = None,
    on_changed: Callable[[list[str]], None] = lambda _: None,
) -> Any:
    """Makes servers that give to one list and take from another."""
    there = [] if given is None else given
    return functools.partial(
        SuccessiveServer,
        give=lambda message, fd: there.append((message, fd)),
        taken=deque() if taken is None else taken,
        on_serving=lambda: None,
        changed=list if changed is None else changed,
        on_changed=on_changed,
    )


def state(running: Running) -> ServerState:
    assert running.server.server_state is not None
    return running.server.server_state


def test_connection_that_is_open_may_still_bring_its_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(succession, "ARRIVE_S", 600)
    with serving(hello, kind=kind()) as running:
        with running.connect() as fresh, running.connect() as kept:
            kept.sendall(REQUEST)
            assert kept.recv(1000).endswith(b"hello")
            until(lambda: len(state(running).connections) == 2)
            running.server.should_exit = True
            until(lambda: state(running).stopping)
            for sock in (fresh, kept):
                sock.sendall(REQUEST)
                answer = read_all(sock)
                assert b"connection: close" in answer
                assert answer.endswith(b"hello")
        # Nobody is left to wait for.
        running.join()


def test_connection_that_brings_nothing_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(succession, "ARRIVE_S", 0.01)
    with serving(hello, kind=kind()) as running:
        with running.connect() as fresh:
            until(lambda: state(running).connections)
            running.server.should_exit = True
            assert read_all(fresh) == b""


def test_force_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(succession, "ARRIVE_S", 600)
    with serving(hello, kind=kind()) as running:
        with running.connect():
            until(lambda: state(running).connections)
            running.server.should_exit = True
            until(lambda: state(running).stopping)
            running.server.force_exit = True
            running.join()


def test_running_request_is_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(succession, "ARRIVE_S", 0.01)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise NotImplementedError
        running.server.should_exit = True
        # The end of the body comes when the server is stopping already.
        await receive()
        await hello(scope, receive, send)

    with serving(app, kind=kind()) as running:
        with running.connect() as sock:
            sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n")
            until(lambda: state(running).stopping)
            sock.sendall(b"x")
            assert read_all(sock).endswith(b"hello")


# Giving and taking


def stop_and_give(running: Running) -> None:
    """Asks a server to make way for another one."""
    server = running.server
    assert isinstance(server, SuccessiveServer)
    server.gives = True
    server.should_exit = True


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@pytest.mark.parametrize("begun", [b"", b"GET", REQUEST[:-2]])
def test_connection_between_requests_goes_to_the_next_server(loop: str, begun: bytes) -> None:
    given: list[tuple[dict[str, Any], int]] = []
    taken: deque[dict[str, Any]] = deque()
    with serving(hello, kind=kind(given), loop=loop) as first:
        sock = first.connect()
        sock.sendall(REQUEST)
        assert sock.recv(1000).endswith(b"hello")
        sock.sendall(begun)
        until(lambda: not begun or any(not connection.idle for connection in state(first).connections))
        stop_and_give(first)
        first.join()
    ((message, fd),) = given
    taken.append({**message, "fd": fd})
    with serving(hello, kind=kind(taken=taken), loop=loop), sock:
        # Whatever had arrived is served by the next one, together with what comes now.
        sock.sendall(REQUEST[len(begun) :])
        assert sock.recv(1000).endswith(b"hello")
        sock.sendall(REQUEST)
        assert sock.recv(1000).endswith(b"hello")


def test_running_request_is_answered_and_its_connection_goes_on() -> None:
    given: list[tuple[dict[str, Any], int]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise NotImplementedError
        await receive()
        await hello(scope, receive, send)

    with serving(app, kind=kind(given), timeout_graceful_shutdown=30) as running:
        with running.connect() as sock:
            sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n")
            until(lambda: state(running).tasks)
            stop_and_give(running)
            until(lambda: state(running).give is not None)
            # The next request is behind it already.
            sock.sendall(b"x" + REQUEST)
            answer = sock.recv(1000)
            assert answer.endswith(b"hello")
            assert b"connection: close" not in answer
            running.join()
    ((message, fd),) = given
    os.close(fd)
    assert message["received"]


def test_stream_of_events_is_ended_and_another_response_is_not() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise NotImplementedError
        kind = b"text/event-stream" if scope["path"] == "/events" else b"text/plain"
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        await receive()
        if scope["path"] == "/events":
            await receive()
        await send({"type": "http.response.body", "body": b"the end"})

    with serving(app, kind=kind(), timeout_graceful_shutdown=600) as running:
        with running.connect() as events, running.connect() as other:
            events.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
            other.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n")
            for sock in (events, other):
                assert sock.recv(1000)
            stop_and_give(running)
            while events.recv(1000):
                pass
            other.sendall(b"x")
            assert b"the end" in other.recv(1000)
            running.join()


def test_connections_that_nobody_took_are_given_back_or_closed() -> None:
    given: list[tuple[dict[str, Any], int]] = []
    for keep in (True, False):
        one, other = socket.socketpair()
        with one, other:
            taken = deque([{"received": "", "proxied": None, "fd": os.dup(one.fileno())}])
            give_back(taken, lambda message, fd: given.append((message, fd)), keep=keep)
            assert not taken
    ((message, fd),) = given
    os.close(fd)
    assert message == {"is": "connection", "received": "", "proxied": None}


def test_requests_are_held_while_it_is_not_known_whether_a_change_matters() -> None:
    told: list[list[str]] = []
    findings: list[list[str]] = [["main.py"]]
    made = kind(changed=lambda: findings.pop() if findings else [], on_changed=told.append)
    with serving(hello, kind=made) as running, running.connect() as sock:
        server = running.server
        assert isinstance(server, SuccessiveServer)
        sock.sendall(REQUEST)
        until(lambda: told == [["main.py"]])
        sock.settimeout(0.05)
        with pytest.raises(TimeoutError):
            sock.recv(1000)
        state(running).loop.call_soon_threadsafe(server.resume)
        sock.settimeout(30)
        assert sock.recv(1000).endswith(b"hello")


def test_requests_are_not_held_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(succession, "HOLD_S", 0.01)
    findings: list[list[str]] = [["main.py"]]
    with serving(hello, kind=kind(changed=lambda: findings.pop() if findings else [])) as running:
        with running.connect() as sock:
            sock.sendall(REQUEST)
            assert sock.recv(1000).endswith(b"hello")
