"""``wsgi.file_wrapper`` (PEP 3333, "Optional Platform-Specific File Handling").

A response that is such a wrapper round a plain file is sent by the event loop, and the thread that made it is free;
every other file-like object is read by the thread, like any iterable.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from typing import Any

_PLAIN = (io.BufferedReader, io.BufferedRandom, io.FileIO)


class FileWrapper:
    """An iterable over the blocks of a file-like object.

    :param filelike: has ``read(size)``, which gives bytes.
    :param blksize: bytes that are read at a time; named as in ``wsgiref`` and gunicorn.
    """

    def __init__(self, filelike: Any, blksize: int = 8192) -> None:
        self.filelike = filelike
        self.blksize = blksize

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        block: bytes = self.filelike.read(self.blksize)
        if not block:
            raise StopIteration
        return block

    def close(self) -> None:
        """Closes the file, if it can be closed."""
        close = getattr(self.filelike, "close", None)
        if close is not None:
            close()

    def plain_file(self) -> tuple[int, int, int] | None:
        """The descriptor, the position and the bytes from there to the end, when reading the descriptor gives what
        ``read`` would; None when that is not certain.

        Only files of Python's own classes are certain: a GzipFile has a descriptor too, of the compressed file. A
        proxy whose ``read`` is that of such a file, as Django's ``File``, counts as the file.
        """
        file: Any = getattr(getattr(self.filelike, "read", None), "__self__", None)
        if type(file) not in _PLAIN:
            return None
        try:
            if isinstance(file, io.BufferedRandom):
                file.flush()
            descriptor = file.fileno()
            facts = os.fstat(descriptor)
            position = file.tell()
        except (OSError, ValueError):
            return None
        if not stat.S_ISREG(facts.st_mode):
            return None
        return descriptor, position, max(0, facts.st_size - position)
