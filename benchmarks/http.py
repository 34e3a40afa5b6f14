"""Compares HTTP servers on this machine: ``python -m benchmarks.http``, or ``benchmarks/run`` from anywhere.

Every case runs in rounds, and every round starts each server anew, one at a time and in another order, so that a
machine that slows down for a while slows all of them. Figures are medians over the rounds. The server has one core for
itself, the load another one. The peers are installed in an environment of their own, ``.venv-peers``, together with
devserver.

Needs Linux, wrk, and two cores for figures worth comparing.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import report
from benchmarks.cases import CASES, Conditions
from benchmarks.process import ServerFailedError, raise_descriptor_limit
from benchmarks.servers import CONTENDERS

ROOT = Path(__file__).parents[1]
SUBJECT = "devserver"

# Whatever would configure one of the servers behind its command line.
_FOREIGN_SETTINGS = ("DEVSERVER_", "UVICORN_", "GRANIAN_", "GUNICORN_", "HYPERCORN_", "PYTHON", "VIRTUAL_ENV")
_FOREIGN_NAMES = {"PORT", "HOST", "WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS"}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the comparison and prints it; 1 when a server failed in a case."""
    arguments = _parser().parse_args(argv)
    if arguments.list:
        for case in CASES.values():
            print(f"{case.key:<14} {case.title}")
        return 0
    if not sys.platform.startswith("linux"):
        print("The benchmarks read Linux's /proc and run on Linux only.", file=sys.stderr)
        return 2
    if shutil.which("wrk") is None:
        print("wrk is not installed; on Debian: sudo apt-get install wrk", file=sys.stderr)
        return 2

    python = Path(arguments.python) if arguments.python else _peers_python()
    server_core, client_core = _cores(arguments)
    if client_core is not None:
        # wrk and the other clients inherit it; the servers get theirs when they are started.
        os.sched_setaffinity(0, {client_core})
    idle_connections = min(arguments.idle_connections, raise_descriptor_limit() - 500)

    with tempfile.TemporaryDirectory(prefix="benchmarks-") as directory:
        for app in [*(ROOT / "benchmarks" / "apps").glob("*.py"), ROOT / "benchmarks" / "floor.py"]:
            shutil.copy(app, directory)
        conditions = Conditions(
            python=python,
            directory=Path(directory),
            env=clean_environment(),
            server_core=server_core,
            connections=arguments.connections,
            seconds=arguments.seconds,
            idle_connections=idle_connections,
        )
        all_results = [
            _run_case(key, arguments.servers or list(CONTENDERS), arguments.rounds, conditions)
            for key in arguments.cases or list(CASES)
        ]

    machine = report.describe_machine(python, ROOT)
    machine["load"] = (
        f"{arguments.connections} connections, {arguments.rounds} rounds of {arguments.seconds} s, "
        f"server on core {server_core}, load on core {client_core}, {idle_connections} idle connections"
    )
    render = {"json": report.as_json, "markdown": report.as_markdown}.get(arguments.form, report.as_text)
    print(render(all_results, SUBJECT, machine))
    if arguments.save:
        Path(arguments.save).write_text(report.as_json(all_results, SUBJECT, machine) + "\n")
    return 1 if any(results.failures for results in all_results) else 0


def _run_case(key: str, servers: Sequence[str], rounds: int, conditions: Conditions) -> report.Results:
    case = CASES[key]
    results = report.Results(case)
    names = [name for name in servers if name in case.contenders]
    for number in range(rounds):
        # Another one goes first each time: what follows a long load starts on a warmer machine.
        turn = number % len(names) if names else 0
        for name in names[turn:] + names[:turn]:
            if name in results.failures:
                continue
            try:
                figures = case.measure(case, CONTENDERS[name], conditions)
            except ServerFailedError as exc:
                results.failures[name] = str(exc)
                _progress(f"{key} {number + 1}/{rounds} {name}: failed: {exc}")
                continue
            results.rounds.setdefault(name, []).append(figures)
            metric = case.metrics[0]
            _progress(f"{key} {number + 1}/{rounds} {name}: {figures[metric.key]:,.{metric.digits}f} {metric.title}")
    return results


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.http", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--cases", nargs="+", choices=list(CASES), metavar="CASE", help="these cases only (--list names them)"
    )
    parser.add_argument(
        "--servers", nargs="+", choices=list(CONTENDERS), metavar="SERVER", help=f"of {', '.join(CONTENDERS)}"
    )
    parser.add_argument("--rounds", type=int, default=5, help="how often everything is measured (default: 5)")
    parser.add_argument("--seconds", type=int, default=4, help="how long each measurement takes (default: 4)")
    parser.add_argument("--connections", type=int, default=64, help="keep-alive connections of the load (default: 64)")
    parser.add_argument(
        "--idle-connections", type=int, default=10_000, help="in the case about memory (default: 10,000)"
    )
    parser.add_argument(
        "--quick",
        action=_Quick,
        nargs=0,
        help="one round of one second and 1,000 idle connections: shows that all works, not how fast it is",
    )
    parser.add_argument(
        "--json", dest="form", action="store_const", const="json", help="print JSON, every round included"
    )
    parser.add_argument("--markdown", dest="form", action="store_const", const="markdown", help="print Markdown tables")
    parser.add_argument("--save", metavar="FILE", help="also write the JSON to FILE")
    parser.add_argument("--python", metavar="PATH", help="an interpreter that has the servers, instead of .venv-peers")
    parser.add_argument("--server-core", type=int, metavar="N", help="CPU of the server (default: the first)")
    parser.add_argument("--client-core", type=int, metavar="N", help="CPU of the load (default: the second)")
    parser.add_argument("--list", action="store_true", help="name the cases and end")
    return parser


class _Quick(argparse.Action):
    def __call__(self, _parser: argparse.ArgumentParser, namespace: argparse.Namespace, *_rest: object) -> None:
        namespace.rounds, namespace.seconds, namespace.idle_connections = 1, 1, 1000


def _cores(arguments: argparse.Namespace) -> tuple[int | None, int | None]:
    available = sorted(os.sched_getaffinity(0))
    if len(available) < 2 and arguments.client_core is None:
        _progress("only one core: server and load share it, and no figure is worth comparing")
        return None, None
    server_core = available[0] if arguments.server_core is None else arguments.server_core
    client_core = available[1] if arguments.client_core is None else arguments.client_core
    return server_core, client_core


def clean_environment() -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if name not in _FOREIGN_NAMES and not name.startswith(_FOREIGN_SETTINGS)
    }


def _peers_python() -> Path:
    made = subprocess.run([ROOT / "scripts" / "environment", "--peers"], stdout=subprocess.PIPE, text=True, check=True)
    return Path(made.stdout.strip()) / "bin" / "python"


def _progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
