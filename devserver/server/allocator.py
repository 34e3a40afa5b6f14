"""Keeping memory that was freed, so that the next read of a large body needs no new pages.

The event loop reads up to 250 KiB at once into a fresh bytes object. By default glibc takes memory of that size from the
kernel and gives it back as soon as it is free, so that each read pays for some sixty page faults: half the time of an
upload. Here it is told once, at the start, to keep some.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

KEPT_BYTES_MAX = 32 * 1024 * 1024
"""Max free bytes at the top of the heap that a process keeps. A few dozen reads; less than what importing FastAPI takes."""
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
