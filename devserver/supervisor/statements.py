"""Which modules the project's own code names in its import statements, read from the text.

A worker that was forked has everything imported that its zygote has, so it cannot tell what it still needs. The text
can, well enough to notice that a name is gone: what it says too much (a sentence of a docstring that begins with
"import") or too little (``importlib.import_module``) only makes a warm process larger or smaller than it could be.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

_STATEMENT = re.compile(
    rb"^[ \t]*(?:from[ \t]+([\w.]+)[ \t]+import[ \t]+(\([^)]*\)|[^\n;#]*)|import[ \t]+([^\n;#]+))", re.MULTILINE
)
_NAME = re.compile(rb"([\w.]+)(?:[ \t]+as[ \t]+\w+)?")
BYTES_MAX = 1 << 20
"""A source file beyond this is data."""


class Statements:
    """Reads each file again only when it has changed."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[tuple[int, int], frozenset[str]]] = {}

    def names(self, paths: Iterable[str]) -> frozenset[str]:
        """The names of the modules that any of the files imports; ``from a import b`` names both ``a`` and ``a.b``."""
        known, self._known = self._known, {}
        for path in paths:
            try:
                status = os.stat(path)
                stamp = (status.st_mtime_ns, status.st_size)
                if path in known and known[path][0] == stamp:
                    self._known[path] = known[path]
                elif status.st_size <= BYTES_MAX:
                    with open(path, "rb") as file:
                        self._known[path] = (stamp, imported(file.read()))
            except OSError:
                continue
        return frozenset().union(*(names for _, names in self._known.values()))


def imported(source: bytes, package: str | None = None) -> frozenset[str]:
    """The names of the modules that a source text imports.

    :param package: the package that the text's module is in, from which relative names start; None leaves those out.
    """
    found: set[bytes] = set()
    for origin, members, modules in _STATEMENT.findall(source):
        if modules:
            found.update(match[1] for match in map(_NAME.match, map(bytes.strip, modules.split(b","))) if match)
            continue
        origin = _absolute(origin, package)
        if origin:
            found.add(origin)
            listed = re.sub(rb"#[^\n]*", b"", members).strip(b"() \t\r\n")
            names = map(_NAME.match, map(bytes.strip, listed.split(b",")))
            found.update(origin + b"." + match[1] for match in names if match)
    return frozenset(name.decode("utf-8", "replace") for name in found)


def _absolute(name: bytes, package: str | None) -> bytes:
    """``name`` without dots at its beginning; empty when it cannot be known."""
    rest = name.lstrip(b".")
    level = len(name) - len(rest)
    if not level:
        return name
    parts = package.split(".") if package else []
    if len(parts) < level:
        return b""
    base = ".".join(parts[: len(parts) - level + 1]).encode()
    return base + b"." + rest if rest else base
