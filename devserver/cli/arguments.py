"""The arguments of ``dev run``, read without typer: from words to the options that they give.

typer knows the same options and writes their help, but reading a command line with it imports pydantic and builds a
validator for each of them: a tenth of a second before anything starts. The grammar is small and click's own:
``--name value``, ``--name=value``, ``-n value``, ``-nvalue``, ``--flag`` and ``--no-flag``, options and the argument in
any order, ``--`` before an argument that begins with a dash. Pure; values stay text, which ``config`` reads and checks,
so that a wrong one gets the same sentence wherever it was written.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from devserver.config import option as options
from devserver.config import settings
from devserver.config.sources import COMMANDS, GUNICORN
from devserver.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from dataclasses import Field
    from typing import Any

HELP = frozenset({"--help", "-h", "--help-all"})

METAVARS = {"int": "N", "size": "BYTES", "seconds": "SECONDS", "bool": "BOOL", "level": "LEVEL", "name": "NAME"}


def read(arguments: Iterable[str], command: str = "run") -> dict[str, object]:
    """Field name → text, list of texts or bool, for the options that stand in ``arguments``; the last one wins.

    :raises UsageError: an option is unknown, another command's, without its value, or contradicts its opposite.
    """
    known = spelled(command)
    found: dict[str, object] = {}
    words = list(arguments)[::-1]
    only_arguments = False
    while words:
        word = words.pop()
        if only_arguments or word == "-" or not word.startswith("-"):
            if "app" in found:
                raise UsageError(f"dev {command} takes one app: {found['app']} and {word} are two.")
            found["app"] = word
        elif word == "--":
            only_arguments = True
        else:
            take(word, words, known, found, command)
    return found


def read_own(arguments: Iterable[str], command: str, names: Iterable[str]) -> tuple[dict[str, object], list[str]]:
    """The same for a command that runs another one: our options end at its name, or at ``--``.

    :param names: the options of ``dev run`` that it takes.
    :returns: the options, and the other command's words; ``help`` alone when that is asked for.
    """
    wanted = frozenset(names)
    known = {spelling: (field, on) for spelling, (field, on) in spelled("run").items() if field.name in wanted}
    found: dict[str, object] = {}
    words = list(arguments)[::-1]
    while words and words[-1].startswith("-"):
        word = words.pop()
        if word == "--":
            break
        if word in HELP:
            return {"help": True}, []
        take(word, words, known, found, command)
    return found, words[::-1]


def spelled(command: str) -> dict[str, tuple[Field[Any], bool]]:
    """Every spelling of an option of ``command``: its field, and for a flag whether the spelling turns it on."""
    found: dict[str, tuple[Field[Any], bool]] = {}
    for known in settings.fields():
        if command in options.of(known).commands and known.name != "app":
            found.update(dict.fromkeys(options.of(known).cli or (options.flag(known),), (known, True)))
            if is_flag(known):
                found[f"--no-{options.flag(known)[2:]}"] = (known, False)
    return found


def is_flag(known: Field[Any]) -> bool:
    """Whether the option is written without a value."""
    return options.of(known).kind == "bool" and not options.of(known).takes_bool


def metavar(known: Field[Any]) -> str:
    """The word that stands for the value in help."""
    declared = options.of(known)
    if declared.metavar or declared.kind == "bool":
        return declared.metavar or METAVARS["bool"]
    if declared.kind == "choice":
        return "|".join(declared.choices)
    return METAVARS.get(declared.kind, options.key(known).rpartition("-")[2].upper())


def no_such(name: str, known: Iterable[str]) -> UsageError:
    """An error for an option that does not exist, with the one that was probably meant."""
    guess = options.nearest(name, [spelling for spelling in known if spelling.startswith("--")])
    return UsageError(f"No such option {name}; did you mean {guess}?" if guess else f"No such option {name}.")


def _is_gunicorns(name: str) -> bool:
    """Returns whether only gunicorn has an option of that name."""
    from devserver.config import gunicorn_flags  # not at the top: few make this mistake

    known = gunicorn_flags.VALUES.keys() | gunicorn_flags.LISTS.keys() | gunicorn_flags.SWITCHES.keys()
    return name in known and name not in spelled("prod")


def _take_gunicorn(name: str, given: str | None, words: list[str], found: dict[str, object]) -> bool:
    """Takes an option that is spelled as gunicorn's, where ours has another name or does not exist."""
    from devserver.config import gunicorn_flags  # not at the top: most people write ours

    if name == "--reload":
        # The other command's answer says more.
        return False
    settings_given = found.get(GUNICORN, {})
    assert isinstance(settings_given, dict)
    try:
        taken = gunicorn_flags.take(name, given, words, settings_given)
    except ConfigError as exc:
        raise UsageError(exc.message) from None
    if taken:
        found[GUNICORN] = settings_given
    return taken


