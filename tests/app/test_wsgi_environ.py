"""The environ of a request, held against PEP 3333 and RFC 3875."""

from __future__ import annotations

import io
import socket
import sys
from pathlib import Path
from typing import Any
from wsgiref.validate import validator

import pytest
from werkzeug.middleware.proxy_fix import ProxyFix

import devserver
from devserver.app.wsgi_environ import base_environ, make_environ
from devserver.app.wsgi_file import FileWrapper
from tests.support.server import read_all, serving
from tests.support.wsgi import TEXT, Environ, client_of, hello, request, serving_wsgi

BASE = base_environ(multithread=True, multiprocess=False)


def environ_of(length: int | None = None, **scope: Any) -> Environ:
    """The environ of a scope with these things changed; the validator has looked at it."""
    full = {
        "type": "http",
        "method": "GET",
        "scheme": "http",
        "http_version": "1.1",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"a")],
        "client": ("10.0.0.1", 4000),
        "server": ("127.0.0.1", 8000),
        **scope,
    }
    environ = make_environ(BASE, full, io.BytesIO(), length)
    returned: Any = validator(hello)(dict(environ), lambda *_: lambda _: None)
    list(returned)
    returned.close()
    return environ


def strings(**scope: Any) -> Environ:
    """What is text in the environ of a scope."""
    return {key: value for key, value in environ_of(**scope).items() if isinstance(value, str)}


def test_plain_request() -> None:
    environ = environ_of(path="/shop", raw_path=b"/shop", query_string=b"a=1&b=%20")
    assert environ == {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/shop",
        "QUERY_STRING": "a=1&b=%20",
        "REQUEST_URI": "/shop?a=1&b=%20",
        "RAW_URI": "/shop?a=1&b=%20",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_SOFTWARE": f"devserver/{devserver.__version__}",
        "REMOTE_ADDR": "10.0.0.1",
        "REMOTE_PORT": "4000",
        "HTTP_HOST": "a",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": environ["wsgi.input"],
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "wsgi.file_wrapper": FileWrapper,
    }


def test_https_is_told_in_both_ways() -> None:
    environ = environ_of(scheme="https")
    assert (environ["wsgi.url_scheme"], environ["HTTPS"]) == ("https", "on")


def test_path_is_decoded_to_latin_1() -> None:
    environ = environ_of(path="/é/a/b", raw_path=b"/%C3%A9/a%2Fb")
    assert environ["PATH_INFO"].encode("latin-1").decode() == "/é/a/b"
    assert environ["REQUEST_URI"] == "/%C3%A9/a%2Fb"


def test_path_that_is_not_utf_8_keeps_its_bytes() -> None:
    assert environ_of(path="/\ufffd", raw_path=b"/%ff")["PATH_INFO"] == "/\xff"


def test_path_without_a_raw_one_is_taken_from_the_decoded() -> None:
    environ = environ_of(path="/é", raw_path=None)
    assert environ["PATH_INFO"].encode("latin-1").decode() == "/é"
    assert "REQUEST_URI" not in environ


@pytest.mark.parametrize(
    ("root", "raw_path", "script_name", "path_info"),
    [
        ("/old", b"/old/shop", "/old", "/shop"),
        ("/old", b"/old", "/old", ""),
        ("/old", b"/old/", "/old", "/"),
        ("/old/", b"/old/shop", "/old", "/shop"),
        ("/", b"/shop", "", "/shop"),
        # A proxy that takes the prefix away.
        ("/old", b"/shop", "/old", "/shop"),
        ("/old", b"/older", "/old", "/older"),
        ("/é", b"/%C3%A9/x", "/Ã©", "/x"),
    ],
)
def test_root_path_becomes_script_name(root: str, raw_path: bytes, script_name: str, path_info: str) -> None:
    environ = environ_of(root_path=root, raw_path=raw_path)
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == (script_name, path_info)


def test_options_of_the_whole_server_are_those_of_its_root() -> None:
    environ = environ_of(method="OPTIONS", path="*", raw_path=b"*")
    assert (environ["PATH_INFO"], environ["REQUEST_URI"]) == ("/", "*")


