"""The Config of a program that embeds a server: settings, and what programs ask ``uvicorn.Config`` to do besides.

Making one does nothing, as everywhere in devserver. What uvicorn does when a Config is made (reading env files, setting
up logging) happens in the methods below, or when the :class:`devserver.Server` is made. A setting never changes; the
results of :meth:`Config.load` are attributes that a program may replace before the server starts.
"""

from __future__ import annotations

import os
import sys
import warnings
from dataclasses import FrozenInstanceError
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal, Self

from devserver.config import environment, settings
from devserver.config.sources import complete
from devserver.errors import ConfigError

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Callable
    from ssl import SSLContext

    from devserver.config.sources import Resolved
    from devserver.config.target import Target

_NAMES = frozenset(known.name for known in settings.fields())


class _Loaded:
    """A result of :meth:`Config.load`: missing before it, and free to be replaced after it."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, config: Config | None, owner: type | None = None) -> Any:
        if config is None:
            return self
        try:
            return config.__dict__["_results"].__dict__[self._name]
        except KeyError:
            raise AttributeError(f"{self._name} is there once load() has been called") from None

    def __set__(self, config: Config, value: Any) -> None:
        setattr(config.__dict__["_results"], self._name, value)


class Config(settings.Config):
    """Every setting of a server; frozen, and checked when it is made.

    Takes what ``uvicorn.Config`` takes, in its order and with its defaults, and the options of our own by keyword.
    Make a changed copy with :func:`dataclasses.replace`. Hand it to :class:`devserver.Server`, or let
    :func:`devserver.run` make it.

    :param app: an ASGI app, its import string, or None to have it found.
    :raises ConfigError: a value is of another type, out of bounds, or contradicts another one.
    """

    loaded_app = _Loaded()
    """The app as an ASGI 3 callable."""
    http_protocol_class = _Loaded()
    """What makes the protocol of a connection: called with the state that connections share, not as uvicorn calls its
    classes."""
    ws_protocol_class = _Loaded()
    """The class of WebSocket connections, or None with ``ws="none"``."""
    lifespan_class = _Loaded()
    """Called with the Config; :meth:`devserver.Server.startup` takes the instance that ``server.lifespan`` holds."""
    ssl = _Loaded()
    """The TLS context, or None for plain HTTP."""

    def __post_init__(self) -> None:
        super().__post_init__()
        # Shared with the copies that changed() makes: loading any of them loads all.
        self.__dict__.setdefault("_results", SimpleNamespace())

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _NAMES:
            raise FrozenInstanceError(
                f"{name} cannot be set, because a Config never changes. "
                f"Make another one with dataclasses.replace(config, {name}=...)."
            )
        object.__setattr__(self, name, value)

    def __copy__(self) -> Self:
        made = object.__new__(type(self))
        made.__dict__.update(self.__dict__)
        return made

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_results": SimpleNamespace()}

    @classmethod
    def of(cls, config: settings.Config) -> Config:
        """Returns ``config``, or the same settings with the methods of this class."""
        if isinstance(config, cls):
            return config
        made = object.__new__(cls)
        made.__dict__.update(config.__dict__, _results=SimpleNamespace())
        return made

    @property
    def loaded(self) -> bool:
        """Whether :meth:`load` has been called, by the program or by a server."""
        return "loaded_app" in self.__dict__["_results"].__dict__

    @property
    def asgi_version(self) -> Literal["2.0", "3.0"]:
        """The version of ASGI that ``interface`` names; other interfaces are served through version 3.0."""
        return "2.0" if self.interface == "asgi2" else "3.0"

    @property
    def use_subprocess(self) -> bool:
        """Whether :func:`devserver.run` serves from other processes than its own."""
        return self.reload or (self.workers or 1) > 1

    @property
    def encoded_headers(self) -> list[tuple[bytes, bytes]]:
        """The header lines that every response gets, save ``Date``: names in lower case, as ASGI has them."""
        own = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in self.headers or ()]
        named = any(name == b"server" for name, _ in own)
        return own if named or not self.server_header else [(b"server", b"devserver"), *own]

    def completed(self) -> Resolved:
        """Reads what uvicorn reads when a Config is made: env files, ``FORWARDED_ALLOW_IPS`` and ``WEB_CONCURRENCY``.

        The variables of env files are set, and ``chdir`` is entered; both once, however often this is called.

        :raises ConfigError: an env file or a variable is wrong.
        """
        results = self.__dict__["_results"].__dict__
        if "resolved" not in results:
            results["resolved"] = complete_config(self)
        resolved: Resolved = results["resolved"]
        return resolved

    def load(self) -> None:
        """Imports the app, makes the TLS context and finds the classes that serve; nothing when that was done.

        A server does it by itself. Programs that drive :meth:`devserver.Server.startup` call it before, or to replace
        ``loaded_app``.

        :raises DevserverError: the app does not load, or a setting names what is not there.
        """
        if not self.loaded:
            from devserver.server.tls import ssl_context

            self.completed()
            self.load_with(ssl_context(self))

    def load_with(self, context: SSLContext | None) -> None:
        """Does what :meth:`load` does with a TLS context that is there already, or None for plain HTTP.

        :raises DevserverError: see :meth:`load`.
        """
        from devserver.protocol.negotiate import load_class
        from devserver.server.server import connection_class
        from devserver.supervisor.embedded_lifespan import EmbeddedLifespan

        config = self.completed().config
        ws = "devserver.protocol.websocket.connection:WebSocketConnection" if config.ws == "auto" else config.ws
        self.http_protocol_class = connection_class(config.http)
        self.ws_protocol_class = None if ws == "none" else load_class(ws)
        self.lifespan_class = EmbeddedLifespan
        self.ssl = context
        self.loaded_app = self.load_app()

    def load_app(self) -> Any:
        """Imports the app, or makes it when ``factory`` says so, and returns it as an ASGI 3 callable.

        :raises AppLoadError: it cannot be found, imported or made.
        """
        from devserver.app.interface import WsgiOptions
        from devserver.app.load import load_app
        from devserver.config.env_layers import home

        config = self.completed().config
        put_in = home(config.mode, config.env_file)
        return load_app(self.target, interface=config.interface, wsgi=WsgiOptions.of(config), put_in=put_in)

    @property
    def target(self) -> Target:
        """What :meth:`load_app` loads.

        :raises AppLoadError: no app was given, and none is found.
        """
        from devserver.server.server import target_of

        return target_of(self.completed().config)

    def get_loop_factory(self) -> Callable[[], asyncio.AbstractEventLoop]:
        """Returns the function that makes the event loop which ``loop`` names.

        :raises ConfigError: there is no such loop.
        """
        from devserver.server.loop import loop_factory

        return loop_factory(self.loop)

    def setup_event_loop(self) -> None:
        """Does nothing but warn: there is no event loop policy to set up, as in uvicorn since 0.36."""
        warnings.warn(
            "Config.setup_event_loop() does nothing: Server.run() makes an event loop by itself. "
            "To make one of the same kind, give Config.get_loop_factory() to asyncio.Runner.",
            stacklevel=2,
        )

    def configure_logging(self) -> None:
        """Sets up logging as ``log_config``, ``log_level`` and the other settings say; making a Server does it, too.

        :raises ConfigError: the log config cannot be used.
        """
        from devserver.observe.logging import configure

        configure(self)

    def bind_socket(self) -> socket.socket:
        """Binds the address of the settings and returns the socket, for ``Server.run(sockets=[...])``.

        It does not listen yet. A host with several addresses gets its first IPv4 address, as with uvicorn.

        :raises BindError: the address is taken, forbidden or does not exist.
        :raises ConfigError: ``bind`` names several addresses.
        """
        import socket

        from devserver.events import Emitter
        from devserver.server import listeners

        config = self.completed().config
        if len(config.bind) > 1:
            raise ConfigError(
                "bind_socket() returns one socket, and bind names several addresses.",
                hint="Leave the binding to Server.run().",
            )
        bound = listeners.bind(config, environ=os.environ, emitter=Emitter())
        chosen = next((listener for listener in bound if listener.socket.family == socket.AF_INET), bound[0])
        listeners.close([listener for listener in bound if listener is not chosen])
        chosen.socket.set_inheritable(True)
        return chosen.socket


def complete_config(config: settings.Config) -> Resolved:
    """Reads what uvicorn would read by itself, and lets the app be imported as the program itself would import it."""
    resolved = complete(config, environ=os.environ, directory=Path.cwd())
    environment.add(resolved.environment)
    if config.chdir:
        os.chdir(resolved.directory)
    if isinstance(config.app, str) and not config.app_dir and sys.path:
        # A script's own folder comes before the working directory, and uvicorn looks into the latter only when it is
        # on the path.
        resolved = resolved.with_config(resolved.config.changed(app_dir=sys.path[0]))
    return resolved
