"""Who holds an address that cannot be bound, as far as /proc tells.

Read only after a bind has failed, so that it may be slow. Everything here is a guess for a sentence that a person
reads: each question is answered with None rather than with an exception, on systems without /proc and for processes of
other users too.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_LISTENING = "0A"
"""TCP_LISTEN in /proc/net/tcp."""
_UNCONNECTED = "01"
"""SS_UNCONNECTED in /proc/net/unix: bound, and perhaps listening, but not one end of a connection."""
_COMMAND_MAX = 80


@dataclass(frozen=True, slots=True)
class Holder:
    """One process."""

    pid: int
    command: str
    """Its arguments joined by spaces, made safe for a terminal."""
    directory: str
    """Its working directory; empty when it may not be read."""
    serves: bool
    """Whether it is a ``dev run`` of this product."""


def of_tcp(family: int, host: str, port: int) -> Holder | None:
    """The process that listens where ``host`` and ``port`` (an address literal, not a name) would be bound."""
    return _of_inodes(_tcp_inodes(family, host, port))


def of_unix(path: str) -> Holder | None:
    """The process that has bound the Unix socket at ``path``."""
    return _of_inodes(_unix_inodes(path))


def unix_is_bound(path: str) -> bool:
    """Whether some process has bound ``path``, even if it does not listen yet; False when nobody can tell."""
    return any(True for _ in _unix_inodes(path))


def _tcp_inodes(family: int, host: str, port: int) -> Iterator[str]:
    try:
        wanted = _kernel_address(family, host)
    except (OSError, ValueError):
        return
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for fields in _rows(table):
            if len(fields) < 10 or fields[3] != _LISTENING:
                continue
            address, _, number = fields[1].partition(":")
            if int(number, 16) != port:
                continue
            # An IPv6 wildcard may take IPv4 connections as well, so that families are compared only when both
            # addresses are specific.
            if address == wanted or not address.strip("0") or not wanted.strip("0"):
                yield fields[9]


def _kernel_address(family: int, host: str) -> str:
    """The address as /proc/net/tcp prints it: each 32-bit word as a hexadecimal number in the machine's byte order."""
    packed = socket.inet_pton(family, host.partition("%")[0])
    return "".join(f"{word:08X}" for word in struct.unpack(f"={len(packed) // 4}I", packed))


def _unix_inodes(path: str) -> Iterator[str]:
    names = {path, os.path.abspath(path)}
    for fields in _rows("/proc/net/unix"):
        # The path is what is left of the line; it may hold spaces.
        if len(fields) >= 8 and " ".join(fields[7:]) in names and fields[5] == _UNCONNECTED:
            yield fields[6]


def _rows(table: str) -> list[list[str]]:
    try:
        with open(table, encoding="utf-8", errors="surrogateescape") as lines:
            return [line.split() for line in lines][1:]
    except OSError:
        return []


def _of_inodes(inodes: Iterable[str]) -> Holder | None:
    wanted = {f"socket:[{inode}]" for inode in inodes}
    pids = {pid for pid in _pids() if _holds(pid, wanted)} if wanted else set()
    if not pids:
        return None
    # A supervisor and its workers share the socket; the one to name is the one that started the others.
    roots = [pid for pid in pids if _parent(pid) not in pids]
    return _describe(min(roots or pids))


def _pids() -> Iterator[int]:
    try:
        names = os.listdir("/proc")
    except OSError:
        return
    yield from (int(name) for name in names if name.isdigit())


def _holds(pid: int, wanted: set[str]) -> bool:
    folder = f"/proc/{pid}/fd"
    try:
        return any(_link(f"{folder}/{name}") in wanted for name in os.listdir(folder))
    except OSError:
        return False


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _parent(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
            # The command stands in brackets and may hold brackets and spaces itself.
            return int(stat.read().rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return 0


def _describe(pid: int) -> Holder:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            arguments = [os.fsdecode(part) for part in file.read().rstrip(b"\0").split(b"\0")]
    except OSError:
        arguments = []
    command = "".join(char if char.isprintable() else "?" for char in " ".join(arguments))
    if len(command) > _COMMAND_MAX:
        command = command[: _COMMAND_MAX - 1] + "…"
    return Holder(pid, command, _link(f"/proc/{pid}/cwd"), _is_dev_run(arguments))


def _is_dev_run(arguments: list[str]) -> bool:
    """Whether the arguments are those of ``dev run``, ``devserver run`` or ``python -m devserver run``."""
    names = [os.path.basename(argument) for argument in arguments[:4]]
    for index, name in enumerate(names):
        if name in {"dev", "devserver"} and arguments[index + 1 : index + 2] == ["run"]:
            return True
    return False
