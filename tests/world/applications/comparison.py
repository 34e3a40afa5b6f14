"""Answers of one application under two servers, and what differs between them; without any I/O.

Headers about the server itself are left out (:data:`SERVERS_OWN`). Parts that an application makes at every start, such
as a token, are replaced by its own rules first, each with a reason.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

SERVERS_OWN = {
    "server": "names the server",
    "date": "is the time of the answer",
    "connection": "is about the connection, not about the answer",
    "keep-alive": "is about the connection, not about the answer",
}
"""Headers that are not compared, and why: what each says."""

FRAMING = frozenset({"content-length", "transfer-encoding"})
"""Headers that say where a body ends. A server that has the whole body may give its length instead of chunks."""

_EXCERPT_CHARACTERS = 60
_LINE_CHARACTERS_MAX = 400
_TEXT_TYPES = re.compile(r"^(text/|image/svg|application/([a-z.+-]*(json|javascript|xml)|manifest|graphql))")


@dataclass(frozen=True)
class Rule:
    """A part of an application's answers that changes with every start or answer.

    :param pattern: a regular expression; whatever it matches is replaced by ``…`` in text bodies and header values.
    :param reason: why that part differs without any fault of a server.
    """

    pattern: str
    reason: str


@dataclass(frozen=True)
class Answer:
    """Everything that a client sees of one response.

    :param headers: lower-case names, in any order; a name may stand more than once.
    :param body: without its content coding.
    :param fault: why the response could not be read to its end; empty when it was.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    fault: str = ""

    def header(self, name: str) -> str:
        """Return the values of a header, joined by commas; empty when it is missing."""
        return ", ".join(value for key, value in self.headers if key == name)

    @property
    def is_text(self) -> bool:
        """True for a body that people can read."""
        return bool(_TEXT_TYPES.match(self.header("content-type")))

    @property
    def text(self) -> str:
        """The body as UTF-8."""
        return self.body.decode(errors="replace")


def normalised(answer: Answer, rules: Sequence[Rule], content: Answer | None = None) -> Answer:
    """Return ``answer`` without the headers of a server's own and without what ``rules`` replace.

    :param content: the answer with the body that ``answer`` is about, when that is another: that of GET for HEAD.
    """
    body = apply_rules(answer.text, rules).encode() if answer.is_text else answer.body
    # The size of compressed text, or of text with a token in it, differs whenever the text does.
    described = content or answer
    exact = not answer.header("content-encoding") and not (
        described.is_text and apply_rules(described.text, rules) != described.text
    )
    headers = tuple(
        sorted(
            (name, "…" if name == "content-length" and not exact else apply_rules(value, rules))
            for name, value in answer.headers
            if name not in SERVERS_OWN
        )
    )
    return replace(answer, headers=headers, body=body)


def apply_rules(text: str, rules: Iterable[Rule]) -> str:
    """Return ``text`` with every match of a rule replaced by ``…``."""
    for rule in rules:
        text = re.sub(rule.pattern, "…", text)
    return text


def differences(expected: Mapping[str, Answer], found: Mapping[str, Answer], rules: Sequence[Rule] = ()) -> list[str]:
    """Return a line for every request that two servers answer differently.

    :param expected: by request, such as ``GET /``, from the server that is the measure.
    """
    said = []
    for verb, requests in (
        ("not made", [request for request in expected if request not in found]),
        ("made only here", [request for request in found if request not in expected]),
    ):
        if requests:
            said.append(f"{len(requests)} requests {verb}, such as {requests[0]}")
    for request in expected:
        if request in found:
            left, right = expected[request], found[request]
            if _only_framed_otherwise(left, right):
                left, right = (_without(answer, FRAMING) for answer in (left, right))
            content = expected.get(request.replace("HEAD ", "GET ", 1))
            pair = normalised(left, rules, content), normalised(right, rules, content)
            if found_differences := _of_answers(*pair):
                said.append(_shortened(f"{request}: {'; '.join(found_differences)}"))
    return said


def of_results(expected: Any, found: Any, rules: Sequence[Rule] = ()) -> list[str]:
    """Return a sentence for each difference between the results of an interaction, which JSON can carry."""
    left, right = (apply_rules(json.dumps(result, indent=1, sort_keys=True), rules) for result in (expected, found))
    return [] if left == right else [_excerpts(left, right)]


def _only_framed_otherwise(expected: Answer, found: Answer) -> bool:
    """Return true when the application gave no length and the second server found one that its client could read."""
    return not expected.header("content-length") and bool(found.header("content-length")) and not found.fault


def _shortened(text: str) -> str:
    return text if len(text) <= _LINE_CHARACTERS_MAX else f"{text[: _LINE_CHARACTERS_MAX - 1]}…"


def _without(answer: Answer, names: frozenset[str]) -> Answer:
    return replace(answer, headers=tuple(header for header in answer.headers if header[0] not in names))


def _of_answers(expected: Answer, found: Answer) -> list[str]:
    said = []
    if expected.fault != found.fault:
        said.append(f"{found.fault or 'read to its end'}, not {expected.fault or 'read to its end'}")
    if expected.status != found.status:
        said.append(f"status {found.status}, not {expected.status}")
    for name in sorted({name for name, _ in (*expected.headers, *found.headers)}):
        left, right = expected.header(name), found.header(name)
        if left != right:
            said.append(f"{name} is {right or 'missing'}, not {left or 'missing'}")
    if expected.body != found.body and not found.fault:
        if len(expected.body) != len(found.body):
            said.append(f"{len(found.body)} bytes, not {len(expected.body)}")
        if expected.is_text and found.is_text:
            said.append(_excerpts(expected.text, found.text))
        else:
            said.append(f"SHA-256 {_digest(found.body)}, not {_digest(expected.body)}")
    return said


def _excerpts(expected: str, found: str) -> str:
    pairs = zip(expected, found, strict=False)
    start = next((index for index, (left, right) in enumerate(pairs) if left != right), min(len(expected), len(found)))
    start = max(0, start - _EXCERPT_CHARACTERS // 3)
    left, right = (text[start : start + _EXCERPT_CHARACTERS] for text in (expected, found))
    return f"at character {start} {right!r}, not {left!r}"


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:12]
