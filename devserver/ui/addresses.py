"""The addresses under which other machines may reach this one."""

from __future__ import annotations

import contextlib
import socket

# Addresses that no machine has (RFC 5737, RFC 3849). Connecting a UDP socket sends nothing: it only asks the kernel
# which address of ours it would send from.
_ELSEWHERE = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))


def own_addresses() -> list[str]:
    """One address of each family that has a route to elsewhere."""
    found = []
    for family, address in _ELSEWHERE:
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))
            found.append(str(probe.getsockname()[0]))
    return found
