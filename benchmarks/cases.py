"""What is measured: one row a case.

A case starts a server, takes its figures and stops it; it knows nothing of other servers, of rounds or of tables.
"""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.clients import hold_idle_connections, probe_beside_reader
from benchmarks.process import ServerFailedError, ServerProcess, free_port
from benchmarks.servers import CONTENDERS, Contender, Wanted
from benchmarks.websocket import Messages, handshake, run_messages
from benchmarks.wrk import Load, run_wrk

THREADS = 8
"""Of each server that calls a WSGI app."""
WSGI_ONLY = ("granian-1",)
WSGI_SERVERS = ("devserver", "granian", *WSGI_ONLY, "gunicorn")
"""Those that serve WSGI apps themselves; uvicorn and hypercorn refer to others for that."""
WEBSOCKETS = 32
"""Connections of the cases about messages."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure of a case."""

    key: str
    title: str
    digits: int = 0
    ratio: bool = False
    """Whether the subject's figure is divided by each other server's."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """What is the same for all servers and cases of one run."""

    python: Path
    """The interpreter that has all servers installed."""
    directory: Path
    """A folder with the apps."""
    env: dict[str, str]
    server_core: int | None
    connections: int = 64
    seconds: int = 4
    idle_connections: int = 10_000

    def start(self, contender: Contender, wanted: Wanted) -> ServerProcess:
        """Starts a server on the port that ``wanted`` names."""
        command = [str(self.python), *contender.arguments(wanted)]
        return ServerProcess(command, wanted.port, core=self.server_core, directory=self.directory, env=self.env)


Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table of cases."""

    key: str
    title: str
    measure: Callable[[Case, Contender, Conditions], Figures]
    metrics: tuple[Metric, ...]
    app: str = "raw:hello"
    load: Load = field(default_factory=Load)
    messages: Messages | None = None
    """What WebSockets send."""
    answer: bytes | int | None = b"Hello, world!"
    """What the body of the first answer must be, or how long; None when anything is right."""
    access_log: bool = False
    floor: bool = False
    """Whether the floor takes part: it answers every request with the same 13 bytes."""
    threads: int = 0
    """Threads that call the app, which is a WSGI app then."""
    connections: int | None = None
    """Connections of the load; None for those of the run."""

    @property
    def contenders(self) -> tuple[str, ...]:
        """Names of the servers that can take part."""
        if self.threads:
            return WSGI_SERVERS
        return tuple(name for name in CONTENDERS if name not in WSGI_ONLY and (name != "floor" or self.floor))


def measure_load(case: Case, contender: Contender, conditions: Conditions) -> Figures:
    """Requests a second and CPU time a request under load."""
    wanted = Wanted(case.app, free_port(), access_log=case.access_log, threads=case.threads)
    connections = case.connections or conditions.connections
    with conditions.start(contender, wanted) as server:
        server.wait_ready()
        _check_answer(case, wanted.port)
        run_wrk(wanted.port, case.load, connections=connections, seconds=1)
        cpu_before_s = server.cpu_s()
        outcome = run_wrk(wanted.port, case.load, connections=connections, seconds=conditions.seconds)
        cpu_s = server.cpu_s() - cpu_before_s
    if outcome.status or outcome.broken or not outcome.requests:
        raise ServerFailedError(
            f"{outcome.status} wrong answers and {outcome.broken} broken connections in {outcome.requests}"
        )
    return {
        "rate": outcome.requests / (outcome.duration_us / 1e6),
        "cpu_us": cpu_s * 1e6 / outcome.requests,
        "p50_ms": outcome.p50_us / 1000,
        "p99_ms": outcome.p99_us / 1000,
        "busy": 100 * cpu_s / (outcome.duration_us / 1e6),
    }


def measure_beside(case: Case, contender: Contender, conditions: Conditions) -> Figures:
    """What another client sees beside an endless fast reader."""
    wanted = Wanted(case.app, free_port())
    with conditions.start(contender, wanted) as server:
        server.wait_ready()
        _check_answer(case, wanted.port)
        beside = probe_beside_reader(wanted.port, seconds=conditions.seconds)
    return {
        "p50_ms": beside.p50_s * 1000,
        "p99_ms": beside.p99_s * 1000,
        "worst_ms": beside.worst_s * 1000,
        "lost": beside.lost,
        "read": beside.read_bytes_per_s / (1 << 20),
    }


