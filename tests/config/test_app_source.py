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
        ("api = FastAPI()\napplication = FastAPI()", "application"),
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
        ("from fastapi import FastAPI\n_inner = FastAPI()\nserver = FastAPI()", "server"),
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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("v1 = FastAPI()\nv2 = FastAPI()", 'main.py holds several apps: "v1", "v2".'),
        ("def a() -> FastAPI: ...\ndef b() -> FastAPI: ...", 'main.py holds several app factories: "a", "b".'),
    ],
)
def test_several_candidates_are_listed(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(AppLoadError) as caught:
        choose(tmp_path, text)
    assert str(caught.value) == message
    assert caught.value.hint.startswith("Say which one: main.py:")


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
