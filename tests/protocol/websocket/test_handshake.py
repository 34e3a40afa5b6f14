"""RFC 6455 §4.2: what a client asks for, and the fields of the answer."""

from __future__ import annotations

import base64
import hashlib

import pytest

from devserver.protocol.websocket.deflate import Agreement
from devserver.protocol.websocket.handshake import HandshakeError, Offer, answer, read_offer
from tests.support.websocket import SAMPLE_ACCEPT, SAMPLE_KEY

Fields = list[tuple[bytes, bytes]]

KEY = (b"sec-websocket-key", SAMPLE_KEY)
VERSION = (b"sec-websocket-version", b"13")


def protocols(*values: bytes) -> Fields:
    return [KEY, VERSION, *((b"sec-websocket-protocol", value) for value in values)]


def extensions(*values: bytes) -> Fields:
    return [KEY, VERSION, *((b"sec-websocket-extensions", value) for value in values)]


def refusal(fields: Fields) -> HandshakeError:
    with pytest.raises(HandshakeError) as caught:
        read_offer(fields)
    assert str(caught.value) == caught.value.reason
    assert caught.value.reason.endswith(".")
    return caught.value


# --- RFC 6455 §4.2.1: reading the client's opening handshake


def test_handshake_of_section_1_3_is_read_and_answered() -> None:
    offer = read_offer(
        [
            (b"host", b"server.example.com"),
            (b"upgrade", b"websocket"),
            (b"connection", b"Upgrade"),
            (b"sec-websocket-key", SAMPLE_KEY),
            (b"origin", b"http://example.com"),
            (b"sec-websocket-protocol", b"chat, superchat"),
            (b"sec-websocket-version", b"13"),
        ]
    )
    assert offer == Offer(SAMPLE_KEY, ["chat", "superchat"], [])
    fields, agreement = answer(offer, "chat", compress=True)
    assert fields == [
        (b"upgrade", b"websocket"),
        (b"sec-websocket-accept", SAMPLE_ACCEPT),
        (b"sec-websocket-protocol", b"chat"),
    ]
    assert agreement is None


@pytest.mark.parametrize("versions", [[], [b"13", b"13"], [b"13", b"8"]])
def test_version_that_is_missing_or_there_twice_is_a_bad_request(versions: list[bytes]) -> None:
    error = refusal([KEY, *((b"sec-websocket-version", version) for version in versions)])
    assert (error.status, list(error.fields)) == (400, [])


@pytest.mark.parametrize("version", [b"0", b"8", b"14", b"013", b"13, 8", b"", b"\xff", b"thirteen"])
def test_other_version_is_answered_with_ours(version: bytes) -> None:
    # Before the key is looked at, which another version may have in another form (§4.4).
    error = refusal([(b"sec-websocket-version", version)])
    assert error.status == 426
    assert dict(error.fields) == {
        b"sec-websocket-version": b"13",
        b"upgrade": b"websocket",  # RFC 9110 §15.5.22
        b"connection": b"upgrade",
    }


@pytest.mark.parametrize(
    "keys",
    [
        [],
        [SAMPLE_KEY, SAMPLE_KEY],
        [b""],
        [base64.b64encode(bytes(15))],
        [base64.b64encode(bytes(17))],
        [base64.b64encode(bytes(16)).rstrip(b"=")],
        [b"dGhlIHNhbXBsZSBub25j*Q=="],
        [b"dGhlIHNhbXBsZSBub25\xe9ZQ=="],
        [b"dGhlIHNhbXBs ZSBub25jZQ=="],
        [b"=" * 24],
        [b"-_-_-_-_-_-_-_-_-_-_-w=="],
    ],
)
def test_key_that_is_not_one_of_16_bytes_in_base64_is_a_bad_request(keys: list[bytes]) -> None:
    assert refusal([VERSION, *((b"sec-websocket-key", key) for key in keys)]).status == 400


def test_key_is_kept_as_it_was_sent() -> None:
    key = base64.b64encode(bytes(range(240, 256)))
    offer = read_offer([(b"sec-websocket-key", key), VERSION])
    accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    assert answer(offer, None, compress=False)[0] == [(b"upgrade", b"websocket"), (b"sec-websocket-accept", accept)]


