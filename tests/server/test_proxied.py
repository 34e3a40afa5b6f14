"""Connections that begin with a PROXY protocol header, over real sockets."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
import time
from typing import TYPE_CHECKING, Any

import pytest

from devserver.errors import ConfigError
from devserver.events import RequestRefused
from devserver.server import proxied
from tests.support.certificates import make_certificate
from tests.support.server import PATIENCE_S, Running, hello, read_all, serving, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from devserver.app.types import Receive, Scope, Send

REQUEST = b"GET / HTTP/1.0\r\n\r\n"
V1 = b"PROXY TCP4 203.0.113.7 198.51.100.1 4711 443\r\n"
V2 = (
    b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c"
    + socket.inet_aton("203.0.113.7")
    + socket.inet_aton("198.51.100.1")
    + b"\x12\x67\x01\xbb"
)
LOCAL = b"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"


async def ends(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the two ends of the connection."""
    if scope["type"] != "http":
        raise NotImplementedError
    body = json.dumps([scope["client"], scope["server"], scope["scheme"]]).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


@contextlib.contextmanager
def proxied_server(app: Any = ends, *, mode: str = "auto", **options: Any) -> Iterator[Running]:
    with serving(app, proxy_protocol=mode, **options) as running:
        running.server.emitter.listen(running.events.append, (RequestRefused,))
        yield running


def ask(running: Running, *parts: bytes) -> bytes:
    """Sends the parts one by one, and reads to the end."""
    with running.connect() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in parts:
            client.sendall(part)
        return read_all(client)


def body(answer: bytes) -> Any:
    return json.loads(answer.partition(b"\r\n\r\n")[2])


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@pytest.mark.parametrize(("mode", "header"), [("v1", V1), ("v2", V2), ("auto", V1), ("auto", V2)])
def test_the_header_tells_both_ends(mode: str, header: bytes, loop: str) -> None:
    with proxied_server(mode=mode, loop=loop) as running:
        expected = [["203.0.113.7", 4711], ["198.51.100.1", 443], "http"]
        assert body(ask(running, header + REQUEST)) == expected
        assert body(ask(running, header, REQUEST)) == expected


@pytest.mark.parametrize("header", [V1, V2])
def test_a_header_that_comes_byte_by_byte_is_read_without_spinning(header: bytes) -> None:
    with proxied_server() as running:
        assert body(ask(running, *[bytes([byte]) for byte in header + REQUEST]))[0] == ["203.0.113.7", 4711]
        with running.connect() as client:
            client.sendall(header[:-1])
            until(lambda: running.server.server_state and running.server.server_state.connections)
            before = time.process_time()
            client.settimeout(0.2)
            with pytest.raises(TimeoutError):
                client.recv(1)
            assert time.process_time() - before < 0.15


def test_local_leaves_the_socket_s_own_addresses() -> None:
    with proxied_server() as running:
        assert body(ask(running, LOCAL + REQUEST))[0][0] == "127.0.0.1"


@pytest.mark.parametrize(
    ("mode", "data"), [("v1", V2), ("v2", V1), ("auto", REQUEST), ("auto", b"PROXY nonsense\r\n"), ("v1", b"P" * 200)]
)
def test_a_trusted_peer_that_does_not_begin_with_it_is_closed(mode: str, data: bytes) -> None:
    with proxied_server(mode=mode) as running:
        assert ask(running, data) == b""
        until(lambda: running.of(RequestRefused))
        assert running.of(RequestRefused)[0].status == 400
        assert running.of(RequestRefused)[0].peer.startswith("127.0.0.1:")


def test_other_peers_are_served_as_themselves_and_not_believed() -> None:
    with proxied_server(proxy_allow_ips="192.0.2.1") as running:
        assert body(ask(running, REQUEST))[0][0] == "127.0.0.1"
        assert b" 400 " in ask(running, V1 + REQUEST).partition(b"\r\n")[0]


def test_a_peer_that_leaves_before_the_header_ends_is_forgotten() -> None:
    with proxied_server() as running:
        state = running.server.server_state
        assert state is not None
        with running.connect() as client:
            client.sendall(V1[:10])
            until(lambda: state.connections)
        until(lambda: not state.connections)


