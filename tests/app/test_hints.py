"""What a hint suggests works when it is typed in place of what has failed, in the same folder.

Each row is a project, the APP that fails in it, and what the message must suggest: nothing where nothing works.
"""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest

from devserver.app.load import load_app
from devserver.config.discovery import find_target
from devserver.config.settings import Config
from devserver.errors import AppLoadError
from tests.support.projects import write_files

APP = "from fastapi import FastAPI\napp = FastAPI()\n"
CLASS = "from fastapi import FastAPI\nclass Web:\n    app = FastAPI()\n"
FUNCTION = "from fastapi import FastAPI\ndef web():\n    return FastAPI()\n"
CALLED = "from fastapi import FastAPI\ndef create_app(settings, debug=False):\n    return FastAPI()\n"
RUNS = "import uvicorn\nif __name__ == '__main__':\n    uvicorn.run('shop.web:app', reload=True)\n"

# Where a suggestion begins, in messages and hints.
SUGGESTION = re.compile(
    r'(?:[Dd]id you mean "([^"]+)"\?|(?:Say which one|Name it|Name its file|Give the path of its file|runs another app|'
    r"with a literal for each argument): (.+)$)"
)

SUGGESTED: dict[str, tuple[dict[str, str], str | None, str]] = {
    "module misspelled": ({"main.py": APP}, "mian:app", "main:app"),
    "module alone misspelled": ({"main.py": APP}, "mian", "main"),
    "package misspelled": ({"shop/main.py": APP}, "shpo.main:app", "shop.main:app"),
    "submodule misspelled": ({"shop/main.py": APP}, "shop.mian:app", "shop.main:app"),
    "module with another name for its app": (
        {"mainly.py": "from fastapi import FastAPI\nserver = FastAPI()"},
        "mainl:app",
        "mainly:server",
    ),
    "attribute misspelled": ({"main.py": APP}, "main:ap", "main:app"),
    "attribute that is no app": ({"main.py": APP + "ap = 1"}, "main:aq", "main:app"),
    "attribute of another case": ({"main.py": APP}, "main:App", "main:app"),
    "attribute in a file of a folder": ({"shop/main.py": APP}, "shop/main.py:ap", "shop/main.py:app"),
    "nested attribute misspelled": ({"main.py": CLASS}, "main:Web.ap", "main:Web.app"),
    "dot for the colon": ({"main.py": APP}, "main.app", "main:app"),
    "dot for the colon in a package": ({"shop/main.py": APP}, "shop.main.app", "shop.main:app"),
    "two colons": ({"main.py": APP}, "main:app:app", "main:app"),
    "slash for the colon": ({"main.py": APP}, "main/app", "main.py:app"),
    "no suffix": ({"shop/main.py": APP}, "shop/main", "shop/main.py"),
    "no suffix and an attribute": ({"shop/main.py": APP}, "shop/main:app", "shop/main.py"),
    "file misspelled": ({"shop/main.py": APP}, "shop/mian.py", "shop/main.py"),
    "module of a folder below": ({"backend/main.py": APP}, "main:app", "backend/main.py"),
    "app two folders below": ({"backend/app/main.py": APP}, None, "backend/app/main.py"),
    "app in a package": ({"shop/__init__.py": "", "shop/server.py": APP}, None, "shop/server.py"),
    "app of Vercel": ({"api/index.py": APP}, None, "api/index.py"),
    "other file name": ({"my-server.py": APP}, None, "my-server.py"),
    "file name that a shell splits": ({"my app/main.py": APP}, None, "my app/main.py"),
    "first of several": ({"services/a/main.py": APP, "services/b/main.py": APP}, None, "services/a/main.py"),
    "several packages": ({"src/a/main.py": APP, "src/b/main.py": APP}, None, "src/a/main.py"),
    "class attribute": ({"main.py": CLASS}, None, "main:Web.app"),
    "class attribute of a file": ({"web/main.py": CLASS}, "web/main.py", "web/main.py:Web.app"),
    "class attribute after the import": ({"main.py": CLASS + "x = list()"}, "main", "main:Web.app"),
    "function": ({"main.py": FUNCTION}, "main.py", "main:web"),
    "file that runs another": (
        {"main.py": RUNS, "shop/__init__.py": "", "shop/web.py": APP},
        "main.py",
        "shop.web:app",
    ),
    "several factories": (
        {"main.py": "from fastapi import FastAPI\ndef a() -> FastAPI:\n    return FastAPI()\ndef b() -> FastAPI: ..."},
        None,
        "{folder}/main.py:a",
    ),
    "factory with arguments": ({"main.py": CALLED}, "main.py", "main:create_app(settings=...)"),
    "factory with arguments, named": ({"main.py": CALLED}, "main:create_app", "main:create_app(settings=...)"),
    "module for an app": (
        {"main.py": "from shop_w import app", "shop_w/__init__.py": "", "shop_w/app.py": APP},
        "main:app",
        "shop_w.app:app",
    ),
    "folder like a library": ({"fastapi/main.py": APP}, "fastapi.main:app", "fastapi/main.py"),
    "folder like a library, searched": ({"fastapi/main.py": APP}, None, "fastapi/main.py"),
    "folder like the standard library's": ({"email/main.py": APP}, "email.main:app", "email/main.py"),
    "package like the standard library's": (
        {"email/main.py": APP, "email/__init__.py": ""},
        "email.main:app",
        "email/main.py",
    ),
}

