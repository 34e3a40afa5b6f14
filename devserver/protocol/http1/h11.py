"""The callback of :mod:`devserver.protocol.http1.llhttp` from h11, which is pure Python: for PyPy.

An instance judges one head after another. h11's own connection is used up by each message, so a new one is made for
every head; what it would do beyond parsing (keep-alive, pipelining, Expect) is the connection's business here.

h11 takes what llhttp refuses: folded lines, bare LF, control characters, lists of equal lengths. So the lines of a head
are split here, by the grammar of RFC 9112 §5, and h11 is asked only afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from devserver.errors import ConfigError
from devserver.protocol.http1.chunked import is_field_line

try:
    import h11
except ModuleNotFoundError as exc:
    raise ConfigError(
        "--http h11 needs the package h11, which is not installed.", hint='pip install "devserver[h11]"'
    ) from exc

_HEAD_BYTES_MAX = 1 << 20
"""h11's own limit is put out of the way: the connection has checked the size of the head before."""


class MalformedRequest(Exception):
    """h11 refused the bytes."""


class UpgradeRequested(Exception):
    """Never raised: h11 goes on with the body when an Upgrade is not taken."""


class RequestParser:
    """Feeds whole heads to h11.

    :param protocol: its ``on_header`` is called with the name and the value of each field.
    """

    __slots__ = ("_on_header",)

    def __init__(self, protocol: Any) -> None:
        self._on_header = protocol.on_header

    def feed_data(self, head: bytes) -> None:
        """Judges a whole head.

        :raises MalformedRequest: h11's reason is the message.
        """
        for name, value in _fields(head):
            self._on_header(name, value)
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_HEAD_BYTES_MAX)
        connection.receive_data(head)
        try:
            connection.next_event()
        except h11.RemoteProtocolError as exc:
            raise MalformedRequest(str(exc)) from exc


def _fields(head: bytes) -> Iterator[tuple[bytes, bytes]]:
    for line in head.split(b"\r\n")[1:-2]:
        if not is_field_line(line):
            raise MalformedRequest("A line is no header field")
        name, _, value = line.partition(b":")
        yield name, value.strip(b" \t")
