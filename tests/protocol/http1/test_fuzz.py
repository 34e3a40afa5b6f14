"""Any bytes, in any pieces: nothing crashes, nothing hangs, and how the bytes were cut changes nothing."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.support.apps import Recorder
from tests.support.memory import memory_server
from tests.support.responses import MalformedResponseError

if TYPE_CHECKING:
    from tests.support.responses import Response

FUZZ = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])

METHODS = st.sampled_from([b"GET", b"POST", b"HEAD", b"OPTIONS", b"get", b"CONNECT", b"PRI", b"", b"G@T"])
TARGETS = st.sampled_from(
    [b"/", b"/a?b", b"*", b"http://h/a", b"http://u@h/", b"/%zz", b"//", b"", b"/a b", b"#", b"ftp://h"]
)
VERSIONS = st.sampled_from([b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"http/1.1", b""])
FIELDS = st.sampled_from(
    [
        b"Host: h",
        b"Host: h",
        b"Host: a b",
        b"Content-Length: 5",
        b"Content-Length: 0",
        b"Content-Length: +5",
        b"Content-Length: 99999999999999999999",
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: chunked, chunked",
        b"Transfer-Encoding: gzip",
        b"Connection: close",
        b"Connection: keep-alive",
        b"Connection: Upgrade",
        b"Upgrade: h2c",
        b"Upgrade: websocket",
        b"Expect: 100-continue",
        b"X: y",
        b"X : y",
        b" folded",
        b"X_Y: z",
        b"X: \x00",
        b"",
    ]
)
BODIES = st.sampled_from(
    [
        b"",
        b"",
        b"hello",
        b"5\r\nhello\r\n0\r\n\r\n",
        b"1;x=y\r\na\r\n0\r\nX: y\r\n\r\n",
        b"0\r\n\r\n",
        b"g\r\n",
        b"5\nhello\n0\n\n",
        b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n",
    ]
)
NEWLINES = st.sampled_from([b"\r\n"] * 8 + [b"\n", b"\r", b"\r\n\r\n"])


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """A request that is nearly one."""
    newline = draw(NEWLINES)
    line = b" ".join([draw(METHODS), draw(TARGETS), draw(VERSIONS)])
    fields = draw(st.lists(FIELDS, max_size=5))
    return line + newline + b"".join(field + newline for field in fields) + newline + draw(BODIES)


@st.composite
def valid_messages(draw: st.DrawFn) -> bytes:
    """A request that is served."""
    path = b"/%d" % draw(st.integers(0, 99))
    body = draw(st.binary(max_size=30))
    if draw(st.booleans()):
        return b"POST %b HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%b" % (path, len(body), body)
    chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
    return b"POST %b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n%b0\r\n\r\n" % (path, chunk)


STREAMS = st.one_of(
    st.binary(max_size=200),
    st.lists(messages(), max_size=4).map(b"".join),
    st.lists(st.one_of(messages(), valid_messages(), st.binary(max_size=10)), max_size=4).map(b"".join),
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Served requests with a few bytes changed."""
    data = bytearray(b"".join(draw(st.lists(valid_messages(), min_size=1, max_size=3))))
    for at in draw(st.lists(st.integers(0, len(data) - 1), max_size=3)):
        data[at] = draw(st.sampled_from(b"\r\n \t:;,/0aZ\x00\x7f\xff"))
    return bytes(data)


@dataclass
class Outcome:
    """What one stream of bytes led to."""

    responses: list[tuple[int, bytes, str]]
    requests: list[tuple[str, bytes, list[Any], bytes]]
    """Method, target, headers and body of every complete request. An app may or may not have begun with one that was
    refused later: that depends on how much had arrived when it began."""


def outcome(pieces: list[bytes]) -> Outcome:
    """Sends ``pieces``, ends the client's side, lets every time run out, and checks what must always hold."""
    app = Recorder()
    with memory_server(app, timeout_request_head=1, timeout_request_body=1, timeout_keep_alive=1) as server:
        client = server.connect()
        client.send(*pieces)
        before_end = client.sent
        client.shut()
        server.advance(15.0, step=1.0)
        assert client.gone, "the connection hangs"
        assert server.state.tasks == set()
        assert server.state.connections == set()
        methods = [seen.scope["method"] for seen in app.seen if not seen.disconnected]
        responses: list[Response]
        try:
            responses = client.responses(*methods)
        except MalformedResponseError:
            # The app that gave up is answered for with 500, which has no body if it was asked with HEAD.
            responses = client.responses(*[seen.scope["method"] for seen in app.seen])
            assert responses[-1].status == 500
        assert client.sent.startswith(before_end)
        allowed = {100, 200, 400, 408, 413, 417, 431, 501, 505}
        if any(seen.disconnected for seen in app.seen):
            allowed.add(500)  # The app gave up when the client did.
        assert {response.status for response in responses} <= allowed
        assert sum(response.status >= 300 for response in responses) <= 1, "nothing is served after a refusal"
        assert all(response.status < 300 for response in responses[:-1])
    return Outcome(
        [
            # Which rule a refusal names may depend on how much had arrived when it was noticed.
            (response.status, response.body if response.status < 300 else b"", response.get("connection") or "")
            for response in responses
            if response.status != 100
        ],
        [
            (
                seen.scope["method"],
                seen.scope["raw_path"] + b"?" + seen.scope["query_string"],
                seen.scope["headers"],
                seen.body,
            )
            for seen in app.seen
            if seen.complete
        ],
    )


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted({place % (len(data) + 1) for place in places}), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges) if start < end]


@FUZZ
@example(b"HEAD / HTTP/1.1\r\nHost:\r\nContent-Length:5\r\n\r\n")
@given(STREAMS)
def test_any_bytes_end_with_a_closed_connection(data: bytes) -> None:
    outcome([data])


@FUZZ
@given(st.one_of(STREAMS, mutated()), st.lists(st.integers(0, 2000), max_size=8))
def test_any_split_leads_to_the_same_requests_and_responses(data: bytes, places: list[int]) -> None:
    assert outcome(cut(data, places)) == outcome([data])


@FUZZ
@example(b"A \x00 \x00\r\n\n\r\n\r\n")
@example(b"! \x00 \x00\r\n\r\n\n")
@given(st.one_of(STREAMS, mutated()))
def test_byte_by_byte_leads_to_the_same_requests_and_responses(data: bytes) -> None:
    assert outcome([data[at : at + 1] for at in range(len(data))]) == outcome([data])


@FUZZ
@given(st.lists(valid_messages(), min_size=1, max_size=5), st.lists(st.integers(0, 2000), max_size=8))
def test_valid_requests_in_any_split_are_all_served(requests: list[bytes], places: list[int]) -> None:
    result = outcome(cut(b"".join(requests), places))
    assert [status for status, _, _ in result.responses] == [200] * len(requests)
    assert len(result.requests) == len(requests)
