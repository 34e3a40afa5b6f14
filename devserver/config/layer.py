"""What one source says: option → value, checked, with the name of its origin. ``sources.py`` puts layers together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from devserver.config import option as options
from devserver.config import settings
from devserver.errors import ConfigError

if TYPE_CHECKING:
    from dataclasses import Field

COMMAND_LINE = "command line"


@dataclass(frozen=True)
class Layer:
    """The options that a source gives."""

    values: dict[str, tuple[Any, str]]
    """Field name → value and origin. The value may be :class:`Wrong`."""


@dataclass(frozen=True)
class Wrong:
    """A value that its option cannot have. It is an error only when no stronger source gives the option."""

    error: ConfigError


def attempt(read: Callable[[], Any]) -> Any:
    """Calls ``read``; returns its value, or its ConfigError as a :class:`Wrong`."""
    try:
        return read()
    except ConfigError as exc:
        return Wrong(exc)


def spelled() -> dict[str, Field[Any]]:
    """The options by the names that they have in files: that of the field, and that of the flag with underscores."""
    return {name: known for known in settings.fields() for name in {options.key(known).replace("-", "_"), known.name}}


def read_value(known: Field[Any], given: object, label: str) -> Any:
    """A value given as text, as several texts, or already as what it is.

    :param label: the option as the person wrote it.
    :raises ConfigError: it is no value of the option.
    """
    if isinstance(given, str):
        given = options.parse(known, given, label)
    elif isinstance(given, (list, tuple)) and options.of(known).many:
        given = tuple(item for text in given for item in options.parse(known, text, label))
    return options.check(known, given, label)
