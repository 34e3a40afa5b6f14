"""The same bytes in our session and in that of ``websockets`` come to the same, however they are cut.

What ``websockets`` leaves to others is added here: text is decoded, fragments are put together. Where the two differ by
right, the difference is named at the place where it is levelled or left out:

- A Close frame between fragments ends our connection as it says; ``websockets`` fails with 1002. RFC 6455 §5.4 lets
  control frames stand there.
- Malformed compressed data fails with 1007 here, and with 1002 there; RFC 7692 names no status code.
- A Close frame with an invalid code and an invalid reason breaks two rules; either code is right.
- A length that is not encoded in the fewest bytes is refused here, as RFC 6455 §5.2 wants it, and accepted there.
- Blocks after a final one (RFC 7692 §7.2.1) are refused here, and dropped there.
- A message that begins inside of another one is refused here, and inflated first there.
- With compression ``websockets`` applies its limit to the length before inflation too, and counts control frames.
"""

from __future__ import annotations

import codecs
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.exceptions import ProtocolError
from websockets.extensions.base import Extension
from websockets.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    ServerPerMessageDeflateFactory,
)
from websockets.frames import Frame as TheirFrame
from websockets.frames import Opcode
from websockets.http11 import Request, Response
from websockets.protocol import OPEN
from websockets.server import ServerProtocol
from websockets.typing import ExtensionName
from websockets.uri import parse_uri

from devserver.protocol.websocket.deflate import WINDOW_BITS_MAX, Agreement
from devserver.protocol.websocket.frames import encode_close, fastest_unmask, unmask
from devserver.protocol.websocket.handshake import answer, read_offer
from devserver.protocol.websocket.session import Session
from tests.support.websocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    SAMPLE_KEY,
    TEXT,
    ClientDeflate,
    client_fragments,
    client_frame,
    cut,
    read_frames,
)

