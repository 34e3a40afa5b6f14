"""Regions of a file that are there for some features alone. Pure.

A region stands between two lines that hold a comment and nothing else::

    # feature: db
    from shop.db import engine
    # end

The condition is the name of a feature, ``not NAME``, or several of these joined by ``and`` or by ``or``. Regions nest.
``#``, ``//``, ``--``, ``;``, ``<!-- -->`` and ``/* */`` are comments, so that one rule does for all languages, and a
template is valid in its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

_MARK = re.compile(
    r"[ \t]*(?:#|//|--|;|<!--|/\*)[ \t]*(?:feature:(?P<condition>.*?)|(?P<end>end))[ \t]*(?:-->|\*/)?[ \t]*"
)


class MalformedRegion(ValueError):
    """A mark without its counterpart, or a condition that is none."""


def cut(text: str, features: Collection[str]) -> str:
    """The text without marks, and without the regions that these features do not need.

    Where something was cut out, the blank lines before it and after it become those of the larger side, and none at
    either end of the file: what a formatter asks for.

    :raises MalformedRegion: with the number of the line.
    """
    return _Cutter(lambda condition: _holds(condition, features)).run(text)


def conditions(text: str) -> set[str]:
    """The features that the marks of a text name.

    :raises MalformedRegion: with the number of the line.
    """
    names: set[str] = set()

    def note(condition: str) -> bool:
        names.update(name for name, _ in _terms(condition)[1])
        return True

    _Cutter(note).run(text)
    return names


class _Cutter:
    def __init__(self, holds: Callable[[str], bool]) -> None:
        self._holds = holds
        self._kept: list[str] = []
        # Runs of blank lines since the last line that is not; between two of them something was cut out.
        self._blanks: list[list[str]] = [[]]

    def run(self, text: str) -> str:
        opened: list[tuple[int, bool]] = []
        for number, line in enumerate(text.splitlines(keepends=True), 1):
            mark = _MARK.fullmatch(line.rstrip("\r\n"))
            try:
                if mark is None:
                    if all(kept for _, kept in opened):
                        self._keep(line)
                    continue
                if mark["end"]:
                    opened.pop()
                else:
                    opened.append((number, self._holds(mark["condition"].strip())))
            except (IndexError, MalformedRegion) as exc:
                reason = str(exc) if isinstance(exc, MalformedRegion) else "nothing was opened that ends here"
                raise MalformedRegion(f"line {number}: {reason}") from None
            self._blanks.append([])
        if opened:
            raise MalformedRegion(f"line {opened[-1][0]}: the region has no end")
        if len(self._blanks) == 1:
            self._kept += self._blanks[0]
        return "".join(self._kept)

    def _keep(self, line: str) -> None:
        if not line.strip():
            self._blanks[-1].append(line)
            return
        if self._kept or len(self._blanks) == 1:
            longest = max(self._blanks, key=len)
            self._kept += longest
        self._kept.append(line)
        self._blanks = [[]]


def _holds(condition: str, features: Collection[str]) -> bool:
    joined_by, terms = _terms(condition)
    return joined_by((name in features) == wanted for name, wanted in terms)


def _terms(condition: str) -> tuple[Callable[..., bool], list[tuple[str, bool]]]:
    """What joins the terms, and each feature with whether it must be there."""
    words = condition.split()
    if "and" in words and "or" in words:
        raise MalformedRegion(f"{condition!r} mixes and with or")
    terms = []
    for term in re.split(r"\band\b|\bor\b", condition):
        match term.split():
            case [name] if name != "not":
                terms.append((name, True))
            case ["not", name]:
                terms.append((name, False))
            case _:
                raise MalformedRegion(f"{condition!r} is no condition")
    return (any if "or" in words else all), terms
