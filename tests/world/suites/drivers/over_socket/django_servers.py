"""devserver in the shape of Django's own WSGI server, which is what it is compared with.

Django's LiveServerThread makes a server, sets its app, and calls ``serve_forever`` in its own thread; the same happens
for the test client's server. Django's development server is the reference: it is what the suite was written on.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterable
from typing import Any

from django.core.servers.basehttp import ThreadedWSGIServer
from django.db import connections
from django.test.testcases import QuietWSGIRequestHandler

__all__ = ["Devserver", "chosen", "start"]

START_S = 20.0
"""Timeout of a start, in seconds."""

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def chosen() -> str:
    """Returns the name of the server that this process tests: ``django`` or ``devserver``."""
    return os.environ["WORLD_SERVER"]


class Devserver:
    """devserver with the methods of ``socketserver`` that Django calls.

    :param address: host and port; 0 for any.
    :param handler: what Django's server handles requests with; not used.
    :param connections_override: database connections that the threads of requests share with the test.
    :param options: what only Django's server has.
    """

    def __init__(
        self,
        address: tuple[str, int],
        handler: object = None,
        *,
        connections_override: dict[str, Any] | None = None,
        **options: object,
    ) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((address[0] or "127.0.0.1", address[1]))
        # Django says that it is ready before it serves; clients wait in the kernel's queue.
        self._socket.listen()
        self.server_address: tuple[str, int] = self._socket.getsockname()
        self.connections_override = connections_override
        self._stopped = threading.Event()
        self._app: Wsgi | None = None
        self._server: Any = None

    def set_app(self, app: Wsgi) -> None:
        """Sets the WSGI app, before the server starts."""
        self._app = app

    def serve_forever(self) -> None:
        """Serves in this thread until :meth:`shutdown` is called in another."""
        import devserver

        config = devserver.Config(
            self._call,
            interface="wsgi",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=2,
        )
        self._server = devserver.Server(config)
        try:
            self._server.run(sockets=[self._socket])
        finally:
            self._stopped.set()

    def shutdown(self) -> None:
        """Stops, and waits for it."""
        if self._server is not None:
            self._server.should_exit = True
            self._stopped.wait(START_S)

    def server_close(self) -> None:
        """Closes the socket."""
        self._socket.close()

    def _call(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        assert self._app is not None
        for alias, connection in (self.connections_override or {}).items():
            connections[alias] = connection
        return self._app(environ, start_response)


def start(app: Wsgi) -> int:
    """Starts the chosen server for an app, for as long as the process lives, and returns its port."""
    server: Any
    if chosen() == "devserver":
        server = Devserver(("127.0.0.1", 0))
    else:
        server = ThreadedWSGIServer(("127.0.0.1", 0), QuietWSGIRequestHandler)
    server.set_app(app)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return int(server.server_address[1])
