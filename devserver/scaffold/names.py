"""What a project may be called, and the spellings of its name. Pure."""

from __future__ import annotations

import keyword
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass

from devserver.errors import UsageError

NAME_CHARS_MAX = 50
"""A name in Kubernetes has at most 63 characters (RFC 1123 §2.1), and some get an ending."""

_ALLOWED = re.compile(r"[A-Za-z](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")

# What stands in every project already, or is looked for there by tools.
_TAKEN = frozenset(
    {"app", "conftest", "dev", "main", "migrations", "settings", "site", "src", "test", "tests", "vendor"}
)
_STANDARD_LIBRARY = frozenset(name.lower() for name in sys.stdlib_module_names)
# What a project imports without naming it among its dependencies: these come with FastAPI, with the server, or with
# the libraries that the templates take.
_BROUGHT_ALONG = frozenset(
    """
    annotated_types anyio argon2 certifi click devserver dotenv fastapi greenlet h11 httpcore httptools httpx httpx2
    idna jinja2 jwt mako markdown_it multipart mypy pip pydantic pydantic_core pydantic_settings pygments pytest rich
    ruff
    setuptools shellingham sqlalchemy starlette typer typing_extensions uv uvloop watchfiles wheel yaml
    """.split()
)
# Names of devices, which no file may have on Windows.
_DEVICES = frozenset({"aux", "con", "nul", "prn"})


@dataclass(frozen=True)
class Names:
    """The spellings of one name.

    :ivar project: of the distribution and the folder: ``shop-api``.
    :ivar package: what is imported: ``shop_api``.
    :ivar title: what people read: ``Shop Api``.
    :ivar constant: the prefix of environment variables: ``SHOP_API``.
    """

    project: str
    package: str
    title: str
    constant: str


def names_of(text: str, *, dependencies: Iterable[str] = ()) -> Names:
    """The spellings of a name that somebody has typed.

    :param dependencies: distributions that the project is to import.
    :raises UsageError: a project cannot be called that; it says why, and what would do.
    """
    if not _ALLOWED.fullmatch(text):
        better = re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-0123456789").lower()
        hint = f"It might be {better}." if _ALLOWED.fullmatch(better) else "It might be shop-api."
        raise UsageError(
            f"{text!r} cannot be the name of a project: it must begin with a letter and consist of letters a to z, "
            "digits, - and _.",
            hint=hint,
        )
    if len(text) > NAME_CHARS_MAX:
        raise UsageError(
            f"{text[:20]}… cannot be the name of a project: it has {len(text)} characters, and {NAME_CHARS_MAX} are "
            "the most.",
            hint="Take a shorter one.",
        )
    # As PyPI compares names (PEP 503).
    words = re.split(r"[-_.]+", text.lower())
    package = "_".join(words)
    reason = _clash(package, {_importable(each) for each in dependencies})
    if reason:
        raise UsageError(f"{text} cannot be the name of a project: {reason}.", hint=f"It might be {words[0]}-api.")
    title = " ".join(word.capitalize() for word in words)
    return Names(project="-".join(words), package=package, title=title, constant=package.upper())


def _clash(package: str, dependencies: set[str]) -> str:
    """Why a package of this name could not be imported, or would hide another; empty when nothing is wrong."""
    if keyword.iskeyword(package) or package in {"none", "true", "false"}:
        return f"{package} is a word of the Python language"
    if package in _STANDARD_LIBRARY:
        return f"{package} is a module of Python's standard library, which it would hide"
    if package in dependencies or package in _BROUGHT_ALONG:
        return f"{package} is a package that it needs, and would hide"
    if package in _DEVICES:
        return f"no file may be called {package} on Windows"
    if package in _TAKEN:
        return f"{package} has a meaning of its own in a project"
    return ""


def _importable(distribution: str) -> str:
    return re.sub(r"[-_.]+", "_", distribution).lower()
