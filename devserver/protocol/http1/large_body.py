"""Reading a large request body into memory that is used again.

A plain protocol is handed a fresh bytes object of up to 250 KiB for each read. With many uploads at once these take
more memory than the processor's caches hold and more than the allocator keeps, so that each read pays for new pages.
While a large body arrives, its connection has this protocol stand in for it: reads of at most 64 KiB go into one buffer
that all connections of a loop share, since a read is handled before the next one begins.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from devserver.protocol.http1.connection import Http1Connection

READ_BYTES = 65536
"""Size of the shared buffer."""
LARGE_BODY_BYTES = 4 * READ_BYTES
"""What must be missing of a body before it is worth the change of protocols."""


class LargeBody(asyncio.BufferedProtocol):
    """Stands in for a connection until a body has arrived.

    :param connection: is told everything.
    :param buffer: what is read into.
    """

    __slots__ = ("_buffer", "_connection")

    def __init__(self, connection: Http1Connection, buffer: memoryview) -> None:
        self._connection = connection
        self._buffer = buffer

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        """The buffer for the next read."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Hands on what was read."""
        self._connection.data_received(bytes(self._buffer[:nbytes]))

    def eof_received(self) -> bool:
        """See :class:`Http1Connection`."""
        return self._connection.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """See :class:`Http1Connection`."""
        self._connection.connection_lost(exc)

    def pause_writing(self) -> None:
        """See :class:`Http1Connection`."""
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        """See :class:`Http1Connection`."""
        self._connection.resume_writing()
