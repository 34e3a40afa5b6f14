"""One HTTP/1.1 connection: bytes in, one exchange at a time (RFC 9112).

Strategy. The connection finds the end of each head itself and hands llhttp one whole head, after the raw request line
and the sizes have been checked. The body of a message with Content-Length is the next so many bytes and needs no
parser; a chunked body is decoded by :class:`ChunkedBody`, which knows where it ends. Bytes behind a message stay
raw until its response is complete: pipelining costs a bounded buffer and no second state machine, errors are answered
in order by themselves, and a connection between requests is described by its unparsed bytes.

It starts no app: it lists itself with the state, whose flush asks :meth:`Http1Connection.proceed` what to start.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from devserver.events import RequestFinished, RequestRefused
from devserver.protocol.http1 import limits
from devserver.protocol.http1.chunked import ChunkedBody
from devserver.protocol.http1.exchange import AWAITING_START, COMPLETE, LISTED, STREAMING, Exchange
from devserver.protocol.http1.large_body import LARGE_BODY_BYTES, LargeBody
from devserver.protocol.http1.refusal import Refusal
from devserver.protocol.http1.response import error_response
from devserver.protocol.http1.target import RequestLine, check_host, parse_request_line, raw_path, seen_lines
from devserver.protocol.state import RETRY_AFTER_S, unsent_bytes

if TYPE_CHECKING:
    from devserver.protocol.proxy import ProxyHeader
    from devserver.protocol.state import ServerState

# What the next bytes from the peer are.
HEAD, BODY, BUSY, LINGERING, CLOSED = range(5)

_END_OF_HEAD = b"\r\n\r\n"
_NAME_LENGTH_MAX = 64

# Fields whose values change how the message is read, or whom it comes from. They are collected apart, so that a
# request with a Host alone is known to need no further look, and every other field costs one dict look-up.
_FRAMING_FIELDS = frozenset(b"connection content-length content-type expect host transfer-encoding upgrade".split())
_FORWARDED_FIELDS = frozenset(
    b"forwarded x-forwarded-for x-forwarded-host x-forwarded-port x-forwarded-prefix x-forwarded-proto".split()
)
_PROXY_FIELDS = _FORWARDED_FIELDS | {b"x-real-ip"}
"""Fields that a trusted proxy writes."""
_TELLING_FIELDS = _FRAMING_FIELDS | _FORWARDED_FIELDS
_telling_names: dict[bytes, bytes] = {}
_ordinary_names: dict[bytes, bytes] = {}
"""Both: field names as they were received → lower-cased, of fields that have been seen."""
_NAMES_MAX = 1024
_JUDGED_BYTES_MAX = 2048
"""What a connection remembers of its header lines, so that an idle one stays small."""
_CHUNKED = -1
"""In place of a body's length."""


class Judgement(NamedTuple):
    """What the field lines of a head say about how its request is read."""

    headers: list[tuple[bytes, bytes]]
    """As the scope will have them."""
    length: int
    """Bytes of the body; ``_CHUNKED`` when that is not known."""
    keep_alive: bool
    expects_continue: bool
    is_forwarded: bool
    """A trusted proxy may have something to say."""
    asks_for_websocket: bool


