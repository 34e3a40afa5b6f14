"""What one option is: the facts about a field of ``Config`` that are not its value.

The command line, the environment, ``pyproject.toml`` and the reference page are made by walking these; none of them
repeats a name, a bound or a default. This file knows nothing of the options that exist (``settings.py``) nor of where
a value comes from (``sources.py``): it says how a value must look, and turns text into one.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import MISSING, Field, dataclass, field
from typing import Any, Final

from devserver.errors import ConfigError

COMMANDS = ("api", "run", "prod")
"""The three faces that an option can have: the Python API, ``dev run`` and ``dev prod``."""

TRUE_WORDS = frozenset({"1", "true", "yes", "on"})
FALSE_WORDS = frozenset({"0", "false", "no", "off"})
NONE_WORDS = frozenset({"none"})

SAME: Final = object()
"""In place of a default of ``dev run`` or ``dev prod``: it is the API's."""

# An integer written with more digits than this is a mistake, and int() of a very long text takes quadratic time.
_DIGITS_MAX = 20
TOLD_MAX = 10**6
"""An upper bound beyond this is only there to refuse nonsense; naming it beside the lower one would confuse."""


@dataclass(frozen=True, slots=True)
class Option:
    """The declaration of one option, kept in the metadata of its field.

    :ivar kind: how a value looks: ``str``, ``path``, ``int``, ``size`` (bytes), ``seconds``, ``octal``, ``bool``,
        ``choice`` (one of ``choices``), ``name`` (one of ``choices`` or an import string), ``level``, ``header``, or
        ``object`` (anything that a program gives).
    :ivar none: whether None ("no limit", "not set") is a value; written ``none`` where values are text.
    :ivar many: whether the value is a sequence; repeatable on the command line, comma-separated in the environment.
    :ivar commas: whether one text may hold several values everywhere, and not only in the environment.
    :ivar run: the default of ``dev run`` when it is another than the API's; likewise ``prod``.
    :ivar cli: the spellings on the command line when they do not follow from the field's name.
    """

    help: str
    group: str
    kind: str = "str"
    none: bool = False
    many: bool = False
    commas: bool = False
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    run: Any = SAME
    prod: Any = SAME
    commands: tuple[str, ...] = COMMANDS
    cli: tuple[str, ...] = ()
    metavar: str = ""
    takes_bool: bool = False
    """A bool that is written with its value (``--ws-per-message-deflate off``), as uvicorn has it."""
    stand_ins: tuple[str, ...] = ()
    """Names of other servers' implementations: accepted, ours serves."""


def option(default: Any = None, *, factory: Any = None, **facts: Any) -> Any:
    """A dataclass field that carries an :class:`Option` made of ``facts``."""
    metadata = {"option": Option(**facts)}
    if factory is not None:
        return field(default_factory=factory, metadata=metadata)
    return field(default=default, metadata=metadata)


def of(known: Field[Any]) -> Option:
    """The declaration that ``known`` carries."""
    declared: Option = known.metadata["option"]
    return declared


def flag(known: Field[Any]) -> str:
    """The long spelling on the command line, such as ``--limit-concurrency``."""
    return next((each for each in of(known).cli if each.startswith("--")), f"--{known.name.replace('_', '-')}")


def key(known: Field[Any]) -> str:
    """The name in ``pyproject.toml``, and with underscores in the environment: the long spelling without dashes."""
    return known.name if known.name == "app" else flag(known)[2:]


def default(known: Field[Any], command: str) -> Any:
    """What the option is when nobody says anything, for ``api``, ``run`` or ``prod``."""
    own = {"run": of(known).run, "prod": of(known).prod}.get(command, SAME)
    if own is not SAME:
        return own
    if known.default_factory is not MISSING:
        return known.default_factory()
    return known.default


def nearest(name: str, names: Iterable[str], *, cutoff: float = 0.6) -> str:
    """The one of ``names`` that ``name`` was probably meant to be, or an empty string."""
    import difflib  # not at the top: only mistakes need it

    found = difflib.get_close_matches(name, list(names), n=1, cutoff=cutoff)
    return found[0] if found else ""


def check(known: Field[Any], value: Any, label: str = "") -> Any:
    """``value`` in its canonical form (a tuple for many, a str for a path, a float kept a float).

    :param label: what the person wrote it as, such as ``--port`` or ``DEVSERVER_PORT``; the field's flag by default.
    :raises ConfigError: it is of another type, out of bounds or not among the choices.
    """
    declared, label = of(known), label or flag(known)
    if value is None:
        if declared.none:
            return None
        if declared.many:
            return ()
        raise ConfigError(f"{label}: a value is needed; None is not one.")
    if declared.many:
        if isinstance(value, str):
            value = _split(value) if declared.commas else (value,)
        elif isinstance(value, os.PathLike):
            value = (value,)
        elif not isinstance(value, (Sequence, set, frozenset)) or isinstance(value, bytes):
            raise ConfigError(f"{label}: {value!r} is not a list.")
        return tuple(_check_one(declared, item, label) for item in value)
    return _check_one(declared, value, label)


def parse(known: Field[Any], text: str, label: str = "", *, split: bool = False) -> Any:
    """The value that ``text`` stands for; what :func:`check` says of it still holds.

    :param split: whether ``text`` is a comma-separated list when the option takes many values.
    :raises ConfigError: ``text`` cannot be read as the option's kind.
    """
    declared, label = of(known), label or flag(known)
    if declared.none and text.strip().lower() in NONE_WORDS and "none" not in (*declared.choices, *declared.stand_ins):
        return None
    if declared.many:
        items = _split(text) if split or declared.commas else (text,)
        return tuple(_parse_one(declared, item, label) for item in items)
    return _parse_one(declared, text, label)


