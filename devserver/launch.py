"""The composition root: from a checked Config to sockets, observers and one supervisor or server.

Three faces. :func:`serve` is what the commands call: it knows a UI is listening, returns an exit code and raises
errors for the command to show. :func:`run` and :class:`Server` are what programs call: they have the shape and the
behaviour of their namesakes in uvicorn, with logging instead of a UI.

What only one of them needs is imported when it is called: the supervisor of a reloading ``dev run`` runs no event loop,
and should not load one before the first worker is on its way.
"""

from __future__ import annotations

import dataclasses
import gc
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple

from devserver.config.discovery import find_target
from devserver.config.settings import Config
from devserver.errors import EXIT_APP, AppLoadError, DevserverError
from devserver.events import Emitter, Notice
from devserver.server import listeners as listening
from devserver.server import open_files

if TYPE_CHECKING:
    import ssl

    from devserver.config.python_file import Hook
    from devserver.config.sources import Resolved
    from devserver.supervisor.early import Early
    from devserver.supervisor.embedded import Server
    from devserver.supervisor.prefork import StartAgain
    from devserver.supervisor.terminal import Screen

__all__ = ["Server", "end_threads", "run", "serve"]


def serve(
    config: Config,
    *,
    emitter: Emitter,
    directory: Path,
    port_is_default: bool = False,
    added: Mapping[str, str] | None = None,
    early: Early | None = None,
    screen: Screen | None = None,
) -> int:
    """Serves as a command does, until it is stopped. Garbage is collected from here on, if it was not.

    :param emitter: what a UI listens to.
    :param directory: the working directory, in which we are already.
    :param port_is_default: nobody asked for the port, so that another one may be taken instead.
    :param added: the variables that env files have put into the environment.
    :param early: an interpreter that was started for reloading before the settings were known.
    :param screen: shows what a reloaded app writes, when all of it goes to a terminal.
    :returns: the exit code. Call :func:`end_threads` with it when the UI is closed.
    :raises DevserverError: an address cannot be bound, or the app does not load or start.
    """
    open_files.raise_limit()
    target = find_target(config, directory)
    if config.should_reload:
        _check_logging(config)
        _check_tls(config)
    listeners = listening.bind(
        config, environ=os.environ, emitter=emitter, directory=directory, port_is_default=port_is_default
    )
    try:
        if config.should_reload:
            from devserver.supervisor.reload import ReloadSupervisor

            gc.enable()
            return ReloadSupervisor(config, target, listeners, emitter, added=added, early=early, screen=screen).run()
        from devserver.supervisor.single import run_single

        if early is not None:
            early.close()
        gc.enable()
        return run_single(config, target, listeners, emitter)
    finally:
        listening.close(listeners)


class Reread(NamedTuple):
    """What is read again for SIGHUP.

    :ivar environment: the workers' variables.
    :ivar hooks: functions of a config file.
    :ivar directory: the working folder, in which we are.
    """

    config: Config
    environment: Mapping[str, str]
    hooks: Mapping[str, Hook]
    directory: Path


def serve_workers(
    config: Config,
    *,
    directory: Path,
    notices: Sequence[Notice] = (),
    environment: Mapping[str, str] | None = None,
    hooks: Mapping[str, Hook] | None = None,
    reread: Callable[[], Reread] | None = None,
    start_again: StartAgain | None = None,
) -> int:
    """Serves with several processes, as ``dev prod`` does, until it is stopped; tells of itself by logging alone.

    :param directory: the working directory, in which we are already.
    :param notices: what was noticed while the settings were read.
    :param environment: the workers' variables; ours when left out.
    :param hooks: functions of a config file.
    :param reread: reads everything again, for SIGHUP.
    :param start_again: starts the program again, for SIGUSR2.
    :returns: the exit code.
    :raises DevserverError: an address, a user or a file cannot be had.
    """
    from devserver.supervisor import inheritance
    from devserver.supervisor.observers import Observers
    from devserver.supervisor.prefork import PreforkSupervisor, Settings

    def settings(read: Reread) -> Settings:
        target = find_target(read.config, read.directory)
        return Settings(read.config, target, read.environment, _tls(read.config), read.hooks, read.directory)

    if config.umask is not None:
        # Before any file is made.
        os.umask(config.umask)
    open_files.raise_limit()
    emitter = Emitter()
    first = settings(Reread(config, dict(os.environ) if environment is None else environment, hooks or {}, directory))
    with Observers(config, emitter, told_by="nobody") as observers:
        for notice in notices:
            emitter.emit(notice)
        inherited = inheritance.take(os.environ)
        if inherited is not None:
            listeners = [*inherited.listeners]
        else:
            listeners = listening.bind(config, environ=os.environ, emitter=emitter, directory=directory)
        try:
            supervisor = PreforkSupervisor(
                first,
                listeners,
                emitter,
                reread=None if reread is None else lambda: settings(reread()),
                start_again=start_again,
                inherited=inherited,
                renew=_tls,
                reopen=observers.reopen,
            )
            return supervisor.run()
        finally:
            listening.close(listeners)


