"""What a proxy in front of us says about its client: forwarded headers, and the PROXY protocol's first bytes.

Everything here is pure. Lists of hops are read from the right, because each proxy appends on the right: what
stands there was written by the peer we are connected to, and the walk goes on to the left only while the hop it
arrived at is trusted too. Anything that cannot be read ends the walk where it stands, so that an entry which a
client invented never becomes more than text to the left of its own address (RFC 7239, section 8.1).

This file must not know connections, sockets or the configuration; whoever calls it has decided that the peer is
trusted (:class:`TrustedPeers`).
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_interface, ip_network
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import unquote_to_bytes

from devserver.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Client: TypeAlias = tuple[str, int]
"""Address and port of a client; port 0 when nobody told."""

HOPS_MAX = 64
"""Hops examined from the right: more proxies than that stand in no chain, and each may cost an address to parse."""

CACHE_ENTRIES_MAX = 1024
CACHE_KEY_BYTES_MAX = 64

PROXY_HEADER_BYTES_MAX = 4096
"""A v2 header may announce 64 KiB; real ones hold two addresses and a few hundred bytes of TLVs."""

PROXY_V1_BYTES_MAX = 107
"""The longest line that version 1 allows, its CRLF included (PROXY protocol, section 2.1)."""

PROXY_V2_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
PROXY_V1_SIGNATURE = b"PROXY "


class TrustedPeers:
    """The peers whose word about their client is taken; made from ``--forwarded-allow-ips`` and its like.

    :param allowed: addresses, networks in CIDR notation, ``unix`` for every peer on a Unix socket, ``*`` for every
        peer; a list, or one string with commas. Any other word is compared with the peer's host as it stands.
    :raises ConfigError: an entry with a ``/`` is not a network.
    """

    __slots__ = ("_everyone", "_hosts", "_known", "_networks", "_unix")

    def __init__(self, allowed: Sequence[str] | str) -> None:
        entries = allowed.split(",") if isinstance(allowed, str) else allowed
        names = {entry.strip() for entry in entries} - {""}
        self._everyone = "*" in names
        self._unix = self._everyone or "unix" in names
        self._networks = [_network(name) for name in sorted(names) if "/" in name and not name.startswith("/")]
        self._hosts = {_canonical(name) for name in names if "/" not in name} - {"*", "unix"}
        self._known: dict[str, bool] = {}

    def __contains__(self, peer: object) -> bool:
        """Whether ``peer``, a socket address or None for a Unix socket, is trusted."""
        if isinstance(peer, tuple):
            return self.trusts(str(peer[0]))
        return self._unix and peer is None

    def trusts(self, host: str) -> bool:
        """Whether the peer at this address is trusted."""
        if self._everyone:
            return True
        answer = self._known.get(host)
        if answer is None:
            answer = self._judge(host)
            if len(host) <= CACHE_KEY_BYTES_MAX:
                if len(self._known) >= CACHE_ENTRIES_MAX:
                    self._known.clear()
                self._known[host] = answer
        return answer

    def _judge(self, host: str) -> bool:
        if host in self._hosts:
            return True
        address = _address(host.partition("%")[0])  # a link-local peer comes with its zone: fe80::1%eth0
        if address is None:
            return False
        return str(address) in self._hosts or any(address in network for network in self._networks)


class ForwardedHeaders:
    """Applies the forwarded headers that were opted into to what the socket says about a request.

    ``Forwarded`` and the X-Forwarded family are never combined: a proxy that writes one passes the other
    through from the client.

    :param names: the headers to read, as in ``--forwarded-headers``.
    :param trusted: the proxies whose entries in a list of hops are believed.
    :raises ConfigError: a name is unknown, or ``forwarded`` stands beside another one.
    """

    __slots__ = ("_hops", "_names", "_trusted")

    def __init__(self, names: Sequence[str], trusted: TrustedPeers) -> None:
        wanted = {name.strip().lower() for name in names} - {""}
        for name in sorted(wanted - _KNOWN):
            import difflib  # not at the top: only mistakes need it

            near = difflib.get_close_matches(name, _KNOWN, 1)
            hint = f'Did you mean "{near[0]}"?' if near else f"Known are {', '.join(sorted(_KNOWN))}."
            raise ConfigError(f'forwarded_headers: unknown header "{name}".', hint=hint)
        if "forwarded" in wanted and len(wanted) > 1:
            raise ConfigError(
                'forwarded_headers: "forwarded" cannot be combined with X-Forwarded headers.',
                hint="Name the ones that your proxy overwrites; it passes the others through from the client.",
            )
        self._names = frozenset(name.encode() for name in wanted)
        self._trusted = trusted
        self._hops: dict[bytes, tuple[Client | None, bool] | None] = {}

    def apply(
        self, headers: list[tuple[bytes, bytes]], client: Client | None, scheme: str
    ) -> tuple[Client | None, str, bytes | None, str]:
        """What the trusted peer says about the request it forwards.

        :param headers: those of the request, names in lower case.
        :param client: the peer's address, None on a Unix socket.
        :param scheme: ``http`` or ``https``; ``ws`` or ``wss`` for a WebSocket, which stays one.
        :return: the client; the scheme; the host that replaces the Host header, or None; the path prefix under
            which the proxy serves the app, to be put before the root path, or an empty string.
        """
        names = self._names
        found: dict[bytes, bytes] | None = None
        for name, value in headers:
            if name in names:
                if found is None:
                    found = {name: value}
                elif name in found:
                    found[name] += b"," + value  # RFC 9110, section 5.3
                else:
                    found[name] = value
        if found is None:
            return client, scheme, None, ""
        if b"forwarded" in found:
            return *self._walk_forwarded(found[b"forwarded"], client, scheme), ""
        if b"x-forwarded-for" in found:
            client = self._walk(found[b"x-forwarded-for"], client)
        if b"x-forwarded-proto" in found:
            scheme = _scheme(found[b"x-forwarded-proto"], scheme)
        host: bytes | None = None
        prefix = ""
        if b"x-forwarded-host" in found:
            host = _host(_last(found[b"x-forwarded-host"]))
        if b"x-forwarded-port" in found:
            host = _with_port(host or _host_header(headers), _last(found[b"x-forwarded-port"]), scheme) or host
        if b"x-forwarded-prefix" in found:
            prefix = _prefix(_last(found[b"x-forwarded-prefix"]))
        return client, scheme, host, prefix

    def _walk(self, value: bytes, client: Client | None) -> Client | None:
        """The rightmost untrusted hop of an X-Forwarded-For list, the leftmost one when all are trusted."""
        hop = self._hops.get(value)
        if hop is not None:  # a single hop that was seen before, which is the usual case
            return hop[0]
        entries = value.rsplit(b",", HOPS_MAX)
        for entry in reversed(entries[-HOPS_MAX:]):
            node = entry.strip(b" \t")
            if not node:  # RFC 9110, section 5.6.1.2: empty elements of a list do not count
                continue
            hop = self._hop(node)
            if hop is None:
                break
            client, trusted = hop
            if not trusted:
                break
        return client

    def _walk_forwarded(
        self, value: bytes, client: Client | None, scheme: str
    ) -> tuple[Client | None, str, bytes | None]:
        """As :meth:`_walk`, over the elements of Forwarded; scheme and host are those told along with the client."""
        host: bytes | None = None
        for element in _elements_from_the_right(value):
            pairs = _pairs(element)
            if pairs is None:
                break
            scheme = _scheme(pairs.get(b"proto", b""), scheme)
            host = _host(pairs.get(b"host", b"")) or host
            hop = self._hop(pairs.get(b"for", b""))
            if hop is None:
                break
            client, trusted = hop
            if not trusted:
                break
        return client, scheme, host

    def _hop(self, node: bytes) -> tuple[Client | None, bool] | None:
        """Address and port of one hop and whether it is trusted; None when it is no address (``unknown``, ``_x``)."""
        if len(node) > CACHE_KEY_BYTES_MAX:  # the longest address with a port has 53 bytes
            return None
        try:
            return self._hops[node]
        except KeyError:
            hop: tuple[Client | None, bool] | None = None
            if node == b"unix:":  # what nginx calls a peer on a Unix socket
                hop = None, None in self._trusted
            elif (client := _node(node.decode("latin-1"))) is not None:
                hop = client, self._trusted.trusts(client[0])
            if len(self._hops) >= CACHE_ENTRIES_MAX:
                self._hops.clear()
            self._hops[node] = hop
            return hop


_KNOWN = frozenset(
    {"forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-prefix", "x-forwarded-proto"}
)
_SCHEMES = {b"http": "http", b"https": "https", b"ws": "http", b"wss": "https"}
_DEFAULT_PORTS = {"http": b"80", "https": b"443", "ws": b"80", "wss": b"443"}
_DIGITS = frozenset("0123456789")
_HOST_BYTES = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_"
_TOKEN_BYTES = _HOST_BYTES + b"!#$%&'*+^`|~"  # RFC 9110, section 5.6.2
_QUOTED_BYTES = b"\t" + bytes(range(0x20, 0x7F)) + bytes(range(0x80, 0x100))
_OWS = b" \t"


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text)
    except ValueError:
        pass
    try:
        near = ip_interface(text).network
    except ValueError:
        raise ConfigError(f'"{text}" is not a network in CIDR notation.', hint='One looks like "10.0.0.0/8".') from None
    raise ConfigError(f'"{text}" is an address inside a network.', hint=f'Did you mean "{near}"?')


def _canonical(text: str) -> str:
    address = _address(text)
    return text if address is None else str(address)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """The address in ``text``; an IPv4 one when it is mapped into IPv6, as a dual-stack socket reports it."""
    if "%" in text:  # ip_address() takes any text for a zone
        return None
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _port(text: str) -> int | None:
    if 0 < len(text) <= 5 and _DIGITS.issuperset(text):
        port = int(text)
        if port <= 65535:
            return port
    return None


def _node(text: str) -> Client | None:
    """``1.2.3.4``, ``1.2.3.4:80``, ``::1``, ``[::1]`` or ``[::1]:80``; a port may be obfuscated (RFC 7239, 6)."""
    port: str | None = None
    if text.startswith("["):
        text, bracket, rest = text[1:].partition("]")
        if not bracket or ":" not in text or (rest and not rest.startswith(":")):
            return None
        if rest:
            port = rest[1:]
    elif text.count(":") == 1:
        text, _, port = text.partition(":")
    address = _address(text)
    if address is None:
        return None
    if port is None or (port.startswith("_") and len(port) > 1):
        return str(address), 0
    number = _port(port)
    return None if number is None else (str(address), number)


def _last(value: bytes) -> bytes:
    """The last element of a list: what the peer itself wrote when it appends instead of replacing."""
    return value.rpartition(b",")[2].strip(_OWS)


def _scheme(told: bytes, scheme: str) -> str:
    """The scheme told last, in the family (http or ws) of the one that the socket told; that one if it is unknown."""
    secure = _SCHEMES.get(told) or _SCHEMES.get(_last(told).lower())
    if secure is None:
        return scheme
    if scheme.startswith("ws"):
        return "wss" if secure == "https" else "ws"
    return secure


def _split_host(value: bytes) -> tuple[bytes, bytes] | None:
    """Host and port (empty when there is none) of an authority without userinfo; None when it is not one."""
    if value.startswith(b"["):
        name, bracket, rest = value.partition(b"]")
        if not bracket or (rest and not rest.startswith(b":")):
            return None
        address = _address(name[1:].decode("latin-1"))
        if address is None or b":" not in name:
            return None
        name, port = name + bracket, rest[1:]
        colon = bool(rest)
    else:
        name, mark, port = value.partition(b":")
        colon = bool(mark)
        if not name or len(name) > 255 or name.translate(None, _HOST_BYTES):
            return None
    if colon and _port(port.decode("latin-1")) is None:
        return None
    return name, port


def _host(value: bytes) -> bytes | None:
    return None if _split_host(value) is None else value


def _host_header(headers: list[tuple[bytes, bytes]]) -> bytes:
    return next((value for name, value in headers if name == b"host"), b"")


def _with_port(host: bytes, port: bytes, scheme: str) -> bytes | None:
    """``host`` with this port, which goes unsaid when it is the scheme's own."""
    parts = _split_host(host)
    if parts is None or not _port(port.decode("latin-1")):
        return None
    return parts[0] if port == _DEFAULT_PORTS.get(scheme) else parts[0] + b":" + port


