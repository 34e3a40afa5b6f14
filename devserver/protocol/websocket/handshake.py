"""The opening handshake (RFC 6455 §4.2): what a client asks for, and the fields of the answer.

Pure. The request has been read as HTTP already; here only the fields count that are about WebSocket.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from devserver.protocol.websocket import deflate

if TYPE_CHECKING:
    from devserver.protocol.websocket.deflate import Agreement, Extension

VERSION = b"13"
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAMETER = re.compile(rf'[ \t]*;[ \t]*({_TOKEN})(?:[ \t]*=[ \t]*(?:({_TOKEN})|"({_TOKEN})"))?')
_EXTENSION = re.compile(rf"[ \t,]*({_TOKEN})((?:{_PARAMETER.pattern})*)[ \t]*(?:,|$)")
_IS_TOKEN = re.compile(_TOKEN)
_EXTENSIONS_MAX = 16
_PROTOCOLS_MAX = 128


class HandshakeError(Exception):
    """The request asks for a WebSocket in a way that cannot be answered with one.

    :param status: of the answer (RFC 6455 §4.2.1, §4.2.2).
    :param reason: one sentence.
    :param fields: that the answer has besides.
    """

    def __init__(self, status: int, reason: str, fields: Sequence[tuple[bytes, bytes]] = ()) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.fields = fields


class Offer(NamedTuple):
    """What a client asks for."""

    key: bytes
    subprotocols: list[str]
    """In the client's order of preference."""
    extensions: list[Extension]


def read_offer(headers: Iterable[tuple[bytes, bytes]]) -> Offer:
    """Reads the fields of a request.

    :param headers: names in lower case.
    :raises HandshakeError: 426 for another version of the protocol, 400 for a malformed or missing field.
    """
    fields: dict[bytes, list[bytes]] = {
        b"sec-websocket-key": [],
        b"sec-websocket-version": [],
        b"sec-websocket-protocol": [],
        b"sec-websocket-extensions": [],
    }
    for name, value in headers:
        if name in fields:
            fields[name].append(value)
    versions, keys = fields[b"sec-websocket-version"], fields[b"sec-websocket-key"]
    if len(versions) != 1:
        raise HandshakeError(400, "A WebSocket handshake has exactly one Sec-WebSocket-Version field.")
    if versions[0].strip() != VERSION:
        offered = [(b"sec-websocket-version", VERSION), (b"upgrade", b"websocket"), (b"connection", b"upgrade")]
        raise HandshakeError(426, "The version of the WebSocket protocol spoken here is 13.", offered)
    if len(keys) != 1 or not _is_key(keys[0]):
        raise HandshakeError(
            400, "A WebSocket handshake has exactly one Sec-WebSocket-Key field, of 16 bytes in base64."
        )
    return Offer(
        keys[0], _subprotocols(fields[b"sec-websocket-protocol"]), _extensions(fields[b"sec-websocket-extensions"])
    )


def answer(
    offer: Offer, subprotocol: str | None, *, compress: bool
) -> tuple[list[tuple[bytes, bytes]], Agreement | None]:
    """The fields of the 101 response, and how messages are compressed (RFC 6455 §4.2.2).

    :param subprotocol: the app's choice, one of those offered.
    :param compress: whether permessage-deflate may be agreed on.
    """
    accept = base64.b64encode(hashlib.sha1(offer.key + _GUID, usedforsecurity=False).digest())
    fields = [(b"upgrade", b"websocket"), (b"sec-websocket-accept", accept)]
    if subprotocol is not None:
        fields.append((b"sec-websocket-protocol", subprotocol.encode("ascii")))
    agreed = deflate.agree(offer.extensions) if compress and offer.extensions else None
    if agreed is None:
        return fields, None
    fields.append((b"sec-websocket-extensions", agreed[1].encode("ascii")))
    return fields, agreed[0]


def _is_key(value: bytes) -> bool:
    try:
        return len(base64.b64decode(value, validate=True)) == 16
    except binascii.Error:
        return False


def _subprotocols(values: list[bytes]) -> list[str]:
    """Of one or several fields; each name is a token and stands there once (RFC 6455 §4.1, item 10)."""
    names = [name.strip(" \t") for value in values for name in value.decode("latin-1").split(",")]
    names = [name for name in names if name]
    if len(names) > _PROTOCOLS_MAX or len({*names}) != len(names) or not all(map(_IS_TOKEN.fullmatch, names)):
        raise HandshakeError(400, "The Sec-WebSocket-Protocol field is malformed.")
    return names


def _extensions(values: list[bytes]) -> list[Extension]:
    """A list of names with parameters (RFC 6455 §9.1)."""
    text = ",".join(value.decode("latin-1") for value in values)
    found: list[Extension] = []
    position = 0
    while position < len(text) and text[position:].strip(" \t,"):
        match = _EXTENSION.match(text, position)
        if match is None or len(found) == _EXTENSIONS_MAX:
            raise HandshakeError(400, "The Sec-WebSocket-Extensions field is malformed.")
        parameters = [(name.lower(), token or quoted or None) for name, token, quoted in _PARAMETER.findall(match[2])]
        found.append((match[1].lower(), tuple(parameters)))
        position = match.end()
    return found
