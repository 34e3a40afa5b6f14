"""Starting an interpreter like this one. It imports little, because it is what a start begins with."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import subprocess


def start_interpreter(
    module: str,
    channel_fd: int,
    inherited: Sequence[int],
    environment: Mapping[str, str],
    terminal: int | None = None,
) -> subprocess.Popen[bytes]:
    """Starts ``module.main(channel_fd)`` in an interpreter like this one, in a session and group of its own.

    Garbage is not collected there until somebody says so: what is imported is never any, and looking for it takes time.

    :param inherited: descriptors that it has as well, under the same numbers.
    :param terminal: its standard streams; without it it writes where we do, and can read nothing.
    :raises OSError: no process can be made.
    """
    # Not at the top: who only asks for the options starts nothing.
    import subprocess

    # The path comes first: with "-c" it begins with the current folder, where a user's queue.py would replace Python's.
    code = f"import gc, sys; gc.disable(); sys.path[:] = {sys.path!a}; from {module} import main; main({channel_fd})"
    return subprocess.Popen(
        [sys.executable, *interpreter_flags(), "-c", code],
        env=environment,
        # A process that is not in the terminal's foreground group is stopped by the kernel when it reads there, or from
        # /dev/tty, which a session of its own does not have.
        stdin=subprocess.DEVNULL if terminal is None else terminal,
        stdout=terminal,
        stderr=terminal,
        pass_fds=(*inherited, channel_fd),
        start_new_session=True,
    )


_FLAGS = (
    ("debug", "-d"),
    ("dont_write_bytecode", "-B"),
    ("no_user_site", "-s"),
    ("no_site", "-S"),
    ("ignore_environment", "-E"),
    ("verbose", "-v"),
    ("bytes_warning", "-b"),
    ("quiet", "-q"),
    ("optimize", "-O"),
    ("isolated", "-I"),
    ("safe_path", "-P"),
)
"""Attribute of sys.flags, and the option that sets it; numbers repeat the letter."""


def interpreter_flags() -> list[str]:
    """The options that this interpreter was started with, for starting another like it."""
    found: list[str] = []
    implied = {"no_user_site", "ignore_environment", "safe_path"} if sys.flags.isolated else set()
    for name, option in _FLAGS:
        count = int(getattr(sys.flags, name))
        if count and name not in implied:
            found.append("-" + option[1] * count)
    extra: dict[str, Any] = dict(getattr(sys, "_xoptions", {}))
    if sys.flags.dev_mode:
        extra["dev"] = True
    for key, value in extra.items():
        found += ["-X", key if value is True else f"{key}={value}"]
    # -X dev and -b add filters of their own to the list; given again they would come before the user's.
    for text in sys.warnoptions:
        if not (text == "default" and sys.flags.dev_mode) and text not in {
            "default::BytesWarning",
            "error::BytesWarning",
        }:
            found.append(f"-W{text}")
    return found
