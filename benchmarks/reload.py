"""Compares how long servers take from a save to the first answer of the new code: ``benchmarks/run reload``.

Every round starts each server anew, waits until it has settled, and saves the file a number of times; a client that
opens a connection for each request asks for the new code from the moment of the save on. What fails or comes from the
old code meanwhile is counted. Figures are medians over all saves of all rounds.
"""

from __future__ import annotations

import argparse
import functools
import http.client
import json
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import real_app
from benchmarks.http import clean_environment
from benchmarks.process import ServerFailedError, ServerProcess, free_port
from benchmarks.report import describe_machine

ROOT = Path(__file__).parents[1]
SUBJECT = "devserver"
PATIENCE_S = 20.0
ASK_AGAIN_S = 0.001

HELLO = """
from fastapi import FastAPI

app = FastAPI()


@app.get("/")
def index() -> dict[str, int]:
    return {"n": 1}
"""
HEAVY = """
import pandas
from fastapi import FastAPI
from sqlmodel import Field, SQLModel


class Item(SQLModel, table=True):
    id: int | None = Field(default=None, primary_key=True)
    name: str


app = FastAPI()


@app.get("/")
def index() -> dict[str, int]:
    return {"n": int(pandas.Series([1]).sum())}
"""


def _one_file(source: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        path = folder / "main.py"
        path.write_text(source)
        return path

    return write


_NUMBER = r"NUMBER = (\d+)"
PROJECTS: dict[str, tuple[str, Callable[[Path], Path], str]] = {
    "hello": ("FastAPI, one file", _one_file(HELLO), r'"n": (\d+)'),
    "heavy": ("FastAPI with pandas and SQLModel", _one_file(HEAVY), r"\[(\d+)\]"),
    "real": ("40 modules, 200 routes, 120 models; the module that is imported first", real_app.write, _NUMBER),
    "real-middle": (
        "the same; the module in the middle",
        functools.partial(real_app.write, saved=real_app.MIDDLE),
        _NUMBER,
    ),
    "real-last": (
        "the same; the module that is imported last",
        functools.partial(real_app.write, saved=real_app.LAST),
        _NUMBER,
    ),
}
"""Key → title, what writes it and returns the file that is saved, and where the number in that file is."""

SERVERS: dict[str, Callable[[str, int], list[str]]] = {
    "devserver": lambda python, port: [python, "-m", "devserver", "run", "main:app", "--port", str(port)],
    "devserver standby": lambda python, port: [
        *(python, "-m", "devserver", "run", "main:app", "--port", str(port), "--reload-mode", "standby"),
    ],
    "devserver cold": lambda python, port: [
        *(python, "-m", "devserver", "run", "main:app", "--port", str(port), "--reload-mode", "cold"),
    ],
    "uvicorn --reload": lambda python, port: [python, "-m", "uvicorn", "main:app", "--reload", "--port", str(port)],
    "fastapi dev": lambda python, port: [
        *(python, "-m", "fastapi", "dev", "main.py", "--port", str(port)),
    ],
    "granian --reload": lambda python, port: [
        *(python, "-m", "granian", "main:app", "--interface", "asgi", "--reload", "--port", str(port)),
    ],
    "uvicorn-hmr": lambda python, port: [str(Path(python).with_name("uvicorn-hmr")), "main:app", "--port", str(port)],
}


@dataclass
class Found:
    """What one server did with one project.

    :ivar firsts_ms: from the first save after the start to the first answer of the new code.
    :ivar times_ms: the same for the saves after that, all of one file.
    :ivar failed: requests that got no answer, or an error, meanwhile.
    :ivar stale: requests that were answered by the old code after the save.
    :ivar starts_ms: from the start of the process to the first answer.
    """

    firsts_ms: list[float] = field(default_factory=list)
    times_ms: list[float] = field(default_factory=list)
    failed: int = 0
    stale: int = 0
    starts_ms: list[float] = field(default_factory=list)
    complaint: str = ""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the comparison and prints it; 1 when a server failed."""
    arguments = _parser().parse_args(argv)
    python = arguments.python or sys.executable
    found: dict[str, dict[str, Found]] = {}
    for project in arguments.projects:
        results = found[project] = {name: Found() for name in arguments.servers}
        for number in range(arguments.rounds):
            turn = number % len(results)
            names = [*results]
            for name in names[turn:] + names[:turn]:
                if not results[name].complaint:
                    _measure(name, project, results[name], python, arguments)
                    _progress(f"{project} {number + 1}/{arguments.rounds} {name}", results[name])
    print(_markdown(found, describe_machine(Path(python), ROOT), arguments))
    if arguments.save:
        Path(arguments.save).write_text(json.dumps({p: {n: vars(f) for n, f in r.items()} for p, r in found.items()}))
    return 1 if any(result.complaint for results in found.values() for result in results.values()) else 0


def _measure(name: str, project: str, result: Found, python: str, arguments: argparse.Namespace) -> None:
    _, write, number_pattern = PROJECTS[project]
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as directory:
        folder = Path(directory)
        saved = write(folder)
        port = free_port()
        for start in ("first", "second"):
            # The second start is the one that is measured: caches of compiled code are there, as on most days.
            with ServerProcess(
                SERVERS[name](python, port), port, core=None, directory=folder, env=clean_environment()
            ) as server:
                try:
                    started_s = server.wait_ready()
                except ServerFailedError as exc:
                    result.complaint = str(exc)
                    return
                time.sleep(arguments.settle)
                if start == "second":
                    result.starts_ms.append(started_s * 1000)
                    _save_and_ask(saved, number_pattern, port, result, arguments)


def _save_and_ask(saved: Path, pattern: str, port: int, result: Found, arguments: argparse.Namespace) -> None:
    for number in range(2, 2 + arguments.saves):
        source = saved.read_text()
        digits = re.search(pattern, source)
        if digits is None:
            raise AssertionError(f"{saved} has no number")
        text = source[: digits.start(1)] + str(number) + source[digits.end(1) :]
        began = time.perf_counter()
        saved.write_text(text)
        while True:
            status, body = _ask(port)
            if status == 200 and body == number:
                break
            if status == 200:
                result.stale += 1
            else:
                result.failed += 1
            if time.perf_counter() - began > PATIENCE_S:
                result.complaint = f"save {number} was never served"
                return
            time.sleep(ASK_AGAIN_S)
        taken = result.firsts_ms if number == 2 else result.times_ms
        taken.append((time.perf_counter() - began) * 1000)
        time.sleep(arguments.pause)


def _ask(port: int) -> tuple[int, int]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        connection.request("GET", "/")
        response = connection.getresponse()
        body = response.read()
    except (OSError, http.client.HTTPException):
        return 0, 0
    finally:
        connection.close()
    return response.status, json.loads(body)["n"] if response.status == 200 else 0


def _markdown(found: dict[str, dict[str, Found]], machine: dict[str, str], arguments: argparse.Namespace) -> str:
    lines = [f"- {key}: {value}" for key, value in machine.items()]
    lines.append(f"- saves of one file: {arguments.rounds} rounds of {arguments.saves}, {arguments.pause} s apart")
    lines.append("- milliseconds from a save to the first answer of the new code")
    for project, results in found.items():
        subject = results.get(SUBJECT)
        lines += ["", f"**{project}**: {PROJECTS[project][0]}", ""]
        lines += ["| server | first save | ours ÷ | same file again | ours ÷ | p95 | failed | stale | start |"]
        lines += ["|---|--:|--:|--:|--:|--:|--:|--:|--:|"]
        for name, result in results.items():
            if not result.times_ms:
                lines.append(f"| {name} | {result.complaint} | | | | | | | |")
                continue
            first, median = statistics.median(result.firsts_ms), statistics.median(result.times_ms)
            ratio, first_ratio = 0.0, 0.0
            if subject is not None and subject.times_ms:
                ratio = statistics.median(subject.times_ms) / median
                first_ratio = statistics.median(subject.firsts_ms) / first
            p95 = sorted(result.times_ms)[int(len(result.times_ms) * 0.95)]
            lines.append(
                f"| {name} | {first:,.0f} | {first_ratio:.2f} | {median:,.0f} | {ratio:.2f} | {p95:,.0f} "
                f"| {result.failed:,} | {result.stale:,} "
                f"| {statistics.median(result.starts_ms):,.0f} |"
            )
    return "\n".join(lines)


def _progress(what: str, result: Found) -> None:
    shown = f"{statistics.median(result.times_ms):,.0f} ms" if result.times_ms else result.complaint
    print(f"{what}: {shown}", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks/run reload", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--projects", nargs="+", choices=list(PROJECTS), default=list(PROJECTS), metavar="PROJECT")
    parser.add_argument("--servers", nargs="+", choices=list(SERVERS), default=list(SERVERS), metavar="SERVER")
    parser.add_argument("--rounds", type=int, default=3, help="how often everything is measured (default: 3)")
    parser.add_argument("--saves", type=int, default=10, help="saves in a round (default: 10)")
    parser.add_argument("--pause", type=float, default=1.5, help="seconds between two saves (default: 1.5)")
    parser.add_argument("--settle", type=float, default=3.0, help="seconds between start and first save (default: 3)")
    parser.add_argument("--python", metavar="PATH", help="an interpreter that has the servers, instead of .venv-peers")
    parser.add_argument("--save", metavar="FILE", help="also write JSON to FILE, every save included")
    return parser


if __name__ == "__main__":
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    raise SystemExit(main())
