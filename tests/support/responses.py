"""A small, strict reader of HTTP/1.x responses: whatever it accepts, every client does.

It knows the methods of the requests, because a response to HEAD has no body (RFC 9112 §6.3), and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field

_TOKEN = frozenset(b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
_HEX = frozenset(b"0123456789abcdefABCDEF")
_VALUE = frozenset([0x09, *range(0x20, 0x7F), *range(0x80, 0x100)])


class MalformedResponseError(AssertionError):
    """What the server wrote is not HTTP."""


@dataclass(frozen=True)
class Response:
    """One response, interim (1xx) ones included."""

    version: str
    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes = b""
    trailers: list[tuple[str, str]] = field(default_factory=list)
    framing: str = "none"
    """``none``, ``length``, ``chunked`` or ``close``."""

    def get(self, name: str) -> str | None:
        """The value of the only header called ``name``; None when there is none."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        if len(values) > 1:
            raise MalformedResponseError(f"{len(values)} lines of {name}: {values}")
        return values[0] if values else None


def read_response(data: bytes, *, method: str = "GET", at_eof: bool = False) -> tuple[Response, int] | None:
    """The first response in ``data`` and its length, or None while it is incomplete.

    :param method: of the request that it answers.
    :param at_eof: whether the server has closed its side.
    :raises MalformedResponseError: it will never be a response.
    """
    end = data.find(b"\r\n\r\n")
    if end < 0:
        if at_eof and data:
            raise MalformedResponseError(f"the connection ended within a head: {data[:200]!r}")
        return None
    status_line, *lines = data[:end].split(b"\r\n")
    version, status, reason = _status_line(status_line)
    headers = [_header(line) for line in lines]
    head = Response(version, status, reason, headers)
    at = end + 4
    if method == "HEAD" or status < 200 or status in {204, 304}:
        if status < 200 or status == 204:
            for name in ("content-length", "transfer-encoding"):
                if head.get(name) is not None:
                    raise MalformedResponseError(f"a {status} response has {name}")  # RFC 9110 §8.6, RFC 9112 §6.1
        return head, at
    coding, length = head.get("transfer-encoding"), head.get("content-length")
    if coding is not None:
        if coding != "chunked" or length is not None or version == "1.0":
            raise MalformedResponseError(f"transfer-encoding: {coding}, content-length: {length}, HTTP/{version}")
        chunked = _chunked(data, at)
        if chunked is None:
            if at_eof:
                raise MalformedResponseError("the connection ended within a chunked body")
            return None
        body, trailers, at = chunked
        return Response(version, status, reason, headers, body, trailers, "chunked"), at
    if length is not None:
        if not length.isascii() or not length.isdigit():
            raise MalformedResponseError(f"content-length: {length}")
        body = data[at : at + int(length)]
        if len(body) < int(length):
            if at_eof:
                raise MalformedResponseError(f"the connection ended within a body: {len(body)} of {length} bytes")
            return None
        return Response(version, status, reason, headers, body, [], "length"), at + int(length)
    if not at_eof:
        return None
    return Response(version, status, reason, headers, data[at:], [], "close"), len(data)


def read_responses(data: bytes, *, methods: list[str] | None = None, at_eof: bool = True) -> list[Response]:
    """Every response in ``data``, which must end with one.

    :param methods: of the requests in order; GET where none is given.
    """
    responses: list[Response] = []
    pending = list(methods or [])
    at = 0
    while at < len(data):
        read = read_response(data[at:], method=pending[0] if pending else "GET", at_eof=at_eof)
        if read is None:
            raise MalformedResponseError(f"an incomplete response: {data[at : at + 200]!r}")
        responses.append(read[0])
        at += read[1]
        if read[0].status >= 200 and pending:
            pending.pop(0)
    return responses


def _status_line(line: bytes) -> tuple[str, int, str]:
    version, space, rest = line.partition(b" ")
    status, space_too, reason = rest.partition(b" ")
    if version not in {b"HTTP/1.1", b"HTTP/1.0"} or not space or not space_too:
        raise MalformedResponseError(f"the status line is {line!r}")
    if len(status) != 3 or not status.isdigit() or not _VALUE.issuperset(reason):
        raise MalformedResponseError(f"the status line is {line!r}")
    return version[5:].decode(), int(status), reason.decode("latin-1")


def _header(line: bytes) -> tuple[str, str]:
    name, colon, value = line.partition(b":")
    if not colon or not name or not _TOKEN.issuperset(name) or not _VALUE.issuperset(value):
        raise MalformedResponseError(f"the header line is {line!r}")
    return name.decode(), value.strip(b" \t").decode("latin-1")


def _chunked(data: bytes, at: int) -> tuple[bytes, list[tuple[str, str]], int] | None:
    body = bytearray()
    while True:
        end = data.find(b"\r\n", at)
        if end < 0:
            return None
        digits = data[at:end]
        if not digits or not _HEX.issuperset(digits):
            raise MalformedResponseError(f"the chunk size is {digits!r}")
        size, at = int(digits, 16), end + 2
        if size == 0:
            break
        if len(data) < at + size + 2:
            return None
        body += data[at : at + size]
        if data[at + size : at + size + 2] != b"\r\n":
            raise MalformedResponseError("a chunk is longer than its size")
        at += size + 2
    trailers: list[tuple[str, str]] = []
    while True:
        end = data.find(b"\r\n", at)
        if end < 0:
            return None
        line, at = data[at:end], end + 2
        if not line:
            return bytes(body), trailers, at
        trailers.append(_header(line))
