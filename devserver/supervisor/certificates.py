"""The files that a TLS context is made of, and whether they are still those."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from devserver.config import Config

Stamps: TypeAlias = dict[str, tuple[int, int, int]]


def stamps(config: Config) -> Stamps:
    """What tells whether certificate, key and authorities have changed: path → inode, size and time.

    A link is followed, as tools that renew certificates let one point to the newest.
    """
    found: Stamps = {}
    for path in (config.ssl_certfile, config.ssl_keyfile, config.ssl_ca_certs):
        if path is not None:
            try:
                status = os.stat(path)
            except OSError:
                # Between two files there may be none for a moment.
                continue
            found[os.fspath(path)] = (status.st_ino, status.st_size, status.st_mtime_ns)
    return found