def test_content_type_and_length_have_no_prefix() -> None:
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"5"), (b"content-encoding", b"gzip")]
    environ = environ_of(method="POST", headers=headers)
    assert (environ["CONTENT_TYPE"], environ["CONTENT_LENGTH"]) == ("text/plain", "5")
    assert environ["HTTP_CONTENT_ENCODING"] == "gzip"
    assert "HTTP_CONTENT_TYPE" not in environ
    assert "HTTP_CONTENT_LENGTH" not in environ


def test_length_that_was_counted_stands_in_the_place_of_the_transfer_coding() -> None:
    environ = environ_of(7, method="POST", headers=[(b"transfer-encoding", b"chunked")])
    assert environ["CONTENT_LENGTH"] == "7"
    assert "HTTP_TRANSFER_ENCODING" not in environ


def test_header_that_names_a_proxy_stays_out() -> None:
    assert "HTTP_PROXY" not in environ_of(headers=[(b"proxy", b"evil:80"), (b"Proxy", b"evil:80")])


UNDERSCORED = [
    b"x_forwarded_for",
    b"X_Forwarded_For",
    b"x-forwarded_for",
    b"x_forwarded-for",
    b"content_length",
    b"Content_Length",
    b"content_type",
    b"transfer_encoding",
    b"_",
    b"x_",
    b"a" * 100 + b"_",
]


@pytest.mark.parametrize("name", UNDERSCORED)
def test_header_with_an_underscore_stays_out(name: bytes) -> None:
    """Whichever server made the scope: in the environ "-" and "_" are one character."""
    assert strings(headers=[(name, b"1")]) == strings(headers=[])


@pytest.mark.parametrize("name", UNDERSCORED)
def test_header_with_an_underscore_shadows_no_other(name: bytes) -> None:
    real = [(b"x-forwarded-for", b"10.0.0.9"), (b"content-length", b"0"), (b"content-type", b"text/plain")]
    expected = strings(headers=real)
    assert expected["HTTP_X_FORWARDED_FOR"] == "10.0.0.9"
    assert strings(headers=[(name, b"1"), *real]) == strings(headers=[*real, (name, b"1")]) == expected


def test_header_with_an_underscore_reaches_asgi_apps_and_no_wsgi_app_beside_them() -> None:
    seen: dict[str, Any] = {}

    def legacy(environ: Environ, start_response: Any) -> list[bytes]:
        seen["environ"] = environ
        return hello(environ, start_response)

    wsgi = devserver.WSGIMiddleware(legacy)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            seen["scope"] = scope
        await wsgi(scope, receive, send)

    with serving(app) as running, client_of(running) as client:
        client.send(request("/", "X_Token: secret", "X_Real_IP: 1.2.3.4", "X-Real-IP: 5.6.7.8"))
        assert client.response().body == b"hello"
    assert (b"x_token", b"secret") in seen["scope"]["headers"]
    assert "HTTP_X_TOKEN" not in seen["environ"]
    assert seen["environ"]["HTTP_X_REAL_IP"] == "5.6.7.8"


def test_repeated_headers_are_joined() -> None:
    headers = [(b"accept", b"a"), (b"cookie", b"a=1"), (b"accept", b"b"), (b"cookie", b"b=2")]
    environ = environ_of(headers=headers)
    assert (environ["HTTP_ACCEPT"], environ["HTTP_COOKIE"]) == ("a,b", "a=1; b=2")


def test_header_value_is_latin_1() -> None:
    assert environ_of(headers=[(b"x-name", b"\xc3\xa9")])["HTTP_X_NAME"] == "Ã©"


def test_many_header_names_are_not_kept_for_ever() -> None:
    from devserver.app import wsgi_environ

    for number in range(3000):
        environ_of(headers=[(b"x-%d" % number, b"1")])
    assert len(wsgi_environ._names) <= 1024


@pytest.mark.parametrize(
    ("host", "scheme", "name", "port"),
    [
        (b"shop.example:8443", "https", "shop.example", "8443"),
        (b"shop.example", "https", "shop.example", "443"),
        (b"shop.example", "http", "shop.example", "80"),
        (b"[::1]", "http", "[::1]", "80"),
        (b"[::1]:81", "http", "[::1]", "81"),
        (b"", "http", "localhost", "80"),
    ],
)
def test_server_behind_a_unix_socket_is_what_the_client_calls_it(
    host: bytes, scheme: str, name: str, port: str
) -> None:
    environ = environ_of(server=("/run/app.sock", None), client=None, scheme=scheme, headers=[(b"host", host)])
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == (name, port)
    assert environ["REMOTE_ADDR"] == ""
    assert "REMOTE_PORT" not in environ


