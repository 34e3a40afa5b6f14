"""The ``environ`` of a WSGI app, made from an ASGI scope (PEP 3333, "environ Variables"; RFC 3875 §4.1).

Pure but for ``sys.stderr``. Text in it is what PEP 3333 calls a native string: bytes decoded as Latin-1, so that the
path ``/%C3%A9`` is ``/Ã©`` there and frameworks decode it as they like.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from devserver import __version__
from devserver.app.wsgi_file import FileWrapper

if TYPE_CHECKING:
    from devserver.app.types import Scope

_NAMES_MAX = 1024
_NAME_LENGTH_MAX = 64
_names: dict[bytes, str] = {}
"""Field names that have been seen → keys; an empty key for fields that do not get in."""

_PLAIN = {b"content-type": "CONTENT_TYPE", b"content-length": "CONTENT_LENGTH"}
# A CGI program takes HTTP_PROXY for the proxy of its own requests, which is not the client's to say (CVE-2016-5385).
# The coding is undone when the app reads the body (RFC 9112 §7.1.3); the length is put in from what has arrived.
_LEFT_OUT = frozenset({b"proxy", b"transfer-encoding"})
_DEFAULT_PORTS = {"http": "80", "https": "443"}


def base_environ(*, multithread: bool, multiprocess: bool) -> dict[str, Any]:
    """What every request's environ begins with.

    :param multithread: whether another thread of this process may call the app at the same time.
    :param multiprocess: whether another process may.
    """
    return {
        "SERVER_SOFTWARE": f"devserver/{__version__}",
        "wsgi.version": (1, 0),
        "wsgi.multithread": multithread,
        "wsgi.multiprocess": multiprocess,
        "wsgi.run_once": False,
        "wsgi.file_wrapper": FileWrapper,
        # The end of the input is the end of the body, whether or not CONTENT_LENGTH says where that is.
        "wsgi.input_terminated": True,
    }


def make_environ(base: dict[str, Any], scope: Scope, body: Any, length: int | None) -> dict[str, Any]:
    """The environ of one request.

    :param base: of :func:`base_environ`.
    :param scope: an ASGI HTTP scope.
    :param body: ``wsgi.input``.
    :param length: bytes of the body when they have been counted; None leaves what the client has said.
    """
    environ = base.copy()
    scheme = scope["scheme"]
    script_name, path = _split_path(scope)
    query = scope["query_string"].decode("latin-1")
    environ["REQUEST_METHOD"] = scope["method"]
    environ["SCRIPT_NAME"] = script_name
    environ["PATH_INFO"] = path
    environ["QUERY_STRING"] = query
    raw_path = scope.get("raw_path")
    if raw_path is not None:
        # Not in PEP 3333; under these names other servers tell what the client has asked for, as it did.
        target = raw_path.decode("latin-1")
        environ["REQUEST_URI"] = environ["RAW_URI"] = f"{target}?{query}" if query else target
    environ["SERVER_PROTOCOL"] = "HTTP/1.1" if scope["http_version"] == "1.1" else f"HTTP/{scope['http_version']}"
    environ["wsgi.url_scheme"] = scheme
    environ["wsgi.input"] = body
    environ["wsgi.errors"] = sys.stderr
    if scheme == "https":
        environ["HTTPS"] = "on"
    client = scope.get("client")
    if client is not None:
        environ["REMOTE_ADDR"] = client[0]
        environ["REMOTE_PORT"] = str(client[1])
    else:
        # A Unix socket. CGI wants the variable to be there (RFC 3875 §4.1.8), and so do apps.
        environ["REMOTE_ADDR"] = ""
    for name, value in scope["headers"]:
        key = _names.get(name)
        if key is None:
            key = _remember(name)
        text = value.decode("latin-1")
        if key in environ and key:
            # RFC 9110 §5.3; cookies are joined with their own separator (RFC 6265 §5.4).
            text = f"{environ[key]}{'; ' if key == 'HTTP_COOKIE' else ','}{text}"
        if key:
            environ[key] = text
    if length is not None:
        environ["CONTENT_LENGTH"] = str(length)
    server = scope.get("server")
    if server is not None and server[1] is not None:
        environ["SERVER_NAME"] = server[0]
        environ["SERVER_PORT"] = str(server[1])
    else:
        # A Unix socket has neither, and PEP 3333 wants both: they are what the client believes that they are.
        host, port = _split_host(environ.get("HTTP_HOST", ""))
        environ["SERVER_NAME"] = host or "localhost"
        environ["SERVER_PORT"] = port or _DEFAULT_PORTS.get(scheme, "80")
    return environ


def _remember(name: bytes) -> str:
    """The key of a field name, kept for the next time, within bounds."""
    lowered = name.lower()
    # "-" and "_" become one character: a field with "_" could pass for one that a proxy checks.
    if b"_" in lowered or lowered in _LEFT_OUT:
        key = ""
    else:
        key = _PLAIN.get(lowered) or "HTTP_" + lowered.decode("latin-1").upper().replace("-", "_")
    if len(name) <= _NAME_LENGTH_MAX:
        if len(_names) >= _NAMES_MAX:
            _names.clear()
        _names[name] = key
    return key


def _split_path(scope: Scope) -> tuple[str, str]:
    """SCRIPT_NAME and PATH_INFO: what the app is mounted at, and the rest, percent-decoded to Latin-1."""
    raw_path = scope.get("raw_path")
    if raw_path is None:
        # The key is optional in ASGI. "surrogateescape" is what os.fsdecode() leaves of bytes that are not UTF-8.
        path = scope["path"].encode("utf-8", "surrogateescape").decode("latin-1")
    elif b"%" in raw_path:
        path = unquote_to_bytes(raw_path).decode("latin-1")
    else:
        path = raw_path.decode("latin-1")
    root = scope.get("root_path", "")
    if not root:
        # "OPTIONS *" is about the server as a whole; for an app that is its root.
        return "", "/" if path == "*" else path
    root = root.rstrip("/").encode("utf-8", "surrogateescape").decode("latin-1")
    if not root or not path.startswith(root) or path[len(root) : len(root) + 1] not in {"", "/"}:
        # Some proxies and frameworks take the prefix away before.
        return root, path
    return root, path[len(root) :]


def _split_host(host: str) -> tuple[str, str]:
    name, colon, port = host.rpartition(":")
    if colon and port.isdigit():
        return name, port
    return host.rstrip(":") if not host.endswith("]") else host, ""