def _prefix(value: bytes) -> str:
    """A path prefix as ASGI's root_path wants it, decoded and without a slash at its end; empty when it is not one.

    Frameworks put it in front of links and redirects: ``//host`` or a backslash would lead to another site.
    """
    try:
        text = unquote_to_bytes(value).decode("utf-8").rstrip("/")
    except UnicodeDecodeError:
        return ""
    if not text.startswith("/") or not text.isprintable() or not {"\\", "?", "#", " "}.isdisjoint(text):
        return ""
    return "" if not {"", ".", ".."}.isdisjoint(text[1:].split("/")) else text


def _elements_from_the_right(value: bytes) -> Iterator[bytes]:
    """The elements of a Forwarded list, last one first, at most ``HOPS_MAX``.

    Quoted strings are skipped from their closing quote to the left, so that a quote which a client left open
    swallows its own text and not the element that the proxy appended.
    """
    end = len(value)
    for _ in range(HOPS_MAX):
        start = _element_start(value, end)
        element = value[start:end].strip(_OWS)
        if element:
            yield element
        if start == 0:
            return
        end = start - 1


def _element_start(value: bytes, end: int) -> int:
    """Where the last element of ``value[:end]`` begins: behind the last comma that is not quoted, else 0."""
    while True:
        closing = value.rfind(b'"', 0, end)
        comma = value.rfind(b",", closing + 1, end)
        if comma >= 0:
            return comma + 1
        opening = closing
        while opening > 0:
            opening = value.rfind(b'"', 0, opening)
            backslashes = opening
            while backslashes > 0 and value[backslashes - 1] == 0x5C:
                backslashes -= 1
            if (opening - backslashes) % 2 == 0:
                break
        if opening <= 0:
            return 0
        end = opening


