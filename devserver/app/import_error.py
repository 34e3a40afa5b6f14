"""Says in a sentence why an import failed, and what to do about it.

Each kind of exception has one explanation; the folded traceback beside it has the details. Knows exceptions and
frames; must not know what is being loaded beyond its name.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Container
from types import TracebackType

from devserver.app.failure import is_own, kind_of, message_of

# Packages whose import name is not the name they are installed by.
DISTRIBUTIONS = {
    "attr": "attrs",
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python",
    "dateutil": "python-dateutil",
    "decouple": "python-decouple",
    "dotenv": "python-dotenv",
    "fitz": "pymupdf",
    "google.protobuf": "protobuf",
    "jose": "python-jose",
    "jwt": "pyjwt",
    "magic": "python-magic",
    "MySQLdb": "mysqlclient",
    "multipart": "python-multipart",
    "OpenSSL": "pyopenssl",
    "PIL": "pillow",
    "psycopg2": "psycopg2-binary",
    "pydantic_settings": "pydantic-settings",
    "serial": "pyserial",
    "sklearn": "scikit-learn",
    "skimage": "scikit-image",
    "slugify": "python-slugify",
    "socketio": "python-socketio",
    "telegram": "python-telegram-bot",
    "yaml": "pyyaml",
    "zmq": "pyzmq",
}

_PARTIAL = re.compile(r"partially initialized module '([^']+)'")


def explain(exc: BaseException, name: str, first_party: Container[str]) -> tuple[str, str]:
    """One sentence and a hint.

    :param exc: what the import raised.
    :param name: what was imported, with its quotes.
    :param first_party: tells the user's own files from all others.
    """
    place = _place(exc.__traceback__, first_party)
    at = f" at {place}" if place else ""
    if isinstance(exc, SyntaxError):
        return _syntax(exc, name)
    if isinstance(exc, SystemExit):
        code = "" if exc.code is None else repr(exc.code)
        return (
            f"Could not import {name}: the program ended itself with sys.exit({code}){at}.",
            'Put what must not run on import under if __name__ == "__main__".',
        )
    if isinstance(exc, ImportError | AttributeError) and (partial := _PARTIAL.search(message_of(exc))):
        return (
            f'Could not import {name}: circular import{at}, where "{partial[1]}" is needed before it is complete.',
            "Move what both need into a third module, or import it inside the function that uses it.",
        )
    if isinstance(exc, ModuleNotFoundError) and exc.name:
        return _not_found(exc.name, name, place)
    message = message_of(exc)
    return (
        f"Could not import {name}: {kind_of(exc)}{f': {message}' if message else ''}{f' ({place})' if place else ''}",
        "",
    )


def _syntax(exc: SyntaxError, name: str) -> tuple[str, str]:
    place = f"{exc.filename}:{exc.lineno}" if exc.filename and exc.lineno else str(exc.filename or "its source")
    text = f': "{exc.text.strip()[:120]}"' if exc.text and exc.text.strip() else ""
    return f"Could not import {name}: {message_of(exc)} in {place}{text}", ""


def _not_found(missing: str, name: str, place: str) -> tuple[str, str]:
    imports = f'{place} imports "{missing}"' if place else f'"{missing}" is imported'
    top = missing.partition(".")[0]
    if missing in sys.stdlib_module_names:
        return f"Could not import {name}: {imports}, which this Python was built without.", ""
    if top != missing and top in sys.modules and missing not in DISTRIBUTIONS:
        return f'Could not import {name}: {imports}, but "{missing.rpartition(".")[0]}" has no such module.', ""
    package = DISTRIBUTIONS.get(missing) or DISTRIBUTIONS.get(top) or top.replace("_", "-")
    return (
        f"Could not import {name}: {imports}, which is not installed in {sys.prefix}.",
        f"Install it: uv add {package}, or pip install {package}.",
    )


def _place(tb: TracebackType | None, first_party: Container[str]) -> str:
    """``file:line`` of the user's innermost frame, else of the innermost one that is not ours."""
    own = other = ""
    while tb is not None:
        path = tb.tb_frame.f_code.co_filename
        if path in first_party:
            own = f"{_short(path)}:{tb.tb_lineno}"
        elif not is_own(path):
            other = f"{path}:{tb.tb_lineno}"
        tb = tb.tb_next
    return own or other


def _short(path: str) -> str:
    """Relative to the working directory when that is shorter to read."""
    try:
        relative = os.path.relpath(path)
    except ValueError:
        return path
    return path if relative.startswith("..") else relative
