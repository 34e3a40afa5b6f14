"""What being watched costs: ``benchmarks/run terminal``.

``dev run`` on a terminal shows requests as lines and draws a footer. Here it runs on a pseudoterminal that is read,
beside one that shows nothing (``--ui plain --no-access-log``), with reload on in both. Each round measures both, in
changing order: requests a second flat out, by wrk, and the latency at a constant rate, whose sender does not wait for
answers before it sends the next request on another connection. The processes of the command share one core, the load
has the other.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import select
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.clients import percentile
from benchmarks.http import clean_environment
from benchmarks.process import ServerFailedError, free_port
from benchmarks.report import describe_machine
from benchmarks.wrk import Load, run_wrk

ROOT = Path(__file__).parents[1]
PATIENCE_S = 20.0
CONNECTIONS = 64
APP = """
from fastapi import FastAPI

app = FastAPI()


@app.get("/")
async def index() -> dict[str, int]:
    return {"n": 1}
"""
WAYS = {"watched": ["--ui", "rich"], "unwatched": ["--ui", "plain", "--no-access-log"]}


@dataclass
class Found:
    """The figures of one way, a round each."""

    rate: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    p50_ms: list[float] = field(default_factory=list)
    shown_bytes: list[int] = field(default_factory=list)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the comparison and prints it."""
    arguments = _parser().parse_args(argv)
    python = arguments.python or sys.executable
    found = {way: Found() for way in WAYS}
    os.sched_setaffinity(0, {arguments.client_core})
    for number in range(arguments.rounds):
        for way in sorted(WAYS, reverse=bool(number % 2)):
            _measure(way, found[way], python, arguments)
            one = found[way]
            print(
                f"{number + 1}/{arguments.rounds} {way}: {one.rate[-1]:,.0f} requests/s,"
                f" p99 {one.p99_ms[-1]:.2f} ms at {arguments.at:,}/s",
                file=sys.stderr,
                flush=True,
            )
    machine = describe_machine(Path(python), ROOT)
    print(_markdown(found, machine, arguments))
    if arguments.save:
        figures = {way: vars(each) for way, each in found.items()}
        Path(arguments.save).write_text(json.dumps({"machine": machine, "ways": figures}, indent=2))
    return 0


def _measure(way: str, result: Found, python: str, arguments: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "main.py").write_text(APP)
        port = free_port()
        command = [python, "-m", "devserver", "run", "main:app", *WAYS[way], "--port", str(port)]
        with _on_terminal(command, folder, arguments.server_core) as shown:
            _wait_ready(port)
            run_wrk(port, Load(), connections=CONNECTIONS, seconds=1)
            shown.clear()
            result.rate.append(_requests_per_s(port, arguments.seconds))
            result.shown_bytes.append(len(shown))
            taken = constant_rate(port, rate=arguments.at, seconds=arguments.seconds)
            result.p50_ms.append(percentile(taken, 50) * 1000)
            result.p99_ms.append(percentile(taken, 99) * 1000)


def _requests_per_s(port: int, seconds: int) -> float:
    outcome = run_wrk(port, Load(), connections=CONNECTIONS, seconds=seconds)
    if outcome.status or outcome.broken:
        raise ServerFailedError(f"{outcome.status} wrong answers, {outcome.broken} broken connections")
    return outcome.requests / outcome.duration_us * 1e6


@contextlib.contextmanager
def _on_terminal(command: Sequence[str], folder: str, core: int) -> Iterator[bytearray]:
    """Runs ``command`` on a pseudoterminal that is read; what it has shown."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    environment = {**clean_environment(), "TERM": "xterm-256color", "PYTHONPATH": str(ROOT)}
    environment.pop("CI", None)
    process = subprocess.Popen(
        ["setsid", "--ctty", *command],
        cwd=folder,
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )
    os.close(theirs)
    shown = bytearray()

    def read() -> None:
        with contextlib.suppress(OSError):
            while data := os.read(ours, 65_536):
                shown.extend(data)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield shown
    finally:
        process.terminate()
        process.wait(PATIENCE_S)
        reader.join(PATIENCE_S)
        os.close(ours)


def _wait_ready(port: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            if client.recv(65_536).startswith(b"HTTP/1.1 200"):
                return
        time.sleep(0.05)
    raise ServerFailedError("dev run does not answer")


def constant_rate(port: int, *, rate: int, seconds: float) -> list[float]:
    """Seconds from when each request was due to its answer, in order of size.

    :param rate: requests a second, sent when they are due, on whichever connection is free.
    """
    request = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    poll = select.epoll()
    clients = [socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) for _ in range(CONNECTIONS)]
    by_fd = {client.fileno(): client for client in clients}
    for fd in by_fd:
        poll.register(fd, select.EPOLLIN)
    free = list(clients)
    due_at: dict[int, float] = {}
    taken: list[float] = []
    begun = time.perf_counter()
    sent, wanted = 0, int(rate * seconds)
    try:
        while len(taken) < wanted:
            now = time.perf_counter()
            while sent < wanted and free and begun + sent / rate <= now:
                client = free.pop()
                due_at[client.fileno()] = begun + sent / rate
                client.sendall(request)
                sent += 1
            # Looks rather than sleeps, since waking up late would count as the server's time.
            for fd, _ in poll.poll(0):
                if not by_fd[fd].recv(65_536):
                    raise ServerFailedError("the connection was closed")
                taken.append(time.perf_counter() - due_at.pop(fd))
                free.append(by_fd[fd])
            if now > begun + seconds + PATIENCE_S:
                raise ServerFailedError(f"{wanted - len(taken)} requests were not answered")
    finally:
        poll.close()
        for client in clients:
            client.close()
    return sorted(taken)


def _markdown(found: dict[str, Found], machine: dict[str, str], arguments: argparse.Namespace) -> str:
    lines = [f"{name}: {value}" for name, value in machine.items()]
    lines += [
        "",
        f"| medians of {arguments.rounds} rounds | requests/s | p50 ms at {arguments.at:,}/s | p99 ms | KiB/s shown |",
        "|---|--:|--:|--:|--:|",
    ]
    medians = {}
    for way, each in found.items():
        medians[way] = rate, p50, p99, shown = [
            statistics.median(values) for values in (each.rate, each.p50_ms, each.p99_ms, each.shown_bytes)
        ]
        lines.append(f"| {way} | {rate:,.0f} | {p50:.2f} | {p99:.2f} | {shown / arguments.seconds / 1024:.1f} |")
    ratios = [one / other for one, other in zip(medians["watched"][:3], medians["unwatched"][:3], strict=True)]
    lines.append(f"| watched ÷ unwatched | {ratios[0]:.2f} | {ratios[1]:.2f} | {ratios[2]:.2f} | |")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks/run terminal", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="how often both are measured (default: 5)")
    parser.add_argument("--seconds", type=int, default=4, help="how long each measurement takes (default: 4)")
    parser.add_argument("--at", type=int, default=1_000, help="requests a second of the constant rate (default: 1,000)")
    parser.add_argument("--python", metavar="PATH", help="an interpreter that has devserver, instead of .venv-peers")
    parser.add_argument("--server-core", type=int, default=0, metavar="N")
    parser.add_argument("--client-core", type=int, default=1, metavar="N")
    parser.add_argument("--save", metavar="FILE", help="also write JSON to FILE, every round included")
    return parser


if __name__ == "__main__":
    sys.exit(main())
