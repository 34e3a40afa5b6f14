"""Compares servers with several workers: what they lose while workers are replaced, how much they serve, and what they
hold: ``benchmarks/run prod``.

The losses are counted while clients ask one thing after another without a second try, half of them on connections
that stay open. Meanwhile the server is asked to do, one after the other, everything that its operators ask of it. A
request that was running on a worker that is killed is lost with every server; it is counted apart from those that
were lost because a connection was closed under a client, or refused.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import os
import shutil
import signal
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.http import clean_environment
from benchmarks.process import ServerFailedError, ServerProcess, free_port
from benchmarks.report import describe_machine
from benchmarks.wrk import Load, run_wrk

ROOT = Path(__file__).resolve().parents[1]
APPS = Path(__file__).with_name("apps")
PATIENCE_S = 10.0
CLIENTS = 8
SUBJECT = "devserver"
REST = "/items/7?q=a"


@dataclass(frozen=True)
class Contender:
    """A server, and what its master understands."""

    arguments: Callable[[str, int, int, bool], Sequence[str]]
    """From app, port, workers and whether to import the app once, to what follows the interpreter."""
    signals: frozenset[str] = frozenset()
    """Of HUP, TTIN, TTOU and USR2."""
    preloads: bool = False
    max_requests: str = ""
    """The option that replaces workers after so many requests."""


def _devserver(app: str, port: int, workers: int, preload: bool) -> list[str]:
    return [
        *("-m", "devserver", "prod", app, "--port", str(port), "--workers", str(workers)),
        *("--log-level", "error", "--no-access-log", *(["--preload"] if preload else [])),
    ]


def _uvicorn(app: str, port: int, workers: int, _: bool) -> list[str]:
    return [
        *("-m", "uvicorn", app, "--port", str(port), "--workers", str(workers)),
        *("--log-level", "error", "--no-access-log"),
    ]


def _gunicorn(worker: str) -> Callable[[str, int, int, bool], list[str]]:
    return lambda app, port, workers, preload: [
        *("-m", "gunicorn", app, "-k", worker, "-b", f"127.0.0.1:{port}", "-w", str(workers), "--no-control-socket"),
        *("--log-level", "error", *(["--preload"] if preload else [])),
    ]


def _granian(app: str, port: int, workers: int, _: bool) -> list[str]:
    return [
        *("-m", "granian", app, "--interface", "asgi", "--port", str(port), "--workers", str(workers)),
        *("--no-access-log", "--log-level", "error"),
    ]


CONTENDERS = {
    SUBJECT: Contender(_devserver, frozenset({"HUP", "TTIN", "TTOU", "USR2"}), True, "--limit-max-requests"),
    "uvicorn": Contender(_uvicorn, frozenset({"HUP", "TTIN", "TTOU"}), max_requests="--limit-max-requests"),
    "gunicorn asgi": Contender(_gunicorn("asgi"), frozenset({"HUP", "TTIN", "TTOU", "USR2"}), True, "--max-requests"),
    "gunicorn + uvicorn-worker": Contender(
        _gunicorn("uvicorn_worker.UvicornWorker"), frozenset({"HUP", "TTIN", "TTOU", "USR2"}), True, "--max-requests"
    ),
    "granian": Contender(_granian, frozenset({"HUP"})),
}


@dataclass
class Found:
    """What was found of one server.

    :ivar lost: operation → what clients met meanwhile → how often.
    """

    requests: int = 0
    lost: dict[str, Counter[str]] = field(default_factory=dict)
    exit_code: int | None = None
    busiest: list[float] = field(default_factory=list)
    raw: list[float] = field(default_factory=list)
    rest: list[float] = field(default_factory=list)
    pss_mib: list[float] = field(default_factory=list)
    preloaded_mib: list[float] = field(default_factory=list)
    complaint: str = ""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the comparison and prints it; 1 when a server failed."""
    arguments = _parser().parse_args(argv)
    python = arguments.python or sys.executable
    results = {name: Found() for name in arguments.servers}
    for number in range(arguments.rounds):
        turn = number % len(results)
        names = [*results]
        for name in names[turn:] + names[:turn]:
            contender, found = CONTENDERS[name], results[name]
            if found.complaint:
                continue
            try:
                _measure(contender, found, python, arguments, losses=number == 0)
            except (ServerFailedError, OSError) as exc:
                found.complaint = str(exc) or type(exc).__name__
            print(f"{number + 1}/{arguments.rounds} {name} {found.complaint}", file=sys.stderr, flush=True)
    print(_markdown(results, describe_machine(Path(python), ROOT), arguments))
    return int(any(found.complaint for found in results.values()))


