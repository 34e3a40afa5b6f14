"""Status and headers of a WSGI response, checked when ``start_response`` is called (PEP 3333, "The start_response()
Callable"): the app learns of a mistake while it runs, where it made it.

Pure. Pairs that were seen before are not checked again; those that identify somebody are never kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from devserver.errors import AppContractError

_SEEN_MAX = 1024
_SEEN_LENGTH_MAX = 64
_seen: dict[tuple[str, str], tuple[bytes, bytes]] = {}
_seen_statuses: dict[str, int] = {}

_TOKEN = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_CONTROLS = bytes(range(0x20)).replace(b"\t", b"") + b"\x7f"
_HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization te trailer transfer-encoding upgrade".split()
)
"""RFC 2616 §13.5.1, which PEP 3333 forbids apps to use; what is written ``Trailers`` there is the field ``Trailer``."""
_LEFT_OUT = (b"", b"")
"""In place of a header that is not sent."""


def _ignore(text: str) -> None:
    pass


def parse_status(status: Any) -> int:
    """The number in a status such as ``404 Not Found``.

    :raises AppContractError: it is no string of three digits, a space and a reason.
    """
    code = _seen_statuses.get(status) if type(status) is str else None
    if code is not None:
        return code
    if not isinstance(status, str):
        raise AppContractError(f"start_response: the status must be a str, not {type(status).__name__}.")
    number = status[:3]
    if len(number) != 3 or not (number.isascii() and number.isdigit()) or status[3:4] not in {"", " "}:
        raise AppContractError(f'start_response: the status {status!r:.80} is not of the form "200 OK".')
    code = int(number)
    if code < 200:
        raise AppContractError(f"start_response: {code} is not the status of a final response.")
    _keep(_seen_statuses, status, code, len(status))
    return code


def encode_headers(headers: Any, warn: Callable[[str], None] = _ignore) -> list[tuple[bytes, bytes]]:
    """Encodes the headers.

    Mends what gunicorn and other servers put up with as well: another iterable than a list, another pair than a tuple,
    and headers about the connection, which are left out.

    :param headers: pairs of native strings.
    :param warn: called with one sentence about each thing that was mended.
    :raises AppContractError: this is something else, or HTTP cannot carry a header.
    """
    if not isinstance(headers, list):
        if not isinstance(headers, Iterable):
            raise AppContractError(f"start_response: the headers must be a list, not {type(headers).__name__}.")
        warn(f"start_response: the headers should be a list (PEP 3333), not {type(headers).__name__}.")
    encoded = []
    for header in headers:
        try:
            pair = _seen.get(header)
        except TypeError:
            pair = None
        if pair is None:
            pair = _encode(header, warn)
        if pair is not _LEFT_OUT:
            encoded.append(pair)
    return encoded


def content_length(headers: list[tuple[bytes, bytes]]) -> int:
    """What Content-Length promises, or -1; whether it is well-formed is judged when the response starts."""
    for name, value in headers:
        if (name == b"Content-Length" or name.lower() == b"content-length") and value.isdigit():
            return int(value)
    return -1


def _encode(header: Any, warn: Callable[[str], None]) -> tuple[bytes, bytes]:
    if not isinstance(header, (tuple, list)) or len(header) != 2:
        raise AppContractError(f"start_response: the header {header!r:.80} must be a tuple of name and value.")
    if isinstance(header, list):
        warn("start_response: a header should be a tuple of name and value (PEP 3333), not a list.")
        header = tuple(header)
    name, value = header
    if not isinstance(name, str) or not isinstance(value, str):
        raise AppContractError(f"start_response: the header {name!r:.80}: {value!r:.80} must be two str.")
    try:
        pair = name.encode("latin-1"), value.encode("latin-1")
    except UnicodeEncodeError:
        raise AppContractError(
            f"start_response: the header {name!r:.80}: {value!r:.80} has characters outside Latin-1."
        ) from None
    if not name or pair[0].translate(None, _TOKEN):
        raise AppContractError(f"start_response: the header name {name!r:.80} is not a token.")
    if pair[1] != pair[1].translate(None, _CONTROLS):
        raise AppContractError(f"start_response: the value of the header {name!r:.80} holds a control character.")
    lowered = pair[0].lower()
    if lowered in _HOP_BY_HOP:
        warn(
            f"start_response: the header {name} was left out, because it is about the connection, which is the "
            "server's to manage (PEP 3333)."
        )
        return _LEFT_OUT
    if lowered != b"set-cookie":
        _keep(_seen, header, pair, len(name) + len(value))
    return pair


def _keep(cache: dict[Any, Any], key: Any, value: Any, length: int) -> None:
    if length > _SEEN_LENGTH_MAX:
        return
    if len(cache) >= _SEEN_MAX:
        cache.clear()
    cache[key] = value