def test_a_header_that_takes_too_long_closes_the_connection() -> None:
    with proxied_server(timeout_request_head=0.05) as running:
        assert ask(running, V1[:10]) == b""
        until(lambda: running.of(RequestRefused))
        assert running.of(RequestRefused)[0].status == 408


def test_heads_count_as_connections() -> None:
    with proxied_server(limit_connections=1) as running, running.connect() as first:
        first.sendall(V1[:10])
        until(lambda: running.server.server_state and running.server.server_state.connections)
        assert ask(running, V1 + REQUEST) == b""
        first.sendall(V1[10:] + REQUEST)
        assert b" 200 " in read_all(first)


def test_stopping_closes_what_is_empty_and_waits_for_what_has_begun() -> None:
    with proxied_server() as running, running.connect() as empty, running.connect() as begun:
        state = running.server.server_state
        assert state is not None
        begun.sendall(V1[:10])
        until(lambda: [item.idle for item in state.connections].count(False) == 1 and len(state.connections) == 2)
        running.server.should_exit = True
        assert empty.recv(1) == b""
        begun.sendall(V1[10:] + REQUEST)
        assert b" 200 " in read_all(begun)
        running.join()
        assert not running.server.servers[0].sockets
        assert not running.server.servers[0].is_serving()


def test_a_unix_peer_is_trusted_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    with proxied_server(uds=path, proxy_allow_ips="unix") as running, socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE_S)
        client.connect(str(path))
        client.sendall(V2 + REQUEST)
        assert body(read_all(client))[0] == ["203.0.113.7", 4711]
        assert running.server.servers[0].is_serving()


def test_a_process_without_descriptors_left_accepts_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxied, "PAUSE_S", 0.05)
    failures = [OSError(24, "Too many open files"), ConnectionAbortedError()]
    real = socket.socket.accept

    def accept(self: socket.socket) -> Any:
        if failures:
            raise failures.pop()
        return real(self)

    with proxied_server() as running:
        monkeypatch.setattr(socket.socket, "accept", accept)
        assert b" 200 " in ask(running, V1 + REQUEST)
    assert not failures


def test_a_network_that_is_none_is_told_in_a_sentence() -> None:
    with pytest.raises(ConfigError, match="500"), proxied_server(proxy_allow_ips="10.0.0.0/500"):
        pass


@pytest.mark.parametrize("together", [True, False])
def test_tls_follows_the_header(tmp_path: Path, together: bool) -> None:
    certificate, key = make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with proxied_server(ssl_certfile=certificate, ssl_keyfile=key) as running, running.connect() as client:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing)
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        # Header and ClientHello in one segment is what a proxy does that has both at hand.
        for part in [V2 + outgoing.read()] if together else [V2, outgoing.read()]:
            client.sendall(part)
        answer = b""
        wanted = iter((tls.do_handshake, lambda: tls.write(REQUEST)))
        step: Any = next(wanted)
        while step is not None:
            try:
                step()
                step = next(wanted, None)
            except ssl.SSLWantReadError:
                incoming.write(client.recv(65536))
            client.sendall(outgoing.read())
        with contextlib.suppress(ssl.SSLZeroReturnError, ssl.SSLEOFError):
            # Nothing at all is what a closed TLS connection reads as.
            while (piece := _read_tls(tls, incoming, client)) != b"":
                answer += piece
        assert body(answer) == [["203.0.113.7", 4711], ["198.51.100.1", 443], "https"]


def _read_tls(tls: ssl.SSLObject, incoming: ssl.MemoryBIO, client: socket.socket) -> bytes:
    while True:
        try:
            return tls.read(65536)
        except ssl.SSLWantReadError:
            data = client.recv(65536)
            incoming.write(data) if data else incoming.write_eof()


def test_a_failed_handshake_leaves_nothing_open(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    with proxied_server(hello, ssl_certfile=certificate, ssl_keyfile=key) as running:
        assert b"HTTP" not in ask(running, V2 + REQUEST)  # uvloop keeps a descriptor of its own from the first one on.
        open_before = len(os.listdir("/proc/self/fd"))
        assert b"HTTP" not in ask(running, V2 + REQUEST)
        until(lambda: len(os.listdir("/proc/self/fd")) <= open_before)
