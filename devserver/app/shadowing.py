"""Which routes of a router can never be reached, because an earlier one takes all that they match.

A router asks its routes in order and takes the first that matches. Paths are compared as languages: the earlier path
must be able to read every path that the later one stands for, part by part. Where that cannot be told, such as for a
convertor of the app's own, a route counts as reachable: a false alarm would cost more than a missed one.

Pure; knows neither frameworks nor how routes are shown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

# As in starlette.routing.PARAM_REGEX.
_PARAMETER = re.compile(r"\{[a-zA-Z_][a-zA-Z0-9_]*(?::([a-zA-Z_][a-zA-Z0-9_]*))?\}")
_UUID = re.compile(r"[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}")
_UUID_LENGTHS = range(32, 37)
_DIGITS = frozenset("0123456789")
_ONE_SEGMENT = frozenset({":str", ":int", ":float", ":uuid"})
"""Parameters that stand for at least one character and never for a slash."""

ALL_BELOW = "/{path:path}"
"""What a mount adds to its path, to match all that begins with it."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a route matches.

    :ivar path: with its parameters, as in ``/items/{id:int}``; that of a mount ends with :data:`ALL_BELOW`.
    :ivar kinds: ``http``, ``websocket`` or both.
    :ivar methods: None for all.
    :ivar host: the one that is meant; empty for any.
    :ivar last: asked only when nothing else matches the path, with whatever method.
    """

    path: str
    kinds: frozenset[str]
    methods: frozenset[str] | None = None
    host: str = ""
    last: bool = False


def shadowed(claims: Sequence[Claim | None]) -> dict[int, int]:
    """Index of each claim that can get nothing → index of the first one that takes it all.

    :param claims: in the order in which they are asked. None stands for a rule that nobody knows.
    """
    known: dict[str, list[tuple[int, Claim, tuple[str, ...]]]] = {}
    found: dict[int, int] = {}
    for index, claim in enumerate(claims):
        if claim is None:
            continue
        units = _units(claim.path)
        prefix = _literal_prefix(units)
        # What begins with other literals cannot match the same.
        near = (each for end in range(len(prefix) + 1) for each in known.get(prefix[:end], ()))
        first = min((earlier for earlier, other, read in near if _covers(other, read, claim, units)), default=None)
        if first is not None:
            found[index] = first
        if not claim.last:
            known.setdefault(prefix, []).append((index, claim, units))
    return found


def covers(earlier: str, later: str) -> bool:
    """Whether the path ``earlier`` matches all that ``later`` matches."""
    return _reads(_units(earlier), _units(later))


def _covers(earlier: Claim, earlier_units: Sequence[str], later: Claim, later_units: Sequence[str]) -> bool:
    if not later.kinds <= earlier.kinds or earlier.host not in {"", later.host}:
        return False
    if not later.last and not _takes(earlier.methods, later.methods):
        return False
    return _reads(earlier_units, later_units)


def _takes(earlier: frozenset[str] | None, later: frozenset[str] | None) -> bool:
    return earlier is None or (later is not None and later <= earlier)


def _units(path: str) -> tuple[str, ...]:
    """The path as characters and parameters; those are written ``:str``, ``:int`` and so on."""
    units: list[str] = []
    end = 0
    for match in _PARAMETER.finditer(path):
        units += path[end : match.start()]
        units.append(f":{match[1] or 'str'}")
        end = match.end()
    return (*units, *path[end:])


def _literal_prefix(units: Sequence[str]) -> str:
    end = next((index for index, unit in enumerate(units) if len(unit) > 1), len(units))
    return "".join(units[:end])


def _reads(earlier: Sequence[str], later: Sequence[str]) -> bool:
    # How far into the later path the units of the earlier one can have come.
    places = {0}
    for unit in earlier:
        places = {end for place in places for end in _ends(unit, later, place)}
        if not places:
            return False
    return len(later) in places


def _ends(unit: str, later: Sequence[str], start: int) -> Iterator[int]:
    """Where in ``later`` a part that begins at ``start`` and is all that ``unit`` matches can end."""
    if start < len(later) and later[start] == unit:
        yield start + 1
    if len(unit) == 1:
        return
    match unit:
        case ":path":
            yield from range(start, len(later) + 1)
        case ":str":
            yield from _run(later, start, lambda one: one in _ONE_SEGMENT or (len(one) == 1 and one != "/"))
        case ":int":
            yield from _integers(later, start)
        case ":float":
            for end in _integers(later, start):
                yield end
                if end < len(later) and later[end] == ".":
                    yield from _integers(later, end + 1)
        case ":uuid":
            for length in _UUID_LENGTHS:
                part = later[start : start + length]
                if all(len(one) == 1 for one in part) and _UUID.fullmatch("".join(part)):
                    yield start + length


def _integers(later: Sequence[str], start: int) -> Iterator[int]:
    return _run(later, start, lambda one: one == ":int" or one in _DIGITS)


def _run(later: Sequence[str], start: int, belongs: Callable[[str], bool]) -> Iterator[int]:
    for end in range(start, len(later)):
        if not belongs(later[end]):
            return
        yield end + 1
