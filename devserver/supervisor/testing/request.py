"""What is asked of a test run: pytest's arguments, and all that a process started for them would have.

It comes from another process of the same person's, so that it is read with care and has limits. It is made by a command
that has to be quick, so that this imports little.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from devserver.supervisor.interpreter import interpreter_flags

if TYPE_CHECKING:
    from devserver.supervisor.channel import Message

ARGUMENTS_MAX = 100_000
"""More than a command line can hold (ARG_MAX) of any length."""


class Request(NamedTuple):
    """One run.

    :ivar arguments: pytest's.
    :ivar directory: the working directory, absolute.
    :ivar environment: all variables.
    :ivar path: ``sys.path``.
    :ivar interpreter: the executable and its options, which say whether a fork can stand in for it.
    :ivar umask: what files are made with.
    """

    arguments: tuple[str, ...]
    directory: str
    environment: Mapping[str, str]
    path: tuple[str, ...]
    interpreter: tuple[str, ...]
    umask: int

    def to_message(self) -> Message:
        """The request as part of a message."""
        return {
            "arguments": self.arguments,
            "directory": self.directory,
            "environment": dict(self.environment),
            "path": self.path,
            "interpreter": self.interpreter,
            "umask": self.umask,
        }

    @staticmethod
    def from_message(message: Message) -> Request:
        """The inverse of :meth:`to_message`.

        :raises ValueError: something is missing, or not what it must be.
        """
        environment, umask = message.get("environment"), message.get("umask")
        directory = message.get("directory")
        if not isinstance(environment, dict) or not all(map(_is_text, environment.values())):
            raise ValueError("the environment is no object of texts")
        if not isinstance(umask, int) or not 0 <= umask <= 0o777:
            raise ValueError("the umask is none")
        if not isinstance(directory, str) or not _is_text(directory) or not os.path.isabs(directory):
            raise ValueError("the directory is not absolute")
        return Request(
            _texts(message, "arguments"),
            directory,
            environment,
            _texts(message, "path"),
            _texts(message, "interpreter"),
            umask,
        )


def this_interpreter() -> tuple[str, ...]:
    """What a fork of a process like this one can stand in for."""
    return (sys.version, os.path.realpath(sys.executable), sys.prefix, *interpreter_flags())


def _texts(message: Message, name: str) -> tuple[str, ...]:
    values = message.get(name)
    if not isinstance(values, list) or len(values) > ARGUMENTS_MAX or not all(map(_is_text, values)):
        raise ValueError(f"{name} is no list of texts")
    return tuple(values)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and "\0" not in value
