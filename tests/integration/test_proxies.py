"""nginx and haproxy in front of ``dev run`` and ``dev prod``: whose address an app sees, over real connections."""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import socket
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from tests.support import mirror
from tests.support.ports import peers_of
from tests.support.proxies import haproxy, nginx
from tests.support.server import PATIENCE_S, Program, command, read_all

pytestmark = pytest.mark.once

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

SPOOFED = {
    "Forwarded": 'for=198.51.100.9;proto=https;host="evil.example"',
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Prefix": "/evil",
    "X-Real-IP": "198.51.100.9",
}


Serve: TypeAlias = "Callable[..., AbstractContextManager[Program]]"
COMMANDS = {
    "run": ("run", "--no-reload", "--ui", "plain", "--timeout-keep-alive", "75"),
    "prod": ("prod", "-w", "2"),
}


@pytest.fixture(params=COMMANDS)
def serve(request: pytest.FixtureRequest) -> Serve:
    """Serves the mirror with each of the commands, on a free port."""

    @contextlib.contextmanager
    def serving(folder: Path, *words: str) -> Iterator[Program]:
        shutil.copy(mirror.__file__, folder / "main.py")
        with command(folder, *COMMANDS[request.param], *words) as child:
            yield child
            assert "Traceback" not in child.text
            child.process.terminate()
            assert child.wait() == 0

    return serving