@contextlib.contextmanager
def _started(
    contender: Contender, python: str, app: str, workers: int, *, preload: bool = False, more: Sequence[str] = ()
) -> Iterator[ServerProcess]:
    port = free_port()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "apps")
        shutil.copytree(APPS, folder, ignore=shutil.ignore_patterns("__pycache__"))
        command = [python, *contender.arguments(app, port, workers, preload), *more]
        environment = clean_environment()
        with ServerProcess(command, port, core=None, directory=folder, env=environment) as server:
            server.wait_ready(REST if app.startswith("rest") else "/")
            # All workers, not only the first.
            time.sleep(1.5)
            yield server


def _measure(contender: Contender, found: Found, python: str, arguments: argparse.Namespace, *, losses: bool) -> None:
    if losses:
        more = [contender.max_requests, "1000"] if contender.max_requests else []
        with _started(contender, python, "raw:who", 2, more=more) as server:
            _lose(contender, server, found, arguments.requests)
    with _started(contender, python, "raw:who", 4) as server:
        found.busiest.append(_busiest(server.port))
    for app, figures in (("raw:hello", found.raw), ("rest:app", found.rest)):
        with _started(contender, python, app, 2) as server:
            load = Load(REST if app.startswith("rest") else "/")
            outcome = run_wrk(server.port, load, connections=64, seconds=arguments.seconds)
            figures.append(outcome.requests / (outcome.duration_us / 1e6))
    with _started(contender, python, "rest:app", 4) as server:
        run_wrk(server.port, Load(REST), connections=64, seconds=1)
        found.pss_mib.append(server.pss_bytes() / 2**20)
    if contender.preloads:
        with _started(contender, python, "rest:app", 4, preload=True) as server:
            run_wrk(server.port, Load(REST), connections=64, seconds=1)
            found.preloaded_mib.append(server.pss_bytes() / 2**20)


# Losses


