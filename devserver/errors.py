"""Every error that devserver raises on purpose, ordered by who must act.

    DevserverError
    ├── UsageError             the person at the command line, or the program that made the Config (exit code 2)
    │   ├── ConfigError            a value, a key or a file of settings
    │   └── BindError              an address that cannot be listened on
    ├── AppError               the author of the app (exit code 3)
    │   ├── AppLoadError           it cannot be found or imported
    │   └── AppStartupError        its lifespan startup failed or took too long
    └── AppContractError       the app broke a rule of ASGI while it answered (logged, answered with 500)
    OSError
    └── ClientDisconnected     the peer has gone; raised by ``send()`` as the ASGI specification asks

An error carries the sentence that people read, a hint and an exit code. It never prints: ``cli`` and ``ui`` do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from devserver.events import Failure

EXIT_OK = 0
EXIT_INTERNAL = 1
EXIT_USAGE = 2
EXIT_APP = 3


class DevserverError(Exception):
    """Base of the errors above.

    :param message: one sentence saying what is wrong and where.
    :param hint: one sentence saying what to do, or an empty string.
    """

    exit_code = EXIT_INTERNAL

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(DevserverError):
    """The command line, a settings file or an argument must be changed."""

    exit_code = EXIT_USAGE


class ConfigError(UsageError):
    """A setting is unknown, malformed, out of bounds or contradicts another one."""


class BindError(UsageError):
    """An address cannot be listened on: it is taken, forbidden or does not exist."""


class AppError(DevserverError):
    """The app must be changed.

    :param failure: the folded traceback when the app's own code raised, else None.
    """

    exit_code = EXIT_APP

    def __init__(self, message: str, *, hint: str = "", failure: Failure | None = None) -> None:
        super().__init__(message, hint=hint)
        self.failure = failure


class AppLoadError(AppError):
    """The app cannot be found, imported or built."""


class AppStartupError(AppError):
    """The app's lifespan startup failed, or did not end within ``--timeout-startup``."""


class AppContractError(DevserverError, RuntimeError):
    """The app sent a message that ASGI does not allow at that point, or one that HTTP cannot carry.

    It is a RuntimeError too, because uvicorn raises one and apps catch it, for example when they close twice.
    """


class ClientDisconnected(OSError):
    """The client closed the connection before the response was complete (ASGI spec 2.4, "Send")."""