def _split(text: str) -> tuple[str, ...]:
    return tuple(item for item in (part.strip() for part in text.split(",")) if item)


def _parse_one(declared: Option, text: str, label: str) -> Any:
    plain = text.strip()
    match declared.kind:
        case "int" | "size":
            return _whole(plain, label, 10)
        case "octal":
            return _whole(plain.lower().removeprefix("0o"), label, 8)
        case "seconds":
            try:
                number = float(plain)
                if not math.isfinite(number):
                    raise ValueError
            except ValueError:
                raise ConfigError(f"{label}: {text!r} is not a number of seconds.") from None
            return int(number) if number.is_integer() else number
        case "bool":
            if plain.lower() in TRUE_WORDS:
                return True
            if plain.lower() in FALSE_WORDS:
                return False
            raise ConfigError(f"{label}: {text!r} is neither true nor false.", hint="Write true or false.")
        case "level":
            return int(plain) if plain.isascii() and plain.isdigit() and len(plain) < _DIGITS_MAX else plain
        case "header":
            name, colon, value = text.partition(":")
            if not colon:
                raise ConfigError(f"{label}: {text!r} has no colon.", hint="Write it as NAME:VALUE.")
            return name.strip(), value.strip()
        case _:
            return text


def is_whole(text: str) -> bool:
    """Whether ``text`` is a whole number in decimal digits, of a length that a setting can have."""
    return text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX


def _whole(text: str, label: str, base: int) -> int:
    try:
        # int() also takes "1_000" and other scripts' digits, which nobody means in a setting.
        if not text.isascii() or "_" in text or len(text) > _DIGITS_MAX:
            raise ValueError
        return int(text, base)
    except ValueError:
        kind = "whole" if base == 10 else "octal"
        raise ConfigError(f"{label}: {text[:40]!r} is not {'a' if base == 10 else 'an'} {kind} number.") from None


def _check_one(declared: Option, value: Any, label: str) -> Any:
    match declared.kind:
        case "object":
            return value
        case "bool":
            if not isinstance(value, bool):
                raise ConfigError(f"{label}: {value!r} is neither true nor false.")
            return value
        case "int" | "size" | "octal" | "seconds":
            return _check_number(declared, value, label)
        case "header":
            return _check_header(value, label)
        case "level":
            return _check_level(declared, value, label)
        case "name" if not isinstance(value, str):
            return value
        case "path" if isinstance(value, os.PathLike):
            value = os.fspath(value)
        case _:
            pass
    if not isinstance(value, str):
        raise ConfigError(f"{label}: {value!r} is not text.")
    if "\0" in value:
        raise ConfigError(f"{label}: {value!r} contains a NUL character.")
    if declared.kind == "choice" and value not in declared.choices:
        raise ConfigError(
            f"{label}: {value!r} is not one of {', '.join(declared.choices)}.", hint=_meant(value, declared.choices)
        )
    if declared.kind == "name" and ":" not in value and value not in (*declared.choices, *declared.stand_ins):
        raise ConfigError(
            f"{label}: {value!r} is neither one of {', '.join(declared.choices)} nor an import string (module:name).",
            hint=_meant(value, declared.choices),
        )
    return value


def _check_number(declared: Option, value: Any, label: str) -> Any:
    fits = isinstance(value, int) or (declared.kind == "seconds" and isinstance(value, float) and math.isfinite(value))
    if not fits or isinstance(value, bool):
        what = {"seconds": "a number of seconds", "octal": "a number such as 0o660"}.get(
            declared.kind, "a whole number"
        )
        raise ConfigError(f"{label}: {value!r} is not {what}.")
    low, high = declared.minimum, declared.maximum
    shown = f"{value:#o}" if declared.kind == "octal" and value >= 0 else f"{value}"
    if (low is not None and value < low) or (high is not None and value > high):
        if low is not None and high is not None and high < TOLD_MAX:
            top = f"{int(high):#o}" if declared.kind == "octal" else _plain(high)
            raise ConfigError(f"{label}: {shown} is not between {_plain(low)} and {top}.")
        limit = f"less than {_plain(low)}" if low is not None and value < low else f"more than {_plain(high)}"
        raise ConfigError(f"{label}: {shown} is {limit}.", hint="Leave it out for no limit." if declared.none else "")
    return value


def _plain(number: float | None) -> str:
    return f"{number}" if number is None or number % 1 else f"{int(number)}"


_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
"""Characters of a field name (RFC 9110 §5.6.2)."""


def _check_header(value: Any, label: str) -> tuple[str, str]:
    if isinstance(value, str):
        value = tuple(part.strip() for part in value.split(":", 1))
    if not isinstance(value, (tuple, list)) or len(value) != 2 or not all(isinstance(part, str) for part in value):
        raise ConfigError(f"{label}: {value!r} is not a pair of a name and a value.", hint="Write it as NAME:VALUE.")
    name, content = value
    if not name or not set(name) <= _TOKEN:
        raise ConfigError(f"{label}: {name!r} is not a header name.")
    if any(ord(char) > 255 or (ord(char) < 32 and char != "\t") or ord(char) == 127 for char in content):
        raise ConfigError(f"{label}: the value of {name} has characters that a header cannot carry.")
    return name, content


def _check_level(declared: Option, value: Any, label: str) -> str | int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in declared.choices:
        return value.lower()
    raise ConfigError(
        f"{label}: {value!r} is not one of {', '.join(declared.choices)}.",
        hint=_meant(str(value).lower(), declared.choices),
    )


def _meant(value: str, choices: Sequence[str]) -> str:
    guess = nearest(value, choices)
    return f"Did you mean {guess}?" if guess else ""
