"""Env files that can be read once: pipes, such as ``--env-file <(vault read …)`` makes, and named pipes.

What was read stays in effect when the files are read again. A pipe that has a new writer by then is read anew, as
programs that hand out secrets keep one waiting. What has been read also outlives this program's replacement by another
one (:func:`hand_over`), since the pipe is empty by then.
"""

from __future__ import annotations

import os
import select
import stat
from collections.abc import MutableMapping
from pathlib import Path

VARIABLE = "DEVSERVER_ENV_READ"
"""Path → descriptor of a file in memory, for the program that comes after this one."""

PATIENCE_S = 1.0
"""How long nothing is said while nobody writes into a pipe: a shell needs some milliseconds to start a writer."""
AGAIN_S = 0.2
"""How long a pipe that has been read before may take to begin again: saves and reloads wait for it."""

_contents: dict[str, bytes] = {}
"""Absolute path → what was read."""


def is_pipe(path: Path) -> bool:
    """Says whether the file is a pipe, or one has been read from there.

    :raises OSError: there is no such file.
    """
    return os.path.abspath(path) in _contents or stat.S_ISFIFO(os.stat(path).st_mode)


def read(path: Path, shown: str, bytes_max: int) -> bytes:
    """Reads a pipe to its end; what it said last when it has nothing to say.

    :param shown: the path as the person knows it.
    :param bytes_max: reading ends after so many bytes.
    :raises OSError: it cannot be opened.
    """
    key = os.path.abspath(path)
    known = _contents.get(key)
    try:
        found = _read(path, shown, bytes_max, again=known is not None)
    except OSError:
        if known is None:
            raise
        found = None
    if found is not None and (found or known is None):
        _contents[key] = found
    return _contents[key]


def _read(path: Path, shown: str, bytes_max: int, *, again: bool) -> bytes | None:
    # Without waiting: opening a pipe that nobody has opened for writing would wait for ever, in silence.
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISFIFO(os.fstat(fd).st_mode):
            return None
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        if not poll.poll(1000 * (AGAIN_S if again else PATIENCE_S)):
            if again:
                return None
            import logging  # not at the top: nobody else needs it so early

            # There is no observer yet; without a configuration this is a line on standard error.
            logging.getLogger("devserver").warning("Waiting for the env file %s, which nobody has written to.", shown)
            poll.poll()
        os.set_blocking(fd, True)
        data = bytearray()
        while len(data) <= bytes_max and (piece := os.read(fd, 64 * 1024)):
            data += piece
        return bytes(data)
    finally:
        os.close(fd)


def hand_over() -> tuple[dict[str, str], list[int]]:
    """Keeps what was read for the next program.

    :returns: the variable that it needs, and descriptors that it must inherit. Whoever calls this closes them.
    """
    if not _contents:
        return {}, []
    import json  # not at the top: few have such files

    fds: dict[str, int] = {}
    for path, data in _contents.items():
        with os.fdopen(_nameless_file(), "wb") as file:
            file.write(data)
            file.flush()
            fds[path] = os.dup(file.fileno())
    return {VARIABLE: json.dumps(fds)}, [*fds.values()]


def _nameless_file() -> int:
    """Makes a file that lies in memory where the system has such: what is read may be secret."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("env-file")
    import tempfile  # not at the top: Linux has memory for it

    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def take_over(environ: MutableMapping[str, str]) -> None:
    """Takes what the program before has read; the variable is removed."""
    text = environ.pop(VARIABLE, "")
    if not text:
        return
    import json  # not at the top: few have such files

    try:
        for path, fd in json.loads(text).items():
            with os.fdopen(os.dup(fd), "rb") as file:
                file.seek(0)
                _contents[path] = file.read()
            os.close(fd)
    except (OSError, ValueError, AttributeError, TypeError):
        # It was not meant for us: it came through a process that did not remove it.
        return
