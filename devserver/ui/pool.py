"""What ``dev ctl`` shows of a master and its workers: text for people, and a table that is drawn again and again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

Answer = Mapping[str, Any]

COLUMNS = ("slot", "pid", "state", "up", "requests", "req/s", "in flight", "connections", "memory", "lag")
REFRESH_S = 1.0


def status(answer: Answer) -> str:
    """A few lines about the master."""
    load = f"{answer['running']:,} in flight, {answer['connections']:,} connections"
    lines = [
        f"master    {answer['pid']}, up {span(answer['uptime_s'])}, devserver {answer['version']}",
        f"serves    {answer['app']} on {' '.join(answer['urls'])}",
        f"workers   {answer['ready']} of {answer['wanted']} ready, generation {answer['generation']}",
        f"requests  {answer['requests']:,} started, {load}",
    ]
    replaced = ", ".join(f"{count} {reason}" for reason, count in answer["restarts"].items() if count)
    return "\n".join([*lines, f"replaced  {replaced or 'none'}"])


def workers(answer: Answer, before: Answer | None = None, passed_s: float = 0.0) -> list[tuple[str, ...]]:
    """A row of :data:`COLUMNS` for each worker.

    :param before: the answer to the same question ``passed_s`` ago, for what happens in a second.
    """
    earlier = {row["pid"]: row["requests"] for row in (before or {}).get("workers", ())}
    rows: list[tuple[str, ...]] = []
    for row in answer["workers"]:
        rate = "-"
        if passed_s and row["pid"] in earlier:
            rate = f"{(row['requests'] - earlier[row['pid']]) / passed_s:,.0f}"
        rows.append(
            (
                str(row["slot"]),
                str(row["pid"]),
                row["state"],
                span(row["uptime_s"]),
                f"{row['requests']:,}",
                rate,
                f"{row['running']:,}",
                f"{row['connections']:,}",
                f"{row['memory'] / 2**20:,.0f} MiB",
                f"{row['lag_ms']:.0f} ms" if row["silent_s"] < 2 else f"{row['silent_s']:.0f} s!",
            )
        )
    return rows


def plain(rows: Sequence[Sequence[str]]) -> str:
    """The rows below their titles, aligned."""
    table = [COLUMNS, *rows]
    widths = [max(len(row[index]) for row in table) for index in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table
    )


def top(ask: Callable[[], Answer]) -> None:
    """Draws the workers once a second until Ctrl+C."""
    before: Answer | None = None
    asked_at = 0.0
    with Live(console=Console(markup=False, highlight=False), auto_refresh=False, screen=True) as live:
        while True:
            now = time.monotonic()
            answer = ask()
            table = Table(box=None, header_style="bold", pad_edge=False)
            for name in COLUMNS:
                table.add_column(name, justify="left" if name == "state" else "right")
            for row in workers(answer, before, now - asked_at if before else 0.0):
                table.add_row(*(Text(cell, style="red" if cell.endswith("!") else "") for cell in row))
            table.title = Text(f"{status(answer)}\n")
            table.title_justify = "left"
            live.update(table, refresh=True)
            before, asked_at = answer, now
            time.sleep(REFRESH_S)


def span(seconds: float) -> str:
    """``59s``, ``12m``, ``3h 5m`` or ``2d 4h``."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m"
    if whole < 86_400:
        return f"{whole // 3600}h {whole % 3600 // 60}m"
    return f"{whole // 86_400}d {whole % 86_400 // 3600}h"
