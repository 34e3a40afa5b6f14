"""Warnings about WSGI apps: what they do against PEP 3333 and was mended, each once a process.

They go to the log ``devserver.error`` and not to the server's events, because a mounted app does not know its server.
"""

from __future__ import annotations

import logging

WARNINGS_MAX = 64
"""Max different warnings that are remembered; later ones are not logged."""
_warned: set[str] = set()
_log = logging.getLogger("devserver.error")


def warn_once(text: str) -> None:
    """Logs ``text``, unless it has been logged before."""
    if text not in _warned and len(_warned) < WARNINGS_MAX:
        _warned.add(text)
        _log.warning("%s", text)
