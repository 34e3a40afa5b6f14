"""What a master can tell of itself and its workers: plain data, for whoever asks."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from devserver.supervisor.scoreboard import REASONS, resident_bytes

if TYPE_CHECKING:
    from devserver.supervisor.pool import Pool, PoolHandle
    from devserver.supervisor.scoreboard import Scoreboard


def master(pool: Pool, board: Scoreboard) -> dict[str, Any]:
    """The whole."""
    rows = [row for _, row in board.live()]
    return {
        "pid": os.getpid(),
        "wanted": pool.wanted,
        "ready": sum(slot.current is not None for slot in pool.slots),
        "generation": pool.generation,
        "requests": board.totals().requests,
        "running": sum(row.running for row in rows),
        "connections": sum(row.connections for row in rows),
        "restarts": dict(zip(REASONS, board.restarts(), strict=True)),
    }


def workers(pool: Pool, board: Scoreboard) -> list[dict[str, Any]]:
    """Each worker; times in the unit that their name ends with, memory in bytes."""
    return [_worker(handle, board) for handle in pool]


def _worker(handle: PoolHandle, board: Scoreboard) -> dict[str, Any]:
    row = board.read(handle.row)
    return {
        "slot": handle.slot.index,
        "pid": handle.pid,
        "age": handle.age,
        "generation": handle.generation,
        "state": "ready" if handle is handle.slot.current else "ending" if handle.serving else "starting",
        "uptime_s": time.monotonic() - handle.spawned_at,
        "requests": row.requests,
        "running": row.running,
        "connections": row.connections,
        "memory": resident_bytes(handle.pid),
        "lag_ms": row.lag / 1e6,
        "silent_s": board.silent_s(handle.row),
    }
