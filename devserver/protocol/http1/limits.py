"""The limits that one HTTP/1.1 connection is held to, taken from the Config once a server.

Sizes are bytes and times seconds; None means no limit. The defaults are those of the options of the same names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from devserver.config import Config

READ_HIGH_WATER = 65536
"""Body bytes that wait for the app, or raw bytes of pipelined requests, before reading pauses."""
WRITE_JOIN_MAX = 65536
"""Up to this size head and body are joined into one buffer; above it, gathering them in one call is cheaper."""
UNREAD_BODY_MAX = 65536
"""A request body that the app did not read is discarded up to here; beyond it the connection is closed."""
PIECES_BYTES_MAX = 65536
"""Bytes that an app may send in one turn before they are written; one write for many pieces is what saves the time."""
PIECE_JOIN_MAX = 4096
"""Up to this size a piece is copied between the lines of its chunk; above it, three buffers are cheaper."""
SENDS_PER_TURN = 256
BYTES_PER_TURN = 262144
"""A response that has sent this often or this much yields once, so that other connections get their turn. 256 small
sends take about half a millisecond."""
BYTES_PER_SEND = BYTES_PER_TURN // SENDS_PER_TURN
"""What a small send counts for in that account."""
DELIVERIES_PER_TURN = 16
"""An app that has received this many parts of a body without suspending yields once."""
LINGER_S = 5.0
"""How long the peer's remaining bytes are read and thrown away before a connection is closed (RFC 9112 §9.6)."""
LOST_GRACE_S = 5.0
"""How long a streaming app may ignore that its client has gone before its task is cancelled."""
PARTIAL_HEAD_GRACE_S = 2.0
"""How long a stopping server waits for the rest of a head."""
BODY_RATE_MIN = 240
"""Bytes a second that a request body must average over each ``timeout_request_body``."""


@dataclass(frozen=True, slots=True)
class Limits:
    """See the options of the same names."""

    request_line: int
    request_fields: int
    request_field_size: int
    request_head: int
    small_head: int
    """A head of this size cannot have too long a line, and is not too large itself."""
    request_body: int | None
    timeout_request_head: float
    timeout_request_body: float
    timeout_write: float
    timeout_keep_alive: float

    @classmethod
    def of(cls, config: Config) -> Limits:
        """The limits that ``config`` asks for; a time of 0 or None never runs out."""
        head = config.limit_request_head
        if config.http == "h11" and config.h11_max_incomplete_event_size is not None:
            head = config.h11_max_incomplete_event_size
        return cls(
            request_line=config.limit_request_line,
            request_fields=config.limit_request_fields,
            request_field_size=config.limit_request_field_size,
            request_head=head,
            small_head=min(config.limit_request_line, head),
            request_body=config.limit_request_body,
            timeout_request_head=config.timeout_request_head or 0.0,
            timeout_request_body=config.timeout_request_body or 0.0,
            timeout_write=config.timeout_write or 0.0,
            timeout_keep_alive=config.timeout_keep_alive or 0.0,
        )
