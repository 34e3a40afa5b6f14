"""Clients for what wrk cannot do: probing beside a fast reader, and holding thousands of idle connections."""

from __future__ import annotations

import asyncio
import math
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

PROBE_TIMEOUT_S = 2.0

# A program of its own, so that its reading never waits for the prober's interpreter lock. It prints how much it read.
_READER = """
import socket, sys, time
port, seconds = int(sys.argv[1]), float(sys.argv[2])
client = socket.create_connection(("127.0.0.1", port))
client.sendall(b"GET /endless HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\n\\r\\n")
buffer, total, end = bytearray(1 << 20), 0, time.monotonic() + seconds
while time.monotonic() < end:
    total += client.recv_into(buffer)
print(total)
"""


@dataclass(frozen=True, slots=True)
class Beside:
    """How another client fares beside an endless fast reader."""

    p50_s: float
    p99_s: float
    worst_s: float
    lost: int
    """Requests without an answer within two seconds; each counts as two seconds above."""
    read_bytes_per_s: float


def probe_beside_reader(port: int, *, seconds: float) -> Beside:
    """Sends a small request every 5 ms while one client reads an endless response and another one never reads it."""
    head = f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    command = [sys.executable, "-c", _READER, str(port), str(seconds + 0.5)]
    with socket.create_connection(("127.0.0.1", port)) as stuck:
        stuck.sendall(b"GET /endless HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as reader:
            time.sleep(
                0.5
            )  # The reader's interpreter has to start; the first half second of its reading is not probed.
            taken, lost = _probe(port, head, seconds)
            output, _ = reader.communicate()
    taken.sort()
    return Beside(
        p50_s=percentile(taken, 50),
        p99_s=percentile(taken, 99),
        worst_s=taken[-1],
        lost=lost,
        read_bytes_per_s=int(output or 0) / (seconds + 0.5),
    )


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The smallest value that so many per cent of ``ordered`` do not exceed."""
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def _probe(port: int, head: bytes, seconds: float) -> tuple[list[float], int]:
    taken: list[float] = []
    lost = 0
    client: socket.socket | None = None
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        started = time.perf_counter()
        try:
            if client is None:
                client = socket.create_connection(("127.0.0.1", port), timeout=PROBE_TIMEOUT_S)
            client.sendall(head)
            if not client.recv(4096):
                raise ConnectionResetError
            taken.append(time.perf_counter() - started)
        except OSError:
            lost += 1
            taken.append(PROBE_TIMEOUT_S)
            if client is not None:
                client.close()
            client = None
        time.sleep(0.005)
    if client is not None:
        client.close()
    return taken, lost


class _Idlers:
    """Counts what happens on all the idle connections."""

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        """How many answers or losses complete the wave that is opening."""
        self.answered = 0
        self.lost = 0
        self.complete = asyncio.Event()

    def note(self) -> None:
        """Called after every answer and every loss."""
        if self.answered + self.lost >= self.wanted:
            self.complete.set()


class _Idler(asyncio.Protocol):
    """One connection that has had one answer and now does nothing."""

    __slots__ = ("idlers",)

    def __init__(self, idlers: _Idlers) -> None:
        self.idlers = idlers

    def data_received(self, _data: bytes) -> None:
        self.idlers.answered += 1
        self.idlers.note()

    def connection_lost(self, _exc: Exception | None) -> None:
        self.idlers.lost += 1
        self.idlers.note()


async def hold_idle_connections(
    port: int, count: int, measure: Callable[[], int], request: bytes = b""
) -> tuple[int, int]:
    """Opens ``count`` connections, has one request answered on each, and keeps them.

    :param request: another one than a plain GET.
    :param measure: called once all of them are idle.
    :returns: what ``measure`` returned, and how many connections were still open then.
    """
    loop = asyncio.get_running_loop()
    head = request or f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    idlers = _Idlers(0)
    transports: list[asyncio.Transport] = []
    try:
        while len(transports) < count:
            # Fewer at a time than any backlog holds.
            idlers.wanted = min(count, len(transports) + 200)
            idlers.complete.clear()
            while len(transports) < idlers.wanted:
                transport, _ = await loop.create_connection(lambda: _Idler(idlers), "127.0.0.1", port)
                transport.write(head)
                transports.append(transport)
            try:
                await asyncio.wait_for(idlers.complete.wait(), 20)
            except TimeoutError:
                break
        await asyncio.sleep(1.0)
        return measure(), min(idlers.answered, len(transports) - idlers.lost)
    finally:
        for transport in transports:
            transport.abort()
        await asyncio.sleep(0.1)
