"""What a request costs to hold and to copy while it arrives in the smallest pieces: sizes and objects, not seconds."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from devserver.protocol.http1.limits import READ_HIGH_WATER
from tests.support.memory import MemoryServer, memory_server

if TYPE_CHECKING:
    from devserver.app.types import Receive, Scope, Send

START = b"POST / HTTP/1.1\r\nHost: a\r\n"
OVERHEAD_BYTES = 512
"""Of the objects that hold a body, apart from its bytes."""


async def waiting_app(_scope: Scope, _receive: Receive, _send: Send) -> None:
    await asyncio.Event().wait()


def chunks(payload: bytes, size: int) -> bytes:
    parts = [payload[at : at + size] for at in range(0, len(payload), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def held_bytes(exchange: Any) -> int:
    return sys.getsizeof(exchange._body) + sum(map(sys.getsizeof, exchange._body))


@pytest.mark.parametrize("read_bytes", [1, 3, 100, 65536])
@pytest.mark.parametrize("chunk_bytes", [1, 3, 100])
def test_body_in_tiny_chunks_is_held_at_most_at_twice_its_size(chunk_bytes: int, read_bytes: int) -> None:
    payload = bytes(range(256)) * (8 if read_bytes < 100 else 200)
    with memory_server(waiting_app) as server:
        client = server.connect()
        client.send(START + b"Transfer-Encoding: chunked\r\n\r\n")
        client.send(*pieces(chunks(payload, chunk_bytes), read_bytes))
        exchange: Any = client.connection.exchange
        assert b"".join(exchange._body) == payload
        assert held_bytes(exchange) <= 2 * len(payload) + OVERHEAD_BYTES


@pytest.mark.parametrize("read_bytes", [1, 100, 5000])
def test_body_in_many_segments_is_held_at_most_at_twice_its_size(read_bytes: int) -> None:
    payload = bytes(range(256)) * (8 if read_bytes < 100 else 200)
    with memory_server(waiting_app) as server:
        client = server.connect()
        client.send(START + b"Content-Length: %d\r\n\r\n" % (len(payload) + 1), *pieces(payload, read_bytes))
        exchange: Any = client.connection.exchange
        assert b"".join(exchange._body) == payload
        assert held_bytes(exchange) <= 2 * len(payload) + OVERHEAD_BYTES


def test_body_that_nobody_reads_is_left_to_the_client_from_the_high_water_mark_on() -> None:
    with memory_server(waiting_app) as server:
        client = server.connect()
        client.send(START + b"Transfer-Encoding: chunked\r\n\r\n")
        client.send(*pieces(chunks(b"a" * (2 * READ_HIGH_WATER), 3), 4096))
        exchange: Any = client.connection.exchange
        assert client.unread
        assert held_bytes(exchange) <= 2 * READ_HIGH_WATER + OVERHEAD_BYTES


def _head(server: MemoryServer) -> Any:
    client = server.connect()
    client.send(START)
    return client


def _behind_another_request(server: MemoryServer) -> Any:
    client = server.connect()
    client.send(START + b"\r\n" + START)
    return client


@pytest.mark.parametrize("begin", [_head, _behind_another_request])
def test_head_that_arrives_byte_by_byte_grows_in_place(begin: Callable[[MemoryServer], Any]) -> None:
    with memory_server(waiting_app) as server:
        client = begin(server)
        client.send(b"X")
        held = client.connection._raw
        client.send_bytewise(b"-Field: " + b"a" * 2000)
        # A copy for each byte would be another object.
        assert client.connection._raw is held
        assert held.endswith(b"X-Field: " + b"a" * 2000)
        assert sys.getsizeof(held) <= 2 * len(held)


@pytest.mark.parametrize("prefix", [b"", b"\r\n"])
@pytest.mark.parametrize(
    ("head", "status"), [(b"GET /" + b"a" * 20_000, 414), (b"GET / HTTP/1.1\r\nX: " + b"a" * 80_000, 431)]
)
def test_line_that_never_ends_is_refused_in_small_reads_too(prefix: bytes, head: bytes, status: int) -> None:
    with memory_server(waiting_app) as server:
        client = server.connect()
        client.send(*pieces(prefix + head, 100))
        assert client.response().status == status


def test_line_of_a_head_takes_no_turn_of_the_loop_until_it_ends() -> None:
    with memory_server(waiting_app) as server:
        client = server.connect()
        client.send(START + b"X: ")
        connection: Any = client.connection
        connection.data_received(b"a")
        assert server.loop.at_rest
        connection.data_received(b"\r\n\r\n")
        assert not server.loop.at_rest
        server.settle()
        assert connection.exchange is not None
