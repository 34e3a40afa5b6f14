"""What the text of a module says about its apps."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from devserver.config.app_source import AppSource, Choice
from devserver.errors import AppLoadError
from tests.support.projects import write_files


def choose(folder: Path, text: str, *, factory: bool = False) -> Choice | None:
    path = folder / "main.py"
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return AppSource.read(path).choose(factory=factory)


def app(name: str) -> Choice:
    return Choice(name, factory=False)


def made_by(name: str) -> Choice:
    return Choice(name, factory=True)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("app = FastAPI()", "app"),
        ("application = get_asgi_application()", "application"),
        ("api = FastAPI()\napplication = FastAPI()\napp = FastAPI()", "app"),
        ("api = FastAPI()\napplication = FastAPI()", "api"),
        ("from fastapi import FastAPI\nserver = FastAPI()", "server"),
        ("from fastapi import FastAPI as F\nserver = F(title='x')", "server"),
        ("import fastapi\nserver = fastapi.FastAPI()", "server"),
        ("import fastapi.applications as fa\nserver = fa.FastAPI()", "server"),
        ("from starlette.applications import Starlette as S\nserver: S = S()", "server"),
        ("from fastapi import FastAPI\nserver: FastAPI = build()", "server"),
        ("from fastapi import FastAPI\nserver: 'FastAPI' = build()", "server"),
        ("from fastapi import FastAPI\nclass Mine(FastAPI): ...\nserver = Mine()", "server"),
        ("from fastapi import FastAPI\ndef build() -> FastAPI: ...\nserver = build()", "server"),
        ("from fastapi import FastAPI\nserver = FastAPI() if x else None", "server"),
        ("from fastapi import FastAPI\nif True:\n    server = FastAPI()", "server"),
        ("from fastapi import FastAPI\ntry:\n    server = FastAPI()\nexcept E:\n    raise", "server"),
        ("from fastapi import FastAPI\nwith x:\n    server = FastAPI()", "server"),
        ("from fastapi import FastAPI\nmatch x:\n    case 1:\n        server = FastAPI()", "server"),
        ("from fastapi import FastAPI\nserver = FastAPI()\n_inner = FastAPI()", "_inner"),
        ("v2 = FastAPI()\nv1 = FastAPI()", "v1"),
        ("api = FastAPI()\napp = Wrapper(api)", "app"),
        ("application = Wrapper(server)\nserver = FastAPI()", "application"),
        ("application = FastAPI()\nserver = FastAPI()", "application"),
        ("server = Flask(__name__)", "server"),
        ("server, db = FastAPI(), 1", "server"),
        ("[(server, x), y] = [(FastAPI(), 1), 2]", "server"),
        ("if (server := FastAPI()):\n    pass", "server"),
        ("while (server := FastAPI()).debug:\n    pass", "server"),
        ("match (server := FastAPI()):\n    case _:\n        pass", "server"),
        ("x = f(server := FastAPI())", "server"),
        ("inner = FastAPI()\nserver = inner\ninner = 1", "inner"),
        ("for app in apps: ...", "app"),
        ("with make() as app: ...", "app"),
        ("def setup():\n    global app\n    app = make()\nsetup()", "app"),
        ("def build(n):\n    return FastAPI(title=n)\nserver = build('x')", "server"),
        ("app: FastAPI\nexec('app = 1')", "app"),
        ("app, db = make()", "app"),
        ("app = None\napp = Middleware(inner)", "app"),
        ("async def app(scope, receive, send): ...", "app"),
        ("def application(environ, start_response): ...", "application"),
        ("from web import app", "app"),
        ("from fastapi import FastAPI\nfrom x import app\nserver = FastAPI()", "app"),
        ("from fastapi import FastAPI\napi = Client()\nserver = FastAPI()", "server"),
        ("from fastapi import FastAPI, APIRouter\napi = APIRouter()\nserver = FastAPI()", "server"),
        ("from fastapi import FastAPI\nimport typer\napp = typer.Typer()\nserver = FastAPI()", "server"),
        ("from fastapi import FastAPI\nserver = FastAPI()\n@server.get('/')\nasync def api(request): ...", "server"),
        ("from fastapi import FastAPI\napp = 'name'\nserver = FastAPI()", "server"),
        ("from fastapi import FastAPI\ndef create_app(): ...\nserver = FastAPI()", "server"),
    ],
)
def test_app_is_chosen_by_name_then_by_class(tmp_path: Path, text: str, name: str) -> None:
    assert choose(tmp_path, text) == app(name)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("def create_app(): ...", "create_app"),
        ("def get_app(debug=False, *, x=1): ...", "get_app"),
        ("def make_app(*args, **kwargs): ...", "make_app"),
        ("def get_app(): ...\ndef create_app(): ...", "create_app"),
        ("from fastapi import FastAPI\ndef web() -> FastAPI: ...", "web"),
        ("import fastapi\ndef web() -> 'fastapi.FastAPI': ...", "web"),
        ("def web() -> FastAPI:\n    from fastapi import FastAPI", "web"),
        ("from web import create_app", "create_app"),
        ("app = None\ndef create_app(): ...", "create_app"),
        ("import functools\n@functools.lru_cache(maxsize=1)\ndef create_app(): ...", "create_app"),
        ("from functools import cache\n@cache\ndef create_app(): ...", "create_app"),
    ],
)
def test_factory_is_chosen_when_there_is_no_app(tmp_path: Path, text: str, name: str) -> None:
    assert choose(tmp_path, text) == made_by(name)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x = 1",
        "import app",
        "import app.routes",
        "from fastapi import FastAPI",
        "def create_app(settings): ...",
        "def create_app(*, settings): ...",
        "async def create_app(): ...",
        "from fastapi import FastAPI\nif __name__ == '__main__':\n    server = FastAPI()",
        "from fastapi import FastAPI\ndef f():\n    app = FastAPI()",
        "from celery import Celery\napp = Celery()",
        "app = 1",
        "def api(): ...",
        "server: 'not (valid' = x",
        "app: object",
    ],
)
def test_module_without_an_app_gives_none(tmp_path: Path, text: str) -> None:
    assert choose(tmp_path, text) is None


def test_factory_is_preferred_when_it_is_asked_for(tmp_path: Path) -> None:
    text = "from fastapi import FastAPI\napp = FastAPI()\ndef create_app(): ..."
    assert choose(tmp_path, text, factory=True) == made_by("create_app")
    assert choose(tmp_path, "from x import app", factory=True) == made_by("app")
    assert choose(tmp_path, "from fastapi import FastAPI\napp = FastAPI()", factory=True) is None


def test_several_factories_are_listed(tmp_path: Path) -> None:
    with pytest.raises(AppLoadError) as caught:
        choose(tmp_path, "def a() -> FastAPI: ...\ndef b() -> FastAPI: ...")
    assert str(caught.value) == 'main.py holds several app factories: "a", "b".'
    assert caught.value.hint == f"Say which one: {tmp_path / 'main.py'}:a"


@pytest.mark.parametrize(
    "text",
    [
        "globals()['app'] = FastAPI()",
        "import sys\nsetattr(sys.modules[__name__], 'app', FastAPI())",
        "import sys\nsys.modules[__name__].app = FastAPI()",
        "exec('app = 1')",
        "def __getattr__(name): ...",
        "from nowhere import *",
        "server = build()",
        "from web import server",
        "one, two = make()",
    ],
)
def test_names_that_the_text_does_not_explain_leave_it_open(tmp_path: Path, text: str) -> None:
    (tmp_path / "main.py").write_text(text)
    source = AppSource.read(tmp_path / "main.py")
    assert source.is_open
    assert source.choose() is None


@pytest.mark.parametrize(
    "text",
    [
        "x = 1\ny = [1]\nz = {}\nw = f'{x}'\nv = x > 1",
        "import os\nfrom pathlib import Path\nhere = Path(__file__)\nname = os.getcwd()",
        "from tkinter import *",
        "from fastapi import FastAPI",
        "def main(): ...\nclass Web: ...",
        "def run():\n    app = FastAPI()",
    ],
)
def test_text_that_binds_no_app_is_not_open(tmp_path: Path, text: str) -> None:
    (tmp_path / "main.py").write_text(text)
    assert not AppSource.read(tmp_path / "main.py").is_open


@pytest.mark.parametrize(
    ("files", "name"),
    [
        ({"main.py": "from core import *", "core.py": "app = FastAPI()"}, "app"),
        ({"main.py": "from .core import *", "core.py": "app = FastAPI()"}, "app"),
        ({"main.py": "from a import *", "a.py": "from b import *", "b.py": "server = FastAPI()"}, "server"),
        ({"main.py": "from pack import *", "pack/__init__.py": "from .web import app", "pack/web.py": ""}, "app"),
        (
            {"main.py": "from core import *", "core.py": "__all__ = ['web']\napp = FastAPI()\nweb = FastAPI()"},
            "web",
        ),
        ({"main.py": "from core import *", "core.py": "__all__ = ('_x',)\n_x = FastAPI()"}, "_x"),
        ({"main.py": "from core import *\napp2 = 1", "core.py": "app = make()"}, "app"),
        ({"main.py": "from web import server", "web.py": "server = FastAPI()"}, "server"),
        ({"main.py": "from web import server as site", "web.py": "server = FastAPI()"}, "site"),
        ({"main.py": "from web import make\nsite = make(1)", "web.py": "def make(n):\n    return FastAPI()"}, "site"),
    ],
)
def test_imports_of_the_projects_own_modules_are_followed(tmp_path: Path, files: dict[str, str], name: str) -> None:
    write_files(tmp_path, files)
    assert AppSource.read(tmp_path / "main.py").choose() == app(name)


def test_factory_comes_through_a_star(tmp_path: Path) -> None:
    write_files(tmp_path, {"main.py": "from core import *", "core.py": "def web() -> FastAPI: ..."})
    assert AppSource.read(tmp_path / "main.py").choose() == made_by("web")


def test_star_hides_what_all_leaves_out_and_what_begins_with_an_underscore(tmp_path: Path) -> None:
    write_files(tmp_path, {"main.py": "from core import *", "core.py": "_app = FastAPI()"})
    assert AppSource.read(tmp_path / "main.py").choose() is None
    write_files(tmp_path, {"core.py": "__all__ = []\napp = FastAPI()"})
    assert AppSource.read(tmp_path / "main.py").choose() is None


def test_star_imports_in_a_circle_end(tmp_path: Path) -> None:
    write_files(tmp_path, {"main.py": "from a import *", "a.py": "from main import *\nfrom a import *"})
    assert AppSource.read(tmp_path / "main.py").choose() is None


def test_only_so_many_files_are_followed(tmp_path: Path) -> None:
    files = {f"m{number}.py": f"from m{number + 1} import *" for number in range(40)}
    write_files(tmp_path, {**files, "m40.py": "app = FastAPI()"})
    assert AppSource.read(tmp_path / "m0.py").choose() is None
    assert AppSource.read(tmp_path / "m0.py").is_open
    assert AppSource.read(tmp_path / "m30.py").choose() == app("app")


def test_files_above_the_project_are_not_followed(tmp_path: Path) -> None:
    write_files(tmp_path, {"core.py": "app = FastAPI()", "in/pyproject.toml": "", "in/main.py": "from core import *"})
    assert AppSource.read(tmp_path / "in" / "main.py").choose() is None


def test_apps_that_no_rule_finds_are_noted_for_hints(tmp_path: Path) -> None:
    text = """
    import uvicorn
    class Web:
        app = FastAPI()
        other: FastAPI = FastAPI()
        n = 1
    def web(debug=False):
        return FastAPI()
    def site(a, /, b, c=1, *, d, e=2):
        return FastAPI()
    def create_app(settings): ...
    if __name__ == "__main__":
        uvicorn.run("shop.main:app", reload=True)
        uvicorn.run(app)
    """
    (tmp_path / "main.py").write_text(textwrap.dedent(text))
    source = AppSource.read(tmp_path / "main.py")
    assert source.nested == ("Web.app", "Web.other", "web")
    assert source.patterns == ("site(a=..., b=..., d=...)", "create_app(settings=...)")
    assert source.runs == ("shop.main:app",)


def test_submodule_named_like_an_app_is_no_app(tmp_path: Path) -> None:
    write_files(tmp_path, {"pack/api.py": "", "api.py": "", "pack/sub/__init__.py": ""})
    assert choose(tmp_path, "from pack import api") is None
    assert choose(tmp_path, "from . import api") is None
    assert choose(tmp_path, "from pack import app") == app("app")


def test_broken_file_is_guessed_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "main.py"
    path.write_text("import fastapi\nserver: X = fastapi.FastAPI()\ndef f(:\n")
    source = AppSource.read(path)
    assert source.broken
    assert source.choose() == app("server")


@pytest.mark.parametrize("data", [b"\xff\xfe", b"a = 1\0", b"(" * 10_000])
def test_unreadable_source_is_broken_and_names_nothing(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "main.py"
    path.write_bytes(data)
    source = AppSource.read(path)
    assert source.broken
    assert source.choose() is None


def test_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AppLoadError, match=r"Cannot read .*nothing\.py: No such file or directory\."):
        AppSource.read(tmp_path / "nothing.py")


def test_syntax_warnings_of_the_file_are_left_to_its_import(tmp_path: Path) -> None:
    assert choose(tmp_path, 'x = "\\d"\nif x is 1: pass\napp = FastAPI()') == app("app")
