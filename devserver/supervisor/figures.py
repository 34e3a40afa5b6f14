"""Where figures are shown and sent to (:mod:`devserver.supervisor.monitor`)."""

from __future__ import annotations

from devserver.config.settings import Config
from devserver.errors import ConfigError
from devserver.events import Emitter
from devserver.server import listeners as listening
from devserver.server.listeners import Listener, Tcp, Unix, parse_place

STATSD_PORT = 8125


def bind(text: str) -> list[Listener]:
    """The sockets that ``--metrics`` asks for.

    :raises DevserverError: they cannot be had.
    """
    return listening.bind(Config(bind=(metrics_place(text),)), environ={}, emitter=Emitter())


def metrics_place(text: str) -> str:
    """Where ``--metrics`` listens, as ``--bind`` writes it: this machine alone unless a host is named.

    :raises ConfigError: it is no address.
    """
    if text.isdigit():
        text = f":{text}"
    if text.startswith(":"):
        text = f"127.0.0.1{text}"
    place = parse_place(text, 0)
    if not isinstance(place, (Tcp, Unix)) or (isinstance(place, Tcp) and not place.port):
        raise ConfigError(f'--metrics: "{text}" names no port.', hint="Write PORT, HOST:PORT or unix:/path.")
    return text


def statsd_address(text: str) -> tuple[str, int]:
    """Where ``--statsd`` sends to.

    :raises ConfigError: it is no address.
    """
    place = parse_place(text, STATSD_PORT)
    if not isinstance(place, Tcp) or not place.host:
        raise ConfigError(f'--statsd: "{text}" is not HOST or HOST:PORT.')
    return place.host, place.port
