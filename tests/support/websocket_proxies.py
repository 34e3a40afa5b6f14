"""nginx and haproxy as HTTP proxies that let a WebSocket through.

Each is one process, so that it ends with the test whatever happens.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.clients import tool
from tests.support.ports import free_port, listens
from tests.support.proxies import NGINX
from tests.support.server import spawned, until

# Connection and Upgrade mean the hop that they came over (RFC 9110 §7.6.1): nginx has to be told to write them anew.
_BLOCK = """
    map $http_upgrade $connection_upgrade {{
        default upgrade;
        "" "";
    }}
    server {{
        listen 127.0.0.1:{front};
        location / {{
            proxy_pass http://127.0.0.1:{port};
            proxy_http_version 1.1;
            proxy_set_header Connection $connection_upgrade;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Host $http_host;
        }}
    }}
"""

_HAPROXY = """
defaults
    mode http
    timeout connect 10s
    timeout client 60s
    timeout server 60s
    timeout tunnel 60s
listen front
    bind 127.0.0.1:{front}
    server app 127.0.0.1:{port}
"""


@contextmanager
def nginx(folder: Path, port: int) -> Iterator[int]:
    """nginx in front of a port of ours; gives the port to ask."""
    front = free_port()
    file = folder / "nginx.conf"
    file.write_text(NGINX.format(folder=folder, block=_BLOCK.format(front=front, port=port)))
    with _running([tool("nginx"), "-e", "stderr", "-p", str(folder), "-c", str(file)], folder, front):
        yield front


@contextmanager
def haproxy(folder: Path, port: int) -> Iterator[int]:
    """haproxy in HTTP mode in front of a port of ours; gives the port to ask."""
    front = free_port()
    file = folder / "haproxy.cfg"
    file.write_text(_HAPROXY.format(front=front, port=port))
    with _running([tool("haproxy"), "-db", "-f", str(file)], folder, front):
        yield front


@contextmanager
def _running(command: list[str], folder: Path, front: int) -> Iterator[None]:
    with spawned(command, folder) as proxy:
        until(lambda: listens(front) or proxy.process.poll() is not None)
        yield
        assert proxy.process.poll() is None, proxy.text
