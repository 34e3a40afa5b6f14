"""What systemd is told (sd_notify(3)), when it wants to know.

The variables that say so are taken out of the environment, as they are about this process and none of its children.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import MutableMapping

VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class Notifier:
    """Made by :meth:`take`; without a socket every method does nothing.

    :param address: of systemd's socket; empty for none.
    :param watchdog_s: how often at least it wants to hear that all is well; 0 for never.
    """

    def __init__(self, address: str, watchdog_s: float = 0.0) -> None:
        # An abstract name of Linux begins with a NUL.
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self.watchdog_s = watchdog_s
        self._told_at = 0.0
        self._extended_at = 0.0

    @classmethod
    def take(cls, environ: MutableMapping[str, str]) -> Notifier:
        """What the environment asks for; its variables are removed."""
        address, interval, pid = (environ.pop(name, "") for name in VARIABLES)
        watchdog_s = 0.0
        if interval.isdigit() and (not pid or pid == str(os.getpid())):
            watchdog_s = int(interval) / 1_000_000
        return cls(address if address.startswith(("/", "@")) else "", watchdog_s)

    def ready(self, status: str) -> None:
        """Everything serves."""
        self._send("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """The workers are being replaced; :meth:`ready` says when that is over."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}", "STATUS=reloading")

    def stopping(self) -> None:
        """No further requests are wanted."""
        self._send("STOPPING=1", "STATUS=stopping")

    def main_pid(self, pid: int) -> None:
        """Another process is what the service is about."""
        self._send(f"MAINPID={pid}")

    def alive(self) -> None:
        """All is well; passed on twice in each interval."""
        now = time.monotonic()
        if self.watchdog_s and now - self._told_at >= self.watchdog_s / 2:
            self._told_at = now
            self._send("WATCHDOG=1")

    def takes_longer(self, seconds: float) -> None:
        """What is going on, such as stopping, may take so long from now."""
        now = time.monotonic()
        if now - self._extended_at >= 1.0:
            self._extended_at = now
            self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1_000_000)}")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        # It is told what it can be told; nothing waits for it.
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.sendto("\n".join(lines).encode(), self._address)
