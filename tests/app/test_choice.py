"""The app of a module is found however it was bound, and it is the one that fastapi-cli takes.

Each row is a project. Both discoveries import its main.py in this process; fastapi-cli serves nothing.
"""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi_cli.discover import get_import_data
from fastapi_cli.exceptions import FastAPICLIException
from flask import Flask, current_app
from werkzeug.local import LocalProxy

from devserver.app import load
from devserver.app.choice import choose, framework_of
from devserver.app.load import load_app
from devserver.config.app_source import Choice
from devserver.config.discovery import find_target
from devserver.config.settings import Config
from devserver.errors import AppLoadError
from tests.support.projects import write_files

HEAD = "from fastapi import FastAPI\n"
CORS = "from starlette.middleware.cors import CORSMiddleware\n"

# Project -> its files, and what both take.
SAME: dict[str, tuple[dict[str, str], str]] = {
    "name app": ({"main.py": f"{HEAD}app = FastAPI()"}, "main:app"),
    "app before api": ({"main.py": f"{HEAD}a = FastAPI()\napi = FastAPI()\napp = FastAPI()"}, "main:app"),
    "api before application": ({"main.py": f"{HEAD}application = FastAPI()\napi = FastAPI()"}, "main:api"),
    "first by name": ({"main.py": f"{HEAD}v2 = FastAPI()\nv1 = FastAPI()"}, "main:v1"),
    "underscore": ({"main.py": f"{HEAD}server = FastAPI()\n_inner = FastAPI()"}, "main:_inner"),
    "capital": ({"main.py": f"{HEAD}server = FastAPI()\nSERVER = FastAPI()"}, "main:SERVER"),
    "application is no usual name": ({"main.py": f"{HEAD}application = FastAPI()\na = FastAPI()"}, "main:a"),
    "star": ({"main.py": "from shop.core import *", "shop/core.py": f"{HEAD}app = FastAPI()"}, "main:app"),
    "star with __all__": (
        {"main.py": "from core import *", "core.py": f"{HEAD}__all__ = ['web']\nweb = FastAPI()\napp = FastAPI()"},
        "main:web",
    ),
    "star after star": (
        {"main.py": "from a import *", "a.py": "from b import *", "b.py": f"{HEAD}app = FastAPI()"},
        "main:app",
    ),
    "star of what is made": (
        {"main.py": "from core import *", "core.py": f"{HEAD}globals()['app'] = FastAPI()"},
        "main:app",
    ),
    "__all__ that is computed": (
        {"main.py": "from core import *", "core.py": f"{HEAD}server = FastAPI()\n__all__ = ['ser' + 'ver']"},
        "main:server",
    ),
    "globals": ({"main.py": f"{HEAD}globals()['app'] = FastAPI()"}, "main:app"),
    "globals update": ({"main.py": f"{HEAD}globals().update(web=FastAPI())"}, "main:web"),
    "vars": ({"main.py": f"{HEAD}vars()['web'] = FastAPI()"}, "main:web"),
    "setattr": ({"main.py": f"{HEAD}import sys\nsetattr(sys.modules[__name__], 'web', FastAPI())"}, "main:web"),
    "attribute of the module": ({"main.py": f"{HEAD}import sys\nsys.modules[__name__].web = FastAPI()"}, "main:web"),
    "exec": ({"main.py": f"exec({HEAD + 'app = FastAPI()'!r})"}, "main:app"),
    "from another module": (
        {"main.py": "import other", "other.py": f"{HEAD}import main\nmain.web = FastAPI()"},
        "main:web",
    ),
    "try": (
        {"main.py": "try:\n    from nowhere import app\nexcept ImportError:\n    from dev import app", "dev.py": ""}
        | {"dev.py": f"{HEAD}app = FastAPI()"},
        "main:app",
    ),
    "annotated": ({"main.py": f"{HEAD}def m(): return FastAPI()\nserver: FastAPI = m()"}, "main:server"),
    "not annotated": ({"main.py": f"{HEAD}def m(): return FastAPI()\nserver = m()"}, "main:server"),
    "imported as": ({"main.py": "from x import app as web", "x.py": f"{HEAD}app = FastAPI()"}, "main:web"),
    "imported as application": (
        {"main.py": "from x import app as application", "x.py": f"{HEAD}app = FastAPI()"},
        "main:application",
    ),
    "tuple": ({"main.py": f"{HEAD}server, db = FastAPI(), 1"}, "main:server"),
    "tuple from a call": ({"main.py": f"{HEAD}def m(): return FastAPI(), 1\nserver, db = m()"}, "main:server"),
    "starred": ({"main.py": f"{HEAD}server, *rest = [FastAPI(), 1, 2]"}, "main:server"),
    "walrus": ({"main.py": f"{HEAD}if (server := FastAPI()): pass"}, "main:server"),
    "class attribute": ({"main.py": f"{HEAD}class Web:\n    app = FastAPI()\nserver = Web.app"}, "main:server"),
    "with": (
        {"main.py": f"{HEAD}import contextlib\nwith contextlib.nullcontext(FastAPI()) as server: pass"},
        "main:server",
    ),
    "for": ({"main.py": f"{HEAD}for server in [FastAPI()]: pass"}, "main:server"),
    "global": ({"main.py": f"{HEAD}def f():\n    global web\n    web = FastAPI()\nf()"}, "main:web"),
    "__getattr__ and __dir__": (
        {
            "main.py": f"{HEAD}made = FastAPI()\ndef __getattr__(name):\n    if name == 'app': return made\n"
            "    raise AttributeError(name)\ndef __dir__(): return ['app']"
        },
        "main:app",
    ),
    "re-export": (
        {"main.py": "from x import server\n__all__ = ['server']", "x.py": f"{HEAD}server = FastAPI()"},
        "main:server",
    ),
    "factory with arguments": (
        {"main.py": f"{HEAD}def create_app(n): return FastAPI()\napp = create_app(1)"},
        "main:app",
    ),
    "router is no app": (
        {"main.py": f"{HEAD}from fastapi import APIRouter\napp = APIRouter()\nw = FastAPI()"},
        "main:w",
    ),
    "None is no app": ({"main.py": f"{HEAD}app = None\nserver = FastAPI()"}, "main:server"),
    "number is no app": ({"main.py": f"{HEAD}def f(): return 3\napp = f()\nserver = FastAPI()"}, "main:server"),
    "class is no app": ({"main.py": "from fastapi import FastAPI as app\nserver = app()"}, "main:server"),
    "route is no app": (
        {"main.py": f"{HEAD}server = FastAPI()\n@server.get('/')\ndef app(q: str): ..."},
        "main:server",
    ),
    "async route is no app": (
        {"main.py": f"{HEAD}server = FastAPI()\n@server.get('/')\nasync def app(q: str): ..."},
        "main:server",
    ),
    "imported one sorts first": (
        {"main.py": f"{HEAD}from x import admin\nserver = FastAPI()", "x.py": f"{HEAD}admin = FastAPI()"},
        "main:admin",
    ),
    "subclass": ({"main.py": f"{HEAD}class Mine(FastAPI): ...\nweb = Mine()"}, "main:web"),
    "subclass that is imported": (
        {"main.py": "from x import Mine\nweb = Mine()", "x.py": f"{HEAD}class Mine(FastAPI): ..."},
        "main:web",
    ),
    "deleted": ({"main.py": f"{HEAD}app = FastAPI()\nserver = app\ndel app"}, "main:server"),
    "partial": ({"main.py": f"{HEAD}import functools\nserver = functools.partial(FastAPI)()"}, "main:server"),
    "subscript": ({"main.py": f"{HEAD}apps = {{'a': FastAPI()}}\nserver = apps['a']"}, "main:server"),
    "comprehension": ({"main.py": f"{HEAD}two, one = [FastAPI() for _ in 'ab']"}, "main:one"),
    "module with an alias": ({"main.py": "import fastapi as f\nserver = f.FastAPI()"}, "main:server"),
    "star of the library": ({"main.py": "from fastapi import *\nserver = FastAPI()"}, "main:server"),
    "object that fails when it is looked at": (
        {
            "main.py": f"{HEAD}class Odd:\n    @property\n    def __class__(self): return int\n"
            "app = Odd()\nserver = FastAPI()"
        },
        "main:server",
    ),
    "uvicorn.run": (
        {"main.py": f"{HEAD}app = FastAPI()\nif __name__ == '__main__':\n    import uvicorn\n    uvicorn.run(app)"},
        "main:app",
    ),
    "package": ({"app/__init__.py": "", "app/main.py": f"{HEAD}app = FastAPI()"}, "app.main:app"),
    "folder": ({"app/main.py": f"{HEAD}app = FastAPI()"}, "main:app"),
    "app/api.py": ({"app/__init__.py": "", "app/api.py": f"{HEAD}app = FastAPI()"}, "app.api:app"),
    "main.py before app.py": (
        {
            "main.py": "from x import m\ns = m()",
            "x.py": f"{HEAD}def m(): return FastAPI()",
            "app.py": f"{HEAD}a = FastAPI()",
        },
        "main:s",
    ),
    "app/main.py before asgi.py": (
        {"asgi.py": f"{HEAD}app = FastAPI()", "app/main.py": f"{HEAD}app = FastAPI()"},
        "main:app",
    ),
}

