"""A process that tells others how the workers are doing: over HTTP when it is asked, and to statsd once a second.

It has the rights of a worker and a server of our own in it, so that nothing that comes from the network reaches the
master. All it knows it reads from the scoreboard.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from typing import TYPE_CHECKING, NoReturn

from devserver.config.settings import Config
from devserver.config.target import Target
from devserver.errors import EXIT_INTERNAL, EXIT_OK
from devserver.observe import metrics
from devserver.observe.metrics import Family
from devserver.server import loop as loops
from devserver.server.server import Server
from devserver.supervisor.post import IGNORED
from devserver.supervisor.scoreboard import LATENCY_BOUNDS_MS, REASONS, Row, Scoreboard, resident_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from devserver.app.types import Receive, Scope, Send
    from devserver.server.listeners import Listener
    from devserver.supervisor.privileges import Identity

STATSD_S = 1.0
PREFIX = "devserver"
_CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx")


def run(
    board: Scoreboard,
    identity: Identity,
    channel: socket.socket,
    listeners: Sequence[Listener],
    statsd: tuple[str, int] | None,
) -> NoReturn:
    """The whole life of the process; it ends when the master closes its end of ``channel``, or has gone."""
    code = EXIT_OK
    try:
        for name in (*IGNORED, "SIGTSTP"):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
        for name in ("SIGTERM", "SIGQUIT", "SIGCHLD", "SIGUSR1", "SIGCONT"):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
        identity.take_on()
        loops.run(_Monitor(board, channel, listeners, statsd).serve())
    except BaseException:
        import traceback

        traceback.print_exc()
        code = EXIT_INTERNAL
    os._exit(code)


class _Monitor:
    def __init__(
        self,
        board: Scoreboard,
        channel: socket.socket,
        listeners: Sequence[Listener],
        statsd: tuple[str, int] | None,
    ) -> None:
        self._board = board
        self._channel = channel
        self._statsd = statsd
        self._told = Row()
        config = Config("metrics", lifespan="off", access_log=False, log_config=None, timeout_graceful_shutdown=0)
        self._server = _Quiet(config, target=Target(app=self.app), app=self.app, listeners=list(listeners))

    async def serve(self) -> None:
        """Serves, and sends, until the master has gone."""
        loop = asyncio.get_running_loop()
        self._channel.setblocking(False)
        loop.add_reader(self._channel.fileno(), self._on_channel)
        sending = None if self._statsd is None else asyncio.create_task(self._send(self._statsd))
        await self._server.serve()
        if sending is not None:
            sending.cancel()

    def _on_channel(self) -> None:
        with contextlib.suppress(BlockingIOError):
            if not self._channel.recv(100):
                asyncio.get_running_loop().remove_reader(self._channel.fileno())
                self._server.should_exit = True

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Answers ``GET /metrics``."""
        status, body, kind = 404, b"The figures are at /metrics.\n", b"text/plain; charset=utf-8"
        if scope["path"] == "/metrics":
            status, body, kind = 200, metrics.prometheus(families(self._board)).encode(), metrics.CONTENT_TYPE
        headers = [(b"content-type", kind), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _send(self, address: tuple[str, int]) -> None:
        sock: socket.socket | None = None
        while True:
            await asyncio.sleep(STATSD_S)
            lines = self._lines()
            # A name is looked up again when the address did not take what was sent: UDP tells that with the next send.
            try:
                if sock is None:
                    infos = await asyncio.get_running_loop().getaddrinfo(*address, type=socket.SOCK_DGRAM)
                    sock = socket.socket(infos[0][0], socket.SOCK_DGRAM)
                    sock.setblocking(False)
                    sock.connect(infos[0][4])
                sock.send(lines)
            except OSError:
                if sock is not None:
                    sock.close()
                sock = None

    def _lines(self) -> bytes:
        rows, total, before = self._board.live(), self._board.totals(), self._told
        self._told = total
        answered = sum(total.statuses) - sum(before.statuses)
        counters: dict[str, float] = {"requests": total.requests - before.requests}
        for name, now, then in zip(_CLASSES, total.statuses, before.statuses, strict=True):
            counters[f"request.status.{name}"] = now - then
        gauges: dict[str, float] = {
            "workers": len(rows),
            "requests.in_flight": sum(row.running for _, row in rows),
            "connections": sum(row.connections for _, row in rows),
        }
        taken_ms = (total.latency_us - before.latency_us) / 1000
        timings = {"request.duration": taken_ms / answered} if answered else {}
        return metrics.statsd(PREFIX, counters, gauges, timings)


class _Quiet(Server):
    """Leaves signals alone."""

    def install_signal_handlers(self) -> None:
        """The master's end of the channel says when to end."""

    def raise_captured_signals(self) -> None:
        """There are none."""


def families(board: Scoreboard) -> list[Family]:
    """What is exported."""
    rows, total = board.live(), board.totals()
    requests = Family(f"{PREFIX}_requests_total", "Responses, by class of their status.", "counter")
    by_worker = Family(f"{PREFIX}_worker_requests_total", "Requests that a worker has started.", "counter")
    in_flight = Family(f"{PREFIX}_requests_in_flight", "Requests whose app has not returned.", "gauge")
    connections = Family(f"{PREFIX}_connections", "Open connections.", "gauge")
    lag = Family(f"{PREFIX}_worker_loop_lag_seconds", "How much later than due a worker's loop turned.", "gauge")
    silent = Family(f"{PREFIX}_worker_silent_seconds", "Since a worker's loop turned last.", "gauge")
    memory = Family(f"{PREFIX}_worker_resident_bytes", "Memory that a worker holds, shared parts included.", "gauge")
    durations = Family(f"{PREFIX}_request_duration_seconds", "From a request's head to its last byte.", "histogram")
    restarts = Family(f"{PREFIX}_worker_restarts_total", "Workers that were replaced, by reason.", "counter")
    for name, count in zip(_CLASSES, total.statuses, strict=True):
        requests.add(count, status=name)
    durations.add_histogram(total.latencies, [bound / 1000 for bound in LATENCY_BOUNDS_MS], total.latency_us / 1e6)
    for index, row in rows:
        worker = {"worker": str(index), "pid": str(row.pid)}
        by_worker.add(row.requests, **worker)
        in_flight.add(row.running, **worker)
        connections.add(row.connections, **worker)
        lag.add(row.lag / 1e9, **worker)
        silent.add(board.silent_s(index), **worker)
        memory.add(resident_bytes(row.pid), **worker)
    for reason, count in zip(REASONS, board.restarts(), strict=True):
        restarts.add(count, reason=reason)
    workers = Family(f"{PREFIX}_workers", "Workers that serve.", "gauge", [("", {}, len(rows))])
    plain = [
        Family(f"{PREFIX}_{name}", text, "counter", [("", {}, value)])
        for name, text, value in (
            ("started_requests_total", "Requests that were started.", total.requests),
            ("refused_requests_total", "Requests that broke a rule of HTTP or a limit.", total.refused),
            ("lost_requests_total", "Requests whose client left before a response began.", total.lost),
            ("response_body_bytes_total", "Bytes of response bodies.", total.body_bytes),
        )
    ]
    return [workers, requests, *plain, durations, in_flight, connections, by_worker, lag, silent, memory, restarts]