def _pairs(element: bytes) -> dict[bytes, bytes] | None:
    """The parameters of one element of Forwarded (RFC 7239, section 4), names in lower case; None when malformed."""
    pairs: dict[bytes, bytes] = {}
    at = 0
    while at < len(element):
        equals = element.find(b"=", at)
        if equals < 0:
            return None
        # The grammar has no white space round the semicolon; the examples of the RFC do.
        name = element[at:equals].lstrip(_OWS).lower()
        if not name or name.translate(None, _TOKEN_BYTES) or name in pairs:
            return None
        if element[equals + 1 : equals + 2] == b'"':
            text, at = _quoted(element, equals + 2)
            if at < 0:
                return None
            semicolon = element.find(b";", at)
            between = element[at:] if semicolon < 0 else element[at:semicolon]
            if between.strip(_OWS):
                return None
        else:
            semicolon = element.find(b";", equals)
            text = (element[equals + 1 :] if semicolon < 0 else element[equals + 1 : semicolon]).rstrip(_OWS)
            # A colon or a bracket needs quotes, yet proxies write them without: for=1.2.3.4:80
            if not text or text.translate(None, _TOKEN_BYTES + b":[]"):
                return None
        pairs[name] = text
        at = len(element) if semicolon < 0 else semicolon + 1
    return pairs