def measure_idle(case: Case, contender: Contender, conditions: Conditions) -> Figures:
    """What an idle keep-alive connection costs in memory."""
    wanted = Wanted(case.app, free_port(), idle=True)
    with conditions.start(contender, wanted) as server:
        server.wait_ready()
        _check_answer(case, wanted.port)
        # So that what a server allocates once is there before the first figure is taken.
        run_wrk(wanted.port, case.load, connections=conditions.connections, seconds=1)
        before = server.rss_bytes()
        after, held = asyncio.run(hold_idle_connections(wanted.port, conditions.idle_connections, server.rss_bytes))
    if held < conditions.idle_connections:
        raise ServerFailedError(f"only {held} of {conditions.idle_connections} connections were held")
    return {"kib": (after - before) / held / 1024, "base_mib": before / (1 << 20), "total_mib": after / (1 << 20)}


def measure_messages(case: Case, contender: Contender, conditions: Conditions) -> Figures:
    """WebSocket messages a second that are echoed, and CPU time a message."""
    wanted = Wanted(case.app, free_port())
    load = case.messages
    if load is None:
        raise AssertionError("the case says what is sent")
    with conditions.start(contender, wanted) as server:
        server.wait_ready()
        run_messages(wanted.port, load, connections=WEBSOCKETS, seconds=1)
        cpu_before_s = server.cpu_s()
        outcome = run_messages(wanted.port, load, connections=WEBSOCKETS, seconds=conditions.seconds)
        cpu_s = server.cpu_s() - cpu_before_s
    return {
        "rate": outcome.messages / outcome.duration_s,
        "cpu_us": cpu_s * 1e6 / outcome.messages,
        "p50_ms": outcome.p50_us / 1000,
        "p99_ms": outcome.p99_us / 1000,
        "busy": 100 * cpu_s / outcome.duration_s,
    }


def measure_idle_websockets(case: Case, contender: Contender, conditions: Conditions) -> Figures:
    """What an idle WebSocket costs in memory."""
    wanted = Wanted(case.app, free_port(), idle=True)
    with conditions.start(contender, wanted) as server:
        server.wait_ready()
        run_messages(wanted.port, Messages(64), connections=WEBSOCKETS, seconds=1)
        before = server.rss_bytes()
        request = handshake(wanted.port, compressed=True)
        count = conditions.idle_connections
        after, held = asyncio.run(hold_idle_connections(wanted.port, count, server.rss_bytes, request))
    if held < count:
        raise ServerFailedError(f"only {held} of {count} connections were held")
    return {"kib": (after - before) / held / 1024, "base_mib": before / (1 << 20), "total_mib": after / (1 << 20)}


def measure_start(case: Case, contender: Contender, conditions: Conditions) -> Figures:
    """Time from the start of the process to its first answer; the best of three, since only delays are noise."""
    taken = []
    for _ in range(3):
        wanted = Wanted(case.app, free_port())
        with conditions.start(contender, wanted) as server:
            taken.append(server.wait_ready())
            _check_answer(case, wanted.port)
    return {"ms": min(taken) * 1000}


