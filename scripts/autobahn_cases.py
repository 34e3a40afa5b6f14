#!/usr/bin/env python
"""Serves an echo, lets Autobahn's fuzzing client loose on it, and reads the verdicts; scripts/autobahn calls this.

Every case must be OK or informational, its close included. Section 6.4 (text that is not UTF-8, sent in pieces) may be
answered NON-STRICT: what came before the bad frame may reach the app, and its answer leave before the close.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

GOOD = {"OK", "INFORMATIONAL"}
LENIENT = "6.4."
COMPRESSION = ["12.*", "13.*"]
# Of each way to compress, the smallest, a middle and the largest messages.
SLICE = [f"{section}.{number}" for section in ("12.1", "12.5", "13.1", "13.3", "13.6", "13.7") for number in (1, 5, 11)]
START_S = 20.0

APP = """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})
        return
    await receive()
    await send({"type": "websocket.accept"})
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return
        await send({**message, "type": "websocket.send"})
"""


def main() -> int:
    """Runs the cases; 1 when one of them failed."""
    arguments = _parser().parse_args()
    whole: list[tuple[list[str], list[str]]] = [(arguments.cases or ["*"], [])]
    runs = whole if arguments.cases or arguments.all else [(["*"], COMPRESSION), (SLICE, [])]
    with tempfile.TemporaryDirectory(prefix="autobahn-") as folder, _serving(Path(folder)) as port:
        verdicts: dict[str, dict[str, str]] = {}
        for cases, excluded in runs:
            verdicts |= _run(arguments, port, Path(folder), cases, excluded)
    failed = {name: verdict for name, verdict in verdicts.items() if not _is_good(name, verdict)}
    for name, verdict in sorted(failed.items()):
        print(f"{name}: {verdict['behavior']}, its close {verdict['behaviorClose']}; see {arguments.reports}")
    print(f"{len(verdicts)} cases, {len(failed)} failed.")
    return 1 if failed or not verdicts else 0


@contextlib.contextmanager
def _serving(folder: Path) -> Iterator[int]:
    """A server of our own on a free port; it must still be there, and well, at the end."""
    (folder / "echo.py").write_text(APP)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    command = [sys.executable, "-m", "devserver", "run", "echo:app", "--no-reload", "--no-access-log"]
    with (folder / "log").open("w+") as log:
        server = subprocess.Popen([*command, "--port", str(port)], cwd=folder, stdout=log, stderr=log)
        try:
            _await_answer(port, server)
            yield port
            _await_answer(port, server)
        finally:
            server.terminate()
            code = server.wait(START_S)
            text = (folder / "log").read_text()
    if code or "Traceback" in text:
        raise SystemExit(f"The server ended with code {code}:\n{text[-4000:]}")


def _await_answer(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=START_S):
                return
        except OSError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _run(
    arguments: argparse.Namespace, port: int, folder: Path, cases: list[str], excluded: list[str]
) -> dict[str, dict[str, str]]:
    """The verdicts by the number of the case."""
    spec = {
        "outdir": str(arguments.reports),
        "servers": [{"agent": "devserver", "url": f"ws://127.0.0.1:{port}"}],
        "cases": cases,
        "exclude-cases": excluded,
        "exclude-agent-cases": {},
    }
    (folder / "spec.json").write_text(json.dumps(spec))
    command = [arguments.wstest, "--mode", "fuzzingclient", "--spec", str(folder / "spec.json")]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    index = Path(arguments.reports, "index.json")
    if done.returncode or not index.exists():
        raise SystemExit(f"wstest failed: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    verdicts: dict[str, dict[str, str]] = json.loads(index.read_text())["devserver"]
    return verdicts


def _is_good(name: str, verdict: dict[str, str]) -> bool:
    allowed = GOOD | {"NON-STRICT"} if name.startswith(LENIENT) else GOOD
    return verdict["behavior"] in allowed and verdict["behaviorClose"] in GOOD


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/autobahn", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help="numbers, such as 6.4.*")
    parser.add_argument("--all", action="store_true", help="all sections; takes more than ten minutes")
    parser.add_argument("--wstest", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--reports", type=Path, required=True, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
