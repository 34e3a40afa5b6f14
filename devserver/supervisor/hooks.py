"""Calls the functions of a config file at the moments that gunicorn's users know them from."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from devserver.errors import ConfigError

if TYPE_CHECKING:
    from devserver.config import Config
    from devserver.config.python_file import Hook


@dataclass
class HookServer:
    """The master, as hooks see it.

    :ivar cfg: the settings.
    :ivar num_workers: how many workers there are to be.
    :ivar log: for what a hook has to say.
    """

    cfg: Config
    num_workers: int
    pid: int = field(default_factory=os.getpid)
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("devserver.error"))


@dataclass
class HookWorker:
    """A worker, as hooks see it.

    :ivar cfg: the settings.
    :ivar age: counts the workers there have been.
    :ivar pid: 0 before it is made.
    :ivar log: for what a hook has to say.
    """

    cfg: Config
    age: int
    pid: int = 0
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("devserver.error"))


class Hooks:
    """The hooks that there are.

    :param functions: by their names.
    :param complain: told of a hook that has raised: what a hook does is no reason to stop serving.
    """

    def __init__(self, functions: Mapping[str, Hook], complain: Callable[[str], object]) -> None:
        self._functions = functions
        self._complain = complain

    def __contains__(self, name: str) -> bool:
        return name in self._functions

    def call(self, name: str, *arguments: object) -> None:
        """Calls a hook if there is one."""
        hook = self._functions.get(name)
        if hook is not None:
            try:
                hook(*arguments)
            except Exception as exc:
                self._complain(f"The hook {name} raised {type(exc).__name__}: {exc}")

    def call_first(self, name: str, *arguments: object) -> None:
        """The same before anything serves, when an error of a hook's is one to stop at.

        :raises ConfigError: it raised.
        """
        hook = self._functions.get(name)
        if hook is not None:
            try:
                hook(*arguments)
            except Exception as exc:
                raise ConfigError(f"The hook {name} raised {type(exc).__name__}: {exc}") from exc
