"""Runs wrk, the load generator, and reads what it found."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from dataclasses import dataclass

_REPORT = """
done = function(summary, latency, requests)
    local errors = summary.errors
    io.write(string.format(
        'REPORT {"requests": %d, "duration_us": %d, "p50_us": %d, "p99_us": %d, "status": %d, "broken": %d}\\n',
        summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
        errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
"""


@dataclass(frozen=True, slots=True)
class Load:
    """The request that is repeated."""

    path: str = "/"
    method: str = "GET"
    body_bytes: int = 0

    @property
    def script(self) -> str:
        """The request as wrk wants it, in Lua."""
        lines = [f'wrk.method = "{self.method}"', f'wrk.path = "{self.path}"']
        if self.body_bytes:
            lines += [
                f'wrk.body = string.rep("x", {self.body_bytes})',
                'wrk.headers["Content-Type"] = "application/octet-stream"',
            ]
        return "\n".join(lines) + _REPORT


@dataclass(frozen=True, slots=True)
class Outcome:
    """What wrk counted."""

    requests: int
    duration_us: int
    p50_us: int
    p99_us: int
    status: int
    """Answers that were neither 2xx nor 3xx."""
    broken: int
    """Connections refused, cut or timed out."""


def run_wrk(port: int, load: Load, *, connections: int, seconds: int) -> Outcome:
    """Loads the server for so many seconds from one thread."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(load.script)
        script.flush()
        command = ["wrk", "-t", "1", "-c", str(connections), "-d", f"{seconds}s", "--timeout", "10s", "-s", script.name]
        output = subprocess.run(
            [*command, f"http://127.0.0.1:{port}"], capture_output=True, text=True, check=True
        ).stdout
    report = next(line for line in output.splitlines() if line.startswith("REPORT "))
    return Outcome(**json.loads(report.removeprefix("REPORT ")))


def wrk_version() -> str:
    """Such as ``4.1.0``; ``unknown`` without wrk, which not every benchmark needs."""
    if shutil.which("wrk") is None:
        return "unknown"
    words = subprocess.run(["wrk", "-v"], capture_output=True, text=True).stdout.split()
    return words[1] if len(words) > 1 else "unknown"