def _check_answer(case: Case, port: int) -> None:
    """One request of the case, whose answer must be the right one: a wrong one is quickly given."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    body = b"x" * case.load.body_bytes or None
    try:
        client.request(
            case.load.method, case.load.path, body, {"Content-Type": "application/octet-stream"} if body else {}
        )
        response = client.getresponse()
        answer = response.read()
    except (OSError, http.client.HTTPException) as exc:
        raise ServerFailedError(f"the first request failed: {exc!r}") from exc
    finally:
        client.close()
    right = case.answer is None or case.answer == (len(answer) if isinstance(case.answer, int) else answer)
    if response.status != 200 or not right:
        raise ServerFailedError(f"the first answer was wrong: {response.status}, {answer[:60]!r}")


LOAD_METRICS = (
    Metric("rate", "requests/s", ratio=True),
    Metric("cpu_us", "CPU µs/request", 1, ratio=True),
    Metric("p50_ms", "p50 ms", 2),
    Metric("p99_ms", "p99 ms", 2),
    Metric("busy", "core %"),
)
MESSAGE_METRICS = (
    Metric("rate", "messages/s", ratio=True),
    Metric("cpu_us", "CPU µs/message", 1, ratio=True),
    Metric("p50_ms", "p50 ms", 2),
    Metric("p99_ms", "p99 ms", 2),
    Metric("busy", "core %"),
)
START_METRICS = (Metric("ms", "ms to the first answer", ratio=True),)

CASES = {
    case.key: case
    for case in (
        Case("hello", "raw ASGI app, GET, 13 bytes", measure_load, LOAD_METRICS, floor=True),
        Case(
            "access-log", "the same with the access log on, to /dev/null", measure_load, LOAD_METRICS, access_log=True
        ),
        Case(
            *("fastapi", "FastAPI, JSON from a response model", measure_load, LOAD_METRICS, "rest:app"),
            load=Load("/items/7?q=name"),
            answer=b'{"id":7,"name":"name","tags":["a","b","c"],"price":9.5}',
        ),
        Case(
            *("echo", "POST of 10 KB, echoed", measure_load, LOAD_METRICS, "raw:echo"),
            load=Load(method="POST", body_bytes=10_240),
            answer=b"x" * 10_240,
        ),
        Case(
            *("stream", "response of 1 MiB, streamed in 16 pieces", measure_load, LOAD_METRICS, "raw:stream"),
            answer=1 << 20,
        ),
        Case(
            *("upload", "upload of 1 MiB", measure_load, LOAD_METRICS, "raw:upload"),
            load=Load(method="POST", body_bytes=1 << 20),
            answer=b"1048576",
        ),
        *(
            Case(
                *(f"upload-{count}", f"the same on {count} connection{'s'[: count - 1]}", measure_load, LOAD_METRICS),
                app="raw:upload",
                load=Load(method="POST", body_bytes=1 << 20),
                answer=b"1048576",
                connections=count,
            )
            for count in (1, 8)
        ),
        Case(
            *("tokens", "256 events of 64 bytes, sent without a wait", measure_load, LOAD_METRICS, "raw:tokens"),
            answer=256 * 64,
        ),
        Case(
            *("paced", "64 events of 64 bytes, a wait before each", measure_load, LOAD_METRICS, "raw:paced"),
            answer=64 * 64,
        ),
        Case(
            *("pieces-1k", "1 MiB in pieces of 1 KiB", measure_load, LOAD_METRICS, "raw:small_pieces"), answer=1 << 20
        ),
        *(
            Case(
                f"pieces-16k{'-length' if length else ''}-{count}",
                f"1 MiB in pieces of 16 KiB{', length announced' if length else ''}, {count} connections",
                *(measure_load, LOAD_METRICS, "raw:pieces"),
                load=Load("/length" if length else "/"),
                answer=1 << 20,
                connections=count,
            )
            for length in (False, True)
            for count in (8, 64)
        ),
        Case(*("wsgi", "WSGI app, GET, 13 bytes, 8 threads", measure_load, LOAD_METRICS, "old:hello"), threads=THREADS),
        Case(
            *("django", "Django view, JSON, 8 threads", measure_load, LOAD_METRICS, "old:django_view"),
            load=Load("/items/7?q=name"),
            answer=b'{"id": 7, "name": "name", "tags": ["a", "b", "c"], "price": 9.5}',
            threads=THREADS,
        ),
        Case(
            *("beside", "another client beside an endless fast reader", measure_beside),
            (
                Metric("p99_ms", "p99 ms", 2, ratio=True),
                Metric("p50_ms", "p50 ms", 2),
                Metric("worst_ms", "worst ms", 1),
                Metric("lost", "lost"),
                Metric("read", "reader MiB/s"),
            ),
            app="raw:endless",
        ),
        Case(
            *("idle", "memory of an idle keep-alive connection", measure_idle),
            (
                Metric("kib", "KiB/connection", 2, ratio=True),
                Metric("base_mib", "MiB before", 1),
                Metric("total_mib", "MiB with all", 1),
            ),
            floor=True,
        ),
        Case(
            *("ws", "WebSocket, 64 bytes, echoed", measure_messages, MESSAGE_METRICS, "raw:messages"),
            messages=Messages(64),
        ),
        Case(
            *("ws-4k", "WebSocket, 4 KiB, echoed", measure_messages, MESSAGE_METRICS, "raw:messages"),
            messages=Messages(4096),
        ),
        Case(
            *("ws-64k", "WebSocket, 64 KiB, echoed", measure_messages, MESSAGE_METRICS, "raw:messages"),
            messages=Messages(65536),
        ),
        Case(
            *("ws-deflate", "WebSocket, 4 KiB, compressed, echoed", measure_messages, MESSAGE_METRICS, "raw:messages"),
            messages=Messages(4096, compressed=True),
        ),
        Case(
            *("ws-idle", "memory of an idle WebSocket", measure_idle_websockets),
            (
                Metric("kib", "KiB/connection", 2, ratio=True),
                Metric("base_mib", "MiB before", 1),
                Metric("total_mib", "MiB with all", 1),
            ),
            app="raw:messages",
        ),
        Case("start", "start to the first answer, raw ASGI app", measure_start, START_METRICS, floor=True),
        Case(
            "start-fastapi", "start to the first answer, FastAPI", measure_start, START_METRICS, "rest:app", answer=None
        ),
    )
}
