"""The composition root: from a checked Config to sockets, observers and one supervisor or server.

Three faces. :func:`serve` is what the commands call: it knows a UI is listening, returns an exit code and raises
errors for the command to show. :func:`run` and :class:`Server` are what programs call: they have the shape and the
behaviour of their namesakes in uvicorn, with logging instead of a UI.
"""

from __future__ import annotations

import dataclasses
import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from devserver.config.discovery import find_target
from devserver.config.settings import Config
from devserver.config.sources import complete
from devserver.errors import EXIT_APP, AppError, AppLoadError, DevserverError
from devserver.events import AppFailed, Emitter, Notice
from devserver.server import listeners as listening
from devserver.server import server

if TYPE_CHECKING:
    from devserver.config.sources import Resolved


def serve(
    config: Config,
    *,
    emitter: Emitter,
    directory: Path,
    port_is_default: bool = False,
    added: Mapping[str, str] | None = None,
) -> int:
    """Serves as a command does, until it is stopped.

    :param emitter: what a UI listens to.
    :param directory: the working directory, in which we are already.
    :param port_is_default: nobody asked for the port, so that another one may be taken instead.
    :param added: the variables that env files have put into the environment.
    :returns: the exit code. Call :func:`devserver.supervisor.single.end_threads` with it when the UI is closed.
    :raises DevserverError: an address cannot be bound, or the app does not load or start.
    """
    target = find_target(config, directory)
    listeners = listening.bind(
        config, environ=os.environ, emitter=emitter, directory=directory, port_is_default=port_is_default
    )
    try:
        # Imported here: one command needs one of them, and both would be seen in how long the first answer takes.
        if config.should_reload:
            from devserver.supervisor.reload import ReloadSupervisor

            return ReloadSupervisor(config, target, listeners, emitter, added=added).run()
        from devserver.supervisor.single import run_single

        return run_single(config, target, listeners, emitter)
    finally:
        listening.close(listeners)


def run(app: Any = None, **options: Any) -> None:
    """Serves ``app`` until it is stopped; ``uvicorn.run`` under another name.

    :param app: an ASGI app, its import string, or None to have it found.
    :param options: the fields of :class:`devserver.Config`.
    :raises SystemExit: with code 3 when the app does not load or start, as uvicorn does, and with 2 when a setting is
        wrong or an address is taken. The one place of the library that ends the process: a script that calls this as
        its last line wants its exit code to tell.
    """
    if _called_by_an_import():
        return
    started = True
    try:
        config = Config(app, **options)
        if config.reload:
            if config.app is not None and not isinstance(config.app, str):
                config = dataclasses.replace(config, app=_named_by_its_script(config.app, sys._getframe(1)))  # noqa: SLF001
            code = _run_reloading(config)
            if code:
                sys.exit(code)
        else:
            own = Server(config)
            started = False
            try:
                own.run()
            finally:
                started = own.started
    except KeyboardInterrupt:
        pass
    except DevserverError as exc:
        report(exc)
        sys.exit(exc.exit_code)
    if not started:
        sys.exit(EXIT_APP)


class Server(server.Server):
    """Serves the app of a Config; ``uvicorn.Server`` under another name.

    Made for ``Server(config).run()``, and for ``await Server(config).serve()`` inside a running loop. Poll ``started``,
    set ``should_exit`` from any thread, subclass it.

    :param config: the settings; logging is set up, and env files are read, when the server is made.
    :raises ConfigError: a file that the settings name cannot be used.
    """

    def __init__(self, config: Config) -> None:
        from devserver.supervisor.observers import Observers

        resolved = _complete(config)
        super().__init__(resolved.config, emitter=Emitter())
        self._observers = Observers(self.config, self.emitter, with_ui=False)
        for notice in resolved.notices:
            self.emitter.emit(notice)

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """See :meth:`devserver.server.server.Server.run`. In a module that a server imports for its app, nothing."""
        if not _called_by_an_import():
            super().run(sockets)

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """See :meth:`devserver.server.server.Server.serve`."""
        try:
            await super().serve(sockets)
        finally:
            self._observers.close()


def report(error: DevserverError) -> None:
    """Logs an error of a program that has no UI."""
    from devserver.observe.logging import LogObserver, configure

    emitter = Emitter()
    config = Config()
    configure(config)
    LogObserver(config).attach(emitter)
    if isinstance(error, AppError):
        emitter.emit(AppFailed(error.message, error.hint, error.failure))
    else:
        emitter.emit(Notice("error", f"{error.message} {error.hint}".rstrip()))


def _run_reloading(config: Config) -> int:
    from devserver.supervisor.observers import Observers
    from devserver.supervisor.reload import ReloadSupervisor

    resolved = _complete(config)
    config, emitter = resolved.config, Emitter()
    with Observers(config, emitter, with_ui=False):
        for notice in resolved.notices:
            emitter.emit(notice)
        target = find_target(config, resolved.directory)
        listeners = listening.bind(config, environ=os.environ, emitter=emitter, directory=resolved.directory)
        try:
            return ReloadSupervisor(config, target, listeners, emitter, added=resolved.environment).run()
        finally:
            listening.close(listeners)


def _complete(config: Config) -> Resolved:
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


def _named_by_its_script(app: Any, frame: FrameType) -> str:
    """The import string of an app object: the module that called :func:`run` holds it under a global name.

    A script is named by its file, which a worker imports under the file's name and not as ``__main__``; what stands
    under ``if __name__ == "__main__"`` is not run again there.

    :raises AppLoadError: it does not.
    """
    held = frame.f_globals
    name = next((name for name, value in held.items() if value is app and name.isidentifier()), None)
    spec, file = held.get("__spec__"), held.get("__file__")
    place = spec.name if spec is not None else file
    if name is None or not place:
        where = f"no global variable of {file} holds it" if file else "it was not made in a file"
        raise AppLoadError(
            f"reload needs an app that can be imported again, and {where}.",
            hint='Pass an import string such as "main:app" instead of the object.',
        )
    return f"{place}:{name}"


def _called_by_an_import() -> bool:
    """Whether a server is importing the module that calls us, to find its app there.

    A script without ``if __name__ == "__main__"`` calls ``run`` while a worker imports it; serving there would hide the
    app from the worker, and start a server in every server.
    """
    from devserver.app.load import load_app

    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001
    while frame is not None:
        if frame.f_code is load_app.__code__:
            return True
        frame = frame.f_back
    return False
