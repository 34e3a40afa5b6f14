"""Response heads as bytes (RFC 9112 §4, RFC 9110 §8.6), and the refusal of what HTTP cannot carry.

Pure: status and headers of the app in, bytes and facts out. An app's header reaches the wire only after it passed
:func:`encode_headers`; no CR, LF or NUL ever does. Lines that were seen before are taken from a bounded cache, which
spares the checks; values that identify somebody (Set-Cookie) or vary with each response never enter it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import TypeAlias, TypeVar

from devserver.errors import AppContractError

CACHE_ENTRIES_MAX = 1024
CACHED_BYTES_MAX = 64

STATUS_LINES: dict[int, bytes] = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode("ascii")
    for status in HTTPStatus
    if status >= 200
}
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
SWITCHING_PROTOCOLS = b"HTTP/1.1 101 Switching Protocols\r\n"
BODILESS = frozenset({204, 205, 304})
"""Statuses whose responses have no content, whatever the app sends (RFC 9110 §15.3.5, §15.3.6, §15.4.5)."""

_TOKEN = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# RFC 9110 §5.5: visible ASCII, SP, HTAB and obs-text; every other control character is refused.
_FIELD_VALUE = b"\t" + bytes(range(0x20, 0x7F)) + bytes(range(0x80, 0x100))

HAS_DATE = 1
HAS_SERVER = 2
HAS_CLOSE = 4
HAS_CONNECTION = 8
HAS_EVENTS = 16
HAS_TWO_LENGTHS = 32


EncodedHeaders: TypeAlias = tuple[bytes, int, int]
"""The header lines of a response and what they mean for its framing: the lines, which end with CRLF each, without
Content-Length, Transfer-Encoding and ``close``, since framing is the server's; the Content-Length, or -1; and the flags
HAS_DATE and HAS_SERVER (the app sent its own), HAS_CLOSE (it asked for the connection to be closed), HAS_CONNECTION
(it named other connection options), HAS_EVENTS (a stream of server-sent events) and HAS_TWO_LENGTHS (Content-Length
fields that differ, of which the first is given). A plain tuple: one is made per response."""

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")

_seen: dict[tuple[bytes, bytes], bytes] = {}
_seen_lengths: dict[tuple[bytes, bytes], int] = {}
content_length_ends: dict[int, bytes] = {}
"""What :func:`content_length_end` made before; an exchange looks here first, which spares a call."""


def status_line(status: int) -> bytes:
    """``HTTP/1.1 SP status SP [reason] CRLF``; the reason of an unregistered status is empty (RFC 9112 §4).

    :raises AppContractError: the status is not a final one of three digits.
    """
    line = STATUS_LINES.get(status)
    if line is not None:
        return line
    if not isinstance(status, int) or not 200 <= status <= 999:
        raise AppContractError(f"The response status must be an integer from 200 to 999, not {status!r}.")
    return b"HTTP/1.1 %d \r\n" % status


def encode_headers(headers: Sequence[tuple[bytes, bytes]]) -> EncodedHeaders:
    """Checks and joins the headers of ``http.response.start`` (ASGI HTTP spec: two-item iterables of byte strings).

    :raises AppContractError: a header is not a pair of byte strings, its name is no token, its value
        holds a control character, or a framing header cannot be meant.
    """
    block = b""
    content_length = -1
    flags = 0
    try:
        for header in headers:
            line = _seen.get(header)
            if line is None:
                length = _seen_lengths.get(header)
                if length is None:
                    length, flag, line = _encode_header(*header)
                    flags |= flag
                    block += line
                if length >= 0:
                    if content_length not in (-1, length):
                        flags |= HAS_TWO_LENGTHS
                    else:
                        content_length = length
            else:
                block += line
    except (TypeError, ValueError) as exc:
        pairs = _as_pairs(headers)
        if pairs == headers:
            raise AssertionError("pairs of byte strings can be encoded") from exc
        return encode_headers(pairs)
    return block, content_length, flags


def _as_pairs(headers: Iterable[Iterable[bytes]]) -> list[tuple[bytes, bytes]]:
    """Headers that came as lists or the like."""
    pairs = []
    try:
        for header in headers:
            name, value = header
            _check(name, value)
            pairs.append((name, value))
    except (TypeError, ValueError) as exc:
        raise AppContractError(f"The response headers must be pairs of byte strings: {exc}.") from exc
    return pairs


def _encode_header(name: bytes, value: bytes) -> tuple[int, int, bytes]:
    """One header that was not seen before: the Content-Length or -1; a flag or 0; the line, if there is one."""
    lowered = _check(name, value)
    special = _SPECIAL.get(lowered)
    if special is None:
        line = b"%b: %b\r\n" % (lowered, value)
        if lowered == b"content-type" and value.startswith(b"text/event-stream"):
            return -1, HAS_EVENTS, line
        if len(line) <= CACHED_BYTES_MAX:
            _keep(_seen, (name, value), line)
        return -1, 0, line
    if special == "content-length":
        length = _content_length(value)
        _keep(_seen_lengths, (name, value), length)
        return length, 0, b""
    if special == "transfer-encoding":
        if value.strip().lower() != b"chunked":
            raise AppContractError('The server chooses the transfer coding; only "chunked" may be asked for.')
        return -1, 0, b""
    if special == "connection":
        kept, close = _connection_options(value)
        flag = (HAS_CLOSE if close else 0) | (HAS_CONNECTION if kept else 0)
        return -1, flag, b"connection: %b\r\n" % kept if kept else b""
    return -1, special if isinstance(special, int) else 0, b"%b: %b\r\n" % (lowered, value)


def _keep(cache: dict[_Key, _Value], key: _Key, value: _Value) -> None:
    """Remembers ``value``, within bounds."""
    if len(cache) >= CACHE_ENTRIES_MAX:
        cache.clear()
    cache[key] = value


def content_length_end(size: int) -> bytes:
    """The end of a head: Content-Length, and the empty line."""
    end = b"content-length: %d\r\n\r\n" % size
    _keep(content_length_ends, size, end)
    return end


def encode_trailers(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Checks and joins trailer fields (RFC 9110 §6.5.1).

    :raises AppContractError: as in :func:`encode_headers`, or a field that may not stand in a trailer.
    """
    fields = list(headers)
    block, content_length, flags = encode_headers(fields)
    framed = any(name.lower() == b"transfer-encoding" for name, _ in fields)
    if framed or content_length >= 0 or flags & (HAS_CLOSE | HAS_CONNECTION):
        raise AppContractError("Framing and connection fields may not be sent as trailers.")
    return block