def _quoted(element: bytes, at: int) -> tuple[bytes, int]:
    """The text of the quoted string that opens before ``at``, and where it ends; -1 when it does not."""
    text = bytearray()
    while True:
        quote = element.find(b'"', at)
        if quote < 0:
            return b"", -1
        backslash = element.find(b"\\", at, quote)
        if backslash < 0:
            text += element[at:quote]
            return (b"", -1) if text.translate(None, _QUOTED_BYTES) else (bytes(text), quote + 1)
        text += element[at:backslash] + element[backslash + 1 : backslash + 2]
        at = backslash + 2


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """What a PROXY protocol header says about the connection that it opens."""

    version: int
    length: int
    """Bytes to consume; what follows belongs to the client."""
    source: Client | None = None
    """The client; None when the socket's own address stands (LOCAL, UNKNOWN, UNSPEC, or a client on a Unix socket)."""
    destination: Client | None = None
    """The address that the client connected to."""


def parse_proxy_header(data: bytes, mode: str) -> ProxyHeader | None:
    """Reads the header of the PROXY protocol, versions 1 and 2, that a connection must begin with.

    :param data: everything received so far.
    :param mode: the versions taken: ``v1``, ``v2`` or ``auto`` for both.
    :return: the header, or None while it is incomplete.
    :raises ValueError: this is no such header, however it may go on. The specification wants the connection closed.
    """
    if mode != "v1" and data[:12] == PROXY_V2_SIGNATURE[: len(data)]:
        return _parse_v2(data) if len(data) >= 16 else None
    if mode != "v2" and data[:6] == PROXY_V1_SIGNATURE[: len(data)]:
        return _parse_v1(data)
    raise ValueError("the connection does not begin with a PROXY protocol header")


