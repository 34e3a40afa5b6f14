"""Accepting connections that begin with a PROXY protocol header.

The header is taken from the socket before any transport exists, because what follows it may be a TLS handshake: giving
a transport back its first bytes is possible for neither asyncio nor uvloop. So the acceptor accepts by itself, looks at
what has arrived without taking it (MSG_PEEK), takes exactly the header, and only then hands the socket to the loop.

Only the peers of ``--proxy-allow-ips`` are expected to send a header, and must; all others are served as if there were
no such thing, so that what one of them writes about itself is never believed.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from devserver.events import RequestRefused
from devserver.protocol.proxy import PROXY_HEADER_BYTES_MAX, ProxyHeader, TrustedPeers, parse_proxy_header

if TYPE_CHECKING:
    import ssl

    from devserver.protocol.state import ServerState

Factory = Callable[["ProxyHeader | None"], asyncio.BaseProtocol]

ACCEPTS_A_TURN = 64
"""So many connections are accepted before others get their turn."""

PAUSE_S = 1.0
"""How long a process that has run out of descriptors waits before it accepts again; asyncio waits as long."""

LAST_BYTES_S = 1.0
"""What a header that has begun may still take when the server stops."""

_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class ProxyAcceptor:
    """Accepts on one listening socket. What it can be asked once it runs has the names of :class:`asyncio.Server`.

    :param sock: listens already; closed with this.
    :param state: what the connections share.
    :param factory: makes the protocol of a connection from the header, or from None for a peer that sends none.
    :param tls: the TLS context, or None.
    :raises ConfigError: ``proxy_allow_ips`` has an entry that is no network.
    """

    def __init__(self, sock: socket.socket, state: ServerState, factory: Factory, tls: ssl.SSLContext | None) -> None:
        self.state = state
        self.mode = state.config.proxy_protocol
        self._socket = sock
        self._factory = factory
        self._tls = tls
        self._peers = TrustedPeers(state.config.proxy_allow_ips)
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        sock.setblocking(False)
        state.loop.add_reader(sock, self._accept)

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        """The listening socket, while it is open."""
        return (self._socket,) if self._socket.fileno() >= 0 else ()

    def is_serving(self) -> bool:
        """Whether connections are accepted."""
        return bool(self.sockets)

    def close(self) -> None:
        """Accepts no more."""
        if self._timer is not None:
            self._timer.cancel()
        if self.sockets:
            self.state.loop.remove_reader(self._socket)
            self._socket.close()

    def connect(self, sock: socket.socket, header: ProxyHeader | None) -> None:
        """Gives an accepted socket, its header taken off, to the loop."""
        task = self.state.loop.create_task(self._connect(sock, header))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, sock: socket.socket, header: ProxyHeader | None) -> None:
        # What goes wrong here is the peer's: it has gone, or its TLS handshake fails.
        try:
            await self.state.loop.connect_accepted_socket(lambda: self._factory(header), sock, ssl=self._tls)
        except OSError:
            sock.close()

    def _accept(self) -> None:
        for _ in range(ACCEPTS_A_TURN):
            try:
                sock, address = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as exc:
                if exc.errno in _EXHAUSTED:
                    self._pause()
                return
            self._take(sock, address)

    def _take(self, sock: socket.socket, address: object) -> None:
        sock.setblocking(False)
        peer = address if isinstance(address, tuple) else None
        if peer not in self._peers:
            self.connect(sock, None)
            return
        limit = self.state.config.limit_connections
        if limit is not None and len(self.state.connections) >= limit:
            sock.close()
            return
        _Head(self, sock, f"{peer[0]}:{peer[1]}" if peer else "unix")

    def _pause(self) -> None:
        loop = self.state.loop
        loop.remove_reader(self._socket)
        self._timer = loop.call_later(PAUSE_S, loop.add_reader, self._socket, self._accept)


class _Head:
    """A connection of which no more than a part of the PROXY header has arrived; counted among the connections."""

    def __init__(self, acceptor: ProxyAcceptor, sock: socket.socket, peer: str) -> None:
        self._acceptor = acceptor
        self._state = acceptor.state
        self._socket = sock
        self._peer = peer
        self._data = b""
        self.listed = self.lasting = False
        timeout_s = self._state.config.timeout_request_head
        self.deadline = self._state.loop.time() + timeout_s if timeout_s else 0.0
        self._state.connections.add(self)
        self._state.loop.add_reader(sock, self._read)

    @property
    def idle(self) -> bool:
        """Whether nothing has arrived."""
        return not self._data

    @property
    def begun(self) -> bool:
        """There is no request yet."""
        return False

    def proceed(self) -> None:
        """It has no exchange that could start."""

    def release(self) -> None:
        """Without its header it is nobody's."""

    def expire(self, now: float) -> None:  # noqa: ARG002 - a connection's signature
        """The header took too long."""
        self._refuse(408, "the PROXY header did not arrive in time")

    def shutdown(self) -> None:
        """Waits only for a header that has begun."""
        if self.idle:
            self.abort()
        else:
            self.deadline = self._state.loop.time() + LAST_BYTES_S

    def abort(self) -> None:
        """Closes the socket."""
        self._release()
        self._socket.close()

    def _read(self) -> None:
        try:
            seen = self._socket.recv(PROXY_HEADER_BYTES_MAX, socket.MSG_PEEK)
            if not seen:
                self.abort()
                return
            header = parse_proxy_header(self._data + seen, self._acceptor.mode)
            # While it is incomplete all that has arrived is part of it; left unread it would wake the loop again.
            wanted = len(seen) if header is None else header.length - len(self._data)
            self._data += self._socket.recv(wanted)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.abort()
            return
        except ValueError as exc:
            self._refuse(400, str(exc))
            return
        if header is not None:
            self._release()
            self._acceptor.connect(self._socket, header)

    def _refuse(self, status: int, reason: str) -> None:
        # Nothing is answered: the peer does not speak HTTP before it has sent the header.
        if self._state.emitter.wants(RequestRefused):
            self._state.emitter.emit(RequestRefused(self._peer, status, reason))
        self.abort()

    def _release(self) -> None:
        with contextlib.suppress(ValueError):
            self._state.loop.remove_reader(self._socket)
        self._state.forget(self)
