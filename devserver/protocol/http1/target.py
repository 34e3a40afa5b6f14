"""The request line and the Host field, judged on their raw bytes (RFC 9112 §3).

llhttp is lenient here: it takes several spaces, other protocol names, HTTP/2.0 or no version at all, fragments, and any
target behind ``*`` or a scheme. So the connection hands the raw line to :func:`parse_request_line` before
llhttp sees the head; what comes back is everything that the ASGI scope needs of it. Pure: bytes in, values out.
"""

from __future__ import annotations

from ipaddress import IPv6Address
from urllib.parse import quote, unquote

from devserver.protocol.http1.refusal import Refusal

CACHE_ENTRIES_MAX = 1024
CACHED_BYTES_MAX = 64

METHODS = frozenset(
    b"ACL BIND CHECKOUT COPY DELETE GET HEAD LINK LOCK M-SEARCH MERGE MKACTIVITY MKCALENDAR MKCOL MOVE NOTIFY OPTIONS "
    b"PATCH POST PROPFIND PROPPATCH PURGE PUT QUERY REBIND REPORT SEARCH SOURCE SUBSCRIBE TRACE UNBIND UNLINK UNLOCK "
    b"UNSUBSCRIBE".split()
)
"""The methods that llhttp parses in HTTP requests, less CONNECT, which asks for a proxy."""

_TOKEN = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_VISIBLE = bytes(range(0x21, 0x7F))
# RFC 3986 §3.2.2: unreserved, sub-delims and percent signs make a reg-name or an IPv4 address.
_REG_NAME = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-._~!$&'()*+,;=%"
# RFC 3986 §3.3: pchar and the slash; a percent sign is taken for the start of an escape.
_PATH_SAFE = "/:@!$&'()*+,;=-._~%"
_HEX = b"0123456789ABCDEFabcdef"
_UNRESERVED = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-._~"
_FUTURE_ADDRESS = _UNRESERVED + b"!$&'()*+,;=:"


class RequestLine:
    """What a request line says. Attributes with slots: they are read a dozen times a request, and faster than fields
    of a named tuple."""

    __slots__ = ("authority", "http_version", "is_plain", "method", "path", "query", "raw_path", "target")

    def __init__(
        self, method: str, target: bytes, http_version: str, raw_path: bytes, query: bytes, authority: bytes | None
    ) -> None:
        path = raw_path.decode("ascii")
        self.method = method
        self.path = unquote(path) if "%" in path else path
        """Percent-decoded; ``/`` when an absolute-form target has none, ``*`` for ``OPTIONS *``."""
        self.raw_path = raw_path
        self.query = query
        self.http_version = http_version
        """``1.0`` or ``1.1``."""
        self.authority = authority
        """Of an absolute-form target; it replaces the Host field (RFC 9112 §3.2.2)."""
        self.target = target
        self.is_plain = http_version == "1.1" and method != "HEAD" and authority is None
        """HTTP/1.1, not HEAD, no authority: reading the request and framing the response are the ordinary ones."""


seen_lines: dict[bytes, RequestLine] = {}
"""Lines that were parsed before; the connection looks here first, which spares a call."""
_seen_hosts: set[bytes] = set()


def parse_request_line(line: bytes) -> RequestLine:
    """Reads ``method SP request-target SP HTTP-version`` (RFC 9112 §3), without its CRLF.

    :raises Refusal: 400 for a malformed line or target, 501 for a method unknown here, 505 for another version.
    """
    known = seen_lines.get(line)
    if known is not None:
        return known
    if b"\n" in line or b"\r" in line:
        raise Refusal(400, "The lines of a request head must end with CRLF.")
    parts = line.split(b" ")
    if len(parts) != 3 or not all(parts):
        raise Refusal(400, "The request line must be a method, a target and a version, with single spaces between.")
    method, target, version = parts
    if method.translate(None, _TOKEN):
        raise Refusal(400, "The method is not a token.")
    if version not in (b"HTTP/1.1", b"HTTP/1.0"):
        raise Refusal(505, "Only HTTP/1.0 and HTTP/1.1 are spoken here.")
    if method not in METHODS:
        raise Refusal(501, "The method is not implemented.")
    if target.translate(None, _VISIBLE):
        raise Refusal(400, "The request target has bytes outside printable ASCII.")
    if b"#" in target:
        raise Refusal(400, "The request target has a fragment.")
    raw_path, query, authority = _split_target(method, target)
    http_version = "1.1" if version == b"HTTP/1.1" else "1.0"
    parsed = RequestLine(method.decode("ascii"), target, http_version, raw_path, query, authority)
    if len(line) <= CACHED_BYTES_MAX:
        if len(seen_lines) >= CACHE_ENTRIES_MAX:
            seen_lines.clear()
        seen_lines[line] = parsed
    return parsed


