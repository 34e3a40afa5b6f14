"""``wsgi.input``: the body of a request as a file (PEP 3333, "Input and Error Streams").

Before a thread is taken the whole body has been read, into memory as long as it is small and into a temporary file
beyond that: a client that uploads slowly holds a connection, never a thread. With ``--wsgi-stream-input`` the app reads
from the connection instead, and holds its thread while it waits for the client.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import io
import os
import queue
import tempfile
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any

from devserver.errors import ClientDisconnected

if TYPE_CHECKING:
    from devserver.app.types import Receive

MEMORY_MAX = 1 << 20
"""A body up to here stays in memory."""
HELD_MAX = 64 << 20
"""When the bodies in memory are larger together, those that come meanwhile go to files at once."""
PIECE_BYTES = 1 << 16
"""What they write at a time then."""


class NoRoomError(Exception):
    """A temporary file for a body cannot be made or written.

    :ivar status: of the response: 507 (RFC 4918 §11.5) when the disk is full, else 503.
    """

    def __init__(self, cause: OSError) -> None:
        super().__init__(f"A request body cannot be kept in {_folder()} ({cause.strerror or cause}).")
        self.status = 507 if cause.errno in _FULL else 503


_FULL = frozenset({errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)})


def _folder() -> str:
    return tempfile.tempdir or os.environ.get("TMPDIR", "the temporary folder")


class BodyReader:
    """Reads whole bodies, and knows how much memory those hold that are in use."""

    def __init__(self) -> None:
        self._held = 0

    async def read(self, receive: Receive) -> Body | None:
        """The body of one request, or None when the client went away before its end; :meth:`Body.release` it after use.

        :param receive: of the ASGI app.
        :raises NoRoomError: the temporary file cannot be written.
        """
        body = Body(self._let_go)
        try:
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    body.close()
                    return None
                data = message.get("body", b"")
                self._held += len(data)
                body.add(data)
                more = message.get("more_body", False)
                if body.held > (MEMORY_MAX if self._held <= HELD_MAX else PIECE_BYTES) or (not more and body.is_file):
                    await body.spool()
                if not more:
                    body.rewind()
                    return body
        except BaseException:
            body.close()
            raise

    def _let_go(self, size: int) -> None:
        self._held -= size


class Body:
    """A body that has been read.

    :param let_go: told how many bytes are in memory no longer.
    """

    __slots__ = ("_data", "_file", "_let_go", "file", "held", "length")

    def __init__(self, let_go: Callable[[int], None]) -> None:
        self.file: Any = None
        """What the app reads, once :meth:`rewind` was called."""
        self.length = 0
        self.held = 0
        """Bytes in memory."""
        self._data: bytes | bytearray = b""
        """What is in memory; one piece as it came, several put together: a list of tiny ones would take many times as
        much."""
        self._file: IO[bytes] | None = None
        self._let_go = let_go

    @property
    def is_file(self) -> bool:
        """Whether it lies in a temporary file."""
        return self._file is not None

    def add(self, data: bytes) -> None:
        """Takes the next piece."""
        if not self._data:
            self._data = data
        else:
            if isinstance(self._data, bytes):
                self._data = bytearray(self._data)
            self._data += data
        self.held += len(data)
        self.length += len(data)

    async def spool(self) -> None:
        """Writes what is in memory to the file, in a thread: a disk may be slow."""
        data, self._data = self._data, b""
        try:
            await asyncio.get_running_loop().run_in_executor(None, self._write, data)
        except OSError as exc:
            raise NoRoomError(exc) from exc
        self._free()

    def rewind(self) -> None:
        """It is complete: has the file read from its beginning."""
        if self._file is not None:
            self._file.seek(0)
            self.file = self._file
        else:
            data, self._data = self._data, b""
            self.file = io.BytesIO(data)

    def release(self) -> None:
        """The app reads it no longer; it has closed the file itself."""
        self._free()

    def close(self) -> None:
        """Nobody will read it."""
        self._data = b""
        self._free()
        if self._file is not None:
            # close() writes the rest again, and fails again when the disk is full.
            with contextlib.suppress(OSError):
                self._file.close()

    def _write(self, data: bytes | bytearray) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="devserver-body-")  # noqa: SIM115 - close() closes it
        self._file.write(data)
        # Here and not later, where nobody expects it to fail.
        self._file.flush()

    def _free(self) -> None:
        self._let_go(self.held)
        self.held = 0


class StreamedBody(io.RawIOBase):
    """A body that is read from the connection while the app asks for it; wrap it in :class:`io.BufferedReader`.

    :param ask: has :meth:`put` or :meth:`break_off` called soon, from another thread.
    """

    def __init__(self, ask: Callable[[], None]) -> None:
        self._ask = ask
        self._given: queue.SimpleQueue[tuple[bytes, bool] | None] = queue.SimpleQueue()
        self._rest = memoryview(b"")
        self._ended = False

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Waits for the next piece when the last one is used up.

        :raises ClientDisconnected: the client went away before the end of the body.
        """
        while not self._rest and not self._ended:
            self._ask()
            given = self._given.get()
            if given is None:
                # For whoever reads on in spite of this.
                self._given.put(None)
                raise ClientDisconnected("The client has closed the connection before the end of the request body.")
            data, more = given
            self._rest = memoryview(data)
            self._ended = not more
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size

    def put(self, data: bytes, more: bool) -> None:
        """The next piece has arrived."""
        self._given.put((data, more))

    def break_off(self) -> None:
        """Nothing more will come."""
        self._given.put(None)
