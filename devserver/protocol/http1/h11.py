"""The callbacks of :mod:`devserver.protocol.http1.llhttp` from h11, which is pure Python: for PyPy.

An instance judges one message after another. h11's own connection is used up by each message, so a new one is made for
every head; what it would do beyond parsing (keep-alive, pipelining, Expect) is the connection's business here.
"""

from __future__ import annotations

from typing import Any

from devserver.errors import ConfigError

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
    """Feeds whole heads and chunked bodies to h11.

    :param protocol: its ``on_header``, ``on_body`` and ``on_message_complete`` are called, where it has them.
    """

    __slots__ = ("_connection", "_in_body", "_protocol")

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol
        self._connection: h11.Connection | None = None
        self._in_body = False

    def feed_data(self, data: bytes) -> None:
        """Takes a whole head, or the next bytes of a body.

        :raises MalformedRequest: h11's reason is the message.
        """
        if not self._in_body:
            self._connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_HEAD_BYTES_MAX)
        connection = self._connection
        if connection is None:
            raise AssertionError("a body is fed after its head")
        connection.receive_data(data)
        try:
            while True:
                event = connection.next_event()
                if isinstance(event, h11.Request):
                    self._in_body = True
                    for name, value in event.headers.raw_items():
                        self._protocol.on_header(name, value)
                elif isinstance(event, h11.Data):
                    self._protocol.on_body(bytes(event.data))
                elif isinstance(event, h11.EndOfMessage):
                    self._in_body = False
                    self._protocol.on_message_complete()
                    return
                else:
                    return
        except h11.RemoteProtocolError as exc:
            raise MalformedRequest(str(exc)) from exc