class Http1Connection(asyncio.Protocol):
    """An :class:`asyncio.Protocol` for one accepted socket.

    :param state: what the connections of this server share.
    :param proxied: what a PROXY header said that the listener has read from the socket, or None.
    :param received: bytes that somebody else has read from the socket already.
    """

    __slots__ = (
        "_body_left",
        "_body_window_bytes",
        "_body_window_end",
        "_chunks",
        "_client",
        "_drain_waiter",
        "_fields",
        "_headers",
        "_judged",
        "_judged_block",
        "_mode",
        "_parser",
        "_position",
        "_raw",
        "_reading_paused",
        "_reads_large_body",
        "_scanned",
        "_scheme",
        "_scope",
        "_server",
        "_trusted",
        "_underscored",
        "_unsent_bytes",
        "deadline",
        "eof",
        "exchange",
        "listed",
        "logs_requests",
        "lost",
        "proxied",
        "state",
        "transport",
        "write_paused",
    )

    transport: asyncio.Transport

    def __init__(self, state: ServerState, proxied: ProxyHeader | None = None, received: bytes = b"") -> None:
        self.state = state
        self.proxied = proxied
        self.exchange: Exchange | None = None
        """The running exchange, or the one that is about to start."""
        self.listed = False
        self.lost = False
        self.write_paused = False
        self.deadline = 0.0
        self.logs_requests = state.emitter.wants(RequestFinished)

        self._mode = HEAD
        self._raw: bytes | bytearray = received
        """Bytes that have been received and not been looked at, from ``_position`` on. A bytearray while more are
        awaited: one that grows copies each byte once, however small the reads are."""
        self._position = 0
        self._parser: Any = None
        self._chunks: ChunkedBody | None = None
        """The decoder of the chunked body that is being read."""
        self._headers: list[tuple[bytes, bytes]] = []
        self._fields: list[tuple[bytes, bytes]] = []
        self._underscored = False
        """A name in the head that is being judged has an underscore."""
        self._judged_block = b""
        """The field lines of the last plain request on this connection. Clients repeat them, and the same bytes are not
        judged twice, since their grammar does not depend on the request line (RFC 9112 §2.1)."""
        self._judged: Judgement
        """What they say."""
        self._body_left = 0
        """Bytes of a Content-Length body that have not arrived."""
        self._body_window_end = 0.0
        self._body_window_bytes = 0
        self._reading_paused = False
        self._reads_large_body = False
        """Another protocol stands in for this one."""
        self.eof = False
        """The peer has ended its side."""
        self._scanned = 0
        """How much of the raw bytes holds no end of a head; 0 at the start of a head."""
        self._drain_waiter: asyncio.Future[None] | None = None
        self._unsent_bytes = 0
        """What was unsent when the peer's reading was looked at last; 0 when it is not watched."""

    # Called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket has been accepted, and its TLS handshake is over."""
        state = self.state
        self.transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        name = transport.get_extra_info("sockname")
        self._client = (peer[0], peer[1]) if isinstance(peer, tuple) else None
        if isinstance(name, tuple):
            self._server: tuple[str, int | None] | None = (name[0], name[1])
        else:
            self._server = (name, None) if isinstance(name, str) and name else None
        self._scheme = "https" if transport.get_extra_info("sslcontext") is not None else "http"
        if self.proxied is not None and self.proxied.source is not None:
            self._client = self.proxied.source
            self._server = self.proxied.destination or self._server
        self._trusted = state.trusted_peers is not None and self._client in state.trusted_peers
        self._scope: dict[str, Any] = {
            "type": "http",
            "asgi": None,
            "http_version": "1.1",
            "server": self._server,
            "client": self._client,
            "scheme": self._scheme,
            "root_path": state.root_path,
        }
        limit = state.config.limit_connections
        if limit is not None and len(state.connections) >= limit:
            self._turn_away()
            return
        state.enter(self)
        timeout_s = state.limits.timeout_request_head
        if timeout_s:
            self.deadline = state.loop.time() + timeout_s
        if self._raw:
            state.schedule(self)

    def data_received(self, data: bytes) -> None:
        """Bytes from the peer."""
        mode = self._mode
        if mode == HEAD and not self._raw:
            # The common read: the start of a head, and mostly the whole of it. It is looked at in the flush, together
            # with those of the other connections.
            self._raw = data
            self.state.schedule(self)
            if len(data) > limits.READ_HIGH_WATER:
                # Or the event loop would go on to read all that the kernel has.
                self._pause_reading()
            return
        if mode >= LINGERING:
            return
        self._append(data)
        if mode == HEAD:
            if len(self._raw) > limits.READ_HIGH_WATER:
                self._pause_reading()
                self.state.schedule(self)
            elif self._scanned <= 1 or b"\n" in data or self._may_be_too_large():
                self.state.schedule(self)
            # Else it is more of a line in the head, whose start has been looked at: there is nothing to find.
        elif mode == BODY:
            self._body_window_bytes += len(data)
            self._read_body()
        elif len(self._raw) > limits.READ_HIGH_WATER:
            self._pause_reading()

    def _append(self, data: bytes) -> None:
        raw = self._raw
        if not raw:
            self._raw = data
        elif isinstance(raw, bytearray):
            raw += data
        else:
            self._raw = bytearray(memoryview(raw)[self._position :])
            self._raw += data
            self._position = 0

    def eof_received(self) -> bool:
        """The peer has shut down its writing side; ours stays open for what it still reads (RFC 9112 §9.6).

        Not in two cases. Behind a body that is incomplete no answer is of use (RFC 9112 §8). And asyncio's TLS closes
        both sides once the peer has sent its close_notify.
        """
        self.eof = True
        exchange = self.exchange
        is_encrypted = self._scheme == "https"
        if exchange is None:
            return self._mode == HEAD and bool(self._raw) and not self._scanned and not is_encrypted
        if self._mode == BODY:
            exchange.keep_alive = False
            self.deadline = 0.0
            return False
        exchange.disconnect(lost=False)
        return not is_encrypted

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """The socket is closed."""
        self.lost = True
        self._mode = CLOSED
        self.deadline = 0.0
        self._raw = b""
        self._parser = None
        if self._drain_waiter is not None and not self._drain_waiter.done():
            self._drain_waiter.set_result(None)
        exchange = self.exchange
        if exchange is not None:
            exchange.disconnect(lost=True)
            if self.logs_requests and exchange.stage != COMPLETE:
                exchange.report(complete=False)
        self.state.forget(self)

    def pause_writing(self) -> None:
        """The transport's buffer is above its high-water mark."""
        self.write_paused = True
        self._watch_writing()

    def resume_writing(self) -> None:
        """The transport's buffer is below its low-water mark."""
        self.write_paused = False
        self._unsent_bytes = 0
        if self._mode == BODY:
            self._open_body_window()
        elif self._mode == BUSY:
            self.deadline = 0.0
        elif self._mode == HEAD:
            self._await_next()
        if self._mode < LINGERING:
            self.state.schedule(self)
        if self._drain_waiter is not None and not self._drain_waiter.done():
            self._drain_waiter.set_result(None)

    async def drained(self) -> None:
        """Returns when writing is no longer paused, or the connection is lost."""
        if self._drain_waiter is None or self._drain_waiter.done():
            self._drain_waiter = self.state.loop.create_future()
        await self._drain_waiter

    # Called by the server

    @property
    def idle(self) -> bool:
        """Whether no request is running and no byte of a next one has arrived."""
        return self.exchange is None and self._mode == HEAD and not self._raw

    @property
    def begun(self) -> bool:
        """Whether the head of a request has been read that is not answered yet."""
        return self.exchange is not None

    @property
    def lasting(self) -> bool:
        """See :class:`devserver.protocol.state.Connection`."""
        return False

    def release(self) -> bytes | None:
        """See :class:`devserver.protocol.state.Connection`. What is encrypted stays, since the keys are here."""
        if self.exchange is not None or self._mode != HEAD or self._scheme == "https":
            return None
        if self.write_paused or unsent_bytes(self.transport) or self.transport.is_closing():
            return None
        received = bytes(self._raw[self._position :])
        self._mode = CLOSED
        self.lost = True
        self.deadline = 0.0
        self._raw, self._position = b"", 0
        return received

    def shutdown(self) -> None:
        """Takes no further request after those whose bytes have arrived; closes at once when idle."""
        if self.exchange is not None:
            if self.exchange.stage <= AWAITING_START:
                self.exchange.keep_alive = False
        elif self.idle:
            self._close()
        elif self._mode == HEAD:
            self.deadline = self.state.loop.time() + limits.PARTIAL_HEAD_GRACE_S

    def abort(self) -> None:
        """Drops the connection with whatever it has not sent."""
        self.transport.abort()

    def expire(self, now: float) -> None:
        """The deadline has passed: the peer has neither sent nor read what was awaited."""
        unsent = unsent_bytes(self.transport)
        if self._mode == CLOSED or unsent:
            self._expire_writing(now, unsent)
        elif self._mode == HEAD:
            if self._raw:
                self._refuse(Refusal(408, "The request head did not arrive in time."))
            else:
                self._close()
        elif self._mode == BODY:
            self._expire_body(now)
        else:
            self.transport.abort()

    def proceed(self) -> Exchange | None:
        """The exchange that may start now: the one that waits, or the next one whose head has arrived."""
        if self.write_paused:
            return (
                None  # A client that does not read its responses gets no further ones; resume_writing lists it again.
            )
        exchange = self.exchange
        if exchange is None:
            if self._mode != HEAD or not self._raw:
                return None
            self._read_head()
            exchange = self.exchange
            if exchange is None:
                return None
        if exchange.stage != LISTED:
            return None
        state = self.state
        if state.bounded:
            admitted = state.admit(self)
            if admitted is None:
                return None
            if not admitted:
                self._refuse(Refusal(503, "The server is at its limit of concurrent requests; try again soon."))
                return None
        exchange.stage = AWAITING_START
        return exchange

    # Called by the exchange

    @property
    def much_is_unread(self) -> bool:
        """True when the rest of the request body is too long, or of unknown length, to be read and thrown away."""
        return self._chunks is not None or self._body_left > limits.UNREAD_BODY_MAX

    def resume_body(self) -> None:
        """The app has taken the waiting part of the body."""
        if self._mode == BODY and self._reading_paused:
            self._resume_reading()
            self._open_body_window()

    def response_complete(self, exchange: Exchange) -> None:
        """The last byte of the response is with the transport."""
        state = self.state
        if not exchange.keep_alive or state.stopping:
            self._finish()
        elif self._mode == BUSY:
            if self._raw or self.eof:
                self._next_request()
                return
            self.exchange = None
            self._mode = HEAD
            timeout_s = state.timeout_keep_alive
            self.deadline = (state.turn_time or state.loop.time()) + timeout_s if timeout_s else 0.0
        elif self._mode == BODY:
            # The rest is read and thrown away; then the next request's turn comes.
            if self._reading_paused:
                self._resume_reading()
            self._open_body_window()

    def switch(self, protocol: asyncio.BaseProtocol, head: bytes) -> bytes:
        """Answers with ``head`` and gives the transport to another protocol (RFC 9110 §7.8), which takes our place in
        the state.

        :param head: a 101 response; empty when the other one answers.
        :returns: what the peer has sent after its request.
        """
        if head:
            self.transport.write(head)
        received = bytes(self._raw[self._position :])
        self._raw, self._position = b"", 0
        self._mode = CLOSED
        self.lost = True
        self.deadline = 0.0
        self.exchange = None
        self.transport.set_protocol(protocol)
        if self._reading_paused:
            self.transport.resume_reading()
        return received

    def abandon(self, exchange: Exchange) -> None:
        """The response cannot be completed: the connection is cut, so that the peer can tell (RFC 9112 §8)."""
        if self.logs_requests and not self.lost:
            exchange.report(complete=False)
        if STREAMING <= exchange.stage < COMPLETE:
            # What the app has sent before it failed.
            exchange.end_turn()
        self.lost = True
        self.exchange = None
        self._mode = CLOSED
        self.transport.abort()

    # Heads

    def on_header(self, name: bytes, value: bytes) -> None:
        """The parser has read one field of the head."""
        value = value.rstrip(b" \t")  # llhttp leaves it there (RFC 9112 §5.1).
        lowered = _ordinary_names.get(name)
        if lowered is None:
            lowered = _telling_names.get(name) or _remember(name)
            if lowered in _TELLING_FIELDS:
                self._fields.append((lowered, value))
            elif b"_" in lowered:
                self._underscored = True
        self._headers.append((lowered, value))

    def _read_head(self) -> None:
        """Takes the next head from the raw bytes, when it is whole."""
        raw, start = self._raw, self._position
        try:
            if raw[start] == 0x0D and raw.startswith(b"\r\n", start):
                # One empty line before the request line is ignored (RFC 9112 §2.2); a second one is refused below.
                start += 2
            end = raw.find(_END_OF_HEAD, self._scanned or start) + 4
            if end < 4:
                self._await_head(start - self._position)
                return
            self._scanned = 0
            if isinstance(raw, bytearray):
                raw = self._raw = bytes(raw)
            if end == len(raw):
                self._raw = b""
                self._position = 0
                self._begin(raw[start:] if start else raw)
            else:
                self._position = end
                self._begin(raw[start:end])
        except Refusal as refusal:
            self._refuse(self._refusal_of_part(raw, start, end) or refusal)

    def _refusal_of_part(self, raw: bytes | bytearray, start: int, end: int) -> Refusal | None:
        """What :meth:`_await_head` would have said if the head from ``start`` to ``end``, which is refused, had not
        arrived at once: what a request is answered with must not depend on how it was cut."""
        at = raw.find(b"\n\n", start, end) if end >= 4 else -1
        if at < 0:
            return None
        try:
            self._check_sizes(raw, start, at + 2)
        except Refusal as refusal:
            return refusal
        return Refusal(400, "The request is not HTTP/1.1.")

    def _await_head(self, start: int) -> None:
        """Keeps the part of a head that has arrived, unless it cannot become one.

        :param start: how many raw bytes are an empty line before it.
        """
        raw = self._raw
        if self._position:
            raw = self._raw = raw[self._position :]
            self._position = 0
        self._check_sizes(raw, start, len(raw))
        newline = raw.find(b"\n", start)
        if newline >= 0 and not raw.endswith(b"\r\n", start, newline + 1):
            raise Refusal(400, "The lines of a request head must end with CRLF.")
        if raw.find(b"\n\n", self._scanned) >= 0 or (
            len(raw) > start and not 0x20 < raw[start] < 0x7F and raw != b"\r"
        ):
            raise Refusal(400, "The request is not HTTP/1.1.")
        if self.eof:
            self._close()
            return
        if self._reading_paused:
            self._resume_reading()
        timeout_s = self.state.limits.timeout_request_head
        if timeout_s and not self._scanned:
            self.deadline = self.state.loop.time() + timeout_s
        self._scanned = max(len(raw) - 3, 1)

    def _check_sizes(self, raw: bytes | bytearray, start: int, end: int) -> None:
        bounds = self.state.limits
        if end - start <= bounds.small_head:
            return
        first = raw.find(b"\r\n", start, start + bounds.request_line + 2)
        if first < 0 and end - start > bounds.request_line:
            raise Refusal(414, f"The request line is longer than {bounds.request_line} bytes.")
        if end - start > bounds.request_head:
            raise Refusal(431, f"The request head is larger than {bounds.request_head} bytes.")

    def _may_be_too_large(self) -> bool:
        """Whether the raw bytes, which are the part of a head, need :meth:`_check_sizes`."""
        bounds, raw = self.state.limits, self._raw
        size = len(raw)
        if size <= bounds.small_head:
            return False
        # From 2, because an empty line may come before the request line.
        return size > bounds.request_head or raw.find(b"\r\n", 2, bounds.request_line + 2) < 0

    def _begin(self, head: bytes) -> None:
        """Judges a whole head and makes its exchange.

        :raises Refusal: the head breaks a rule or a limit.
        """
        state = self.state
        if len(head) > state.small_head_bytes:
            self._check_sizes(head, 0, len(head))
        first, _, block = head.partition(b"\r\n")
        line = seen_lines.get(first) or parse_request_line(first)
        if block == self._judged_block and line.is_plain:
            headers, length, keep_alive, expects_continue, is_forwarded, asks_for_websocket = self._judged
            headers = headers.copy()
        else:
            judged = self._judge(head, line)
            headers, length, keep_alive, expects_continue, is_forwarded, asks_for_websocket = judged
            if line.is_plain and len(block) <= _JUDGED_BYTES_MAX:
                self._judged_block = block
                self._judged = judged
                headers = headers.copy()
        scope = self._make_scope(line, headers)
        if is_forwarded:
            self._listen_to_proxy(headers, scope)

        self.deadline = 0.0
        if self.write_paused:
            self._watch_writing()
        if asks_for_websocket and line.method == "GET" and state.speaks_websocket:
            self._open_websocket(head, line, scope, length)
            return
        if not length:
            self._mode = BUSY
            self.exchange = Exchange(self, scope, line, keep_alive, True, False)
            self._resume_if_short()
            return
        # The parser is left in the middle of a message; the next head gets a fresh one.
        self._parser = None
        raw, start = cast("bytes", self._raw), self._position  # No bytearray: the head has been found.
        if 0 < length <= len(raw) - start:
            # The whole body is there: the app is given it as it is.
            self._mode = BUSY
            self.exchange = exchange = Exchange(self, scope, line, keep_alive, True, False)
            end = start + length
            if end == len(raw):
                self._raw = b""
                self._position = 0
            else:
                self._position = end
            exchange.whole_body(raw[start:end])
            self._resume_if_short()
            return
        self.exchange = exchange = Exchange(self, scope, line, keep_alive, False, expects_continue)
        self._mode = BODY
        if length == _CHUNKED:
            self._chunks = ChunkedBody(state.limits.request_field_size)
        else:
            self._body_left = length
        if raw:
            self._take_body(exchange)
        elif self._reading_paused:
            self._resume_reading()
        if self._mode != BODY:
            return
        if self._body_left >= LARGE_BODY_BYTES and self._scheme == "http":
            # Not with TLS, which is decrypted into objects of its own.
            self._reads_large_body = True
            self.transport.set_protocol(LargeBody(self, state.read_buffer))
        if not self._reading_paused:
            self._open_body_window()

    def _open_websocket(self, head: bytes, line: RequestLine, scope: dict[str, Any], length: int) -> None:
        """Makes the exchange that may become a WebSocket (RFC 6455 §4.2).

        :raises Refusal: the handshake is malformed.
        """
        if length:
            raise Refusal(400, "A WebSocket handshake has no body.")
        self._parser = None
        self._mode = BUSY
        self.exchange = self.state.open_websocket(self, head, line, scope)
        self._resume_if_short()

    def _judge(self, head: bytes, line: RequestLine) -> Judgement:
        """Has the parser read the field lines, and holds them against the rules and the limits.

        :raises Refusal: they break one.
        """
        state = self.state
        headers = self._headers = []
        fields = self._fields = []
        parser = self._parser
        if parser is None:
            parser = self._parser = state.parser_factory(self)
        malformed = ""
        try:
            parser.feed_data(head)
        except state.parser_upgrade:
            # No Upgrade is taken: what follows is this request's body (RFC 9110 §7.8).
            self._parser = None
        except state.parser_error as exc:
            self._parser = None
            malformed = str(exc)
        bounds = state.limits
        if len(headers) > bounds.request_fields:
            raise Refusal(431, f"The request has more than {bounds.request_fields} header fields.")
        if len(head) > bounds.request_field_size and any(
            len(name) + len(value) > bounds.request_field_size for name, value in headers
        ):
            raise Refusal(431, f"A header field is larger than {bounds.request_field_size} bytes.")
        _check_transfer_codings(line, fields)
        if malformed:
            raise Refusal(400, f"The request head is malformed: {malformed}.")
        if self._underscored:
            self._underscored = False
            headers = self._judge_underscores(headers)
        judged = self._frame(line, headers, fields)
        if bounds.request_body is not None and judged.length > bounds.request_body:
            raise Refusal(413, f"The request body is larger than {bounds.request_body} bytes.")
        return judged

    def _judge_underscores(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """The headers that the app gets of those with an underscore in a name, and all others.

        ASGI tells ``-`` and ``_`` apart, so that they are delivered. But apps that map both to one name, as CGI does,
        would take ``X_Forwarded_For`` of a client for what a trusted proxy wrote under its proper name: from such a
        peer the fields that say where a request came from are not delivered under another name.

        :raises Refusal: 400 when ``--underscore-headers`` says so.
        """
        mode = self.state.underscore_headers
        if mode == "refuse":
            raise Refusal(400, "A field name has an underscore.")
        if mode == "drop":
            return [field for field in headers if b"_" not in field[0]]
        if not self._trusted:
            return headers
        return [
            field for field in headers if field[0] in _PROXY_FIELDS or field[0].replace(b"_", b"-") not in _PROXY_FIELDS
        ]

    def _frame(
        self, line: RequestLine, headers: list[tuple[bytes, bytes]], fields: list[tuple[bytes, bytes]]
    ) -> Judgement:
        """Reads the fields that decide where the body ends and whether the connection persists (RFC 9112 §6, §9.3)."""
        is_1_1 = line.http_version == "1.1"
        length: int | None = None
        chunked = expects_continue = is_forwarded = False
        options: set[bytes] = set()
        upgrades: list[bytes] = []
        hosts = content_types = 0
        for name, value in fields:
            if name == b"host":
                hosts += 1
                check_host(value)
            elif name == b"content-length":
                if length is not None or not value.isdigit() or len(value) > 19:
                    raise Refusal(400, "The Content-Length is malformed.")
                length = int(value)
            elif name == b"transfer-encoding":
                chunked = True
            elif name == b"connection":
                options.update(option.strip() for option in value.lower().split(b","))
            elif name == b"content-type":
                content_types += 1
            elif name == b"expect":
                if value.lower() != b"100-continue":
                    raise Refusal(417, "The only expectation met here is 100-continue.")
                expects_continue = is_1_1
            elif name == b"upgrade":
                upgrades += value.lower().split(b",")
            else:
                is_forwarded = self._trusted
        if hosts > 1 or (not hosts and is_1_1):
            raise Refusal(400, "A request must have exactly one Host field.")
        if content_types > 1:
            raise Refusal(400, "The request has several Content-Type fields.")
        if chunked and length is not None:
            raise Refusal(400, "The request has both Content-Length and Transfer-Encoding.")
        if line.authority is not None:
            headers = [(b"host", line.authority), *(field for field in headers if field[0] != b"host")]
        keep_alive = self.state.keeps_alive and b"close" not in options and (is_1_1 or b"keep-alive" in options)
        # HTTP/1.0 has no Upgrade (RFC 9110 §7.8).
        asks_for_websocket = is_1_1 and b"upgrade" in options and any(each.strip() == b"websocket" for each in upgrades)
        length = _CHUNKED if chunked else length or 0
        return Judgement(headers, length, keep_alive, expects_continue, is_forwarded, asks_for_websocket)

    def _listen_to_proxy(self, headers: list[tuple[bytes, bytes]], scope: dict[str, Any]) -> None:
        """Puts what a trusted proxy says about the request into its scope."""
        forwarded = self.state.forwarded
        if forwarded is None:
            return
        scope["client"], scope["scheme"], host, prefix = forwarded.apply(headers, self._client, self._scheme)
        if host is not None:
            headers[:] = [(b"host", host), *(field for field in headers if field[0] != b"host")]
        if prefix:
            scope["root_path"] = prefix + scope["root_path"]
            scope["path"] = prefix + scope["path"]
            scope["raw_path"] = raw_path(prefix) + scope["raw_path"]

    def _make_scope(self, line: RequestLine, headers: list[tuple[bytes, bytes]]) -> dict[str, Any]:
        """The scope of a request (ASGI HTTP spec, "HTTP Connection Scope"). It shares nothing with another one."""
        state = self.state
        scope = self._scope.copy()
        scope["asgi"] = state.asgi_version.copy()
        scope["method"] = line.method
        scope["path"] = line.path
        scope["raw_path"] = line.raw_path
        scope["query_string"] = line.query
        scope["http_version"] = line.http_version
        scope["headers"] = headers
        scope["state"] = state.lifespan_state.copy()
        scope["extensions"] = {name: {} for name in state.extensions} if state.extensions else {}
        if state.root_path:
            scope["path"] = state.root_path + line.path
            scope["raw_path"] = state.root_path_raw + line.raw_path
        return scope

    # Bodies

    def _read_body(self) -> None:
        """Takes body bytes that came after the head; a refusal ends the connection."""
        exchange = self.exchange
        if exchange is None:
            raise AssertionError("a body belongs to an exchange")
        try:
            self._take_body(exchange)
        except Refusal as refusal:
            self._refuse(refusal)

    def _take_body(self, exchange: Exchange) -> None:
        """Hands the body bytes at hand to the exchange; what lies behind the end of the message stays raw.

        :raises Refusal: the chunks are malformed, or the body is over the limit.
        """
        raw, start = cast("bytes", self._raw), self._position  # No bytearray: all that was there has been taken before.
        if self._chunks is None:
            size = len(raw) - start
            if size <= self._body_left:
                data = raw[start:] if start else raw
                self._raw, self._position = b"", 0
            else:
                data = raw[start : start + self._body_left]
                self._position = start + self._body_left
            self._body_left -= len(data)
            ended = not self._body_left
            exchange.body_arrived(data)
        else:
            data, end = self._chunks.feed(raw, start)
            if data:
                exchange.body_arrived(data)
            ended = self._chunks.complete
            if end == len(raw):
                self._raw, self._position = b"", 0
            else:
                self._position = end
            limit = self.state.limits.request_body
            if limit is not None and exchange.body_bytes_received > limit:
                raise Refusal(413, f"The request body is larger than {limit} bytes.")
        if ended:
            self._end_body(exchange)
        elif exchange.stage != COMPLETE and exchange.body_bytes_waiting > limits.READ_HIGH_WATER:
            self._pause_reading()
            self._rest()
        elif self._reading_paused:
            self._resume_reading()

    def _end_body(self, exchange: Exchange) -> None:
        self._mode = BUSY
        self._chunks = None
        if self._reads_large_body:
            self._reads_large_body = False
            if not self.transport.is_closing():
                self.transport.set_protocol(self)
        self._rest()
        self._resume_if_short()
        exchange.body_ended()
        if exchange.stage == COMPLETE:
            self._next_request()

    def _open_body_window(self) -> None:
        """Starts to await the body: something within the timeout, and an average above the least rate."""
        timeout_s = self.state.limits.timeout_request_body
        if timeout_s:
            self._body_window_bytes = 0
            self.deadline = self._body_window_end = self.state.loop.time() + timeout_s

    def _expire_body(self, now: float) -> None:
        timeout_s = self.state.limits.timeout_request_body
        if self._body_window_bytes < limits.BODY_RATE_MIN * timeout_s:
            self._refuse(Refusal(408, "The request body did not arrive in time."))
        else:
            self._body_window_bytes = 0
            self.deadline = now + timeout_s

    # Between requests, and the end

    def _next_request(self) -> None:
        """The response is complete and its request has been read to the end: the next one's turn."""
        self.exchange = None
        self._mode = HEAD
        if self._raw:
            self._resume_if_short()
            self.state.schedule(self)
        elif self.eof:
            self._close()
        else:
            self._await_next()

    def _await_next(self) -> None:
        """Nothing of the next request has arrived: the connection may idle for a while."""
        timeout_s = self.state.limits.timeout_keep_alive
        self.deadline = self.state.loop.time() + timeout_s if timeout_s else 0.0

    def _finish(self) -> None:
        """Closes after the response. Bytes that still come are read first, or they would reset the response away."""
        unread = (self._mode == BODY or bool(self._raw)) and not self.eof
        self.exchange = None
        if unread:
            self._linger()
        else:
            self._close()

    def _close(self) -> None:
        """Flushes what is buffered and closes."""
        self._mode = CLOSED
        self._raw = b""
        self.transport.close()
        self._watch_writing()

    def _linger(self) -> None:
        """Ends our side and throws away what the peer still sends, for a while (RFC 9112 §9.6)."""
        self._mode = LINGERING
        if self.state.bounded:
            self.state.leave(self)
        self._raw = b""
        self._parser = None
        self.exchange = None
        if self._reading_paused:
            self._resume_reading()
        if self.transport.can_write_eof() and not self.eof:
            self.transport.write_eof()
            self.deadline = self.state.loop.time() + limits.LINGER_S
        else:
            self._close()

    def _refuse(self, refusal: Refusal) -> None:
        """Answers with an error unless a response has begun, and serves nothing more on this connection."""
        state = self.state
        if state.emitter.wants(RequestRefused):
            state.emitter.emit(RequestRefused(self._peer_name(), refusal.status, refusal.reason))
        exchange = self.exchange
        if exchange is not None and exchange.stage != LISTED:
            exchange.disconnect(lost=True)
            if exchange.stage != AWAITING_START:
                self.abandon(exchange)
                return
        self.exchange = None
        retry_after_s = RETRY_AFTER_S if refusal.status == 503 else 0
        self.transport.write(
            error_response(
                refusal.status,
                refusal.reason,
                state.default_headers,
                retry_after_s=retry_after_s,
                fields=refusal.fields,
            )
        )
        self.lost = True
        self._linger()

    def _turn_away(self) -> None:
        """Answers a connection over the limit without reading from it."""
        self.lost = True
        reason = "The server has reached its limit of connections."
        self.transport.write(error_response(503, reason, self.state.default_headers, retry_after_s=RETRY_AFTER_S))
        self._close()

    def _peer_name(self) -> str:
        return f"{self._client[0]}:{self._client[1]}" if self._client else "unix"

    def _rest(self) -> None:
        """Awaits nothing from the peer, unless it still has to read what was written before."""
        self.deadline = 0.0
        if self.write_paused:
            self._watch_writing()

    def _watch_writing(self) -> None:
        """Awaits progress of the peer's reading."""
        timeout_s = self.state.limits.timeout_write
        if timeout_s:
            self._unsent_bytes = unsent_bytes(self.transport)
            self.deadline = self.state.loop.time() + timeout_s

    def _expire_writing(self, now: float, unsent: int) -> None:
        """Cuts a peer that has read nothing since the last look; the first look only remembers how much was unsent."""
        if unsent and (not self._unsent_bytes or unsent < self._unsent_bytes):
            self._unsent_bytes = unsent
            self.deadline = now + self.state.limits.timeout_write
        else:
            self.transport.abort()

    def _pause_reading(self) -> None:
        if not self._reading_paused and self._mode != CLOSED:
            self._reading_paused = True
            self.transport.pause_reading()

    def _resume_reading(self) -> None:
        self._reading_paused = False
        if self._mode != CLOSED and not self.transport.is_closing():
            self.transport.resume_reading()

    def _resume_if_short(self) -> None:
        """Reads on when few enough pipelined bytes wait."""
        if self._reading_paused and len(self._raw) - self._position <= limits.READ_HIGH_WATER:
            self._resume_reading()


def _remember(name: bytes) -> bytes:
    """Lower-cases a field name and keeps it for the next time, within bounds."""
    lowered = name.lower()
    if len(name) <= _NAME_LENGTH_MAX and b"_" not in name:
        names = _telling_names if lowered in _TELLING_FIELDS else _ordinary_names
        if len(names) >= _NAMES_MAX:
            names.clear()
        names[name] = lowered
    return lowered


def _check_transfer_codings(line: RequestLine, fields: list[tuple[bytes, bytes]]) -> None:
    """Allows one ``Transfer-Encoding: chunked`` on HTTP/1.1 and nothing else (RFC 9112 §6.1).

    :raises Refusal: 501 for a coding that is not spoken here, 400 for a malformed or misplaced field.
    """
    values = [value for name, value in fields if name == b"transfer-encoding"]
    if not values:
        return
    if line.http_version == "1.0":
        raise Refusal(400, "HTTP/1.0 has no Transfer-Encoding.")
    if len(values) == 1 and values[0].lower() == b"chunked":
        return
    codings = [coding.strip().lower() for value in values for coding in value.split(b",")]
    if not all(codings) or b"chunked" in codings[:-1]:
        raise Refusal(400, "The Transfer-Encoding is malformed.")
    raise Refusal(501, "The only transfer coding read here is chunked.")
