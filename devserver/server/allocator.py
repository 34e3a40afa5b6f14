"""Keeping memory that was freed, so that the next read of a large body needs no new pages.

By default glibc gives memory at the top of its heap back to the kernel as soon as 128 KiB are free, so that each part
of a large body pays for new pages: 150 page faults for 1 MiB, which is half the time of an upload. Here glibc is told
once, at the start, to keep some.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

KEPT_BYTES_MAX = 8 * 1024 * 1024
"""Max free bytes at the top of the heap that a process keeps: a hundred reads, less than importing FastAPI takes."""
LARGE_BYTES = 1024 * 1024
"""Blocks from this size on still come from the kernel and go back to it at once."""

_DECIDED = ("GLIBC_TUNABLES", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_", "MALLOC_TRIM_THRESHOLD_")
# malloc.h of glibc.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3


def keep_freed_memory(environ: Mapping[str, str]) -> bool:
    """Tells glibc to keep up to :data:`KEPT_BYTES_MAX` of freed memory; True when it was told.

    Elsewhere there is nothing to tell: musl and macOS decide by themselves. Whoever sets one of glibc's own variables
    has decided, too.

    :param environ: environment variables.
    """
    if not sys.platform.startswith("linux") or any(name in environ for name in _DECIDED):
        return False
    try:
        from ctypes import CDLL

        mallopt = CDLL(None).mallopt
    except (ImportError, OSError, AttributeError):
        return False
    return bool(mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES_MAX)) and bool(mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES))
