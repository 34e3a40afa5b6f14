"""From finished requests to lines of text: one function compiled for one format, used for every line after.

A format is a sequence of literal text and fields. A field is a Python expression over the members of
:class:`~devserver.events.RequestFinished`, or of :class:`~devserver.events.WebSocketClosed`, and over the shared
intermediate values of ``_LOCALS``. All are put into the source of a single loop, as :mod:`dataclasses` does for
``__init__``, because the writer thread competes with the event loop for the interpreter: a call per field would cost
several times as much. Nothing that a user or a stranger wrote becomes source: literal text goes in through ``repr``,
header names as constants.

Pure: no I/O but the clock's time zone. Every expression returns text that is safe to print (see ``escaping``).
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from json.encoder import encode_basestring_ascii as quote
from os import getpid
from typing import Any, TypeAlias

from devserver.errors import ConfigError
from devserver.events import RequestFinished, WebSocketClosed
from devserver.observe.escaping import CLEAN, escape, escape_text

Finished: TypeAlias = RequestFinished | WebSocketClosed
Renderer: TypeAlias = Callable[[Sequence[Finished]], list[str]]
"""Gives one line, with its line feed, for each event."""

CACHED_MAX = 4096
"""Clients, methods and so on whose text is remembered; a few connections make most of the requests."""

RESET = "\x1b[0m"
_STATUS_COLORS = {1: "\x1b[97m", 2: "\x1b[32m", 3: "\x1b[33m", 4: "\x1b[31m", 5: "\x1b[91m"}
_PHRASES = {status.value: status.phrase for status in HTTPStatus}
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def text_format(*, colors: bool) -> Renderer:
    """uvicorn's access line, followed by the duration; ``(incomplete)`` at the end when the response was cut short.

    A WebSocket has a second line when it is closed.
    """
    level = "\x1b[32mINFO\x1b[0m:     " if colors else "INFO:     "
    bold, plain = ("\x1b[1m", RESET) if colors else ("", "")
    closed = _compile(
        [
            level,
            Field("peers[client]"),
            f' - "{bold}WebSocket ',
            Field("text", needs=("text",)),
            f'{plain}" closed ',
            Field("code"),
            Field("f' ({escape_text(reason)})' if reason else ''"),
            " after ",
            Field("duration_s", spec=".1f"),
            "s, ",
            Field("messages_received"),
            " in, ",
            Field("messages_sent"),
            " out",
        ],
        WebSocketClosed,
    )
    finished = _compile(
        [
            level,
            Field("peers[client]"),
            f' - "{bold}',
            Field("verbs[method]"),
            " ",
            Field("text", needs=("text",)),
            " HTTP/",
            Field("versions[http_version]"),
            f'{plain}" ',
            Field("statuses[status]"),
            " ",
            Field("tenths[int(duration_s * 10000 + 0.5)]"),
            "ms",
            Field('"" if complete else " (incomplete)"'),
        ],
        statuses=_Remembering(lambda status: status_text(status, colors=colors)),
    )
    return _either(finished, closed)


def json_format() -> Renderer:
    """One JSON object a line; every member is escaped by the JSON encoder, everything beyond ASCII included."""
    begin: list[str | Field] = [
        '{"timestamp":"',
        Field("stamp", needs=("stamp",)),
        Field("finished_at % 1 * 1000 // 1", spec="03.0f"),
        'Z","level":"INFO","logger":"devserver.access","message":"',
    ]
    closed = _compile(
        [
            *begin,
            "WebSocket ",
            Field("quoted_path[1:-1]", needs=("quoted_path",)),
            " closed ",
            Field("code"),
            '","client":',
            Field("quoted_peers[client]"),
            ',"path":',
            Field("quoted_path"),
            ',"query":',
            Field("quote(ascii_text(query)) if query else '\"\"'", needs=("raw_path",)),
            ',"code":',
            Field("code"),
            ',"reason":',
            Field("quote(reason)"),
            *(part for name in _COUNTS for part in (f',"{name}":', Field(name))),
            ',"duration_ms":',
            Field("duration_s * 1000", spec=".3f"),
            ',"user_agent":',
            Field("quoted(sent.get(b'user-agent'))", needs=("sent",)),
            "}",
        ],
        WebSocketClosed,
    )
    finished = _compile(
        [
            *begin,
            Field("quoted_verbs[method]"),
            " ",
            Field("quoted_path[1:-1]", needs=("quoted_path",)),
            " ",
            Field("status"),
            '","client":',
            Field("quoted_peers[client]"),
            ',"method":"',
            Field("quoted_verbs[method]"),
            '","path":',
            Field("quoted_path"),
            ',"query":',
            Field("quote(ascii_text(query)) if query else '\"\"'", needs=("raw_path",)),
            ',"http_version":"',
            Field("versions[http_version]"),
            '","status":',
            Field("status or 'null'"),
            ',"bytes":',
            Field("body_bytes"),
            ',"duration_ms":',
            Field("duration_s * 1000", spec=".3f"),
            ',"user_agent":',
            Field("quoted(sent.get(b'user-agent'))", needs=("sent",)),
            ',"referer":',
            Field("quoted(sent.get(b'referer'))", needs=("sent",)),
            Field("'' if complete else ',\"complete\":false'"),
            "}",
        ]
    )
    return _either(finished, closed)


def atoms_format(text: str) -> Renderer:
    """The format of ``--access-log-format``: gunicorn's ``%(x)s`` atoms, and ``%(st)s``, ``%(S)s`` and ``%(R)s``.

    The line of a WebSocket that is closed has its close code in the place of the status.

    A name that is no atom gives ``-``, as gunicorn does. When the format is JSON, every line is: values are escaped as
    JSON does it, and a value that stands outside of quotes gets them unless it is a number.

    :raises ConfigError: a percent sign starts neither ``%(name)s`` nor ``%%``.
    """
    parts = _parse(text)
    quoted = _quoted_fields(parts)
    if quoted is not None:
        fields = iter(quoted)
        parts = [_as_json(part, quoted=next(fields)) if isinstance(part, Field) else part for part in parts]
    return _either(_compile(parts), _compile(parts, WebSocketClosed))


def is_json(text: str) -> bool:
    """Says whether the lines of a format of atoms are JSON.

    :raises ConfigError: see :func:`atoms_format`.
    """
    return _quoted_fields(_parse(text)) is not None


def _either(finished: Renderer, closed: Renderer) -> Renderer:
    def render(events: Sequence[Finished]) -> list[str]:
        if WebSocketClosed not in map(type, events):
            return finished(events)
        return [(closed if type(event) is WebSocketClosed else finished)([event])[0] for event in events]

    return render


def describe(event: Finished) -> dict[str, Any]:
    """The members of the JSON form as plain values, for log records and whoever formats them in another way."""
    path, _, query = event.target.partition(b"?")
    sent = dict(event.request_headers)
    if isinstance(event, WebSocketClosed):
        return {
            "client": _peer(event.client),
            "path": _ascii(path),
            "query": _ascii(query),
            "code": event.code,
            "reason": event.reason,
            **{name: getattr(event, name) for name in _COUNTS},
            "duration_ms": round(event.duration_s * 1000, 3),
            "user_agent": _decoded(sent.get(b"user-agent")),
        }
    return {
        "client": _peer(event.client),
        "method": event.method,
        "path": _ascii(path),
        "query": _ascii(query),
        "http_version": event.http_version,
        "status": event.status or None,
        "bytes": event.body_bytes,
        "duration_ms": round(event.duration_s * 1000, 3),
        "user_agent": _decoded(sent.get(b"user-agent")),
        "referer": _decoded(sent.get(b"referer")),
    }


def uvicorn_args(event: Finished) -> tuple[str, str, str, str, int]:
    """``(client_addr, method, full_path, http_version, status)``, which uvicorn's access records carry as ``args``."""
    if isinstance(event, WebSocketClosed):
        return _peer(event.client), "WebSocket", escape(event.target), "1.1", event.code
    return _peer(event.client), escape_text(event.method), escape(event.target), event.http_version, event.status


