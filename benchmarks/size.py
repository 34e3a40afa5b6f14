"""Compares what unusual but legal requests and messages cost as they grow: ``benchmarks/run size``.

Each row of :mod:`benchmarks.payloads` is sent at three sizes to devserver and uvicorn, in turn, over raw sockets. Two
things are measured, both read from /proc:

- CPU time of the server for a request, less that of the same request at size 0;
- memory that the server holds for connections whose app does not read.

A form that says in which pieces the server reads it is sent in step: the next piece leaves when the server's thread
waits again, so that both servers read equally often. Nothing here runs without an end: the sizes, the connections and
each wait are bounded.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import math
import os
import select
import shutil
import signal
import socket
import statistics
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.http import clean_environment
from benchmarks.payloads import FLOOR_BYTES, ROWS, Row, Work
from benchmarks.process import ServerFailedError, ServerProcess, free_port
from benchmarks.report import describe_machine
from benchmarks.servers import CONTENDERS, Wanted

ROOT = Path(__file__).resolve().parents[1]
APP = Path(__file__).with_name("apps") / "sizes.py"
SUBJECT, PEER = "devserver", "uvicorn"
SERVERS = (SUBJECT, PEER)
SCALES = (1, 4, 16)
PATIENCE_S = 60.0
GROWTH_MAX = 1.3
"""Max CPU time of a unit at the largest size, divided by that at the smallest: linear, with room for noise."""
CPU_MAX = 1.5
"""Max CPU time, divided by uvicorn's."""
HELD_MAX = 2.0
"""Max memory held, divided by the payload."""
_VISIBLE = 1.25
"""Min CPU time of a size, divided by the fixed part, for its growth to be judged."""
_CONNECTIONS = 8
_REPEATS_MAX = 200
_PINGLESS = ("--ws-ping-interval", "600")
_PATIENT = {
    SUBJECT: ("--timeout-request-head", "600", "--timeout-request-body", "600", *_PINGLESS),
    PEER: _PINGLESS,
}
"""Options that give clients time. On a busy machine a row takes long, and the clients answer no pings."""


