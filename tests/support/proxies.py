"""Real proxies in front of a server: nginx as our documentation sets it up, and haproxy with the PROXY protocol.

Each is one process, so that it ends with the test whatever happens.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.clients import CHECKOUT, tool
from tests.support.ports import free_port, listens
from tests.support.server import spawned, until

_BLOCK = re.compile(r"```nginx\n(.*?)```", re.DOTALL)

NGINX = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {block}
}}
"""
"""A configuration, but for what stands in its ``http`` block."""

_HAPROXY = """
defaults
    mode tcp
    timeout connect 10s
    timeout client 60s
    timeout server 60s
listen front
    bind fd@{fd}
    server app 127.0.0.1:{port} {how}
"""


@contextmanager
def nginx(folder: Path, upstream: str, *, scheme: str = "$scheme") -> Iterator[int]:
    """nginx with the configuration of docs/proxy.md in front of ``upstream``; gives the port to ask.

    :param upstream: ``127.0.0.1:PORT`` or ``unix:PATH``.
    :param scheme: what it tells us in X-Forwarded-Proto; its own scheme unless said otherwise.
    """
    found = _BLOCK.search((CHECKOUT / "docs" / "proxy.md").read_text(encoding="utf-8"))
    assert found is not None, "docs/proxy.md shows no nginx configuration"
    port = free_port()
    block = _put(found[1], "server 127.0.0.1:8000;", f"server {upstream};")
    block = _put(block, "\nserver {\n", f"\nserver {{\n    listen 127.0.0.1:{port};\n")
    block = _put(block, "X-Forwarded-Proto $scheme;", f"X-Forwarded-Proto {scheme};")
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, block=block))
    command = [tool("nginx"), "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")]
    with spawned(command, folder) as proxy:
        until(lambda: listens(port) or proxy.process.poll() is not None)
        yield port
        assert proxy.process.poll() is None, proxy.text


@contextmanager
def haproxy(folder: Path, port: int, how: str) -> Iterator[int]:
    """haproxy in TCP mode in front of a port of ours; gives the port to ask.

    It inherits a socket that listens already, so nobody has to wait for it.

    :param how: the words behind the server's address, such as ``send-proxy-v2``.
    """
    with socket.create_server(("127.0.0.1", 0)) as front:
        fd = front.fileno()
        (folder / "haproxy.cfg").write_text(_HAPROXY.format(fd=fd, port=port, how=how))
        asked: int = front.getsockname()[1]
        command = [tool("haproxy"), "-db", "-f", str(folder / "haproxy.cfg")]
        with spawned(command, folder, pass_fds=(fd,)) as proxy:
            # Ours goes, so that a client is refused and does not wait when the proxy has ended.
            front.close()
            yield asked
            assert proxy.process.poll() is None, proxy.text


def _put(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1, f"{old!r} is not in the nginx configuration of docs/proxy.md"
    return text.replace(old, new)
