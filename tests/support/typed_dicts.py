"""Whether a value is what a TypedDict says: every required key, nothing unknown, each value of its type.

Stricter than a type checker can be, because it looks at the values of a running program: ``bool`` is no ``int`` here.
Knows the kinds of types that ``asgiref.typing`` uses, and raises for others.
"""

from __future__ import annotations

import collections.abc
import types
import typing
from typing import Any, Literal, NotRequired, Required, Union, get_args, get_origin, get_type_hints


def faults(value: object, hint: Any, where: str = "") -> list[str]:
    """What is wrong with ``value``, one sentence each.

    :param hint: a TypedDict, or any type in one.
    :param where: how to call the value.
    """
    if typing.is_typeddict(hint):
        return _faults_of_dict(value, hint, where)
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any or hint is object:
        return []
    if origin in {Union, types.UnionType}:
        return [] if any(not faults(value, each) for each in arguments) else [_wrong(value, hint, where)]
    if origin in {Required, NotRequired}:
        return faults(value, arguments[0], where)
    if origin is Literal:
        return [] if value in arguments else [_wrong(value, hint, where)]
    if origin is tuple:
        if type(value) is not tuple or len(value) != len(arguments):
            return [_wrong(value, hint, where)]
        pairs = zip(value, arguments, strict=True)
        return [fault for at, (part, each) in enumerate(pairs) for fault in faults(part, each, f"{where}[{at}]")]
    if origin is collections.abc.Iterable:
        if not isinstance(value, collections.abc.Iterable):
            return [_wrong(value, hint, where)]
        return [fault for at, part in enumerate(value) for fault in faults(part, arguments[0], f"{where}[{at}]")]
    if origin is dict:
        if not isinstance(value, dict):
            return [_wrong(value, hint, where)]
        parts = [(part, each) for item in value.items() for part, each in zip(item, arguments, strict=True)]
        return [fault for part, each in parts for fault in faults(part, each, f"{where}[{part!r}]")]
    if isinstance(hint, type):
        return [] if type(value) is hint else [_wrong(value, hint, where)]
    raise AssertionError(f"{hint} is a kind of type that is not known here")


def _faults_of_dict(value: object, hint: Any, where: str) -> list[str]:
    if not isinstance(value, dict):
        return [_wrong(value, hint, where)]
    hints = get_type_hints(hint, include_extras=True)
    # Python 3.11 and asgiref's annotations: NotRequired is known to the class, and stands in the hints as well.
    missing = [f"{where}.{key} is missing" for key in sorted(hint.__required_keys__ - value.keys())]
    unknown = [f"{where}.{key} is unknown" for key in sorted(value.keys() - hints.keys())]
    known = [key for key in value if key in hints]
    return [*missing, *unknown, *(fault for key in known for fault in faults(value[key], hints[key], f"{where}.{key}"))]


def _wrong(value: object, hint: Any, where: str) -> str:
    return f"{where} is {value!r:.200}, and should be {hint}"