ORACLE = settings(
    deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
SIZE_MAX = 1_000_000
HELD_MAX = 1_000_000_000


class Offer(NamedTuple):
    """An offer to compress, and how the client compresses when it is accepted by both."""

    text: str
    bits: int = 15
    forgets: bool = False


PLAIN = Offer("")
OFFERS = [
    Offer("permessage-deflate"),
    Offer("permessage-deflate; client_max_window_bits", bits=12),
    Offer("permessage-deflate; client_max_window_bits=9; client_no_context_takeover", bits=9, forgets=True),
    Offer("permessage-deflate; server_no_context_takeover; server_max_window_bits=10"),
    Offer('foo, permessage-deflate; bar, permessage-deflate; client_no_context_takeover; server_max_window_bits="9"'),
]


class Verdict(NamedTuple):
    """What one side made of a stream."""

    messages: list[str | bytes]
    pongs: list[bytes]
    code: int | None = None
    """The status code with which the connection ends, or fails."""
    failed: bool = False


# --- Handshake


def headers(offer: Offer) -> list[tuple[bytes, bytes]]:
    fields = [
        (b"host", b"h"),
        (b"connection", b"Upgrade"),
        (b"upgrade", b"websocket"),
        (b"sec-websocket-version", b"13"),
        (b"sec-websocket-key", SAMPLE_KEY),
    ]
    if offer.text:
        fields.append((b"sec-websocket-extensions", offer.text.encode()))
    return fields


def their_session(offer: Offer, size_max: int = SIZE_MAX) -> tuple[ServerProtocol, Response]:
    """``websockets`` after its opening handshake, with what we ask for too."""
    factory = ServerPerMessageDeflateFactory(
        server_max_window_bits=WINDOW_BITS_MAX, client_max_window_bits=WINDOW_BITS_MAX
    )
    theirs = ServerProtocol(extensions=[factory], max_size=size_max)
    fields = b"".join(b"%b: %b\r\n" % field for field in headers(offer))
    theirs.receive_data(b"GET / HTTP/1.1\r\n" + fields + b"\r\n")
    (request,) = theirs.events_received()
    assert isinstance(request, Request)
    response = theirs.accept(request)
    theirs.send_response(response)
    theirs.data_to_send()
    assert theirs.state is OPEN
    return theirs, response


def our_agreement(offer: Offer) -> tuple[dict[bytes, bytes], Agreement | None]:
    fields, agreement = answer(read_offer(headers(offer)), None, compress=True)
    return dict(fields), agreement


@pytest.mark.parametrize("offer", [PLAIN, *OFFERS], ids=lambda offer: offer.text)
def test_handshake_is_answered_the_same(offer: Offer) -> None:
    _, response = their_session(offer)
    fields, agreement = our_agreement(offer)
    assert fields[b"sec-websocket-accept"].decode() == response.headers["Sec-WebSocket-Accept"]
    theirs = response.headers.get("Sec-WebSocket-Extensions", "")
    ours = fields.get(b"sec-websocket-extensions", b"").decode()
    assert sorted(ours.split("; ")) == sorted(theirs.split("; "))
    assert (agreement is None) is (not offer.text)


# --- Frames of clients

CODES_VALID = st.sampled_from([1000, 1001, 1003, 1007, 1011, 1014, 3000, 4999])
CODES_INVALID = st.sampled_from([0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535])
REASONS = st.text(max_size=20).map(str.encode)
CLOSES = st.one_of(
    st.just(b""),
    st.tuples(CODES_VALID, st.one_of(REASONS, st.sampled_from([b"\xff", b"a\xc3", b"\xed\xa0\x80"]))),
    # Not both wrong: see above.
    st.tuples(CODES_INVALID, REASONS),
    st.just(b"\x03"),
).map(lambda payload: payload if isinstance(payload, bytes) else payload[0].to_bytes(2) + payload[1])
MASKS = st.sampled_from([b"\x37\xfa\x21\x3d", bytes(4), b"\xff\x00\x80\x01"])
LARGE = st.sampled_from([125, 126, 127, 1000, 65535, 65536]).map(lambda size: (b"0123456789" * 6600)[:size])
TEXTS = st.one_of(st.text(max_size=30).map(str.encode), LARGE)
INVALID_TEXTS = st.tuples(
    st.text(max_size=5).map(str.encode),
    st.sampled_from([b"\x80", b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82"]),
    st.text(max_size=5).map(str.encode),
).map(b"".join)
BINARIES = st.one_of(st.binary(max_size=60), LARGE)
CONTENTS = st.one_of(
    *[st.tuples(st.just(TEXT), TEXTS), st.tuples(st.just(BINARY), BINARIES)] * 8,
    st.tuples(st.just(TEXT), INVALID_TEXTS),
)
CUTS = st.lists(st.integers(0, 70_000), max_size=4)


@st.composite
def controls(draw: st.DrawFn) -> bytes:
    payload = draw(st.binary(max_size=125))
    return client_frame(draw(st.sampled_from([PING, PONG])), payload, mask=draw(MASKS))


@st.composite
def broken(draw: st.DrawFn) -> bytes:
    """A frame that breaks a rule, if only because of what came before it."""
    opcode = draw(st.sampled_from([CONTINUATION, TEXT, BINARY, PING, PONG]))
    frame: bytes = draw(
        st.one_of(
            st.builds(client_frame, st.just(opcode), st.just(b"abc"), rsv2=st.just(True), rsv3=st.booleans()),
            st.builds(client_frame, st.just(opcode), st.just(b"abc"), rsv1=st.just(True)),
            st.builds(client_frame, st.sampled_from([3, 4, 5, 6, 7, 11, 12, 13, 14, 15]), st.binary(max_size=9)),
            st.builds(client_frame, st.just(opcode), st.sampled_from([b"", b"abc", b"x" * 126]), mask=st.none()),
            st.builds(client_frame, st.sampled_from([PING, PONG, CLOSE]), st.just(b"x" * 126)),
            st.builds(client_frame, st.sampled_from([PING, PONG, CLOSE]), st.just(b""), fin=st.just(False)),
            st.builds(client_frame, st.just(CONTINUATION), st.just(b"abc"), fin=st.booleans()),
            st.builds(client_frame, st.sampled_from([TEXT, BINARY]), st.just(b"abc"), fin=st.just(False)),
        )
    )
    return frame


@st.composite
def messages(draw: st.DrawFn, deflate: ClientDeflate | None) -> bytes:
    """One message, maybe compressed, maybe in fragments with control frames between them."""
    opcode, payload = draw(CONTENTS)
    compressed = deflate is not None and draw(st.booleans())
    if compressed and deflate is not None:
        payload = deflate.compress(payload)
        if draw(st.sampled_from([False] * 9 + [True])):
            # A type of block that there is not (RFC 1951 §3.2.3).
            payload = bytes((payload[0] | 0x06,)) + payload[1:]
    pieces = cut(payload, draw(CUTS)) or [b""]
    if draw(st.booleans()):
        pieces.insert(draw(st.integers(0, len(pieces))), b"")
    frames = client_fragments(opcode, *pieces, rsv1=compressed)
    if len(frames) > 1 and draw(st.booleans()):
        frames.insert(draw(st.integers(1, len(frames) - 1)), draw(controls()))
    return b"".join(frames)


@st.composite
def streams(draw: st.DrawFn, offer: Offer) -> bytes:
    """Frames of a client that mostly keeps to the rules; the last may have been cut off."""
    deflate = ClientDeflate(bits=offer.bits, forgets=offer.forgets) if offer.text else None
    stream = b""
    for kind in draw(st.lists(st.sampled_from("mmmmmmccb"), max_size=7)):
        stream += draw({"m": messages(deflate), "c": controls(), "b": broken()}[kind])
    if draw(st.booleans()):
        stream += client_frame(CLOSE, draw(CLOSES), mask=draw(MASKS))
    ping = draw(controls())
    # A session that has not seen all of a frame need not have an opinion: cut is one that is right.
    return stream + ping[: draw(st.integers(0, len(ping)))]


# --- Verdicts


class LastFrame(Extension):
    """An extension of ``websockets`` that sees frames before they are inflated."""

    name = ExtensionName("")
    opcode: Opcode | None = None

    def decode(self, frame: TheirFrame, *, max_size: int | None = None) -> TheirFrame:
        self.opcode = frame.opcode
        return frame

    def encode(self, frame: TheirFrame) -> TheirFrame:
        return frame


def theirs_on(pieces: list[bytes], offer: Offer, size_max: int = SIZE_MAX) -> Verdict:
    session, _ = their_session(offer, size_max)
    last = LastFrame()
    session.extensions.append(last)
    for piece in pieces:
        session.receive_data(piece)
    found: list[str | bytes] = []
    pongs: list[bytes] = []
    parts: list[bytes] = []
    decoder: codecs.IncrementalDecoder | None = None
    text = ""
    for frame in session.events_received():
        assert isinstance(frame, TheirFrame)
        if frame.opcode is Opcode.PING:
            pongs.append(bytes(frame.data))
        if frame.opcode not in {Opcode.CONT, Opcode.TEXT, Opcode.BINARY}:
            continue
        if frame.opcode is Opcode.TEXT:
            decoder, text = codecs.getincrementaldecoder("utf-8")(), ""
        elif frame.opcode is Opcode.BINARY:
            decoder, parts = None, []
        if decoder is None:
            parts.append(bytes(frame.data))
        else:
            try:
                text += decoder.decode(bytes(frame.data), final=frame.fin)
            except UnicodeDecodeError:
                return Verdict(found, pongs, 1007, failed=True)
        if frame.fin:
            found.append(b"".join(parts) if decoder is None else text)
    sent, rest = read_frames(b"".join(session.data_to_send()))
    assert ([frame.payload for frame in sent if frame.opcode == PONG], rest) == (pongs, b"")
    if session.close_rcvd is not None:
        return Verdict(found, pongs, session.close_rcvd.code)
    if session.close_sent is None:
        return Verdict(found, pongs)
    inflating = isinstance(session.parser_exc, ProtocolError) and str(session.parser_exc) == "decompression failed"
    inside = session.current_size is not None and last.opcode is not Opcode.CONT
    return Verdict(found, pongs, 1007 if inflating and not inside else session.close_sent.code, failed=True)


def our_session(offer: Offer, size_max: int = SIZE_MAX) -> Session:
    return Session(size_max=size_max, agreement=our_agreement(offer)[1])


def ours_on(pieces: list[bytes], offer: Offer, size_max: int = SIZE_MAX) -> Verdict:
    session = our_session(offer, size_max)
    found = [message for piece in pieces for message in session.receive(piece, 1000, HELD_MAX)]
    pongs = [frame.payload for frame in read_frames(b"".join(session.pongs))[0]]
    if session.end is None:
        return Verdict(found, pongs)
    return Verdict(found, pongs, session.end.code, session.end.failed)


PLACES = st.lists(st.integers(0, 300_000), max_size=8)
COMPRESSED = st.sampled_from(OFFERS).flatmap(lambda offer: st.tuples(st.just(offer), streams(offer)))


@ORACLE
@example(client_frame(TEXT, b"Hello", mask=None), [])
@example(client_frame(TEXT, b"a", fin=False) + client_frame(CLOSE), [])
@given(streams(PLAIN), PLACES)
def test_plain_frames_come_to_the_same(data: bytes, places: list[int]) -> None:
    assert ours_on(cut(data, places), PLAIN) == theirs_on([data], PLAIN)


@ORACLE
@given(COMPRESSED, PLACES)
def test_compressed_messages_come_to_the_same(stream: tuple[Offer, bytes], places: list[int]) -> None:
    offer, data = stream
    assert ours_on(cut(data, places), offer) == theirs_on([data], offer)


@ORACLE
@given(
    st.lists(st.tuples(st.sampled_from([TEXT, BINARY]), st.lists(st.integers(0, 60), min_size=1, max_size=4))),
    PLACES,
)
def test_sizes_are_limited_the_same(sizes: list[tuple[int, list[int]]], places: list[int]) -> None:
    # No control frames: see above.
    frames = [client_fragments(opcode, *[b"x" * size for size in pieces]) for opcode, pieces in sizes]
    data = b"".join(frame for message in frames for frame in message)
    assert ours_on(cut(data, places), PLAIN, 100) == theirs_on([data], PLAIN, 100)


@ORACLE
@given(
    st.sampled_from(OFFERS),
    # Not the limit itself, which they take for more when it is compressed.
    st.lists(st.tuples(st.sampled_from([TEXT, BINARY]), st.integers(0, 2000).filter(lambda size: size != 1000))),
    PLACES,
)
def test_inflated_sizes_are_limited_the_same(offer: Offer, sizes: list[tuple[int, int]], places: list[int]) -> None:
    client = ClientDeflate(bits=offer.bits, forgets=offer.forgets)
    data = b"".join(client_frame(opcode, client.compress(b"x" * size), rsv1=True) for opcode, size in sizes)
    assert ours_on(cut(data, places), offer, 1000) == theirs_on([data], offer, 1000)


# --- Differences by right


def test_close_between_fragments_is_followed_here_and_refused_there() -> None:
    session, _ = their_session(PLAIN)
    data = client_frame(TEXT, b"a", fin=False) + client_frame(CLOSE, b"\x03\xe8")
    session.receive_data(data)
    assert session.close_sent is not None
    assert session.close_sent.code == 1002
    assert ours_on([data], PLAIN) == Verdict([], [], 1000)


def test_length_that_is_not_in_the_fewest_bytes_is_refused_here_and_accepted_there() -> None:
    data = client_frame(TEXT, b"Hello", width=2)
    assert theirs_on([data], PLAIN) == Verdict(["Hello"], [])
    assert ours_on([data], PLAIN) == Verdict([], [], 1002, failed=True)


def test_message_inside_of_another_is_refused_whatever_is_in_it() -> None:
    offer = OFFERS[0]
    data = client_frame(TEXT, b"a", fin=False) + client_frame(TEXT, b"\x06", rsv1=True)
    assert ours_on([data], offer) == theirs_on([data], offer) == Verdict([], [], 1002, failed=True)
    data = client_frame(TEXT, b"\x06", rsv1=True)
    assert ours_on([data], offer) == theirs_on([data], offer) == Verdict([], [], 1007, failed=True)


# --- However the bytes are cut


def check_cuts(data: bytes, places: list[int], messages_max: int, offer: Offer) -> None:
    whole = our_session(offer)
    expected = whole.receive(data, 1000, HELD_MAX)
    for take_off in (unmask, fastest_unmask):
        session = Session(size_max=SIZE_MAX, agreement=our_agreement(offer)[1], unmask=take_off)
        found: list[str | bytes] = []
        for piece in cut(data, places):
            found += session.receive(piece, messages_max, HELD_MAX)
        rest = (b"", 0)
        while session.waiting and (session._rest, session._rest_begin) != rest:
            rest = (session._rest, session._rest_begin)
            found += session.receive(b"", messages_max, HELD_MAX)
        assert found == expected
        assert (session.pongs, session.heard_pong) == (whole.pongs, whole.heard_pong)
        if whole.end is not None and session.end is not None and whole.end.failed and whole.end.code == 1007:
            # One frame may have two mistakes: text that is no UTF-8, and data that is not compressed.
            assert (session.end.code, session.end.failed) == (1007, True)
        else:
            assert session.end == whole.end
        if session.end is not None and session.end.failed:
            assert session.end.answer == encode_close(session.end.code, session.end.reason)


FEW = st.sampled_from([1, 2, 3, 1000])


@ORACLE
@given(streams(PLAIN), PLACES, FEW)
def test_plain_frames_may_be_cut_anywhere(data: bytes, places: list[int], messages_max: int) -> None:
    check_cuts(data, places, messages_max, PLAIN)


@ORACLE
@given(COMPRESSED, PLACES, FEW)
def test_compressed_messages_may_be_cut_anywhere(
    stream: tuple[Offer, bytes], places: list[int], messages_max: int
) -> None:
    check_cuts(stream[1], places, messages_max, stream[0])


@ORACLE
@given(st.one_of(st.binary(max_size=60), streams(PLAIN).filter(lambda data: len(data) < 2000)), FEW)
def test_byte_by_byte_is_as_good_as_at_once(data: bytes, messages_max: int) -> None:
    check_cuts(data, list(range(len(data))), messages_max, PLAIN)


# --- Both directions, with their client


@ORACLE
@given(
    st.sampled_from(
        [
            [],
            [ClientPerMessageDeflateFactory()],
            [ClientPerMessageDeflateFactory(client_max_window_bits=None, server_max_window_bits=10)],
            [ClientPerMessageDeflateFactory(server_no_context_takeover=True, client_no_context_takeover=True)],
            [ClientPerMessageDeflateFactory(server_max_window_bits=9, client_max_window_bits=9)],
        ]
    ),
    st.lists(st.one_of(st.text(), st.binary(), LARGE), max_size=5),
)
def test_their_client_understands_us_and_we_understand_it(
    factories: list[ClientPerMessageDeflateFactory], values: list[str | bytes]
) -> None:
    client = ClientProtocol(parse_uri("ws://h/"), extensions=factories)
    request = client.connect()
    client.send_request(request)
    client.data_to_send()
    offer = read_offer((name.lower().encode(), value.encode()) for name, value in request.headers.raw_items())
    fields, agreement = answer(offer, None, compress=True)
    assert (agreement is not None) is bool(factories)
    lines = [(b"connection", b"upgrade"), *fields]
    client.receive_data(
        b"HTTP/1.1 101 Switching Protocols\r\n" + b"".join(b"%b: %b\r\n" % line for line in lines) + b"\r\n"
    )
    client.events_received()
    assert client.state is OPEN, client.handshake_exc

    session = Session(size_max=SIZE_MAX, agreement=agreement)
    for value in values:
        if isinstance(value, str):
            client.receive_data(session.text(value))
            client.send_text(value.encode())
        else:
            client.receive_data(session.binary(value))
            client.send_binary(value)
        (frame,) = client.events_received()
        assert isinstance(frame, TheirFrame)
        data = bytes(frame.data)
        assert (data.decode() if frame.opcode is Opcode.TEXT else data) == value
        assert session.receive(b"".join(client.data_to_send()), 2, HELD_MAX) == [value]
