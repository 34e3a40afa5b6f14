"""How a worker's server makes way for the next one; what a whole worker does is tested with a supervisor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from devserver.supervisor import worker
from tests.support.server import hello, read_all, serving, until

if TYPE_CHECKING:
    import pytest

    from devserver.protocol.state import ServerState
    from devserver.server.server import Server
    from tests.support.server import Running

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
KIND = cast("type[Server]", worker._make_server)


def state(running: Running) -> ServerState:
    assert running.server.server_state is not None
    return running.server.server_state


def test_connection_that_is_open_may_still_bring_its_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "ARRIVE_S", 600)
    with serving(hello, kind=KIND) as running:
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
    monkeypatch.setattr(worker, "ARRIVE_S", 0.01)
    with serving(hello, kind=KIND) as running:
        with running.connect() as fresh:
            until(lambda: state(running).connections)
            running.server.should_exit = True
            assert read_all(fresh) == b""


def test_force_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "ARRIVE_S", 600)
    with serving(hello, kind=KIND) as running:
        with running.connect():
            until(lambda: state(running).connections)
            running.server.should_exit = True
            until(lambda: state(running).stopping)
            running.server.force_exit = True
            running.join()


def test_running_request_is_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "ARRIVE_S", 0.01)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise NotImplementedError
        running.server.should_exit = True
        # The end of the body comes when the server is stopping already.
        await receive()
        await hello(scope, receive, send)

    with serving(app, kind=KIND) as running:
        with running.connect() as sock:
            sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n")
            until(lambda: state(running).stopping)
            sock.sendall(b"x")
            assert read_all(sock).endswith(b"hello")