def echo(environ: Environ, start_response: Any) -> list[bytes]:
    """An app that shows its environ."""
    start_response("200 OK", [TEXT])
    return [repr({name: value for name, value in environ.items() if isinstance(value, str | bool)}).encode()]


def test_served_environ_is_what_the_server_knows() -> None:
    with serving_wsgi(echo, root_path="/api", threads=1) as running, client_of(running) as client:
        client.send(request("/a%20b?x=1", "X-Forwarded-Proto: https", "X-Forwarded-For: 10.1.1.1"))
        body = client.response().body.decode()
        port = running.port
    for expected in (
        "'SCRIPT_NAME': '/api'",
        "'PATH_INFO': '/a b'",
        "'QUERY_STRING': 'x=1'",
        "'REMOTE_ADDR': '10.1.1.1'",
        "'wsgi.url_scheme': 'https'",
        "'HTTPS': 'on'",
        f"'SERVER_PORT': '{port}'",
        "'wsgi.multithread': False",
        "'wsgi.multiprocess': False",
    ):
        assert expected in body


def test_unix_socket_is_served(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with serving_wsgi(echo, uds=path):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            client.sendall(request("/", "Connection: close"))
            body = read_all(client).decode()
    assert "'SERVER_NAME': 'a', 'SERVER_PORT': '80'" in body


# Behind a proxy

FORWARDED = (
    "X-Forwarded-For: 9.9.9.9, 1.2.3.4",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: shop.example",
    "X-Forwarded-Port: 8443",
    "X-Forwarded-Prefix: /shop",
)
TOLD = ("REMOTE_ADDR", "wsgi.url_scheme", "HTTP_HOST", "SERVER_NAME", "SERVER_PORT", "SCRIPT_NAME", "PATH_INFO")


def told_behind_a_proxy(app: Any, **options: Any) -> dict[str, Any]:
    """What an app sees of the client when a trusted proxy has sent all its headers."""
    seen: Environ = {}

    def inner(environ: Environ, start_response: Any) -> list[bytes]:
        seen.update(environ)
        return hello(environ, start_response)

    with serving_wsgi(app(inner), checked=False, **options) as running, client_of(running) as client:
        client.send(request("/page", *FORWARDED))
        assert client.response().status == 200
        ours = {"SERVER_NAME": "127.0.0.1", "SERVER_PORT": str(running.port)}
    return {key: seen[key] for key in TOLD if seen[key] != ours.get(key)}


def test_client_behind_a_trusted_proxy_is_the_remote_address() -> None:
    """Not the proxy, as with gunicorn."""
    by_default = {"REMOTE_ADDR": "1.2.3.4", "wsgi.url_scheme": "https", "HTTP_HOST": "a"}
    assert told_behind_a_proxy(lambda app: app) == {**by_default, "SCRIPT_NAME": "", "PATH_INFO": "/page"}
    untouched = {"REMOTE_ADDR": "127.0.0.1", "wsgi.url_scheme": "http", "HTTP_HOST": "a"}
    as_gunicorn = told_behind_a_proxy(lambda app: app, proxy_headers=False)
    assert as_gunicorn == {**untouched, "SCRIPT_NAME": "", "PATH_INFO": "/page"}


@pytest.mark.parametrize(
    "options",
    [
        {"proxy_headers": False},
        {},
        {"forwarded_headers": [line.partition(":")[0].lower() for line in FORWARDED]},
    ],
)
def test_werkzeugs_proxy_fix_tells_the_same_whether_or_not_the_server_has_read_the_headers(options: Any) -> None:
    """It reads the headers, which stay in the environ, and never what the server has made of them."""
    told = told_behind_a_proxy(lambda app: ProxyFix(app, x_host=1, x_port=1, x_prefix=1), **options)
    assert told == {
        "REMOTE_ADDR": "1.2.3.4",
        "wsgi.url_scheme": "https",
        "HTTP_HOST": "shop.example:8443",
        "SERVER_NAME": "shop.example",
        "SERVER_PORT": "8443",
        "SCRIPT_NAME": "/shop",
        "PATH_INFO": "/page",
    }
