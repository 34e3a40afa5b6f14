"""The environ of a request, held against PEP 3333 and RFC 3875."""

from __future__ import annotations

import io
import socket
import sys
from pathlib import Path
from typing import Any
from wsgiref.validate import validator

import pytest

import devserver
from devserver.app.wsgi_environ import base_environ, make_environ
from devserver.app.wsgi_file import FileWrapper
from tests.support.server import read_all
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


def test_header_with_an_underscore_stays_out() -> None:
    environ = environ_of(headers=[(b"x_real_ip", b"1"), (b"x-real-ip", b"2")])
    assert environ["HTTP_X_REAL_IP"] == "2"


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