# What fastapi-cli does not find, or passes over: None, or the other name it takes. The reason is beside each.
OTHERWISE: dict[str, tuple[dict[str, str], str, str | None]] = {
    # It serves FastAPI objects alone.
    "wrapped": ({"main.py": f"{HEAD}{CORS}app = FastAPI()\napp = CORSMiddleware(app)"}, "main:app", None),
    "Starlette": ({"main.py": "from starlette.applications import Starlette\nweb = Starlette()"}, "main:web", None),
    "Flask": ({"main.py": "from flask import Flask\nweb = Flask('x')"}, "main:web", None),
    "WSGI": ({"main.py": "def application(environ, start_response): ..."}, "main:application", None),
    "ASGI": ({"main.py": "async def app(scope, receive, send): ..."}, "main:app", None),
    # So it also serves what is inside a wrapper, without the wrapper.
    "wrapper": ({"main.py": f"{HEAD}{CORS}api = FastAPI()\napp = CORSMiddleware(api)"}, "main:app", "main:api"),
    "wrapper application": (
        {"main.py": f"{HEAD}{CORS}web = FastAPI()\napplication = CORSMiddleware(web)"},
        "main:application",
        "main:web",
    ),
    # It calls no factories.
    "factory": ({"main.py": f"{HEAD}def create_app(): return FastAPI()"}, "main:create_app", None),
    "decorated factory": (
        {"main.py": f"{HEAD}import functools\n@functools.lru_cache(maxsize=1)\ndef create_app(): return FastAPI()"},
        "main:create_app",
        None,
    ),
    "factory from a star": (
        {"main.py": "from core import *", "core.py": f"{HEAD}def build() -> FastAPI: return FastAPI()"},
        "main:build",
        None,
    ),
    "factory out of exec": ({"main.py": f"exec({HEAD + 'def get_app(): return FastAPI()'!r})"}, "main:get_app", None),
    "annotated factory out of exec": (
        {"main.py": f"exec({HEAD + 'def web() -> FastAPI: return FastAPI()'!r})"},
        "main:web",
        None,
    ),
    # It reads dir(), which does not list what __getattr__ makes.
    "__getattr__": (
        {"main.py": f"{HEAD}def __getattr__(name):\n    if name == 'app': return FastAPI()\n    raise AttributeError"},
        "main:app",
        None,
    ),
}