@dataclass
class Found:
    """Figures of one row and one server.

    :ivar cpu_s: scale → CPU seconds of one request, one figure a round; 0 is the fixed part.
    :ivar held: scale → bytes that one connection holds, and its share of the peak meanwhile.
    :ivar complaint: why there are no figures.
    """

    cpu_s: dict[int, list[float]] = field(default_factory=dict)
    held: dict[int, tuple[float, float]] = field(default_factory=dict)
    complaint: str = ""

    def unit_us(self, row: Row, scale: int) -> float:
        """CPU microseconds of a unit: the median of the rounds, less the fixed part."""
        count = row.make(scale, "/").count
        fixed = statistics.median(self.cpu_s[0])
        return (statistics.median(self.cpu_s[scale]) - fixed) / count * 1e6

    def growth(self, row: Row) -> float:
        """CPU time of a unit at the largest size, divided by that at the smallest; 1 is linear."""
        return self.unit_us(row, SCALES[-1]) / self.unit_us(row, self._smallest)

    def exponent(self, row: Row) -> float:
        """Power of the size that the CPU time grows with; 1 is linear."""
        if self._smallest == SCALES[-1]:
            return 1.0
        return 1 + math.log(self.growth(row)) / math.log(SCALES[-1] / self._smallest)

    @property
    def _smallest(self) -> int:
        """The smallest size that costs enough beside the fixed part to be told from noise."""
        fixed = statistics.median(self.cpu_s[0])
        visible = (scale for scale in SCALES if statistics.median(self.cpu_s[scale]) > _VISIBLE * fixed)
        return next(visible, SCALES[-1])

    def held_ratio(self, row: Row) -> float:
        """Bytes held divided by the payload, of the size at which this is most."""
        return max(
            held / max(row.make(scale, "/").payload, FLOOR_BYTES) for scale, (held, _) in self.held.items() if scale
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the comparison and prints it; 1 when devserver fails a requirement."""
    arguments = _parser().parse_args(argv)
    python = arguments.python or sys.executable
    os.sched_setaffinity(0, {arguments.client_core})
    results: dict[str, dict[str, Found]] = {}
    for key in arguments.rows:
        row = ROWS[key]
        results[key] = {name: Found() for name in SERVERS}
        for number in range(arguments.rounds):
            for name in sorted(SERVERS, reverse=bool(number % 2)):
                found = results[key][name]
                if found.complaint:
                    continue
                try:
                    _measure_cpu(row, name, found, python, arguments)
                    if not number:
                        for scale in SCALES:
                            found.held[scale] = _measure_held(row, name, scale, python, arguments)
                except (ServerFailedError, OSError) as exc:
                    found.complaint = f"{type(exc).__name__}: {exc}"
        print(
            f"{key}: {'; '.join(_told(row, name, results[key][name]) for name in SERVERS)}", file=sys.stderr, flush=True
        )
    machine = describe_machine(Path(python), ROOT)
    print(_markdown(results, machine, arguments))
    faults = [fault for key, found in results.items() for fault in faults_of(ROWS[key], found[SUBJECT], found[PEER])]
    print("\n".join(["", *(f"- {fault}" for fault in faults)] if faults else ["", "Every requirement is met."]))
    if arguments.save:
        figures = {key: {name: vars(one) for name, one in found.items()} for key, found in results.items()}
        Path(arguments.save).write_text(json.dumps({"machine": machine, "rows": figures, "faults": faults}, indent=2))
    return int(bool(faults))


def faults_of(row: Row, ours: Found, theirs: Found) -> list[str]:
    """Requirements that ``ours`` fails, a sentence each."""
    if ours.complaint:
        return [f"{row.key}: {ours.complaint}."]
    faults = []
    growth = ours.growth(row)
    if growth > GROWTH_MAX:
        faults.append(f"{row.key}: a {row.unit} costs {growth:.2f} times as much at the largest size.")
    if theirs.complaint:
        faults.append(f"{row.key}: there is nothing to compare with, since {PEER} was not measured.")
    else:
        ratio = ours.unit_us(row, SCALES[-1]) / theirs.unit_us(row, SCALES[-1])
        if ratio > CPU_MAX:
            faults.append(f"{row.key}: CPU time is {ratio:.2f} times that of {PEER}.")
    if ours.held_ratio(row) > HELD_MAX:
        faults.append(f"{row.key}: {ours.held_ratio(row):.2f} times the payload is held.")
    return faults


# CPU time


def _measure_cpu(row: Row, name: str, found: Found, python: str, arguments: argparse.Namespace) -> None:
    with _started(name, python, arguments) as server:
        for scale in (SCALES[0], 0, *SCALES):
            # The first run warms the server up, and is not counted.
            work = row.make(scale, "/count")
            with _connected(server, row, "/count") as clients:
                begun, taken, repeats = server.run_time_s(), 0.0, 0
                while taken < arguments.cpu_s and repeats < (_REPEATS_MAX if not row.piece else 1):
                    _send(server, clients, work, row.piece)
                    taken, repeats = server.run_time_s() - begun, repeats + 1
                taken /= repeats * len(clients)
            found.cpu_s.setdefault(scale, []).append(taken)
        del found.cpu_s[SCALES[0]][-2]


def _send(server: ServerProcess, clients: Sequence[Client], work: Work, piece: int) -> None:
    """Has every client send ``work`` and checks the answers.

    :raises ServerFailedError: an answer is missing or wrong.
    """
    if piece:
        for client in clients:
            client.sock.sendall(work.opening)
        _await_sleep(server)
        for at in range(0, len(work.body), piece):
            data = work.body[at : at + piece]
            for client in clients:
                client.sock.sendall(data)
            _await_sleep(server)
        for client in clients:
            client.converse(work.closing)
    else:
        for client in clients:
            client.converse(work.opening + work.body + work.closing)
    for client in clients:
        if client.take_answer() != work.answer:
            raise ServerFailedError("the app counted otherwise")
    _await_sleep(server)


def _await_sleep(server: ServerProcess) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not server.is_asleep():
        if time.monotonic() > deadline:
            raise ServerFailedError("it does not come to rest")


# Memory


def _measure_held(row: Row, name: str, scale: int, python: str, arguments: argparse.Namespace) -> tuple[float, float]:
    """Bytes held for one connection, and its share of the peak, beyond what a request without a body takes."""
    work = row.make(scale, "/wait")
    count = min(arguments.held_in_step if row.piece else arguments.held, row.held_max)
    with _started(name, python, arguments) as server, _connected(server, row, "/wait", count=count) as clients:
        for client in clients:
            client.sock.sendall(work.opening)
        _settle(server)
        server.forget_peak()
        before, resident = server.pss_bytes(), server.rss_bytes()
        _fill(server, clients, work.body, row.piece)
        _settle(server)
        held, peak = server.pss_bytes() - before, server.peak_rss_bytes() - resident
        # The app waits for good.
        server.signal(signal.SIGKILL)
        return held / count, peak / count


def _settle(server: ServerProcess) -> None:
    """Waits until the server has had nothing to do for a while."""
    for _ in range(5):
        _await_sleep(server)
        time.sleep(0.02)


def _fill(server: ServerProcess, clients: Sequence[Client], body: bytes, piece: int) -> None:
    """Sends ``body`` on each connection as far as the server and the kernel take it. No answer is read."""
    size = piece or FLOOR_BYTES
    positions = dict.fromkeys(clients, 0)
    blocked = 0
    while positions and blocked < 10:
        moved = False
        for client, at in list(positions.items()):
            client.sock.setblocking(False)
            try:
                sent = client.sock.send(body[at : at + size])
            except BlockingIOError:
                continue
            moved = True
            positions[client] = at + sent
            if at + sent >= len(body):
                del positions[client]
        _await_sleep(server)
        blocked = 0 if moved else blocked + 1
        if not moved:
            time.sleep(0.01)


# Connections


@contextlib.contextmanager
def _started(name: str, python: str, arguments: argparse.Namespace) -> Iterator[ServerProcess]:
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as folder:
        shutil.copy(APP, folder)
        command = [python, *CONTENDERS[name].arguments(Wanted("sizes:app", port)), *_PATIENT.get(name, ())]
        core, environment = arguments.server_core, clean_environment()
        with ServerProcess(command, port, core=core, directory=Path(folder), env=environment) as server:
            server.wait_ready("/count")
            yield server


@contextlib.contextmanager
def _connected(server: ServerProcess, row: Row, path: str, *, count: int = _CONNECTIONS) -> Iterator[list[Client]]:
    with contextlib.ExitStack() as stack:
        clients = []
        for _ in range(count):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            clients.append(Client(sock, row, path))
        _settle(server)
        yield clients


class Client:
    """One connection. It sends and reads at once, and finds the answer among what it reads."""

    def __init__(self, sock: socket.socket, row: Row, path: str) -> None:
        self.sock = sock
        self._websocket = row.websocket
        self._inflate = zlib.decompressobj(wbits=-15)
        self._received = bytearray()
        self._answer: int | None = None
        if row.websocket:
            self._open(path, compressed=row.compressed)

    def converse(self, data: bytes) -> None:
        """Sends ``data`` and reads until the answer has come.

        :raises ServerFailedError: it does not come.
        """
        poll = select.poll()
        poll.register(self.sock, select.POLLIN | select.POLLOUT)
        self.sock.setblocking(False)
        view = memoryview(data)
        deadline = time.monotonic() + PATIENCE_S
        while self._answer is None:
            if time.monotonic() > deadline:
                raise ServerFailedError("no answer in time")
            for _, happened in poll.poll(1000):
                if happened & select.POLLIN:
                    received = self.sock.recv(262_144)
                    if not received:
                        raise ServerFailedError(f"the connection was closed after {bytes(self._received[:60])!r}")
                    self._received += received
                    self._find_answer()
                elif view:
                    with contextlib.suppress(BlockingIOError):
                        view = view[self.sock.send(view[:262_144]) :]
                    if not view:
                        poll.modify(self.sock, select.POLLIN)
                else:
                    poll.modify(self.sock, select.POLLIN)
        self.sock.settimeout(PATIENCE_S)

    def take_answer(self) -> int | None:
        """The number that the app answered with."""
        answer, self._answer = self._answer, None
        return answer

    def _find_answer(self) -> None:
        if self._websocket:
            self._find_text()
            return
        head, end, body = bytes(self._received).partition(b"\r\n\r\n")
        if not end:
            return
        if not head.startswith(b"HTTP/1.1 200"):
            raise ServerFailedError(f"the answer was {head[:40]!r}")
        lines = (line.partition(b":") for line in head.lower().split(b"\r\n"))
        length = next(int(value) for name, _, value in lines if name == b"content-length")
        if len(body) >= length:
            self._answer = int(body[:length])
            self._received.clear()

    def _find_text(self) -> None:
        """Skips pongs, whose payload is short, until there is a text."""
        received, at = self._received, 0
        while len(received) - at >= 2:
            first, size = received[at], received[at + 1]
            if size > 125 or first & 15 == 8:
                raise ServerFailedError(f"the WebSocket answered {bytes(received[at : at + 40])!r}")
            if len(received) - at - 2 < size:
                break
            payload = bytes(received[at + 2 : at + 2 + size])
            at += 2 + size
            if first & 15 == 1:
                if first & 0x40:
                    payload = self._inflate.decompress(payload + b"\0\0\xff\xff")
                self._answer = int(payload)
        del received[:at]

    def _open(self, path: str, *, compressed: bool) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        extension = "Sec-WebSocket-Extensions: permessage-deflate\r\n" if compressed else ""
        self.sock.sendall(
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n{extension}\r\n".encode()
        )
        head = b""
        while b"\r\n\r\n" not in head:
            received = self.sock.recv(65536)
            if not received:
                raise ServerFailedError("the handshake was not answered")
            head += received
        if not head.startswith(b"HTTP/1.1 101"):
            raise ServerFailedError(f"the handshake was answered with {head[:40]!r}")


# The report


def _told(row: Row, name: str, found: Found) -> str:
    if found.complaint:
        return f"{name} {found.complaint}"
    units = ", ".join(f"{found.unit_us(row, scale):.2f}" for scale in SCALES)
    held = ", ".join(f"{held / 1024:.0f} (peak {peak / 1024:.0f})" for held, peak in found.held.values())
    return f"{name} {units} µs/{row.unit}, {held} KiB held"


def _markdown(results: dict[str, dict[str, Found]], machine: dict[str, str], arguments: argparse.Namespace) -> str:
    lines = [f"- {key}: {value}" for key, value in machine.items()]
    lines += [f"- medians of {arguments.rounds} rounds; sizes × {', '.join(map(str, SCALES))}", ""]
    sizes = " / ".join(f"× {scale}" for scale in SCALES)
    heading = ["row", "unit", f"ours, CPU µs/unit {sizes}", "exponent", f"uvicorn {sizes}", "exponent"]
    heading += ["ours ÷ uvicorn", "held ÷ payload, ours", "uvicorn"]
    lines += [f"| {' | '.join(heading)} |", "|---|---|--:|--:|--:|--:|--:|--:|--:|"]
    for key, found in results.items():
        row, ours, theirs = ROWS[key], found[SUBJECT], found[PEER]
        cells = [row.title, row.unit]
        for one in (ours, theirs):
            if one.complaint:
                cells += [one.complaint, ""]
            else:
                units = " / ".join(f"{one.unit_us(row, scale):.2f}" for scale in SCALES)
                cells += [units, f"{one.exponent(row):.2f}"]
        known = not ours.complaint and not theirs.complaint
        cells.append(f"{ours.unit_us(row, SCALES[-1]) / theirs.unit_us(row, SCALES[-1]):.2f}" if known else "")
        cells += ["" if one.complaint else f"{one.held_ratio(row):.2f}" for one in (ours, theirs)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


class _Quick(argparse.Action):
    def __call__(self, _parser: argparse.ArgumentParser, namespace: argparse.Namespace, *_rest: object) -> None:
        namespace.rounds, namespace.cpu_s, namespace.held, namespace.held_in_step = 1, 0.1, 16, 4


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks/run size", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS), metavar="ROW")
    parser.add_argument("--rounds", type=int, default=3, help="how often CPU time is measured (default: 3)")
    parser.add_argument("--held", type=int, default=100, help="connections that memory is measured with (default: 100)")
    parser.add_argument(
        "--held-in-step", type=int, default=16, help="the same of rows that are sent in step (default: 16)"
    )
    parser.add_argument("--quick", action=_Quick, nargs=0, help="one round and fewer connections: shows that all works")
    parser.add_argument("--python", metavar="PATH", help="an interpreter that has the servers, instead of .venv-peers")
    parser.add_argument("--server-core", type=int, default=0, metavar="N")
    parser.add_argument("--client-core", type=int, default=1, metavar="N")
    parser.add_argument("--save", metavar="FILE", help="also write JSON to FILE, every round included")
    parser.set_defaults(cpu_s=0.3)
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