# --- RFC 6455 §4.1, item 10, and §11.3.4: subprotocols


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([], []),
        ([b""], []),
        ([b" , ,\t"], []),
        ([b"chat"], ["chat"]),
        ([b"chat,superchat"], ["chat", "superchat"]),
        ([b" superchat\t,\t chat ,"], ["superchat", "chat"]),
        ([b"b", b"a, c"], ["b", "a", "c"]),
        ([b"v1.x!#$%&'*+-^_`|~"], ["v1.x!#$%&'*+-^_`|~"]),
        ([b"Chat, chat"], ["Chat", "chat"]),
        ([b",".join(b"p%d" % number for number in range(128))], [f"p{number}" for number in range(128)]),
    ],
)
def test_subprotocols_are_read_in_the_clients_order(values: list[bytes], names: list[str]) -> None:
    assert read_offer(protocols(*values)).subprotocols == names


@pytest.mark.parametrize(
    "values",
    [
        [b"chat, chat"],
        [b"chat", b"chat"],
        [b"super chat"],
        [b'"chat"'],
        [b"a/b"],
        [b"caf\xe9"],
        [b"caf\xc3\xa9"],
        [b"a\x00"],
        [b"chat\n"],
        [b",".join(b"p%d" % number for number in range(129))],
    ],
)
def test_subprotocols_that_are_no_distinct_tokens_are_a_bad_request(values: list[bytes]) -> None:
    error = refusal(protocols(*values))
    assert error.status == 400
    assert "Sec-WebSocket-Protocol" in error.reason


# --- RFC 6455 §9.1: extensions


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([], []),
        ([b""], []),
        ([b" ,\t, "], []),
        ([b"foo"], [("foo", ())]),
        ([b"foo, bar; baz=2"], [("foo", ()), ("bar", (("baz", "2"),))]),
        ([b'foo; bar="baz"; x'], [("foo", (("bar", "baz"), ("x", None)))]),
        ([b"\tfoo ; bar = baz\t;x , ,y,"], [("foo", (("bar", "baz"), ("x", None))), ("y", ())]),
        ([b"Foo; Bar=BAZ"], [("foo", (("bar", "BAZ"),))]),
        ([b"foo; a; a"], [("foo", (("a", None), ("a", None)))]),
        ([b"foo, foo; a", b"foo; b"], [("foo", ()), ("foo", (("a", None),)), ("foo", (("b", None),))]),
        ([b",".join([b"x"] * 16)], [("x", ())] * 16),
    ],
)
def test_extensions_are_read_with_their_parameters(
    values: list[bytes], found: list[tuple[str, tuple[tuple[str, str | None], ...]]]
) -> None:
    assert read_offer(extensions(*values)).extensions == found


@pytest.mark.parametrize(
    "value",
    [
        b"foo bar",
        b"foo;",
        b"foo; ;bar",
        b"; bar",
        b"foo; =1",
        b"foo; bar=",
        b"foo; bar=1 2",
        b'foo; bar=""',
        b'foo; bar="a b"',
        b'foo; bar="a',
        b"foo; bar=a=b",
        b"foo=bar",
        b"foo, b\xe4r",
        b"foo; bar=b\xe4z",
        b"foo/1",
        b"foo\n",
        b",".join([b"x"] * 17),
        b"x" + b" " * 50_000 + b"x",
        b"x" + b"; a" * 20_000 + b";",
    ],
)
def test_malformed_extensions_are_a_bad_request(value: bytes) -> None:
    error = refusal(extensions(value))
    assert error.status == 400
    assert "Sec-WebSocket-Extensions" in error.reason


# --- RFC 6455 §4.2.2: answering


def test_compression_that_was_offered_is_agreed_on() -> None:
    offer = read_offer(extensions(b"permessage-deflate; client_max_window_bits"))
    fields, agreement = answer(offer, None, compress=True)
    assert fields[-1] == (
        b"sec-websocket-extensions",
        b"permessage-deflate; client_max_window_bits=12; server_max_window_bits=12",
    )
    assert agreement == Agreement(12, 12)


def test_first_of_several_offers_that_can_be_kept_is_agreed_on() -> None:
    offer = read_offer(extensions(b"foo, permessage-deflate; server_max_window_bits=8", b"Permessage-Deflate"))
    fields, agreement = answer(offer, None, compress=True)
    assert fields[-1] == (b"sec-websocket-extensions", b"permessage-deflate; server_max_window_bits=12")
    assert agreement == Agreement(12, 15)


@pytest.mark.parametrize(
    ("value", "compress"), [(b"permessage-deflate", False), (b"permessage-deflate; unknown", True), (b"foo", True)]
)
def test_extension_that_is_not_agreed_on_is_not_named(value: bytes, compress: bool) -> None:
    fields, agreement = answer(read_offer(extensions(value)), None, compress=compress)
    assert [name for name, _ in fields] == [b"upgrade", b"sec-websocket-accept"]
    assert agreement is None