def ours(project: Path, monkeypatch: pytest.MonkeyPatch, app: str | None) -> str:
    """The import string of what is loaded in the end."""
    loaded: list[str] = []
    build = load._build

    def recording(target: Any, *rest: Any) -> Any:
        loaded.append(target.import_string)
        return build(target, *rest)

    monkeypatch.setattr(load, "_build", recording)
    load_app(find_target(Config(app), project))
    return loaded[0]


def theirs(project: Path, path: str | None) -> str | None:
    for name in [name for name, module in sys.modules.items() if str(project) in str(vars(module).get("__file__"))]:
        del sys.modules[name]
    try:
        return get_import_data(path=None if path is None else Path(path)).import_string
    except FastAPICLIException:
        return None


@pytest.mark.parametrize("named", [False, True], ids=["searched", "named"])
@pytest.mark.parametrize("name", SAME)
def test_fastapi_cli_takes_the_same(project: Path, monkeypatch: pytest.MonkeyPatch, name: str, named: bool) -> None:
    files, expected = SAME[name]
    write_files(project, files)
    path = next(file for file in files if file.endswith(f"{expected.partition(':')[0].rpartition('.')[2]}.py"))
    if named and name == "app/main.py before asgi.py":
        path = "app/main.py"
    found = ours(project, monkeypatch, path if named else None)
    assert found == expected
    assert theirs(project, path if named else None) == found


