"""Starts uvicorn or devserver in a thread of this process, through its public API.

A test's app is often a closure, so the server must live where the app does. Both servers get the same socket, the same
settings and the same app; this file is the only one that knows their names.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

__all__ = ["SERVERS", "RunningServer", "chosen"]

START_S = 20.0
"""Timeout of a start, in seconds: a busy machine needs a second for some apps."""

STOP_S = 10.0
"""Timeout of a stop, in seconds. Draining is bounded by GRACEFUL_S, lifespan shutdown by the test."""

GRACEFUL_S = 2
"""Timeout of open requests when a server stops, in seconds: a test that leaves one open has finished with it."""


class Server(Protocol):
    """The part of ``uvicorn.Server`` that both servers have."""

    started: bool
    should_exit: bool

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serves until ``should_exit`` is set."""

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Does the same on a loop that runs already."""


def _uvicorn(app: Any, lifespan: str, root_path: str) -> Server:
    import uvicorn

    return uvicorn.Server(uvicorn.Config(app, **_settings(lifespan, root_path)))


def _devserver(app: Any, lifespan: str, root_path: str) -> Server:
    import devserver

    server: Server = devserver.Server(devserver.Config(app, **_settings(lifespan, root_path)))
    return server


def _settings(lifespan: str, root_path: str) -> dict[str, Any]:
    """Returns the settings of both servers. Tests compare whole header lists, so neither server adds its own."""
    return {
        "lifespan": lifespan,
        "root_path": root_path,
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "date_header": False,
        "timeout_graceful_shutdown": GRACEFUL_S,
    }


SERVERS: dict[str, Callable[[Any, str, str], Server]] = {"uvicorn": _uvicorn, "devserver": _devserver}
"""The servers that are compared, by name; the second must do what the first does."""


def chosen() -> str:
    """Returns the name of the server that this process tests.

    :raises KeyError: the variable is not set; the runner sets it.
    """
    return os.environ["WORLD_SERVER"]


class RunningServer:
    """A server on a free loopback port, in a thread of its own.

    :param app: the ASGI app.
    :param lifespan: ``on`` or ``off``.
    :param root_path: the prefix that a proxy has taken away.
    """

    def __init__(self, app: Any, *, lifespan: str, root_path: str = "") -> None:
        self.failure: BaseException | None = None
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._server = SERVERS[chosen()](app, lifespan, root_path)
        self._thread = threading.Thread(target=self._run, name=f"{chosen()}-{self.port}", daemon=True)

    def start(self) -> bool:
        """Waits until the server accepts connections, and returns whether it does.

        :raises TimeoutError: it neither started nor gave up.
        """
        self._thread.start()
        deadline = time.monotonic() + START_S
        while not self._server.started:
            if not self._thread.is_alive():
                return self._server.started
            if time.monotonic() > deadline:
                self._server.should_exit = True
                raise TimeoutError(f"{chosen()} did not start within {START_S:.0f} s")
            time.sleep(0.001)
        return True

    def ask_to_stop(self) -> None:
        """Tells the server to stop, and does not wait for it."""
        self._server.should_exit = True

    def stop(self) -> None:
        """Tells the server to stop, and waits for it.

        :raises TimeoutError: it did not stop.
        """
        self.ask_to_stop()
        self._thread.join(STOP_S)
        if self._thread.is_alive():
            raise TimeoutError(f"{chosen()} did not stop within {STOP_S:.0f} s")

    async def start_here(self) -> None:
        """Starts the server on the running loop instead of in a thread, for an app that shares events with its test.

        :raises TimeoutError: it does not start.
        """
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        async with asyncio.timeout(START_S):
            # Both servers have a flag for this, and nothing to wait for.
            while not self._server.started:  # noqa: ASYNC110
                await asyncio.sleep(0.001)

    async def stop_here(self) -> None:
        """Stops the server that :meth:`start_here` has started.

        :raises TimeoutError: it does not stop.
        """
        self.ask_to_stop()
        async with asyncio.timeout(STOP_S):
            await self._task
        self._socket.close()

    @property
    def is_running(self) -> bool:
        """Whether its thread is alive."""
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._socket])
        except BaseException as exc:
            self.failure = exc
        finally:
            with contextlib.suppress(OSError):
                self._socket.close()
