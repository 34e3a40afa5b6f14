"""Which of several sockets on one port gets a connection (SO_REUSEPORT, see socket(7)).

Each slot has a socket of its own on every TCP address, made and kept by the master, so that a connection waits in the
queue of one worker and of no other, and stays there when that worker is replaced. The kernel spreads connections over
them by a hash, which knows nothing of workers: one that is stuck would keep its share. A classic BPF program on the
group of sockets decides instead, and is made anew whenever another set of workers can take connections.
"""

from __future__ import annotations

import contextlib
import ctypes
import socket
import struct
import sys
from collections.abc import Callable, Sequence

_ATTACH = 51
"""SO_ATTACH_REUSEPORT_CBPF in asm-generic/socket.h; Python does not name it."""
SLOTS_MAX = 1_024
"""A program has 4,096 instructions at most (BPF_MAXINSNS), and two for each slot."""

# linux/filter.h, linux/bpf_common.h
_LOAD_ABSOLUTE, _MODULO, _JUMP_EQUAL, _RETURN = 0x20, 0x94, 0x15, 0x06
_RANDOM = 0xFFFFF000 + 56
"""SKF_AD_OFF + SKF_AD_RANDOM: an address whose load gives a random number."""


def program(slots: Sequence[int]) -> list[tuple[int, int, int, int]]:
    """A program that returns one of ``slots``, each as often as the others: (code, jump if true, jump if false, k)."""
    if len(slots) == 1:
        return [(_RETURN, 0, 0, slots[0])]
    found = [(_LOAD_ABSOLUTE, 0, 0, _RANDOM), (_MODULO, 0, 0, len(slots))]
    for index, slot in enumerate(slots[:-1]):
        found += [(_JUMP_EQUAL, 0, 1, index), (_RETURN, 0, 0, slot)]
    return [*found, (_RETURN, 0, 0, slots[-1])]


def attach(sock: socket.socket, slots: Sequence[int]) -> None:
    """Lets the group of ``sock`` choose among ``slots``: positions in the order in which its sockets began to listen.

    :raises OSError: the kernel does not know how.
    """
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in program(slots))
    buffer = ctypes.create_string_buffer(code, len(code))
    # struct sock_fprog
    sock.setsockopt(socket.SOL_SOCKET, _ATTACH, struct.pack("@HP", len(code) // 8, ctypes.addressof(buffer)))


def is_possible() -> bool:
    """Whether the system can do it."""
    if not sys.platform.startswith("linux") or not hasattr(socket, "SO_REUSEPORT"):
        return False
    with contextlib.suppress(OSError), socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(("127.0.0.1", 0))
        attach(sock, (0, 1))
        return True
    return False


class Sharing:
    """The sockets of one listener, one for each slot; the same one for all slots where they cannot have their own.

    :param sock: bound, without SO_REUSEPORT: that nobody else is on the address was seen by binding it. It becomes the
        first slot's.
    :param listen: lets a socket listen.
    :param apart: each slot gets a socket of its own.
    :param more: sockets that further slots have already.
    """

    def __init__(
        self,
        sock: socket.socket,
        listen: Callable[[socket.socket], None],
        *,
        apart: bool,
        more: Sequence[socket.socket] = (),
    ) -> None:
        self._listen = listen
        self._apart = apart and sock.family in {socket.AF_INET, socket.AF_INET6}
        self._sockets: list[socket.socket] = [sock, *more]
        self._open: tuple[int, ...] = ()
        if self._apart:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listen(sock)

    @property
    def apart(self) -> bool:
        """Whether each slot has a socket of its own."""
        return self._apart

    def of(self, slot: int) -> socket.socket:
        """The socket of a slot, made when there is none yet; slots are taken in order.

        :raises OSError: it cannot be made.
        """
        if not self._apart:
            return self._sockets[0]
        while len(self._sockets) <= slot:
            self._sockets.append(self._make())
        return self._sockets[slot]

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        """Those of all slots."""
        return tuple(self._sockets)

    def steer_again(self) -> None:
        """Somebody else has steered: what was said last no longer holds."""
        self._open = ()

    def steer(self, slots: Sequence[int]) -> None:
        """Lets only these slots get connections."""
        wanted = tuple(slots)
        if self._apart and wanted and wanted != self._open:
            attach(self._sockets[0], wanted)
            self._open = wanted

    def drop(self, slot: int) -> None:
        """Closes the socket of the last slot, which gets no connections any more."""
        if self._apart and 0 < slot == len(self._sockets) - 1:
            self._sockets.pop().close()

    def close_others(self, kept: Sequence[socket.socket]) -> None:
        """In a forked child: closes all sockets but those."""
        for sock in self._sockets:
            if sock not in kept:
                sock.close()

    def close(self) -> None:
        """Closes all but the first socket, which was given."""
        for sock in self._sockets[1:]:
            sock.close()

    def leave(self) -> None:
        """Closes all of them here: as soon as the workers have closed theirs, nobody is let in any more."""
        self._apart = False
        for sock in self._sockets:
            sock.close()

    def _make(self) -> socket.socket:
        first = self._sockets[0]
        sock = socket.socket(first.family, socket.SOCK_STREAM)
        try:
            # As the first one was bound.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if first.family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(first.getsockname())
            self._listen(sock)
        except BaseException:
            sock.close()
            raise
        return sock
