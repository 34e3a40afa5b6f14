"""How many CPUs this process may use: what the scheduler allows, and what its control group is given time for."""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")
_OWN_GROUPS = Path("/proc/self/cgroup")


def available() -> int:
    """At least 1. A container that may use 1.5 CPUs has 2: a worker too many costs less than one too few."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota()
    return max(1, count if quota is None else min(count, math.ceil(quota)))


def _quota() -> float | None:
    """CPUs that the control groups above this process leave it; None for no limit (cgroups(7), v2 and v1)."""
    found: list[float] = []
    try:
        lines = _OWN_GROUPS.read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return None
    for line in lines:
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if not controllers:
            found += _limits(_GROUPS, path, _version_2)
        elif "cpu" in controllers.split(","):
            found += _limits(_GROUPS / controllers, path, _version_1)
            found += _limits(_GROUPS / "cpu", path, _version_1)
    return min(found, default=None)


def _limits(root: Path, path: str, read: object) -> list[float]:
    # In a container the path is the host's, and what is mounted is the group itself.
    folder = root / path.lstrip("/")
    folders = [folder, *folder.parents]
    found = []
    for each in folders[: folders.index(root) + 1] if root in folders else [root]:
        with contextlib.suppress(OSError, ValueError, ZeroDivisionError, IndexError):
            assert callable(read)
            found.append(float(read(each)))
    return [limit for limit in found if limit > 0]


def _version_2(folder: Path) -> float:
    quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
    return int(quota) / int(period)


def _version_1(folder: Path) -> float:
    quota = int((folder / "cpu.cfs_quota_us").read_text(encoding="ascii"))
    return quota / int((folder / "cpu.cfs_period_us").read_text(encoding="ascii"))