@contextlib.contextmanager
def user(port: int, address: str) -> Iterator[http.client.HTTPConnection]:
    """Somebody with an address of their own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S, source_address=(address, 0))
    with contextlib.closing(connection):
        yield connection


def ask(connection: http.client.HTTPConnection, headers: dict[str, str] | None = None) -> dict[str, Any]:
    """One request on it; what the app saw."""
    connection.request("GET", "/", headers=headers or {})
    seen: dict[str, Any] = json.loads(connection.getresponse().read())
    return seen


def own_address(connection: http.client.HTTPConnection) -> list[Any]:
    return list(connection.sock.getsockname())


# nginx


def test_two_users_over_one_upstream_connection_keep_their_addresses(serve: Serve, tmp_path: Path) -> None:
    with serve(tmp_path, "--port", "0") as child, nginx(tmp_path, f"127.0.0.1:{child.port}") as port:
        with user(port, "127.0.0.2") as one, user(port, "127.0.0.3") as other:
            assert ask(one)["client"][0] == "127.0.0.2"
            upstream = peers_of(child.port)
            assert len(upstream) == 1
            for _ in range(10):
                assert ask(other)["client"][0] == "127.0.0.3"
                assert ask(one)["client"][0] == "127.0.0.2"
            assert peers_of(child.port) == upstream


@pytest.mark.parametrize(
    "claimed",
    ["127.0.0.3", "198.51.100.9, 127.0.0.3", "127.0.0.1", "unix", "", "127.0.0.3:80", '"', "127.0.0.3, unknown, ::1"],
)
def test_a_client_cannot_become_somebody_else(serve: Serve, tmp_path: Path, claimed: str) -> None:
    with serve(tmp_path, "--port", "0") as child, nginx(tmp_path, f"127.0.0.1:{child.port}") as port:
        with user(port, "127.0.0.2") as client:
            seen = ask(client, {**SPOOFED, "X-Forwarded-For": claimed, "X-Forwarded-Proto": "https"})
            assert seen["client"][0] == "127.0.0.2"
            # nginx has overwritten the scheme, and passed on what nobody has asked us to read.
            assert seen["scheme"] == "http"
            assert seen["root_path"] == ""
            assert ["host", "127.0.0.1"] in seen["headers"]
            assert ["forwarded", SPOOFED["Forwarded"]] in seen["headers"]


def test_the_proxys_scheme_is_the_apps(serve: Serve, tmp_path: Path) -> None:
    with serve(tmp_path, "--port", "0") as child, nginx(tmp_path, f"127.0.0.1:{child.port}", scheme="https") as port:
        with user(port, "127.0.0.2") as client:
            assert ask(client)["scheme"] == "https"
            assert ask(client, {"X-Forwarded-Proto": "http"})["scheme"] == "https"


def test_without_proxy_headers_the_proxy_is_the_client(serve: Serve, tmp_path: Path) -> None:
    with serve(tmp_path, "--port", "0", "--no-proxy-headers") as child:
        with nginx(tmp_path, f"127.0.0.1:{child.port}", scheme="https") as port, user(port, "127.0.0.2") as client:
            seen = ask(client)
            assert seen["client"][0] == "127.0.0.1"
            assert seen["scheme"] == "http"


def test_a_proxy_that_is_not_trusted_is_the_client(serve: Serve, tmp_path: Path) -> None:
    with serve(tmp_path, "--port", "0", "--forwarded-allow-ips", "192.0.2.1") as child:
        with nginx(tmp_path, f"127.0.0.1:{child.port}", scheme="https") as port, user(port, "127.0.0.2") as client:
            seen = ask(client)
            assert seen["client"][0] == "127.0.0.1"
            assert seen["scheme"] == "http"


def test_a_proxy_on_a_unix_socket_is_trusted_by_its_name(serve: Serve, tmp_path: Path) -> None:
    uds = tmp_path / "app.sock"
    with serve(tmp_path, "--uds", str(uds), "--forwarded-allow-ips", "unix") as child:
        child.wait_text("app.sock")
        with nginx(tmp_path, f"unix:{uds}") as port, user(port, "127.0.0.2") as client:
            assert ask(client)["client"][0] == "127.0.0.2"
            assert ask(client, {"X-Forwarded-For": "127.0.0.3"})["client"][0] == "127.0.0.2"


def test_bodies_pass_through_nginx_in_both_directions(serve: Serve, tmp_path: Path) -> None:
    body = bytes(range(256)) * 4096
    with serve(tmp_path, "--port", "0") as child, nginx(tmp_path, f"127.0.0.1:{child.port}") as port:
        with user(port, "127.0.0.2") as client:
            client.request("POST", "/", body=body)
            assert json.loads(client.getresponse().read())["body_bytes"] == len(body)
            client.request("GET", "/stream/2000")
            assert client.getresponse().read() == b"".join(b"line %d\n" % line for line in range(2000))
            client.request("HEAD", "/")
            head = client.getresponse()
            assert (head.status, head.read()) == (200, b"")


# haproxy


@pytest.mark.parametrize("how", ["send-proxy", "send-proxy-v2"])
def test_the_address_in_the_proxy_header_is_the_client(serve: Serve, tmp_path: Path, how: str) -> None:
    with serve(tmp_path, "--port", "0", "--proxy-protocol", "auto") as child:
        # haproxy's health checks come every few milliseconds meanwhile.
        with haproxy(tmp_path, child.port, f"{how} check inter 10") as port:
            with user(port, "127.0.0.2") as one, user(port, "127.0.0.3") as other:
                for connection, address in ((one, "127.0.0.2"), (other, "127.0.0.3"), (one, "127.0.0.2")):
                    seen = ask(connection, {"Forwarded": "for=198.51.100.9", "X-Forwarded-For": "198.51.100.9"})
                    assert seen["client"] == own_address(connection)
                    assert seen["client"][0] == address
                    assert seen["server"] == ["127.0.0.1", port]


@pytest.mark.parametrize(
    "first",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"PROXY TCP4 203.0.113.7 198.51.100.1 99999 443\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\r\n\r\n\x00\r\nQUIT\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
    ids=["request", "TLS", "HTTP/2", "wrong v1", "wrong v2"],
)
def test_nothing_but_a_proxy_header_is_accepted_where_one_is_expected(
    serve: Serve, tmp_path: Path, first: bytes
) -> None:
    with serve(tmp_path, "--port", "0", "--proxy-protocol", "auto") as child:
        with socket.create_connection(("127.0.0.1", child.port), timeout=PATIENCE_S) as client:
            client.sendall(first)
            assert read_all(client) == b""
        with haproxy(tmp_path, child.port, "send-proxy-v2") as port, user(port, "127.0.0.2") as client_behind:
            # The app has seen none of it, and serves whoever comes through the proxy.
            assert ask(client_behind)["number"] == 1