def take(
    word: str, words: list[str], known: dict[str, tuple[Field[Any], bool]], found: dict[str, object], command: str
) -> None:
    """Takes one option, with its value, into what was found.

    :param words: what follows, the last word first.
    :param known: see :func:`spelled`.
    :raises UsageError: see :func:`read`.
    """
    name, equals, value = word.partition("=") if word.startswith("--") else (word[:2], word[2:], word[2:])
    if name not in known:
        if command == "prod" and _take_gunicorn(name, value if equals else None, words, found):
            return
        if name == "-p":
            raise UsageError("-p is the pid file of dev prod.", hint="Write --port for the port.")
        if command == "run" and _is_gunicorns(name):
            raise UsageError(f"{name} is an option of gunicorn: dev prod understands it, dev run does not.")
        for other in COMMANDS:
            if other != command and name in spelled(other):
                raise UsageError(f"{name} is an option of dev {other}, not of dev {command}.")
        raise no_such(name, [*known, *HELP])
    field, on = known[name]
    if is_flag(field):
        if equals:
            raise UsageError(
                f"{name} takes no value.", hint=f"Write {options.flag(field)} or --no-{options.key(field)}."
            )
        if found.setdefault(field.name, on) is not on:
            flag = options.flag(field)
            raise UsageError(f"{flag} and --no-{flag[2:]} contradict each other.", hint="Give one of them.")
        return
    if not equals:
        if not words:
            raise UsageError(f"{name} needs a value.", hint=f"Write {name} {metavar(field)}.")
        value = words.pop()
        # "--host --port 80" is a forgotten value; one that really begins with dashes can be given with "=".
        if value.startswith("--") and value.partition("=")[0] in known:
            raise UsageError(
                f"{name} needs a value; {value} is another option.", hint=f"Write {name} {metavar(field)}."
            )
    field, value = _meant(name, field, value, known, command)
    if options.of(field).many:
        several = found.setdefault(field.name, [])
        assert isinstance(several, list)
        several.append(value)
    else:
        found[field.name] = value


_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")


def _meant(
    name: str, field: Field[Any], value: str, known: dict[str, tuple[Field[Any], bool]], command: str
) -> tuple[Field[Any], str]:
    """Decides which option a short spelling means that other commands, or other servers, read in another way.

    ``-e`` names the app in ``dev run`` and a variable in ``dev prod``, where gunicorn's users know it; ``-p`` is
    gunicorn's pid file, and the port in many other tools.

    :returns: the option, and its value.
    :raises UsageError: the value fits neither meaning, or only one that another spelling has.
    """
    is_assignment = _ASSIGNMENT.match(value) is not None
    if name == "-e" and field.name == "env" and not is_assignment:
        if ":" not in value:
            raise UsageError(
                f"-e {value} is no variable.", hint="Write -e NAME=VALUE, or --entrypoint module:attribute for the app."
            )
        return known["--entrypoint"][0], value
    if name == "-e" and field.name == "entrypoint" and is_assignment:
        raise UsageError(
            f"-e {value} names no app: in dev {command}, -e is --entrypoint.",
            hint=f"Set the variable in the shell, before dev {command}, or in an env file.",
        )
    if name == "-p" and field.name == "pid" and value.isascii() and value.isdigit():
        raise UsageError(f"-p {value} names no file: -p is --pid.", hint=f"Write --port {value} for the port.")
    return field, value
