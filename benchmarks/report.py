"""Turns figures into tables and says what they were taken on."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.servers import CONTENDERS
from benchmarks.wrk import wrk_version

if TYPE_CHECKING:
    from benchmarks.cases import Case, Figures, Metric


@dataclass(slots=True)
class Results:
    """Every figure of one case."""

    case: Case
    rounds: dict[str, list[Figures]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    """By server; one that failed once has no figures."""

    def median(self, server: str, metric: Metric) -> float | None:
        """The middle of all rounds."""
        if server in self.failures or not self.rounds.get(server):
            return None
        return statistics.median(figures[metric.key] for figures in self.rounds[server])

    def spread_percent(self, server: str) -> float:
        """Half the distance between the best and the worst round, of the first metric, in per cent of the median."""
        metric = self.case.metrics[0]
        values = [figures[metric.key] for figures in self.rounds[server]]
        return 50 * (max(values) - min(values)) / (statistics.median(values) or 1)

    def ratio(self, subject: str, server: str, metric: Metric) -> float | None:
        """The subject's median divided by the server's."""
        mine, theirs = self.median(subject, metric), self.median(server, metric)
        return mine / theirs if mine is not None and theirs else None

    def as_json(self, subject: str) -> dict[str, Any]:
        """Medians, ratios and all rounds."""
        return {
            "case": self.case.key,
            "title": self.case.title,
            "servers": {
                server: {
                    "median": {metric.key: self.median(server, metric) for metric in self.case.metrics},
                    "subject_divided_by_this": {
                        metric.key: self.ratio(subject, server, metric) for metric in self.case.metrics if metric.ratio
                    },
                    "rounds": rounds,
                }
                for server, rounds in self.rounds.items()
                if server not in self.failures
            },
            "failures": self.failures,
        }


def table(results: Results, subject: str) -> list[list[str]]:
    """Rows of text, the heading first; ``ours ÷`` is the subject's figure divided by the row's."""
    heading = ["server"]
    for metric in results.case.metrics:
        heading += [metric.title, *(["ours ÷"] if metric.ratio else [])]
    rows = [[*heading, "rounds ±"]]
    for server in [name for name in CONTENDERS if name in results.rounds or name in results.failures]:
        if server in results.failures:
            rows.append([server, f"failed: {results.failures[server]}"])
            continue
        row = [server]
        for metric in results.case.metrics:
            row.append(_number(results.median(server, metric), metric.digits))
            if metric.ratio:
                row.append(_number(results.ratio(subject, server, metric), 2))
        rows.append([*row, f"{results.spread_percent(server):.0f} %"])
    return rows


def as_text(all_results: Sequence[Results], subject: str, machine: Mapping[str, str]) -> str:
    """Aligned columns for a terminal."""
    blocks = ["\n".join(f"{key + ':':<10} {value}" for key, value in machine.items())]
    for results in all_results:
        rows = table(results, subject)
        full = [row for row in rows if len(row) == len(rows[0])]
        widths = [max(len(row[column]) for row in full) for column in range(len(rows[0]))]
        name_width = max(len(row[0]) for row in rows)
        lines = [f"{results.case.key}: {results.case.title}"]
        for row in rows:
            cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=False)]
            lines.append(
                "  " + "  ".join([row[0].ljust(name_width), *cells])
                if len(row) == len(widths)
                else f"  {row[0]}  {row[1]}"
            )
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def as_markdown(all_results: Sequence[Results], subject: str, machine: Mapping[str, str]) -> str:
    """Tables for a README."""
    blocks = ["\n".join(f"- {key}: {value}" for key, value in machine.items())]
    for results in all_results:
        heading, *rows = table(results, subject)
        lines = ["| " + " | ".join(heading) + " |", "|---|" + "--:|" * (len(heading) - 1)]
        lines += ["| " + " | ".join([*row, *[""] * (len(heading) - len(row))]) + " |" for row in rows]
        blocks.append(f"**{results.case.key}**: {results.case.title}\n\n" + "\n".join(lines))
    return "\n\n".join(blocks)


def as_json(all_results: Sequence[Results], subject: str, machine: Mapping[str, str]) -> str:
    """Everything, rounds included."""
    document = {"machine": machine, "subject": subject, "cases": [results.as_json(subject) for results in all_results]}
    return json.dumps(document, indent=2, ensure_ascii=False)


def describe_machine(python: Path, root: Path) -> dict[str, str]:
    """The machine, its kernel, the interpreter and the versions of all that take part."""
    described = json.loads(subprocess.run([python, "-c", _DESCRIBE], capture_output=True, text=True, check=True).stdout)
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=root, capture_output=True, text=True
    ).stdout.strip()
    return {
        "machine": f"{_processor()}, {os.cpu_count()} cores, {_memory_gib():.1f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "python": described["python"],
        "packages": ", ".join(f"{name} {version}" for name, version in described["packages"].items()),
        "wrk": wrk_version(),
        "commit": commit or "unknown",
    }


_DESCRIBE = f"""
import importlib.metadata, json, platform
names = {[contender.distribution for contender in CONTENDERS.values() if contender.distribution]}
names += ["uvloop", "httptools", "fastapi", "starlette"]
packages = {{}}
for name in names:
    try:
        packages[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pass
print(json.dumps({{
    "python": f"{{platform.python_implementation()}} {{platform.python_version()}}, {{platform.python_compiler()}}",
    "packages": packages,
}}))
"""


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