def encode_early_hints(links: Iterable[bytes]) -> bytes:
    """A 103 response with one Link field for each of ``links`` (RFC 8297)."""
    block, _, _ = encode_headers([(b"link", link) for link in links])
    return b"HTTP/1.1 103 Early Hints\r\n%b\r\n" % block


def error_response(
    status: int,
    reason: str,
    defaults: bytes,
    *,
    retry_after_s: int = 0,
    fields: Iterable[tuple[bytes, bytes]] = (),
) -> bytes:
    """A whole response that says in plain text what was wrong, and closes the connection.

    :param reason: one sentence; it is the body.
    :param defaults: the server's default header lines.
    :param retry_after_s: when not 0, the Retry-After field (RFC 9110 §10.2.3).
    :param fields: others that it has; of ours, since they are not checked.
    """
    body = reason.encode("utf-8") + b"\n"
    options = b"close"
    lines = b"retry-after: %d\r\n" % retry_after_s if retry_after_s else b""
    for name, value in fields:
        if name == b"connection":
            options += b", " + value
        else:
            lines += b"%b: %b\r\n" % (name, value)
    head = b"%b%bcontent-type: text/plain; charset=utf-8\r\n%bcontent-length: %d\r\nconnection: %b\r\n\r\n" % (
        status_line(status),
        defaults,
        lines,
        len(body),
        options,
    )
    return head + body


_SPECIAL: dict[bytes, str | int] = {
    b"content-length": "content-length",
    b"transfer-encoding": "transfer-encoding",
    b"connection": "connection",
    b"keep-alive": "uncached",
    b"set-cookie": "uncached",
    b"date": HAS_DATE,
    b"server": HAS_SERVER,
}
"""Headers that change the framing, that the server also sends, or that must not be cached."""


def _check(name: bytes, value: bytes) -> bytes:
    """The lower-cased name, when both are byte strings that HTTP can carry."""
    if not isinstance(name, bytes) or not isinstance(value, bytes):
        raise AppContractError(f"The response header {name!r}: {value!r:.80} must be two byte strings.")
    if not name or name.translate(None, _TOKEN):
        raise AppContractError(f"The response header name {name!r:.80} is not a token.")
    if value.translate(None, _FIELD_VALUE):
        raise AppContractError(f"The value of the response header {name!r:.80} holds a control character.")
    return name.lower()


def _content_length(value: bytes) -> int:
    text = value.strip(b" \t")
    if not text.isdigit() or len(text) > 19:
        raise AppContractError(f"The response's Content-Length {value!r:.80} is not a number of bytes.")
    return int(text)


def _connection_options(value: bytes) -> tuple[bytes, bool]:
    """The options that the app may name itself, and whether ``close`` was among them."""
    options = [option.strip() for option in value.lower().split(b",")]
    kept = [option for option in options if option and option not in (b"close", b"keep-alive")]
    return b", ".join(kept), b"close" in options