# Here nothing that could be typed would work.
NOTHING: dict[str, tuple[dict[str, str], str | None]] = {
    "empty folder": ({}, None),
    "empty folder, named": ({}, "main:app"),
    "no app anywhere": ({"main.py": "x = 1", "shop/main.py": "x = 1"}, None),
    "no file like it": ({"shop/other.py": APP}, "shop/main.py"),
    "near module without an app": ({"mainly.py": "x = 1"}, "mainl:app"),
    "near name that is no app": ({"main.py": "ap = 1"}, "main:app"),
    "class that is no app": ({"main.py": CLASS}, "main:Web"),
    "file that hides the library it needs": ({"fastapi.py": APP}, None),
    "file like the standard library's": ({"asyncio.py": APP}, "asyncio:app"),
    "relative imports in a folder like a library": ({"email/main.py": "from . import x\n" + APP}, "email/main.py"),
    "relative imports in a folder like a library, by module": (
        {"email/main.py": "from . import x\n" + APP, "email/__init__.py": ""},
        "email.main:app",
    ),
}


def failure(project: Path, app: str | None) -> AppLoadError:
    with pytest.raises(AppLoadError) as caught:
        load_app(find_target(Config(app), project))
    return caught.value


def forget(project: Path) -> None:
    """What a second start begins with: nothing of the project is imported."""
    for name in [name for name, module in sys.modules.items() if str(project) in str(vars(module).get("__file__"))]:
        del sys.modules[name]
    sys.path[:] = [entry for entry in sys.path if not entry.startswith(str(project))]


def suggestions(error: AppLoadError) -> list[str]:
    found = [match for text in (str(error), error.hint) if (match := SUGGESTION.search(text)) is not None]
    return [(match[1] or shlex.split(match[2])[0]) for match in found]


@pytest.mark.parametrize("name", SUGGESTED)
def test_suggestion_works_when_it_is_typed(project: Path, name: str) -> None:
    files, app, expected = SUGGESTED[name]
    write_files(project, files)
    error = failure(project, app)
    assert suggestions(error) == [expected.format(folder=project)], (str(error), error.hint)
    assert suggestions(error) != [app]
    forget(project)
    load_app(find_target(Config(suggestions(error)[0]), project))


@pytest.mark.parametrize("name", NOTHING)
def test_nothing_is_suggested_where_nothing_works(project: Path, name: str) -> None:
    files, app = NOTHING[name]
    write_files(project, files)
    error = failure(project, app)
    assert suggestions(error) == [], (str(error), error.hint)


def test_suggestions_after_chdir_name_the_file_absolutely(project: Path) -> None:
    """``dev run web`` works in the folder ``web``: what is typed next is typed above it."""
    write_files(project, {"web/main.py": CLASS})
    with pytest.raises(AppLoadError) as caught:
        find_target(Config(chdir="web"), project / "web")
    assert caught.value.hint == f"Name it: {project}/web/main.py:Web.app"


def test_hint_that_is_too_dear_is_not_looked_for(project: Path) -> None:
    write_files(
        project, {"a/b/c/d/main.py": APP, "tests/main.py": APP, "node_modules/x/main.py": APP, ".x/main.py": APP}
    )
    write_files(project, {"env/pyvenv.cfg": "", "env/main.py": APP})
    assert suggestions(failure(project, None)) == []


@pytest.mark.parametrize(
    ("files", "message", "hint"),
    [
        (
            {"main.py": "import statistics\nstatistics.mean([1])", "statistics.py": "x = 1"},
            'main.py:2 gets "statistics" from {folder}/statistics.py, which hides the standard',
            "Rename statistics.py.",
        ),
        (
            {"main.py": "from hypercorn import Config", "hypercorn/__init__.py": ""},
            'main.py:1 gets "hypercorn" from {folder}/hypercorn/__init__.py, which hides the library "hypercorn" (',
            "Rename hypercorn.",
        ),
    ],
)
def test_file_that_hides_a_library_is_named(
    project: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], message: str, hint: str
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] in {"statistics", "hypercorn"}]:
        monkeypatch.delitem(sys.modules, name)
    write_files(project, files)
    error = failure(project, "main:app")
    assert message.format(folder=project) in str(error)
    assert error.hint == hint
