"""Ports that a test may give to a program by number, and who is connected to one."""

from __future__ import annotations

import os
import random
import socket
from pathlib import Path

_FIRST, _WIDTH, _SHARES = 20_000, 800, 12
"""Below the ports that the kernel hands out by itself, so that none of those is hit between asking and binding."""


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on. Test processes that run side by side draw from different ranges."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % _SHARES
    ports = range(_FIRST + worker * _WIDTH, _FIRST + (worker + 1) * _WIDTH)
    for port in random.sample(ports, len(ports)):
        with socket.socket() as probe:
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")


def listens(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a connection to this port is accepted."""
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0


def peers_of(port: int) -> set[str]:
    """The far ends of the established IPv4 connections of a server on this port, as the kernel writes them."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]]
    return {row[2] for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "01"}