def status_text(status: int, *, colors: bool) -> str:
    """Code and phrase, such as ``404 Not Found``."""
    text = f"{status} {_PHRASES.get(status, '')}".rstrip() if status else "- Disconnected"
    color = _STATUS_COLORS.get(status // 100) if colors else None
    return f"{color}{text}{RESET}" if color else text


@dataclass(frozen=True, slots=True)
class Field:
    """A part of a line that depends on the request.

    :param source: a Python expression.
    :param needs: names of ``_LOCALS`` that it reads.
    :param spec: how its value is formatted, as after the colon in an f-string.
    """

    source: str
    needs: tuple[str, ...] = ()
    spec: str = ""
    plain: str = ""
    """The same as text that is not escaped yet, for JSON; empty for a number, whose ``source`` is JSON as it is."""
    plain_needs: tuple[str, ...] = ()
    bare: str = ""
    """The number as a JSON value of its own, where ``source`` may give a dash."""


# Values that several fields share, in the order in which they depend on each other.
_LOCALS = {
    "text": "text = target.decode() if target.translate(clean) == target else escape(target)",
    "path": "path, _, search = text.partition('?')",
    "raw_path": "raw_path, _, query = target.partition(b'?')",
    "quoted_path": "quoted_path = quote(ascii_text(raw_path))",
    "sent": "sent = dict(request_headers)",
    "answered": "answered = {name.lower(): value for name, value in response_headers}",
    "now": "now = int(finished_at)",
    "stamp": "if now != stamp_second: stamp_second = now; stamp = utc(now)",
    "moment": "if now != moment_second: moment_second = now; moment = common_log_time(now)",
}
_ALSO = {"path": "text", "quoted_path": "raw_path", "stamp": "now", "moment": "now"}

_COUNTS = ("messages_received", "messages_sent", "bytes_received", "bytes_sent")
_LIKE_A_REQUEST = "method, http_version, status, body_bytes, response_headers = 'GET', '1.1', code, bytes_sent, ()"
"""What the fields of a request mean for a WebSocket that was closed."""

_TEMPLATE = """\
def render(events):
    stamp_second = moment_second = -1
    stamp = moment = ""
    pid = getpid()
    lines = []
    append = lines.append
    for {members} in events:
        {statements}
        append({line})
    return lines
"""


def _compile(parts: Sequence[str | Field], kind: type[Finished] = RequestFinished, **names: object) -> Renderer:
    needed = {name for part in parts if isinstance(part, Field) for name in part.needs}
    needed |= {_ALSO[name] for name in needed if name in _ALSO}
    statements = [statement for name, statement in _LOCALS.items() if name in needed]
    if kind is WebSocketClosed:
        statements.insert(0, _LIKE_A_REQUEST)
    line = []
    for index, part in enumerate([*parts, "\n"]):
        if isinstance(part, str):
            line.append(repr(part))
        else:
            # Assigned first, because an expression inside an f-string may not repeat its quotes before Python 3.12.
            statements.append(f"value_{index} = {part.source}")
            line.append(f"f'{{value_{index}:{part.spec}}}'" if part.spec else f"f'{{value_{index}}}'")
    source = _TEMPLATE.format(
        members=", ".join(kind._fields), statements="\n        ".join(statements), line=" ".join(line)
    )
    scope: dict[str, Any] = {**_NAMES, **names}
    exec(source, scope)
    render: Renderer = scope["render"]
    return render


def _parse(text: str) -> list[str | Field]:
    """Splits a format of atoms into literal text and fields.

    :raises ConfigError: see :func:`atoms_format`.
    """
    parts: list[str | Field] = []
    position = 0
    for match in _ATOM.finditer(text):
        parts.append(text[position : match.start()])
        position = match.end()
        if match["bad"] is not None:
            raise ConfigError(
                f'--access-log-format is malformed at "{text[match.start() :][:20]}" (character {match.start() + 1}).',
                hint="write %(name)s for an atom and %% for a percent sign",
            )
        parts.append("%" if match["name"] is None else _atom(match["name"]))
    parts.append(text[position:])
    return parts


def _quoted_fields(parts: Sequence[str | Field]) -> list[bool] | None:
    """For each field of a format that is JSON, whether it stands inside of a JSON string; None for other formats."""
    quoted: list[bool] = []
    sample: list[str] = []
    in_string = escaped = False
    for part in parts:
        if isinstance(part, Field):
            quoted.append(in_string)
            sample.append("0")
            continue
        sample.append(part)
        for char in part:
            if escaped:
                escaped = False
            elif char == "\\":
                escaped = in_string
            elif char == '"':
                in_string = not in_string
    try:
        value = json.loads("".join(sample))
    except (ValueError, RecursionError):
        return None
    return quoted if isinstance(value, (dict, list)) else None


def _as_json(field: Field, *, quoted: bool) -> Field:
    if not field.plain:
        return field if quoted or not field.bare else Field(field.bare, field.needs)
    return Field(f"quote({field.plain})[1:-1]" if quoted else f"quote({field.plain})", field.plain_needs)


_ATOM = re.compile(r"%(?:\((?P<name>[^()]*)\)s|(?P<percent>%)|(?P<bad>))")


def _header_field(lines: str, name: str) -> Field:
    """:param lines: ``sent`` or ``answered``."""
    value = f"{lines}.get({name.lower().encode()!r})"
    return Field(f"shown({value})", needs=(lines,), plain=f"decoded({value}) or '-'", plain_needs=(lines,))


_ATOMS = {
    "h": Field("hosts[client]", plain="client[0] if client else '-'"),
    "l": Field("'-'", plain="'-'"),
    "u": Field(
        "escape(user(sent.get(b'authorization')))",
        needs=("sent",),
        plain="decoded(user(sent.get(b'authorization')))",
        plain_needs=("sent",),
    ),
    "t": Field("moment", needs=("moment",), plain="moment", plain_needs=("moment",)),
    "r": Field(
        "f'{verbs[method]} {text} HTTP/{versions[http_version]}'",
        needs=("text",),
        plain="f'{method} {ascii_text(target)} HTTP/{http_version}'",
    ),
    "m": Field("verbs[method]", plain="method"),
    "U": Field("path", needs=("path",), plain="ascii_text(raw_path)", plain_needs=("raw_path",)),
    "R": Field("path", needs=("path",), plain="ascii_text(raw_path)", plain_needs=("raw_path",)),
    "q": Field("search", needs=("path",), plain="ascii_text(query)", plain_needs=("raw_path",)),
    "H": Field("'HTTP/' + versions[http_version]", plain="'HTTP/' + http_version"),
    "S": Field("schemes[scheme]", plain="scheme"),
    "s": Field("status or '-'", bare="status or 'null'"),
    "st": Field("phrases.get(status, '-')", plain="phrases.get(status, '-')"),
    "B": Field("body_bytes"),
    "b": Field("body_bytes or '-'", bare="body_bytes"),
    "f": _header_field("sent", "referer"),
    "a": _header_field("sent", "user-agent"),
    "T": Field("int(duration_s)"),
    "M": Field("int(duration_s * 1000)"),
    "D": Field("int(duration_s * 1000000)"),
    "L": Field("duration_s", spec=".6f"),
    "p": Field("f'<{pid}>'", plain="f'<{pid}>'"),
}

# Names of CGI (RFC 3875, 4.1) and WSGI that ``%({name}e)s`` can show besides HTTP_*; the process environment, which may
# hold secrets, is not reachable.
_VARIABLES = {
    "REMOTE_ADDR": _ATOMS["h"],
    "REMOTE_PORT": Field("client[1] if client else '-'", bare="client[1] if client else 'null'"),
    "REMOTE_USER": _ATOMS["u"],
    "REQUEST_METHOD": _ATOMS["m"],
    "RAW_URI": Field("text", needs=("text",), plain="ascii_text(target)"),
    "REQUEST_URI": Field("text", needs=("text",), plain="ascii_text(target)"),
    "PATH_INFO": _ATOMS["U"],
    "QUERY_STRING": _ATOMS["q"],
    "SERVER_PROTOCOL": _ATOMS["H"],
    "wsgi.url_scheme": _ATOMS["S"],
}


def _atom(name: str) -> Field:
    if name in _ATOMS:
        return _ATOMS[name]
    key, kind = name[1:-2], name[-1:]
    if name[:1] == "{" and name[-2:-1] == "}":
        if kind == "e" and key.startswith("HTTP_"):
            key, kind = key.removeprefix("HTTP_").replace("_", "-"), "i"
        if kind == "i":
            return _header_field("sent", key)
        if kind == "o":
            return _header_field("answered", key)
        if kind == "e" and key in _VARIABLES:
            return _VARIABLES[key]
    return Field("'-'", plain="'-'")


class _Remembering(dict[Any, str]):
    """Texts by what they stand for, made when first needed and never more than ``CACHED_MAX``."""

    def __init__(self, make: Callable[[Any], str]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, key: Any) -> str:
        if len(self) >= CACHED_MAX:
            self.clear()
        text = self[key] = self._make(key)
        return text


def _peer(client: tuple[str, int] | None) -> str:
    return f"{escape_text(client[0])}:{client[1]}" if client else "unix"


def _host(client: tuple[str, int] | None) -> str:
    return escape_text(client[0]) if client else "-"


def _ascii(raw: bytes) -> str:
    """A path or query whose bytes beyond ASCII are percent-encoded; controls are left to the JSON encoder."""
    text = str(raw, "latin-1")
    return text if text.isascii() else "".join(c if c.isascii() else f"%{ord(c):02X}" for c in text)


def _decoded(raw: bytes | None) -> str | None:
    return None if raw is None else raw.decode("utf-8", "backslashreplace")


def _quoted(raw: bytes | None) -> str:
    return "null" if raw is None else quote(raw.decode("utf-8", "backslashreplace"))


def _shown(raw: bytes | None) -> str:
    return "-" if raw is None else escape(raw)


def _user(authorization: bytes | None) -> bytes:
    """The user name of Basic authentication (RFC 7617), or ``-``."""
    kind, _, credentials = (authorization or b"").partition(b" ")
    if kind.lower() != b"basic":
        return b"-"
    try:
        return base64.b64decode(credentials.strip()).partition(b":")[0] or b"-"
    except binascii.Error:
        return b"-"


def _utc(second: int) -> str:
    """RFC 3339 up to the point before the milliseconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second))


def _common_log_time(second: int) -> str:
    """``[22/Nov/2026:11:57:01 +0000]``; the names of months do not follow the locale."""
    moment = time.localtime(second)
    return time.strftime(f"[%d/{_MONTHS[moment.tm_mon - 1]}/%Y:%H:%M:%S %z]", moment)


_NAMES: dict[str, object] = {
    "clean": CLEAN,
    "phrases": _PHRASES,
    "schemes": _Remembering(escape_text),
    "verbs": _Remembering(escape_text),
    "quoted_verbs": _Remembering(lambda method: quote(method)[1:-1]),
    "versions": _Remembering(escape_text),
    # Formatting a float takes longer than all the rest of a text line.
    "tenths": _Remembering(lambda count: f"{count / 10:.1f}"),
    "hosts": _Remembering(_host),
    "peers": _Remembering(_peer),
    "quoted_peers": _Remembering(lambda client: quote(_peer(client))),
    "ascii_text": _ascii,
    "common_log_time": _common_log_time,
    "decoded": _decoded,
    "escape": escape,
    "escape_text": escape_text,
    "getpid": getpid,
    "quote": quote,
    "quoted": _quoted,
    "shown": _shown,
    "user": _user,
    "utc": _utc,
}
