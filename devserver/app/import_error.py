"""Says in a sentence why an import failed, and what to do about it.

Each kind of exception has one explanation; the folded traceback beside it has the details. Knows exceptions and
frames; must not know what is being loaded beyond its name.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from devserver.app.failure import place, sentence, short_path
from devserver.config.import_name import installed_module

if TYPE_CHECKING:
    from devserver.events import Failure

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

_TEXT_CHARS_MAX = 120
# Since Python 3.13 a module in sys.path[0] that is not complete yet is suspected of hiding another one.
_PARTIAL = re.compile(
    r"partially initialized module '([^']+)'"
    r"|(?:module|from) '([^']+)'.* \(consider renaming '.+' if it has the same name as a "
)


def explain(exc: BaseException, failure: Failure, name: str) -> tuple[str, str]:
    """One sentence and a hint.

    :param exc: what the import raised.
    :param failure: the same, folded.
    :param name: what was imported, with its quotes.
    """
    where = place(failure)
    at = f" at {where}" if where else ""
    if isinstance(exc, SyntaxError):
        if exc.filename and not exc.lineno:
            at = f" in {short_path(exc.filename)}"
        text = f': "{exc.text.strip()[:_TEXT_CHARS_MAX]}"' if exc.text and exc.text.strip() else ""
        return f"Could not import {name}: {failure.message}{at}{text}", ""
    if isinstance(exc, SystemExit):
        code = "" if exc.code is None else repr(exc.code)[:_TEXT_CHARS_MAX]
        return (
            f"Could not import {name}: the program ended itself with sys.exit({code}){at}.",
            'Put what must not run on import under if __name__ == "__main__".',
        )
    if (hiding := _hiding_file(exc)) is not None:
        top, file, hidden = hiding
        return (
            f'Could not import {name}: {where or "an import"} gets "{top}" from {file}, which hides {hidden}.',
            f"Rename {os.path.basename(os.path.dirname(file) if file.endswith('__init__.py') else file)}.",
        )
    if isinstance(exc, ImportError | AttributeError) and (partial := _PARTIAL.search(failure.message)):
        module = partial[1] or partial[2]
        path = exc.path if isinstance(exc, ImportError) else getattr(exc.obj, "__file__", None)
        if failure.frames and failure.frames[-1].path == path:
            return (
                f'Could not import {name}: {where} imports "{module}" and gets itself.',
                f'Rename {where.rpartition(":")[0]} if another "{module}" is meant: it hides that one.',
            )
        return (
            f'Could not import {name}: circular import{at}, where "{module}" is needed before it is complete.',
            "Move what both need into a third module, or import it inside the function that uses it.",
        )
    if isinstance(exc, ModuleNotFoundError) and exc.name:
        return _not_found(exc.name, name, where)
    return f"Could not import {name}: {sentence(failure)}", ""


def _hiding_file(exc: BaseException) -> tuple[str, str, str] | None:
    """Return (module, its file, what it hides) when something is missing in a module that stands in another's place."""
    module: str | None = None
    path: str | None = None
    if isinstance(exc, AttributeError) and isinstance(exc.obj, ModuleType):
        module, path = exc.obj.__name__, exc.obj.__file__
    elif isinstance(exc, ImportError):
        module, path = exc.name, exc.path
    if not module or not path:
        return None
    top = module.partition(".")[0]
    package = getattr(sys.modules.get(top), "__file__", None) or path
    folder = os.path.dirname(os.path.dirname(package) if os.path.basename(package) == "__init__.py" else package)
    other = installed_module(top, outside=Path(folder))
    if other is None or os.path.realpath(other) == os.path.realpath(package):
        return None
    what = f'the standard library\'s "{top}"' if top in sys.stdlib_module_names else f'the library "{top}" ({other})'
    return top, package, what


def _not_found(missing: str, name: str, where: str) -> tuple[str, str]:
    imports = f'{where} imports "{missing}"' if where else f'"{missing}" is imported'
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
