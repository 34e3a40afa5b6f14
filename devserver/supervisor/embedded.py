"""A server inside of somebody else's program: what ``devserver.run`` and ``devserver.Server`` are made of.

Where a command has a UI and an exit code, a program has logging and exceptions. What ``uvicorn.Config`` and
``uvicorn.Server`` do when they are made (setting up logging, reading env files) is done here when the server is made,
because a Config does nothing.
"""

from __future__ import annotations

import dataclasses
import os
import socket
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from devserver.app.load import load_app
from devserver.config.settings import Config
from devserver.config.sources import complete
from devserver.errors import AppError, DevserverError
from devserver.events import AppFailed, Emitter, Notice
from devserver.observe.logging import LogObserver, configure
from devserver.server import server
from devserver.supervisor.observers import Observers

if TYPE_CHECKING:
    from devserver.config.sources import Resolved


class Server(server.Server):
    """Serves the app of a Config; ``uvicorn.Server`` under another name.

    Made for ``Server(config).run()``, and for ``await Server(config).serve()`` inside a running loop. Poll ``started``,
    set ``should_exit`` from any thread, subclass it.

    :param config: the settings; logging is set up, and env files are read, when the server is made.
    :param resolved: what :func:`complete_config` has made of it, when that was done already.
    :raises ConfigError: a file that the settings name cannot be used.
    """

    def __init__(self, config: Config, *, resolved: Resolved | None = None) -> None:
        if resolved is None:
            resolved = complete_config(config)
        super().__init__(resolved.config, emitter=Emitter())
        self._observers = Observers(self.config, self.emitter, told_by="nobody")
        for notice in resolved.notices:
            self.emitter.emit(notice)

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """See :meth:`devserver.server.server.Server.run`. In a module that a server imports for its app, nothing."""
        if not called_by_an_import():
            super().run(sockets)

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """See :meth:`devserver.server.server.Server.serve`."""
        try:
            await super().serve(sockets)
        finally:
            self._observers.close()


def report(error: DevserverError) -> None:
    """Logs an error of a program that has no UI."""
    emitter = Emitter()
    config = Config()
    configure(config)
    LogObserver(config).attach(emitter)
    if isinstance(error, AppError):
        emitter.emit(AppFailed(error.message, error.hint, error.failure))
    else:
        emitter.emit(Notice("error", f"{error.message} {error.hint}".rstrip()))


def complete_config(config: Config) -> Resolved:
    """Reads what uvicorn would read by itself, and lets the app be imported as the program itself would import it."""
    resolved = complete(config, environ=os.environ, directory=Path.cwd())
    os.environ.update(resolved.environment)
    if config.chdir:
        os.chdir(resolved.directory)
    if isinstance(config.app, str) and not config.app_dir and sys.path:
        # A script's own folder comes before the working directory, and uvicorn looks into the latter only when it is
        # on the path.
        own = dataclasses.replace(resolved.config, app_dir=sys.path[0])
        resolved = dataclasses.replace(resolved, config=own)
    return resolved


def called_by_an_import() -> bool:
    """Whether a server is importing the module that calls us, to find its app there.

    A script without ``if __name__ == "__main__"`` calls ``run`` while a worker imports it; serving there would hide the
    app from the worker, and start a server in every server.
    """
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001
    while frame is not None:
        if frame.f_code is load_app.__code__:
            return True
        frame = frame.f_back
    return False
