"""Compares how long a project's tests take from the command to its end: ``benchmarks/run tests``.

The bookstore of examples/ is copied to a folder of its own. In each round, which starts ``dev run`` anew, the same
tests are run by ``python -m pytest``, by a first and by a second ``dev test`` beside a ``dev run``, and by ``dev test
--watch`` after a save. What is compared is how long somebody waits; the tests' own time is part of it. Figures are
medians over all rounds.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.http import clean_environment
from benchmarks.process import ServerProcess, free_port
from benchmarks.report import describe_machine

ROOT = Path(__file__).parents[1]
PROJECT = ROOT / "examples" / "bookstore"
SAVED = "bookstore/main.py"
PATIENCE_S = 60.0
BASE = "python -m pytest"
WAYS = (BASE, "dev test, first", "dev test, second", "dev test --watch, after a save")


class FailedError(Exception):
    """Something did not do what it is measured for."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the comparison and prints it."""
    arguments = _parser().parse_args(argv)
    python = arguments.python or sys.executable
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as directory:
        folder = Path(directory, "bookstore")
        shutil.copytree(PROJECT, folder, ignore=shutil.ignore_patterns(".*", "__pycache__"))
        # So that nobody looks for a configuration of pytest's further up.
        (folder / "pytest.ini").write_text("[pytest]\n")
        # Compiled code is there, as on most days.
        _run(python, folder, "pytest")
        for number in range(arguments.rounds):
            _round(python, folder, found, arguments)
            shown = ", ".join(f"{way} {times[-1] * 1000:,.0f} ms" for way, times in found.items())
            print(f"{number + 1}/{arguments.rounds}: {shown}", file=sys.stderr, flush=True)
    print(_markdown(found, describe_machine(Path(python), ROOT), arguments.rounds))
    if arguments.save:
        Path(arguments.save).write_text(json.dumps(found))
    return 0


def _round(python: str, folder: Path, found: dict[str, list[float]], arguments: argparse.Namespace) -> None:
    found[BASE].append(_run(python, folder, "pytest"))
    port = free_port()
    command = [python, "-m", "devserver", "run", "--port", str(port)]
    with ServerProcess(command, port, core=None, directory=folder, env=_environment(folder)) as server:
        server.wait_ready()
        time.sleep(arguments.settle)
        found["dev test, first"].append(_run(python, folder, "devserver", "test"))
        # What the first has learned is imported meanwhile.
        time.sleep(arguments.settle)
        found["dev test, second"].append(_run(python, folder, "devserver", "test"))
    with _watching(python, folder) as lines:
        _wait(lambda: len(lines) >= 1)
        time.sleep(arguments.settle)
        began = time.perf_counter()
        with (folder / SAVED).open("a") as file:
            file.write("#\n")
        _wait(lambda: len(lines) >= 2)
        found["dev test --watch, after a save"].append(time.perf_counter() - began)
        if not lines[1].startswith("22 passed"):
            raise FailedError(lines[1])


def _run(python: str, folder: Path, *words: str) -> float:
    """How long it takes, in seconds."""
    began = time.perf_counter()
    done = subprocess.run(
        [python, "-m", *words, "-q"],
        cwd=folder,
        env=_environment(folder),
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )
    duration_s = time.perf_counter() - began
    if done.returncode != 0 or b"22 passed" not in done.stdout or done.stderr:
        raise FailedError((done.stdout + done.stderr).decode(errors="replace"))
    return duration_s


@contextlib.contextmanager
def _watching(python: str, folder: Path) -> Iterator[list[str]]:
    """The lines that it writes."""
    process = subprocess.Popen(
        [python, "-m", "devserver", "test", "--watch"],
        cwd=folder,
        env=_environment(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    lines: list[str] = []
    output = process.stdout

    def read() -> None:
        for line in output:
            lines.append(line)  # noqa: PERF402 - one by one, as they come

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield lines
    finally:
        process.terminate()
        process.wait(PATIENCE_S)
        reader.join(PATIENCE_S)
        process.stdout.close()


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise FailedError("dev test --watch has shown nothing")
        time.sleep(0.001)


def _environment(folder: Path) -> dict[str, str]:
    # pytest removes what earlier runs have left in its temporary folder, other people's included.
    temporary = folder.with_name("temporary")
    temporary.mkdir(exist_ok=True)
    return {**clean_environment(), "PYTHONPATH": str(ROOT), "PYTEST_DEBUG_TEMPROOT": str(temporary)}


def _markdown(found: dict[str, list[float]], machine: dict[str, str], rounds: int) -> str:
    base = statistics.median(found[BASE])
    lines = [f"- {key}: {value}" for key, value in machine.items()]
    lines += [f"- tests: 22 of examples/bookstore, {rounds} rounds", "", "| | ms | ÷ pytest |", "|---|--:|--:|"]
    for way, times in found.items():
        median = statistics.median(times)
        lines.append(f"| {way} | {median * 1000:,.0f} | {median / base:.2f} |")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks/run tests", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7, help="how often everything is measured (default: 7)")
    parser.add_argument("--settle", type=float, default=4.0, help="seconds that warm processes get (default: 4)")
    parser.add_argument("--python", metavar="PATH", help="an interpreter that has pytest, instead of .venv-peers")
    parser.add_argument("--save", metavar="FILE", help="also write JSON to FILE")
    return parser


if __name__ == "__main__":
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    raise SystemExit(main())
