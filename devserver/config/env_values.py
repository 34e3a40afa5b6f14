"""What the values of env files come to: one pass over all layers, the real environment first. Pure.

``${NAME}`` and ``${NAME:-default}`` are expanded, in single quotes as well, as python-dotenv does it; the default
stands for a name that is not set or empty, as in a shell. A name means what the app will see under it. Within its own
definition, or on a way that leads back to it, it means the next weaker definition, so that every circle ends.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from devserver.config import env_findings
from devserver.config.env_findings import Finding, listed

if TYPE_CHECKING:
    from devserver.config.env_files import Definition

VALUE_CHARS_MAX = 128 * 1024
"""Linux's limit of one variable (MAX_ARG_STRLEN); references that multiply reach it before they fill the memory."""
DEPTH_MAX = 50
"""A value that leads to another one over more steps than this is not written by hand."""

Node: TypeAlias = tuple[str, int]
"""A name, and which of its definitions: 0 is the strongest."""


@dataclass(frozen=True, slots=True)
class Reference:
    """``${name}`` or ``${name:-default}``.

    :ivar text: as it stands.
    """

    name: str
    default: str | None
    text: str


def references(value: str) -> Iterator[str | Reference]:
    r"""The parts of a value: text, and references. ``\${`` is text, without its backslash. Pure."""
    start = 0
    while (begin := value.find("${", start)) >= 0:
        if value[begin - 1 : begin] == "\\" and begin > start:
            yield value[start : begin - 1] + "${"
            start = begin + 2
            continue
        end = _closing_brace(value, begin + 2)
        if end < 0:
            break
        if begin > start:
            yield value[start:begin]
        name, colon, default = value[begin + 2 : end].partition(":-")
        yield Reference(name, default if colon else None, value[begin : end + 1])
        start = end + 1
    if start < len(value):
        yield value[start:]


def _closing_brace(value: str, start: int) -> int:
    depth = 1
    for found in _BRACE.finditer(value, start):
        depth += 1 if found[0] == "${" else -1
        if not depth:
            return found.start()
    return -1


_BRACE = re.compile(r"\$\{|\}")
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*")
# Behind a letter or another dollar sign it is part of a password or a hash; so it is without capitals.
_BARE = re.compile(r"(?<![\w$\\])\$([A-Za-z_]\w*)")


class _TooLongError(Exception):
    pass


class Merger:
    """Puts values together, each once.

    :param definitions: name → all that define it, the strongest first.
    :param environ: what stands above all of them.
    :ivar findings: what was noticed on the way.
    :ivar unfit: definitions that come to nothing that a process could be given.
    """

    def __init__(self, definitions: Mapping[str, tuple[Definition, ...]], environ: Mapping[str, str]) -> None:
        self._definitions = definitions
        self._environ = environ
        self._known: dict[Node, str] = {}
        self._open: list[Node] = []
        self.findings: list[Finding] = []
        self.unfit: set[Node] = set()

    def value(self, node: Node) -> str:
        """What this definition comes to; empty for one that is too long."""
        if node not in self._known:
            definition = self._definitions[node[0]][node[1]]
            self._open.append(node)
            try:
                value = self._put_together(definition.value, definition)
            except _TooLongError:
                value = ""
                finding = env_findings.too_long(definition.name, definition.file, definition.line, VALUE_CHARS_MAX)
                self.findings.append(finding)
                self.unfit.add(node)
            finally:
                self._open.pop()
            self._known[node] = value
            self._look_for_bare(definition)
        return self._known[node]

    def _put_together(self, text: str, definition: Definition, depth: int = 0) -> str:
        parts: list[str] = []
        length = 0
        for part in references(text):
            parts.append(part if isinstance(part, str) else self._resolve(part, definition, depth))
            length += len(parts[-1])
            if length >= VALUE_CHARS_MAX:
                raise _TooLongError
        return "".join(parts)

    def _resolve(self, reference: Reference, definition: Definition, depth: int) -> str:
        name, node = reference.name, self._target(reference.name)
        shown = f"{_shown(reference)} in {definition.name}"
        is_set = node is not None or name in self._environ
        if not is_set and not _IDENTIFIER.fullmatch(name):
            self._find(definition, f"{shown} is not expanded; only ${{X}} and ${{X:-default}} are.")
            return reference.text
        if _is_json(definition.value):
            can = is_set or reference.default is not None
            fate = "is replaced, although this is JSON" if can else "stays, as nothing sets it and this is JSON"
            text = f"{shown} {fate}; if it is meant to stay write \\{_shown(reference)}."
            self._find(definition, text, "info" if can else "warning")
            if not can:
                return reference.text
        found = self._environ.get(name, "")
        if not found and name not in self._environ and node is not None:
            if len(self._open) < DEPTH_MAX:
                found = self.value(node)
            else:
                self._find(
                    definition, f"{definition.name} leads to {name} over more than {DEPTH_MAX} others; shorten that."
                )
        if found or reference.default is None:
            if not is_set:
                self._find(definition, self._missing(name, definition))
            return found
        # A default may refer to others.
        return self._put_together(reference.default, definition, depth + 1) if depth < DEPTH_MAX else ""

    def _target(self, name: str) -> Node | None:
        """The definition that a reference means: the strongest, or for a name that is being put together the next one
        below, which is what ``A=${A}:more`` in a stronger file means. So every cycle comes to an end."""
        used = [index for open_name, index in self._open if open_name == name]
        index = max(used, default=-1) + 1
        return (name, index) if index < len(self._definitions.get(name, ())) else None

    def _missing(self, name: str, definition: Definition) -> str:
        if name not in self._definitions:
            return f"{definition.name} refers to {name}, which nothing sets; give {name} a value, or a default here."
        way = [open_name for open_name, _ in self._open]
        way = way[way.index(name) :]
        if len(way) == 1:
            return f"{name} refers to itself, and nothing weaker sets it; write its value out."
        return f"{listed(way)} refer to each other in a circle, and {name} is empty there; write one of them out."

    def _look_for_bare(self, definition: Definition) -> None:
        if definition.literal:
            return
        text = "".join(part for part in references(definition.value) if isinstance(part, str))
        for name in dict.fromkeys(_BARE.findall(text)):
            known = name in self._definitions or name in self._environ
            if known or (len(name) > 2 and name.isupper()):
                text = f"${name} in {definition.name} is not expanded; write ${{{name}}}, or use single quotes."
                self._find(definition, text)

    def _find(self, definition: Definition, text: str, level: str = "warning") -> None:
        finding = Finding(definition.file, definition.line, text, level, (definition.name,))
        if finding not in self.findings:
            self.findings.append(finding)


def _shown(reference: Reference) -> str:
    """The reference without its default, which may be a secret."""
    found = _IDENTIFIER.match(reference.name)
    name = "" if found is None else found[0]
    rest = reference.name[len(name) :]
    # In ${X-d} what comes behind the operator may be a secret as well.
    return f"${{{name}{rest[:1]}…}}" if rest else f"${{{name}}}"


def _is_json(value: str) -> bool:
    text = value.strip()
    return text[:1] + text[-1:] in {"{}", "[]"} and '"' in text