@pytest.mark.parametrize("name", OTHERWISE)
def test_fastapi_cli_takes_no_other_kind_of_app(project: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    files, expected, other = OTHERWISE[name]
    write_files(project, files)
    assert ours(project, monkeypatch, None) == expected
    assert ours(project, monkeypatch, "main.py") == expected
    assert theirs(project, None) == other


@pytest.mark.parametrize(
    "text", ["x = list()", "import sys\nglobals()['n'] = 1", "def __getattr__(name): raise AttributeError"]
)
def test_module_without_an_app_is_told_after_its_import(project: Path, text: str) -> None:
    write_files(project, {"main.py": text})
    with pytest.raises(AppLoadError, match=r"No app found in .*main\.py: its import leaves no app") as caught:
        load_app(find_target(Config("main.py"), project))
    assert caught.value.hint.startswith('Bind it to the name "app"')


def test_guess_that_is_no_app_is_told_by_its_type(project: Path) -> None:
    write_files(project, {"main.py": "def f(): return 3\napp = f()"})
    with pytest.raises(AppLoadError, match='"main:app" is not an app but an int'):
        load_app(find_target(Config("main.py"), project))


def test_getattr_that_fails_is_the_apps_error(project: Path) -> None:
    write_files(project, {"main.py": "def __getattr__(name): return 1 / 0"})
    with pytest.raises(AppLoadError, match="ZeroDivisionError"):
        load_app(find_target(Config("main.py"), project))


def test_named_attribute_is_not_second_guessed(project: Path) -> None:
    write_files(project, {"main.py": f"{HEAD}app = FastAPI()\nother = FastAPI(title='other')"})
    assert load_app(find_target(Config("main:other"), project)).title == "other"  # type: ignore[attr-defined]


def test_only_a_factory_will_do_when_one_is_asked_for(project: Path) -> None:
    write_files(project, {"main.py": f"{HEAD}app = FastAPI()\nexec('def make_app(): return FastAPI(title=1)')"})
    target = find_target(Config("main.py", factory=True), project)
    assert load_app(target).title == 1  # type: ignore[attr-defined]
    write_files(project, {"empty.py": "exec('')"})
    with pytest.raises(AppLoadError, match="No function that makes an app found in"):
        load_app(find_target(Config("empty.py", factory=True), project))


def module(**names: Any) -> types.ModuleType:
    made = types.ModuleType("made")
    vars(made).update(names)
    return made


def test_suggestion_decides_about_functions_with_one_argument() -> None:
    def app(scope: Any) -> Any: ...

    assert choose(module(app=app)) is None
    assert choose(module(app=app), Choice("app", factory=False)) == Choice("app", factory=False)


def test_several_annotated_factories_are_no_answer() -> None:
    def one() -> FastAPI:
        return FastAPI()

    def two() -> FastAPI:
        return FastAPI()

    assert choose(module(one=one)) == Choice("one", factory=True)
    assert choose(module(one=one, two=two)) is None
    assert choose(module(one=one, two=two), Choice("two", factory=True)) == Choice("two", factory=True)


def test_framework_of_a_proxy_is_that_of_the_object_behind_it() -> None:
    assert framework_of(current_app) == ""
    assert framework_of(LocalProxy(lambda: Flask("x"))) == "Flask"
    assert framework_of(3) == ""