def _parse_v1(data: bytes) -> ProxyHeader | None:
    end = data.find(b"\r\n", 0, PROXY_V1_BYTES_MAX)
    if end < 0:
        if len(data) >= PROXY_V1_BYTES_MAX:
            raise ValueError(f"the PROXY line is longer than {PROXY_V1_BYTES_MAX} bytes")
        return None
    words = data[:end].decode("latin-1").split(" ")
    length = end + 2
    if words[1] == "UNKNOWN":  # what follows it must be ignored
        return ProxyHeader(1, length)
    if len(words) != 6 or words[1] not in {"TCP4", "TCP6"}:
        raise ValueError("the PROXY line is malformed")
    kind = IPv4Address if words[1] == "TCP4" else IPv6Address
    ends: list[Client] = []
    for host, digits in ((words[2], words[4]), (words[3], words[5])):
        port = _port(digits)
        if port is None or str(port) != digits:
            raise ValueError("a port in the PROXY line is malformed")
        if "%" in host:
            raise ValueError("an address in the PROXY line has a zone")
        try:
            ends.append((_canonical(str(kind(host))), port))
        except ValueError:
            raise ValueError("an address in the PROXY line is malformed") from None
    return ProxyHeader(1, length, ends[0], ends[1])


def _parse_v2(data: bytes) -> ProxyHeader | None:
    version, command = divmod(data[12], 16)
    family, transport = divmod(data[13], 16)
    length = 16 + int.from_bytes(data[14:16], "big")
    if version != 2 or command > 1 or family > 3 or transport > 2:
        raise ValueError("the PROXY header has an unknown version, command, family or transport")
    if length > PROXY_HEADER_BYTES_MAX:
        raise ValueError(f"the PROXY header is longer than {PROXY_HEADER_BYTES_MAX} bytes")
    # LOCAL is the proxy itself, such as a health check. A family without a transport is unspecified as a whole.
    size = _V2_ADDRESS_BYTES[family] if command == 1 and transport != 0 else 0
    if size and transport == 2:
        raise ValueError("the PROXY header speaks of datagrams")
    if 16 + 2 * size + (4 if size in {4, 16} else 0) > length:
        raise ValueError("the PROXY header is too short for its addresses")
    if len(data) < length:
        return None
    if size not in {4, 16}:
        return ProxyHeader(2, length)
    kind = IPv4Address if size == 4 else IPv6Address
    ends: list[Client] = []
    for index in range(2):
        at, port_at = 16 + index * size, 16 + 2 * size + 2 * index
        host = _canonical(str(kind(data[at : at + size])))
        ends.append((host, int.from_bytes(data[port_at : port_at + 2], "big")))
    return ProxyHeader(2, length, ends[0], ends[1])


_V2_ADDRESS_BYTES = (0, 4, 16, 108)
