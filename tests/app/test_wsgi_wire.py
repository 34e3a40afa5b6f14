"""What a WSGI app writes to a WebSocket's socket, read piece by piece; a foreign implementation judges our frames."""

from __future__ import annotations

import pytest
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Pong, TextMessage

from devserver.app import wsgi_wire as wire
from devserver.errors import AppContractError
from tests.support.websocket import BINARY, CLOSE, CONTINUATION, PING, TEXT, client_frame, cut

HEAD = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, **kind: bool) -> bytes:
    """As a server sends it."""
    return client_frame(opcode, payload, fin=fin, mask=None, **kind)


# The response head


def test_answer_keeps_what_is_the_apps_to_say() -> None:
    head = HEAD + b"Set-Cookie: a=b\r\nSec-WebSocket-Accept: x\r\nSec-WebSocket-Protocol: chat\r\nServer: y\r\n\r\n"
    assert wire.read_answer(head) == (101, [(b"Set-Cookie", b"a=b")], "chat", -1)


def test_answer_may_be_another_status_without_a_reason() -> None:
    assert wire.read_answer(b"HTTP/1.1 403\r\nContent-Length: 3\r\nX:\ty \r\n\r\n") == (403, [(b"X", b"y")], None, 3)


@pytest.mark.parametrize(
    "head",
    [
        b"\r\n\r\n",
        b"HTTP/1.0 101 x\r\n\r\n",
        b"HTTP/1.1 1 x\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 2000\r\n\r\n",
    ],
)
def test_answer_needs_a_status_line(head: bytes) -> None:
    with pytest.raises(AppContractError, match="where HTTP has a status line"):
        wire.read_answer(head + b"\r\n\r\n")


def test_answer_needs_header_lines() -> None:
    with pytest.raises(AppContractError, match="where HTTP has a header line"):
        wire.read_answer(HEAD + b"what\r\n\r\n")


# Frames of the app


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 70000])
def test_messages_of_every_length_arrive_however_they_are_cut(size: int) -> None:
    payload = bytes(index % 251 for index in range(size))
    data = frame(BINARY, payload) + frame(TEXT, b"next")
    for places in [], [1], [2, 3], [5, 9], [size + 2]:
        reader = wire.FrameReader()
        found = [event for part in cut(data, places) for event in reader.feed(part)]
        assert found == [(BINARY, payload), (TEXT, b"next")]


def test_fragments_become_one_message_around_control_frames() -> None:
    data = frame(TEXT, b"a", fin=False) + frame(PING, b"p") + frame(CONTINUATION, b"b", fin=False)
    data += frame(CONTINUATION, b"c") + frame(TEXT, b"d")
    assert wire.FrameReader().feed(data) == [(PING, b"p"), (TEXT, b"abc"), (TEXT, b"d")]


def test_message_that_is_too_long_is_refused_before_it_is_held() -> None:
    reader = wire.FrameReader(message_max=10)
    assert reader.feed(
        frame(TEXT, b"0123456789") + frame(TEXT, b"01234567", fin=False) + frame(PING, b"long ping")
    ) == [
        (TEXT, b"0123456789"),
        (PING, b"long ping"),
    ]
    with pytest.raises(AppContractError, match="more than 10 bytes"):
        reader.feed(frame(CONTINUATION, b"890")[:2])


@pytest.mark.parametrize(
    "data",
    [
        client_frame(TEXT, b"masked"),
        frame(TEXT, b"", rsv1=True),
        frame(0x3),
        frame(CONTINUATION, b"of nothing"),
        frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"),
        frame(PING, bytes(126)),
    ],
)
def test_what_no_server_may_send_is_refused(data: bytes) -> None:
    with pytest.raises(AppContractError):
        wire.FrameReader().feed(data)


def test_close_is_taken_apart() -> None:
    assert wire.read_close(b"") == (1005, "")
    assert wire.read_close(b"\x03\xe8bye") == (1000, "bye")


# Our frames


def test_wsproto_understands_what_is_written_to_the_app() -> None:
    server = Connection(ConnectionType.SERVER)
    sizes = [0, 125, 126, 65535, 65536]
    server.receive_data(b"".join(wire.encode(wire.BINARY, b"x" * size) for size in sizes))
    server.receive_data(wire.encode(wire.TEXT, "é".encode()) + wire.encode(wire.PONG, b"p"))
    server.receive_data(wire.encode_close(1012, "é" * 100))
    events = list(server.events())
    assert [bytes(event.data) for event in events[:5] if isinstance(event, BytesMessage)] == [b"x" * n for n in sizes]
    text, pong, close = events[5:]
    assert isinstance(text, TextMessage)
    assert text.data == "é"
    assert isinstance(pong, Pong)
    assert isinstance(close, CloseConnection)
    assert (close.code, close.reason) == (1012, "é" * 61)


@pytest.mark.parametrize("code", [1005, 1006, 1015])
def test_codes_that_are_never_sent_leave_the_close_frame_empty(code: int) -> None:
    assert wire.encode_close(code, "why") == wire.encode(CLOSE, b"")
