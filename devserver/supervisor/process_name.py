"""What lists of processes call us; the one place that knows setproctitle, which need not be installed."""

from __future__ import annotations

import contextlib
import importlib


def name_process(name: str | None, role: str) -> None:
    """Gives this process a name, and says what it does; without setproctitle only the name, of 15 bytes at most."""
    if name is None:
        return
    try:
        importlib.import_module("setproctitle").setproctitle(f"{name}: {role}")
    except ImportError:
        # proc_pid_comm(5)
        with contextlib.suppress(OSError), open("/proc/self/comm", "w", encoding="utf-8") as file:
            file.write(name)
