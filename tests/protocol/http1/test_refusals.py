"""Every refusal of HTTP/1.1, as raw bytes: whole, byte by byte, and at every split.

Whatever is refused gets one error response, the connection is closed, and a request smuggled behind it is never
served. The second half pins what the installed parser itself says to the same bytes: where it changes its mind after
an upgrade, a rule of ours may have become superfluous, or necessary.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import httptools
import pytest

from devserver.events import RequestRefused
from tests.support.apps import Recorder
from tests.support.memory import MemoryServer, memory_server
from tests.support.wire import wire_server

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
FIRST = b"GET /first HTTP/1.1\r\nHost: h\r\n\r\n"
SPLITS_MAX = 150
"""Longer messages are split at this many places, spread evenly."""


@dataclass(frozen=True)
class Case:
    """One message that is refused."""

    name: str
    raw: bytes
    status: int
    parser: str
    """What the parser says to the same bytes: ``accepts``, ``refuses``, ``waits`` for more, or ``upgrade``."""
    options: dict[str, Any] = field(default_factory=dict)


def head(*lines: bytes, start: bytes = b"GET / HTTP/1.1", host: bytes | None = b"Host: h") -> bytes:
    return b"\r\n".join([start, *([] if host is None else [host]), *lines, b"", b""])


def chunked(body: bytes, *lines: bytes) -> bytes:
    return head(b"Transfer-Encoding: chunked", *lines, start=b"POST / HTTP/1.1") + body


# RFC 9112 section 2.2: message parsing
MESSAGE = [
    ("two-empty-lines-first", b"\r\n\r\n" + head(), 400, "accepts"),
    ("bare-lf", b"GET / HTTP/1.1\nHost: h\n\n", 400, "refuses"),
    ("bare-lf-after-the-request-line", b"GET / HTTP/1.1\nHost: h\r\n\r\n", 400, "refuses"),
    ("bare-lf-after-a-header", b"GET / HTTP/1.1\r\nHost: h\nX: y\r\n\r\n", 400, "refuses"),
    ("bare-lf-at-the-end-of-the-head", b"GET / HTTP/1.1\r\nHost: h\r\n\n", 400, "refuses"),
    ("bare-cr-in-a-value", head(b"X: a\rb"), 400, "refuses"),
    ("bare-cr-as-line-end", b"GET / HTTP/1.1\rHost: h\r\r", 400, "refuses"),
    ("bare-cr-in-the-request-line", head(start=b"GET /\r HTTP/1.1"), 400, "refuses"),
    ("space-before-the-first-header", b"GET / HTTP/1.1\r\n Host: h\r\n\r\n", 400, "refuses"),
    ("tls-client-hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40) + b"\r\n\r\n", 400, "refuses"),
    ("nul-bytes", bytes(8) + b"\r\n\r\n", 400, "refuses"),
]

# RFC 9112 section 3: request line
REQUEST_LINE = [
    ("http-0.9", b"GET /\r\n\r\n", 400, "accepts"),
    ("version-0.9", head(start=b"GET / HTTP/0.9"), 505, "accepts"),
    ("version-1.2", head(start=b"GET / HTTP/1.2"), 505, "refuses"),
    ("version-1.10", head(start=b"GET / HTTP/1.10"), 505, "refuses"),
    ("version-01.1", head(start=b"GET / HTTP/01.1"), 505, "refuses"),
    ("version-2.0", head(start=b"GET / HTTP/2.0"), 505, "accepts"),
    ("version-3.0", head(start=b"GET / HTTP/3.0"), 505, "refuses"),
    ("version-in-lower-case", head(start=b"GET / http/1.1"), 505, "refuses"),
    ("version-without-minor", head(start=b"GET / HTTP/1"), 505, "refuses"),
    ("http2-preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "refuses"),
    ("ice", head(start=b"SOURCE / ICE/1.0"), 505, "accepts"),
    ("rtsp", head(start=b"OPTIONS / RTSP/1.0"), 505, "accepts"),
    ("two-spaces-before-the-target", head(start=b"GET  / HTTP/1.1"), 400, "accepts"),
    ("two-spaces-before-the-version", head(start=b"GET /  HTTP/1.1"), 400, "accepts"),
    ("space-first", head(start=b" GET / HTTP/1.1"), 400, "refuses"),
    ("space-last", head(start=b"GET / HTTP/1.1 "), 400, "refuses"),
    ("tab-for-a-space", head(start=b"GET\t/ HTTP/1.1"), 400, "refuses"),
    ("space-in-the-target", head(start=b"GET /a b HTTP/1.1"), 400, "refuses"),
    ("no-target", head(start=b"GET HTTP/1.1"), 400, "refuses"),
    ("empty-target", head(start=b"GET  HTTP/1.1"), 400, "refuses"),
    ("only-a-method", head(start=b"GET"), 400, "refuses"),
    ("method-that-is-no-token", head(start=b"G@T / HTTP/1.1"), 400, "refuses"),
    ("method-in-lower-case", head(start=b"get / HTTP/1.1"), 501, "refuses"),
    ("method-unknown", head(start=b"BREW / HTTP/1.1"), 501, "refuses"),
    ("method-of-rtsp", head(start=b"DESCRIBE / HTTP/1.1"), 501, "refuses"),
    ("method-endless", head(start=b"G" * 100 + b" / HTTP/1.1"), 501, "refuses"),
]

# RFC 9112 section 3.2: request target
TARGET = [
    ("relative-path", head(start=b"GET a HTTP/1.1"), 400, "refuses"),
    ("control-in-the-target", head(start=b"GET /\x01 HTTP/1.1"), 400, "refuses"),
    ("nul-in-the-target", head(start=b"GET /\x00 HTTP/1.1"), 400, "refuses"),
    ("delete-in-the-target", head(start=b"GET /\x7f HTTP/1.1"), 400, "refuses"),
    ("raw-utf8-in-the-target", head(start=b"GET /\xc3\xa9 HTTP/1.1"), 400, "refuses"),
    ("fragment", head(start=b"GET /a#b HTTP/1.1"), 400, "accepts"),
    ("fragment-alone", head(start=b"GET # HTTP/1.1"), 400, "refuses"),
    ("asterisk-with-get", head(start=b"GET * HTTP/1.1"), 400, "accepts"),
    ("asterisk-with-more", head(start=b"OPTIONS *x HTTP/1.1"), 400, "accepts"),
    ("asterisk-with-a-query", head(start=b"OPTIONS *?x HTTP/1.1"), 400, "accepts"),
    ("connect", head(start=b"CONNECT h:443 HTTP/1.1"), 501, "upgrade"),
    ("authority-with-get", head(start=b"GET h:80 HTTP/1.1"), 400, "refuses"),
    ("absolute-ftp", head(start=b"GET ftp://h/ HTTP/1.1"), 400, "accepts"),
    ("absolute-file", head(start=b"GET file:///etc/passwd HTTP/1.1"), 400, "accepts"),
    ("absolute-javascript", head(start=b"GET javascript:alert(1) HTTP/1.1"), 400, "refuses"),
    ("absolute-one-slash", head(start=b"GET http:/h HTTP/1.1"), 400, "refuses"),
    ("absolute-without-authority", head(start=b"GET http:///x HTTP/1.1"), 400, "accepts"),
    ("absolute-with-empty-host", head(start=b"GET http://:80/x HTTP/1.1"), 400, "accepts"),
    ("absolute-with-only-a-query", head(start=b"GET http://?x HTTP/1.1"), 400, "accepts"),
    ("absolute-with-userinfo", head(start=b"GET http://u@h/ HTTP/1.1"), 400, "accepts"),
    ("absolute-with-userinfo-and-password", head(start=b"GET http://u:p@h/ HTTP/1.1"), 400, "accepts"),
    ("absolute-with-bad-port", head(start=b"GET http://h:x/ HTTP/1.1"), 400, "accepts"),
    ("absolute-with-open-bracket", head(start=b"GET http://[::1/ HTTP/1.1"), 400, "accepts"),
    ("absolute-with-fragment", head(start=b"GET http://h/#f HTTP/1.1"), 400, "accepts"),
    ("absolute-with-backslash-authority", head(start=b"GET http://h\\@evil/ HTTP/1.1"), 400, "refuses"),
    ("network-path-of-another-scheme", head(start=b"GET ws://h/ HTTP/1.1"), 400, "accepts"),
]

# RFC 9112 section 3.2, RFC 9110 section 7.2: Host
HOST = [
    ("no-host", head(host=None), 400, "accepts"),
    ("no-host-but-absolute", head(start=b"GET http://h/ HTTP/1.1", host=None), 400, "accepts"),
    ("two-hosts", head(b"Host: h"), 400, "accepts"),
    ("two-different-hosts", head(b"host: evil"), 400, "accepts"),
    ("two-hosts-on-1.0", head(b"Host: h", start=b"GET / HTTP/1.0"), 400, "accepts"),
    ("host-with-a-space", head(host=b"Host: a b"), 400, "accepts"),
    ("host-with-a-list", head(host=b"Host: a, b"), 400, "accepts"),
    ("host-with-a-path", head(host=b"Host: a/b"), 400, "accepts"),
    ("host-with-userinfo", head(host=b"Host: u@h"), 400, "accepts"),
    ("host-with-a-scheme", head(host=b"Host: http://h"), 400, "accepts"),
    ("host-with-a-bad-port", head(host=b"Host: h:x"), 400, "accepts"),
    ("host-with-a-negative-port", head(host=b"Host: h:-1"), 400, "accepts"),
    ("host-with-two-ports", head(host=b"Host: h:1:2"), 400, "accepts"),
    ("host-with-a-broken-escape", head(host=b"Host: a%zz"), 400, "accepts"),
    ("host-that-is-a-port-alone", head(host=b"Host: :80"), 400, "accepts"),
    ("host-that-is-no-ipv6-address", head(host=b"Host: [1:2]"), 400, "accepts"),
    ("host-that-is-an-ipv4-address-in-brackets", head(host=b"Host: [127.0.0.1]"), 400, "accepts"),
    ("host-with-an-empty-zone", head(host=b"Host: [fe80::1%]"), 400, "accepts"),
    ("host-of-the-future-without-an-address", head(host=b"Host: [v1.]"), 400, "accepts"),
    ("host-with-open-bracket", head(host=b"Host: [::1"), 400, "accepts"),
    ("host-with-text-behind-the-bracket", head(host=b"Host: [::1]x"), 400, "accepts"),
    ("host-with-a-backslash", head(host=b"Host: h\\x"), 400, "accepts"),
    ("host-with-a-hash", head(host=b"Host: h#x"), 400, "accepts"),
    ("host-with-quotes", head(host=b'Host: "h"'), 400, "accepts"),
    ("host-in-raw-utf8", head(host=b"Host: \xc3\xa9"), 400, "accepts"),
    ("host-invalid-on-1.0", head(host=b"Host: a b", start=b"GET / HTTP/1.0"), 400, "accepts"),
    (
        "host-invalid-beside-an-absolute-target",
        head(start=b"GET http://h/ HTTP/1.1", host=b"Host: a b"),
        400,
        "accepts",
    ),
]

# RFC 9112 section 5: field syntax
FIELDS = [
    ("space-before-the-colon", head(b"X : y"), 400, "refuses"),
    ("tab-before-the-colon", head(b"X\t: y"), 400, "refuses"),
    ("space-before-the-colon-of-host", head(host=b"Host : h"), 400, "refuses"),
    ("no-name", head(b": y"), 400, "refuses"),
    ("no-colon", head(b"X"), 400, "refuses"),
    ("name-with-a-space", head(b"X Y: z"), 400, "refuses"),
    ("name-with-a-parenthesis", head(b"X(: z"), 400, "refuses"),
    ("name-with-a-nul", head(b"X\x00: z"), 400, "refuses"),
    ("name-in-latin-1", head(b"X\xe9: z"), 400, "refuses"),
    ("folded", head(b"X: a", b" b"), 400, "refuses"),
    ("folded-with-a-tab", head(b"X: a", b"\tb"), 400, "refuses"),
    ("folded-empty", head(b"X: a", b" "), 400, "refuses"),
    ("value-with-a-nul", head(b"X: a\x00b"), 400, "refuses"),
    ("value-with-a-bell", head(b"X: a\x07b"), 400, "refuses"),
    ("value-with-a-delete", head(b"X: a\x7fb"), 400, "refuses"),
    ("two-content-types", head(b"Content-Type: text/plain", b"Content-Type: text/html"), 400, "accepts"),
    ("two-equal-content-types", head(b"Content-Type: text/plain", b"Content-type: text/plain"), 400, "accepts"),
]

# RFC 9112 section 6.1 and 6.3, RFC 9110 section 8.6: framing
POST = b"POST / HTTP/1.1"
FRAMING = [
    ("te-gzip-chunked", head(b"Transfer-Encoding: gzip, chunked", start=POST) + b"0\r\n\r\n", 501, "accepts"),
    ("te-foo-chunked", head(b"Transfer-Encoding: foo, chunked", start=POST) + b"0\r\n\r\n", 501, "accepts"),
    ("te-identity", head(b"Transfer-Encoding: identity", start=POST), 501, "refuses"),
    ("te-gzip", head(b"Transfer-Encoding: gzip", start=POST), 501, "refuses"),
    ("te-xchunked", head(b"Transfer-Encoding: xchunked", start=POST), 501, "refuses"),
    ("te-chunked-gzip", head(b"Transfer-Encoding: chunked, gzip", start=POST), 400, "refuses"),
    ("te-chunked-twice", head(b"Transfer-Encoding: chunked, chunked", start=POST) + b"0\r\n\r\n", 400, "refuses"),
    ("te-two-lines", head(*[b"Transfer-Encoding: chunked"] * 2, start=POST) + b"0\r\n\r\n", 400, "refuses"),
    (
        "te-two-lines-with-another",
        head(b"Transfer-Encoding: identity", b"Transfer-Encoding: chunked", start=POST) + b"0\r\n\r\n",
        501,
        "accepts",
    ),
    ("te-comma-first", head(b"Transfer-Encoding: ,chunked", start=POST) + b"0\r\n\r\n", 400, "accepts"),
    ("te-comma-last", head(b"Transfer-Encoding: chunked,", start=POST) + b"0\r\n\r\n", 400, "refuses"),
    ("te-empty", head(b"Transfer-Encoding: ", start=POST), 400, "refuses"),
    ("te-with-a-parameter", head(b"Transfer-Encoding: chunked;q=1", start=POST) + b"0\r\n\r\n", 501, "refuses"),
    ("te-quoted", head(b'Transfer-Encoding: "chunked"', start=POST) + b"0\r\n\r\n", 501, "refuses"),
    ("te-vertical-tab", head(b"Transfer-Encoding: \x0bchunked", start=POST) + b"0\r\n\r\n", 400, "refuses"),
    ("te-space-before-the-colon", head(b"Transfer-Encoding : chunked", start=POST) + b"0\r\n\r\n", 400, "refuses"),
    ("te-folded", head(b"Transfer-Encoding:", b" chunked", start=POST) + b"0\r\n\r\n", 400, "refuses"),
    ("te-on-1.0", head(b"Transfer-Encoding: chunked", start=b"POST / HTTP/1.0") + b"0\r\n\r\n", 400, "accepts"),
    ("te-on-get", head(b"Transfer-Encoding: gzip"), 501, "refuses"),
    (
        "te-and-length",
        head(b"Transfer-Encoding: chunked", b"Content-Length: 5", start=POST) + b"0\r\n\r\n",
        400,
        "refuses",
    ),
    (
        "length-and-te",
        head(b"Content-Length: 5", b"Transfer-Encoding: chunked", start=POST) + b"0\r\n\r\n",
        400,
        "refuses",
    ),
    ("length-with-plus", head(b"Content-Length: +5", start=POST) + b"hello", 400, "refuses"),
    ("length-negative", head(b"Content-Length: -1", start=POST), 400, "refuses"),
    ("length-hex", head(b"Content-Length: 0x5", start=POST) + b"hello", 400, "refuses"),
    ("length-with-text", head(b"Content-Length: 5a", start=POST) + b"hello", 400, "refuses"),
    ("length-with-a-space-inside", head(b"Content-Length: 5 5", start=POST) + b"hello", 400, "refuses"),
    ("length-as-a-list", head(b"Content-Length: 5, 5", start=POST) + b"hello", 400, "refuses"),
    ("length-with-underscore", head(b"Content-Length: 1_0", start=POST) + b"hellohello", 400, "refuses"),
    ("length-fraction", head(b"Content-Length: 5.0", start=POST) + b"hello", 400, "refuses"),
    ("length-empty", head(b"Content-Length: ", start=POST), 400, "refuses"),
    ("length-twice", head(b"Content-Length: 5", b"Content-Length: 5", start=POST) + b"hello", 400, "refuses"),
    ("length-twice-different", head(b"Content-Length: 5", b"Content-Length: 6", start=POST) + b"hello", 400, "refuses"),
    ("length-overflow", head(b"Content-Length: 18446744073709551616", start=POST), 400, "refuses"),
    ("length-of-a-thousand-digits", head(b"Content-Length: " + b"9" * 1000, start=POST), 400, "refuses"),
    ("length-unknown-digits", head("Content-Length: ٥".encode(), start=POST) + b"hello", 400, "refuses"),
    ("length-on-get-malformed", head(b"Content-Length: x"), 400, "refuses"),
]

# RFC 9112 section 7.1: chunked bodies. The app has begun by then; it sees http.disconnect.
CHUNKS = [
    ("chunk-size-not-hex", chunked(b"g\r\n"), 400, "refuses"),
    ("chunk-size-empty", chunked(b"\r\n"), 400, "refuses"),
    ("chunk-size-negative", chunked(b"-1\r\n"), 400, "refuses"),
    ("chunk-size-with-plus", chunked(b"+1\r\na\r\n0\r\n\r\n"), 400, "refuses"),
    ("chunk-size-with-0x", chunked(b"0x1\r\na\r\n0\r\n\r\n"), 400, "refuses"),
    ("chunk-size-with-underscore", chunked(b"1_0\r\naaaaaaaaaaaaaaaa\r\n0\r\n\r\n"), 400, "refuses"),
    ("chunk-size-after-a-space", chunked(b" 1\r\na\r\n0\r\n\r\n"), 400, "refuses"),
    ("chunk-size-before-a-space", chunked(b"1 \r\na\r\n0\r\n\r\n"), 400, "refuses"),
    ("chunk-size-overflow", chunked(b"10000000000000000\r\n"), 400, "refuses"),
    ("chunk-size-with-many-zeros", chunked(b"0" * 5000 + b"1\r\na\r\n0\r\n\r\n"), 400, "accepts"),
    ("chunk-size-bare-lf", chunked(b"1\na\r\n0\r\n\r\n"), 400, "refuses"),
    ("chunk-size-bare-cr", chunked(b"1\ra\r\n0\r\n\r\n"), 400, "refuses"),
    ("chunk-longer-than-its-size", chunked(b"1\r\nab\r\n0\r\n\r\n"), 400, "refuses"),
    ("chunk-without-crlf", chunked(b"1\r\na0\r\n\r\n"), 400, "refuses"),
    ("chunk-ended-by-bare-lf", chunked(b"1\r\na\n0\r\n\r\n"), 400, "refuses"),
    ("chunk-extension-with-bare-lf", chunked(b"1;x\n\r\na\r\n0\r\n\r\n"), 400, "refuses"),
    ("chunk-extension-with-bare-cr", chunked(b"1;x\ry\r\na\r\n0\r\n\r\n"), 400, "refuses"),
    ("chunk-extension-with-nul", chunked(b"1;\x00\r\na\r\n0\r\n\r\n"), 400, "refuses"),
    ("chunk-line-too-long", chunked(b"1;" + b"x" * 8189 + b"\r\na\r\n0\r\n\r\n"), 400, "accepts"),
    ("chunk-size-not-hex-and-no-end", chunked(b"1 x"), 400, "refuses"),
    ("trailer-line-too-long", chunked(b"0\r\nX: " + b"y" * 8188 + b"\r\n\r\n"), 400, "accepts"),
    ("chunk-extension-endless", chunked(b"1;" + b"x" * 70_000), 400, "waits"),
    ("chunk-extensions-outweigh-the-body", chunked(b"1;%b\r\na\r\n" % (b"x" * 500) * 140), 400, "waits"),
    ("last-chunk-bare-lf", chunked(b"0\n\n"), 400, "refuses"),
    ("last-chunk-then-text", chunked(b"0\r\nx" + b"\r\n\r\n"), 400, "refuses"),
    ("trailer-without-colon", chunked(b"0\r\nX\r\n\r\n"), 400, "refuses"),
    ("trailer-space-before-colon", chunked(b"0\r\nX : y\r\n\r\n"), 400, "refuses"),
    ("trailer-content-length", chunked(b"0\r\nContent-Length: 5\r\n\r\n"), 400, "refuses"),
    ("trailer-bare-lf", chunked(b"0\r\nX: y\n\r\n"), 400, "refuses"),
    ("trailers-endless", chunked(b"0\r\n" + b"X: y\r\n" * 12_000), 400, "waits"),
    ("trailer-line-endless", chunked(b"0\r\nX: " + b"y" * 70_000), 400, "waits"),
]

# RFC 9110 section 15.5 and RFC 6585: limits
LIMITS = [
    ("line-too-long", head(start=b"GET /" + b"a" * 8190 + b" HTTP/1.1"), 414, "accepts"),
    ("line-endless", b"GET /" + b"a" * 9000, 414, "waits"),
    ("line-over-a-limit", head(start=b"GET /" + b"a" * 51 + b" HTTP/1.1"), 414, "accepts", {"limit_request_line": 64}),
    ("fields-too-many", head(*[b"X: y"] * 100), 431, "accepts"),
    ("fields-over-a-limit", head(b"X: y"), 431, "accepts", {"limit_request_fields": 1}),
    ("field-too-long", head(b"X: " + b"y" * 8190), 431, "accepts"),
    ("field-endless", b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"y" * 9000, 431, "waits"),
    ("field-name-too-long", head(b"y" * 8190 + b": x"), 431, "accepts"),
    ("field-over-a-limit", head(b"X: " + b"y" * 64), 431, "accepts", {"limit_request_field_size": 64}),
    ("head-too-large", head(*[b"X: " + b"y" * 8000] * 9), 431, "accepts"),
    (
        "head-over-the-limit-of-h11",
        head(*[b"X: " + b"y" * 40] * 4),
        431,
        "accepts",
        {"http": "h11", "h11_max_incomplete_event_size": 128},
    ),
    ("head-over-a-limit", head(*[b"X: " + b"y" * 40] * 4), 431, "accepts", {"limit_request_head": 128}),
    ("body-too-large", head(b"Content-Length: 11", start=POST), 413, "waits", {"limit_request_body": 10}),
    (
        "chunks-too-large",
        chunked(b"6\r\naaaaaa\r\n6\r\naaaaaa\r\n0\r\n\r\n"),
        413,
        "accepts",
        {"limit_request_body": 10},
    ),
    ("chunk-too-large", chunked(b"b\r\naaaaaaaaaaa\r\n0\r\n\r\n"), 413, "accepts", {"limit_request_body": 10}),
]

# RFC 9110 section 10.1.1
EXPECT = [
    ("expect-unknown", head(b"Expect: 200-ok", b"Content-Length: 5", start=POST), 417, "waits"),
    ("expect-two", head(b"Expect: 100-continue, more", b"Content-Length: 5", start=POST), 417, "waits"),
]

CASES = [
    Case(*row)  # type: ignore[arg-type]
    for table in (MESSAGE, REQUEST_LINE, TARGET, HOST, FIELDS, FRAMING, CHUNKS, LIMITS, EXPECT)
    for row in table
]


# --- Refused by us


def splits(raw: bytes) -> list[int]:
    """Places to split ``raw`` in two, all of them unless it is long."""
    step = max(1, len(raw) // SPLITS_MAX)
    return list(range(1, len(raw), step))


def check_refused(server: MemoryServer, app: Recorder, case: Case, pieces: list[bytes], served: list[str]) -> None:
    """Sends ``pieces`` and a smuggled request on a new connection, and checks everything about the answer."""
    app.seen.clear()
    server.events.clear()
    client = server.connect()
    client.send(*pieces, SMUGGLED)
    responses = client.responses()
    assert [response.status for response in responses] == [200] * len(served) + [case.status]
    refusal = responses[-1]
    assert refusal.get("connection") == "close"
    assert refusal.get("content-type") == "text/plain; charset=utf-8"
    assert refusal.body.endswith(b".\n")
    assert client.closed
    (event,) = server.events_of(RequestRefused)
    assert (event.peer, event.status, event.reason.encode() + b"\n") == ("127.0.0.1:50000", case.status, refusal.body)
    assert "/smuggled" not in app.paths
    assert [seen.scope["path"] for seen in app.seen if seen.complete] == served
    assert all(seen.complete or seen.disconnected for seen in app.seen)
    client.send(SMUGGLED)
    client.shut()
    server.advance(10.0, step=1.0)
    assert client.gone
    assert len(client.responses()) == len(responses)
    assert "/smuggled" not in app.paths


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_malformed_message_whole_is_refused(case: Case) -> None:
    app = Recorder()
    with memory_server(app, **case.options) as server:
        check_refused(server, app, case, [case.raw], [])
        check_refused(server, app, case, [FIRST + case.raw], ["/first"])
        check_refused(server, app, case, [FIRST, case.raw], ["/first"])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_malformed_message_byte_by_byte_is_refused(case: Case) -> None:
    app = Recorder()
    with memory_server(app, **case.options) as server:
        check_refused(server, app, case, [case.raw[at : at + 1] for at in range(len(case.raw))], [])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_malformed_message_at_every_split_is_refused(case: Case) -> None:
    app = Recorder()
    with memory_server(app, **case.options) as server:
        for at in splits(case.raw):
            check_refused(server, app, case, [case.raw[:at], case.raw[at:]], [])
        # The smuggled request in the same segment as the end of the refused one.
        check_refused(server, app, case, [case.raw + SMUGGLED], [])


def test_malformed_messages_on_real_sockets_are_refused_and_the_answer_arrives() -> None:
    app = Recorder()
    with wire_server(app) as server:
        for case in CASES:
            if case.options:
                continue
            with server.connect() as client:
                client.send(FIRST + case.raw + SMUGGLED)
                statuses = [response.status for response in client.responses_to_end()]
            assert statuses == [200, case.status], case.name
    assert "/smuggled" not in app.paths


# --- Taken by us, however odd

TAKEN = [
    ("one-empty-line-first", b"\r\n" + head(), "accepts"),
    ("empty-host", head(host=b"Host: "), "accepts"),
    ("host-with-a-port", head(host=b"Host: h:80"), "accepts"),
    ("host-with-an-empty-port", head(host=b"Host: h:"), "accepts"),
    ("host-is-an-ipv6-address", head(host=b"Host: [::1]:80"), "accepts"),
    ("host-with-a-port-of-leading-zeros", head(host=b"Host: h:00080"), "accepts"),
    ("host-with-a-port-beyond-65535", head(host=b"Host: h:99999999"), "accepts"),
    ("host-is-an-address-of-the-future", head(host=b"Host: [v1.foo:x]:80"), "accepts"),
    ("host-is-an-address-with-a-zone", head(host=b"Host: [fe80::1%eth0]"), "accepts"),
    ("host-is-an-address-with-an-escaped-zone", head(host=b"Host: [fe80::1%25eth0]:80"), "accepts"),
    ("absolute-form-with-a-large-port", head(start=b"GET http://h:70000/ HTTP/1.1"), "accepts"),
    ("host-with-an-underscore", head(host=b"Host: my_service"), "accepts"),
    ("host-percent-encoded", head(host=b"Host: %C3%A9"), "accepts"),
    ("host-without-space", head(host=b"Host:h"), "accepts"),
    ("host-with-white-space-round-it", head(host=b"Host:\t h \t"), "accepts"),
    ("host-absent-on-1.0", head(start=b"GET / HTTP/1.0", host=None), "accepts"),
    ("value-in-latin-1", head(b"X: \xe9"), "accepts"),
    ("value-with-a-tab", head(b"X: a\tb"), "accepts"),
    ("value-empty", head(b"X:"), "accepts"),
    ("name-of-one-odd-byte", head(b"!: x"), "accepts"),
    ("target-with-brackets-and-bars", head(start=b'GET /a[b]|c{d}^`\\"<> HTTP/1.1'), "accepts"),
    ("target-with-broken-escapes", head(start=b"GET /%zz%f HTTP/1.1"), "accepts"),
    ("target-with-two-slashes", head(start=b"GET //a HTTP/1.1"), "accepts"),
    ("target-with-question-marks", head(start=b"GET /a??b? HTTP/1.1"), "accepts"),
    ("length-zero", head(b"Content-Length: 0"), "accepts"),
    ("length-with-leading-zeros", head(b"Content-Length: 005", start=POST) + b"hello", "accepts"),
    ("body-on-get", head(b"Content-Length: 5") + b"hello", "accepts"),
    ("te-in-capitals", head(b"Transfer-Encoding: CHUNKED", start=POST) + b"0\r\n\r\n", "accepts"),
    ("te-with-white-space-before-it", head(b"Transfer-Encoding:\t chunked", start=POST) + b"0\r\n\r\n", "accepts"),
    ("te-with-a-space-behind-it", head(b"Transfer-Encoding: chunked ", start=POST) + b"0\r\n\r\n", "accepts"),
    ("length-with-white-space-round-it", head(b"Content-Length: \t5\t ", start=POST) + b"hello", "accepts"),
    ("chunk-size-in-capitals", chunked(b"A\r\naaaaaaaaaa\r\n0\r\n\r\n"), "accepts"),
    ("chunk-size-with-zeros", chunked(b"0001\r\na\r\n000\r\n\r\n"), "accepts"),
    ("chunk-line-of-the-longest", chunked(b"1;" + b"x" * 8188 + b"\r\na\r\n0\r\n\r\n"), "accepts"),
    ("many-tiny-chunks", chunked(b"1\r\na\r\n" * 3000 + b"0\r\n\r\n"), "accepts"),
    ("chunk-extension", chunked(b'1;x;y=z;q="a"\r\na\r\n0;end\r\n\r\n'), "accepts"),
    ("trailers", chunked(b"0\r\nX: y\r\nZ: w\r\n\r\n"), "accepts"),
    ("expect-in-capitals", head(b"Expect: 100-Continue", b"Content-Length: 0", start=POST), "accepts"),
]


@pytest.mark.parametrize(("name", "raw", "parser"), TAKEN, ids=[row[0] for row in TAKEN])
def test_odd_but_valid_message_is_served_at_every_split(name: str, raw: bytes, parser: str) -> None:
    app = Recorder()
    with memory_server(app) as server:
        splittings = [[raw], [raw[at : at + 1] for at in range(len(raw))]]
        splittings += [[raw[:at], raw[at:]] for at in splits(raw)]
        for pieces in splittings:
            app.seen.clear()
            client = server.connect()
            client.send(*pieces)
            assert [response.status for response in client.responses()] == [200]
            assert len(app.seen) == 1
            assert app.seen[0].complete
            client.send(FIRST)
            assert app.paths[1:] == (["/first"] if b"HTTP/1.1" in raw else [])
        assert not server.events_of(RequestRefused)


# --- What the installed parser says to the same bytes


class _Callbacks:
    def __init__(self) -> None:
        self.complete = False

    def on_message_complete(self) -> None:
        self.complete = True


def parser_verdict(raw: bytes) -> str:
    callbacks = _Callbacks()
    parser = httptools.HttpRequestParser(callbacks)
    try:
        parser.feed_data(raw)
    except httptools.HttpParserUpgrade:
        return "upgrade"
    except httptools.HttpParserError:
        return "refuses"
    return "accepts" if callbacks.complete else "waits"


PINNED = [(case.name, case.raw, case.parser) for case in CASES] + TAKEN


@pytest.mark.parametrize(("name", "raw", "verdict"), PINNED, ids=[row[0] for row in PINNED])
def test_installed_parser_judges_as_pinned(name: str, raw: bytes, verdict: str) -> None:
    assert parser_verdict(raw) == verdict
