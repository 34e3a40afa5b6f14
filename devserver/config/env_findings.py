"""What is wrong in an env file, from the text of a line to a sentence that says where, what, and what to do.

Pure. It knows the text and never the environment; how values refer to each other is judged where they are put together
(``env_values.py``). A sentence names variables and quotes no value, because a value may be a secret; and no name is
followed by a colon or an equals sign, which is how a redactor tells that a value comes next.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from devserver.events import Notice

NAMES_MAX = 5
"""A quote that is not closed can swallow a whole file; nobody reads a list of all its names."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong, or not what it seems.

    :ivar file: as the person knows it.
    :ivar level: ``warning``, or ``info`` for what may well be meant.
    :ivar names: the variables that it is about.
    """

    file: str
    line: int
    text: str
    level: str = "warning"
    names: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}"

    @property
    def notice(self) -> Notice:
        """For whoever tells it."""
        return Notice(self.level, str(self))


def unreadable(original: str, file: str, line: int) -> Finding:
    """Of text that is no NAME=VALUE, and what it takes along.

    :param original: all that is left out, from the first character that is not white space.
    """
    parts = _parts(original)
    if parts["rest"][:1] not in {'"', "'"} or not parts["equals"]:
        return Finding(file, line, "this cannot be read as NAME=VALUE and is left out.")
    name = parts["name"].strip("'")
    _, _, below = original.partition("\n")
    names = tuple(dict.fromkeys([name, *_ASSIGNED.findall(below)]))
    if len(names) == 1 and _closes(parts["rest"]):
        text = f"something stands behind the closing quote of {name}, which is left out; a comment begins with #."
    elif len(names) == 1:
        text = f"the quote that begins the value of {name} is never closed, and {name} is left out; close it."
    else:
        text = f"the quote that begins the value of {name} is not closed, and {listed(names)} are left out; close it."
    return Finding(file, line, text, names=names)


def without_value(name: str, file: str, line: int) -> Finding:
    """Of a name without an equals sign."""
    text = f"{name} has no value and is left out; for an empty one put an equals sign behind it."
    return Finding(file, line, text, names=(name,))


def repeated(name: str, file: str, line: int, earlier: int) -> Finding:
    """Of a second definition in one file."""
    text = f"{name} stands in line {earlier} already, and this one wins; delete one of them."
    return Finding(file, line, text, names=(name,))


def holds_nul(name: str, file: str, line: int) -> Finding:
    """Of a character that would end the value where the operating system keeps it."""
    text = f"{name!r} holds a NUL character, which no environment variable can, and is left out; delete the character."
    return Finding(file, line, text.replace("\\x00", "\\0"), names=(name,))


def too_long(name: str, file: str, line: int, chars_max: int) -> Finding:
    """Of a value that no process could be started with."""
    text = f"{name} is longer than an environment variable may be ({chars_max // 1024} KiB) and is left out."
    return Finding(file, line, f"{text} Keep it in a file of its own.", names=(name,))


def of_value(name: str, original: str, value: str, file: str, line: int) -> list[Finding]:
    """Of a definition that can be read, and may still not be what was meant.

    :param original: its text, quotes included.
    """
    rest = _parts(original)["rest"]
    found = []
    swallowed = tuple(dict.fromkeys(_SWALLOWED.findall(value.partition("\n")[2]))) if "-----BEGIN" not in value else ()
    if swallowed:
        last = line + original.rstrip().count("\n")
        text = (
            f"the quoted value of {name} goes on to line {last} and takes {listed(swallowed)} along; "
            f"if that is not meant, close the quote in line {line}."
        )
        found.append(Finding(file, line, text, names=(name, *swallowed)))
    elif rest.startswith('"') and _PATH.match(rest, 1):
        decoded = sorted({escape for escape in _ESCAPE.findall(rest) if escape[1] in "abfnrtv"})
        if decoded:
            stand = "stands for a control character" if len(decoded) == 1 else "stand for control characters"
            text = f"in the double quotes of {name} {listed(decoded)} {stand}; put a path into single quotes."
            found.append(Finding(file, line, text, names=(name,)))
    return found


def listed(names: list[str] | tuple[str, ...]) -> str:
    """``A``, ``A and B``, ``A, B and C``, ``A, B, C, D, E and 12 more``."""
    shown = [*names[:NAMES_MAX], f"{len(names) - NAMES_MAX} more"] if len(names) > NAMES_MAX + 1 else [*names]
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else "".join(shown)


_NAME = r"[^\S\n]*(?:export[^\S\n]+)?"
_PARTS = re.compile(
    _NAME + r"(?P<name>'[^']+'|[^=\#\s]*)[^\S\n]*(?P<equals>=?)[^\S\n]*(?P<rest>.*)",
    re.DOTALL,
)
_ASSIGNED = re.compile(rf"^{_NAME}([A-Za-z_]\w*)[^\S\n]*=", re.MULTILINE)
# Text of several lines may hold assignments in its own right; those of variables are mostly written in capitals.
_SWALLOWED = re.compile(rf"^{_NAME}([A-Z_][A-Z0-9_]+)=", re.MULTILINE)
_CLOSED = re.compile(r""""(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""")
_PATH = re.compile(r"[A-Za-z]:\\|\\\\\w|\.{1,2}\\|%\w+%\\")
_ESCAPE = re.compile(r"\\.", re.DOTALL)


def _parts(original: str) -> dict[str, str]:
    found = _PARTS.match(original)
    if found is None:
        raise AssertionError("every part of the pattern may be empty")
    return found.groupdict()


def _closes(rest: str) -> bool:
    return _CLOSED.match(rest) is not None
