"""A server inside of somebody else's program: what ``devserver.run`` and ``devserver.Server`` are made of.

Where a command has a UI and an exit code, a program has logging and exceptions. What ``uvicorn.Config`` and
``uvicorn.Server`` do when they are made (setting up logging, reading env files) is done here when the server is made,
because a Config does nothing.

Programs drive a server in two ways: they call ``run`` or ``serve``, or they call ``startup``, ``main_loop`` and
``shutdown`` themselves, on their own event loop. Many subclass it, and override one of these or ``handle_exit``.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import TYPE_CHECKING

from devserver.app.load import load_app
from devserver.config import settings
from devserver.errors import AppError, DevserverError
from devserver.events import AppFailed, Emitter, Notice
from devserver.observe.logging import LogObserver, configure
from devserver.server import listeners as listening
from devserver.server import server
from devserver.supervisor.embedded_config import Config, complete_config
from devserver.supervisor.embedded_lifespan import EmbeddedLifespan
from devserver.supervisor.observers import Observers

if TYPE_CHECKING:
    from devserver.app.lifespan import Lifespan
    from devserver.app.types import ASGIApp
    from devserver.config.discovery import FirstParty
    from devserver.config.sources import Resolved

__all__ = ["Config", "Server", "called_by_an_import", "complete_config", "report"]


class Server(server.Server):
    """Serves the app of a Config; ``uvicorn.Server`` under another name.

    Made for ``Server(config).run()``, and for ``await Server(config).serve()`` inside a running loop. Poll ``started``,
    set ``should_exit`` from any thread, subclass it.

    :param config: the settings; logging is set up, and env files are read, when the server is made.
    :param resolved: what :func:`complete_config` has made of it, when that was done already.
    :raises ConfigError: a file that the settings name cannot be used.
    """

    config: Config

    def __init__(self, config: settings.Config, *, resolved: Resolved | None = None) -> None:
        if resolved is None:
            resolved = Config.of(config).completed()
        own = Config.of(resolved.config)
        super().__init__(own, emitter=Emitter())
        self._serving = False
        self._has_ended = False
        self._observers = Observers(own, self.emitter, told_by="nobody")
        if type(own).configure_logging is not Config.configure_logging:
            # A subclass has more to say about logging.
            own.configure_logging()
        for notice in resolved.notices:
            self.emitter.emit(notice)

    @property
    def limit_max_requests(self) -> int | None:
        """After how many requests it stops: ``limit_max_requests`` and a share of the jitter, once it has started."""
        state = self.server_state
        if self.config.limit_max_requests is None or state is None:
            return self.config.limit_max_requests
        return state.requests_max

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """See :meth:`devserver.server.server.Server.run`. In a module that a server imports for its app, nothing."""
        if called_by_an_import():
            return
        self.prepare(sockets)
        with asyncio.Runner(loop_factory=self.config.get_loop_factory()) as runner:
            runner.run(self.serve(sockets))

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """See :meth:`devserver.server.server.Server.serve`."""
        self._serving = True
        try:
            await super().serve(sockets)
        finally:
            self._serving = False
            self._end()

    def prepare(self, sockets: Sequence[socket.socket] | None = None) -> None:
        """See :meth:`devserver.server.server.Server.prepare`; takes what :meth:`devserver.Config.load` has made.

        A server that has ended begins again, with the app that is loaded.
        """
        if self._has_ended:
            self._begin_again()
        if self.config.loaded:
            self._ssl = self.config.ssl
        super().prepare(sockets)

    def _begin_again(self) -> None:
        self._has_ended = self.started = False
        self.servers, self.lifespan, self.server_state = [], None, None
        self._listeners = self._loaded_app = None
        self.emitter = Emitter()
        self._observers = Observers(self.config, self.emitter, told_by="nobody")

    def _load(self) -> ASGIApp:
        if not self.config.loaded:
            self.config.load_with(self._ssl)
        self.target = self.config.target
        app: ASGIApp = self.config.loaded_app
        return app

    def _connection_class(self) -> Callable[..., asyncio.BaseProtocol]:
        chosen: Callable[..., asyncio.BaseProtocol] = self.config.http_protocol_class
        return chosen

    def _make_lifespan(self, app: ASGIApp, first_party: FirstParty) -> Lifespan:  # noqa: ARG002 - the config has it
        given = self.lifespan
        lifespan = given if isinstance(given, EmbeddedLifespan) else EmbeddedLifespan(self.config)
        lifespan.adopt(self.emitter, first_party)
        return lifespan

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """See :meth:`devserver.server.server.Server.startup`."""
        try:
            await super().startup(sockets)
        finally:
            if not self.started and not self._serving:
                self._end()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """See :meth:`devserver.server.server.Server.shutdown`."""
        await super().shutdown(sockets)
        if not self._serving:
            self._end()

    def _end(self) -> None:
        """Gives up what is left when the server has stopped."""
        self._has_ended = True
        listening.close(self._listeners or ())
        self._observers.close()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The signal handler: the first signal stops gracefully, a second SIGINT at once, as in uvicorn."""
        if self.should_exit and sig != signal.SIGINT:
            # Whoever has set should_exit may still be sent SIGTERM, and wants no request cut off for that.
            self._captured_signals.append(sig)
        else:
            super().handle_exit(sig, frame)


def report(error: DevserverError) -> None:
    """Logs an error of a program that has no UI."""
    emitter = Emitter()
    config = settings.Config()
    configure(config)
    LogObserver(config).attach(emitter)
    if isinstance(error, AppError):
        emitter.emit(AppFailed(error.message, error.hint, error.failure))
    else:
        emitter.emit(Notice("error", f"{error.message} {error.hint}".rstrip()))


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
