"""What proxies say about their clients: forwarded headers, RFC 7239, and the PROXY protocol."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devserver.errors import ConfigError
from devserver.protocol.proxy import (
    CACHE_ENTRIES_MAX,
    HOPS_MAX,
    PROXY_V2_SIGNATURE,
    ForwardedHeaders,
    ProxyHeader,
    TrustedPeers,
    parse_proxy_header,
)

PEER = ("127.0.0.1", 5000)
X_FAMILY = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "x-forwarded-prefix")

# --- TrustedPeers


@pytest.mark.parametrize(
    ("allowed", "peer", "trusted"),
    [
        ("127.0.0.1,::1", ("127.0.0.1", 1), True),
        ("127.0.0.1,::1", ("::1", 1, 0, 0), True),
        ("127.0.0.1,::1", ("::ffff:127.0.0.1", 1, 0, 0), True),
        ("127.0.0.1", ("127.0.0.2", 1), False),
        ("127.0.0.1", None, False),
        (["10.0.0.0/8", " fd00::/8 "], ("10.200.1.1", 1), True),
        (["10.0.0.0/8", " fd00::/8 "], ("fd12::1", 1, 0, 0), True),
        (["10.0.0.0/8"], ("fd12::1", 1, 0, 0), False),
        (["fe80::/10"], ("fe80::1%eth0", 1, 0, 3), True),
        (["2001:DB8::1"], ("2001:db8::1", 1, 0, 0), True),
        (["unix"], None, True),
        (["unix"], ("unix", 1), False),
        ("*", None, True),
        (["*"], ("203.0.113.9", 1), True),
        (["testclient"], ("testclient", 1), True),
        (["/run/app.sock"], ("/run/app.sock", 1), False),
        (["10.0.0.0/8"], ("no address", 1), False),
        ("", ("127.0.0.1", 1), False),
        ("*", "127.0.0.1", False),
    ],
)
def test_peer_is_trusted_by_address_network_name_or_star(allowed: str | list[str], peer: object, trusted: bool) -> None:
    peers = TrustedPeers(allowed)
    assert (peer in peers) is trusted
    assert (peer in peers) is trusted  # from the cache


@pytest.mark.parametrize(
    ("entry", "hint"),
    [("10.0.0.1/8", '"10.0.0.0/8"'), ("10.0.0.0/33", '"10.0.0.0/8"'), ("localhost/8", '"10.0.0.0/8"')],
)
def test_malformed_network_is_a_config_error_with_a_hint(entry: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=entry) as caught:
        TrustedPeers([entry])
    assert hint in caught.value.hint


def test_cache_of_peers_is_bounded_in_entries_and_key_length() -> None:
    peers = TrustedPeers("10.0.0.0/8")
    for number in range(CACHE_ENTRIES_MAX + 10):
        assert peers.trusts(f"10.0.{number // 256}.{number % 256}")
    assert not peers.trusts("x" * 65)
    assert len(peers._known) == 10


# --- ForwardedHeaders: configuration


def test_forwarded_beside_an_x_header_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="cannot be combined"):
        ForwardedHeaders(["Forwarded", "x-forwarded-for"], TrustedPeers("*"))


@pytest.mark.parametrize(
    ("name", "hint"), [("x-forwarded-hosts", 'Did you mean "x-forwarded-host"?'), ("via", "Known are forwarded, ")]
)
def test_unknown_header_name_is_a_config_error_with_a_hint(name: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=name) as caught:
        ForwardedHeaders([name], TrustedPeers("*"))
    assert hint in caught.value.hint


def test_headers_that_were_not_opted_into_are_not_read() -> None:
    reader = ForwardedHeaders(["x-forwarded-for", "x-forwarded-proto"], TrustedPeers("127.0.0.1"))
    headers = [
        (b"host", b"app"),
        (b"forwarded", b"for=203.0.113.9;proto=https;host=evil.example"),
        (b"x-forwarded-host", b"evil.example"),
        (b"x-forwarded-port", b"444"),
        (b"x-forwarded-prefix", b"/evil"),
    ]
    assert reader.apply(headers, PEER, "http") == (PEER, "http", None, "")
    assert ForwardedHeaders([], TrustedPeers("*")).apply(headers, PEER, "http") == (PEER, "http", None, "")


# --- X-Forwarded-For


def client_of(value: bytes, allowed: str = "127.0.0.1,10.0.0.0/8") -> tuple[str, int] | None:
    reader = ForwardedHeaders(X_FAMILY, TrustedPeers(allowed))
    headers = [(b"accept", b"*/*"), (b"x-forwarded-for", value)]
    first = reader.apply(headers, PEER, "http")
    assert reader.apply(headers, PEER, "http") == first  # from the cache
    assert first[1:] == ("http", None, "")
    return first[0]


@pytest.mark.parametrize(
    ("value", "client"),
    [
        (b"203.0.113.9", ("203.0.113.9", 0)),
        (b"203.0.113.9:4711", ("203.0.113.9", 4711)),
        (b"2001:DB8::9", ("2001:db8::9", 0)),
        (b"[2001:db8::9]", ("2001:db8::9", 0)),
        (b"[2001:db8::9]:4711", ("2001:db8::9", 4711)),
        (b"::ffff:203.0.113.9", ("203.0.113.9", 0)),
        (b"198.51.100.1, 203.0.113.9, 10.0.0.2", ("203.0.113.9", 0)),
        (b"198.51.100.1,203.0.113.9,, ,\t10.0.0.2 ,", ("203.0.113.9", 0)),
        (b"10.0.0.3, 10.0.0.2", ("10.0.0.3", 0)),
        (b"", PEER),
        (b" , ", PEER),
        (b"unknown", PEER),
        (b"_hidden", PEER),
        (b"203.0.113.9, unknown, 10.0.0.2", ("10.0.0.2", 0)),
        (b"203.0.113.9, _hidden, 10.0.0.2:1", ("10.0.0.2", 1)),
        (b"203.0.113.9, <script>, 10.0.0.2", ("10.0.0.2", 0)),
        (b"203.0.113.9:http", PEER),
        (b"203.0.113.9:", PEER),
        (b"203.0.113.9:65536", PEER),
        (b"203.0.113.9:100000", PEER),
        (b"203.0.113.09", PEER),
        (b"[203.0.113.9]:80", PEER),
        (b"[::1", PEER),
        (b"[::1]80", PEER),
        (b"fe80::1%<script>", PEER),
        (b"1" * 65, PEER),
        (b"\xff\x00", PEER),
    ],
)
def test_x_forwarded_for_gives_the_rightmost_untrusted_hop(value: bytes, client: tuple[str, int]) -> None:
    assert client_of(value) == client


def test_x_forwarded_for_with_everyone_trusted_gives_the_leftmost_hop() -> None:
    assert client_of(b"198.51.100.1, 203.0.113.9, 10.0.0.2", "*") == ("198.51.100.1", 0)


def test_x_forwarded_for_in_several_lines_is_one_list() -> None:
    reader = ForwardedHeaders(X_FAMILY, TrustedPeers("127.0.0.1,10.0.0.2"))
    headers = [
        (b"x-forwarded-for", b"203.0.113.9"),
        (b"x-forwarded-for", b"203.0.113.10"),
        (b"x-forwarded-for", b"10.0.0.2"),
    ]
    assert reader.apply(headers, None, "http")[0] == ("203.0.113.10", 0)


def test_x_forwarded_for_walks_no_further_than_its_limit() -> None:
    hops = b",".join([b"203.0.113.9"] + [b"10.0.%d.2" % n for n in range(HOPS_MAX)])
    assert client_of(hops) == ("10.0.0.2", 0)
    assert client_of(hops.partition(b"10.0.0.2,")[0] + hops.partition(b"10.0.0.2,")[2]) == ("203.0.113.9", 0)


def test_nginx_behind_a_unix_socket_is_passed_over_only_when_unix_is_trusted() -> None:
    assert client_of(b"203.0.113.9, unix:", "127.0.0.1,unix") == ("203.0.113.9", 0)
    assert client_of(b"203.0.113.9, unix:") is None


def test_two_users_over_one_trusted_connection_are_told_apart() -> None:
    reader = ForwardedHeaders(X_FAMILY, TrustedPeers("127.0.0.1"))
    clients = [reader.apply([(b"x-forwarded-for", user)], PEER, "http")[0] for user in (b"203.0.113.1", b"203.0.113.2")]
    assert clients == [("203.0.113.1", 0), ("203.0.113.2", 0)]


def test_cache_of_hops_is_bounded() -> None:
    reader = ForwardedHeaders(X_FAMILY, TrustedPeers("127.0.0.1"))
    for number in range(CACHE_ENTRIES_MAX + 10):
        reader.apply([(b"x-forwarded-for", b"203.0.113.9:%d" % number)], PEER, "http")
    assert len(reader._hops) == 10


# --- X-Forwarded-Proto, -Host, -Port, -Prefix


@pytest.mark.parametrize(
    ("value", "scheme", "applied"),
    [
        (b"https", "http", "https"),
        (b"HTTPS", "http", "https"),
        (b"http", "https", "http"),
        (b"wss", "http", "https"),
        (b"ws", "http", "http"),
        (b"https", "ws", "wss"),
        (b"http", "wss", "ws"),
        (b"http, https", "http", "https"),
        (b"https,http ", "http", "http"),
        (b"ftp", "http", "http"),
        (b"https, ftp", "http", "http"),
        (b"", "https", "https"),
    ],
)
def test_x_forwarded_proto_gives_the_last_scheme_when_it_is_known(value: bytes, scheme: str, applied: str) -> None:
    reader = ForwardedHeaders(["X-Forwarded-Proto"], TrustedPeers("*"))
    assert reader.apply([(b"x-forwarded-proto", value)], PEER, scheme) == (PEER, applied, None, "")


@pytest.mark.parametrize(
    ("value", "host"),
    [
        (b"example.com", b"example.com"),
        (b"example.com:8443", b"example.com:8443"),
        (b"my_service", b"my_service"),
        (b"[::1]:8000", b"[::1]:8000"),
        (b"[::1]", b"[::1]"),
        (b"evil.example, example.com", b"example.com"),
        (b"", None),
        (b":80", None),
        (b"example.com:", None),
        (b"example.com:http", None),
        (b"user@example.com", None),
        (b"example.com/path", None),
        (b"exa mple.com", None),
        (b"ex\xe4mple.com", None),
        (b"a" * 256, None),
        (b"[::1", None),
        (b"[::1]8000", None),
        (b"[::1]:x", None),
        (b"[1.2.3.4]", None),
        (b"[fe80::1%eth0]", None),
    ],
)
def test_x_forwarded_host_is_taken_when_it_is_a_host(value: bytes, host: bytes | None) -> None:
    reader = ForwardedHeaders(X_FAMILY, TrustedPeers("*"))
    assert reader.apply([(b"x-forwarded-host", value)], PEER, "http") == (PEER, "http", host, "")


@pytest.mark.parametrize(
    ("headers", "host"),
    [
        ([(b"x-forwarded-port", b"8443"), (b"host", b"app")], b"app:8443"),
        ([(b"host", b"app:1"), (b"x-forwarded-port", b"8443")], b"app:8443"),
        ([(b"host", b"app:1"), (b"x-forwarded-port", b"80")], b"app"),
        ([(b"x-forwarded-proto", b"https"), (b"host", b"[::1]:1"), (b"x-forwarded-port", b"443")], b"[::1]"),
        ([(b"x-forwarded-host", b"example.com"), (b"x-forwarded-port", b"81")], b"example.com:81"),
        ([(b"x-forwarded-host", b"example.com"), (b"x-forwarded-port", b"0")], b"example.com"),
        ([(b"x-forwarded-host", b"example.com:1"), (b"x-forwarded-port", b"x")], b"example.com:1"),
        ([(b"x-forwarded-port", b"81")], None),
        ([(b"host", b"app"), (b"x-forwarded-port", b"\xff")], None),
    ],
)
def test_x_forwarded_port_replaces_the_port_of_the_host(headers: list[tuple[bytes, bytes]], host: bytes | None) -> None:
    assert ForwardedHeaders(X_FAMILY, TrustedPeers("*")).apply(headers, PEER, "http")[2] == host


@pytest.mark.parametrize(
    ("value", "prefix"),
    [
        (b"/api", "/api"),
        (b"/api/v1/", "/api/v1"),
        (b"/caf%C3%A9", "/café"),
        (b"/evil, /api", "/api"),
        (b"/", ""),
        (b"", ""),
        (b"api", ""),
        (b"//evil.example", ""),
        (b"/a//b", ""),
        (b"/a/../b", ""),
        (b"/a/%2e%2e/b", ""),
        (b"/./a", ""),
        (b"/\\evil.example", ""),
        (b"/a?b", ""),
        (b"/a#b", ""),
        (b"/a b", ""),
        (b"/a%0d%0ab", ""),
        (b"/a\x00", ""),
        (b"/%ff", ""),
        (b"https://evil.example/", ""),
    ],
)
def test_x_forwarded_prefix_is_taken_when_it_is_a_plain_path(value: bytes, prefix: str) -> None:
    reader = ForwardedHeaders(X_FAMILY, TrustedPeers("*"))
    assert reader.apply([(b"x-forwarded-prefix", value)], PEER, "http") == (PEER, "http", None, prefix)


# --- RFC 7239


@pytest.mark.parametrize(
    ("value", "client", "scheme", "host"),
    [
        (b"for=203.0.113.9", ("203.0.113.9", 0), "http", None),
        (b'For="203.0.113.9:80"', ("203.0.113.9", 80), "http", None),
        (b"for=203.0.113.9:80", ("203.0.113.9", 80), "http", None),
        (b'for="[2001:db8::9]:4711"', ("2001:db8::9", 4711), "http", None),
        (b'for="203.0.113.9:_port"', ("203.0.113.9", 0), "http", None),
        (b'for="203.0.113.9:_"', PEER, "http", None),
        (b'for="\\2\\0\\3.0.113.9"', ("203.0.113.9", 0), "http", None),
        (b"for=203.0.113.9; proto=https ;host=example.com", ("203.0.113.9", 0), "https", b"example.com"),
        (b'for=203.0.113.9;host="example.com:8443";by=_x;', ("203.0.113.9", 0), "http", b"example.com:8443"),
        (b'for=203.0.113.9;host="a\\"b"', ("203.0.113.9", 0), "http", None),
        (b"for=203.0.113.9;proto=gopher", ("203.0.113.9", 0), "http", None),
        (b"for=unknown;proto=https", PEER, "https", None),
        (b"for=_hidden", PEER, "http", None),
        (b"proto=https;host=example.com", PEER, "https", b"example.com"),
        # What stands to the left of the untrusted hop is the client's invention.
        (b"for=1.1.1.1;proto=https;host=evil.example, for=203.0.113.9", ("203.0.113.9", 0), "http", None),
        # What a trusted hop to the left says is nearer to the client; where it says nothing the right one stands.
        (b"for=203.0.113.9;proto=https, for=10.0.0.2;proto=http;host=b", ("203.0.113.9", 0), "https", b"b"),
        (b"for=10.0.0.3, for=10.0.0.2", ("10.0.0.3", 0), "http", None),
        (b",, for=203.0.113.9 ,", ("203.0.113.9", 0), "http", None),
        (b'for="203.0.113.9, for=10.0.0.9"', PEER, "http", None),
        (b'for=203.0.113.9;x="a, b;c=\\", d", for=10.0.0.2', ("203.0.113.9", 0), "http", None),
        # A quote left open by the client does not swallow what the proxy appended.
        (b'for="1.1.1.1, for=203.0.113.9', ("203.0.113.9", 0), "http", None),
        (b'for="1.1.1.1, for="203.0.113.9:1"', ("203.0.113.9", 1), "http", None),
        (b'for="1.1.1.1\\", for=10.0.0.2', ("10.0.0.2", 0), "http", None),
        (b'", for=10.0.0.2', ("10.0.0.2", 0), "http", None),
        (b'x"', PEER, "http", None),
        (b'"', PEER, "http", None),
        (b'""', PEER, "http", None),
        (b'\\"x"', PEER, "http", None),
        (b"for", PEER, "http", None),
        (b"for=", PEER, "http", None),
        (b"=1.1.1.1", PEER, "http", None),
        (b"f r=1.1.1.1", PEER, "http", None),
        (b"for=1.1.1.1;for=2.2.2.2", PEER, "http", None),
        (b"for=1.1.1.1;proto", PEER, "http", None),
        (b"for=1.1.1.1 2.2.2.2", PEER, "http", None),
        (b'for="1.1.1.1"x', PEER, "http", None),
        (b'for="1.1.1.1" ; proto=https', ("1.1.1.1", 0), "https", None),
        (b'for="1.1.1.1', PEER, "http", None),
        (b'for="1.1.1.1\x00"', PEER, "http", None),
        (b"", PEER, "http", None),
    ],
)
def test_forwarded_gives_client_scheme_and_host_of_the_rightmost_untrusted_hop(
    value: bytes, client: tuple[str, int], scheme: str, host: bytes | None
) -> None:
    reader = ForwardedHeaders(["forwarded"], TrustedPeers("127.0.0.1,10.0.0.0/8"))
    headers = [(b"forwarded", value), (b"x-forwarded-for", b"6.6.6.6")]
    assert reader.apply(headers, PEER, "http") == (client, scheme, host, "")


def test_forwarded_walks_no_further_than_its_limit() -> None:
    reader = ForwardedHeaders(["forwarded"], TrustedPeers("10.0.0.0/8"))
    elements = [b"for=203.0.113.9"] + [b"for=10.0.%d.2" % n for n in range(HOPS_MAX)]
    assert reader.apply([(b"forwarded", b", ".join(elements))], PEER, "http")[0] == ("10.0.0.2", 0)
    assert reader.apply([(b"forwarded", b", ".join(elements[:-1]))], PEER, "http")[0] == ("203.0.113.9", 0)


@given(st.binary(max_size=200))
def test_client_cannot_hide_the_element_that_the_proxy_appended(prefix: bytes) -> None:
    reader = ForwardedHeaders(["forwarded"], TrustedPeers("127.0.0.1"))
    appended = b', for="203.0.113.9:1";proto=https'
    assert reader.apply([(b"forwarded", prefix + appended)], PEER, "http")[:2] == (("203.0.113.9", 1), "https")


@given(st.text('for=proto,;:"\\[]0129.x \t', max_size=80))
def test_any_forwarded_value_is_read_without_an_error(value: str) -> None:
    reader = ForwardedHeaders(["forwarded"], TrustedPeers("*"))
    reader.apply([(b"forwarded", value.encode())], PEER, "http")


# --- PROXY protocol, version 1

V1 = b"PROXY TCP4 203.0.113.9 192.0.2.1 4711 443\r\n"


@pytest.mark.parametrize(
    ("data", "header"),
    [
        (V1, ProxyHeader(1, len(V1), ("203.0.113.9", 4711), ("192.0.2.1", 443))),
        (b"PROXY TCP6 2001:DB8::9 ::1 1 2\r\n", ProxyHeader(1, 32, ("2001:db8::9", 1), ("::1", 2))),
        (b"PROXY UNKNOWN\r\n", ProxyHeader(1, 15)),
        (b"PROXY UNKNOWN ffff::1 what ever\r\n", ProxyHeader(1, 33)),
        (b"PROXY UNKNOWN " + b"x" * 91 + b"\r\n", ProxyHeader(1, 107)),
    ],
)
@pytest.mark.parametrize("mode", ["v1", "auto"])
def test_v1_header_is_read_once_it_is_complete(data: bytes, header: ProxyHeader, mode: str) -> None:
    assert [parse_proxy_header(data[:size], mode) for size in range(len(data))] == [None] * len(data)
    assert parse_proxy_header(data, mode) == header
    assert parse_proxy_header(data + b"GET / HTTP/1.1\r\n", mode) == header


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"proxy TCP4 ",
        b"PROXX",
        b"PROXY \r\n",
        b"PROXY TCP5 1.1.1.1 2.2.2.2 1 2\r\n",
        b"PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n",
        b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3\r\n",
        b"PROXY  TCP4 1.1.1.1 2.2.2.2 1 2\r\n",
        b"PROXY TCP4 ::1 ::1 1 2\r\n",
        b"PROXY TCP6 1.1.1.1 2.2.2.2 1 2\r\n",
        b"PROXY TCP6 fe80::1%x ::1 1 2\r\n",
        b"PROXY TCP4 1.1.1.1 2.2.2.2 1 65536\r\n",
        b"PROXY TCP4 1.1.1.1 2.2.2.2 01 2\r\n",
        b"PROXY TCP4 1.1.1.1 2.2.2.2 -1 2\r\n",
        b"PROXY TCP4 1.1.1.1 2.2.2.2 1 \r\n",
        b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n",
        b"PROXY " + b"x" * 101,
    ],
)
def test_malformed_v1_header_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="PROXY"):
        parse_proxy_header(data, "v1")


# --- PROXY protocol, version 2


def v2(command: int, family: int, payload: bytes, length: int | None = None) -> bytes:
    size = len(payload) if length is None else length
    return PROXY_V2_SIGNATURE + bytes((command, family)) + size.to_bytes(2, "big") + payload


INET = bytes([203, 0, 113, 9, 192, 0, 2, 1]) + b"\x12\x67\x01\xbb"
INET6 = b"\x20\x01\x0d\xb8" + bytes(11) + b"\x09" + bytes(15) + b"\x01" + b"\x12\x67\x01\xbb"
TLV = b"\x04\x00\x05hello"


@pytest.mark.parametrize(
    ("data", "header"),
    [
        (v2(0x21, 0x11, INET), ProxyHeader(2, 28, ("203.0.113.9", 4711), ("192.0.2.1", 443))),
        (v2(0x21, 0x11, INET + TLV), ProxyHeader(2, 36, ("203.0.113.9", 4711), ("192.0.2.1", 443))),
        (v2(0x21, 0x21, INET6), ProxyHeader(2, 52, ("2001:db8::9", 4711), ("::1", 443))),
        (v2(0x21, 0x31, bytes(216)), ProxyHeader(2, 232)),
        (v2(0x21, 0x00, b""), ProxyHeader(2, 16)),
        (v2(0x21, 0x00, TLV), ProxyHeader(2, 24)),
        (v2(0x21, 0x10, b""), ProxyHeader(2, 16)),
        (v2(0x20, 0x00, b""), ProxyHeader(2, 16)),
        (v2(0x20, 0x11, INET), ProxyHeader(2, 28)),
    ],
)
@pytest.mark.parametrize("mode", ["v2", "auto"])
def test_v2_header_is_read_once_it_is_complete(data: bytes, header: ProxyHeader, mode: str) -> None:
    assert [parse_proxy_header(data[:size], mode) for size in range(len(data))] == [None] * len(data)
    assert parse_proxy_header(data, mode) == header
    assert parse_proxy_header(data + b"GET / HTTP/1.1\r\n", mode) == header


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n\r\nGET",
        v2(0x11, 0x11, INET),
        v2(0x22, 0x11, INET),
        v2(0x21, 0x41, INET),
        v2(0x21, 0x13, INET),
        v2(0x21, 0x12, INET),
        v2(0x21, 0x11, INET[:-1]),
        v2(0x21, 0x21, INET),
        v2(0x21, 0x31, bytes(215)),
        v2(0x21, 0x11, b"", 4081),
    ],
)
def test_malformed_v2_header_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="PROXY"):
        parse_proxy_header(data, "v2")


def test_header_of_the_version_that_was_not_asked_for_is_refused() -> None:
    with pytest.raises(ValueError, match="does not begin"):
        parse_proxy_header(V1, "v2")
    with pytest.raises(ValueError, match="does not begin"):
        parse_proxy_header(v2(0x20, 0, b""), "v1")


@given(st.binary(max_size=120), st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", PROXY_V2_SIGNATURE + b"\x21\x11\x00"]))
def test_any_bytes_are_a_header_an_error_or_incomplete(data: bytes, start: bytes) -> None:
    try:
        header = parse_proxy_header(start + data, "auto")
    except ValueError:
        return
    assert header is None or header.length <= len(start + data)
