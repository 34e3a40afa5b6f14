"""The addresses under which other machines may reach this one."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import struct
from collections.abc import Iterable
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

# Addresses that no machine has (RFC 5737, RFC 3849). Connecting a UDP socket sends nothing: it only asks the kernel
# which address of ours it would send from.
_ELSEWHERE = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))
_ADDRESS_OF_INTERFACE = 0x8915
"""SIOCGIFADDR of Linux (netdevice(7))."""
_INTERFACES_V6 = Path("/proc/net/if_inet6")


def own_addresses() -> list[str]:
    """The addresses of this machine, those with a route to elsewhere first, without loopback and link-local ones."""
    found = dict.fromkeys(address for address in (*_routed(), *_of_interfaces()) if _is_of_use(address))
    return list(found)


def _routed() -> Iterable[str]:
    for family, address in _ELSEWHERE:
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))
            yield str(probe.getsockname()[0])


def _of_interfaces() -> Iterable[str]:
    """One address of version 4 for each interface, and all of version 6; on Linux alone."""
    if fcntl is not None and hasattr(socket, "if_nameindex"):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            for _, name in socket.if_nameindex():
                with contextlib.suppress(OSError):
                    asked = struct.pack("256s", name.encode()[:15])
                    yield socket.inet_ntoa(fcntl.ioctl(probe, _ADDRESS_OF_INTERFACE, asked)[20:24])
    with contextlib.suppress(OSError, ValueError):
        for line in _INTERFACES_V6.read_text().splitlines():
            yield str(ipaddress.IPv6Address(int(line.split()[0], 16)))


def _is_of_use(text: str) -> bool:
    address = ipaddress.ip_address(text)
    return not (address.is_loopback or address.is_link_local or address.is_unspecified)