def end_threads(code: int) -> None:
    """Returns when no thread holds the interpreter any more; if one does not end, ends the process under it.

    :param code: the exit code to end with.
    """
    from devserver.supervisor import ending

    ending.end_threads(code)


def run(app: Any = None, **options: Any) -> None:
    """Serves ``app`` until it is stopped; ``uvicorn.run`` under another name.

    :param app: an ASGI app, its import string, or None to have it found.
    :param options: the fields of :class:`devserver.Config`.
    :raises SystemExit: with code 3 when the app does not load or start, as uvicorn does, and with 2 when a setting is
        wrong or an address is taken. The one place of the library that ends the process: a script that calls this as
        its last line wants its exit code to tell.
    """
    from devserver.supervisor.embedded import Server, called_by_an_import, complete_config, report

    if called_by_an_import():
        return
    started = True
    try:
        config = Config(app, **options)
        resolved = complete_config(config)
        config = resolved.config
        if config.reload or (config.workers or 1) > 1:
            if config.app is not None and not isinstance(config.app, str):
                config = dataclasses.replace(config, app=_named_by_its_script(config.app, sys._getframe(1)))  # noqa: SLF001
                resolved = dataclasses.replace(resolved, config=config)
            code = _run_reloading(resolved) if config.reload else _run_workers(resolved)
            if code:
                sys.exit(code)
        else:
            own = Server(config, resolved=resolved)
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


def _run_workers(resolved: Resolved) -> int:
    return serve_workers(resolved.config, directory=resolved.directory, notices=resolved.notices)


def _run_reloading(resolved: Resolved) -> int:
    from devserver.supervisor.observers import Observers
    from devserver.supervisor.reload import ReloadSupervisor
    from devserver.supervisor.terminal import StandardOutput

    config, emitter = resolved.config, Emitter()
    with Observers(config, emitter, told_by="nobody"):
        for notice in resolved.notices:
            emitter.emit(notice)
        target = find_target(config, resolved.directory)
        _check_tls(config)
        listeners = listening.bind(config, environ=os.environ, emitter=emitter, directory=resolved.directory)
        try:
            supervisor = ReloadSupervisor(
                config,
                target,
                listeners,
                emitter,
                added=resolved.environment,
                told_by="supervisor",
                screen=StandardOutput(),
            )
            return supervisor.run()
        finally:
            listening.close(listeners)


def _check_logging(config: Config) -> None:
    """Looks at what can be told of logging without importing the user's code, which handlers may come from.

    :raises ConfigError: a file cannot be read, parsed or written to, or a format is malformed.
    """
    from devserver.observe.access_log import AccessLog
    from devserver.observe.log_config import read

    # An open file can be read once, and goes to no other process anyway.
    if isinstance(config.log_config, (str, os.PathLike)):
        read(config.log_config)
    AccessLog(config).close(0)


def _tls(config: Config) -> ssl.SSLContext | None:
    """The TLS context to serve with, or None for plain HTTP.

    :raises ConfigError: a file cannot be used.
    """
    if not config.is_ssl:
        return None
    from devserver.server.tls import ssl_context

    return ssl_context(config)


def _check_tls(config: Config) -> None:
    """Looks at certificates before any worker does: a save changes nothing about them, so the supervisor must end.

    :raises ConfigError: one cannot be used.
    """
    if config.is_ssl and config.ssl_context_factory is None:
        from devserver.server.tls import ssl_context

        ssl_context(config)


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
            f"Reload and workers need an app that can be imported again, and {where}.",
            hint='Pass an import string such as "main:app" instead of the object.',
        )
    return f"{place}:{name}"


def __getattr__(name: str) -> Any:
    if name == "Server":
        from devserver.supervisor.embedded import Server

        return Server
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
