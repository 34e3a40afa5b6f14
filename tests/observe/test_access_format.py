"""devserver/observe/access_format.py."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devserver.errors import ConfigError
from devserver.observe import access_format
from devserver.observe.access_format import atoms_format, describe, json_format, text_format, uvicorn_args
from tests.support.observing import finished

HOSTILE = b'/\x1b]0;title\x07"\r\nINFO: forged\\\xff'


@pytest.fixture
def _berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "CET-1")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("members", "line"),
    [
        ({}, 'INFO:     127.0.0.1:52344 - "GET /path?q=1 HTTP/1.1" 200 OK 1.2ms'),
        ({"client": ("::1", 7)}, 'INFO:     ::1:7 - "GET /path?q=1 HTTP/1.1" 200 OK 1.2ms'),
        ({"client": None}, 'INFO:     unix - "GET /path?q=1 HTTP/1.1" 200 OK 1.2ms'),
        ({"status": 404}, 'INFO:     127.0.0.1:52344 - "GET /path?q=1 HTTP/1.1" 404 Not Found 1.2ms'),
        ({"status": 599}, 'INFO:     127.0.0.1:52344 - "GET /path?q=1 HTTP/1.1" 599 1.2ms'),
        ({"duration_s": 12.34567}, 'INFO:     127.0.0.1:52344 - "GET /path?q=1 HTTP/1.1" 200 OK 12345.7ms'),
        ({"complete": False}, 'INFO:     127.0.0.1:52344 - "GET /path?q=1 HTTP/1.1" 200 OK 1.2ms (incomplete)'),
        (
            {"status": 0, "complete": False},
            'INFO:     127.0.0.1:52344 - "GET /path?q=1 HTTP/1.1" - Disconnected 1.2ms (incomplete)',
        ),
    ],
)
def test_the_text_line_is_that_of_uvicorn_with_the_duration(members: dict[str, Any], line: str) -> None:
    assert text_format(colors=False)([finished(**members)]) == [f"{line}\n"]


def test_colors_surround_level_request_line_and_status() -> None:
    assert text_format(colors=True)([finished(status=404)]) == [
        (
            '\x1b[32mINFO\x1b[0m:     127.0.0.1:52344 - "\x1b[1mGET /path?q=1 HTTP/1.1\x1b[0m" '
            "\x1b[31m404 Not Found\x1b[0m 1.2ms\n"
        )
    ]


def test_hostile_members_cannot_leave_their_place() -> None:
    event = finished(target=HOSTILE, method="G\x1bT", client=("\x1b[2J", 1), http_version="1\n1", scheme="\x1b")
    every_atom = " ".join(f"%({name})s" for name in [*access_format._ATOMS, "{user-agent}i", "{x}o", "{RAW_URI}e"])
    headers = [
        (b"user-agent", HOSTILE),
        (b"referer", HOSTILE),
        (b"authorization", b"Basic " + base64.b64encode(HOSTILE)),
    ]
    event = event._replace(request_headers=headers, response_headers=[(b"x", HOSTILE)])
    for render in (text_format(colors=False), json_format(), atoms_format(every_atom)):
        (line,) = render([event])
        assert line.endswith("\n")
        assert line[:-1].isascii()
        assert line[:-1].isprintable()


def test_a_json_line_has_every_member() -> None:
    (line,) = json_format()([finished()])
    assert json.loads(line) == {
        "timestamp": "2026-11-22T11:57:01.250Z",
        "level": "INFO",
        "logger": "devserver.access",
        "message": "GET /path 200",
        "client": "127.0.0.1:52344",
        "method": "GET",
        "path": "/path",
        "query": "q=1",
        "http_version": "1.1",
        "status": 200,
        "bytes": 5,
        "duration_ms": 1.23,
        "user_agent": "curl/8.1",
        "referer": "http://a/",
    }


def test_a_json_line_of_a_lost_client_has_no_status() -> None:
    (line,) = json_format()([finished(status=0, complete=False, request_headers=[], target=b"/", client=None)])
    members = json.loads(line)
    assert members["status"] is None
    assert members["complete"] is False
    assert members["user_agent"] is None
    assert members["query"] == ""
    assert members["client"] == "unix"


@given(
    target=st.binary(min_size=1),
    method=st.text(min_size=1, alphabet=st.characters(exclude_categories=["Cs"])),
    agent=st.binary(),
    host=st.text(alphabet=st.characters(exclude_categories=["Cs"])),
    status=st.integers(0, 999),
    duration=st.floats(0, 1e6),
    moment=st.floats(0, 4e9),
)
def test_any_request_gives_valid_json_on_one_line(
    target: bytes, method: str, agent: bytes, host: str, status: int, duration: float, moment: float
) -> None:
    event = finished(
        target=target,
        method=method,
        request_headers=[(b"user-agent", agent)],
        client=(host, 1),
        status=status,
        duration_s=duration,
        finished_at=moment,
    )
    (line,) = json_format()([event])
    members = json.loads(line)
    assert line.count("\n") == 1
    assert members["method"] == method
    assert members["user_agent"] == agent.decode("utf-8", "backslashreplace")
    described = describe(event)
    assert {name: members[name] for name in described if name != "duration_ms"} == {
        name: value for name, value in described.items() if name != "duration_ms"
    }


@pytest.mark.usefixtures("_berlin")
@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("%(h)s %(l)s %(u)s", "127.0.0.1 - -"),
        ("%(t)s", "[22/Nov/2026:12:57:01 +0100]"),
        ('"%(r)s"', '"GET /path?q=1 HTTP/1.1"'),
        ("%(m)s %(U)s %(R)s %(q)s %(H)s %(S)s", "GET /path /path q=1 HTTP/1.1 http"),
        ("%(s)s %(st)s", "200 OK"),
        ("%(B)s %(b)s", "5 5"),
        ("%(f)s %(a)s", "http://a/ curl/8.1"),
        ("%(T)s %(M)s %(D)s %(L)s", "0 1 1230 0.001230"),
        ("%({Host}i)s %({HOST}i)s %({X-None}i)s", "example.com example.com -"),
        ("%({content-type}o)s %({x}o)s", "text/plain -"),
        ("%({REMOTE_ADDR}e)s %({REMOTE_PORT}e)s %({HTTP_USER_AGENT}e)s", "127.0.0.1 52344 curl/8.1"),
        ("%({PATH_INFO}e)s %({QUERY_STRING}e)s %({RAW_URI}e)s", "/path q=1 /path?q=1"),
        ("%({PATH}e)s %({HOME}e)s", "- -"),
        ("%(nope)s %()s %({x}z)s %({})s", "- - - -"),
        ("100 %% {h} {{}} 'quoted' \"twice\" \\n ü", "100 % {h} {{}} 'quoted' \"twice\" \\n ü"),
        ("", ""),
    ],
)
def test_an_atom_shows_its_part_of_the_request(text: str, line: str) -> None:
    assert atoms_format(text)([finished()]) == [f"{line}\n"]


def test_atoms_without_a_value_show_a_dash() -> None:
    event = finished(client=None, status=0, body_bytes=0, request_headers=[], response_headers=[], target=b"/")
    assert atoms_format("%(h)s %(s)s %(st)s %(B)s %(b)s %(f)s %(a)s %({REMOTE_PORT}e)s|%(q)s|")([event]) == [
        "- - - 0 - - - -||\n"
    ]


@pytest.mark.parametrize(
    ("authorization", "user"),
    [
        (b"Basic " + base64.b64encode(b"ann:secret"), "ann"),
        (b"basic " + base64.b64encode(b"ann"), "ann"),
        (b"Basic " + base64.b64encode(b":secret"), "-"),
        (b"Basic " + base64.b64encode(b"a\nb:c"), "a\\x0ab"),
        (b"Basic ???", "-"),
        (b"Basic a", "-"),
        (b"Bearer token", "-"),
        (b"", "-"),
    ],
)
def test_the_user_is_that_of_basic_authentication(authorization: bytes, user: str) -> None:
    event = finished(request_headers=[(b"authorization", authorization)])
    assert atoms_format("%(u)s")([event]) == [f"{user}\n"]


@pytest.mark.parametrize("text", ["%", "%(h)", "%(h)d", "%h", "a %(h)s %(", "%(a(b)s", "%s", "50%"])
def test_a_malformed_format_is_an_error_that_shows_the_place(text: str) -> None:
    with pytest.raises(ConfigError, match="--access-log-format is malformed at") as caught:
        atoms_format(text)
    assert caught.value.hint


def test_a_header_name_cannot_become_source() -> None:
    for name in ("x'+scheme+'", 'x"+scheme+"', "x\\", "x\n1/0", "ü"):
        assert atoms_format(f"%({{{name}}}i)s%({{{name}}}o)s%({{{name}}}e)s")([finished()]) == ["---\n"]


def test_remembered_texts_stay_bounded() -> None:
    render = text_format(colors=False)
    peers = access_format._NAMES["peers"]
    assert isinstance(peers, dict)
    for port in range(access_format.CACHED_MAX + 10):
        render([finished(client=("10.0.0.1", port))])
    assert len(peers) <= access_format.CACHED_MAX


def test_the_second_changes_within_a_batch() -> None:
    lines = json_format()([finished(finished_at=1.999), finished(finished_at=2.0), finished(finished_at=1.5)])
    assert [json.loads(line)["timestamp"] for line in lines] == [
        "1970-01-01T00:00:01.999Z",
        "1970-01-01T00:00:02.000Z",
        "1970-01-01T00:00:01.500Z",
    ]


def test_records_carry_the_arguments_of_uvicorn() -> None:
    assert uvicorn_args(finished(target=b"/\x1b")) == ("127.0.0.1:52344", "GET", "/\\x1b", "1.1", 200)


EVERY_ATOM = [
    *access_format._ATOMS,
    *(f"{{{name}}}e" for name in access_format._VARIABLES),
    "{User-Agent}i",
    "{X}o",
    "{HTTP_USER_AGENT}e",
    "nope",
]
QUOTED = "{" + ", ".join(f'"{index}": "%({name})s"' for index, name in enumerate(EVERY_ATOM)) + "}"
BARE = " [" + ",".join(f"%({name})s" for name in EVERY_ATOM) + ', {"100%%": "\\"%(a)s\\\\"}]'

RENDERERS = [atoms_format(QUOTED), atoms_format(BARE)]


@given(
    target=st.binary(min_size=1),
    method=st.text(min_size=1, alphabet=st.characters(exclude_categories=["Cs"])),
    value=st.binary(),
    host=st.text(alphabet=st.characters(exclude_categories=["Cs"])),
    status=st.sampled_from([0, 200, 999]),
    body_bytes=st.sampled_from([0, 5]),
)
def test_a_format_that_is_json_gives_valid_json_for_every_byte(
    target: bytes, method: str, value: bytes, host: str, status: int, body_bytes: int
) -> None:
    sent = [(b"user-agent", value), (b"authorization", b"Basic " + base64.b64encode(value))]
    event = finished(
        target=target,
        method=method,
        request_headers=sent,
        response_headers=[(b"x", value)],
        client=(host, 1),
        status=status,
        body_bytes=body_bytes,
    )
    agent = value.decode("utf-8", "backslashreplace") or "-"
    for render in RENDERERS:
        for each in (event, event._replace(client=None)):
            (line,) = render([each])
            assert line.count("\n") == 1
            assert line.isascii()
            members = json.loads(line)
            values = list(members.values()) if isinstance(members, dict) else members
            assert values[EVERY_ATOM.index("a")] == agent
            assert values[EVERY_ATOM.index("m")] == method
    assert members[EVERY_ATOM.index("s")] == (status or None)
    assert members[EVERY_ATOM.index("b")] == body_bytes
    assert members[-1] == {"100%": f'"{agent}\\'}


def test_a_json_format_shows_what_a_client_sent_as_it_is() -> None:
    event = finished(request_headers=[(b"user-agent", 'a "b" \\ ü\r\n'.encode())], target=b'/a"\xc3\xbc?q=\\')
    text = '{"agent": "%(a)s", "line": "%(r)s", "path": "%(U)s", "query": "%(q)s", "status": %(s)s}'
    (line,) = atoms_format(text)([event])
    assert line == (
        '{"agent": "a \\"b\\" \\\\ \\u00fc\\r\\n", "line": "GET /a\\"%C3%BC?q=\\\\ HTTP/1.1", '
        '"path": "/a\\"%C3%BC", "query": "q=\\\\", "status": 200}\n'
    )


@pytest.mark.parametrize("text", ['"%(a)s"', '{"a": "%(a)s"', "%(s)s", '{"a": "%(a)s",}', "{%(a)s}", "[" * 100_000])
def test_another_format_keeps_its_escaping(text: str) -> None:
    assert not access_format.is_json(text)
    (line,) = atoms_format(text)([finished(request_headers=[(b"user-agent", b'"\xff')])])
    assert "%(a)s" not in text or "\\x22\\xff" in line