def raw_path(path: str) -> bytes:
    """A configured or forwarded path prefix as ``raw_path`` begins with it."""
    return quote(path, safe=_PATH_SAFE).encode("ascii")


def _split_target(method: bytes, target: bytes) -> tuple[bytes, bytes, bytes | None]:
    """The path, the query and the authority of the four forms of RFC 9112 §3.2."""
    if target.startswith(b"/"):
        path, _, query = target.partition(b"?")
        return path, query, None
    if target == b"*":
        if method != b"OPTIONS":
            raise Refusal(400, 'The target "*" is for OPTIONS only.')
        return target, b"", None
    scheme, separator, rest = target.partition(b"://")
    if not separator or scheme.lower() not in (b"http", b"https"):
        raise Refusal(400, "The request target is neither a path nor an http or https URL.")
    rest, _, query = rest.partition(b"?")
    authority, _, path = rest.partition(b"/")
    if not authority or authority.startswith(b":"):
        raise Refusal(400, "The URL in the request line has no host.")
    check_host(authority)
    return b"/" + path, query, authority


def check_host(value: bytes) -> None:
    """Checks ``uri-host [":" port]`` (RFC 9110 §7.2, RFC 3986 §3.2); an empty value is allowed (RFC 9112 §3.2).

    Which hosts and ports are served is the app's business: a port may have any digits, since the grammar gives no
    bound, and an address a zone, as clients send it (RFC 6874, RFC 9844).

    :raises Refusal: 400; for userinfo and an empty host with a port as well (RFC 9110 §4.2.1, §4.2.4).
    """
    if value in _seen_hosts:
        return
    if value.startswith(b"["):
        host, bracket, port = value[1:].partition(b"]")
        wrong = not bracket or not _is_ip_literal(host) or (bool(port) and not port.startswith(b":"))
        port = port[1:]
    else:
        host, _, port = value.partition(b":")
        wrong = bool(host.translate(None, _REG_NAME)) or (not host and bool(value)) or not _has_whole_escapes(host)
    if wrong or (port and not port.isdigit()):
        raise Refusal(400, "The host is not valid.")
    if len(value) <= CACHED_BYTES_MAX:
        if len(_seen_hosts) >= CACHE_ENTRIES_MAX:
            _seen_hosts.clear()
        _seen_hosts.add(value)


def _has_whole_escapes(text: bytes) -> bool:
    """Returns whether two hexadecimal digits follow each percent sign (RFC 3986 §2.1)."""
    return all(len(part[:2].translate(None, _HEX)) == 0 and len(part) >= 2 for part in text.split(b"%")[1:])


def _is_ip_literal(text: bytes) -> bool:
    """Returns whether ``text`` is an IPv6address, with or without a zone, or an IPvFuture (RFC 3986 §3.2.2)."""
    if text[:1] in (b"v", b"V"):
        version, dot, address = text[1:].partition(b".")
        return bool(version and dot and address) and not (
            version.translate(None, _HEX) or address.translate(None, _FUTURE_ADDRESS)
        )
    address, percent, zone = text.partition(b"%")
    if percent and (not zone or zone.translate(None, _UNRESERVED + b"%")):
        return False
    try:
        IPv6Address(address.decode("ascii"))
    except ValueError:
        return False
    return True