class _Clients:
    """Clients that ask until they are stopped."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._done = threading.Event()
        self.requests = 0
        self.met: Counter[str] = Counter()
        self._threads = [threading.Thread(target=self._run, args=(index,), daemon=True) for index in range(CLIENTS)]

    def __enter__(self) -> _Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)

    def _run(self, index: int) -> None:
        connection: http.client.HTTPConnection | None = None
        reused = False
        while not self._done.is_set():
            try:
                if connection is None:
                    connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE_S)
                    reused = False
                connection.request("GET", "/")
                response = connection.getresponse()
                response.read()
                self.requests += 1
                if response.status != 200:
                    self.met[f"status {response.status}"] += 1
                if response.will_close or index % 2:
                    connection.close()
                    connection = None
                reused = True
            except ConnectionRefusedError:
                self.met["refused"] += 1
                connection = None
                time.sleep(0.005)
            except (OSError, http.client.HTTPException) as exc:
                timed_out = isinstance(exc, TimeoutError)
                self.met["timed out" if timed_out else "closed, kept alive" if reused else "closed, new"] += 1
                connection = None


def _lose(contender: Contender, server: ServerProcess, found: Found, wanted: int) -> None:
    with _Clients(server.port) as clients:
        for name, operate in _operations(contender, server):
            before = clients.met.copy()
            for _ in range(5):
                operate()
                time.sleep(1.5)
            found.lost[name] = clients.met - before
        before = clients.met.copy()
        deadline = time.monotonic() + 120
        while clients.requests < wanted and time.monotonic() < deadline:
            time.sleep(0.1)
        found.lost["max-requests alone"] = clients.met - before
        found.requests = clients.requests
    found.exit_code = server.end()


def _operations(contender: Contender, server: ServerProcess) -> Iterator[tuple[str, Callable[[], None]]]:
    def send(name: str) -> Callable[[], None]:
        return lambda: server.signal(getattr(signal, f"SIG{name}"))

    if "HUP" in contender.signals:
        yield "5 × HUP", send("HUP")
    if "TTIN" in contender.signals:

        def more_and_less() -> None:
            send("TTIN")()
            time.sleep(1.5)
            send("TTOU")()

        yield "5 × TTIN, TTOU", more_and_less

    def kill() -> None:
        # One that answers is a worker.
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            os.kill(_who(server.port), signal.SIGKILL)

    yield "5 × kill -9", kill


def _who(port: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    with contextlib.closing(connection):
        connection.request("GET", "/")
        return int(connection.getresponse().read())


def _busiest(port: int, *, connections: int = 64) -> float:
    """How many of so many connections that stay open the busiest of four workers has, of its share."""
    counts: Counter[bytes] = Counter()
    with contextlib.ExitStack() as stack:
        for _ in range(connections):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S))
            sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            counts[sock.recv(4096).rpartition(b"\r\n\r\n")[2]] += 1
    return max(counts.values()) / (connections / 4)


# The report


def _markdown(results: dict[str, Found], machine: dict[str, str], arguments: argparse.Namespace) -> str:
    lines = [f"- {key}: {value}" for key, value in machine.items()]
    lines += [f"- rounds: {arguments.rounds}; losses in the first; wrk for {arguments.seconds} s"]
    lines += ["", f"Requests lost by {CLIENTS} clients, 2 workers, each replaced after 1,000 requests if it can be", ""]
    names = list(dict.fromkeys(name for found in results.values() for name in found.lost))
    lines += [f"| server | requests | {' | '.join(names)} | exit code |", f"|---|--:|{'---|' * len(names)}--:|"]
    for name, found in results.items():
        told = [_told(found.lost.get(each)) for each in names]
        lines.append(f"| {name} | {found.requests:,} | {' | '.join(told)} | {found.exit_code} |")
    lines += ["", "| server | raw, req/s | FastAPI, req/s | 4 workers, PSS | preloaded | busiest ÷ mean |"]
    lines += ["|---|--:|--:|--:|--:|--:|"]
    subject = results.get(SUBJECT)
    for name, found in results.items():
        if found.complaint:
            lines.append(f"| {name} | {found.complaint} | | | | |")
            continue
        raw, rest = statistics.median(found.raw), statistics.median(found.rest)
        ratios = [""] * 2
        if subject is not None and name != SUBJECT and subject.raw and subject.rest:
            ratios = [
                f" (ours × {statistics.median(subject.raw) / raw:.2f})",
                f" (ours × {statistics.median(subject.rest) / rest:.2f})",
            ]
        preloaded = f"{statistics.median(found.preloaded_mib):,.0f} MiB" if found.preloaded_mib else ""
        lines.append(
            f"| {name} | {raw:,.0f}{ratios[0]} | {rest:,.0f}{ratios[1]} | {statistics.median(found.pss_mib):,.0f} MiB "
            f"| {preloaded} | {statistics.median(found.busiest):.2f} |"
        )
    return "\n".join(lines)


def _told(met: Counter[str] | None) -> str:
    if met is None:
        return "–"
    return ", ".join(f"{count} {what}" for what, count in sorted(met.items())) or "0"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks/run prod", description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--servers", nargs="+", choices=list(CONTENDERS), default=list(CONTENDERS), metavar="SERVER")
    parser.add_argument("--rounds", type=int, default=3, help="how often it is measured (default: 3)")
    parser.add_argument("--seconds", type=int, default=4, help="for which wrk loads (default: 4)")
    parser.add_argument("--requests", type=int, default=50_000, help="while losses are counted (default: 50,000)")
    parser.add_argument("--python", metavar="PATH", help="an interpreter that has the servers, instead of .venv-peers")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
